"""Errors that all points of a clip share: the scale of the references, and the lens.

A print whose bars were measured is known to a tenth of a millimetre in a hundred; a camera as
well as its calibration. Both move many points together, so they are carried as patterns.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from rulerlab.calibrate import lens
from rulerlab.track.register import View


def with_scale_error(view: View, scale_sigma: float) -> View:
    """The view with one more effect: all reference lengths wrong by `scale_sigma` (relative)."""
    if view.shift_mm is not None:  # the same picture of a larger board, further away
        effect = np.concatenate([np.zeros_like(view.shift_mm), scale_sigma * view.shift_mm], axis=1)
    else:
        effect = scale_sigma * np.array(view.homography)
        effect[:, 2] = 0.0
        effect = effect.reshape(-1, 9)
    return replace(view, effects=np.concatenate([effect[:, None], view.effects], axis=1))


def with_lens_errors(view: View, reference_mm: np.ndarray) -> View:
    """The view with one more effect for each independent error of the camera's calibration.

    Another lens would have put the board elsewhere: the pose that the references `reference_mm`
    (R, 2) then ask for is part of the effect.
    """
    if view.camera is None or view.rotation is None or view.shift_mm is None:
        return view
    patterns = view.camera.error_patterns()
    world = np.column_stack([reference_mm, np.zeros(len(reference_mm))])
    model = lens.model_of(view.camera)
    parameters = lens.pack(view.camera.camera_matrix, view.camera.distortion)
    effects = np.zeros((len(view.shift_mm), len(patterns), 6))
    for effect, rotation, shift in zip(effects, view.rotation, view.shift_mm, strict=True):
        turn = cv2.Rodrigues(rotation)[0].ravel()
        _, by_lens, by_pose = lens.project(model, parameters, np.concatenate([turn, shift]), world)
        moved = by_lens[:, : patterns.shape[1]] @ patterns.T
        change = -np.linalg.lstsq(by_pose, moved, rcond=None)[0].T
        for k, (turned, shifted) in enumerate(zip(change[:, :3], change[:, 3:], strict=True)):
            effect[k, :3] = cv2.Rodrigues(cv2.Rodrigues(turn + turned)[0] @ rotation.T)[0].ravel()
            effect[k, 3:] = shifted
    lenses = tuple(view.camera.shifted(pattern) for pattern in patterns)
    return replace(
        view, effects=np.concatenate([view.effects, effects], axis=1), lenses=lenses,
    )
