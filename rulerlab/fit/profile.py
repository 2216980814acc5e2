"""Friction from the shape of a load curve alone, by the closed forms of the chain.

A quiet chain rests with loads that rise in equal steps friction_right/stiffness toward the hand
(`rest.rest_extensions`); a long-shaken one with steps (friction_right - friction_left)/2 over
stiffness (`rest.stationary_extensions`). What a curve shows lies between the two, so it bounds
friction and does not measure it, unless the run is known to be quiet. Lengths are in units of the
pull: of what the whole chain carries.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rulerlab.chain import rest
from rulerlab.errors import QualityError, UsageError
from rulerlab.records import FitResult, LoadCurve, Parameter

DISCREPANCY = 0.1  # of the mean load: what unequal springs and blocks add to each load
LOOKS = 400
LIMIT = 0.01  # p-value below which a shape is none of a chain
Z95 = 1.959964
Family = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Springs:
    """The loads of a curve as springs of a chain, all of it or all but the one in the hand."""

    loads: np.ndarray  # (N,) in units of the pull
    covariance: np.ndarray  # (N, N) of the loads, in those units
    pull: float  # in the unit of the curve
    blocks: int  # of the chain; the last of its springs may not be among the N
    length: np.ndarray  # (N,) of each spring, as a multiple of the common one


def springs_of(curve: LoadCurve, lengths: np.ndarray | None = None) -> Springs:
    """The chain behind a load curve.

    The segments of a ruler and of a block rig are the whole chain, the last of them pulled by the
    hand. A simulated chain keeps its last spring as what is left to carry; a network leaves its
    last layer out, so its pull is that of the layers seen. Segments of other `lengths` (one per
    load, a half section 0.5) open in proportion under the same tension. Raises QualityError if
    nothing was pulled.
    """
    loads, covariance = curve.loads, curve.load_covariance
    segments = len(loads)
    length = np.ones(segments) if lengths is None else np.asarray(lengths, float)
    if length.shape != (segments,) or not (length > 0).all():
        raise UsageError(f"{segments} loads need {segments} lengths above 0, got {length.tolist()}")
    blocks = segments - 1
    if curve.source == "network":
        blocks = segments
    if curve.source == "chain" and curve.remaining[-1] > 0:
        blocks, length = segments, np.append(length, 1.0)
        step = np.vstack([-np.diff(np.eye(segments + 1), axis=0), np.eye(segments + 1)[-1]])
        loads, covariance = step @ curve.remaining, step @ curve.covariance @ step.T
    pull = float(loads.sum())
    if not pull > 0 or blocks < 1:
        raise QualityError(
            f"the {segments} loads add up to {pull:.3g} {curve.quantity}: there is no profile; "
            "pull the free end away from the held one, with at least two segments"
        )
    return Springs(loads / pull, covariance / pull**2, pull, blocks, length)


def weights(springs: Springs, discrepancy: float) -> np.ndarray:
    """Inverse covariance of the loads, with the stated discrepancy of real chains, (N, N)."""
    own = (discrepancy / len(springs.loads)) ** 2 + 1e-12
    return np.linalg.inv(springs.covariance + own * np.eye(len(springs.loads)))


def _quiet(length: np.ndarray, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Friction steps (K,) and loads (K, N) of quiet chains at pull 1.

    `ratio` (K,) is the step over the tension of the last spring; at 1 only that one is stretched.
    """
    blocks = len(length) - 1
    tension = np.array([rest.rest_extensions_by_force(blocks, 1.0, r) for r in ratio])
    pull = tension @ length
    return ratio / pull, tension * length / pull[:, None]


