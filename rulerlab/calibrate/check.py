"""Does a calibration still hold for a clip? Straight lines must be straight, known lengths right.

Focus, zoom, another recording mode or a stabiliser that crops all change the camera; each leaves
a mark on lines (distortion) or on a board of known size (focal length, scale).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rulerlab.calibrate import lens
from rulerlab.calibrate.board import Board
from rulerlab.calibrate.solve import Fit, held, rms
from rulerlab.calibrate.straight import Straightness, guessed_camera, plumb_line, straightness
from rulerlab.calibrate.views import read_picture, view_of
from rulerlab.camera import Camera
from rulerlab.errors import InputError, QualityError
from rulerlab.video import VIDEO_SUFFIXES, Recording

LOOKS = 5  # frames of a clip that are measured
EDGE_SHIFT_MAX_PX = 1.0  # a lens error of less, at the edge of the picture, does no harm
FOCAL_SHIFT_MAX = 0.01  # relative
LENGTH_ERROR_MAX = 0.005  # relative
SURE = 3.0  # standard deviations


@dataclass(frozen=True)
class BoardCheck:
    """A board of known size, seen through the calibration with nothing left free but its pose."""

    views: int
    error_px: float  # reprojection error, RMS
    length_error: float  # RMS relative error of the rows and columns of the board
    focal_shift: float  # relative change of the focal length that the views ask for
    focal_sigma: float


@dataclass(frozen=True)
class Checked:
    """Verdict over a clip: "holds", "fails" or "open", and the numbers behind it."""

    verdict: str
    reasons: tuple[str, ...]
    lines: Straightness
    edge_shift_px: float
    edge_shift_sigma_px: float
    board: BoardCheck | None


def check_camera(path: Path, camera: Camera, board: Board | None = None) -> Checked:
    """Measure straight lines, and a board if one is given, in a clip or picture.

    Raises InputError when the clip's shape of picture is not the camera's.
    """
    pictures = _pictures(Path(path))
    height, width = pictures[0][1].shape
    camera = camera.scaled_to(width, height)
    lines = combine([straightness(picture, camera) for _, picture in pictures])
    shift, sigma = lines.edge_shift_px(camera)
    found = _check_board(pictures, camera, board) if board is not None else None
    verdict, reasons = _verdict(lines, shift, sigma, found)
    return Checked(verdict, tuple(reasons), lines, shift, sigma, found)


def combine(found: list[Straightness]) -> Straightness:
    """One answer from several pictures of one scene: they show the same lines, so no sigma falls.

    Empty pictures are passed over.
    """
    useful = [one for one in found if one.lines]
    if not useful:
        return Straightness(0, float("nan"), float("nan"), float("inf"))
    weight = np.array([one.k1_sigma**-2 for one in useful])
    weight = weight / weight.sum()

    def mean(values: list[float]) -> float:
        return float(weight @ np.array(values))

    return Straightness(
        round(mean([one.lines for one in useful])),
        mean([one.bend_px for one in useful]),
        mean([one.k1_shift for one in useful]),
        mean([one.k1_sigma for one in useful]),
    )


def _pictures(path: Path) -> list[tuple[str, np.ndarray]]:
    if path.suffix.lower() not in VIDEO_SUFFIXES:
        return [(path.name, read_picture(path))]
    recording = Recording(path)
    step = max(1, recording.frames_declared // LOOKS)
    pictures = []
    for frame in recording.frames():
        if frame.index % step == 0 and not frame.corrupt:
            pictures.append((f"{path.name}#{frame.index}", np.array(frame.luma)))
            if len(pictures) == LOOKS:
                break
    if not pictures:
        raise InputError(f"{path}: no frame of it can be decoded")
    return pictures


def _check_board(
    pictures: list[tuple[str, np.ndarray]], camera: Camera, board: Board
) -> BoardCheck | None:
    fits = []
    for name, picture in pictures:
        view = view_of(name, picture, board, {})
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
    return BoardCheck(
        len(fits), rms(residual), float(np.sqrt(np.mean(lengths**2))), shift,
        float(np.hypot(sigma, own)),
    )


def _focal_shift(fits: list[Fit]) -> tuple[float, float]:
    """Relative change of the focal length that would fit the boards best, and its sigma."""
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
    variance = max(noise - shift * top, 0) / max(count - 1, 1)
    return float(shift), float(np.sqrt(variance / bottom))


def _length_errors(fit: Fit, camera: Camera) -> np.ndarray:
    """Relative errors of the lengths of rows and columns, measured on the board's plane."""
    view, pose = fit.views[0], fit.poses[0]
    turn = cv2.Rodrigues(pose[:3])[0]
    to_plane = np.linalg.inv(np.column_stack([turn[:, 0], turn[:, 1], pose[3:]]))
    rays = camera.undistort(view.corners_px)
    flat = np.column_stack([rays, np.ones(len(rays))]) @ to_plane.T
    seen, plan = flat[:, :2] / flat[:, 2:], view.points_mm[:, :2]
    errors = []
    for axis in (0, 1):
        for place in np.unique(plan[:, axis].round(6)):
            row = np.flatnonzero(np.abs(plan[:, axis] - place) < 1e-3)
            if len(row) >= 2:
                order = row[np.argsort(plan[row, 1 - axis])]
                a, b = order[0], order[-1]
                true = np.linalg.norm(plan[b] - plan[a])
                errors.append(np.linalg.norm(seen[b] - seen[a]) / true - 1)
    return np.array(errors) if errors else np.zeros(1)


