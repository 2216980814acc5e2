"""One way through a clip: the chain from frame to frame, each started where the last one led.

A pass begins where it can without knowing of the other: in a frame in which the chain was found,
or in one where the chain of the nearest of those, turned into place, is seen as well as there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rulerlab.track.sticks.chain import Rods
from rulerlab.track.sticks.edges import Wood
from rulerlab.track.sticks.fit import REACHES, Fit, fit_chain, with_pins
from rulerlab.track.sticks.ghosts import mixed_px
from rulerlab.track.sticks.sweep import nudge, sweep
from rulerlab.video import Frame

WELL = 0.85  # share of each stick's edges that are seen in a frame that needs no second try
FAIRLY, WORSE = 0.6, 0.05  # the same where the frame before showed little more, by so much
LESS = 0.95  # of the score of the frame before: a frame that shows less needs a second try
LEAST = 0.45  # share of the edges that must be seen for a frame to count
VAIN = 5  # frames for which tries that were in vain are not made again
WIDE = (1.2, 0.8, 0.5, 0.3)  # widths: reaches of a second try
STEADY = 0.8  # share of the last step that the next is expected to have


class Pass:
    """Follows a chain through frames that come one after the other, either way in time."""

    def __init__(self, wood: Wood, rods: Rods, known: dict[int, Fit]):
        self.fits: dict[int, Fit] = {}  # by the frame's number; not there: lost
        self.mixed: dict[int, np.ndarray] = {}  # (S,) px across each stick that show a mixture
        self._wood, self._rods = wood, rods
        self._known = {index: fit.joints_px for index, fit in known.items()}
        self._due = LESS * min(share_seen(fit) for fit in known.values())  # of the edges, seen
        self._last: np.ndarray | None = None  # joints in the frame before
        self._step: np.ndarray | None = None  # by which they moved there
        self._usual = 0  # score of the frame before
        self._rest = 0  # frames for which further tries are left out
        self._enough = WELL  # of each stick's edges, seen: no second try

    def observe(self, frame: Frame) -> None:
        """Fit the chain in the next frame."""
        fit = self._begin(frame) if self._last is None else self._go_on(frame, self._last)
        if fit is None:
            self._step = None
            return
        fit = with_pins(frame, fit, self._rods, self._last)
        self._step = None if self._last is None else fit.joints_px - self._last
        self._last, self._usual = fit.joints_px, fit.score
        self._enough = np.clip(np.nanmin(fit.seen, initial=1.0) - WORSE, FAIRLY, WELL)
        self.fits[frame.index] = fit
        self.mixed[frame.index] = mixed_px(frame, self._wood, fit.joints_px, self._rods)

    def _begin(self, frame: Frame) -> Fit | None:
        """The first fit of a pass."""
        if frame.index in self._known:
            fit = self._fit(frame, self._known[frame.index], WIDE)
            return fit if share_seen(fit) > LEAST else None
        nearest = min(self._known, key=lambda index: abs(index - frame.index))
        fits = []
        for place in self._elsewhere(frame, self._known[nearest], fits):
            fits.append(self._fit(frame, place, WIDE))
            if share_seen(fits[-1]) >= self._due and np.nanmin(fits[-1].seen, initial=1.0) > LEAST:
                return fits[-1]
        return None

    def _go_on(self, frame: Frame, last: np.ndarray) -> Fit | None:
        """The best of several tries, each only if those before it did not see the chain well.

        Where they were in vain a few frames ago, the first that sees no less than then will do.
        """
        ahead = last if self._step is None else last + STEADY * self._step
        fits = [self._fit(frame, ahead, REACHES)]
        if frame.index in self._known:
            fits.append(self._fit(frame, self._known[frame.index], WIDE))
            fits.sort(key=lambda fit: -fit.score)
        self._rest -= 1
        if self._is_clear(fits[0]) or (self._rest > 0 and self._sees_no_less(fits[0])):
            return fits[0] if share_seen(fits[0]) > LEAST else None
        for place in self._elsewhere(frame, last, fits):
            fits.append(self._fit(frame, place, WIDE))
            if self._is_clear(fits[-1]):
                return fits[-1]
        best = max(fits, key=lambda fit: fit.score)
        self._rest = VAIN if best is fits[0] else 0
        return best if share_seen(best) > LEAST else None

    def _elsewhere(
        self, frame: Frame, last: np.ndarray, fits: list[Fit]
    ) -> Iterator[np.ndarray]:
        """Places from which the chain is looked for when it is not where it was expected: where it
        lay, all of it shifted; each section turned of those that the best of the `fits` made so far
        does not show; each section turned."""
        yield nudge(frame, self._wood, last, self._rods)
        best = max(fits, key=lambda fit: fit.score)
        first = int((np.append(best.seen, 0.0) < self._enough).argmax())
        if 0 < first < len(best.seen):
            place = last + (best.joints_px - last)[first]
            place[:first] = best.joints_px[:first]
            yield sweep(frame, self._wood, place, self._rods, first=first)
        yield sweep(frame, self._wood, last, self._rods)

    def _fit(self, frame: Frame, place: np.ndarray, reaches: tuple[float, ...]) -> Fit:
        return fit_chain(frame, self._wood, place, self._rods, before=self._last, reaches=reaches)

    def _is_clear(self, fit: Fit) -> bool:
        """Whether every stick is seen where it should be, and no less than in the frame before."""
        return bool(np.nanmin(fit.seen, initial=1.0) > self._enough) and self._sees_no_less(fit)

    def _sees_no_less(self, fit: Fit) -> bool:
        return fit.score >= LESS * self._usual


def share_seen(fit: Fit) -> float:
    """Share of the edges that are seen, each stick counted alike."""
    known = fit.seen[np.isfinite(fit.seen)]
    return float(known.mean()) if len(known) else 0.0
