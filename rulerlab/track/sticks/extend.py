"""Sticks that the search missed at the ends of a chain: looked for all around the last hinge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from rulerlab.track.sticks.assemble import COST, FREE_COST
from rulerlab.track.sticks.pairs import Bars
from rulerlab.track.sticks.sight import Sight, support
from rulerlab.track.sticks.wood import CLEAR, bar_mask

STEP_DEG = 0.5
ACROSS = (-0.4, -0.2, 0.0, 0.2, 0.4)  # widths from the axis at which colours are looked at
ALONG = 40
OUTLINE_PX = 1.5  # what lies this near to a stick is explained by it
SLIVER = 0.24  # widths: what is left over beside a stick is a leak of its edge if it is thinner
LIKE = 0.5  # evidence above which a place plainly shows stick, and below its negative does not
NEW = 0.07  # share of a stick that must show where no other stick is
NO_MORE = 0.05  # mean evidence of further stick beyond a tip, at most; a wire may be there
PLAIN = 0.12  # the same where something else lies beyond the held end, like the rim of a board
WRONG = 0.06  # share of a stick that may show the colour of something else
TIP_SHOWS = 2.0  # how much more a half section counts: a full one would not end where it does
APART = 0.9  # widths: no two hinges are nearer to each other
HALVES = (0.42, 0.46, 0.5, 0.54)  # of a full section: what is called half
OWN_EDGES = 0.6  # share of what shows of a stick that must have edges: skin has none
BESIDE = 1.3  # widths from the axis: the ground on which the sticks lie
STRANGE = 4.0  # robust standard deviations from the colours of the ground
COVERED = 0.5  # share of what lies beyond a tip that is not ground, when something covers the end
FREE = (0.3, 1.7)  # full sections: length that shows of a section in the hand
ASIDE = 0.5  # widths from the axis of another section within which a hinge lies on it
CUT = 2.0  # widths: length that shows of one that the rim of the picture cuts, at least


@dataclass(frozen=True)
class Chain:
    """Hinges (N, 2) in working pixels, held end first, and what each section is."""

    place: np.ndarray
    kinds: tuple[str, ...]  # "full", "half" or "free"

    @property
    def full_px(self) -> float:
        """Length of a full section; NaN when there is none."""
        length = np.linalg.norm(np.diff(self.place, axis=0), axis=1)
        full = [size for size, kind in zip(length, self.kinds, strict=True) if kind == "full"]
        return float(np.median(full)) if full else float("nan")

    def reversed(self) -> Chain:
        return Chain(self.place[::-1], self.kinds[::-1])

    def bars(self, width: float) -> Bars:
        """The sticks as bars of this width."""
        count = len(self.kinds)
        return Bars(self.place[:-1], self.place[1:], np.full(count, width), np.zeros(count))


def without_detour(chain: Chain, width: float) -> Chain:
    """The chain whose section in the hand begins at the end of the rest that lies on its way.

    One that starts at the far end of a folded stack and runs below it, along the near end, shows
    no more of itself than one that starts at the near end: it is the shorter that is there.
    """
    for way in (chain, chain.reversed()):
        start, end = way.place[-2:]
        along = (end - start) / np.linalg.norm(end - start)
        from_start = way.place[0] - start
        on_axis = abs(along[0] * from_start[1] - along[1] * from_start[0]) < ASIDE * width
        if way.kinds[-1] == "free" and on_axis and width < from_start @ along < np.linalg.norm(
                end - start) - width:
            return Chain(np.concatenate([way.place[-2::-1], way.place[-1:]]),
                         (*way.kinds[-2::-1], "free"))
    return chain


def unexplained(
    sight: Sight, chain: Chain, over: float, *, wide: float | None = None
) -> np.ndarray:
    """-1..1 where the picture shows something else or sticks; 0 where the chain explains it.

    `wide` are the widths of what a stick explains, its outline by default.
    """
    wide = 1 + 2 * OUTLINE_PX / sight.width if wide is None else wide
    known = bar_mask(chain.bars(sight.width), sight.evidence.shape, wide=wide,
                     longer=1.2 * over / sight.width)
    rest = np.where(known, 0.0, np.clip(sight.evidence, -1, 1)).astype(np.float32)
    broad = cv2.morphologyEx((rest > 0).astype(np.uint8), cv2.MORPH_OPEN, disc(sight.width))
    rest[(rest > 0) & (broad == 0)] = 0.0
    return rest


def disc(width: float) -> np.ndarray:
    """What fits into anything broader than a leak."""
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (max(round(SLIVER * width), 3),) * 2)


def extend(sight: Sight, lab: np.ndarray, chain: Chain, over: float) -> tuple[Chain, float]:
    """The chain with every stick that is plainly there beyond its ends, if nothing covers them.

    The second value is what speaks for those sticks, in well-seen sticks.
    """
    gain = 0.0
    for _ in range(2 * len(chain.kinds)):
        longer = _one_more(sight, lab, chain, over)
        if longer is None:
            turned = _one_more(sight, lab, chain.reversed(), over)
            longer = turned.reversed() if turned is not None else None
        if longer is None:
            break
        gain += _worth_of_new(sight, chain, longer, over)
        chain = longer
    return chain, gain


def without_ends(
    sight: Sight, chain: Chain, over: float, score: float
) -> Iterator[tuple[Chain, float]]:
    """The chain without its last section, and without its first; each with its score."""
    if len(chain.kinds) < 4:
        return
    for way in (chain, chain.reversed()):
        shorter = Chain(way.place[:-1], way.kinds[:-1])
        if shorter.kinds[-1] == "full":
            worth = _worth_of_new(sight, shorter, way, over)
            yield (shorter if way is chain else shorter.reversed()), score - worth


def _worth_of_new(sight: Sight, before: Chain, after: Chain, over: float) -> float:
    """What speaks for the one stick by which a chain has grown, at either end.

    Where other sticks lie, its edges may be theirs.
    """
    at_start = (after.place[-1] == before.place[-1]).all()
    hinge, end = after.place[1::-1] if at_start else after.place[-2:]
    size = float(np.linalg.norm(end - hinge))
    seen = support(sight, hinge[None], end[None])
    rest, way = unexplained(sight, before, over), (end - hinge)[None] / size
    new, _ = _shown(sight, rest, hinge, way, size)
    own = float(seen.edges[0] * min(2 * new[0], 1.0))
    added = after.kinds[0] if at_start else after.kinds[-1]
    return (own - COST) * min(size / before.full_px, 1.0) - FREE_COST * (added == "free")


def covered_share(sight: Sight, lab: np.ndarray, chain: Chain, over: float) -> float:
    """Share of the places beyond the last tip that are neither ground nor in the picture.

    The ground is what lies beside the last stick.
    """
    way = chain.place[-1] - chain.place[-2]
    length = np.linalg.norm(way)
    unit = way / length
    normal = np.array([-unit[1], unit[0]])
    along = np.linspace(0.2, 0.8, 30) * length
    beside = chain.place[-2] + along[:, None] * unit
    ground = np.concatenate(
        [sight.at(lab, beside + side * BESIDE * sight.width * normal, -1.0) for side in (-1, 1)])
    middle = np.median(ground, axis=0)
    spread = 1.48 * np.median(np.abs(ground - middle), axis=0) + 4.0
    reach = over + np.linspace(0.4, 1.4, 6) * sight.width
    places = (chain.place[-1] + reach[:, None, None] * unit
              + np.linspace(-0.8, 0.8, 7)[:, None] * sight.width * normal)
    seen = sight.at(lab, places.reshape(-1, 2), -1000.0)
    return float((np.abs(seen - middle) / spread > STRANGE).any(-1).mean())


def _one_more(sight: Sight, lab: np.ndarray, chain: Chain, over: float) -> Chain | None:
    """The chain with one more stick after its last hinge; None when there is none to see."""
    full = chain.full_px
    if not np.isfinite(full) or chain.kinds[-1] == "free":
        return None
    covered = covered_share(sight, lab, chain, over) > COVERED
    if covered and "free" not in chain.kinds:
        return None  # the pulled end, in a hand
    rest = unexplained(sight, chain, over)
    if chain.kinds[-1] == "half":
        may_go_on = len(chain.kinds) > 1 and not covered and "free" not in chain.kinds
        return one_free(sight, chain, over, full) if may_go_on else None
    angle = np.radians(np.arange(0, 360, STEP_DEG))
    way = np.c_[np.cos(angle), np.sin(angle)]
    hinge = chain.place[-1]
    best, chosen = 0.0, None
    for kind, share in (("full", 1.0), *(("half", share) for share in HALVES)):
        size = share * full
        end = hinge + way * size
        new, wrong = _shown(sight, rest, hinge, way, size)
        beyond = _ends(sight, rest, end, way, over)
        start = np.broadcast_to(hinge, end.shape)
        seen = support(sight, start, end)
        good = (new > (PLAIN if covered else NEW)) & (wrong < WRONG) & beyond & (seen.cover > 0.85)
        good &= seen.edges > OWN_EDGES * new - 0.05
        apart = np.linalg.norm(end[:, None] - chain.place[None], axis=-1).min(1)
        good &= (apart > APART * sight.width) & ~_crosses(hinge, end, chain.place[:-1])
        gain = np.where(good, new + 0.5 * seen.edges, 0.0) * (1.0 if kind == "full" else TIP_SHOWS)
        if gain.max() > best:
            best = float(gain.max())
            chosen = Chain(np.vstack([chain.place, end[gain.argmax()]]), (*chain.kinds, kind))
    if chosen is None and not covered and "free" not in chain.kinds:
        return one_free(sight, chain, over, full)
    return chosen


def _ends(
    sight: Sight, rest: np.ndarray, end: np.ndarray, way: np.ndarray, over: float
) -> np.ndarray:
    """Whether what the chain leaves unexplained of sticks ends beyond each tip (A, 2)."""
    normal = np.c_[-way[:, 1], way[:, 0]]
    reach = over + np.array([0.4, 0.6, 0.8]) * sight.width
    place = (end[:, None, None] + reach[:, None, None] * way[:, None, None]
             + np.array(ACROSS)[:, None] * sight.width * normal[:, None, None])
    return sight.at(rest, place, -1.0).mean((1, 2)) < NO_MORE


def _crosses(hinge: np.ndarray, end: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Which of the sticks from `hinge` to `end` (A, 2) cross a broken line (P, 2), (A,)."""
    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
        way, away = b - a, c - a
        return way[..., 0] * away[..., 1] - way[..., 1] * away[..., 0] > 0

    first, second, tip = line[:-1], line[1:], end[:, None]
    apart = side(hinge, tip, first) != side(hinge, tip, second)
    return (apart & (side(first, second, hinge) != side(first, second, tip))).any(1)


