"""Points that were not seen: filled from the chain and from time, with the error they have."""

from __future__ import annotations

import numpy as np


def fill_gaps(
    time_s: np.ndarray, position: np.ndarray, sections: np.ndarray | None, *, sigma: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions (T, N, 2) with the NaN filled, and covariances (M, 2, 2) of the M that were filled,
    frame by frame.

    Between two sightings a point moves like a random walk tied at both ends; rigid `sections`
    (N-1,) to its neighbours then narrow it down. `sigma` is the error of a seen point.
    """
    filled = position.copy()
    missing = ~np.isfinite(position[..., 0])
    covariance = np.full((int(missing.sum()), 2, 2), np.nan)
    place = np.cumsum(missing).reshape(missing.shape) - 1  # in `covariance`
    for k in range(position.shape[1]):
        gone = missing[:, k]
        if gone.any() and not gone.all():
            filled[:, k], spread = _bridge(time_s, position[:, k], sigma)
            covariance[place[gone, k]] = (spread[gone] ** 2)[:, None, None] * np.eye(2)
    if sections is not None:
        for t in np.flatnonzero(missing.any(1)):
            if np.isfinite(filled[t]).all():
                free = np.flatnonzero(missing[t])
                own = _narrow(filled[t], covariance[place[t, free]], free, sections, sigma)
                covariance[place[t, free]] = own
    return filled, covariance


def _bridge(time_s: np.ndarray, position: np.ndarray, sigma: float):
    """Linear in time between sightings, held before the first and after the last; and 1 sigma."""
    seen = np.flatnonzero(np.isfinite(position[:, 0]))
    filled = np.stack(
        [np.interp(time_s, time_s[seen], position[seen, axis]) for axis in range(2)], -1
    )
    step = np.diff(position[seen], axis=0)
    wait = np.diff(time_s[seen])
    pace = np.hypot(*step.T) / np.sqrt(np.maximum(wait, 1e-9)) if len(seen) > 1 else np.zeros(1)
    before = np.clip(np.searchsorted(seen, np.arange(len(time_s)), "right") - 1, 0, len(seen) - 1)
    after = np.clip(before + 1, 0, len(seen) - 1)
    left = np.abs(time_s - time_s[seen[before]])
    right = np.abs(time_s[seen[after]] - time_s)
    inside = (np.arange(len(time_s)) > seen[0]) & (np.arange(len(time_s)) < seen[-1])
    whole = np.where(inside, np.maximum(left + right, 1e-9), 1.0)
    reach = np.where(inside, left * right / whole, np.minimum(left, right) + left)
    typical = np.array([
        max(np.sqrt(np.mean(pace[max(0, b - 4) : b + 5] ** 2)) if len(pace) else 0.0, 0.0)
        for b in before
    ])
    own = np.hypot(*np.diff(filled, axis=0, prepend=filled[:1]).T)
    spread = np.sqrt(sigma**2 + typical**2 * reach + 0.05 * own**2)
    return filled, spread


def _narrow(points, covariance, free, sections, sigma: float) -> np.ndarray:
    """Gauss-Newton on the missing points of one frame: the bridge as prior, lengths as data.

    Moves the `free` (m,) of the `points` (N, 2), returns their new covariances (m, 2, 2).
    """
    slot = {int(k): 2 * i for i, k in enumerate(free)}
    prior = points[free].copy()
    information0 = np.zeros((2 * len(free), 2 * len(free)))
    for i, own in enumerate(covariance):
        information0[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = np.linalg.inv(own)
    spread = 1.5 * sigma + 0.001 * sections
    information = information0
    for _ in range(12):
        information = information0.copy()
        right = information0 @ (prior - points[free]).ravel()
        for s, length in enumerate(sections):
            if not (s in slot or s + 1 in slot):
                continue
            link = points[s + 1] - points[s]
            gap = max(np.linalg.norm(link), 1e-9)
            row = np.zeros(2 * len(free))
            for end, sign in ((s, -1), (s + 1, 1)):
                if end in slot:
                    row[slot[end] : slot[end] + 2] = sign * link / gap
            information += np.outer(row, row) / spread[s] ** 2
            right += row * (length - gap) / spread[s] ** 2
        change = np.linalg.solve(information, right)
        size = np.abs(change).max()
        limit = 0.1 * float(np.median(sections))
        points[free] += (change * min(1.0, limit / max(size, 1e-12))).reshape(-1, 2)
        if size < 1e-6 * float(np.median(sections)):
            break
    inverse = np.linalg.inv(information)
    own = [inverse[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] for i in range(len(free))]
    return np.array(own) + sigma**2 * np.eye(2)
