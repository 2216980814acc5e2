"""Which colours are the marks? Round, equally large, saturated spots give themselves away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rulerlab.errors import InputError
from rulerlab.video import Frame

NAMED_HUES = {  # direction of the colour in the (U, V) plane, degrees
    "red": 108, "orange": 130, "yellow": 174, "green": 225, "cyan": 288, "blue": 354,
    "purple": 30, "violet": 30, "magenta": 53, "pink": 70,
}
SAME_COLOUR = 26.0  # chroma levels within which two spots have one colour


@dataclass(frozen=True)
class MarkColour:
    """One colour of the marks, in the chroma plane of the video."""

    chroma: tuple[float, float]  # U, V
    reach: float  # chroma distance within which a pixel belongs to a mark
    area_px: float  # of a mark, in chroma pixels
    spots: float  # marks of this colour seen in a typical picture

    @property
    def hue(self) -> float:
        """Direction in the chroma plane, degrees."""
        u, v = self.chroma
        return float(np.degrees(np.arctan2(v - 128, u - 128)) % 360)


def colour_hue(name: str) -> float:
    """Chroma direction of a colour given by name or as "#rrggbb". Raises InputError."""
    if name.lower() in NAMED_HUES:
        return float(NAMED_HUES[name.lower()])
    try:
        red, green, blue = (int(name.lstrip("#")[i : i + 2], 16) for i in (0, 2, 4))
    except ValueError:
        raise InputError(
            f"marks.colours: {name!r} is neither #rrggbb nor one of {', '.join(NAMED_HUES)}"
        ) from None
    u = -0.115 * red - 0.385 * green + 0.5 * blue
    v = 0.5 * red - 0.454 * green - 0.046 * blue
    return float(np.degrees(np.arctan2(v, u)) % 360)


def find_colours(frames: Sequence[Frame], *, wanted: Sequence[str] = ()) -> list[MarkColour]:
    """The one or two colours of the dots in some pictures of a clip; none when there are none.

    Spots are looked for at several saturations, kept when they are round, and grouped by colour;
    the group with the most spots of one size wins, and a second one of the same size may stand
    beside it (alternating colours). `wanted` (names or hex) narrows the choice.
    """
    spots = [spot for number, frame in enumerate(frames) for spot in _round_spots(frame, number)]
    groups = _group_by_colour(spots)
    hues = [colour_hue(name) for name in wanted]
    if hues:
        groups = [g for g in groups if min(_turn(_hue(g), hue) for hue in hues) < 30]
    rated = sorted(
        ((_rate(group, len(frames)), group) for group in groups), key=lambda r: -r[0][0]
    )
    rated = [(rate, group) for rate, group in rated if rate[0] >= 2]
    if not rated:
        return []
    (count, size), best = rated[0]
    chosen = [best]
    for (other_count, other_size), group in rated[1:]:
        near = abs(np.log(other_size / size)) < 0.45 and other_count >= max(2, 0.3 * count)
        if near and len(chosen) < 2:
            chosen.append(group)
    return [_mark_colour(group, len(frames)) for group in chosen]


def _turn(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def _hue(group: np.ndarray) -> float:
    u, v = np.median(group[:, 1:3], axis=0)
    return float(np.degrees(np.arctan2(v - 128, u - 128)) % 360)


def _round_spots(frame: Frame, number: int) -> list[tuple[float, ...]]:
    """(frame, U, V, area, x, y, ring U, ring V, saturation) of every round saturated spot."""
    u, v = frame.chroma_u, frame.chroma_v
    colourless = [float(np.median(plane[::8, ::8])) for plane in (u, v)]
    distance = cv2.magnitude(
        u.astype(np.float32) - np.float32(colourless[0]),
        v.astype(np.float32) - np.float32(colourless[1]),
    )
    found: dict[tuple[int, int], tuple[float, ...]] = {}
    for level in (16, 24, 34, 46, 60):
        mask = (distance > level).astype(np.uint8)
        count, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for k in range(1, count):
            x, y, width, height, area = stats[k]
            if not (9 <= area <= 0.01 * mask.size and 0.5 <= width / height <= 2):
                continue
            if area / (width * height) < 0.62 or min(x, y) < 2:
                continue
            inside = labels[y : y + height, x : x + width] == k
            core = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
            if core.sum() < 3:
                core = inside
            patch_u, patch_v = u[y : y + height, x : x + width], v[y : y + height, x : x + width]
            spread = np.hypot(patch_u[core].std(), patch_v[core].std())
            if spread > 14:
                continue
            m = 2 + int(0.25 * max(width, height))
            ring = (slice(max(y - m, 0), y + height + m), slice(max(x - m, 0), x + width + m))
            outside = distance[ring] < level
            if outside.sum() < 8:
                continue
            spot = (
                number, np.median(patch_u[core]), np.median(patch_v[core]), area,
                *centres[k], np.median(u[ring][outside]), np.median(v[ring][outside]), level,
            )
            place = tuple(int(c) for c in np.round(centres[k] / 6))
            found[place] = spot  # the steepest level wins
    return list(found.values())


def _group_by_colour(spots: list[tuple[float, ...]]) -> list[np.ndarray]:
    left = np.array(spots, float).reshape(-1, 9)
    groups = []
    while len(left):
        apart = np.hypot(
            left[:, None, 1] - left[None, :, 1], left[:, None, 2] - left[None, :, 2]
        )
        members = apart < SAME_COLOUR
        seed = members.sum(1).argmax()
        centre = np.median(left[members[seed], 1:3], axis=0)
        inside = np.hypot(*(left[:, 1:3] - centre).T) < SAME_COLOUR
        inside |= members[seed]
        groups.append(left[inside])
        left = left[~inside]
    return groups


def _rate(group: np.ndarray, pictures: int) -> tuple[float, float]:
    """How many spots of one size a picture holds on average, and that size."""
    log_area = np.log(group[:, 3])
    alike = np.abs(log_area[:, None] - log_area[None, :]) < 0.5
    members = alike[alike.sum(1).argmax()]
    return members.sum() / pictures, float(np.exp(np.median(log_area[members])))


def _mark_colour(group: np.ndarray, pictures: int) -> MarkColour:
    count, size = _rate(group, pictures)
    own = np.median(group[:, 1:3], axis=0)
    ring = np.median(group[:, 6:8], axis=0)
    reach = max(0.5 * float(np.hypot(*(own - ring))), 8.0)
    return MarkColour((float(own[0]), float(own[1])), reach, size, float(count))
