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
GREYS = ("black", "white", "grey", "gray")  # marks that are known by their brightness only
COLOURLESS = 24  # levels by which red, green and blue of a grey differ at most
FEW = 4  # dots in a picture, below which their colour is in doubt
SAME_COLOUR = 26.0  # chroma levels within which two spots have one colour
LEVELS = (16, 24, 34, 46, 60)  # distances from the background's chroma at which spots are cut out
GREY_LEVELS = (40, 60, 85, 115)  # and from its brightness
CORNERS = 2.2  # farthest pixel of a spot in its standard deviations: disc 2.0, square 2.45


@dataclass(frozen=True)
class MarkColour:
    """One colour of the marks, in the chroma plane of the video, or one grey."""

    chroma: tuple[float, float]  # U, V; of a grey mark its brightness, and 0
    reach: float  # chroma distance within which a pixel belongs to a mark
    area_px: float  # of a mark, in chroma pixels
    spots: float  # marks of this colour seen in a typical picture
    grey: bool = False

    def planes(self, frame: Frame) -> tuple[np.ndarray, np.ndarray]:
        """The two half-size planes (h, w) in which marks of this colour stand out."""
        return _planes(frame, self.grey)

    @property
    def described(self) -> str:
        """In words, for a person."""
        if self.grey:
            return f"spots of brightness {self.chroma[0]:.0f} (of 255)"
        u, v = self.chroma
        hue = float(np.degrees(np.arctan2(v - 128, u - 128)) % 360)
        nearest = min(NAMED_HUES, key=lambda name: _turn(NAMED_HUES[name], hue))
        return f"{nearest} spots"


def _planes(frame: Frame, grey: bool) -> tuple[np.ndarray, np.ndarray]:
    if not grey:
        return frame.chroma_u, frame.chroma_v
    size = frame.chroma_u.shape[::-1]
    small = cv2.resize(frame.luma, size, interpolation=cv2.INTER_AREA)
    return small, np.zeros_like(small)


def is_grey(name: str) -> bool:
    """Whether a colour given by name or as "#rrggbb" is black, white or a grey between."""
    if name.lower() in GREYS or name.lower() in NAMED_HUES:
        return name.lower() in GREYS
    return np.ptp(_channels(name)) < COLOURLESS


def _channels(name: str) -> list[int]:
    """Red, green and blue of "#rrggbb". Raises InputError."""
    try:
        return [int(name.lstrip("#")[i : i + 2], 16) for i in (0, 2, 4)]
    except ValueError:
        raise InputError(
            f"marks.colours: {name!r} is neither #rrggbb nor one of "
            + ", ".join((*NAMED_HUES, *GREYS))
        ) from None


def colour_hue(name: str) -> float:
    """Chroma direction of a colour given by name or as "#rrggbb". Raises InputError."""
    if name.lower() in NAMED_HUES:
        return float(NAMED_HUES[name.lower()])
    red, green, blue = _channels(name)
    u = -0.115 * red - 0.385 * green + 0.5 * blue
    v = 0.5 * red - 0.454 * green - 0.046 * blue
    return float(np.degrees(np.arctan2(v, u)) % 360)


def find_colours(
    frames: Sequence[Frame], *, wanted: Sequence[str] = (), grey: bool = False
) -> list[MarkColour]:
    """The one or two colours of the dots in some pictures of a clip; none when there are none.

    Spots are looked for at several saturations, kept when they are round, and grouped by colour;
    the group with the most spots of one size wins, and a second one of the same size may stand
    beside it (alternating colours). `wanted` (names or hex) narrows the choice. Black and white
    dots are found when they are wanted, and `grey` ones when nothing else is said.
    """
    hues = [colour_hue(name) for name in wanted if not is_grey(name)]
    rated = []
    if hues or not wanted:
        groups = _groups(frames, False)
        if hues:
            groups = [g for g in groups if min(_turn(_hue(g), hue) for hue in hues) < 30]
        rated += [(_rate(group, len(frames)), group, False) for group in groups]
    few = not wanted and max((rate[0] for rate, *_ in rated), default=0) < FEW
    if len(hues) < len(wanted) or (grey and few):
        rated += [(_rate(group, len(frames)), group, True) for group in _groups(frames, True)]
    rated = sorted((r for r in rated if r[0][0] >= 2), key=lambda r: -r[0][0])
    if not rated:
        return []
    (count, size), *_ = rated[0]
    chosen = rated[:1]
    for other in rated[1:]:
        (other_count, other_size), *_ = other
        near = abs(np.log(other_size / size)) < 0.45 and other_count >= max(2, 0.3 * count)
        if near and len(chosen) < 2:
            chosen.append(other)
    return [_mark_colour(group, len(frames), of_grey) for _, group, of_grey in chosen]


