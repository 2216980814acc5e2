"""Every stick there may be: each straight edge, seen as the side of a stick of known width."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.track.sticks.pairs import Bars
from rulerlab.track.sticks.samples import runs_through
from rulerlab.track.sticks.sight import Sight, support

BESIDE = 0.3  # widths from the axis at which the colour is looked at as well
GAP = 0.9  # widths of another colour (rivets, print) that a stick may show along its axis
COVERED = 0.75  # share of a candidate that has the colour of sticks, at least
MOST = 80  # candidates, the best borne out
SAME = 0.35  # widths within which two candidates are one


@dataclass(frozen=True)
class Candidates:
    """C straight runs of stick colour, tip to tip, in working pixels; the best borne out first."""

    start: np.ndarray  # (C, 2)
    end: np.ndarray  # (C, 2)
    edges: np.ndarray  # (C,) of `Support`

    @property
    def length(self) -> np.ndarray:
        return np.linalg.norm(self.end - self.start, axis=1)

    def bars(self, width: float) -> Bars:
        """The same as bars of this width."""
        count = len(self.edges)
        return Bars(self.start, self.end, np.full(count, width), np.zeros(count))


def candidates(sight: Sight, segments: list[np.ndarray], bars: Bars) -> Candidates:
    """The runs through every bar and beside every edge."""
    edges = np.concatenate(segments)
    begin, finish = edges[:, :2], edges[:, 2:]
    way = (finish - begin) / np.linalg.norm(finish - begin, axis=1, keepdims=True)
    normal = np.c_[-way[:, 1], way[:, 0]] * (0.5 * sight.width)
    start = np.concatenate([bars.start, begin + normal, begin - normal])
    end = np.concatenate([bars.end, finish + normal, finish - normal])
    start, end = _runs(sight, start, end)
    long = np.linalg.norm(end - start, axis=1) > 2.5 * sight.width
    start, end = start[long], end[long]
    seen = support(sight, start, end, margin=0.3, least=COVERED)
    good = (seen.cover > COVERED) & (seen.edges > 0.1)
    return _distinct(Candidates(start[good], end[good], seen.edges[good]), sight.width)


def _runs(sight: Sight, start: np.ndarray, end: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each axis lengthened as far as the colour of sticks goes."""
    way = end - start
    length = np.linalg.norm(way, axis=1)
    unit = way / length[:, None]
    middle = (start + end) / 2
    reach = runs_through(sight.evidence > 0, middle, unit, length / 2, BESIDE * sight.width,
                         int(GAP * sight.width))
    good = np.isfinite(reach[:, 0])
    middle, unit, reach = middle[good], unit[good], reach[good]
    return middle - reach[:, :1] * unit, middle + reach[:, 1:] * unit


def _distinct(found: Candidates, width: float) -> Candidates:
    """Without the weaker of two candidates that end at the same two places."""
    order = np.argsort(-found.edges)
    start, end, edges = found.start[order], found.end[order], found.edges[order]
    keep: list[int] = []
    for k in range(len(edges)):
        same = np.maximum(_apart(start[k], start[keep]), _apart(end[k], end[keep]))
        turned = np.maximum(_apart(start[k], end[keep]), _apart(end[k], start[keep]))
        if np.minimum(same, turned).min(initial=np.inf) >= SAME * width:
            keep.append(k)
            if len(keep) == MOST:
                break
    return Candidates(start[keep], end[keep], edges[keep])


def _apart(place: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Distances of a place (2,) from others (M, 2)."""
    return np.hypot(others[:, 0] - place[0], others[:, 1] - place[1])
