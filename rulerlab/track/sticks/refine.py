"""Joints to a fraction of a pixel: the edges that are seen, the sections' common length, the tips.

Each long edge of a stick fixes the stick across, never along. Along, an open joint lies where two
axes cross; a folded one where the common length of the sections and the tips of the sticks put it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.track.sticks.extend import Chain
from rulerlab.track.sticks.sight import Sight

SAMPLES = 40  # along each edge
PROFILE = 41  # places across an edge where it is looked for
ROUNDS = (0.35, 0.25, 0.18, 0.14, 0.12, 0.12)  # widths to either side where edges are looked for
RUN = 8.0  # neighbouring samples of an edge that err together
LENGTH_SIGMA = 0.003  # relative, of one full section against what its place and slope make of it
TREND_SIGMA = (0.08, 0.08, 0.02, 0.02)  # relative changes of that length: across, down, by slope
TREND = 1 + len(TREND_SIGMA)
HALF_SIGMA = 0.04  # of a full section: how much "half" may differ from half
TIP_SIGMA = 0.10  # widths: by which tips lie beyond the overhang that all have in common
OVERHANG_SIGMA = 0.15  # widths: how well that overhang is known beforehand
WEAK_SIGMA = 0.7  # widths: how well the search itself placed a hinge
PLAY = 0.1  # widths: hinges have play and thickness, so that axes do not quite cross in them
ASIDE = 0.05  # widths: shadows and thickness displace the seen axis of a stick at either end


@dataclass(frozen=True)
class Joints:
    """Refined joints in working pixels, held end first."""

    place: np.ndarray  # (N, 2)
    covariance: np.ndarray  # (2N, 2N)
    width: float  # of a stick
    residual: float  # of the edges, px RMS


def refine(
    sight: Sight, chain: Chain, over: float, *, seen_ends: tuple[bool, bool]
) -> Joints:
    """Joints moved to where the edges, lengths and tips agree best.

    `over` is the overhang of the tips beyond the hinges; `seen_ends` says whether the chain's first
    and last tip are in view.
    """
    width, place = sight.width, chain.place.astype(float)
    count = place.size
    unknowns = np.concatenate([place.ravel(), [over], [np.log(chain.full_px)], np.zeros(TREND - 1),
                               np.zeros(count - 2)])
    prior = np.concatenate([
        np.full(count, 1 / (WEAK_SIGMA * width)), [1 / (OVERHANG_SIGMA * width)],
        [1e-6], 1 / np.array(TREND_SIGMA), np.full(count - 2, 1 / (ASIDE * width)),
    ]) ** 2
    start, covariance, residual = unknowns.copy(), np.eye(len(unknowns)), float("nan")
    for window in ROUNDS:
        place = unknowns[:count].reshape(-1, 2)
        system = _System(len(unknowns), count)
        offset, weight, width = _edges(sight, place, width, window)
        residual = _scatter(offset, weight)
        _add_edges(system, place, offset, weight, unknowns[count + 1 + TREND :],
                   max(residual, 0.3) * np.sqrt(RUN))
        _add_lengths(system, place, chain.kinds, unknowns[count + 1 : count + 1 + TREND])
        _add_tips(system, sight, place, unknowns[count], seen_ends)
        step, covariance = system.solve(prior, start - unknowns)
        step[:count] = np.clip(step[:count], -0.5 * width, 0.5 * width)
        unknowns = unknowns + step
    place = unknowns[:count].reshape(-1, 2)
    floor = (PLAY * width) ** 2 * np.eye(count)
    return Joints(place, covariance[:count, :count] + floor, width, residual)


class _System:
    """Linear equations for the small changes of all unknowns, each with its error.

    The unknowns are the joints' x and y (`joints` numbers), the overhang, TREND numbers for the
    logarithm of a full section's length (its middle value, and how it changes with the place in
    the picture and with the slope of the section: perspective), and for each stick how far its
    axis is seen aside at its two ends.
    """

    def __init__(self, size: int, joints: int):
        self.size, self.joints = size, joints
        self.rows: list[np.ndarray] = []
        self.right: list[float] = []
        self.robust: list[bool] = []

    def add(self, terms: dict[int, float], target: float, sigma: float, *, robust: bool) -> None:
        row = np.zeros(self.size)
        for place, value in terms.items():
            row[place] = value / sigma
        self.rows.append(row)
        self.right.append(target / sigma)
        self.robust.append(robust)

    def solve(self, prior: np.ndarray, back: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The change, drawn `back` to the start by the `prior` (1/variance), and its covariance."""
        matrix, right = np.array(self.rows), np.array(self.right)
        weight = np.where(self.robust, 1 / (1 + (right / 3) ** 2), 1.0)
        covariance = np.linalg.inv((matrix * weight[:, None]).T @ matrix + np.diag(prior))
        return covariance @ ((matrix * weight[:, None]).T @ right + prior * back), covariance


