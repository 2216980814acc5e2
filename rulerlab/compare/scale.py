"""Load curves of rulers, chains and networks on one scale, and how far apart two of them are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import chi2 as chi2_law
from scipy.stats import f as f_law

from rulerlab.errors import QualityError
from rulerlab.records import LoadCurve

LEAST_LOAD = 3.0  # total loads below this many of their own sigmas have no shape


def _total_sigma(curve: LoadCurve) -> float:
    """Standard deviation of the total load."""
    ends = np.zeros(len(curve.remaining))
    ends[[0, -1]] = 1, -1
    return float(np.sqrt(max(ends @ curve.covariance @ ends, 0.0)))


def has_load(curve: LoadCurve) -> bool:
    """Whether the total load is known to differ from 0: only then a curve has a shape."""
    return curve.total > LEAST_LOAD * _total_sigma(curve)


def on_one_scale(curve: LoadCurve, segments: int | None = None) -> LoadCurve:
    """The share of the load that is left, from 1 to 0, over `segments` equal parts of the depth.

    The cumulative curve is joined by straight lines and read off at l/segments of its depth, so
    a section, a spring and a layer count the same. The covariance follows both steps to first
    order; both ends are exact by definition. Raises QualityError when the total load is not
    known to differ from 0.
    """
    total, sigma = curve.total, _total_sigma(curve)
    if not has_load(curve):
        raise QualityError(
            f"the total load is {total:.3g} ± {sigma:.2g} {curve.quantity}: nothing was pulled "
            "open, so its shape can't be compared"
        )
    share = (curve.remaining - curve.remaining[-1]) / total
    slope = np.eye(len(share))
    slope[:, -1] -= 1 - share
    slope[:, 0] -= share
    parts = len(curve.loads) if segments is None else segments
    depth = np.linspace(0, len(share) - 1, parts + 1)
    read = np.array([np.interp(depth, np.arange(len(share)), row) for row in np.eye(len(share))]).T
    slope = read @ slope / total
    return LoadCurve(read @ share, slope @ curve.covariance @ slope.T, curve.source, curve.unit,
                     "share", curve.label)


@dataclass(frozen=True)
class Distance:
    """How far apart two load curves are on one scale."""

    chi2: float  # with the full covariances of both
    degrees_of_freedom: int
    p: float  # probability of a chi2 this large if the two are the same
    rms: float  # root mean square difference of the shares that are left
    rms_sigma: float


@dataclass(frozen=True)
class Scatter:
    """How curves of one kind differ among themselves at the inner depths of the scale."""

    covariance: np.ndarray  # (parts - 1, parts - 1)
    degrees_of_freedom: float  # curves that it was learned from, less their means


def distance(
    a: LoadCurve, b: LoadCurve, *, scatter: Scatter | None = None, parts: int | None = None
) -> Distance:
    """Compare two curves at the coarser of their depths, or in `parts` parts.

    `scatter` is added to the covariance; p then allows for its being learned from few curves
    (Hotelling's T squared). Directions in which no error is known at all are left out of chi2.
    Raises QualityError when one of the curves carries no load.
    """
    parts = parts or min(len(a.loads), len(b.loads))
    first, second = on_one_scale(a, parts), on_one_scale(b, parts)
    inner = slice(1, parts)
    difference = (first.remaining - second.remaining)[inner]
    covariance = (first.covariance + second.covariance)[inner, inner]
    if scatter is not None:
        covariance = covariance + scatter.covariance
    if not len(difference):
        return Distance(0.0, 0, 1.0, 0.0, 0.0)
    variance, way = np.linalg.eigh(covariance)
    known = variance > 1e-12 * max(float(variance.max()), 1e-12)
    chi2 = float(((way.T @ difference)[known] ** 2 / variance[known]).sum())
    degrees = int(known.sum())
    rms = float(np.sqrt(np.mean(difference**2)))
    toward = difference / max(rms * len(difference), 1e-12)
    p = _probability(chi2, degrees, scatter) if degrees else float(rms < 1e-9)
    error = float(np.sqrt(max(toward @ covariance @ toward, 0.0)))
    return Distance(chi2, degrees, p, rms, error)


def _probability(chi2: float, degrees: int, scatter: Scatter | None) -> float:
    """Probability of a chi2 this large by chance."""
    if scatter is None:
        return float(chi2_law.sf(chi2, degrees))
    spare = max(scatter.degrees_of_freedom - degrees + 1, 1)
    return float(f_law.sf(chi2 * spare / (degrees * (spare + degrees - 1)), degrees, spare))