def _shaken(length: np.ndarray, ratio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Steps (K,) and loads (K, N) of long-shaken chains at pull 1; `ratio` is the step over the
    mean tension."""
    place = np.arange(len(length)) - length @ np.arange(len(length)) / length.sum()
    tension = (1 + np.multiply.outer(ratio, place)) / length.sum()
    return ratio / length.sum(), tension * length


@dataclass(frozen=True)
class _Shape:
    """The best of a family of shapes, with the loads that it foretells."""

    step: float
    sigma: float
    low: float
    high: float
    loads: np.ndarray  # (N,)
    chi2: float
    degrees: int


def _search(springs: Springs, weight: np.ndarray, family: Family, ends: tuple) -> _Shape:
    """Generalised least squares over ratio and pull, first roughly, then near the best.

    The interval is where chi2 rises by 3.84; it is open where it reaches the end of the family.
    """
    low, high = ends
    for _ in range(3):
        ratio = np.linspace(low, high, LOOKS)
        step, shapes = family(springs.length, ratio)
        norm = np.einsum("kn,nm,km->k", shapes, weight, shapes)
        scale = shapes @ weight @ springs.loads / norm
        off = springs.loads - scale[:, None] * shapes
        chi2 = np.einsum("kn,nm,km->k", off, weight, off)
        at = int(chi2.argmin())
        inside = np.flatnonzero(chi2 <= chi2[at] + Z95**2)
        first, last = ratio[inside[0]], ratio[inside[-1]]
        width = max(last - first, 4 * (ratio[1] - ratio[0]))
        low, high = max(ends[0], first - width), min(ends[1], last + width)
    one = step[chi2 <= chi2[at] + 1]
    grain = step[min(at + 1, LOOKS - 1)] - step[max(at - 1, 0)]
    return _Shape(
        float(step[at]), float(max(np.ptp(one), grain) / 2), float(step[inside[0]]),
        math.inf if last >= ends[1] else float(step[inside[-1]]), scale[at] * shapes[at],
        float(chi2[at]), len(springs.loads) - 2,
    )  # fmt: skip


def fit_profile(
    curve: LoadCurve,
    *,
    quiet: bool = False,
    lengths: np.ndarray | None = None,
    discrepancy: float = DISCREPANCY,
) -> FitResult:
    """Friction over stiffness from the loads at the end of a pull, or how it is bounded.

    `quiet` states that nothing shook the chain: then the step of the loads is
    friction_right_over_k, else only the least it can be. `discrepancy` is the standard deviation
    that unequal springs and blocks add to every load, as a share of the mean load. `load_step` is
    the rise of the load from spring to spring. `valid` is False if the loads follow neither
    closed form (p < 0.01). `lengths` as in `springs_of`. Raises QualityError if nothing was
    pulled.
    """
    from scipy.special import chdtrc

    springs = springs_of(curve, lengths)
    weight = weights(springs, discrepancy)
    still = _search(springs, weight, _quiet, (0.0, 1.0))
    shaken = _search(springs, weight, _shaken, (-1.0, 1.0))
    chance = {"quiet": float(chdtrc(still.degrees, still.chi2)) if still.degrees else 1.0,
              "shaken": float(chdtrc(shaken.degrees, shaken.chi2)) if shaken.degrees else 1.0}
    best = still if quiet or still.chi2 <= shaken.chi2 else shaken
    valid = chance["quiet" if quiet else max(chance, key=lambda name: chance[name])] >= LIMIT
    message = _told(springs, weight, best) if not valid else ""
    found = _parameters(best, still, shaken, quiet, chance)
    lowest = min(still.chi2, shaken.chi2)
    return FitResult(
        "profile", found, valid, message, chi2=best.chi2, degrees_of_freedom=best.degrees,
        criterion={"quiet": still.chi2 - lowest, "shaken": shaken.chi2 - lowest}, tests=chance,
    )  # fmt: skip


def _parameters(
    best: _Shape, still: _Shape, shaken: _Shape, quiet: bool, chance: dict[str, float]
) -> dict[str, Parameter]:
    """Friction, and what it would take to leave nothing open, from the best shapes."""
    likely = [shape for shape, name in ((still, "quiet"), (shaken, "shaken"))
              if chance[name] >= LIMIT] or [best]  # fmt: skip
    step = Parameter(best.step, best.sigma, best.low, best.high, "1")
    unknown = Parameter(math.nan, math.inf, 0.0, math.inf, "1", "ridge")
    if quiet:
        edge = "upper" if best.low <= 0 else "lower" if math.isinf(best.high) else ""
        right = Parameter(best.step, math.inf if edge else best.sigma, best.low, best.high, "1",
                          edge)  # fmt: skip
        left, noise = unknown, Parameter(0.0, 0.0, 0.0, 0.0, "1")
    else:
        least = max(0.0, min(shape.low for shape in likely))
        right = unknown
        if least > 0:
            right = Parameter(max(best.step, least), math.inf, least, math.inf, "1", "lower")
        back = max(0.0, -2 * max(shape.high for shape in likely))
        left, noise = unknown, unknown
        if back > 0:
            left = Parameter(max(back, -2 * best.step), math.inf, back, math.inf, "1", "lower")
    return {"load_step": step, "friction_right_over_k": right, "friction_left_over_k": left,
            "noise_over_k": noise}  # fmt: skip


def _told(springs: Springs, weight: np.ndarray, best: _Shape) -> str:
    """Which load is farthest off the best chain, and whether the loads fall where none may."""
    sigma = np.sqrt(np.diagonal(np.linalg.inv(weight)))
    off = springs.loads - best.loads
    worst = int(np.abs(off / sigma).argmax())
    told = (
        f"the loads are not a chain's (chi2 {best.chi2:.0f} for {best.degrees} degrees of "
        f"freedom): segment {worst + 1} carries {100 * springs.loads[worst]:.1f} % of the pull, "
        f"a chain would {100 * best.loads[worst]:.1f} ± {100 * sigma[worst]:.1f} %"
    )
    fall = -np.diff(springs.loads) / np.hypot(sigma[1:], sigma[:-1])
    rise = np.diff(springs.loads) / np.hypot(sigma[1:], sigma[:-1])
    if fall.max() > 3 and rise.max() > 3:
        told += "; they rise and fall along the chain"
    return told


def predicted_curve(
    result: FitResult, curve: LoadCurve, lengths: np.ndarray | None = None
) -> LoadCurve:
    """The closed form that a profile fit found, for the segments and the pull of `curve`."""
    springs = springs_of(curve, lengths)
    step = result["load_step"]
    quiet = result.criterion["quiet"] == 0
    ratio = np.linspace(0.0 if quiet else -1.0, 1.0, 10 * LOOKS)
    steps, shapes = (_quiet if quiet else _shaken)(springs.length, ratio)
    at = min(int(np.searchsorted(steps, step.value)), len(steps) - 2)
    slope = (shapes[at + 1] - shapes[at]) / (steps[at + 1] - steps[at]) * step.sigma
    loads, spread = springs.pull * shapes[at], springs.pull * slope
    whole = LoadCurve.from_loads(loads, np.outer(spread, spread), "chain")
    joints = len(curve.remaining)
    return LoadCurve(whole.remaining[:joints], whole.covariance[:joints, :joints], "chain",
                     unit=curve.unit, quantity=curve.quantity, label="closed form")  # fmt: skip
