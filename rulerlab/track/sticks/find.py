"""Find a bare folding ruler in one picture: how many sections, where each joint is, how surely."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rulerlab.errors import InputError
from rulerlab.track.sticks.assemble import Path, best_paths
from rulerlab.track.sticks.candidates import Candidates, candidates
from rulerlab.track.sticks.check import bare_area, continues, doubt, left_over, loose_area
from rulerlab.track.sticks.extend import Chain, extend, without_ends
from rulerlab.track.sticks.links import Links, full_lengths, link, overhang, own_edges
from rulerlab.track.sticks.orient import held_first
from rulerlab.track.sticks.pairs import (
    Bars,
    edge_segments,
    find_bars,
    smooth_lab,
    width_candidates,
    working_picture,
)
from rulerlab.track.sticks.refine import refine
from rulerlab.track.sticks.sight import Sight, look, slopes
from rulerlab.track.sticks.wood import stick_evidence

SAME_WIDTH = 0.12  # bars whose widths differ by less than this share may be the same kind of stick
PASSES = 3  # times that the colours are learned anew from the chain found
PLAIN = 0.4  # share of its own edges with which an end section is plainly seen
HIDDEN = 1.0  # widths by which the free end of one that is not may lie aside
LEAST_SCORE = 1.6  # well-seen sticks that make a chain
MISFIT = 5.0  # well-seen sticks that speak against a chain, per stick left over or not there
HELP = ("give the joints (of a clip: those of its first frame) with --joints FILE, "
        "or pick them with --pick")


@dataclass(frozen=True)
class Found:
    """A chain in one picture, in its pixels, held end first."""

    joints_px: np.ndarray  # (N, 2)
    covariance_px: np.ndarray  # (2N, 2N) of x0, y0, x1, ...
    width_px: float  # of a stick
    kinds: tuple[str, ...]  # "full", "half" or "free", one per section
    score: float  # how many well-seen sticks speak for it
    notes: tuple[str, ...]  # what was assumed
    covered: bool = False  # the pulled end: it lies in a hand or outside the picture

    @property
    def sigma_px(self) -> np.ndarray:
        """One standard deviation of every joint's x and y, (N, 2)."""
        return np.sqrt(np.diag(self.covariance_px)).reshape(-1, 2)


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


@dataclass(frozen=True)
class _Seen:
    """What a picture shows before anything is known of its sticks."""

    lab: np.ndarray  # (H, W, 3)
    slope: tuple[np.ndarray, np.ndarray]
    segments: list[np.ndarray]  # straight edges by channel


class Doubtful(InputError):
    """A chain stands out, but the picture shows more that may belong to it."""

    def __init__(self, message: str, found: Found):
        super().__init__(message)
        self.found = found


def find_chain(
    picture_bgr: np.ndarray, *, points: int | None = None, pull: tuple[int, int] | None = None
) -> Found:
    """The chain of sticks in a picture (H, W, 3) in OpenCV's colours.

    `points` is the number of joints where known, both ends included; `pull` the direction (x
    right, y down) in which the pulled end lies. Raises InputError when no chain stands out, and
    Doubtful, which holds the chain, when it leaves over what looks like more of it.
    """
    work, scale = working_picture(picture_bgr)
    lab = smooth_lab(work)
    segments = edge_segments(lab)
    bars = find_bars(lab, segments)
    guess = _search(_Seen(lab, slopes(lab), segments), bars)
    sight, chain, score = _grown(guess, lab)
    why_not = doubt(sight, lab, bars, guess.seen, chain, guess.over)
    if points is not None and len(chain.place) != points:
        raise InputError(
            f"{len(chain.place)} joints are found, rig.toml says points = {points}; {HELP}")
    chain, covered, why = held_first(sight, lab, chain, guess.over, pull)
    refined = refine(sight, chain, guess.over, seen_ends=(True, not covered))
    covariance = refined.covariance + _hidden_ends(sight, Chain(refined.place, chain.kinds))
    found = Found(
        refined.place / scale, covariance / scale**2, refined.width / scale,
        chain.kinds, score, (why,) if why else (), covered,
    )
    if why_not is not None:
        raise Doubtful(f"{why_not}; {HELP}", found)
    return found


def _hidden_ends(sight: Sight, chain: Chain) -> np.ndarray:
    """Covariance (2N, 2N) to add at ends that are not plainly seen.

    Where little shows of an end section its free end may lie aside. One that seems shorter than a
    full section may go on, up to that length, under a hand.
    """
    place, last = chain.place, len(chain.place) - 1
    more = np.zeros((place.size, place.size))
    own = own_edges(sight, place)
    for joint, before, section in ((0, 1, 0), (last, last - 1, -1)):
        way = place[joint] - place[before]
        size = float(np.linalg.norm(way))
        wide = HIDDEN * sight.width if own[section] < PLAIN else 0.0
        short = max(chain.full_px - size, 0.0) if chain.kinds[section] == "free" else 0.0
        here = slice(2 * joint, 2 * joint + 2)
        more[here, here] = wide**2 * np.eye(2) + short**2 / 3 * np.outer(way, way) / size**2
    return more


def _search(seen: _Seen, bars: Bars) -> _Guess:
    best: _Guess | None = None
    for width in width_candidates(bars):
        alike = bars.pick(np.abs(np.log(bars.width / width)) < SAME_WIDTH)
        if len(alike.width) < 2:
            continue
        guess = _assemble(seen, alike)
        if guess is not None and (best is None or guess.score > best.score):
            best = guess
    if best is None or best.score < LEAST_SCORE:
        raise InputError(f"no folding ruler stands out in the picture; {HELP}")
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
    sight = look(seen.lab, stick_evidence(seen.lab, bars), bars, slope=seen.slope)
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