def _frames(place: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lengths (S,), directions and normals (S, 2) of the sections."""
    way = np.diff(place, axis=0)
    length = np.linalg.norm(way, axis=1)
    unit = way / length[:, None]
    return length, unit, np.c_[-unit[:, 1], unit[:, 0]]


def _edges(sight: Sight, place: np.ndarray, width: float, window: float):
    """How far the axis should move across, by each edge sample: offset and weight (S, SAMPLES, 2).

    An edge is a steep change of colour with stick on its inner side; without another colour on
    its outer side it must be a sharp seam, and counts less.
    """
    length, unit, normal = _frames(place)
    share = np.linspace(0.04, 0.96, SAMPLES)
    axis = place[:-1, None] + share[None, :, None] * (unit * length[:, None])[:, None]
    across = np.linspace(-window, window, PROFILE) * width
    found, weights, raw = [], [], []
    for side in (-1.0, 1.0):
        out = side * normal[:, None, None]
        here = (axis + side * 0.5 * width * normal[:, None])[:, :, None] + across[:, None] * out
        steep = sight.steepness(here, np.broadcast_to(out, here.shape))
        steep = steep * np.exp(-0.5 * (across / (0.6 * window * width)) ** 2)
        peak = steep.argmax(-1)
        strength = np.take_along_axis(steep, peak[..., None], -1)[..., 0]
        shift = across[peak] + _vertex(steep, peak) * (across[1] - across[0])
        edge = axis + side * (0.5 * width + shift[..., None]) * normal[:, None]
        inner = sight.at(sight.evidence, edge - 0.18 * width * out[:, :, 0], -5.0) > 0
        outer = sight.at(sight.evidence, edge + 0.18 * width * out[:, :, 0], -5.0) > 0
        rim = (peak > 0) & (peak < PROFILE - 1)
        weight = np.where(inner & ~outer & rim & (strength > 0.7), 1.0, 0.0)
        weight = np.where(inner & outer & rim & (strength > 1.6), 0.35, weight)
        found.append(shift * side)
        raw.append(shift)
        weights.append(weight)
    offset, weight = np.stack(found, -1), np.stack(weights, -1)
    both = (weight > 0.9).all(-1)
    if both.sum() > 10:
        wider = float(np.median((raw[0] + raw[1])[both]))
        width = width + wider
        offset = offset - 0.5 * wider * np.array([-1.0, 1.0])
    return offset, weight, width


def _vertex(values: np.ndarray, peak: np.ndarray) -> np.ndarray:
    """Where between the samples the maximum lies, -0.5..0.5 samples from `peak`."""
    inner = np.clip(peak, 1, values.shape[-1] - 2)[..., None]
    left, middle, right = (
        np.take_along_axis(values, inner + k, -1)[..., 0] for k in (-1, 0, 1)
    )
    bend = left - 2 * middle + right
    return np.where(bend < -1e-9, np.clip(0.5 * (left - right) / np.minimum(bend, -1e-9),
                                          -0.5, 0.5), 0.0)


def _scatter(offset: np.ndarray, weight: np.ndarray) -> float:
    """RMS (robust) of the free edges about each edge's own straight line."""
    share = np.linspace(-1, 1, SAMPLES)
    left = []
    for values, good in zip(np.moveaxis(offset, -1, 1).reshape(-1, SAMPLES),
                            np.moveaxis(weight, -1, 1).reshape(-1, SAMPLES) > 0.9, strict=True):
        if good.sum() > 8:
            line = np.polyfit(share[good], values[good], 1)
            left.append(values[good] - np.polyval(line, share[good]))
    return 1.48 * float(np.median(np.abs(np.concatenate(left)))) if left else 1.0


def _add_edges(system, place, offset, weight, aside, spread) -> None:
    _, _, normal = _frames(place)
    share = np.linspace(0.04, 0.96, SAMPLES)
    for k, sample, side in zip(*np.nonzero(weight > 0), strict=True):
        shares = np.array([1 - share[sample], share[sample]])
        near, far = shares[:, None] * normal[k]
        extra = system.joints + 1 + TREND + 2 * k
        terms = {2 * k: near[0], 2 * k + 1: near[1], 2 * k + 2: far[0], 2 * k + 3: far[1],
                 extra: shares[0], extra + 1: shares[1]}
        left = offset[k, sample, side] - shares @ aside[2 * k : 2 * k + 2]
        system.add(terms, left, spread / weight[k, sample, side], robust=True)


def _trend_terms(place: np.ndarray) -> np.ndarray:
    """What multiplies the numbers of the length's trend for each section, (S, TREND)."""
    middle = (place[1:] + place[:-1]) / 2
    size = max(float(np.ptp(middle, axis=0).max()), 1.0)
    _, unit, _ = _frames(place)
    double = unit[:, 0] ** 2 - unit[:, 1] ** 2, 2 * unit[:, 0] * unit[:, 1]
    return np.c_[np.ones(len(middle)), (middle - middle.mean(0)) / size, np.array(double).T]


def _add_lengths(system, place, kinds, trend) -> None:
    """Full sections share a length that varies smoothly over the picture; halves are half of it."""
    length, unit, _ = _frames(place)
    terms = _trend_terms(place)
    wanted = np.exp(terms @ trend)
    for k, kind in enumerate(kinds):
        if kind == "free":
            continue
        share = 1.0 if kind == "full" else 0.5
        row = {2 * k: -unit[k, 0], 2 * k + 1: -unit[k, 1],
               2 * k + 2: unit[k, 0], 2 * k + 3: unit[k, 1]}
        row |= {system.joints + 1 + m: -share * wanted[k] * terms[k, m] for m in range(TREND)}
        sigma = wanted[k] * (LENGTH_SIGMA if kind == "full" else HALF_SIGMA)
        system.add(row, share * wanted[k] - length[k], sigma, robust=False)


def _add_tips(system, sight, place, over, seen_ends) -> None:
    """Every stick ends the overhang beyond its hinge, where the colour of sticks ends.

    A tip that a rivet or a plate covers is left out.
    """
    _, unit, _ = _frames(place)
    last = len(place) - 1
    reach = np.arange(-0.4, 1.6, 0.02) * sight.width
    for k in range(len(unit)):
        for joint, way in ((k, -unit[k]), (k + 1, unit[k])):
            if joint == 0 and not seen_ends[0] or joint == last and not seen_ends[1]:
                continue
            hits = sight.at(sight.evidence, place[joint] + reach[:, None] * way, -5.0) > 0
            if not hits.any() or hits[-1]:
                continue
            end = int(np.flatnonzero(hits)[-1])
            if hits[: end + 1].mean() < 0.85:
                continue
            terms = {2 * joint: way[0], 2 * joint + 1: way[1], system.joints: 1.0}
            system.add(terms, reach[end] - over, TIP_SIGMA * sight.width, robust=True)
