"""Where a load curve lies in the chain's phase diagram.

A row of the diagram is a friction against moving to the right, a column a noise, both over
stiffness and in units of the pull; every chain is pulled by a step and observed 100 times its
damping over stiffness later. The friction to the left is fixed at LEFT, which brings the diagram of
networks (concave to convex), or follows the one to the right (`symmetric`: never convex).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.chain.model import ChainModel
from rulerlab.chain.phase import PhaseGrid, phase_diagram
from rulerlab.fit.profile import DISCREPANCY, LIMIT, Springs, springs_of, weights
from rulerlab.records import LoadCurve

LEFT = 0.1
CELLS = 40
REGION = 5.991  # rise of chi2 over two parameters that holds 95 %


@dataclass(frozen=True)
class NearestChain:
    """The chain of the phase diagram that shares its load most like a curve."""

    friction_over_k: float  # in units of the pull
    noise_over_k: float
    chi2: float  # of the best cell, at the best scale
    degrees_of_freedom: int
    friction: np.ndarray  # (R,) of the rows
    noise: np.ndarray  # (C,) of the columns
    distance: np.ndarray  # (R, C) chi2 of every cell
    region: np.ndarray  # (R, C) True where 95 % of the confidence lies
    curve: LoadCurve  # of the best cell, scaled to the measured one
    symmetric: bool
    valid: bool  # whether the best cell is near enough to be called the same (p > 0.01)
    message: str  # what the region leaves open, and why it is not valid

    @property
    def friction_range(self) -> tuple[float, float]:
        """Least and largest friction in the region."""
        rows = self.friction[self.region.any(axis=1)]
        return float(rows.min()), float(rows.max())

    @property
    def noise_range(self) -> tuple[float, float]:
        """Least and largest noise in the region."""
        columns = self.noise[self.region.any(axis=0)]
        return float(columns.min()), float(columns.max())


def _even(low: float, high: float) -> np.ndarray:
    """0 and values that get wider apart: even below `low`, even in the logarithm above."""
    values = low * np.sinh(np.linspace(0, np.arcsinh(high / low), CELLS))
    return np.append(values[:-1], high)


def diagram_loads(
    lengths: np.ndarray, *, symmetric: bool = False
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Frictions (R,), noises (C,) and the loads of all cells at pull 1, (R, C, N), for springs of
    these relative lengths (N,)."""
    friction, noise = _even(0.01, 1.0), _even(0.01, 0.8)
    grid = PhaseGrid(
        ChainModel(len(lengths) - 1, tuple(1 / lengths), friction_left=LEFT),
        row_values=tuple(friction), column_values=tuple(noise), symmetric=symmetric, tier="mean",
    )  # fmt: skip
    return friction, noise, phase_diagram(grid).extensions


def nearest_chain(
    curve: LoadCurve,
    *,
    symmetric: bool = False,
    lengths: np.ndarray | None = None,
    discrepancy: float = DISCREPANCY,
) -> NearestChain:
    """Place a curve in the phase diagram of a chain with as many blocks as it shows.

    The curve's own scale is fitted in every cell, so its shape alone counts; `lengths` and
    `discrepancy` as in `fit_profile`. The region holds the cells within 95 % of the best one,
    widened by chi2 per degree of freedom where no cell fits: ridges and plateaus stay in it whole.
    Raises QualityError if nothing was pulled.
    """
    from scipy.special import chdtrc

    springs = springs_of(curve, lengths)
    seen = len(springs.loads)
    whole = np.append(springs.length, np.ones(springs.blocks + 1 - seen))
    friction, noise, cells = diagram_loads(whole, symmetric=symmetric)
    cells = cells[..., :seen]
    distance, scale = _distance(springs, cells, discrepancy)
    best = np.unravel_index(int(distance.argmin()), distance.shape)
    degrees, chi2 = max(1, seen - 3), float(distance[best])
    region = distance <= chi2 + REGION * max(1.0, chi2 / degrees)
    valid = bool(chdtrc(degrees, chi2) > LIMIT)
    told = [] if valid else [f"no chain shares its load like this (chi2 {chi2:.0f} for {degrees} "
                             "degrees of freedom); the nearest one is shown"]  # fmt: skip
    drawn = LoadCurve.from_loads(springs.pull * scale[best] * cells[best], np.zeros((seen, seen)),
                                 "chain")  # fmt: skip
    joints = len(curve.remaining)
    shape = LoadCurve(drawn.remaining[:joints], np.zeros((joints, joints)), "chain",
                      unit=curve.unit, quantity=curve.quantity, label="nearest chain")  # fmt: skip
    return NearestChain(
        float(friction[best[0]]), float(noise[best[1]]), chi2, degrees, friction, noise, distance,
        region, shape, symmetric, valid, "; ".join(told + _open(friction, noise, region)),
    )  # fmt: skip


def _distance(
    springs: Springs, cells: np.ndarray, discrepancy: float
) -> tuple[np.ndarray, np.ndarray]:
    """chi2 of every cell at its best scale, and those scales."""
    weight = weights(springs, discrepancy)
    norm = np.einsum("rcn,nm,rcm->rc", cells, weight, cells)
    scale = cells @ (weight @ springs.loads) / norm
    off = springs.loads - scale[..., None] * cells
    return np.einsum("rcn,nm,rcm->rc", off, weight, off), scale


def _open(friction: np.ndarray, noise: np.ndarray, region: np.ndarray) -> list[str]:
    """What the region does not limit."""
    told = []
    if region[-1].any():
        told.append(f"friction over stiffness has no upper limit below {friction[-1]:g}")
    if region[:, -1].any():
        told.append(f"noise over stiffness has no upper limit below {noise[-1]:g}")
    if region.mean() > 0.5:
        told.append("the curve hardly says where in the diagram it lies")
    return told
