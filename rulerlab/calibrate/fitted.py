"""One lens model fitted to views of a board: parameters, poses, residuals.

The optimiser is OpenCV's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rulerlab.calibrate import lens
from rulerlab.calibrate.views import View
from rulerlab.camera import Camera
from rulerlab.errors import QualityError


@dataclass(frozen=True)
class Fit:
    """One lens model fitted to views."""

    model: str
    parameters: np.ndarray  # (p,) as lens.names(model)
    poses: np.ndarray  # (V, 6)
    views: tuple[View, ...]
    size_px: tuple[int, int]

    def residuals(self) -> list[np.ndarray]:
        """Seen minus predicted corners of each view, V arrays (n, 2), px."""
        return [
            view.corners_px - lens.project(self.model, self.parameters, pose, view.points_mm)[0]
            for view, pose in zip(self.views, self.poses, strict=True)
        ]

    def view_error_px(self) -> np.ndarray:
        """Reprojection error of each view, (V,): RMS of the distance."""
        return np.array([rms(residual) for residual in self.residuals()])

    def error_px(self, names: set[str] | None = None) -> float:
        """Reprojection error of all corners (of the views with these names): RMS of the distance.
        """
        return rms(np.concatenate([
            residual for view, residual in zip(self.views, self.residuals(), strict=True)
            if names is None or view.name in names
        ]))


def rms(residual: np.ndarray) -> float:
    """Root mean square length of vectors (n, 2)."""
    return float(np.sqrt((residual**2).sum(axis=-1).mean()))


def fit_views(views: tuple[View, ...], size_px: tuple[int, int], model: str) -> Fit:
    """One lens model by OpenCV's optimiser. Raises QualityError when it finds no camera."""
    points = [view.points_mm.astype(np.float32) for view in views]
    pixels = [view.corners_px.astype(np.float32) for view in views]
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 200, 1e-10)
    try:
        if model == lens.FISHEYE:
            focal = max(size_px) / np.pi
            start = lens.matrix(np.array([focal, focal, *(np.array(size_px) - 1) / 2]))
            names = cv2.fisheye if hasattr(cv2.fisheye, "CALIB_FIX_SKEW") else cv2  # OpenCV 4, 5
            flags = (names.CALIB_RECOMPUTE_EXTRINSIC | names.CALIB_FIX_SKEW
                     | names.CALIB_USE_INTRINSIC_GUESS)
            _, k, d, rotations, shifts = cv2.fisheye.calibrate(
                [p[None].astype(float) for p in points],  # OpenCV 5.0 takes rows only
                [p[None].astype(float) for p in pixels],
                size_px, start, np.zeros((4, 1)), flags=flags, criteria=stop,
            )
        else:
            flags = cv2.CALIB_RATIONAL_MODEL if model == lens.RATIONAL else 0
            _, k, d, rotations, shifts = cv2.calibrateCamera(
                points, pixels, size_px, None, None, flags=flags, criteria=stop
            )
    except cv2.error as error:
        raise QualityError(
            f"no {model} camera fits the {len(views)} views ({error.err}); "
            "film the board tilted, at different places of the picture"
        ) from None
    size = len(lens.names(model)) - 4
    parameters = lens.pack(k, np.ravel(d)[:size])
    if not np.isfinite(parameters).all():
        raise QualityError(f"the {model} camera does not converge on these views; film more")
    poses = np.array(
        [np.concatenate([np.ravel(r), np.ravel(t)]) for r, t in zip(rotations, shifts, strict=True)]
    )
    return Fit(model, parameters, poses, views, size_px)


def held(camera: Camera, view: View) -> Fit:
    """The pose of one view with the camera held fixed, as a Fit of one view.

    Raises QualityError when no pose explains the view.
    """
    rays = camera.undistort(view.corners_px)
    if not np.isfinite(rays).all():
        raise QualityError(f"{view.name}: the lens model does not reach these corners")
    found, rotation, shift = cv2.solvePnP(
        view.points_mm, np.ascontiguousarray(rays), np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
    )
    if not found:
        raise QualityError(f"{view.name}: no pose of the board explains its corners")
    model = lens.model_of(camera)
    fit = Fit(
        model, lens.pack(camera.camera_matrix, camera.distortion)[: len(lens.names(model))],
        np.concatenate([np.ravel(rotation), np.ravel(shift)])[None], (view,),
        camera.image_size_px,
    )
    return with_best_poses(fit)


def with_best_poses(fit: Fit) -> Fit:
    """The fit with its poses fitted anew, the camera held fixed."""
    poses = fit.poses.copy()
    for view, pose in zip(fit.views, poses, strict=True):
        for _ in range(20):
            pixels, _, by_pose = lens.project(fit.model, fit.parameters, pose, view.points_mm)
            step = np.linalg.lstsq(by_pose, (view.corners_px - pixels).ravel(), rcond=None)[0]
            pose += step
            if np.abs(step).max() < 1e-9:
                break
    return replace(fit, poses=poses)
