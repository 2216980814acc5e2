"""A chain that jumped is found again: shifted as a whole, or each section turned until it is seen.
"""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import compiled
from rulerlab.track.sticks.chain import Rods
from rulerlab.track.sticks.edges import Wood, is_free, wood_at
from rulerlab.video import Frame

TURNS = 121
TURN, COARSE = np.radians(0.75), 3
ALONG = 32
NUDGE, FINE = 1.5, 0.17  # widths: how far a whole chain is looked for, and in which steps
SHIFTED = 0.004  # of all places: what each step of a shift has to gain
PLACES = 8  # along each section
KNOWN = 0.35  # what a place on a section counts that was placed before


@compiled
def _worth(luma, u, v, mix, placed, wx, wy, length, width):
    """How well a stick is seen along a unit vector from the last of the joints `placed`."""
    total = 0.0
    for m in range(ALONG):
        along = (0.1 + 0.85 * m / (ALONG - 1)) * length
        x, y = placed[-1, 0] + along * wx, placed[-1, 1] + along * wy
        worth = 1.0 if is_free(placed, x, y, -1, -1, 0.5 * width) else KNOWN
        for side in (-1.0, 1.0):
            inner, outer = 0.3 * width * side, 0.75 * width * side
            inside = wood_at(luma, u, v, mix, x - inner * wy, y + inner * wx)
            outside = wood_at(luma, u, v, mix, x - outer * wy, y + outer * wx)
            total += worth * (min(inside, 1.0) - 0.5 * min(max(outside, 0.0), 1.0))
    return total


@compiled
def _turned(luma, u, v, mix, placed, way, length, width):
    """Unit vector near `way` along which a stick of this length is seen best from the last of the
    joints that are `placed`: coarse turns first, then finer ones about the best.
    """
    best, found, middle = -1e9, way.copy(), 0
    for turns, apart in ((TURNS // 2 // COARSE, COARSE), (COARSE - 1, 1)):
        about = middle
        for i in range(-turns, turns + 1):
            turn = about + i * apart
            cos, sin = np.cos(turn * TURN), np.sin(turn * TURN)
            wx, wy = way[0] * cos - way[1] * sin, way[0] * sin + way[1] * cos
            total = _worth(luma, u, v, mix, placed, wx, wy, length, width)
            total -= 0.02 * abs(turn) * ALONG / TURNS
            if total > best:
                best, middle = total, turn
                found[0], found[1] = wx, wy
    return found


def sweep(
    frame: Frame, wood: Wood, joints: np.ndarray, rods: Rods, *, first: int = 0
) -> np.ndarray:
    """Joints (N, 2) near those given, each section from the `first` on turned to where it is seen.
    """
    place = joints.copy()
    planes = frame.luma, frame.chroma_u, frame.chroma_v
    length = rods.lengths(joints)
    for k in range(first, len(length)):
        way = joints[k + 1] - joints[k]
        way = way / max(np.linalg.norm(way), 1e-9)
        found = _turned(*planes, wood.mix, place[: k + 1], way, length[k], rods.width_px)
        if k:
            came = place[k] - place[k - 1]
            if (came[0] * found[1] - came[1] * found[0]) * rods.turns[k - 1] < 0:
                found = way
        place[k + 1] = place[k] + length[k] * found
    return place


@compiled
def _best_shift(luma, u, v, mix, joints, width, reach):
    """The shift (2,) up to `reach` px either way by which all of a chain together is seen best."""
    sections = len(joints) - 1
    spots, count = np.empty((3 * PLACES * sections, 3)), 0
    for k in range(sections):
        wx, wy = joints[k + 1, 0] - joints[k, 0], joints[k + 1, 1] - joints[k, 1]
        length = max(np.hypot(wx, wy), 1e-9)
        for m in range(PLACES):
            share = (m + 0.5) / PLACES
            ax, ay = joints[k, 0] + share * wx, joints[k, 1] + share * wy
            for side in (-0.8, 0.0, 0.8):
                x, y = ax - side * width * wy / length, ay + side * width * wx / length
                if side == 0.0 or is_free(joints, x, y, k, -1, 0.7 * width):
                    spots[count, 0], spots[count, 1] = x, y
                    spots[count, 2] = 1.0 if side == 0.0 else -1.0
                    count += 1
    steps, step = int(np.ceil(reach / (FINE * width))), FINE * width
    most, best = -np.inf, np.zeros(2)
    for i in range(-steps, steps + 1):
        for j in range(-steps, steps + 1):
            worth = -SHIFTED * count * np.hypot(i, j)
            for s in range(count):
                value = wood_at(luma, u, v, mix, spots[s, 0] + j * step, spots[s, 1] + i * step)
                worth += spots[s, 2] * min(max(value, 0.0), 1.0)
            if worth > most:
                most = worth
                best[0], best[1] = j * step, i * step
    return best


def nudge(frame: Frame, wood: Wood, joints: np.ndarray, rods: Rods) -> np.ndarray:
    """The chain (N, 2) shifted as a whole to where it is seen best: the board or the camera moved.

    The last section counts for nothing: a hand moves it.
    """
    still = np.ascontiguousarray(joints[:-1])
    return joints + _best_shift(frame.luma, frame.chroma_u, frame.chroma_v, wood.mix, still,
                                rods.width_px, NUDGE * rods.width_px)
