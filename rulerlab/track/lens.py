"""The camera of a clip: read from its file, and whether the clip agrees with it.

Another resolution, zoom or focus is another camera. Straight lines in the picture show a lens that
is not that of the file (or, without a file, what the lens does to lengths); known sections show a
scale that is off.
"""

from __future__ import annotations

import numpy as np

from rulerlab.calibrate.check import (
    EDGE_SHIFT_MAX_PX,
    FOCAL_SHIFT_MAX,
    SURE,
    error_without_camera,
)
from rulerlab.calibrate.straight import straightness
from rulerlab.camera import Camera, read_camera
from rulerlab.rig import Rig
from rulerlab.track.register import View
from rulerlab.video import Recording

UNCALIBRATED_MAX = 0.002  # relative error of lengths by an unknown lens that is worth a warning
CHECK = "rulerlab calibrate check tells more, rulerlab calibrate camera makes a new one"


def camera_of(recording: Recording, rig: Rig) -> tuple[Camera | None, list[str]]:
    """The calibrated camera at the clip's resolution, None without one, and what is doubtful.

    Raises InputError when the file holds no camera or one with another shape of picture.
    """
    if not rig.camera.calibration:
        return None, []
    own = read_camera(rig.camera.calibration)
    camera = own.scaled_to(recording.width, recording.height)
    if camera is own:
        return own, []
    made, clip = own.image_size_px, camera.image_size_px
    return camera, [
        f"the camera was calibrated at {made[0]}x{made[1]}, the clip is {clip[0]}x{clip[1]}: it is "
        "scaled, which is right only if both modes use the whole sensor; calibrate in the clip's "
        "mode to be sure"
    ]


def lens_warnings(
    picture: np.ndarray, view: View | None, rig: Rig, position_px: np.ndarray, height_mm: np.ndarray
) -> list[str]:
    """What the last picture (H, W) of a clip says against the camera it was measured with.

    `position_px` (N, 2) are the points in that picture, `height_mm` (N,) their heights.
    """
    if view is None:
        return []
    if view.camera is None:
        return _uncalibrated(picture, view, rig, position_px)
    return _bent_lines(picture, view.camera) + _wrong_lengths(view, rig, position_px, height_mm)


def _uncalibrated(picture, view, rig, position_px) -> list[str]:
    reference = np.array([*rig.reference.crosses_mm, *rig.reference.tags_mm.values()])
    seen = position_px[np.isfinite(position_px[:, 0])]
    if len(reference) < 4 or len(seen) < 3:
        return []
    last = view.part(slice(-1, None))
    marks_px = last.to_px(reference[None], np.zeros(len(reference)))[0]
    error = error_without_camera(picture, marks_px, seen)
    if error is None or error < UNCALIBRATED_MAX:
        return []
    return [f"the lens is not calibrated and bends straight lines: lengths are wrong by up to "
            f"{100 * error:.1f} %; make a camera.toml with rulerlab calibrate camera"]


def _bent_lines(picture: np.ndarray, camera: Camera) -> list[str]:
    shift, sigma = straightness(picture, camera).edge_shift_px(camera)
    if not shift > max(EDGE_SHIFT_MAX_PX, SURE * sigma):
        return []
    return [f"straight lines come out bent by {shift:.1f} +- {sigma:.1f} px at the picture's edge: "
            f"zoom or focus is not that of the calibration; {CHECK}"]


def _wrong_lengths(view, rig, position_px, height_mm) -> list[str]:
    """Of a ruler's known sections, all together: one alone may be its dot or its joint."""
    known = np.array(rig.ruler.sections_mm)
    if len(known) != len(position_px) - 1:
        return []
    place = view.part(slice(-1, None)).to_mm(position_px[None], height_mm)[0]
    ratio = np.linalg.norm(np.diff(place, axis=0), axis=1) / known
    ratio = ratio[np.isfinite(ratio)]
    if len(ratio) < 4:
        return []
    off = float(np.median(ratio)) - 1
    sigma = 1.25 * 1.48 * float(np.median(np.abs(ratio - 1 - off))) / len(ratio) ** 0.5
    if not abs(off) > max(FOCAL_SHIFT_MAX, SURE * sigma):
        return []
    return [f"the ruler's sections come out {100 * off:+.1f} +- {100 * sigma:.1f} % against "
            "ruler.sections_mm: zoom or focus is not that of the calibration, or the mm of the "
            f"references or the height of the marks are wrong; {CHECK}"]
