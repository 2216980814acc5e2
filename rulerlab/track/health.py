"""Is a frame what it claims to be? Duplicates, ghosts and gaps in time, before any physics."""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import change_between, shares_of_change

GHOST_PX = 6.0  # a mark that moves less mixes like a ghost without being one
MOVING_PX = 0.7  # a mark that moves less stands still
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

    def duplicates(self, moved_px: np.ndarray) -> np.ndarray:
        """Indices of frames that repeat the one before although the marks move.

        `moved_px` (T,) is how far the fastest mark moves from the frame before to the one after;
        frames of a scene at rest are alike and none the worse for it.
        """
        change = np.array(self.change)
        if len(change) < 5:
            return np.zeros(0, int)
        around = np.array([
            np.median(change[max(0, i - 4) : i + 5]) for i in range(len(change))
        ])
        noise = np.percentile(change, 20)
        frozen = (change < 0.25 * around) & (change < 0.5 * max(noise, 0.05) + 0.05)
        found = np.flatnonzero(frozen & (around > 0.25)) + 1
        return found[moved_px[found] > MOVING_PX]

    def ghosts(self, moved_px: np.ndarray) -> np.ndarray:
        """Indices of frames that are a blend of two others.

        `moved_px` (T,) is how far the fastest mark moves from the frame before to the one after:
        an edge that moves by no more than its own width mixes like a ghost and is none.
        """
        mixture = np.array(self.mixture)
        found = np.flatnonzero(np.abs(mixture - 0.5) < 0.32) + 1
        return found[moved_px[found] > GHOST_PX]


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
