"""The points of the chain as they are seen, once it is known which spot is which."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rulerlab.track.measure import Measured

ODD_SIZE = 0.12  # share by which the radius of a dot may differ from what it usually is
LASTING = 0.6  # of the distance between the centres in colour and in luma
SMEARED, LEAST_SMEAR_PX = 0.03, 0.02  # of the way of a mark that loses all its steepness
HIDDEN = 0.35  # share of a dot's outline below which its centre is not to be trusted


@dataclass(frozen=True)
class Followed:
    """The points of the chain as seen; NaN where a point has no spot."""

    position_px: np.ndarray  # (T, N, 2)
    covariance_px: np.ndarray  # (T, N, 2, 2) of the fits
    kind: str  # "ruler" or "blocks"
    sharp: np.ndarray  # (T, N)
    notes: list[str]
    calibrated: bool = False  # the covariances are those of true errors already
    guessed: np.ndarray | None = None  # (T, N) bool: known from the rest of the chain only
    warnings: tuple[str, ...] = ()
    ghosts: np.ndarray | None = None  # numbers of frames that are blends, where they are known
    lasting_px: tuple[float, float] = (0.0, 0.0)  # errors in x, y that stay with a mark, on top


def collect(measured: Measured, assigned: np.ndarray, kind: str, notes: list) -> Followed:
    """The points from the spots that were `assigned` (T, N) to them; -1: none."""
    frames, points = assigned.shape
    position = np.full((frames, points, 2), np.nan)
    covariance = np.full((frames, points, 2, 2), np.nan)
    sharp, radius = np.full((frames, points), np.nan), np.full((frames, points), np.nan)
    for t, spots in enumerate(measured.spots):
        seen = np.flatnonzero(assigned[t] >= 0)
        rows = spots[assigned[t, seen]].astype(float)
        clear = rows[:, 7] >= HIDDEN
        seen, rows = seen[clear], rows[clear]
        position[t, seen] = rows[:, :2]
        covariance[t, seen] = rows[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
        radius[t, seen], sharp[t, seen] = rows[:, 6], rows[:, 8]
    if measured.marks != "dots":
        return Followed(position, covariance, kind, sharp, notes)
    _doubt_odd_sizes(position, covariance, radius)
    _doubt_smears(position, covariance, sharp)
    return Followed(position, covariance, kind, sharp, notes,
                    lasting_px=_lasting_px(measured.spots, assigned))


def _lasting_px(spots: list[np.ndarray], assigned: np.ndarray) -> tuple[float, float]:
    """Errors in x, y from how far apart colour and luma see the dots, rms, noise left out.

    What lies beside a dot (the rim of a stick, its shadow) is another thing in colour and in luma,
    and it pulls the centre for as long as it lies there.
    """
    square, marks = np.zeros(2), 0
    compared = [t for t, own in enumerate(spots) if len(own) and np.isfinite(own[0, 9])]
    for k in range(assigned.shape[1]):
        aside = np.array([spots[t][assigned[t, k], 9:11] for t in compared if assigned[t, k] >= 0])
        if len(aside) >= 3:
            noise = aside.var(axis=0, ddof=1) / len(aside)
            square, marks = square + aside.mean(axis=0) ** 2 - noise, marks + 1
    x, y = LASTING * np.sqrt(np.maximum(square, 0.0) / max(marks, 1))
    return float(x), float(y)


def _doubt_odd_sizes(position, covariance, radius) -> None:
    """A dot whose size jumps is half covered: its centre is doubtful by as much, or not seen."""
    for k in range(radius.shape[1]):
        usual = _running_median(radius[:, k])
        odd = np.abs(radius[:, k] - usual)
        position[odd > ODD_SIZE * usual, k] = np.nan
        excess = np.nan_to_num(np.maximum(odd - 0.03 * usual, 0))
        covariance[:, k] += (0.3 * excess**2)[:, None, None] * np.eye(2)


def _doubt_smears(position, covariance, sharp) -> None:
    """The middle of a smear need not be where the mark was at the middle of the exposure: doubt
    grows along the motion with its length, and with how much of its outline's steepness is lost."""
    if not np.isfinite(sharp).any():
        return
    dull = np.clip(1 - np.nan_to_num(sharp / np.nanmedian(sharp), nan=1.0), 0, 1)
    step = np.diff(position, axis=0)
    way, known = np.zeros_like(position), np.zeros(sharp.shape, int)
    for some in (slice(1, None), slice(None, -1)):  # since the frame before, until the one after
        way[some] += np.nan_to_num(step)
        known[some] += np.isfinite(step[..., 0])
    way *= (SMEARED * dull / np.maximum(known, 1))[..., None]
    way[np.hypot(way[..., 0], way[..., 1]) < LEAST_SMEAR_PX] = 0.0
    covariance += way[..., :, None] * way[..., None, :]


def _running_median(values: np.ndarray, half: int = 15) -> np.ndarray:
    """Median of what is seen around each frame; of the whole clip where nothing is."""
    padded = np.pad(values, half, constant_values=np.nan)
    window = np.sort(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    seen = np.isfinite(window).sum(1)
    middle = window[np.arange(len(values)), np.maximum(seen - 1, 0) // 2]
    return np.where(seen > 0, middle, np.nanmedian(values) if seen.any() else np.nan)


def held_end_first(followed: Followed) -> Followed:
    """Turn the chain round when its first point is the one that travels."""
    position = followed.position_px
    travel = []
    for k in (0, -1):
        seen = position[np.isfinite(position[:, k, 0]), k]
        travel.append(np.ptp(seen, axis=0).max() if len(seen) else 0.0)
    if travel[0] <= 1.5 * travel[1]:
        return followed
    return in_order(followed, np.arange(position.shape[1])[::-1],
                    "pulled end found from the motion")


def in_order(followed: Followed, order: np.ndarray, note: str) -> Followed:
    """The points in another order, and why."""
    return replace(
        followed, position_px=followed.position_px[:, order], sharp=followed.sharp[:, order],
        covariance_px=followed.covariance_px[:, order], notes=[*followed.notes, note],
    )