def _verdict(
    lines: Straightness, shift: float, sigma: float, found: BoardCheck | None
) -> tuple[str, list[str]]:
    """Fails when something is surely and noticeably off; open when nothing could be measured."""
    fails, holds, opens = [], [], []
    if not lines.lines:
        opens.append("no long straight line is in the picture: film a table edge or ruled paper")
    elif shift > EDGE_SHIFT_MAX_PX and shift > SURE * sigma:
        fails.append(
            f"straight lines come out bent: {shift:.1f} +- {sigma:.1f} px at the picture's edge"
        )
    elif sigma > 2 * EDGE_SHIFT_MAX_PX:
        opens.append(f"the lines tell the lens only to {sigma:.1f} px at the picture's edge")
    else:
        holds.append(
            f"{lines.lines} lines are straight: {shift:.1f} +- {sigma:.1f} px at the edge"
        )
    if found is not None:
        if abs(found.focal_shift) > max(FOCAL_SHIFT_MAX, SURE * found.focal_sigma):
            fails.append(
                f"the focal length is off by {100 * found.focal_shift:+.1f} "
                f"+- {100 * found.focal_sigma:.1f} %: zoom or focus has changed"
            )
        elif found.length_error > LENGTH_ERROR_MAX:
            fails.append(f"known lengths are off by {100 * found.length_error:.2f} %")
        else:
            holds.append(
                f"lengths on the board are right to {100 * found.length_error:.2f} %, residual "
                f"{found.error_px:.2f} px"
            )
    verdict = "fails" if fails else "holds" if holds else "open"
    return verdict, fails + holds + opens


def error_without_camera(
    picture: np.ndarray, reference_px: np.ndarray, points_px: np.ndarray
) -> float | None:
    """Largest relative error of lengths between points if the lens is left uncorrected.

    The lens is taken from the straight lines of the picture (H, W) uint8; `reference_px` (4+, 2)
    are the marks that fix the plane, `points_px` (n, 2) what is measured. None when the picture
    has no lines to tell.
    """
    guess = guessed_camera(picture.shape[1], picture.shape[0])
    camera, found = plumb_line(picture, guess)
    if not found.lines or not np.isfinite(found.k1_sigma):
        return None
    focal, centre = guess.camera_matrix[0, 0], guess.camera_matrix[:2, 2]

    def ideal(points: np.ndarray) -> np.ndarray:
        return camera.undistort(points) * focal + centre

    to_ideal, _ = cv2.findHomography(reference_px.astype(float), ideal(reference_px))
    seen = cv2.perspectiveTransform(points_px.reshape(-1, 1, 2).astype(float), to_ideal)
    seen, true = seen.reshape(-1, 2), ideal(points_px)
    first, second = np.triu_indices(len(true), 1)
    length = np.linalg.norm(true[first] - true[second], axis=1)
    wrong = np.linalg.norm(seen[first] - seen[second], axis=1)
    far = length > 0.25 * length.max()
    return float(np.abs(wrong[far] / length[far] - 1).max())


