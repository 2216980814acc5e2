"""Bare sticks through a clip, forwards and backwards, with what is rigid shared.

Each frame is fitted on its own, started where the frames before it lead, once in either direction
of time; what its edges and tips say is kept, and when the clip has ended all frames are solved
again with one set of lengths. Where the two ways disagree, the joints are no more than guessed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from rulerlab.track.sticks.agree import passes_disagree
from rulerlab.track.sticks.blur import doubt_of_blur, sharpness
from rulerlab.track.sticks.breath import with_breath
from rulerlab.track.sticks.chain import (
    SIDEWAYS_PX,
    Lines,
    Rods,
    frames_of,
    of_each,
    rods_of,
)
from rulerlab.track.sticks.edges import Wood, learn_wood
from rulerlab.track.sticks.fit import Fit, fit_chain
from rulerlab.track.sticks.ghosts import are_ghosts
from rulerlab.track.sticks.passes import WIDE, Pass, share_seen
from rulerlab.track.sticks.pins import with_pins_weighed
from rulerlab.track.sticks.shared import fit_shared, solve_all, with_known_ends
from rulerlab.track.sticks.start import Start
from rulerlab.video import Frame

HARDLY = 0.3  # share of a stick's edges that should be seen: with less, its joints are guessed
SURE = 0.35  # widths: joints known less well than this are told from the chain alone
SHADOW = 0.045  # widths by which the middle lies aside of a stick that its shadow looks like
WITNESS = 0.9  # of the better pass's score: one that sees less has lost the chain
POOR, AROUND = 0.7, 15  # of the usual score, over frames before and after: the chain is guessed
PLAIN = 3.0  # contrast of the sticks that tells a mixture from noise
TELLING = 200  # frames that tell what the clip shares; more repeat the same errors


@dataclass(frozen=True)
class Chains:
    """The chain in every frame of a clip; NaN where it was lost."""

    joints_px: np.ndarray  # (T, N, 2)
    covariance_px: np.ndarray  # (T, N, 2, 2)
    guessed: np.ndarray  # (T, N) bool: known from the rest of the chain only
    apart: np.ndarray  # (T, N) bool: placed elsewhere by the other pass
    checked: np.ndarray  # (T,) bool: both passes reached it
    seen: np.ndarray  # (T,) share of the edges that are seen
    sharp: np.ndarray  # (T, N) 1 / px over which edges beside a joint rise
    ghosts: np.ndarray  # (G,) numbers of frames that are blends of two moments


class StickFollower:
    """Follows the chain through a clip; `chains` gives the result."""

    def __init__(self, start: Start):
        self.start = start
        self.wood: Wood = learn_wood(start.frames, [f.joints_px for f in start.found],
                                     start.width_px)
        self.rods, known = _first_rods(start, self.wood)
        self._frames = 0
        self._passes = tuple(Pass(self.wood, self.rods, known) for _ in range(2))

    def observe(self, frame: Frame) -> None:
        """Fit the chain in the next frame of the clip."""
        self._passes[0].observe(frame)
        self._frames = frame.index + 1

    def look_back(self, frames: Iterable[Frame]) -> None:
        """Fit the chain once more in the frames of the clip, which come the last first."""
        for frame in frames:
            self._passes[1].observe(frame)

    def chains(self, sections_mm: tuple[float, ...] = ()) -> Chains:
        """The chain in all frames that were observed, with lengths fitted to all of them.

        `sections_mm` tell how long a section is whose end nobody sees.
        """
        count, points = self._frames, len(self.rods.share) + 1
        good, first, second = self._ranked()
        chains = Chains(
            np.full((count, points, 2), np.nan), np.full((count, points, 2, 2), np.nan),
            np.zeros((count, points), bool), np.zeros((count, points), bool),
            np.zeros(count, bool), np.zeros(count), np.full((count, points), np.nan),
            self._ghosts(good),
        )
        if not good:
            return chains
        lines = [_stack(first), _stack(second)]
        telling = self._telling(good, first, second, chains.ghosts)
        rods, shared = fit_shared(lines[0].pick(telling), self.rods)
        lines, rods = with_pins_weighed(lines, rods, shared)
        rods, shared = fit_shared(lines[0].pick(telling), rods)
        lines = [with_breath(one, rods) for one in lines]
        rods, doubt = with_known_ends(rods, sections_mm)
        joints, full, alone = solve_all(lines[0], rods, shared)
        again, full_again, _ = solve_all(lines[1], rods, shared)
        covariance = of_each(full)
        off = joints - again
        chains.apart[good] = passes_disagree(off, covariance + of_each(full_again), rods.width_px)
        lost = [b.score < WITNESS * a.score for a, b in zip(first, second, strict=True)]
        off[lost] = 0.0
        hardly = np.stack([beside_unseen(fit) for fit in first])
        both = np.array([a is not b for a, b in zip(first, second, strict=True)])
        score = np.array([fit.score for fit in first])
        hardly |= (much_less(score) | unlike_confirmed(score, both))[:, None]
        covariance += off[..., :, None] * off[..., None, :] + _end_doubts(joints, alone, doubt)
        covariance += (SHADOW * self.wood.shaded * rods.width_px) ** 2 * np.eye(2)
        chains.joints_px[good] = joints
        rise = np.stack([fit.rise_px for fit in first])
        covariance += doubt_of_blur(chains.joints_px, good, rise)
        size = np.sqrt(np.linalg.eigvalsh(covariance).max(-1))
        chains.guessed[good] = (size > SURE * rods.width_px) | alone | hardly
        covariance += np.where(hardly, rods.width_px, 0.0)[..., None, None] ** 2 * np.eye(2)
        chains.covariance_px[good] = covariance
        chains.checked[good] = both
        chains.apart[good] |= self._lost_by_one(good)[:, None]
        chains.seen[good] = [share_seen(fit) for fit in first]
        chains.sharp[good] = sharpness(rise)
        return chains

    def _ranked(self) -> tuple[list[int], list[Fit], list[Fit]]:
        """Numbers of the frames in which the chain was seen, the fit that sees more of it in each,
        and that of the other pass (the same again where only one pass reached the frame)."""
        passes = [one.fits for one in self._passes]
        good = sorted(passes[0].keys() | passes[1].keys())
        ranked = [sorted((fits[t] for fits in passes if t in fits), key=lambda fit: -fit.score)
                  for t in good]
        return good, [fits[0] for fits in ranked], [fits[-1] for fits in ranked]

    def _lost_by_one(self, good: list[int]) -> np.ndarray:
        """In which of the frames (G,) one pass shows the chain and the other has lost it."""
        there = [np.isin(good, list(one.fits)) for one in self._passes]
        ahead, back = (np.flatnonzero(seen) for seen in there)
        begun = np.zeros(len(good), bool)
        if len(ahead) and len(back):
            begun[ahead[0] : back[-1] + 1] = True
        return begun & (there[0] ^ there[1])

    def _ghosts(self, good: list[int]) -> np.ndarray:
        """Which of the frames in which the chain was seen are blends."""
        if not good or self.wood.contrast < PLAIN:
            return np.zeros(0, int)
        mixed = [np.min([one.mixed[t] for one in self._passes if t in one.mixed], axis=0)
                 for t in good]
        return np.array(good)[are_ghosts(np.array(mixed), self.rods.width_px)]

    def _telling(self, good: list[int], first: list[Fit], second: list[Fit],
                 ghosts: np.ndarray) -> np.ndarray:
        """Places in `good` of frames whose two fits do not contradict each other: they tell what
        is rigid."""
        differ = np.abs([a.joints_px - b.joints_px for a, b in zip(first, second, strict=True)])
        alike = (differ.max((1, 2)) < SURE * self.rods.width_px) & ~np.isin(good, ghosts)
        telling = np.flatnonzero(alike) if alike.any() else np.arange(len(good))
        return telling[:: 1 + len(telling) // TELLING]


def _first_rods(start: Start, wood: Wood) -> tuple[Rods, dict[int, Fit]]:
    """Rods from the frames in which the chain was found, the sticks' width first; fits there."""
    size = start.frames[0].luma.shape[::-1]
    best, fits = start.found[start.best], []
    rods = rods_of(best.joints_px, best.kinds, start.width_px, size)
    rods = replace(rods, covered=any(found.covered for found in start.found))
    places = [found.joints_px for found in start.found]
    for _ in range(3):
        fits = [fit_chain(frame, wood, place, rods, reaches=WIDE)
                for frame, place in zip(start.frames, places, strict=True)]
        scatter = np.median([f.scatter_px for f in fits if np.isfinite(f.scatter_px)] or 1.0)
        wider = float(np.median([f.widening_px for f in fits]))
        rods = replace(rods, width_px=rods.width_px + wider,
                       sideways_px=float(np.hypot(SIDEWAYS_PX, scatter)))
        rods, _ = fit_shared(_stack(fits), rods)
        places = [fit.joints_px for fit in fits]
    return rods, {frame.index: fit for frame, fit in zip(start.frames, fits, strict=True)}


