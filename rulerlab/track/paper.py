"""Squared paper through a clip: its lines are looked at now and then, and tell the board's plane.

The lines repeat, so they tell scale, turn and perspective but not where the board is; the held end
of the chain does. Between the looks the plane changes evenly.
"""

from __future__ import annotations

import numpy as np

from rulerlab.track.grid import LEAST_PATCHES, STANDS, fit_waves, grid_waves
from rulerlab.track.grid import homography_of as homography
from rulerlab.track.register import View

LOOKS = 8  # in a clip; each takes most of a second


class PaperFollower:
    """Looks at the lines of the paper some `LOOKS` times in a clip of about `frames` frames."""

    def __init__(self, frames: int):
        self.every = max(1, frames // LOOKS)
        self.shape: tuple[int, ...] = ()
        self.looks: list[tuple[int, np.ndarray, np.ndarray]] = []  # frame, places, waves

    def observe(self, index: int, luma: np.ndarray) -> None:
        if index % self.every == 0 and len(self.looks) <= 2 * LOOKS:
            self.shape = luma.shape
            places, waves = grid_waves(luma)
            if len(places) >= LEAST_PATCHES:
                self.looks.append((index, places, waves))

    def view(self, grid_mm: float, origin_px: np.ndarray) -> View | None:
        """The plane of each frame with its origin at `origin_px` (T, 2); None if no lines are seen.

        Where the origin is NaN it is taken from the frames before and after.
        """
        fits = [(index, *fit_waves(places, waves * grid_mm, self.shape))
                for index, places, waves in self.looks]
        fits = [fit for fit in fits if np.isfinite(fit[2])]
        if not fits:
            return None
        moments = np.array([fit[0] for fit in fits])
        plane = _smooth(moments, np.array([fit[1] for fit in fits]), len(origin_px))
        frames = np.arange(len(origin_px))
        seen = np.isfinite(origin_px[:, 0])
        origin = np.stack([np.interp(frames, frames[seen], axis[seen]) for axis in origin_px.T], -1)
        matrix = np.array([homography(*pair) for pair in zip(
            plane, [self.shape] * len(plane), origin, strict=True)])
        error = float(np.hypot(np.median([fit[2] for fit in fits]) / np.sqrt(len(fits)), STANDS))
        effect = error * matrix
        effect[:, 2] = 0.0
        return View(None, None, None, matrix, effect.reshape(-1, 1, 9), True, float("nan"))


def _smooth(moments: np.ndarray, fits: np.ndarray, frames: int) -> np.ndarray:
    """The plane's six numbers in every frame: a straight line in time through the looks.

    A camera in the hand wanders by less than one look is uncertain.
    """
    if len(moments) < 3:
        return np.broadcast_to(np.median(fits, axis=0), (frames, fits.shape[1]))
    line = np.polyfit(moments, fits, 1)
    return np.arange(frames)[:, None] * line[0] + line[1]
