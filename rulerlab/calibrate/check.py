"""Does a calibration still hold for a clip? Straight lines must be straight, known lengths right.

Focus, zoom, another recording mode or a stabiliser that crops all change the camera; each leaves
a mark on lines (distortion), or on a board or reference marks of known places (focal length).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rulerlab.calibrate.board import Board
from rulerlab.calibrate.known import KnownPlaces, known_places
from rulerlab.calibrate.straight import Straightness, guessed_camera, plumb_line, straightness
from rulerlab.calibrate.views import View, read_picture, view_of
from rulerlab.camera import Camera
from rulerlab.errors import InputError
from rulerlab.video import VIDEO_SUFFIXES, Recording

LOOKS = 5  # frames of a clip that are measured
EDGE_SHIFT_MAX_PX = 1.0  # a lens error of less, at the edge of the picture, does no harm
FOCAL_SHIFT_MAX = 0.01  # relative
LENGTH_ERROR_MAX = 0.005  # relative
FOCAL_SIGMA_MAX = 0.05  # relative: a clip that tells less can't notice a zoom
SURE = 3.0  # standard deviations

FindMarks = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray] | None]


@dataclass(frozen=True)
class Checked:
    """Verdict over a clip: "holds", "fails" or "open", and the numbers behind it."""

    verdict: str
    reasons: tuple[str, ...]
    lines: Straightness
    edge_shift_px: float
    edge_shift_sigma_px: float
    board: KnownPlaces | None
    marks: KnownPlaces | None


def check_camera(
    path: Path, camera: Camera, board: Board | None = None, find_marks: FindMarks | None = None
) -> Checked:
    """Measure straight lines, and a board or reference marks if given, in a clip or picture.

    `find_marks` takes a grey picture (H, W) and gives pixels (R, 2) and mm (R, 2) of the marks,
    or None where they are not all seen. Raises InputError when the clip's shape of picture is not
    the camera's.
    """
    pictures = _pictures(Path(path))
    height, width = pictures[0][1].shape
    camera = camera.scaled_to(width, height)
    lines = combine([straightness(picture, camera) for _, picture in pictures])
    shift, sigma = lines.edge_shift_px(camera)
    boards = marks = None
    if board is not None:
        boards = known_places(camera, [view_of(*one, board, {}) for one in pictures])
    if find_marks is not None:
        marks = known_places(camera, [_view_of_marks(*one, find_marks) for one in pictures])
    verdict, reasons = _verdict(lines, shift, sigma, boards, marks)
    return Checked(verdict, tuple(reasons), lines, shift, sigma, boards, marks)


def _view_of_marks(name: str, picture: np.ndarray, find_marks: FindMarks) -> View | None:
    found = find_marks(picture)
    if found is None:
        return None
    pixels, places = found
    points = np.column_stack([places, np.zeros(len(places))])
    return View(name, np.arange(len(places)), points, pixels)


def combine(found: list[Straightness]) -> Straightness:
    """One answer from several pictures of one scene: they show the same lines, so no sigma falls.

    Pictures with too few lines are passed over.
    """
    useful = [one for one in found if np.isfinite(one.k1_sigma)]
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


def _verdict(
    lines: Straightness, shift: float, sigma: float, board: KnownPlaces | None,
    marks: KnownPlaces | None,
) -> tuple[str, list[str]]:
    """Fails when something is surely and noticeably off; open when nothing could be measured."""
    fails, holds, opens = [], [], []
    if not lines.lines:
        opens.append("no long straight line is in the picture: film a table edge or ruled paper")
    elif shift > EDGE_SHIFT_MAX_PX and shift > SURE * sigma:
        fails.append(
            f"straight lines come out bent: {shift:.1f} ± {sigma:.1f} px at the picture's edge"
        )
    elif sigma > 2 * EDGE_SHIFT_MAX_PX:
        opens.append(f"the lines tell the lens only to {sigma:.1f} px at the picture's edge")
    else:
        holds.append(
            f"{lines.lines} lines are straight: {shift:.1f} ± {sigma:.1f} px at the edge"
        )
    for name, found in (("board", board), ("reference marks", marks)):
        if found is None:
            continue
        if abs(found.focal_shift) > max(FOCAL_SHIFT_MAX, SURE * found.focal_sigma):
            fails.append(
                f"by the {name} the focal length is off by {100 * found.focal_shift:+.1f} "
                f"± {100 * found.focal_sigma:.1f} %: zoom or focus has changed"
            )
        elif found.length_error > LENGTH_ERROR_MAX:
            fails.append(f"known lengths of the {name} are off by {100 * found.length_error:.2f} %")
        elif found.focal_sigma > FOCAL_SIGMA_MAX:
            opens.append(
                f"the {name} tell the focal length only to {100 * found.focal_sigma:.0f} % "
                f"(lengths agree to {100 * found.length_error:.2f} %): film from the side"
            )
        else:
            holds.append(
                f"lengths of the {name} are right to {100 * found.length_error:.2f} %, residual "
                f"{found.error_px:.2f} px, focal length {100 * found.focal_shift:+.1f} "
                f"± {100 * found.focal_sigma:.1f} %"
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


