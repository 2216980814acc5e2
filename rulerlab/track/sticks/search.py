"""One search of a picture for the chain of sticks that bears it out best, and what speaks against.

Where sticks are folded, blurred or hardly seen, chance decides between chains that are borne out
alike: a search of the picture turned over then finds another one (`find`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rulerlab.track.sticks.assemble import Path, best_paths
from rulerlab.track.sticks.candidates import Candidates, candidates
from rulerlab.track.sticks.check import bare_area, continues, doubt, left_over, loose_area
from rulerlab.track.sticks.extend import Chain, extend, without_detour, without_ends
from rulerlab.track.sticks.links import Links, full_lengths, link, overhang
from rulerlab.track.sticks.pairs import Bars, edge_segments, find_bars, width_candidates
from rulerlab.track.sticks.refine import refine
from rulerlab.track.sticks.sight import Sight, look, slopes
from rulerlab.track.sticks.wood import evenly_lit, stick_evidence

SAME_WIDTH = 0.12  # bars whose widths differ by less than this share may be the same kind of stick
PASSES = 3  # times that the colours are learned anew from the chain found
LEAST_SCORE = 1.6  # well-seen sticks that make a chain
MISFIT = 5.0  # well-seen sticks that speak against a chain, per stick left over or not there
SAME_PLACE = 1.0  # widths: two chains whose joints all lie this near are the same


@dataclass(frozen=True)
class Outcome:
    """The chain that one search found, in working pixels; which end is held is not decided."""

    chain: Chain
    sight: Sight
    over: float  # overhang of the tips beyond the hinges
    score: float  # how many well-seen sticks speak for it
    why_not: str | None  # what speaks against believing it

    def upside_down(self) -> Outcome:
        """The same in the picture turned over, its last row first."""
        last = self.sight.evidence.shape[0] - 1
        place = self.chain.place * [1, -1] + [0, last]
        return replace(self, chain=replace(self.chain, place=place),
                       sight=self.sight.upside_down())

    def transposed(self) -> Outcome:
        """The same in the picture whose rows are columns."""
        return replace(self, chain=replace(self.chain, place=self.chain.place[:, ::-1]),
                       sight=self.sight.transposed())

    def better_than(self, other: Outcome) -> bool:
        """Whether this chain is borne out better, and doubted no more."""
        return self.score > other.score and (self.why_not is None or other.why_not is not None)

    def same_as(self, other: Outcome) -> bool:
        """Whether both are one chain, whichever end comes first.

        A free end may lie anywhere along its section: it is seen as far as the hand lets it.
        """
        if len(self.chain.place) != len(other.chain.place):
            return False
        return any(_apart(self.chain, way) < SAME_PLACE * self.sight.width
                   for way in (other.chain, other.chain.reversed()))

    @property
    def free_px(self) -> float:
        """Length of the section that lies in a hand; 0 when there is none."""
        length = np.linalg.norm(np.diff(self.chain.place, axis=0), axis=1)
        return float(length[[kind == "free" for kind in self.chain.kinds]].sum())


def _apart(chain: Chain, other: Chain) -> float:
    """How far apart the joints of two chains lie at most; of free ends, how far aside."""
    between = chain.place - other.place
    away = np.linalg.norm(between, axis=1)
    for end, before in ((0, 1), (-1, -2)):
        if "free" in (chain.kinds[end], other.kinds[end]):
            way = chain.place[end] - chain.place[before]
            cross = way[0] * between[end, 1] - way[1] * between[end, 0]
            away[end] = abs(cross) / np.linalg.norm(way)
    return float(away.max())


@dataclass(frozen=True)
class _Seen:
    """What a picture shows before anything is known of its sticks."""

    lab: np.ndarray  # (H, W, 3)
    tone: np.ndarray  # (H, W, 3) by which sticks are told from what lies beside them
    slope: tuple[np.ndarray, np.ndarray]
    segments: list[np.ndarray]  # straight edges by channel


@dataclass(frozen=True)
class _Guess:
    """A path with what it was found by."""

    paths: tuple[Path, ...]  # the best one first
    links: Links
    sight: Sight
    seen: Candidates
    over: float

    @property
    def score(self) -> float:
        return self.paths[0].score

    def chain(self, path: Path) -> Chain:
        sticks = list(path.sticks)
        full, half = self.links.is_full[sticks], self.links.is_half[sticks]
        kinds = np.where(full, "full", np.where(half, "half", "free"))
        return Chain(self.links.hinge[list(path.hinges)], tuple(kinds.tolist()))


def search(lab: np.ndarray) -> Outcome | None:
    """The chain that stands out in a picture (H, W, 3) as of `pairs.smooth_lab`, if one does.

    Where none does without doubt the colours are taken less the uneven light, too.
    """
    segments = edge_segments(lab)
    bars = find_bars(lab, segments)
    seen = _Seen(lab, lab, slopes(lab), segments)
    outcome = _outcome(seen, bars)
    if outcome is None or outcome.why_not is not None:
        even = _outcome(replace(seen, tone=evenly_lit(lab)), bars)
        if even is not None and (outcome is None or even.better_than(outcome)):
            return even
    return outcome


def _outcome(seen: _Seen, bars: Bars) -> Outcome | None:
    guess = _best_guess(seen, bars)
    if guess is None:
        return None
    sight, chain, score = _grown(guess, seen.lab)
    chain = without_detour(chain, sight.width)
    why_not = doubt(sight, seen.lab, bars, guess.seen, chain, guess.over)
    return Outcome(chain, sight, guess.over, score, why_not)


def _best_guess(seen: _Seen, bars: Bars) -> _Guess | None:
    best: _Guess | None = None
    for width in width_candidates(bars):
        alike = bars.pick(np.abs(np.log(bars.width / width)) < SAME_WIDTH)
        if len(alike.width) < 2:
            continue
        guess = _assemble(seen, alike)
        if guess is not None and (best is None or guess.score > best.score):
            best = guess
    if best is None or best.score < LEAST_SCORE:
        return None
    for _ in range(PASSES):
        chain = best.chain(best.paths[0])
        loose = left_over(best.sight, bars, chain, best.over)
        loose = loose.pick(continues(best.sight, seen.lab, loose, chain, best.over))
        again = _assemble(seen, _sticks(best).joined(loose))
        if again is None or again.score <= best.score:
            break
        best = again
    return best


def _assemble(seen: _Seen, bars: Bars) -> _Guess | None:
    """The best chain of sticks that look like the bars."""
    sight = look(seen.lab, stick_evidence(seen.tone, bars), bars, slope=seen.slope)
    found = candidates(sight, seen.segments, bars)
    over = overhang(found, sight.width)
    best: _Guess | None = None
    for full in full_lengths(found, sight.width):
        links = link(sight, found, full, over)
        paths = best_paths(links)
        if paths and (best is None or paths[0].score > best.score):
            best = _Guess(tuple(paths), links, sight, found, over)
    return best


def _sticks(guess: _Guess) -> Bars:
    """The well-seen sticks of a chain as bars."""
    path = guess.paths[0]
    good = guess.links.worth[list(path.sticks)] > 0.3
    return guess.chain(path).bars(guess.sight.width).pick(good)


def _grown(guess: _Guess, lab: np.ndarray) -> tuple[Sight, Chain, float]:
    """The chain that is best when the sticks beyond its ends count as well, and its score.

    The sight is one that knows the sticks' width better: of that of the bars and that of the chain
    the smaller one, since shadows and neighbours widen either.
    """
    grown: list[tuple[Sight, Chain, float]] = []
    for path in guess.paths:
        chain = guess.chain(path)
        core = refine(guess.sight, chain, guess.over, seen_ends=(False, False))
        sight = replace(guess.sight, width=min(core.width, guess.sight.width))
        starts = [(Chain(core.place, chain.kinds), path.score)]
        for chain, score in starts:
            longer, gain = extend(sight, lab, chain, guess.over)
            loose = loose_area(sight, longer, guess.over)
            wrong = (loose + bare_area(sight, longer)) * sight.width / longer.full_px
            grown.append((sight, longer, score + gain - MISFIT * wrong))
            if loose and len(starts) == 1:
                starts += list(without_ends(sight, chain, guess.over, score))
    return max(grown, key=lambda one: one[2])
