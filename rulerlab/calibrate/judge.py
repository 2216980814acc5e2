"""Can these views determine the camera? If not: what to film next."""

from __future__ import annotations

import cv2
import numpy as np

from rulerlab.calibrate.fitted import Fit
from rulerlab.calibrate.views import View
from rulerlab.errors import QualityError

VIEWS_MIN = 4
VIEWS_GOOD = 12
TILT_MIN_DEG = 8.0  # largest angle between two views of the board
COVERED_MIN = 0.25  # share of the picture inside the hull of all corners
COVERED_GOOD = 0.6
FOCAL_SIGMA_MAX = 0.02  # relative
ROWS, COLUMNS = ("top", "middle", "bottom"), ("left", "centre", "right")


def refuse_too_few(views: tuple[View, ...], dropped: dict[str, str]) -> None:
    """Raise QualityError when there are too few views to fit anything."""
    if len(views) >= VIEWS_MIN:
        return
    why = "".join(f"; {name}: {reason}" for name, reason in list(dropped.items())[:3])
    raise QualityError(
        f"only {len(views)} views show the board, at least {VIEWS_MIN} are needed and "
        f"{VIEWS_GOOD} are good: film the board from {VIEWS_GOOD} sides, tilted 20 to 45 degrees "
        f"to the left, right, up and down, reaching every corner of the picture{why}"
    )


def refuse_undetermined(fit: Fit, covariance: np.ndarray) -> None:
    """Raise QualityError when the views leave the camera open, saying what to film next."""
    covered, tilt = coverage(fit), tilt_deg(fit)
    if tilt < TILT_MIN_DEG:
        raise QualityError(
            f"all {len(fit.views)} views are parallel within {tilt:.0f} degrees, so focal length "
            "and distance can't be told apart; film the board tilted 20 to 45 degrees: left edge "
            "nearer, right edge nearer, top nearer, bottom nearer"
        )
    if covered < COVERED_MIN:
        raise QualityError(
            f"the board was seen in only {100 * covered:.0f} % of the picture, so the distortion "
            f"is unknown elsewhere; film it also at the {', '.join(_empty(fit))} of the picture, "
            "or go nearer"
        )
    sigma = float(np.sqrt(max(covariance[0, 0], covariance[1, 1])) / fit.parameters[0])
    if not sigma < FOCAL_SIGMA_MAX:
        raise QualityError(
            f"the focal length is known to {100 * sigma:.1f} % only; film "
            f"{max(VIEWS_GOOD - len(fit.views), 6)} more views, nearer and tilted 20 to 45 degrees "
            "in different directions"
        )


def advice(fit: Fit) -> list[str]:
    """What would make a usable calibration better; empty when nothing is missing."""
    lines = []
    if len(fit.views) < VIEWS_GOOD:
        lines.append(f"{len(fit.views)} views: {VIEWS_GOOD} or more give a smaller uncertainty")
    covered, tilt = coverage(fit), tilt_deg(fit)
    if covered < COVERED_GOOD:
        lines.append(
            f"the board covers {100 * covered:.0f} % of the picture: show it also at the "
            + ", ".join(_empty(fit))
        )
    if tilt < 25:
        lines.append(
            f"the views differ by {tilt:.0f} degrees only: tilt the board 20 to 45 degrees"
        )
    return lines


def coverage(fit: Fit) -> float:
    """Share of the picture inside the convex hull of all corners seen."""
    corners = np.concatenate([view.corners_px for view in fit.views]).astype(np.float32)
    area = cv2.contourArea(cv2.convexHull(corners.reshape(-1, 1, 2)))
    return float(area / (fit.size_px[0] * fit.size_px[1]))


def tilt_deg(fit: Fit) -> float:
    """Largest angle between the normals of two views of the board, degrees."""
    normals = np.array([cv2.Rodrigues(pose[:3])[0][:, 2] for pose in fit.poses])
    cosine = np.abs(normals @ normals.T)
    return float(np.degrees(np.arccos(np.clip(cosine.min(), -1, 1))))


def _empty(fit: Fit) -> list[str]:
    """Ninths of the picture that hold the fewest corners, by name."""
    corners = np.concatenate([view.corners_px for view in fit.views])
    column, row = (np.clip(corners * 3 / np.array(fit.size_px), 0, 2.99)).astype(int).T
    counts = np.zeros((3, 3))
    np.add.at(counts, (row, column), 1)
    few = counts < 0.1 * len(corners) / 9
    names = [f"{ROWS[r]} {COLUMNS[c]}" for r, c in np.argwhere(few)]
    return names or ["edges"]
