"""Does a chain explain the picture? What it leaves over, and what it claims without being seen."""

from __future__ import annotations

import cv2
import numpy as np

from rulerlab.track.sticks.candidates import Candidates
from rulerlab.track.sticks.extend import (
    BESIDE,
    COVERED,
    LIKE,
    Chain,
    covered_share,
    disc,
    one_free,
    unexplained,
)
from rulerlab.track.sticks.pairs import Bars
from rulerlab.track.sticks.sight import Sight
from rulerlab.track.sticks.wood import bar_mask

OUTLINE = 1.25  # widths: what lies this near to a stick is explained by it
LIKE_WIDTH = 0.2  # bars this near to the sticks' width (relative) may be sticks
COLOURED = 0.5  # share of a bar's axis that has the colour of sticks, if it may be one
LEFT_OVER = 0.7  # share of a bar that no stick of the chain explains
LENGTHS = (0.3, 1.25)  # of a full section: a bar that may be a stick or what shows of one
REACH = 1.5  # widths from the tip of the chain to a bar that may continue it
RIM = 2.0  # widths: bars that reach the rim of the picture belong to the board or the table
CLEARLY = 0.7  # share of its edges that is seen of what is certainly a strip
MOST_LEFT = 1  # bars elsewhere that may be left over: a pencil, the edge of a board
AROUND = 2.0  # widths around the chain in which what looks like stick should be part of it
TOUCHES_PX = 3  # from the outline of a stick to what touches it
HAND = 4.0  # widths from an end within which what lies beyond it may be a hand
BEYOND = (0.3, 2.0)  # widths beyond a tip where no stick should be
GOES_ON = 0.2  # share of those places that looks like stick when one goes on there
LOOSE = (0.2, 1.0)  # squared widths of stick beside a chain that say that a section is missing:
CLUTTER = 1.0  # the second, where so many squared widths of the ground elsewhere look like stick


def left_over(sight: Sight, bars: Bars, chain: Chain, over: float) -> Bars:
    """Bars as wide and long as sticks that the chain does not explain."""
    known = bar_mask(chain.bars(sight.width), sight.evidence.shape, wide=OUTLINE,
                     longer=over / sight.width).astype(np.float32)
    full = chain.full_px
    like = np.abs(np.log(bars.width / sight.width)) < LIKE_WIDTH
    like &= (bars.length > LENGTHS[0] * full) & (bars.length < LENGTHS[1] * full)
    share = np.linspace(0, 1, 25)[:, None]
    place = bars.start[:, None] + share * (bars.end - bars.start)[:, None]
    size = np.array(sight.evidence.shape[::-1])
    for end in (bars.start, bars.end):
        like &= (end > RIM * sight.width).all(1) & (end < size - RIM * sight.width).all(1)
    like &= sight.at(known, place).mean(1) < 1 - LEFT_OVER
    return _distinct(bars.pick(like))


def _distinct(bars: Bars) -> Bars:
    """Without bars whose middle lies on a longer one that is kept."""
    kept: list[int] = []
    middle = (bars.start + bars.end) / 2
    for k in np.argsort(-bars.length):
        way = (bars.end[kept] - bars.start[kept]) / bars.length[kept, None]
        away = middle[k] - middle[kept]
        along = np.abs((away * way).sum(1))
        aside = np.abs(away[:, 0] * way[:, 1] - away[:, 1] * way[:, 0])
        if not ((along < bars.length[kept] / 2) & (aside < bars.width[kept] / 2)).any():
            kept.append(int(k))
    return bars.pick(np.array(kept, int))


def continues(
    sight: Sight, lab: np.ndarray, bars: Bars, chain: Chain, over: float
) -> np.ndarray:
    """Which of the bars begin where the chain ends, (B,) bool; fingers on its end do not count."""
    near = np.zeros(len(bars.width), bool)
    for way in (chain, chain.reversed()):
        if covered_share(sight, lab, way, over) > COVERED:
            continue
        for end in (bars.start, bars.end):
            near |= np.linalg.norm(end - way.place[-1], axis=1) < over + REACH * sight.width
    return near


def _coloured(sight: Sight, bars: Bars) -> np.ndarray:
    """Which of the bars have the colour of sticks, (B,) bool."""
    share = np.linspace(0, 1, 25)[:, None]
    place = bars.start[:, None] + share * (bars.end - bars.start)[:, None]
    return (sight.at(sight.evidence, place, -5.0) > 0).mean(1) > COLOURED


def _hinged(bars: Bars, chain: Chain, width: float, over: float) -> np.ndarray:
    """Which of the bars begin at one of the chain's joints, (B,) bool."""
    away = np.stack([bars.start, bars.end])[:, :, None] - chain.place
    return (np.linalg.norm(away, axis=-1) < over + REACH * width).any((0, 2))


