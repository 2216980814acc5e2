"""Pictures in which the sticks are neither seen nor not seen: blends of two moments.

Frame-rate conversion shows a stick that moves in two places at once, in each as a mixture of stick
and ground. A true picture shows either the one or the other; motion blur rises between them, but
stays at no level on the way.
"""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import compiled, middle_of
from rulerlab.track.sticks.chain import Rods
from rulerlab.track.sticks.edges import NEAR, Wood, is_free, wood_at
from rulerlab.video import Frame

BETWEEN = (0.2, 0.8)  # of stick and ground: a mixture
LEVELS = (0.6, 1.5)  # of what the sticks usually show: what a frame may show on them
LEVEL = 0.1  # by which a mixture may change over 4 px and be one level, not a rise
ASIDE = 1.0  # widths to either side of a stick in which its double is looked for
DOUBLE = 0.25  # widths of a mixture, more than usual, in two sticks at least
LINES, EVERY = 10, 2  # across each stick, and px along them
ALONG_PX = 1.5  # along the stick: places whose mean is taken against noise


@compiled
def _level(luma, u, v, mix, joints):
    """What the frame shows on its sticks where most of it shows 1: the exposure may change."""
    values, count = np.empty(LINES * (len(joints) - 1)), 0
    for k in range(len(joints) - 1):
        for m in range(LINES):
            share = 0.1 + 0.8 * m / (LINES - 1)
            x = joints[k, 0] + share * (joints[k + 1, 0] - joints[k, 0])
            y = joints[k, 1] + share * (joints[k + 1, 1] - joints[k, 1])
            values[count] = wood_at(luma, u, v, mix, x, y)
            count += 1
    return min(max(middle_of(values, count), LEVELS[0]), LEVELS[1])


@compiled
def _mixed(luma, u, v, mix, joints, widths):
    """Length across each stick, px, over which the picture stays at a mixture, on average."""
    high, wide = luma.shape
    mixed, level = np.zeros(len(joints) - 1), _level(luma, u, v, mix, joints)
    low, most = BETWEEN[0] * level, BETWEEN[1] * level
    for k in range(len(joints) - 1):
        reach = int((0.5 + ASIDE) * widths[k])
        wx, wy = joints[k + 1, 0] - joints[k, 0], joints[k + 1, 1] - joints[k, 1]
        length = max(np.hypot(wx, wy), 1e-9)
        ux, uy = wx / length, wy / length
        for m in range(LINES):
            share = 0.1 + 0.8 * m / (LINES - 1)
            for s in range(-reach, reach + 1, EVERY):
                x = joints[k, 0] + share * wx - s * uy
                y = joints[k, 1] + share * wy + s * ux
                if not (5 < x < wide - 6 and 5 < y < high - 6):
                    continue
                if not low / 2 < wood_at(luma, u, v, mix, x, y) < level - low / 2:
                    continue
                value, before, after = 0.0, 0.0, 0.0
                for along in (-ALONG_PX, 0.0, ALONG_PX):
                    px, py = x + along * ux, y + along * uy
                    value += wood_at(luma, u, v, mix, px, py) / 3
                    before += wood_at(luma, u, v, mix, px + 2 * uy, py - 2 * ux) / 3
                    after += wood_at(luma, u, v, mix, px - 2 * uy, py + 2 * ux) / 3
                if not low < value < most or abs(after - before) > LEVEL * level:
                    continue
                if is_free(joints, x, y, k, k, 0.5 * widths[k] + NEAR):
                    mixed[k] += EVERY / LINES
    return mixed


def mixed_px(frame: Frame, wood: Wood, joints: np.ndarray, rods: Rods) -> np.ndarray:
    """How far across each stick (S,) of a chain (N, 2) a frame shows a mixture, px."""
    return _mixed(frame.luma, frame.chroma_u, frame.chroma_v, wood.mix, joints,
                  rods.widths(joints))


def are_ghosts(mixed: np.ndarray, width_px: float) -> np.ndarray:
    """Which of T frames are blends, from what each of their sticks shows of a mixture, (T, S).

    The last stick is in the hand. When a chain moves, at least two of its sticks do.
    """
    usual = np.percentile(mixed, 25, axis=0)
    excess = np.sort((mixed - usual)[:, :-1], axis=1)
    return excess[:, -2] > DOUBLE * width_px
