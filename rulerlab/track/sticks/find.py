"""Find a bare folding ruler in one picture: how many sections, where each joint is, how surely.

A chain is believed when two searches find it that know nothing of one another: one of the picture
as it is, one of the picture upside down. Where they differ, a third one decides. Of a film, single
searches of several pictures confirm one another instead.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from rulerlab.errors import InputError
from rulerlab.track.sticks.extend import Chain
from rulerlab.track.sticks.links import own_edges
from rulerlab.track.sticks.orient import held_first
from rulerlab.track.sticks.pairs import smooth_lab, working_picture
from rulerlab.track.sticks.refine import refine
from rulerlab.track.sticks.search import Outcome, search
from rulerlab.track.sticks.sight import Sight

PLAIN = 0.4  # share of its own edges with which an end section is plainly seen
HIDDEN = 1.0  # widths by which the free end of one that is not may lie aside
BETTER = 0.1  # share by which a chain is borne out better than others that it makes implausible
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


class Doubtful(InputError):
    """A chain stands out, but the picture does not bear it out without doubt."""

    def __init__(self, message: str, found: Found):
        super().__init__(message)
        self.found = found


def find_chain(
    picture_bgr: np.ndarray, *, points: int | None = None, pull: tuple[int, int] | None = None,
    once: bool = False,
) -> Found:
    """The chain of sticks in a picture (H, W, 3) in OpenCV's colours.

    `points` is the number of joints where known, both ends included; `pull` the direction (x
    right, y down) in which the pulled end lies; `once` leaves the confirmation by a second search
    to the caller. Raises InputError when no chain stands out, and Doubtful, which holds the chain,
    when it leaves over what looks like more of it, or when another chain is borne out about as
    well.
    """
    work, scale = working_picture(picture_bgr)
    lab = smooth_lab(work)
    best = _first(lab) if once else _agreed(lab)
    chain, over, sight = best.chain, best.over, best.sight
    if points is not None and len(chain.place) != points:
        raise InputError(
            f"{len(chain.place)} joints are found, rig.toml says points = {points}; {HELP}")
    chain, covered, why = held_first(sight, lab, chain, over, pull)
    refined = refine(sight, chain, over, seen_ends=(True, not covered))
    covariance = refined.covariance + _hidden_ends(sight, Chain(refined.place, chain.kinds))
    found = Found(
        refined.place / scale, covariance / scale**2, refined.width / scale,
        chain.kinds, best.score, (why,) if why else (), covered,
    )
    if best.why_not is not None:
        raise Doubtful(f"{best.why_not}; {HELP}", found)
    return found


def _agreed(lab: np.ndarray) -> Outcome:
    """The chain that searches of the picture, turned over in several ways, agree upon.

    Two must find it without doubt, and none another one that is borne out better; else the best
    is given, in doubt. Raises InputError when the picture as it is shows none.
    """
    outcomes = [_first(lab)]
    for outcome in _turned_over(lab):
        outcomes += [outcome] if outcome is not None else []
        best = max(outcomes, key=lambda one: one.score)
        sure = [one for one in outcomes if one.why_not is None]
        for one in sorted(sure, key=lambda one: -one.score):
            alike = [other for other in sure if one.same_as(other)]
            if len(alike) > 1 and best.score < (1 + BETTER) * one.score:
                return min(alike, key=lambda other: other.free_px)
        doubted = [one for one in outcomes if one.why_not is not None]
        if len(doubted) > 1:
            break
    return replace(best, why_not=best.why_not or _differ(outcomes))


def _first(lab: np.ndarray) -> Outcome:
    """What is found in the picture as it is; InputError when it shows no chain."""
    first = search(lab)
    if first is None:
        raise InputError(f"no folding ruler stands out in the picture; {HELP}")
    return first


def _turned_over(lab: np.ndarray) -> Iterator[Outcome | None]:
    """What is found in the picture upside down, and with rows for columns."""
    found = search(np.ascontiguousarray(lab[::-1]))
    yield found.upside_down() if found is not None else None
    found = search(np.ascontiguousarray(lab.swapaxes(0, 1)))
    yield found.transposed() if found is not None else None


def _differ(outcomes: list[Outcome]) -> str:
    counts = sorted({len(one.chain.kinds) for one in outcomes})
    if len(counts) > 1:
        said = " or ".join(map(str, counts))
        return f"chains of {said} sections stand out about as well as one another"
    return (f"a chain of {counts[0]} sections stands out, but not in the same place, or not "
            "without doubt, when the picture is turned over")


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
