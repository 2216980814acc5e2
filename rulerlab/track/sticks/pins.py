"""The pins of the hinges: rivets, wires or buttons, where the ruler shows any on its sticks.

A pin stands out from the wood around it and lies where the hinge is, however little is seen of the
sticks. What it is worth the clip tells: how far pins and the joints that edges give lie apart.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rulerlab.track.pixels import compiled, grey_at, middle_of
from rulerlab.track.sticks.agree import sigmas_apart
from rulerlab.track.sticks.chain import Lines, Rods, of_each
from rulerlab.track.sticks.shared import solve_all

AROUND = (0.34, 0.4, 0.46)  # widths from the joint: wood about the pin
WAYS = 16  # in which it is looked at
WINDOW = 0.32  # widths: what lies within belongs to the pin
STARTS = ((0.0, 0.0), (0.18, 0.0), (-0.18, 0.0), (0.0, 0.18), (0.0, -0.18))  # widths
ONE = 0.05  # widths within which all starts must end: the grain of wood leads each elsewhere
FAINT, NOISE = 2.0, 3.0  # spreads of the wood, and grey values, that a pin differs by at the least
STEPS, STILL_PX = 12, 0.02
SHIFTED = 0.015  # widths: error of a pin at the least, for it throws a shadow
OFTEN = 0.3  # share of the joints on which pins must be seen to count
FAR = 4.0  # standard deviations beyond which what is seen is no pin


@compiled
def _difference(luma, column, row, x, y, width, size):
    """By how much pixels up to `size` from one at (row, column) differ from the wood around the
    place x, y more than the wood does itself, (2 size + 1, 2 size + 1)."""
    wood, count = np.empty(len(AROUND) * WAYS), 0
    for radius in AROUND:
        for way in range(WAYS):
            angle = 2 * np.pi * way / WAYS
            wood[count] = grey_at(luma, x + radius * width * np.cos(angle),
                                  y + radius * width * np.sin(angle))
            count += 1
    level = middle_of(wood, count)
    for k in range(count):
        wood[k] = abs(wood[k] - level)
    least = max(FAINT * 1.48 * middle_of(wood, count), NOISE)
    differs = np.zeros((2 * size + 1, 2 * size + 1))
    for a in range(2 * size + 1):
        for b in range(2 * size + 1):
            pixel = float(luma[row - size + a, column - size + b])
            differs[a, b] = max(abs(pixel - level) - least, 0.0)
    return differs


@compiled
def _drift(differs, x, y, reach):
    """Where a window of radius `reach`, moved to the middle of what differs in it, comes to rest.
    """
    high, wide = differs.shape
    for _ in range(STEPS):
        total, sum_x, sum_y = 0.0, 0.0, 0.0
        for a in range(max(int(y - reach), 0), min(int(y + reach) + 2, high)):
            for b in range(max(int(x - reach), 0), min(int(x + reach) + 2, wide)):
                near = 1 - ((b - x) ** 2 + (a - y) ** 2) / reach**2
                if near > 0:
                    heavy = near * differs[a, b]
                    total, sum_x, sum_y = total + heavy, sum_x + heavy * b, sum_y + heavy * a
        if total == 0.0:
            return np.nan, np.nan
        moved = abs(sum_x / total - x) + abs(sum_y / total - y)
        x, y = sum_x / total, sum_y / total
        if moved < STILL_PX:
            break
    return x, y


@compiled
def find_pins(luma, joints, width):
    """The middle of the pin near each joint (N, 2), px; NaN where none stands out.

    One is there if windows that start on different sides of the joint come to rest on it.
    """
    found = np.full(joints.shape, np.nan)
    high, wide = luma.shape
    reach = WINDOW * width
    size = int(2 * reach) + 1
    for j in range(len(joints)):
        x, y = joints[j, 0], joints[j, 1]
        if not (size + 1 < x < wide - size - 2 and size + 1 < y < high - size - 2):
            continue
        column, row = int(round(x)), int(round(y))
        differs = _difference(luma, column, row, x, y, width, size)
        ends = np.empty((len(STARTS), 2))
        for k in range(len(STARTS)):
            ends[k] = _drift(differs, x - column + size + STARTS[k][0] * width,
                             y - row + size + STARTS[k][1] * width, reach)
        apart = max(np.ptp(ends[:, 0]), np.ptp(ends[:, 1]))
        if np.isfinite(ends).all() and apart < ONE * width:
            found[j] = column - size + ends[:, 0].mean(), row - size + ends[:, 1].mean()
    return found


def error_of_pins(off_px: np.ndarray, covariance_px: np.ndarray, width_px: float) -> float:
    """Error of a pin, px, from how far pins lie from the joints that edges give.

    Offsets (T, N, 2), NaN where no pin is seen; covariances (T, N, 2, 2) of those joints. Infinite
    where pins are seen on few joints.
    """
    seen = np.isfinite(off_px[..., 0])
    if seen.mean() < OFTEN:
        return np.inf
    scatter = (1.48 * np.median(np.abs(off_px[seen]))) ** 2
    edges = np.median(np.diagonal(covariance_px[seen], axis1=-2, axis2=-1))
    return float(np.sqrt(max(scatter - edges, (SHIFTED * width_px) ** 2)))


def with_pins_weighed(lines: list[Lines], rods: Rods, shared: np.ndarray):
    """Rods that say how far pins may be trusted, and lines of both passes without what is no pin.

    `shared` (G, G) is the covariance of what all pictures have in common.
    """
    solved = [solve_all(one, rods, shared)[:2] for one in lines]
    spread = [of_each(full) for _, full in solved]
    off = [one.base + one.pin - joints for one, (joints, _) in zip(lines, solved, strict=True)]
    error = error_of_pins(off[0], spread[0], rods.width_px)
    kept = []
    for one, away, covariance in zip(lines, off, spread, strict=True):
        both = covariance + min(error, rods.width_px) ** 2 * np.eye(2)
        seen = np.isfinite(away[..., :1])
        near = seen & (sigmas_apart(np.where(seen, away, 0.0), both) < FAR)[..., None]
        kept.append(replace(one, pin=np.where(near, one.pin, np.nan)))
    return kept, replace(rods, pin_px=error)
