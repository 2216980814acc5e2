"""A chain whose joints a person gave: its sticks' width and kinds, and the joints made exact."""

from __future__ import annotations

import numpy as np

from rulerlab.errors import InputError
from rulerlab.track.sticks.extend import COVERED, Chain, covered_share
from rulerlab.track.sticks.find import Found
from rulerlab.track.sticks.links import FULL_SLACK, HALF, OVERHANG
from rulerlab.track.sticks.pairs import (
    Bars,
    edge_segments,
    find_bars,
    smooth_lab,
    width_candidates,
    working_picture,
)
from rulerlab.track.sticks.refine import refine
from rulerlab.track.sticks.sight import look
from rulerlab.track.sticks.wood import stick_evidence

LIKE = 0.12  # relative: bars this near to the common width are pieces of the sticks
SLOPE = np.radians(5)  # by which a bar may lean from the section that it is a piece of
ASIDE = 0.4  # widths by which its axis may lie beside it: joints are given by hand
ASTRAY = 1.5  # widths: joints that the picture would move further were not those of the sticks


def chain_at(picture_bgr: np.ndarray, joints_px: np.ndarray) -> Found:
    """The chain whose joints (N, 2), held end first, were given to some pixels in a picture.

    Raises InputError when no sticks are seen along them.
    """
    work, scale = working_picture(picture_bgr)
    lab = smooth_lab(work)
    place = joints_px * scale
    bars = bars_along(find_bars(lab, edge_segments(lab)), place)
    widths = width_candidates(bars, most=1)
    if not widths:
        raise InputError("no stick is seen along the joints given; they are x,y in pixels of the "
                         "picture (of a clip: its first frame), held end first")
    bars = bars.pick(np.abs(np.log(bars.width / widths[0])) < LIKE)
    sight = look(lab, stick_evidence(lab, bars), bars)
    over = OVERHANG * sight.width
    chain = Chain(place, kinds_of(place))
    covered = covered_share(sight, lab, chain, over) > COVERED
    refined = refine(sight, chain, over, seen_ends=(True, not covered))
    moved = np.linalg.norm(refined.place - place, axis=1)
    far = int(moved[:-1].argmax())
    if moved[far] > ASTRAY * sight.width:
        raise InputError(f"joint {far} of those given lies {moved[far] / scale:.0f} px from where "
                         "the sticks are seen; they are x,y in pixels, held end first")
    return Found(refined.place / scale, refined.covariance / scale**2, refined.width / scale,
                 chain.kinds, float(len(chain.kinds)), ("the joints were given by hand",), covered)


def bars_along(bars: Bars, place: np.ndarray) -> Bars:
    """The bars that lie on the sections between joints (N, 2)."""
    on = np.zeros(len(bars.width), bool)
    unit_of_bar = (bars.end - bars.start) / np.maximum(bars.length, 1e-9)[:, None]
    middle = (bars.start + bars.end) / 2
    for begin, end in zip(place[:-1], place[1:], strict=True):
        length = max(float(np.linalg.norm(end - begin)), 1e-9)
        unit = (end - begin) / length
        along = (middle - begin) @ unit
        aside = np.abs((middle - begin) @ np.array([-unit[1], unit[0]]))
        on |= ((np.abs(unit_of_bar @ unit) > np.cos(SLOPE)) & (aside < ASIDE * bars.width)
               & (along > 0) & (along < length) & (bars.length < 1.5 * length))
    return bars.pick(on)


def kinds_of(place: np.ndarray) -> tuple[str, ...]:
    """What each section between joints (N, 2) is: "full" like most others, "half" or "free"."""
    length = np.linalg.norm(np.diff(place, axis=0), axis=1)
    alike = np.abs(np.log(length[:, None] / length)) < FULL_SLACK
    full = float(np.median(length[alike[alike.sum(1).argmax()]]))
    share = length / full
    return tuple("full" if abs(part - 1) < 1.5 * FULL_SLACK else
                 "half" if HALF[0] < part < HALF[1] else "free" for part in share.tolist())
