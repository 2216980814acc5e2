"""Bare sticks through a clip: from where the chain was found, both ways, with what is rigid shared.

Each frame is fitted on its own, started where the frames before it lead; what its edges and tips
say is kept, and when the clip has ended all frames are solved again with one set of lengths.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rulerlab.track.sticks.chain import SIDEWAYS_PX, Lines, Rods, frames_of, rods_of
from rulerlab.track.sticks.edges import Wood, learn_wood
from rulerlab.track.sticks.fit import REACHES, Fit, fit_chain
from rulerlab.track.sticks.shared import fit_shared, solve_all, with_known_ends
from rulerlab.track.sticks.start import Start, copied
from rulerlab.track.sticks.sweep import sweep
from rulerlab.video import Frame

WELL = 0.85  # share of each stick's edges that are seen in a frame that needs no second try
LESS = 0.93  # of the score of the frame before: a frame that shows less needs a second try
LEAST = 0.45  # share of the edges that must be seen for a frame to count
WIDE = (1.2, 0.8, 0.5, 0.3)  # widths: reaches of a second try
STEADY = 0.8  # share of the last step that the next is expected to have
HELD_BYTES = 800_000_000  # of frames before the first in which the chain was found
HARDLY = 0.3  # share of a stick's edges that should be seen: with less, its joints are guessed
SURE = 0.35  # widths: joints known less well than this are told from the chain alone


@dataclass(frozen=True)
class Chains:
    """The chain in every frame of a clip; NaN where it was lost."""

    joints_px: np.ndarray  # (T, N, 2)
    covariance_px: np.ndarray  # (T, N, 2, 2)
    guessed: np.ndarray  # (T, N) bool: known from the rest of the chain only
    seen: np.ndarray  # (T,) share of the edges that are seen
    rods: Rods


class StickFollower:
    """Follows the chain from frame to frame; `chains` gives the result."""

    def __init__(self, start: Start):
        self.start = start
        self.wood: Wood = learn_wood(start.frames, [f.joints_px for f in start.found],
                                     start.width_px)
        self.rods = self._first_rods()
        self._fits: list[Fit | None] = []
        self._steps: list[np.ndarray] = []
        self._last: np.ndarray | None = None
        self._usual = 0  # score of the frame before
        self._met = False  # whether a frame with a known chain has come
        self._waiting: list[tuple[int, Frame]] = []

    def _first_rods(self) -> Rods:
        """Rods from the sample frames: the sticks' width first, then everything that is shared."""
        start = self.start
        size = start.frames[0].luma.shape[::-1]
        best = start.found[start.best]
        rods = rods_of(best.joints_px, best.kinds, start.width_px, size)
        rods = replace(rods, covered=any(found.covered for found in start.found))
        places = [found.joints_px for found in start.found]
        for _ in range(3):
            fits = [fit_chain(frame, self.wood, place, rods, reaches=WIDE)
                    for frame, place in zip(start.frames, places, strict=True)]
            scatter = np.median([f.scatter_px for f in fits if np.isfinite(f.scatter_px)] or 1.0)
            rods = replace(rods, width_px=rods.width_px + np.median([f.widening_px for f in fits]),
                           sideways_px=float(np.hypot(SIDEWAYS_PX, scatter)))
            rods = fit_shared(_stack([fit.lines for fit in fits]), rods)
            places = [fit.joints_px for fit in fits]
        self.known = {f.index: place for f, place in zip(start.frames, places, strict=True)}
        return rods

    def observe(self, frame: Frame) -> None:
        """Fit the chain in the next frame; frames before the first known one wait for it."""
        if not self._met:
            if frame.index not in self.known:
                self._waiting.append((len(self._fits), copied(frame)))
                self._waiting = self._waiting[-max(HELD_BYTES // (2 * frame.luma.size), 1) :]
                self._fits.append(None)
                return
            self._met = True
            first = self._advance(frame)
            self._fits.append(first)
            self._backward()
            self._last = first.joints_px if first is not None else None
            self._steps.clear()
            return
        self._fits.append(self._advance(frame))

    def _backward(self) -> None:
        """Fit the frames that were held back, the last first."""
        while self._waiting:
            number, frame = self._waiting.pop()
            self._fits[number] = self._advance(frame)

    def _advance(self, frame: Frame) -> Fit | None:
        """The fit of a frame next to the one before, which it then replaces."""
        fit = self._fit(frame)
        if fit is None:
            self._steps.clear()
            return None
        if self._last is not None:
            self._steps = [fit.joints_px - self._last]
        self._last, self._usual = fit.joints_px, fit.score
        return fit

    def _fit(self, frame: Frame) -> Fit | None:
        """The best of several tries, each only if those before it did not see the chain well."""
        tries = []
        if self._last is not None:
            ahead = self._last + STEADY * self._steps[-1] if self._steps else self._last
            tries += [(ahead, REACHES), (self._last, WIDE)]
        if frame.index in self.known:
            tries.append((self.known[frame.index], WIDE))
        elif self._last is None:
            nearest = min(self.known, key=lambda index: abs(index - frame.index))
            tries.append((self.known[nearest], WIDE))
        best: Fit | None = None
        for place, reaches in tries:
            fit = fit_chain(frame, self.wood, place, self.rods, reaches=reaches)
            if best is None or fit.score > best.score:
                best = fit
            if self._is_clear(best):
                return best
        origin = self._last if self._last is not None else tries[-1][0]
        swept = sweep(frame, self.wood, origin, self.rods)
        fit = fit_chain(frame, self.wood, swept, self.rods, reaches=WIDE)
        if best is None or fit.score > best.score:
            best = fit
        return best if _share(best) > LEAST else None

    def _is_clear(self, fit: Fit) -> bool:
        """Whether every stick is seen where it should be, and no less than in the frame before."""
        return bool(np.nanmin(fit.seen, initial=1.0) > WELL and fit.score >= LESS * self._usual)

    def chains(self, sections_mm: tuple[float, ...] = ()) -> Chains:
        """The chain in all frames that were observed, with lengths fitted to all of them.

        `sections_mm` tell how long a section is whose end nobody sees.
        """
        frames = len(self._fits)
        good = np.array([t for t, fit in enumerate(self._fits) if fit is not None])
        points = len(self.rods.share) + 1
        joints = np.full((frames, points, 2), np.nan)
        covariance = np.full((frames, points, 2, 2), np.nan)
        guessed, seen = np.zeros((frames, points), bool), np.zeros(frames)
        if not len(good):
            return Chains(joints, covariance, guessed, seen, self.rods)
        fits = [fit for fit in self._fits if fit is not None]
        lines = _stack([fit.lines for fit in fits])
        rods = fit_shared(lines.pick(slice(None, None, 1 + len(good) // 200)), self.rods)
        rods, doubt = with_known_ends(rods, sections_mm)
        joints[good], full, alone = solve_all(lines, rods)
        across = full.reshape(len(good), points, 2, points, 2)
        covariance[good] = across[:, np.arange(points), :, np.arange(points)].swapaxes(0, 1)
        covariance[good] += _end_doubts(joints[good], alone, doubt)
        size = np.sqrt(np.linalg.eigvalsh(covariance[good]).max(-1))
        hardly = np.stack([beside_unseen(fit) for fit in fits])
        covariance[good] += np.where(hardly, rods.width_px, 0.0)[..., None, None] ** 2 * np.eye(2)
        guessed[good] = (size > SURE * rods.width_px) | alone | hardly
        seen[good] = [_share(fit) for fit in fits]
        return Chains(joints, covariance, guessed, seen, rods)


def _end_doubts(joints: np.ndarray, alone: np.ndarray, doubt: float) -> np.ndarray:
    """Variance along the end sections where the end itself is hidden, (T, N, 2, 2)."""
    unit, _ = frames_of(joints)
    length = np.linalg.norm(np.diff(joints, axis=1), axis=-1)
    more = np.zeros(joints.shape + (2,))
    for joint, section in ((0, 0), (-1, -1)):
        way = (doubt * length[:, section] * alone[:, joint])[:, None] * unit[:, section]
        more[:, joint] = way[:, :, None] * way[:, None]
    return more


def _share(fit: Fit) -> float:
    """Share of the edges that are seen, each stick counted alike."""
    known = fit.seen[np.isfinite(fit.seen)]
    return float(known.mean()) if len(known) else 0.0


def beside_unseen(fit: Fit) -> np.ndarray:
    """Which joints (N,) end a stick whose edges should be seen and hardly are: it is not there.

    Sticks next to it that hide behind others hang on it, so they are no better known.
    """
    hidden = np.isnan(fit.seen)
    unseen = ~hidden & (np.nan_to_num(fit.seen) < HARDLY)
    for _ in fit.seen:
        unseen |= hidden & (np.append(unseen[1:], False) | np.append(False, unseen[:-1]))
    return np.append(unseen, False) | np.append(False, unseen)


def _stack(lines: list[Lines]) -> Lines:
    return Lines(*(np.concatenate([getattr(one, name) for one in lines])
                   for name in Lines.__dataclass_fields__))
