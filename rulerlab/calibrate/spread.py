"""How sure the camera is: the covariance of its parameters.

Three parts. Corners that scatter alone give the classical covariance. If views as a whole agree
less than that allows, found by leaving each view out, it is scaled up. If the same corner of the
board is off by the same amount in all views, the board is not flat. A freely shaped board would
then give other parameters, but its shape also swallows errors of the corners; so the mean of both
cameras is taken, and half their difference is added as one shared error.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.calibrate import lens
from rulerlab.calibrate.fitted import Fit

BEND_PRIOR = 0.02  # a board is flat within this share of a square
BEND_CERTAINTY = 1e-3  # chance at which a flat board would look bent


@dataclass(frozen=True)
class Spread:
    """Uncertainty of a camera and where it comes from."""

    covariance: np.ndarray  # (p, p)
    noise_px: float  # scatter of a corner in x or y
    view_factor: float  # how much worse the views agree than their corners (in sigma)
    bend_mm: float  # RMS departure of the board from its plan; 0 when it may be perfect
    shift: np.ndarray  # (p,) to be added to the parameters, because of the bend


@dataclass(frozen=True)
class _Reduced:
    """One view with its pose eliminated."""

    design: np.ndarray  # (2n, p) derivative by the parameters, free of the pose
    residual: np.ndarray  # (2n,)
    by_point: np.ndarray  # (2n, 3n) derivative by the board's points, free of the pose


def parameter_spread(fit: Fit) -> Spread:
    """Covariance (p, p) of the parameters of a fit, as honest as its residuals allow."""
    views = [_reduce(fit, k) for k in range(len(fit.views))]
    design = np.concatenate([view.design for view in views])
    residual = np.concatenate([view.residual for view in views])
    scale = np.sqrt((design**2).sum(axis=0))  # columns of very different size
    freedom = len(residual) - len(scale) - 6 * len(views)
    variance = float(residual @ residual) / max(freedom, 1)
    parts = [(view.design / scale).T @ (view.design / scale) for view in views]
    scores = [(view.design / scale).T @ view.residual for view in views]
    information = sum(parts)
    classical = variance * np.linalg.pinv(information, hermitian=True)
    factor = _view_factor(parts, scores, information, variance)
    covariance = classical * factor / np.outer(scale, scale)
    bend_mm, apart = _bend(fit, views, variance, freedom)
    covariance = covariance + np.outer(apart, apart) / 4
    return Spread((covariance + covariance.T) / 2, variance**0.5, factor**0.5, bend_mm, apart / 2)


def _reduce(fit: Fit, k: int) -> _Reduced:
    view, pose = fit.views[k], fit.poses[k]
    pixels, by_lens, by_pose = lens.project(fit.model, fit.parameters, pose, view.points_mm)
    basis, _ = np.linalg.qr(by_pose)

    def free(columns: np.ndarray) -> np.ndarray:
        return columns - basis @ (basis.T @ columns)

    count = len(view.ids)
    turn = _rotation(pose[:3])
    local = (by_pose[:, 3:].reshape(count, 2, 3)) @ turn  # a board point moves like a shift
    by_point = np.zeros((2 * count, 3 * count))
    for n in range(count):
        by_point[2 * n : 2 * n + 2, 3 * n : 3 * n + 3] = local[n]
    return _Reduced(free(by_lens), free((view.corners_px - pixels).ravel()), free(by_point))


def _rotation(vector: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vector)
    x, y, z = vector / max(angle, 1e-12)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def _view_factor(
    parts: list[np.ndarray], scores: list[np.ndarray], information: np.ndarray, variance: float
) -> float:
    """Variance seen by leaving one view out, over the variance that free corners would show."""
    inverse = np.linalg.pinv(information, hermitian=True)
    seen, expected = 0.0, 0.0
    for part, score in zip(parts, scores, strict=True):
        without = np.linalg.pinv(information - part, hermitian=True)
        shift = without @ score
        seen += shift @ information @ shift
        free = variance * (part - part @ inverse @ part)
        expected += np.trace(information @ without @ free @ without)
    return max(1.0, float(seen / expected)) if expected > 0 else 1.0


def _bend(
    fit: Fit, views: list[_Reduced], variance: float, freedom: int
) -> tuple[float, np.ndarray]:
    """RMS bend of the board, mm, and the shift of the parameters it hides, (p,).

    The board's points are freed with a weak prior; without a sure gain nothing is claimed.
    """
    from scipy.stats import f as fisher

    shared = np.unique(np.concatenate([view.ids for view in fit.views]), return_counts=True)
    ids, seen = shared
    none = 0.0, np.zeros(len(fit.parameters))
    if len(fit.views) < 5 or np.median(seen) < 4:
        return none
    square = _square(fit)
    lens_size, points = len(fit.parameters), 3 * len(ids)
    normal, right = np.zeros((lens_size + points,) * 2), np.zeros(lens_size + points)
    for view, part in zip(fit.views, views, strict=True):
        place = np.searchsorted(ids, view.ids)
        columns = (lens_size + 3 * place[:, None] + np.arange(3)).ravel()
        index = np.concatenate([np.arange(lens_size), columns])
        design = np.hstack([part.design, part.by_point])
        normal[np.ix_(index, index)] += design.T @ design
        right[index] += design.T @ part.residual
    scale = np.sqrt(np.maximum(np.diag(normal), 1e-300))
    ridge = np.zeros(lens_size + points)
    ridge[lens_size:] = variance / (BEND_PRIOR * square) ** 2
    damped = normal + np.diag(ridge)
    step = np.linalg.solve(damped / np.outer(scale, scale), right / scale) / scale
    alone = np.linalg.solve(
        normal[:lens_size, :lens_size] / np.outer(scale[:lens_size], scale[:lens_size]),
        right[:lens_size] / scale[:lens_size],
    ) / scale[:lens_size]
    before = right[:lens_size] @ alone
    gain = 2 * step @ right - step @ normal @ step - before
    total = variance * freedom - before
    used = float(np.trace(np.linalg.solve(
        damped / np.outer(scale, scale), normal / np.outer(scale, scale)))) - lens_size
    left = freedom - used
    if left <= 10 or gain <= 0:
        return none
    ratio = (gain / used) / max((total - gain) / left, 1e-300)
    if fisher.sf(ratio, used, left) > BEND_CERTAINTY:
        return none
    bend = step[lens_size:].reshape(-1, 3)
    return float(np.sqrt((bend**2).sum(axis=1).mean())), step[:lens_size] - alone


def _square(fit: Fit) -> float:
    """Side of a square of the board, mm: the smallest distance of its corners."""
    points = np.unique(np.concatenate([view.points_mm for view in fit.views]), axis=0)
    steps = np.diff(np.unique(points[:, 0]))
    return float(steps[steps > 1e-6].min())
