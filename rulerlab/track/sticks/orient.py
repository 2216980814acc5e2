"""Which end of a chain is held, and which is pulled?"""

from __future__ import annotations

import numpy as np

from rulerlab.track.sticks.extend import COVERED, Chain, covered_share
from rulerlab.track.sticks.sight import Sight


def held_first(
    sight: Sight, lab: np.ndarray, chain: Chain, over: float, pull: tuple[int, int] | None
) -> tuple[Chain, bool, str]:
    """The chain with its held end first, whether something covers its pulled end, and why.

    The pulled end lies where `pull` says; else in a hand or beyond the rim of the picture; else
    away from an end section that is half as long as the others; else to the right.
    """
    covered = np.array([covered_share(sight, lab, way, over) for way in (chain.reversed(), chain)])
    turn, why = False, ""
    way = chain.place[-1] - chain.place[0]
    halves = _held_by_halves(chain)
    if pull is not None:
        turn = bool(way @ np.array(pull) < 0)
    elif (covered > COVERED).sum() == 1:
        turn = bool(covered[0] > covered[1])
        why = "the pulled end is the one in the hand (or outside the picture)"
    elif halves is not None:
        turn = halves
        why = "the held end is the one with the half section"
    else:
        turn = bool(way[0] < 0)
        why = "nothing shows which end is held: taken to be the left one (rig.toml: pull)"
    return (chain.reversed() if turn else chain), bool(covered[0 if turn else 1] > COVERED), why


def _held_by_halves(chain: Chain) -> bool | None:
    """Whether the last end is the held one, by the places of the half sections."""
    half = [kind == "half" for kind in chain.kinds]
    if len(half) > 2 and half[-2] != half[1]:
        return half[1]
    if half[0] != half[-1]:
        return half[-1]
    return None
