"""Which end of a chain is held, and which is pulled?"""

from __future__ import annotations

import numpy as np

from rulerlab.track.sticks.extend import Chain
from rulerlab.track.sticks.sight import Sight

BESIDE = 1.3  # widths from the axis: the ground on which the sticks lie
COVERED = 0.5  # share of what lies beyond a tip that is not ground, when something covers the end
STRANGE = 4.0  # robust standard deviations from the colours of the ground


def held_first(
    sight: Sight, lab: np.ndarray, chain: Chain, over: float, pull: tuple[int, int] | None
) -> tuple[Chain, bool, str]:
    """The chain with its held end first, whether something covers its pulled end, and why.

    The pulled end lies where `pull` says; else in a hand or beyond the rim of the picture; else
    away from an end section that is half as long as the others; else to the right.
    """
    covered = np.array([_covered(sight, lab, turned, over) for turned in (chain.reversed(), chain)])
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


def _covered(sight: Sight, lab: np.ndarray, chain: Chain, over: float) -> float:
    """Share of the places beyond the last tip that are neither ground nor in the picture."""
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
