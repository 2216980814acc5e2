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
ROUNDS = (0.35, 0.25, 0.18, 0.14, 0.12)  # widths to either side in which edges are looked for
RUN = 6.0  # neighbouring samples of an edge that err together
LENGTH_SIGMA = 0.006  # relative, of one full section against the smooth trend of all
HALF_SIGMA = 0.03  # of a full section: how much "half" may differ from half
TIP_SIGMA = 0.15  # widths: of the overhang beyond a hinge
WEAK_SIGMA = 0.5  # widths: how well the search itself placed a hinge


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
    covariance, residual = np.eye(2 * len(place)), float("nan")
    for window in ROUNDS:
        rows, target, sigma = [], [], []
        offset, weight, width = _edges(sight, place, width, window)
        residual = _scatter(offset, weight)
        spread = max(residual, 0.3) * np.sqrt(RUN)
        _add_edges(rows, target, sigma, place, offset, weight, spread)
        _add_lengths(rows, target, sigma, place, chain.kinds)
        _add_tips(rows, target, sigma, sight, place, over, seen_ends)
        matrix, right, error = np.array(rows), np.array(target), np.array(sigma)
        prior = np.eye(2 * len(place)) / (WEAK_SIGMA * width) ** 2
        scaled = matrix / error[:, None]
        pull = right / error
        robust = 1 / (1 + (pull / 3) ** 2)
        normal = (scaled * robust[:, None]).T @ scaled + prior
        covariance = np.linalg.inv(normal)
        step = covariance @ ((scaled * robust[:, None]).T @ pull)
        place = place + np.clip(step, -0.5 * width, 0.5 * width).reshape(-1, 2)
    return Joints(place, covariance, width, residual)


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
        steep = _steepness(sight, here, np.broadcast_to(out, here.shape))
        steep = steep * np.exp(-0.5 * (across / (0.6 * window * width)) ** 2)
        peak = steep.argmax(-1)
        strength = np.take_along_axis(steep, peak[..., None], -1)[..., 0]
        shift = across[peak] + _vertex(steep, peak) * (across[1] - across[0])
        edge = axis + (side * 0.5 * width + shift[..., None]) * side * 0 + side * (
            0.5 * width + shift[..., None]) * normal[:, None]
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


def _steepness(sight: Sight, place: np.ndarray, normal: np.ndarray) -> np.ndarray:
    """Change of colour per pixel along `normal`, in units of the seam."""
    change = [
        sight.at(sight.slope[..., k], place) * normal[..., 0]
        + sight.at(sight.slope[..., k + 3], place) * normal[..., 1]
        for k in range(3)
    ]
    return np.linalg.norm(np.stack(change, -1), axis=-1) / sight.seam


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


def _add_edges(rows, target, sigma, place, offset, weight, spread) -> None:
    _, _, normal = _frames(place)
    share = np.linspace(0.04, 0.96, SAMPLES)
    for k, sample, side in zip(*np.nonzero(weight > 0), strict=True):
        row = np.zeros(2 * len(place))
        row[2 * k : 2 * k + 2] = (1 - share[sample]) * normal[k]
        row[2 * k + 2 : 2 * k + 4] = share[sample] * normal[k]
        rows.append(row)
        target.append(offset[k, sample, side])
        sigma.append(spread / weight[k, sample, side])


def _add_lengths(rows, target, sigma, place, kinds) -> None:
    """Full sections share a length that varies smoothly over the picture; halves are half of it."""
    length, unit, _ = _frames(place)
    full = np.array([kind == "full" for kind in kinds])
    middle = (place[1:] + place[:-1]) / 2
    centre, size = middle.mean(0), max(float(np.ptp(middle, axis=0).max()), 1.0)
    trend = np.c_[np.ones(len(middle)), (middle - centre) / size]
    ridge = np.diag([0.0, 1.0, 1.0]) / (0.1 / LENGTH_SIGMA) ** 2
    terms = trend[full]
    fit = np.linalg.solve(terms.T @ terms + ridge + 1e-9 * np.eye(3),
                          terms.T @ np.log(length[full]))
    wanted = np.exp(trend @ fit)
    for k, kind in enumerate(kinds):
        if kind == "free":
            continue
        row = np.zeros(2 * len(place))
        row[2 * k : 2 * k + 2], row[2 * k + 2 : 2 * k + 4] = -unit[k], unit[k]
        goal = wanted[k] if kind == "full" else 0.5 * wanted[k]
        rows.append(row)
        target.append(goal - length[k])
        sigma.append(wanted[k] * (LENGTH_SIGMA if kind == "full" else HALF_SIGMA))


def _add_tips(rows, target, sigma, sight, place, over, seen_ends) -> None:
    """Every stick ends `over` beyond its hinge, where the colour of sticks ends."""
    _, unit, _ = _frames(place)
    last = len(place) - 1
    for k in range(len(unit)):
        for joint, way in ((k, -unit[k]), (k + 1, unit[k])):
            if joint == 0 and not seen_ends[0] or joint == last and not seen_ends[1]:
                continue
            reach = np.arange(-0.4, 1.6, 0.02) * sight.width
            hits = sight.at(sight.evidence, place[joint] + reach[:, None] * way, -5.0) > 0
            if not hits.any() or hits[-1]:
                continue
            tip = reach[np.flatnonzero(hits)[-1]]
            row = np.zeros(2 * len(place))
            row[2 * joint : 2 * joint + 2] = way
            rows.append(row)
            target.append(tip - over)
            sigma.append(TIP_SIGMA * sight.width)
