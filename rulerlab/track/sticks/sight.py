"""What a picture says about a stick that is thought to lie between two points."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rulerlab.track.sticks.pairs import Bars, strip_colours
from rulerlab.track.sticks.samples import SAMPLES, along_sticks, steepness_at, values_at

ALIKE = 0.5  # evidence at which a stick has the common colour of all


@dataclass(frozen=True)
class Sight:
    """A working picture seen with learned eyes: where sticks may be, and where edges run."""

    evidence: np.ndarray  # (H, W) 1 where it looks like stick, -1 like what lies beside them
    slope_x: np.ndarray  # (H, W, 3) d Lab/dx
    slope_y: np.ndarray  # (H, W, 3) d Lab/dy
    width: float  # of a stick, working pixels
    seam: float  # slope across the grain that print and grain seldom reach, Lab steps per px

    def upside_down(self) -> Sight:
        """The sight of the picture turned over, its last row first."""
        evidence, slope_x, slope_y = (np.ascontiguousarray(part[::-1])
                                      for part in (self.evidence, self.slope_x, self.slope_y))
        return replace(self, evidence=evidence, slope_x=slope_x, slope_y=-slope_y)

    def transposed(self) -> Sight:
        """The sight of the picture whose rows are columns."""
        evidence, slope_x, slope_y = (np.ascontiguousarray(part.swapaxes(0, 1))
                                      for part in (self.evidence, self.slope_x, self.slope_y))
        return replace(self, evidence=evidence, slope_x=slope_y, slope_y=slope_x)

    def at(self, image: np.ndarray, place: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """Values of `image` at places (..., 2); `outside` beyond its rim."""
        planes = image[..., None] if image.ndim == 2 else image
        flat = np.ascontiguousarray(place.reshape(-1, 2), np.float32)
        found = values_at(np.ascontiguousarray(planes, np.float32), flat, outside)
        return found.reshape(place.shape[:-1] + image.shape[2:])

    def steepness(self, place: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Change of colour along `normal` (..., 2) at each place, in units of the seam."""
        flat, across = (np.ascontiguousarray(np.broadcast_to(part, place.shape).reshape(-1, 2))
                        for part in (place, normal))
        found = steepness_at(self.slope_x, self.slope_y, flat, across)
        return found.reshape(place.shape[:-1]) / np.float32(self.seam)


def slopes(lab: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How the colours change along the rows and down the columns, two (H, W, 3), steps per px."""
    blurred = cv2.GaussianBlur(lab, (0, 0), 1.0)
    return (cv2.Sobel(blurred, cv2.CV_32F, 1, 0, scale=0.125),
            cv2.Sobel(blurred, cv2.CV_32F, 0, 1, scale=0.125))


def look(lab: np.ndarray, evidence: np.ndarray, bars: Bars, *,
         slope: tuple[np.ndarray, np.ndarray] | None = None) -> Sight:
    """The sight of a picture whose sticks look like `bars`; `slope` are its `slopes` if known."""
    slope_x, slope_y = slopes(lab) if slope is None else slope
    width = float(np.median(bars.width))
    rows = [strip_colours(bars, lab, side) for side in (-0.24, -0.12, 0.0, 0.12, 0.24)]
    across = np.linalg.norm(np.diff(np.stack(rows), axis=0), axis=-1) / (0.12 * width)
    return Sight(evidence, slope_x, slope_y, width, max(float(np.percentile(across, 85)), 0.5))


@dataclass(frozen=True)
class Support:
    """How well S sticks between given points are borne out by the picture."""

    cover: np.ndarray  # (S,) share of the stick's inside that has the colour of sticks
    edges: np.ndarray  # (S,) share of its two long edges that is seen, minus what speaks against
    seen: np.ndarray  # (S, SAMPLES, 2) what speaks for each edge along the length, -0.5..1
    place: np.ndarray  # (S, SAMPLES, 2, 2) where on the two edges that was looked for


def support(
    sight: Sight, start: np.ndarray, end: np.ndarray, *, margin: float = 0.5, least: float = 0.0
) -> Support:
    """What speaks for sticks from `start` to `end` (S, 2), but for `margin` widths at the ends.

    An edge against another colour counts full, a seam against another stick if it is sharper than
    grain, and the lack of both speaks (a little) against, since another stick may lie above. No
    edges are seen of sticks of which a share less than `least` has the colour of sticks.
    """
    way = end - start
    length = np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-9)
    normal = np.stack([-way[:, 1], way[:, 0]], -1) / length
    cut = np.minimum(margin * sight.width / length, 0.3)
    first, last = start + cut * way, end - cut * way
    core, both, cover = along_sticks(sight.evidence, sight.slope_x, sight.slope_y, sight.width,
                                     sight.seam, first, last, least)
    alike = np.clip(np.median(core, axis=1) / ALIKE, 0, 1)  # another material is worth less
    edges = both.mean((1, 2))
    edges = np.where(edges > 0, edges * alike, edges)
    share = np.linspace(0, 1, SAMPLES)[:, None, None]
    axis = first[:, None, None] + share * (last - first)[:, None, None]
    side = 0.5 * sight.width * np.stack([-normal, normal], 1)[:, None]
    return Support(cover, edges, both, axis + side)
