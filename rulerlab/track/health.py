"""Is a frame what it claims to be? Duplicates, ghosts and gaps in time, before any physics."""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import change_between, shares_of_change

GHOST_PX = 6.0  # a mark that moves less mixes like a ghost without being one
MOVING_PX = 0.7  # a mark that moves less stands still
SOFT, CRISP = 0.7, 0.8  # of the usual steepness of an outline: in a blend, and in a true frame
THUMBNAIL = 240  # pixels across the picture that is compared from frame to frame


class FrameHealth:
    """Compares each frame with its neighbours; a frame is judged when the next one has come.

    A *duplicate* repeats the frame before it while the scene moves. A *ghost* is a blend of its
    neighbours, as frame-rate conversion makes them: where the scene changes by full contrast, a
    true frame shows either the one or the other, a ghost shows the same mixture everywhere.
    """

    def __init__(self):
        self._last: list[np.ndarray] = []
        self.change: list[float] = []  # mean absolute difference to the frame before, grey levels
        self.mixture: list[float] = []  # share of the next frame seen in this one, NaN when unclear

    def observe(self, luma: np.ndarray) -> None:
        step = max(1, luma.shape[1] // THUMBNAIL)
        small = luma[step // 2 :: step, step // 2 :: step].copy()
        if self._last:
            self.change.append(change_between(self._last[-1], small))
        if len(self._last) == 2:
            self.mixture.append(_mixture(self._last[0], self._last[1], small))
        self._last = [*self._last[-1:], small]

    def frozen(self) -> np.ndarray:
        """Indices of frames that show the picture before them, while pictures change around."""
        change = np.array(self.change)
        if len(change) < 5:
            return np.zeros(0, int)
        around = np.array([
            np.median(change[max(0, i - 4) : i + 5]) for i in range(len(change))
        ])
        noise = np.percentile(change, 20)
        frozen = (change < 0.25 * around) & (change < 0.5 * max(noise, 0.05) + 0.05)
        return np.flatnonzero(frozen & (around > 0.25)) + 1

    def mixed(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each frame (T,): it looks like a blend of its neighbours; it looks like none."""
        mixture = np.full(len(self.change) + 1, np.nan)
        mixture[1 : 1 + len(self.mixture)] = self.mixture
        away = np.abs(mixture - 0.5)
        return away < 0.32, away >= 0.32


def repeated(frozen: np.ndarray, position_px: np.ndarray) -> list[int]:
    """Of frames that show the picture before them, those in which the marks should have moved.

    `position_px` is (T, N, 2). Frames of a scene at rest are alike and none the worse for it.
    """
    found = []
    for run in np.split(frozen, np.flatnonzero(np.diff(frozen) > 1) + 1):
        if len(run) and run[-1] + 1 < len(position_px):
            before = position_px[run[0] - 1]
            way = farthest(position_px[run[-1] + 1] - before)
            if way > MOVING_PX and farthest(position_px[run] - before).max() < 0.25 * way:
                found += run.tolist()
    return found


def blended(health: FrameHealth, position_px: np.ndarray, sharp: np.ndarray | None) -> list[int]:
    """Frames that are a blend of two others, in which marks are where none was.

    An edge that moves by no more than its own width mixes like a ghost and is none: in a ghost the
    outlines of the fastest marks lose their steepness, `sharp` (T, N), where that is known, and in
    the frames beside it they have it (a mark that is smeared by its motion is smeared in both).
    """
    like, unlike = health.mixed()
    found = []
    usual = np.nanmedian(sharp, axis=0) if sharp is not None else np.ones(position_px.shape[1])
    for t in range(1, len(position_px) - 1):
        step = position_px[t + 1] - position_px[t - 1]
        if unlike[t] or farthest(step) <= GHOST_PX:
            continue
        if sharp is None:
            found += [t] if like[t] else []
            continue
        fast = np.linalg.norm(step, axis=-1) > GHOST_PX
        before, here, after = (_median(sharp[k, fast] / usual[fast]) for k in (t - 1, t, t + 1))
        if here < SOFT and (like[t] or min(before, after) > CRISP):
            found.append(t)
    return found


def farthest(step: np.ndarray) -> np.ndarray:
    """How far marks go in a step (..., N, 2), px: the second fastest counts, for when a chain
    moves, at least two of its points do."""
    return np.sort(np.nan_to_num(np.linalg.norm(step, axis=-1)), axis=-1)[..., -2]


def _median(values: np.ndarray) -> float:
    """Of the numbers that are known; infinity where none is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else np.inf


def _mixture(before: np.ndarray, here: np.ndarray, after: np.ndarray) -> float:
    share = shares_of_change(before, here, after, 60)
    if len(share) < 25:
        return float("nan")
    low, middle, high = np.sort(share)[[int(q * (len(share) - 1)) for q in (0.15, 0.5, 0.85)]]
    return float(middle) if high - low < 0.3 else float("nan")


def time_gaps(time_s: np.ndarray) -> list[tuple[float, int]]:
    """(time, frames missing) of every gap in a recording of constant frame rate.

    A recording whose frame times vary by design has no gaps to speak of.
    """
    step = np.diff(time_s)
    if len(step) < 5:
        return []
    usual = float(np.median(step))
    regular = np.abs(step / usual - np.round(step / usual)) < 0.1
    if regular.mean() < 0.9 or (np.round(step / usual) == 1).mean() < 0.7:
        return []
    lost = np.round(step / usual).astype(int) - 1
    return [(float(time_s[i]), int(lost[i])) for i in np.flatnonzero(lost > 0)]
