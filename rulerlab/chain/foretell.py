"""How well an overdamped chain foretells a measured motion, frame after frame.

The mean chain dx/dt = h(spring force)/tau (`rest.mean_slip`) is driven by the measured ends; the
covariance of the blocks follows the same law linearised, fed by the kicks (`rest.slip_variance`)
and by the error of the measured hand. A block is seen where the chain is plus an offset of its own
that starts as what is not known of its rest state, and wanders while the hand moves: what unequal
blocks and springs do beyond the law. Each frame is compared with what the frames before it
foretell, and corrects it (a Kalman filter with an assumed normal density: where a block lies
between sticking and sliding, the mean over its uncertainty counts as more noise). Lengths in units
of the pull, stiffness 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rulerlab.chain.kernels import compiled, inner
from rulerlab.chain.mean import B0, B1, B2, B3, B4, B5
from rulerlab.chain.passage import fastest, filled, pass_on

STEP = 1.6  # largest decay of a shift in one step of the mean, a fifth below the largest stable
QUIET = 1e-7  # noise below this share of the pull is none


class Law(NamedTuple):
    """Values of a chain with common stiffness 1, lengths in units of the pull."""

    friction_right: float
    friction_left: float
    noise: float  # standard deviation of the kick of one step
    tau: float  # damping over stiffness
    kick: float  # time between kicks; the spread of the paths grows with it, the mean does not
    wander: float  # what a block strays from the law while the hand moves by 1, as a random walk


class Seen(NamedTuple):
    """A measured motion beyond its state of rest, in units of the pull; n inner points."""

    time: np.ndarray  # (T,)
    wall: np.ndarray  # (T,)
    hand: np.ndarray  # (T,)
    hand_variance: np.ndarray  # (T,)
    travelled: np.ndarray  # (T,) path of the hand until then, there and back
    place: np.ndarray  # (T, n) NaN: not seen, or not to be used
    variance: np.ndarray  # (T, n)
    pattern: np.ndarray  # (T, n + 2, S) shift of every point per standard deviation of an effect
    stiffness: np.ndarray  # (n + 1,) of each spring, as a multiple of the common one
    start: np.ndarray  # (n,) variance of the inner points in the first frame, around 0
    stirred: np.ndarray  # (S, n) how far effects have moved them by then, as `pattern`
    offset: np.ndarray  # (n,) variance of what is not known of the rest state of each inner point


@dataclass(frozen=True)
class Foretold:
    """What the law says about each frame, and how far off it was."""

    log_likelihood: float
    place: np.ndarray  # (T, n) from the frames before; from the start alone in a free run
    score: np.ndarray  # (T, n) surprises, standard normal and independent if the law holds


@inner
def _gauss(u):
    """Density and distribution function of the standard normal, to 1e-7."""
    if u > 6.0:
        return 0.0, 1.0
    if u < -6.0:
        return 0.0, 0.0
    density = math.exp(-0.5 * u * u) * 0.3989422804014327
    t = 1 / (1 + B0 * abs(u))
    beyond = density * t * (B1 + t * (B2 + t * (B3 + t * (B4 + t * B5))))
    return density, 1 - beyond if u > 0 else beyond


@inner
def _slip(force, noise, friction_right, friction_left):
    """Mean, slope against force and variance of the slip of a block under normal kicks."""
    up, down = (force - friction_right) / noise, (-force - friction_left) / noise
    phi_up, cdf_up = _gauss(up)
    phi_down, cdf_down = _gauss(down)
    mean = noise * ((phi_up + up * cdf_up) - (phi_down + down * cdf_down))
    square = (1 + up * up) * cdf_up + up * phi_up + (1 + down * down) * cdf_down + down * phi_down
    return mean, cdf_up + cdf_down, max(noise * noise * square - mean * mean, 0.0)


@inner
def _force_variance(spread, stiff, block, blocks):
    """Variance of the spring force on a block, from the covariance of the places."""
    left, right = stiff[block], stiff[block + 1]
    total = (left + right) ** 2 * spread[block, block]
    if block:
        total += left * left * spread[block - 1, block - 1]
        total -= 2 * left * (left + right) * spread[block, block - 1]
    if block + 1 < blocks:
        total += right * right * spread[block + 1, block + 1]
        total -= 2 * right * (left + right) * spread[block, block + 1]
    if block and block + 1 < blocks:
        total += 2 * left * right * spread[block - 1, block + 1]
    return max(total, 0.0)


@inner
def _correct(state, known, block, blocks, seen, variance, pattern, gain):
    """Take in one seen position; returns its surprise and the variance of that.

    `state` holds the places, the offsets of the blocks, and the effects that shift points by
    `pattern`; `known` is its covariance.
    """
    size, ends = known.shape[1], 2 * blocks
    off = seen - state[block] - state[blocks + block]
    for column in range(size):
        gain[column] = known[block, column] + known[blocks + block, column]
    for k in range(len(pattern)):
        if pattern[k] != 0.0:
            off -= pattern[k] * state[ends + k]
            for column in range(size):
                gain[column] += pattern[k] * known[ends + k, column]
    total = variance + gain[block] + gain[blocks + block]
    for k in range(len(pattern)):
        total += pattern[k] * gain[ends + k]
    for row in range(len(state)):
        share = gain[row] / total
        state[row] += share * off
        for column in range(size):
            known[row, column] -= share * gain[column]
    return off, total


@inner
def _force(x, block, left, right, stiff):
    """Spring force on a block between ends at `left` and `right`."""
    before = x[block - 1] if block else left
    after = x[block + 1] if block + 1 < len(x) else right
    return stiff[block] * (before - x[block]) + stiff[block + 1] * (after - x[block])


@inner
def _drive(x, slope, source, ends, shift, gap, steps, noise, stiff, law, half):
    """Let the mean go on for `gap` of time between `ends` (2, 2: before and after; wall, hand)
    that lie off by `shift`; adds to the time integrals of the slope of the speed against force
    and of the variance that kicks add."""
    blocks, dt = len(x), gap / steps
    # a kick moves a block by what pulls at its start: kicks of finite length lag behind
    ahead = 0.5 * (dt - law.kick)
    kick = (law.noise * law.noise + QUIET * QUIET) * law.kick / law.tau**2
    for s in range(steps):
        share = s / steps
        left = ends[0, 0] + share * (ends[1, 0] - ends[0, 0]) + shift[0]
        right = ends[0, 1] + share * (ends[1, 1] - ends[0, 1]) + shift[1]
        for block in range(blocks):
            force = _force(x, block, left, right, stiff)
            mean = _slip(force, noise[block], law.friction_right, law.friction_left)[0]
            half[block] = x[block] + ahead / law.tau * mean
        left += ahead / gap * (ends[1, 0] - ends[0, 0])
        right += ahead / gap * (ends[1, 1] - ends[0, 1])
        for block in range(blocks):
            force = _force(half, block, left, right, stiff)
            mean, steep, variance = _slip(force, noise[block], law.friction_right,
                                          law.friction_left)  # fmt: skip
            x[block] += dt / law.tau * mean
            slope[block] += dt / law.tau * steep
            source[block] += dt * variance * kick / (noise[block] * noise[block])


@compiled
def _follow(seen, law, correct, place, score):
    """Log likelihood of a motion; fills what was foretold and the surprises."""
    frames, blocks = seen.place.shape
    ends, stiff = seen.pattern.shape[2], seen.stiffness
    size = 2 * blocks + ends
    state, half, noise = np.zeros(size), np.zeros(blocks), np.zeros(blocks)
    x = state[:blocks]
    slope, source = np.zeros(blocks), np.zeros(blocks)
    unsure, unsure_late = np.zeros(blocks), np.zeros(blocks)
    known = np.zeros((size, filled(size)))
    for block in range(blocks):
        known[block, block] = seen.start[block]
        known[blocks + block, blocks + block] = seen.offset[block]
    for k in range(ends):
        known[2 * blocks + k, 2 * blocks + k] = 1.0
        for block in range(blocks):
            known[block, 2 * blocks + k] = known[2 * blocks + k, block] = seen.stirred[k, block]
            for other in range(blocks):
                known[block, other] += seen.stirred[k, block] * seen.stirred[k, other]
    gain, turned = np.empty(known.shape[1]), np.zeros((2 * blocks, known.shape[1]))
    matrices = np.zeros((9, blocks, filled(blocks)))
    lean, toward = np.zeros((ends, blocks)), np.cumsum(1 / stiff)[:-1] / (1 / stiff).sum()
    between, shift = np.empty((2, 2)), np.zeros(2)
    longest = STEP * law.tau / fastest(stiff, np.ones(blocks), blocks)
    total, time, travel = 0.0, 0.0, 0.0
    for t in range(frames):
        if t:
            gap = seen.time[t] - seen.time[t - 1]
            if time == 0.0:
                for block in range(blocks):
                    if correct:  # half-way between now and as it grew in the last stretch
                        now = _force_variance(known, stiff, block, blocks)
                        unsure[block] = 0.5 * (now + max(now, unsure_late[block]))
                    noise[block] = math.sqrt(law.noise**2 + QUIET * QUIET + unsure[block])
                shift[:] = 0.0
                for k in range(ends):
                    shift[0] -= seen.pattern[t, 0, k] * state[2 * blocks + k]
                    shift[1] -= seen.pattern[t, blocks + 1, k] * state[2 * blocks + k]
            for side in range(2):
                between[side, 0] = seen.wall[t - 1 + side]
                between[side, 1] = seen.hand[t - 1 + side]
            _drive(x, slope, source, between, shift, gap, max(1, math.ceil(gap / longest)), noise,
                   stiff, law, half)  # fmt: skip
            time += gap
            travel += seen.travelled[t] - seen.travelled[t - 1]
        wanted = False
        for block in range(blocks):
            place[t, block] = x[block]
            score[t, block] = np.nan
            wanted = wanted or not np.isnan(seen.place[t, block])
        if not (correct and wanted):
            continue
        if time > 0:
            for block in range(blocks):
                slope[block] /= time
                source[block] /= time
                known[blocks + block, blocks + block] += law.wander**2 * travel
            for k in range(ends):
                left, right = seen.pattern[t, 0, k], seen.pattern[t, blocks + 1, k]
                for block in range(blocks):
                    lean[k, block] = -(1 - toward[block]) * left - toward[block] * right
            pass_on(known, lean, toward, seen.hand_variance[t], slope, source, stiff, time,
                    law.kick, turned, matrices)  # fmt: skip
            for block in range(blocks):
                unsure_late[block] = _force_variance(known, stiff, block, blocks)
            slope[:] = 0.0
            source[:] = 0.0
            time, travel = 0.0, 0.0
        for block in range(blocks):
            if not np.isnan(seen.place[t, block]):
                off, variance = _correct(
                    state, known, block, blocks, seen.place[t, block], seen.variance[t, block],
                    seen.pattern[t, block + 1], gain,
                )  # fmt: skip
                score[t, block] = off / math.sqrt(variance)
                total -= 0.5 * (off * off / variance + math.log(2 * math.pi * variance))
    return total


def foretell(seen: Seen, law: Law) -> Foretold:
    """Foretell every frame from those before it, and say how likely the motion is."""
    place, score = np.empty_like(seen.place), np.empty_like(seen.place)
    likely = _follow(seen, law, True, place, score)
    return Foretold(likely if math.isfinite(likely) else -math.inf, place, score)


def free_run(seen: Seen, law: Law) -> np.ndarray:
    """Mean positions of the inner points from the measured ends alone, (T, n)."""
    place, score = np.empty_like(seen.place), np.empty_like(seen.place)
    _follow(seen, law, False, place, score)
    return place
