"""Hinges that there may be, and the sticks that may join them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.track.sticks.candidates import Candidates
from rulerlab.track.sticks.samples import SAMPLES, edges_in_common
from rulerlab.track.sticks.sight import Sight, Support, support

OVERHANG = 0.55  # widths from hinge to tip, when no open joint shows it
FULL_SLACK = 0.15  # relative: perspective over the whole picture, and the hinges' own error
HALF = (0.40, 0.58)  # of a full section
LAST = (0.25, 1.7)  # of a full section: what shows of the section in the hand
MERGE = 0.5  # widths within which two ends are one hinge
COVERED = 0.8  # share of a stick that has the colour of sticks, at least
SPEAKS = 0.15  # an edge sample above this speaks for the stick
SAME_EDGE = 0.25  # widths within which two edges are one: either is found up to `SLACK` aside
SAME_WAY = np.cos(np.radians(7))


@dataclass(frozen=True)
class Links:
    """K sticks that may join H hinges, in working pixels."""

    hinge: np.ndarray  # (H, 2)
    ends: np.ndarray  # (K, 2) numbers of the two hinges of each stick
    worth: np.ndarray  # (K,) how well the picture bears it out, up to 1
    length: np.ndarray  # (K,) in full sections
    evidence: np.ndarray  # (K, M) bool: samples on its edges that speak for each stick
    known: np.ndarray  # (K, K, M) bool: those of the first that speak for the second as well
    full_px: float  # a full section between its hinges
    width_px: float  # of a stick

    @property
    def is_full(self) -> np.ndarray:
        return np.abs(self.length - 1) < FULL_SLACK

    @property
    def is_half(self) -> np.ndarray:
        return (self.length > HALF[0]) & (self.length < HALF[1])


def full_lengths(found: Candidates, width: float, *, most: int = 3) -> list[float]:
    """Common tip-to-tip lengths of the candidates, the best supported first."""
    length = found.length
    if not len(length):
        return []
    near = np.exp(-0.5 * (np.log(length[:, None] / length[None]) / 0.03) ** 2)
    votes = near @ (found.edges * np.sqrt(length / width))
    chosen: list[float] = []
    for k in np.argsort(-votes):
        if all(abs(np.log(length[k] / other)) > 0.1 for other in chosen):
            chosen.append(float(np.average(length, weights=near[k] * found.edges)))
        if len(chosen) == most:
            break
    return chosen


def overhang(found: Candidates, width: float) -> float:
    """From a hinge to the tip beyond it: where axes of open pairs cross, before their tips."""
    tips = np.concatenate([found.start, found.end])
    way = np.concatenate([found.end - found.start, found.start - found.end])
    way = way / np.linalg.norm(way, axis=1, keepdims=True)
    strong = np.tile(found.edges > 0.6, 2)
    seen = []
    for i, j in zip(*np.nonzero(np.triu(strong[:, None] & strong[None], 1)), strict=True):
        turn = way[i, 0] * way[j, 1] - way[i, 1] * way[j, 0]
        if abs(turn) < np.sin(np.radians(25)) or np.linalg.norm(tips[i] - tips[j]) > 2 * width:
            continue
        along = np.linalg.solve(np.c_[way[i], -way[j]], tips[j] - tips[i])
        if (along > 0.2 * width).all() and (along < 1.3 * width).all():
            seen += list(along)
    return float(np.median(seen)) if len(seen) >= 2 else OVERHANG * width


def link(sight: Sight, found: Candidates, full: float, over: float) -> Links:
    """Hinges where candidates end, and every stick of a possible length between two of them.

    `full` is the length of a full section from tip to tip, `over` the overhang beyond a hinge.
    """
    unit = (found.end - found.start) / found.length[:, None]
    place = np.concatenate([found.start + over * unit, found.end - over * unit])
    hinge, number = _merge(place, np.tile(found.edges, 2), MERGE * sight.width)
    ends = number.reshape(2, -1).T
    size = full - 2 * over
    apart = np.linalg.norm(hinge[:, None] - hinge[None], axis=-1) / size
    possible = (np.abs(apart - 1) < FULL_SLACK) | ((apart > HALF[0]) & (apart < HALF[1]))
    more = np.argwhere(np.triu(possible, 1))
    ends = np.concatenate([ends, more])
    start = np.concatenate([place[: len(found.edges)], hinge[more[:, 0]]])
    end = np.concatenate([place[len(found.edges) :], hinge[more[:, 1]]])
    seen = support(sight, start, end, least=COVERED)
    good = (seen.cover > COVERED) & (ends[:, 0] != ends[:, 1])
    length = apart[ends[:, 0], ends[:, 1]]
    good &= (length > LAST[0]) & (length < LAST[1])
    good = _best_of_each(ends, np.where(good, seen.edges, -np.inf))
    seen = Support(seen.cover[good], seen.edges[good], seen.seen[good], seen.place[good])
    evidence = seen.seen.reshape(len(good), 2 * SAMPLES) > SPEAKS
    known = shared_edges(seen, start[good], end[good], sight.width) & evidence[:, None]
    return Links(hinge, ends[good], seen.edges, length[good], evidence, known, size,
                 sight.width)


def _merge(ends: np.ndarray, weight: np.ndarray, near: float) -> tuple[np.ndarray, np.ndarray]:
    """Distinct hinges, and the number of the hinge of every end; the best seen ends lead."""
    number = np.full(len(ends), -1)
    middle: list[np.ndarray] = []
    for k in np.argsort(-weight):
        apart = np.linalg.norm(np.array(middle).reshape(-1, 2) - ends[k], axis=1)
        if apart.min(initial=np.inf) < near:
            number[k] = int(np.argmin(apart))
        else:
            number[k] = len(middle)
            middle.append(ends[k])
    hinge = np.array([
        np.average(ends[number == h], axis=0, weights=np.maximum(weight[number == h], 1e-3) ** 2)
        for h in range(len(middle))
    ]).reshape(-1, 2)
    return hinge, number


def _best_of_each(ends: np.ndarray, worth: np.ndarray) -> np.ndarray:
    """Index of the best stick between each two hinges; those of worth -inf are left out."""
    best: dict[tuple[int, int], int] = {}
    for k in np.flatnonzero(np.isfinite(worth)):
        pair = (int(min(ends[k])), int(max(ends[k])))
        if pair not in best or worth[k] > worth[best[pair]]:
            best[pair] = int(k)
    return np.array(sorted(best.values()), int)


def own_edges(sight: Sight, place: np.ndarray) -> np.ndarray:
    """Share of the edges of each section between joints (N, 2) that is seen, and no other's."""
    seen = support(sight, place[:-1], place[1:])
    speaks = seen.seen.reshape(len(seen.edges), 2 * SAMPLES) > SPEAKS
    others = shared_edges(seen, place[:-1], place[1:], sight.width)
    others[np.arange(len(others)), np.arange(len(others))] = False
    return (speaks & ~others.any(1)).mean(1)


def shared_edges(seen: Support, start: np.ndarray, end: np.ndarray, width: float) -> np.ndarray:
    """Which edge samples of each stick (rows) lie on the edges of each other stick (columns).

    (K, K, 2 * SAMPLES) bool; each stick's own edges lie on its own.
    """
    place = seen.place.reshape(len(start), 2 * SAMPLES, 2)
    return edges_in_common(place, start, end, 0.5 * width, SAME_EDGE * width, SAME_WAY)