def _groups(frames: Sequence[Frame], grey: bool) -> list[np.ndarray]:
    spots = [spot for number, frame in enumerate(frames)
             for spot in _round_spots(frame, number, grey)]
    return _group_by_colour(spots)


def _turn(a: float, b: float) -> float:
    return abs((a - b + 180) % 360 - 180)


def _hue(group: np.ndarray) -> float:
    u, v = np.median(group[:, 1:3], axis=0)
    return float(np.degrees(np.arctan2(v - 128, u - 128)) % 360)


def _round_spots(frame: Frame, number: int, grey: bool) -> list[tuple[float, ...]]:
    """(frame, U, V, area, x, y, ring U, ring V, level) of every round spot that stands out."""
    u, v = _planes(frame, grey)
    usual = [float(np.median(plane[::8, ::8])) for plane in (u, v)]
    distance = cv2.magnitude(
        u.astype(np.float32) - np.float32(usual[0]), v.astype(np.float32) - np.float32(usual[1])
    )
    found: dict[tuple[int, int], tuple[float, ...]] = {}
    hollow: set[tuple[int, int]] = set()
    for level in GREY_LEVELS if grey else LEVELS:
        mask = (distance > level).astype(np.uint8)
        count, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=4)
        for k in range(1, count):
            x, y, width, height, area = stats[k]
            if not (9 <= area <= 0.01 * mask.size and 0.5 <= width / height <= 2):
                continue
            if min(x, y) < 2:
                continue
            inside = labels[y : y + height, x : x + width] == k
            whole = _filled(inside)
            if not _is_round(whole):
                continue
            core = cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=0) > 0
            if core.sum() < 3:
                core = inside
            patch_u, patch_v = u[y : y + height, x : x + width], v[y : y + height, x : x + width]
            if np.hypot(patch_u[core].std(), patch_v[core].std()) > 14:
                continue
            m = 2 + int(0.25 * max(width, height))
            ring = (slice(max(y - m, 0), y + height + m), slice(max(x - m, 0), x + width + m))
            outside = distance[ring] < level
            if outside.sum() < 8:
                continue
            spot = (
                number, np.median(patch_u[core]), np.median(patch_v[core]), whole.sum(),
                *centres[k], np.median(u[ring][outside]), np.median(v[ring][outside]), level,
            )
            place = tuple(int(c) for c in np.round(centres[k] / 6))
            if whole.sum() > 1.2 * area:  # a ring: what lies within it is part of the mark
                hollow.add(place)
            elif place in hollow:
                continue
            found[place] = spot  # the steepest level wins
    return list(found.values())


def _filled(patch: np.ndarray) -> np.ndarray:
    """A patch (h, w) bool with its holes filled."""
    outline, _ = cv2.findContours(patch.astype(np.uint8), cv2.RETR_EXTERNAL,
                                  cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(patch.shape, np.uint8), outline, -1, 1, cv2.FILLED) > 0


def _is_round(patch: np.ndarray) -> bool:
    """Whether a patch (h, w) bool is a disc, perhaps seen at a slant, and no square or bar."""
    if patch.mean() < 0.62:
        return False
    if patch.sum() < 40:  # too few pixels to have corners
        return True
    place = np.argwhere(patch).astype(float)
    place -= place.mean(axis=0)
    away = np.einsum("ni,ij,nj->n", place, np.linalg.inv(np.cov(place.T)), place)
    return bool(np.sqrt(away.max()) < CORNERS)


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


def _mark_colour(group: np.ndarray, pictures: int, grey: bool) -> MarkColour:
    count, size = _rate(group, pictures)
    own = np.median(group[:, 1:3], axis=0)
    ring = np.median(group[:, 6:8], axis=0)
    reach = max(0.5 * float(np.hypot(*(own - ring))), 8.0)
    return MarkColour((float(own[0]), float(own[1])), reach, size, float(count), grey)
