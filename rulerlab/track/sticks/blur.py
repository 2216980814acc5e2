"""Motion blur: how long the shutter was open, and what that costs.

An edge that moves while the shutter is open rises over a longer way. By how much more, for sticks
that move fast, tells which share of the time between two frames was exposed. Motion that is not
even during that time puts the middle of the blur elsewhere than the stick was at its middle.
"""

from __future__ import annotations

import numpy as np

from rulerlab.track.sticks.chain import across

FAST_PX = 6.0  # sticks that move sideways by more between two frames tell of the shutter
ENOUGH = 12  # such sticks that tell it
UNKNOWN = 0.5  # share of the time exposed where too few tell
UNEVEN = 0.03  # of the way made during the exposure: error of its middle


def sharpness(rise_px: np.ndarray) -> np.ndarray:
    """1 / px over which the edges beside each joint rise, (T, N), from those of sticks (T, S).

    Where no edge is seen, what is usual.
    """
    beside = np.concatenate([rise_px[:, :1], rise_px, rise_px[:, -1:]], axis=1)
    two = np.stack([beside[:, 1:], beside[:, :-1]])
    seen = np.isfinite(two)
    mean = np.where(seen, two, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
    usual = np.median(two[seen]) if seen.any() else 1.0
    return 1 / np.where(seen.any(0), np.maximum(mean, 1e-9), usual)


def doubt_of_blur(joints_px: np.ndarray, good: list[int], rise_px: np.ndarray) -> np.ndarray:
    """Covariances (G, N, 2, 2) by which blur doubts the joints of frames `good` of (T, N, 2).

    `rise_px` (G, S) is over how many px the edges of the sticks rise there.
    """
    moved = _per_frame(joints_px)[good]
    way = exposed_share(rise_px, across(moved, joints_px[good])) * moved
    return UNEVEN**2 * way[..., :, None] * way[..., None, :]


def exposed_share(rise_px: np.ndarray, moved_px: np.ndarray) -> float:
    """Share of the time between frames for which the shutter is open, 0 to 1.

    From how sticks move sideways from frame to frame and over how many px their edges rise.
    """
    seen = np.isfinite(rise_px)
    fast = seen & (moved_px > FAST_PX)
    if fast.sum() < ENOUGH:
        return UNKNOWN
    slow = seen & (moved_px < 1)
    sharp = np.median(rise_px[slow]) if slow.any() else np.min(rise_px[seen])
    share = np.median((rise_px[fast] ** 2 - sharp**2) / moved_px[fast] ** 2)
    return float(np.sqrt(np.clip(share, 0, 1)))


def _per_frame(joints_px: np.ndarray) -> np.ndarray:
    """How far joints (T, N, 2) move in the time of one frame, (T, N, 2); 0 where nobody knows."""
    step = np.diff(joints_px, axis=0)
    unknown = np.full((1, *joints_px.shape[1:]), np.nan)
    both = np.stack([np.concatenate([unknown, step]), np.concatenate([step, unknown])])
    seen = np.isfinite(both)
    return np.where(seen, both, 0.0).sum(0) / np.maximum(seen.sum(0), 1)
