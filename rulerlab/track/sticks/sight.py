"""What a picture says about a stick that is thought to lie between two points."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rulerlab.track.sticks.pairs import Bars, strip_colours

INNER, OUTER = 0.34, 0.68  # widths from the axis: just inside and just outside a long edge
SAMPLES = 48  # along a stick
ALIKE = 0.5  # evidence at which a stick has the common colour of all
SLACK = 0.12  # widths by which an edge may lie beside its place


@dataclass(frozen=True)
class Sight:
    """A working picture seen with learned eyes: where sticks may be, and where edges run."""

    evidence: np.ndarray  # (H, W) 1 where it looks like stick, -1 like what lies beside them
    slope_x: np.ndarray  # (H, W, 3) d Lab/dx
    slope_y: np.ndarray  # (H, W, 3) d Lab/dy
    width: float  # of a stick, working pixels
    seam: float  # slope across the grain that print and grain seldom reach, Lab steps per px

    def at(self, image: np.ndarray, place: np.ndarray, outside: float = 0.0) -> np.ndarray:
        """Values of `image` at places (..., 2); `outside` beyond its rim."""
        flat = np.ascontiguousarray(place.reshape(1, -1, 2), np.float32)
        parts = [
            cv2.remap(image, flat[:, k : k + 16000, 0], flat[:, k : k + 16000, 1],
                      cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
                      borderValue=(outside,) * 4)
            for k in range(0, flat.shape[1], 16000)
        ]
        if not parts:
            return np.zeros(place.shape[:-1] + image.shape[2:], np.float32)
        return np.concatenate(parts, 1).reshape(place.shape[:-1] + image.shape[2:])

    def edge(self, place: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Strength of the edge across `normal` (..., 2) near each place, in units of the seam."""
        best = np.zeros(place.shape[:-1], np.float32)
        for step in (-SLACK, 0.0, SLACK):
            here = place + step * self.width * normal
            best = np.maximum(best, self.steepness(here, normal))
        return best

    def steepness(self, place: np.ndarray, normal: np.ndarray) -> np.ndarray:
        """Change of colour along `normal` (..., 2) at each place, in units of the seam."""
        across = self.at(self.slope_x, place) * normal[..., :1]
        across += self.at(self.slope_y, place) * normal[..., 1:]
        return np.sqrt(np.einsum("...k,...k->...", across, across)) / self.seam


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


def support(sight: Sight, start: np.ndarray, end: np.ndarray, *, margin: float = 0.5) -> Support:
    """What speaks for sticks from `start` to `end` (S, 2), but for `margin` widths at the ends.

    An edge against another colour counts full, a seam against another stick if it is sharper than
    grain, and the lack of both speaks (a little) against, since another stick may lie above.
    """
    way = end - start
    length = np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-9)
    unit = way / length
    normal = np.stack([-unit[:, 1], unit[:, 0]], -1)[:, None]
    cut = np.minimum(margin * sight.width / length[:, 0], 0.3)
    share = cut[:, None] + (1 - 2 * cut[:, None]) * np.linspace(0, 1, SAMPLES)
    place = start[:, None] + share[..., None] * way[:, None]
    core = sight.at(sight.evidence, place, -5.0)
    cover, seen, rims = (core > 0).astype(float), [], []
    for side in (-1.0, 1.0):
        inside = sight.at(sight.evidence, place + side * INNER * sight.width * normal, -5.0) > 0
        outside = sight.at(sight.evidence, place + side * OUTER * sight.width * normal, -5.0) > 0
        rims.append(place + side * 0.5 * sight.width * normal)
        rim = sight.edge(rims[-1], np.broadcast_to(normal, place.shape))
        cover += inside
        seam = np.clip(rim - 1, -0.25, 0.75)
        seen.append(np.where(inside, np.where(outside, seam, np.clip(rim, 0.3, 1.0)), -0.5))
    alike = np.clip(np.median(core, axis=1) / ALIKE, 0, 1)  # another material is worth less
    both = np.stack(seen, -1)
    edges = both.mean((1, 2))
    edges = np.where(edges > 0, edges * alike, edges)
    return Support((cover / 3).mean(1), edges, both, np.stack(rims, 2))
