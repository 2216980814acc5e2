"""Does a chain explain the picture? What it leaves over, and what it claims without being seen."""

from __future__ import annotations

import numpy as np

from rulerlab.track.sticks.extend import OUTLINE, Chain
from rulerlab.track.sticks.pairs import Bars
from rulerlab.track.sticks.sight import Sight
from rulerlab.track.sticks.wood import bar_mask

LIKE_WIDTH = 0.2  # bars this near to the sticks' width (relative) may be sticks
LEFT_OVER = 0.7  # share of a bar that no stick of the chain explains
LENGTHS = (0.3, 1.25)  # of a full section: a bar that may be a stick or what shows of one
REACH = 1.5  # widths from the tip of the chain to a bar that may continue it
RIM = 2.0  # widths: bars that reach the rim of the picture belong to the board or the table
MOST_LEFT = 1  # bars elsewhere that may be left over: a pencil, the edge of a board


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
    return bars.pick(like & (sight.at(known, place).mean(1) < 1 - LEFT_OVER))


def continues(sight: Sight, bars: Bars, chain: Chain, over: float) -> np.ndarray:
    """Which of the bars begin where the chain ends, (B,) bool."""
    near = np.zeros(len(bars.width), bool)
    for hinge in (chain.place[0], chain.place[-1]):
        for end in (bars.start, bars.end):
            near |= np.linalg.norm(end - hinge, axis=1) < over + REACH * sight.width
    return near


def doubt(sight: Sight, bars: Bars, chain: Chain, over: float) -> str | None:
    """Why a chain can't be believed, in words; None when nothing speaks against it."""
    loose = left_over(sight, bars, chain, over)
    count = len(chain.kinds)
    if continues(sight, loose, chain, over).any() or len(loose.width) > MOST_LEFT:
        return (f"a chain of {count} sections stands out, but {len(loose.width)} more strips like "
                "its sections lie beside it")
    return None
