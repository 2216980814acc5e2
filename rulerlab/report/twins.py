"""Was this video handed in twice? The same file, or the same motion in another file."""

from __future__ import annotations

from itertools import combinations

import numpy as np

from rulerlab.records import Motion
from rulerlab.store import Run

STEP_S = 1 / 120
SAME = 0.0005  # rms difference of two motions, as a share of the travel, beyond their errors
LARGEST = 0.004  # that the errors may allow: beyond it even two poor films tell takes apart
OVERLAP = 0.8  # share of the travel that both must show together
SHORTEST = 10  # frames, and steps


def find_twins(runs: list[Run]) -> list[tuple[int, int, str]]:
    """Pairs of runs from one recording, and how that is known.

    A file sent twice has the same sha256. One that was encoded anew, cut, scaled or mirrored
    still shows the same motion: every point, as a share of the travel, at every moment, to three
    times the tracking errors. No hand repeats a pull so well; a motor may, and then the pair is
    named for a look.
    """
    motions = [_shares(run.motion) for run in runs]
    errors = [_error(run.motion) for run in runs]
    found = []
    for one, other in combinations(range(len(runs)), 2):
        digests = [_digest(runs[k]) for k in (one, other)]
        if digests[0] and digests[0] == digests[1]:
            found.append((one, other, "the same file"))
            continue
        apart = difference(motions[one], motions[other])
        expected = float(np.hypot(errors[one], errors[other]))
        if apart is not None and apart < min(SAME + 3 * expected, LARGEST):
            found.append((one, other, f"the same motion to {100 * apart:.2f} % of the travel"))
    return found


def _error(motion: Motion | None) -> float:
    """Typical error of a point as a share of the travel."""
    if motion is None:
        return 0.0
    x = motion.joint_mm[:, -1, 0]
    return float(np.sqrt(np.nanmean(motion.covariance_mm2[..., 0, 0])) / max(np.nanmax(x)
                 - np.nanmin(x), 1e-9))


def _digest(run: Run) -> str | None:
    return (run.info.get("inputs") or [{}])[0].get("sha256")


def _shares(motion: Motion | None) -> np.ndarray | None:
    """Way of every point along the pull (K, N) in even steps of time, as a share of the travel."""
    if motion is None or len(motion.time_s) < SHORTEST:
        return None
    x = motion.joint_mm[..., 0]
    time_s = np.arange(motion.time_s[0], motion.time_s[-1], STEP_S)
    way = np.empty((len(time_s), x.shape[1]))
    for k, column in enumerate(x.T):
        seen = np.isfinite(column)
        if seen.sum() < SHORTEST:
            return None
        way[:, k] = np.interp(time_s, motion.time_s[seen], column[seen])
    way -= way[:, :1].mean()
    part = max(1, len(way) // 20)
    travel = np.median(way[-part:, -1]) - np.median(way[:part, -1])
    return way / travel if abs(travel) > 1e-9 and len(way) >= SHORTEST else None


def difference(one: np.ndarray | None, other: np.ndarray | None) -> float | None:
    """Rms difference of two motions (K, N) when laid over each other best in time.

    None when they can't be compared: other numbers of points, too little in common.
    """
    if one is None or other is None or one.shape[1] != other.shape[1]:
        return None
    shift = _shift(one[:, -1], other[:, -1])
    first, second = one[max(shift, 0):], other[max(-shift, 0):]
    count = min(len(first), len(second))
    first, second = first[:count], second[:count]
    if count < SHORTEST or min(np.ptp(first[:, -1]), np.ptp(second[:, -1])) < OVERLAP:
        return None
    gap, speed = first - second, np.gradient(first, axis=0)
    gap = gap - gap.mean()
    gap = gap - speed * (gap * speed).sum() / max((speed**2).sum(), 1e-30)  # less than a step
    return float(np.sqrt(np.mean(gap**2)))


def _shift(one: np.ndarray, other: np.ndarray) -> int:
    """Steps by which `one` (K,) is later than `other`, where their speeds agree best."""
    speeds = [np.gradient(way) for way in (one, other)]
    size = len(one) + len(other)
    spectrum = [np.fft.rfft(speed, size) for speed in speeds]
    likeness = np.fft.irfft(spectrum[0] * spectrum[1].conj(), size)
    best = int(likeness.argmax())
    return best if best < len(one) else best - size