def loose_area(sight: Sight, chain: Chain, over: float) -> float:
    """How much of the picture looks like stick and touches the chain, but is no part of it.

    The largest such piece, in squared widths; 0 if it is none that counts. What lies beyond the
    chain's ends is left out, since a hand may look alike, and so is what mostly lies further off
    or reaches the rim of the picture: the ground or a board.
    """
    width = sight.width
    rest = (unexplained(sight, chain, over) > LIKE).astype(np.uint8)
    outline = bar_mask(chain.bars(width), rest.shape, wide=1.0, longer=over / width)
    for last, before in ((chain.place[0], chain.place[1]), (chain.place[-1], chain.place[-2])):
        _erase_beyond(rest, last, (last - before) / np.linalg.norm(last - before), width)
    count, piece = cv2.connectedComponents(rest)
    away = cv2.distanceTransform((~outline).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    near, touching = (np.bincount(piece[away < size + 0.5], minlength=count)
                      for size in (AROUND * width, TOUCHES_PX))
    own = (near > 0.5 * np.bincount(piece.ravel(), minlength=count)) & (touching > 0)
    own[np.concatenate([piece[0], piece[-1], piece[:, 0], piece[:, -1]])] = False
    area = float(near[1:][own[1:]].max(initial=0) / width**2)
    clutter = float((rest.sum() - near[1:].sum()) / width**2)
    return area if area > LOOSE[int(clutter > CLUTTER)] else 0.0


def bare_area(sight: Sight, chain: Chain) -> float:
    """How much of a chain's sticks shows no stick but other colours, squared widths.

    Print and rivets are left out: they are narrower than a stick.
    """
    inside = bar_mask(chain.bars(sight.width), sight.evidence.shape, wide=1.0)
    bare = (inside & (sight.evidence < -LIKE)).astype(np.uint8)
    bare = cv2.morphologyEx(bare, cv2.MORPH_OPEN, disc(sight.width))
    return float(bare.sum() / sight.width**2)


def _erase_beyond(image: np.ndarray, tip: np.ndarray, way: np.ndarray, width: float) -> None:
    """Set 0 what lies near a tip on its far side."""
    side = np.array([-way[1], way[0]])
    corners = [tip + width * (along * way + across * side)
               for along, across in ((0, -HAND), (HAND, -HAND), (HAND, HAND), (0, HAND))]
    cv2.fillConvexPoly(image, np.round(corners).astype(np.int32), 0)


def _goes_on(sight: Sight, chain: Chain, over: float) -> bool:
    """Whether a strip that no section explains goes on beyond the last tip, as wide as a stick.

    It need not go straight on: half a section laid on a full one may lean from it a little. Beyond
    a chain that lies in a hand, or leaves the picture, at its other end it may go anywhere.
    """
    if chain.kinds[-1] == "free":
        return False
    if chain.kinds[0] == "free" and one_free(sight, chain, over, chain.full_px) is not None:
        return True
    way = chain.place[-1] - chain.place[-2]
    way = way / np.linalg.norm(way)
    normal = np.array([-way[1], way[0]])
    along = chain.place[-1] + (over + np.linspace(*BEYOND, 20)[:, None] * sight.width) * way
    rest = unexplained(sight, chain, over)
    on, beside = (
        np.concatenate([sight.at(rest, along + share * sight.width * normal)
                        for share in shares]) > LIKE
        for shares in ((-0.3, 0.0, 0.3), (-BESIDE, BESIDE)))
    return bool(on.mean() > GOES_ON and beside.mean() < GOES_ON / 2)


def _at_rim(sight: Sight, chain: Chain) -> bool:
    """Whether the last joint lies at the rim of the picture, or outside it."""
    size = np.array(sight.evidence.shape[::-1]) - 1
    inside = np.minimum(chain.place[-1], size - chain.place[-1])
    return bool(inside.min() < sight.width)


def _in_hand(
    sight: Sight, lab: np.ndarray, bars: Bars, chain: Chain, over: float
) -> np.ndarray:
    """Which of the bars may be fingers or an arm, (B,) bool: they lie beyond a pulled end."""
    hand = np.zeros(len(bars.width), bool)
    for way in (chain, chain.reversed()):
        if way.kinds[-1] != "half" and covered_share(sight, lab, way, over) > COVERED:
            along = way.place[-1] - way.place[-2]
            hand |= ((bars.start + bars.end) / 2 - way.place[-1]) @ along > 0
    return hand


def doubt(
    sight: Sight, lab: np.ndarray, bars: Bars, seen: Candidates, chain: Chain, over: float
) -> str | None:
    """Why a chain can't be believed, in words; None when nothing speaks against it.

    `seen` are the sticks that there may be, whether the chain has them or not.
    """
    count = len(chain.kinds)
    if loose_area(sight, chain, over):
        return (f"a chain of {count} sections stands out, but more of what they are made of lies "
                "beside them")
    if _at_rim(sight, chain) and _at_rim(sight, chain.reversed()):
        return (f"a chain of {count} sections stands out, but both of its ends lie at the rim of "
                "the picture")
    if _goes_on(sight, chain, over) or _goes_on(sight, chain.reversed(), over):
        return f"a chain of {count} sections stands out, but a stick goes on beyond its end"
    bars = bars.joined(seen.bars(sight.width).pick(seen.edges > CLEARLY))
    loose = left_over(sight, bars, chain, over)
    loose = loose.pick(~_in_hand(sight, lab, loose, chain, over))
    if (continues(sight, lab, loose, chain, over).any() or len(loose.width) > MOST_LEFT
            or _hinged(loose.pick(_coloured(sight, loose)), chain, sight.width, over).any()):
        return (f"a chain of {count} sections stands out, but more strips like its sections lie "
                "beside it")
    return None
