"""A board, or reference marks, of known places, seen through a calibration that is held fixed.

Only the pose is free; what the picture then gets wrong is the calibration's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import cv2
import numpy as np

from rulerlab.calibrate import lens
from rulerlab.calibrate.fitted import Fit, held, rms
from rulerlab.calibrate.views import View
from rulerlab.camera import Camera
from rulerlab.errors import QualityError

MARK_SIGMA_PX = 0.05  # what compression leaves uncertain in a corner or mark, at the least


@dataclass(frozen=True)
class KnownPlaces:
    """What views of known points say about a camera."""

    views: int
    error_px: float  # reprojection error, RMS
    length_error: float  # RMS relative error of the longer distances between the points
    focal_shift: float  # relative change of the focal length that the views ask for
    focal_sigma: float


def known_places(camera: Camera, views: Iterable[View | None]) -> KnownPlaces | None:
    """Measure known points in views of one scene; None when no view shows them.

    The views show the same points with the same errors, so more of them give no smaller sigma.
    """
    fits = []
    for view in views:
        if view is not None:
            try:
                fits.append(held(camera, view))
            except QualityError:
                continue
    if not fits:
        return None
    shift, sigma = _focal_shift(fits)
    lengths = np.concatenate([_length_errors(fit, camera) for fit in fits])
    residual = np.concatenate([fit.residuals()[0] for fit in fits])
    own = 0.0
    if camera.parameter_covariance is not None:
        own = float(np.sqrt(camera.parameter_covariance[0, 0])) / camera.camera_matrix[0, 0]
    return KnownPlaces(
        len(fits), rms(residual), float(np.sqrt(np.mean(lengths**2))), shift,
        float(np.hypot(sigma, own)),
    )


def _focal_shift(fits: list[Fit]) -> tuple[float, float]:
    """Relative change of the focal length that would fit the views best, and its sigma."""
    top, bottom, noise, count = 0.0, 0.0, 0.0, 0
    for fit in fits:
        view = fit.views[0]
        _, by_lens, by_pose = lens.project(
            fit.model, fit.parameters, fit.poses[0], view.points_mm
        )
        zoom = by_lens[:, 0] * fit.parameters[0] + by_lens[:, 1] * fit.parameters[1]
        basis, _ = np.linalg.qr(by_pose)
        zoom = zoom - basis @ (basis.T @ zoom)
        residual = fit.residuals()[0].ravel()
        top, bottom = top + zoom @ residual, bottom + zoom @ zoom
        noise, count = noise + residual @ residual, count + len(residual) - 6
    shift = top / bottom
    variance = max(noise - shift * top, 0) / max(count - 1, 1) + MARK_SIGMA_PX**2
    return float(shift), float(np.sqrt(len(fits) * variance / bottom))


def _length_errors(fit: Fit, camera: Camera) -> np.ndarray:
    """Relative errors of the distances between points, those above half the longest."""
    view, pose = fit.views[0], fit.poses[0]
    turn = cv2.Rodrigues(pose[:3])[0]
    to_plane = np.linalg.inv(np.column_stack([turn[:, 0], turn[:, 1], pose[3:]]))
    rays = camera.undistort(view.corners_px)
    flat = np.column_stack([rays, np.ones(len(rays))]) @ to_plane.T
    first, second = np.triu_indices(len(flat), 1)
    seen, true = (
        np.linalg.norm(places[first] - places[second], axis=1)
        for places in (flat[:, :2] / flat[:, 2:], view.points_mm[:, :2])
    )
    far = true > 0.5 * true.max()
    return seen[far] / true[far] - 1