def _end_doubts(joints: np.ndarray, alone: np.ndarray, doubt: float) -> np.ndarray:
    """Variance along the end sections where the end itself is hidden, (T, N, 2, 2)."""
    unit, _ = frames_of(joints)
    length = np.linalg.norm(np.diff(joints, axis=1), axis=-1)
    more = np.zeros(joints.shape + (2,))
    for joint, section in ((0, 0), (-1, -1)):
        way = (doubt * length[:, section] * alone[:, joint])[:, None] * unit[:, section]
        more[:, joint] = way[:, :, None] * way[:, None]
    return more


def much_less(score: np.ndarray) -> np.ndarray:
    """In which frames (T,) much less of the chain is seen than before and after: it lies elsewhere.

    A chain that opens shows more and more of itself, so both sides in time have to show more.
    """
    sides = np.array([[np.percentile(score[max(t - AROUND, 0) : t + 1], 75),
                       np.percentile(score[t : t + AROUND + 1], 75)] for t in range(len(score))])
    return score < POOR * sides.min(1)


def unlike_confirmed(score: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Which frames (T,) that one pass alone reached show less of the chain than the nearest one
    that `both` (T,) did: nobody else says that it lies there."""
    confirmed = np.flatnonzero(both)
    if not len(confirmed):
        return np.zeros(len(score), bool)
    nearest = confirmed[np.abs(np.arange(len(score))[:, None] - confirmed).argmin(1)]
    return ~both & (score < WITNESS * score[nearest])


def beside_unseen(fit: Fit) -> np.ndarray:
    """Which joints (N,) end a stick whose edges should be seen and hardly are: it is not there.

    Sticks next to it that hide behind others hang on it, so they are no better known.
    """
    hidden = np.isnan(fit.seen)
    unseen = ~hidden & (np.nan_to_num(fit.seen) < HARDLY)
    for _ in fit.seen:
        unseen |= hidden & (np.append(unseen[1:], False) | np.append(False, unseen[:-1]))
    return np.append(unseen, False) | np.append(False, unseen)


def _stack(fits: list[Fit]) -> Lines:
    """What the edges and tips of many pictures say."""
    return Lines(*(np.concatenate([getattr(fit.lines, name) for fit in fits])
                   for name in Lines.__dataclass_fields__))