def one_free(sight: Sight, chain: Chain, over: float, full: float) -> Chain | None:
    """The chain with a stick of any length after its last hinge, as far as both its edges show.

    What shows may be short only where the rim of the picture cuts it. Only the pulled end has such
    a stick.
    """
    rest = unexplained(sight, chain, over, wide=CLEAR)
    angle = np.radians(np.arange(0, 360, STEP_DEG))
    way = np.c_[np.cos(angle), np.sin(angle)]
    hinge = np.broadcast_to(chain.place[-1], way.shape)
    start = hinge + way * sight.width
    size = FREE[1] * full
    seen = support(sight, start, hinge + way * size, margin=0.0)
    share = np.linspace(0, 1, seen.seen.shape[1])
    reach = sight.width + share * (size - sight.width)
    fresh = sight.at(rest, hinge[:, None] + reach[None, :, None] * way[:, None], -1.0) > 0
    total = np.cumsum(np.where(fresh, seen.seen.mean(-1), -0.5) - 0.5, axis=1)
    best = int(total.max(1).argmax())
    length = reach[total[best].argmax()]
    end = chain.place[-1] + way[best] * length
    size_px = np.array(sight.evidence.shape[::-1]) - 1
    at_rim = np.minimum(end, size_px - end).min() < sight.width
    if length < (CUT * sight.width if at_rim else FREE[0] * full):
        return None
    return Chain(np.vstack([chain.place, end]), (*chain.kinds, "free"))


def _shown(sight: Sight, rest: np.ndarray, hinge: np.ndarray, way: np.ndarray, size: float):
    """Share of each stick's area that is unexplained stick colour, and that is another colour."""
    normal = np.c_[-way[:, 1], way[:, 0]]
    along = np.linspace(0.02, 1.0, ALONG) * size
    place = hinge + along[None, :, None, None] * way[:, None, None]
    place = place + np.array(ACROSS)[:, None] * sight.width * normal[:, None, None]
    value = sight.at(rest, place, -1.0)
    return (value > LIKE).mean((1, 2)), (value < -LIKE).mean((1, 2))
