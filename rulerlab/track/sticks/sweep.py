"""A chain that jumped is found again: from the held end, each section turned until it is seen."""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import compiled
from rulerlab.track.sticks.chain import Rods
from rulerlab.track.sticks.edges import Wood, is_free, wood_at
from rulerlab.video import Frame

TURNS = 121
TURN = np.radians(0.75)
ALONG = 32
KNOWN = 0.35  # what a place on a section counts that was placed before


@compiled
def _turned(luma, u, v, mix, placed, way, length, width):
    """Unit vector near `way` along which a stick of this length is seen best from the last of the
    joints that are `placed`.
    """
    start = placed[-1]
    best, found = -1e9, way.copy()
    for i in range(TURNS):
        angle = (i - TURNS // 2) * TURN
        cos, sin = np.cos(angle), np.sin(angle)
        wx, wy = way[0] * cos - way[1] * sin, way[0] * sin + way[1] * cos
        total = -0.02 * abs(i - TURNS // 2) * ALONG / TURNS
        for m in range(ALONG):
            along = (0.1 + 0.85 * m / (ALONG - 1)) * length
            x, y = start[0] + along * wx, start[1] + along * wy
            worth = 1.0 if is_free(placed, x, y, -1, -1, 0.5 * width) else KNOWN
            for side in (-1.0, 1.0):
                inner, outer = 0.3 * width * side, 0.75 * width * side
                inside = wood_at(luma, u, v, mix, x - inner * wy, y + inner * wx)
                outside = wood_at(luma, u, v, mix, x - outer * wy, y + outer * wx)
                total += worth * (min(inside, 1.0) - 0.5 * min(max(outside, 0.0), 1.0))
        if total > best:
            best = total
            found[0], found[1] = wx, wy
    return found


def sweep(frame: Frame, wood: Wood, joints: np.ndarray, rods: Rods) -> np.ndarray:
    """Joints (N, 2) near those given, each section from the held end turned to where it is seen.
    """
    place = joints.copy()
    planes = frame.luma, frame.chroma_u, frame.chroma_v
    length = rods.lengths(joints)
    for k in range(len(length)):
        way = joints[k + 1] - joints[k]
        way = way / max(np.linalg.norm(way), 1e-9)
        found = _turned(*planes, wood.mix, place[: k + 1], way, length[k], rods.width_px)
        if k:
            came = place[k] - place[k - 1]
            if (came[0] * found[1] - came[1] * found[0]) * rods.turns[k - 1] < 0:
                found = way
        place[k + 1] = place[k] + length[k] * found
    return place
