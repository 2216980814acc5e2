"""Squared paper as a reference: its two sets of lines give scale, turn and perspective.

In every patch of the picture the lines are two waves. Their wave vectors, times the spacing of the
lines, are the local change of board millimetres per pixel; one homography is fitted to all patches.
"""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.optimize import least_squares

from rulerlab.track.register import View

PATCH_PX = 192  # side of a patch
STEP_PX = 96  # between patches
SPACING_PX = (5.0, 60.0)  # of the lines
CLEAR = 12.0  # a wave stands so much above the median of the spectrum
SQUARE = 0.12  # relative: the two waves are as long as each other within this
ACROSS_DEG = 12.0  # and at a right angle within this
LEAST_PATCHES = 8
STANDS = 0.005  # share by which things a few mm above the paper seem larger: nearer to the camera
AGREE = 0.04  # relative difference of a patch from the homography, at most


def view_from_grid(luma: np.ndarray, grid_mm: float, origin_px: np.ndarray) -> View | None:
    """The board's plane from squared paper with lines every `grid_mm`; None when none is seen.

    `luma` (H, W) is one picture, `origin_px` the place of the rig frame's origin. x runs along the
    lines nearest to the picture's rows, y up.
    """
    places, waves = grid_waves(luma)
    if len(places) < LEAST_PATCHES:
        return None
    fit, error = fit_waves(places, waves * grid_mm, luma.shape)
    if not np.isfinite(error):
        return None
    homography = homography_of(fit, luma.shape, origin_px)
    error = float(np.hypot(error, STANDS))
    effect = error * homography
    effect[2] = 0.0
    return View(None, None, None, homography[None], effect.reshape(1, 1, 9), False, float("nan"))


def grid_waves(luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (P, 2) of the patches that show squares, and their two wave vectors (P, 2, 2).

    Wave vectors are in lines per pixel: the first of the lines that run down the picture, the
    second of those that run across it, pointing right and up.
    """
    places, waves = [], []
    fine = luma.astype(float) - gaussian_filter(luma.astype(float), SPACING_PX[1] / 4)
    window = np.outer(*[np.hanning(PATCH_PX)] * 2)
    for top in range(0, luma.shape[0] - PATCH_PX + 1, STEP_PX):
        for left in range(0, luma.shape[1] - PATCH_PX + 1, STEP_PX):
            patch = np.clip(fine[top : top + PATCH_PX, left : left + PATCH_PX], -25, 25)
            pair = _two_waves(patch * window)
            if pair is not None:
                places.append((left + (PATCH_PX - 1) / 2, top + (PATCH_PX - 1) / 2))
                waves.append(pair)
    return np.array(places).reshape(-1, 2), np.array(waves).reshape(-1, 2, 2)


def _two_waves(patch: np.ndarray) -> np.ndarray | None:
    """The two longest clear waves at a right angle in a patch, (2, 2), or None."""
    size = 2 * PATCH_PX
    power = np.abs(np.fft.fftshift(np.fft.fft2(patch, (size, size))))
    axis = (np.arange(size) - size // 2) / size
    radius = np.hypot(axis[None], axis[:, None])
    allowed = (radius > 1 / SPACING_PX[1]) & (radius < 1 / SPACING_PX[0])
    clear = power > CLEAR * np.median(power[allowed])
    peaks = np.argwhere(clear & allowed & (power == maximum_filter(power, 7)))
    vectors = np.array([_peak(power, axis, row, column) for row, column in peaks]).reshape(-1, 2)
    strength = power[tuple(peaks.T)]
    angle = np.degrees(np.arctan2(vectors[:, 1], vectors[:, 0]))
    down, across = np.abs(angle) < 40, np.abs(angle + 90) < 40
    best, pair = 0.0, None
    for i in np.flatnonzero(down):
        for j in np.flatnonzero(across):
            sizes = np.linalg.norm(vectors[[i, j]], axis=1)
            square = abs(np.log(sizes[0] / sizes[1])) < SQUARE
            right = abs(angle[i] - angle[j] - 90) < ACROSS_DEG
            if square and right and min(strength[i], strength[j]) > best:
                best, pair = min(strength[i], strength[j]), vectors[[i, j]]
    return pair


def _peak(power: np.ndarray, axis: np.ndarray, row: int, column: int) -> tuple[float, float]:
    """Place of a peak between the samples, as a wave vector x, y."""
    found = []
    for values, at in ((power[row], column), (power[:, column], row)):
        left, middle, right = np.log(values[at - 1 : at + 2] + 1e-9)
        found.append(axis[at] + 0.5 * (left - right) / (left - 2 * middle + right)
                     * (axis[1] - axis[0]))
    return found[0], found[1]


def fit_waves(
    places: np.ndarray, slopes: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, float]:
    """Homography (6 numbers, without its origin) whose slopes (P, 2, 2), d mm / d px, are seen.

    `shape` is that of the picture. The second value is its relative error; inf when too few
    patches agree.
    """
    near = _near(places, shape)
    start = np.concatenate([np.median(slopes, axis=0).ravel(), [0.0, 0.0]])
    scale = np.abs(start[:4]).max()

    def misfit(values: np.ndarray) -> np.ndarray:
        return (_slopes(values, near) - slopes).reshape(len(near), 4) / scale

    solved = least_squares(lambda v: misfit(v).ravel(), start, loss="soft_l1", f_scale=0.01,
                           x_scale=[scale] * 4 + [0.1, 0.1])
    off = misfit(solved.x)
    keep = np.abs(off).max(1) < AGREE
    if keep.sum() < LEAST_PATCHES:
        return solved.x, np.inf
    return solved.x, float(np.sqrt(np.mean(off[keep] ** 2)) / np.sqrt(keep.sum() / 4))


def _near(places: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Places in picture sizes from the picture's centre."""
    return (places - np.array(shape[1::-1]) / 2) / max(shape[:2])


def _slopes(values: np.ndarray, near: np.ndarray) -> np.ndarray:
    """d mm / d px at places given in picture sizes from its centre, of (A p) / (1 + b p)."""
    linear, tilt = values[:4].reshape(2, 2), values[4:]
    depth = 1 + near @ tilt
    mapped = near @ linear.T / depth[:, None]
    return (linear - mapped[:, :, None] * tilt) / depth[:, None, None]


def homography_of(
    fit: np.ndarray, shape: tuple[int, ...], origin_px: np.ndarray
) -> np.ndarray:
    """Pixels to mm (3, 3) of such a fit, with the origin where it is wanted."""
    unit = max(shape[:2])
    shrink = np.array([[1 / unit, 0, -shape[1] / 2 / unit], [0, 1 / unit, -shape[0] / 2 / unit],
                       [0, 0, 1]])
    core = np.eye(3)
    core[:2, :2] = fit[:4].reshape(2, 2) * unit
    core[2, :2] = fit[4:]
    homography = core @ shrink
    origin = homography @ [*origin_px, 1.0]
    back = np.eye(3)
    back[:2, 2] = -origin[:2] / origin[2]
    return back @ homography
