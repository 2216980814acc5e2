"""From views of a board to a camera: fit, throw out what does not belong, choose the lens model.

What the fit leaves as residuals decides.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rulerlab.calibrate import lens
from rulerlab.calibrate.fitted import Fit, fit_views, with_best_poses
from rulerlab.calibrate.judge import refuse_too_few, refuse_undetermined
from rulerlab.calibrate.spread import Spread, parameter_spread
from rulerlab.calibrate.views import CORNERS_MIN, View, Views
from rulerlab.camera import Camera
from rulerlab.errors import QualityError

BAD_VIEW_FACTOR = 3.0  # a view whose residual is so many times the usual one does not belong
BAD_CORNER_FACTOR = 5.0  # standard deviations, from the median
VIEWS_KEPT_MIN = 0.7  # a model that drops more of the views than this explains nothing
RICHER_MODEL_GAIN = 0.15  # the residual must fall by this share to leave a preferred model


@dataclass(frozen=True)
class Calibrated:
    """A fitted camera with its uncertainty and its history."""

    fit: Fit
    spread: Spread
    dropped: dict[str, str]  # name of the view -> reason
    corners_dropped: int
    camera: Camera


def calibrate_camera(
    found: Views, *, model: str = "auto", board: str | None = None, date: str | None = None
) -> Calibrated:
    """The camera that explains the views, with the covariance of its parameters.

    `model` is "auto", "standard", "rational" or "fisheye". Raises QualityError, saying what to
    film next, when the views can't determine the camera.
    """
    refuse_too_few(found.views, found.dropped)
    fit, dropped, corners = _simplest(found, lens.MODELS if model == "auto" else (model,))
    refuse_too_few(fit.views, {**found.dropped, **dropped})
    spread = parameter_spread(fit)
    if spread.shift.any():
        fit = with_best_poses(replace(fit, parameters=fit.parameters + spread.shift))
    refuse_undetermined(fit, spread.covariance)
    camera = Camera(
        fit.size_px, lens.matrix(fit.parameters), fit.parameters[4:],
        lens.FISHEYE if fit.model == lens.FISHEYE else "standard",
        reprojection_error_px=fit.error_px(), parameter_covariance=spread.covariance,
        board=board, date=date,
    )
    return Calibrated(fit, spread, {**found.dropped, **dropped}, corners, camera)


def _simplest(found: Views, models: tuple[str, ...]) -> tuple[Fit, dict[str, str], int]:
    """The first model that fits nearly as well as the best, in the views that all of them keep."""
    fits, refusals = [], []
    for model in models:
        try:
            fits.append(_fit_cleaned(found.views, found.size_px, model))
        except QualityError as refusal:
            refusals.append(refusal)
    fits = [done for done in fits if (done[0].parameters[:2] > 0).all()]
    if not fits:
        raise refusals[0] if refusals else QualityError(
            "no lens explains the views: film the board tilted, at different places of the picture"
        )
    most = max(len(fit.views) for fit, _, _ in fits)
    fits = [done for done in fits if len(done[0].views) >= VIEWS_KEPT_MIN * most]
    common = set.intersection(*({view.name for view in fit.views} for fit, _, _ in fits))
    errors = [fit.error_px(common or None) for fit, _, _ in fits]
    limit = min(errors) / (1 - RICHER_MODEL_GAIN)
    return next(done for done, error in zip(fits, errors, strict=True) if error <= limit)


def _fit_cleaned(
    views: tuple[View, ...], size_px: tuple[int, int], model: str
) -> tuple[Fit, dict[str, str], int]:
    """Fit, drop views and corners that don't belong, and fit again until all agree."""
    dropped: dict[str, str] = {}
    corners_dropped = 0
    fit = fit_views(views, size_px, model)
    while len(fit.views) > 3:
        errors = fit.view_error_px()
        usual = np.median(errors)
        worst = int(errors.argmax())
        if errors[worst] > max(BAD_VIEW_FACTOR * usual, 0.1):
            view, bad = fit.views[worst], _bad_corners(fit)[worst]
            if 0 < bad.sum() <= 0.15 * len(bad) and len(bad) - bad.sum() >= CORNERS_MIN:
                trimmed = view.without(bad)
                corners_dropped += int(bad.sum())
                views = (*fit.views[:worst], trimmed, *fit.views[worst + 1 :])
            else:
                dropped[view.name] = (
                    f"residual {errors[worst]:.2f} px, the others {usual:.2f} px: "
                    "blurred, a bent board, or corners mistaken"
                )
                views = (*fit.views[:worst], *fit.views[worst + 1 :])
            fit = fit_views(views, size_px, model)
            continue
        bad = _bad_corners(fit)
        count = int(sum(b.sum() for b in bad))
        if not count:
            break
        corners_dropped += count
        views = tuple(view.without(b) for view, b in zip(fit.views, bad, strict=True))
        kept = tuple(view for view in views if len(view.ids) >= CORNERS_MIN)
        dropped |= {v.name: "most of its corners are outliers" for v in views if v not in kept}
        fit = fit_views(kept, size_px, model)
    return fit, dropped, corners_dropped


def _bad_corners(fit: Fit) -> list[np.ndarray]:
    """Corners that lie far outside the usual residual, V masks (n,)."""
    lengths = [np.linalg.norm(residual, axis=1) for residual in fit.residuals()]
    sigma = np.median(np.concatenate(lengths)) / 1.1774  # of a Rayleigh distribution
    limit = max(BAD_CORNER_FACTOR * sigma, 0.05)
    return [length > limit for length in lengths]
