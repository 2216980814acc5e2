"""Do two ways to the same chain agree: both ways through a clip, or a picture searched on its own?
"""

from __future__ import annotations

import numpy as np

from rulerlab.track.sticks.find import Found

SIGMAS = 5.0  # of both errors together by which a joint may lie elsewhere than a search shows it
APART = 0.4  # widths of a stick by which it must do so
BOTH_SIGMAS, BOTH_APART = 3.0, 0.1  # the same between two passes, which see the same noise


def sigmas_apart(apart_px: np.ndarray, covariance_px: np.ndarray) -> np.ndarray:
    """How many standard deviations (...,) offsets (..., 2) are with covariances (..., 2, 2)."""
    across = np.linalg.solve(covariance_px, apart_px[..., None])[..., 0]
    return np.sqrt((apart_px * across).sum(-1))


def disagreeing(joints_px: np.ndarray, covariance_px: np.ndarray, found: Found) -> np.ndarray:
    """Which joints (N,) of a followed chain (N, 2), (N, 2, 2) lie elsewhere than those found."""
    apart = joints_px - found.joints_px
    each = np.arange(2 * len(apart)).reshape(-1, 2)
    both = covariance_px + found.covariance_px[each[:, :, None], each[:, None, :]]
    return ((sigmas_apart(apart, both) > SIGMAS)
            & (np.linalg.norm(apart, axis=1) > APART * found.width_px))


def passes_disagree(apart_px: np.ndarray, covariance_px: np.ndarray, width_px: float) -> np.ndarray:
    """Which joints (...,) two passes place further apart (..., 2) than their errors allow.

    `covariance_px` (..., 2, 2) is the sum of both.
    """
    return ((sigmas_apart(apart_px, covariance_px) > BOTH_SIGMAS)
            & (np.linalg.norm(apart_px, axis=-1) > BOTH_APART * width_px))
