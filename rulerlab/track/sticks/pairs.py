"""Straight bars in a picture: pairs of parallel edges with another colour inside than outside.

A stick of a folding ruler is such a bar; so are the rim of a board, a finger or a shadow. Which
of them belong to a ruler is decided later, by their common width and by how they hang together.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

WORK_PX = 1280  # pictures are looked at in this size (longer side): sticks are then 8 to 60 px wide
SMOOTH_PX = 7  # the median over this window leaves sticks and takes squared paper and print away
CHROMA_GAIN = 3.0  # colours differ by fewer steps than brightness does
LEAST_PX = 30  # shorter edges are texture
SLOPE_DEG = 4.0  # the two edges of a stick are parallel within this, perspective included
WIDTH_PX = (6.0, 70.0)  # of a stick in the working picture


@dataclass(frozen=True)
class Bars:
    """Pieces of sticks: B straight strips in working pixels."""

    start: np.ndarray  # (B, 2) ends of the axis
    end: np.ndarray  # (B, 2)
    width: np.ndarray  # (B,)
    contrast: np.ndarray  # (B,) how far inside and outside differ, in Lab steps

    @property
    def length(self) -> np.ndarray:
        return np.linalg.norm(self.end - self.start, axis=1)

    def pick(self, which: np.ndarray) -> Bars:
        """Some of the bars, by mask or index."""
        return Bars(self.start[which], self.end[which], self.width[which], self.contrast[which])

    def joined(self, other: Bars) -> Bars:
        """These bars and those."""
        return Bars(*(np.concatenate([getattr(self, name), getattr(other, name)])
                      for name in ("start", "end", "width", "contrast")))


def working_picture(picture_bgr: np.ndarray) -> tuple[np.ndarray, float]:
    """The picture in working size, and working pixels per pixel."""
    scale = WORK_PX / max(picture_bgr.shape[:2])
    if abs(scale - 1) < 0.02:
        return picture_bgr, 1.0
    way = cv2.INTER_CUBIC if scale > 1 else cv2.INTER_AREA
    size = [max(round(side * scale), 1) for side in picture_bgr.shape[1::-1]]
    return cv2.resize(picture_bgr, size, interpolation=way), scale


def smooth_lab(work_bgr: np.ndarray) -> np.ndarray:
    """Lab colours (H, W, 3) float32 without thin lines; chroma stretched to weigh like L."""
    lab = cv2.cvtColor(cv2.medianBlur(work_bgr, SMOOTH_PX), cv2.COLOR_BGR2LAB).astype(np.float32)
    lab[..., 1:] = (lab[..., 1:] - 128) * CHROMA_GAIN + 128
    return lab


def edge_segments(lab: np.ndarray) -> list[np.ndarray]:
    """Straight edges of L, a and b, each (E, 4) x0 y0 x1 y1; the darker side always lies alike.

    Where a long edge breaks up depends on where the detector begins, so the edges of the mirrored
    picture are added.
    """
    found = []
    for channel in range(3):
        plane = np.clip(lab[..., channel], 0, 255).astype(np.uint8)
        plane = cv2.GaussianBlur(plane, (0, 0), 1.0)
        turned = _segments(np.ascontiguousarray(plane[:, ::-1]))[:, [2, 3, 0, 1]]
        turned[:, [0, 2]] = plane.shape[1] - 1 - turned[:, [0, 2]]
        found.append(np.concatenate([_segments(plane), turned]))
    return found


def _segments(plane: np.ndarray) -> np.ndarray:
    """Straight edges of one channel that are long enough, (E, 4)."""
    segments = cv2.createLineSegmentDetector(cv2.LSD_REFINE_STD).detect(plane)[0]
    segments = np.zeros((0, 4)) if segments is None else segments.reshape(-1, 4).astype(float)
    length = np.hypot(segments[:, 2] - segments[:, 0], segments[:, 3] - segments[:, 1])
    return segments[length > LEAST_PX]


def find_bars(lab: np.ndarray, segments: list[np.ndarray]) -> Bars:
    """Every pair of opposite parallel edges with another colour between than on both sides."""
    parts = [_pairs(edges) for edges in segments]
    start, end, width = (np.concatenate([part[k] for part in parts]) for k in range(3))
    bars = Bars(start, end, width, np.zeros(len(width)))
    return _with_contrast(bars, lab)


def _pairs(edges: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Axis ends and widths of the antiparallel pairs among the edges of one channel."""
    begin, along = edges[:, :2], edges[:, 2:] - edges[:, :2]
    length = np.linalg.norm(along, axis=1)
    way = along / length[:, None]
    first, second = np.nonzero(np.triu(way @ way.T < -np.cos(np.radians(SLOPE_DEG)), 1))
    axis = way[first] - way[second]
    axis /= np.linalg.norm(axis, axis=1, keepdims=True)
    middle = (begin[first] + 0.5 * along[first] + begin[second] + 0.5 * along[second]) / 2

    def project(which: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        ends = np.stack([begin[which], begin[which] + along[which]], 1) - middle[:, None]
        reach = (ends * axis[:, None]).sum(-1)
        aside = ends[..., 1] * axis[:, None, 0] - ends[..., 0] * axis[:, None, 1]
        slope = (aside[:, 1] - aside[:, 0]) / (reach[:, 1] - reach[:, 0])
        return reach.min(1), reach.max(1), np.c_[aside[:, 0] - slope * reach[:, 0], slope].T

    low_a, high_a, line_a = project(first)
    low_b, high_b, line_b = project(second)
    low, high = np.maximum(low_a, low_b), np.minimum(high_a, high_b)
    centre = (low + high) / 2
    side_a, side_b = line_a[0] + line_a[1] * centre, line_b[0] + line_b[1] * centre
    width = np.abs(side_a - side_b)
    good = (width > WIDTH_PX[0]) & (width < WIDTH_PX[1])
    good &= high - low > np.maximum(1.5 * width, 0.8 * LEAST_PX)
    normal = np.c_[-axis[:, 1], axis[:, 0]]
    base = middle + normal * ((side_a + side_b) / 2)[:, None]
    start, end = base + axis * low[:, None], base + axis * high[:, None]
    return start[good], end[good], width[good]


def _with_contrast(bars: Bars, lab: np.ndarray) -> Bars:
    """Bars whose inside differs from both outsides; paper between two printed lines does not."""
    inside, left, right = (strip_colours(bars, lab, side) for side in (0.0, -0.85, 0.85))
    spread = inside.std(1)
    inner = np.median(inside, axis=1)
    gaps = [np.linalg.norm(inner - np.median(outer, axis=1), axis=1) for outer in (left, right)]
    contrast = np.minimum(*gaps)
    keep = contrast > np.maximum(6.0, 0.5 * np.linalg.norm(spread, axis=1))
    return Bars(bars.start, bars.end, bars.width, contrast).pick(keep)


def strip_colours(bars: Bars, lab: np.ndarray, side: float, *, samples: int = 24) -> np.ndarray:
    """Colours (B, samples, 3) along lines parallel to the axes, `side` widths beside them."""
    along = np.linspace(0.05, 0.95, samples)[None, :, None]
    way = bars.end - bars.start
    normal = np.c_[-way[:, 1], way[:, 0]] / np.maximum(bars.length, 1e-9)[:, None]
    place = bars.start[:, None] + along * way[:, None]
    place = place + (side * bars.width)[:, None, None] * normal[:, None]
    x, y = (np.ascontiguousarray(place[..., k], np.float32) for k in (0, 1))
    if not len(bars.width):
        return np.zeros((0, samples, 3), np.float32)
    return cv2.remap(lab, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


def width_candidates(bars: Bars, *, most: int = 4) -> list[float]:
    """Common widths of the bars, the best supported first (lengths of bars add up)."""
    grid = np.geomspace(*WIDTH_PX, 200)
    apart = np.log(bars.width)[None] - np.log(grid)[:, None]
    support = (np.exp(-0.5 * (apart / 0.05) ** 2) * bars.length).sum(1)
    found = []
    while len(found) < most and support.max(initial=0) > 0:
        best = int(support.argmax())
        found.append(float(grid[best]))
        support[np.abs(np.log(grid / grid[best])) < 0.15] = 0
    return found
