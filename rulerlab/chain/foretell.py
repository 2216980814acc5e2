"""How well an overdamped chain foretells a measured motion, frame after frame.

The mean chain dx/dt = h(spring force)/tau (`rest.mean_slip`) is driven by the measured ends; the
covariance of the blocks follows the same law linearised, fed by what is random: the kicks (by
`rest.slip_variance`), a wander of the blocks on top of the law, and the error of the measured
hand. Each frame is compared with what the frames before it foretell, and corrects it (a Kalman
filter with an assumed normal density: where a block lies between sticking and sliding, the mean
over its uncertainty counts as more noise). Lengths in units of the pull, stiffness 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rulerlab.chain.kernels import compiled, inner
from rulerlab.chain.mean import B0, B1, B2, B3, B4, B5

STEP = 0.4  # largest time step over tau, a fifth below the largest stable one
QUIET = 1e-7  # noise below this share of the pull is none


class Law(NamedTuple):
    """Values of a chain with common stiffness 1, lengths in units of the pull."""

    friction_right: float
    friction_left: float
    noise: float  # standard deviation of the kick of one step
    tau: float  # damping over stiffness
    kick: float  # time between kicks; the spread of the paths grows with it, the mean does not
    wander: float  # what a block does on top of the law while the hand moves by 1, as a random walk


class Seen(NamedTuple):
    """A measured motion beyond its state of rest, in units of the pull; n inner points."""

    time: np.ndarray  # (T,)
    wall: np.ndarray  # (T,)
    hand: np.ndarray  # (T,)
    hand_variance: np.ndarray  # (T,)
    place: np.ndarray  # (T, n) NaN: not seen, or not to be used
    variance: np.ndarray  # (T, n)
    pattern: np.ndarray  # (T, n + 2, S) shift of every point per standard deviation of an effect
    stiffness: np.ndarray  # (n + 1,) of each spring, as a multiple of the common one
    start: np.ndarray  # (n,) variance of the inner points in the first frame, around 0


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
def _rate(out, matrix, slope, ends, stiff, blocks):
    """out = J matrix for the blocks, J the linearised law; rows are places and effects."""
    size, columns = matrix.shape
    for block in range(blocks):
        left, right, rate = stiff[block], stiff[block + 1], slope[block]
        for column in range(columns):
            out[block, column] = -rate * (left + right) * matrix[block, column]
        if block:
            for column in range(columns):
                out[block, column] += rate * left * matrix[block - 1, column]
        if block + 1 < blocks:
            for column in range(columns):
                out[block, column] += rate * right * matrix[block + 1, column]
    for effect in range(size - blocks):
        first = slope[0] * stiff[0] * ends[0, effect]
        last = slope[blocks - 1] * stiff[blocks] * ends[1, effect]
        for column in range(columns):
            out[0, column] -= first * matrix[blocks + effect, column]
            out[blocks - 1, column] -= last * matrix[blocks + effect, column]


@inner
def _shake(matrix, once, twice, slope, ends, stiff, blocks, step):
    """matrix becomes (1 + step J + step^2 J^2 / 2) matrix; `once`, `twice` of its shape are
    scratch, zero in the rows of the effects."""
    _rate(once, matrix, slope, ends, stiff, blocks)
    _rate(twice, once, slope, ends, stiff, blocks)
    for row in range(blocks):
        for column in range(matrix.shape[1]):
            matrix[row, column] += step * (once[row, column] + 0.5 * step * twice[row, column])


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
def _correct(x, spread, pattern, block, seen, variance, blocks):
    """Take in one seen position; returns its surprise and the variance of that."""
    size = len(x)
    gain = np.empty(size)
    for row in range(size):
        gain[row] = spread[row, block]
        for effect in range(size - blocks):
            gain[row] += pattern[block + 1, effect] * spread[row, blocks + effect]
    off, total = seen - x[block], variance + gain[block]
    for effect in range(size - blocks):
        off -= pattern[block + 1, effect] * x[blocks + effect]
        total += pattern[block + 1, effect] * gain[blocks + effect]
    for row in range(size):
        x[row] += gain[row] * off / total
        for column in range(size):
            spread[row, column] -= gain[row] * gain[column] / total
    return off, total


@compiled
def _follow(seen, law, correct, place, score):
    """Log likelihood of a motion; fills what was foretold and the surprises."""
    frames, blocks = seen.place.shape
    size = blocks + seen.pattern.shape[2]
    x, force, slope = np.zeros(size), np.empty(blocks), np.empty(blocks)
    half, source = np.empty(blocks), np.empty(blocks)
    spread, other_way = np.zeros((size, size)), np.zeros((size, size))
    once, twice = np.zeros((size, size)), np.zeros((size, size))
    jitter, jitter_once = np.zeros((size, 1)), np.zeros((size, 1))
    jitter_twice = np.zeros((size, 1))
    stiff = seen.stiffness
    longest = STEP * law.tau / stiff.max()
    for effect in range(blocks, size):
        spread[effect, effect] = 1.0 if correct else 0.0
    for block in range(blocks):
        spread[block, block] = seen.start[block] if correct else 0.0
    total = 0.0
    for t in range(frames):
        if t:
            gap = seen.time[t] - seen.time[t - 1]
            steps = max(1, math.ceil(gap / longest))
            dt = gap / steps
            travel = abs(seen.hand[t] - seen.hand[t - 1])
            jitter[:] = 0.0
            ends = np.empty((2, size - blocks))
            for effect in range(size - blocks):
                ends[0, effect] = seen.pattern[t, 0, effect]
                ends[1, effect] = seen.pattern[t, blocks + 1, effect]
            for s in range(steps):
                for part in range(2):
                    share = (s + 0.5 * part) / steps
                    left = seen.wall[t - 1] + share * (seen.wall[t] - seen.wall[t - 1])
                    right = seen.hand[t - 1] + share * (seen.hand[t] - seen.hand[t - 1])
                    for effect in range(size - blocks):
                        left -= ends[0, effect] * x[blocks + effect]
                        right -= ends[1, effect] * x[blocks + effect]
                    for block in range(blocks):
                        now = x if part == 0 else half
                        before = now[block - 1] if block else left
                        after = now[block + 1] if block + 1 < blocks else right
                        force[block] = stiff[block] * (before - now[block])
                        force[block] += stiff[block + 1] * (after - now[block])
                    for block in range(blocks):
                        unsure = _force_variance(spread, stiff, block, blocks)
                        kick = law.noise * law.noise + QUIET * QUIET
                        noise = math.sqrt(kick + unsure)
                        mean, slope[block], variance = _slip(
                            force[block], noise, law.friction_right, law.friction_left
                        )
                        slope[block] /= law.tau
                        source[block] = variance * kick / (noise * noise)
                        if part == 0:
                            half[block] = x[block] + 0.5 * dt * mean / law.tau
                        else:
                            x[block] += dt * mean / law.tau
                if not correct:
                    continue
                # half of what is random comes before the step, half after it
                for block in range(blocks):
                    source[block] = 0.5 * (
                        dt * law.kick * source[block] / law.tau**2 + law.wander**2 * travel / steps
                    )
                    spread[block, block] += source[block]
                jitter[blocks - 1, 0] += 0.5 * dt * stiff[blocks] * slope[blocks - 1]
                for _ in range(2):  # from the left and, turned over, from the right
                    _shake(spread, once, twice, slope, ends, stiff, blocks, dt)
                    for row in range(size):
                        for column in range(size):
                            other_way[column, row] = spread[row, column]
                    spread, other_way = other_way, spread
                _shake(jitter, jitter_once, jitter_twice, slope, ends, stiff, blocks, dt)
                jitter[blocks - 1, 0] += 0.5 * dt * stiff[blocks] * slope[blocks - 1]
                for block in range(blocks):
                    spread[block, block] += source[block]
            for block in range(blocks):
                for other in range(blocks):
                    spread[block, other] += (
                        seen.hand_variance[t] * jitter[block, 0] * jitter[other, 0]
                    )
        for block in range(blocks):
            place[t, block] = x[block]
            score[t, block] = np.nan
        if not correct:
            continue
        for block in range(blocks):
            if not np.isnan(seen.place[t, block]):
                off, variance = _correct(
                    x, spread, seen.pattern[t], block, seen.place[t, block],
                    seen.variance[t, block], blocks,
                )
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
