"""Does the chain that was followed lie where single pictures show it, searched on their own?"""

from __future__ import annotations

import numpy as np

from rulerlab.track.sticks.find import Found

SIGMAS = 5.0  # of both errors together by which a joint may lie elsewhere
APART = 0.4  # widths of a stick by which it must do so


def disagreeing(joints_px: np.ndarray, covariance_px: np.ndarray, found: Found) -> np.ndarray:
    """Which joints (N,) of a followed chain (N, 2), (N, 2, 2) lie elsewhere than those found."""
    apart = joints_px - found.joints_px
    each = np.arange(2 * len(apart)).reshape(-1, 2)
    both = covariance_px + found.covariance_px[each[:, :, None], each[:, None, :]]
    sigmas = np.sqrt((apart * np.linalg.solve(both, apart[..., None])[..., 0]).sum(-1))
    return (sigmas > SIGMAS) & (np.linalg.norm(apart, axis=1) > APART * found.width_px)
