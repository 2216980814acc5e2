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

STEP = 0.4  # largest time step over tau of the mean, a fifth below the largest stable one
FINE = 1.0  # largest decay of a shift in one piece of the time that is doubled
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
def _product(out, left, right):
    """out = left right for small dense matrices."""
    for row in range(left.shape[0]):
        for column in range(right.shape[1]):
            out[row, column] = 0.0
        for k in range(left.shape[1]):
            factor = left[row, k]
            for column in range(right.shape[1]):
                out[row, column] += factor * right[k, column]


@inner
def _carried(out, matrix, spread, scratch, turned):
    """out = matrix spread matrix^T, of a symmetric spread."""
    size = matrix.shape[0]
    for row in range(size):
        for column in range(size):
            turned[row, column] = matrix[column, row]
    _product(scratch, spread, turned)
    _product(out, matrix, scratch)


@inner
def _powers(power, slope, stiff):
    """J, J^2, J^3, J^4 of the linearised law J, (4, blocks, blocks)."""
    blocks = len(slope)
    for order in range(4):
        for row in range(blocks):
            left, right, rate = stiff[row], stiff[row + 1], slope[row]
            if order == 0:
                for column in range(blocks):
                    power[0, row, column] = 0.0
                power[0, row, row] = -rate * (left + right)
                if row:
                    power[0, row, row - 1] = rate * left
                if row + 1 < blocks:
                    power[0, row, row + 1] = rate * right
                continue
            for column in range(blocks):
                power[order, row, column] = -rate * (left + right) * power[order - 1, row, column]
            if row:
                for column in range(blocks):
                    power[order, row, column] += rate * left * power[order - 1, row - 1, column]
            if row + 1 < blocks:
                for column in range(blocks):
                    power[order, row, column] += rate * right * power[order - 1, row + 1, column]


@inner
def _steps(out, power, time, kick):
    """out = (1 + kick J)^(time/kick): what `time` of kicks does to a small shift of the blocks.

    Binomial series to fourth order; that of the exponential where kicks are short.
    """
    first = time
    second = first * (time - kick) / 2
    third = second * (time - 2 * kick) / 3
    fourth = third * (time - 3 * kick) / 4
    for row in range(out.shape[0]):
        for column in range(out.shape[0]):
            out[row, column] = (
                first * power[0, row, column] + second * power[1, row, column]
                + third * power[2, row, column] + fourth * power[3, row, column]
            )  # fmt: skip
        out[row, row] += 1.0


@inner
def _passage(carry, gained, power, slope, source, stiff, time, kick, one, two, three):
    """What a stretch of time does to the blocks: shifts are multiplied by `carry`, and `gained`
    (blocks, blocks) is the covariance of what kicks add, `source` on each block in unit time.

    Kicks of a short piece of the time count at two moments (Gauss-Legendre), half a kick later
    than they come as none is damped by the step it makes; pieces are doubled to fill the time.
    """
    blocks, fastest = len(slope), 0.0
    for block in range(blocks):
        fastest = max(fastest, 2 * (stiff[block] + stiff[block + 1]) * slope[block])
    pieces = 0
    while fastest * time > FINE * 2.0**pieces:
        pieces += 1
    piece = time / 2.0**pieces
    _powers(power, slope, stiff)
    for side in range(2):
        later = 0.5 * piece * (1 + (2 * side - 1) / math.sqrt(3.0)) - 0.5 * kick
        _steps(carry, power, later, kick)
        for row in range(blocks):
            for column in range(blocks):
                two[row, column] = 0.5 * piece * source[row] * carry[column, row]
        _product(one if side else gained, carry, two)
    _steps(carry, power, piece, kick)
    gained += one
    for _ in range(pieces):
        _carried(one, carry, gained, two, three)
        gained += one
        _product(two, carry, carry)
        carry[:, :] = two


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
def _against_ends(spread, beside, effect_spread, lean, sign):
    """Covariance of places measured from where the effects on the ends put them (sign -1), and
    back (sign 1); `lean` (effects on the ends, blocks) is that place per effect."""
    ends, blocks = lean.shape
    effects = len(effect_spread)
    for end in range(ends):
        for row in range(blocks):
            share = sign * lean[end, row]
            for column in range(blocks):
                spread[row, column] += share * beside[blocks + end, column]
    for end in range(ends):
        for other in range(effects):
            share = sign * effect_spread[blocks + end, other]
            for column in range(blocks):
                beside[other, column] += share * lean[end, column]
    for end in range(ends):
        for row in range(blocks):
            share = sign * beside[blocks + end, row]
            for column in range(blocks):
                spread[row, column] += share * lean[end, column]


@inner
def _correct(x, effect, known, block, seen, variance, pattern, gain, effect_gain):
    """Take in one seen position; returns its surprise and the variance of that.

    `known` are the covariance of places, of effects (rows) with places, and of effects; the first
    effects are the offsets of the blocks, the others shift the point by `pattern`.
    """
    spread, beside, effect_spread = known
    blocks, effects = len(x), len(effect)
    off = seen - x[block] - effect[block]
    for row in range(blocks):
        gain[row] = spread[block, row] + beside[block, row]
    for other in range(effects):
        effect_gain[other] = beside[other, block] + effect_spread[block, other]
    for k in range(len(pattern)):
        if pattern[k] != 0.0:
            off -= pattern[k] * effect[blocks + k]
            for row in range(blocks):
                gain[row] += pattern[k] * beside[blocks + k, row]
            for other in range(effects):
                effect_gain[other] += pattern[k] * effect_spread[blocks + k, other]
    total = variance + gain[block] + effect_gain[block]
    for k in range(len(pattern)):
        total += pattern[k] * effect_gain[blocks + k]
    for row in range(blocks):
        share = gain[row] / total
        x[row] += share * off
        for column in range(blocks):
            spread[row, column] -= share * gain[column]
    for one in range(effects):
        share = effect_gain[one] / total
        effect[one] += share * off
        for column in range(blocks):
            beside[one, column] -= share * gain[column]
        for other in range(effects):
            effect_spread[one, other] -= share * effect_gain[other]
    return off, total


@inner
def _flow(rate, slope, source, x, unsure, left, right, stiff, law):
    """Mean speed of the blocks, its slope against force, and variance that the kicks add, all per
    time, between ends at `left` and `right`."""
    blocks = len(rate)
    kick = law.noise * law.noise + QUIET * QUIET
    for block in range(blocks):
        before = x[block - 1] if block else left
        after = x[block + 1] if block + 1 < blocks else right
        force = stiff[block] * (before - x[block]) + stiff[block + 1] * (after - x[block])
        noise = math.sqrt(kick + unsure[block])
        mean, steep, variance = _slip(force, noise, law.friction_right, law.friction_left)
        rate[block] = mean / law.tau
        slope[block] = steep / law.tau
        source[block] = variance * kick / (noise * noise) * law.kick / law.tau**2


@compiled
def _follow(seen, law, correct, place, score):
    """Log likelihood of a motion; fills what was foretold and the surprises."""
    frames, blocks = seen.place.shape
    ends = seen.pattern.shape[2]
    effects, stiff = blocks + ends, seen.stiffness
    x, half, effect = np.zeros(blocks), np.zeros(blocks), np.zeros(effects)
    rate, slope, source = np.empty(blocks), np.empty(blocks), np.empty(blocks)
    slopes, sources = np.zeros(blocks), np.zeros(blocks)
    unsure, unsure_late = np.zeros(blocks), np.zeros(blocks)
    spread, beside = np.diag(seen.start), np.zeros((effects, blocks))
    effect_spread = np.eye(effects)
    for block in range(blocks):
        effect_spread[block, block] = seen.offset[block]
    known = spread, beside, effect_spread
    gain, effect_gain = np.empty(blocks), np.empty(effects)
    carry, gained = np.empty((blocks, blocks)), np.empty((blocks, blocks))
    one, two, three = np.empty_like(carry), np.empty_like(carry), np.empty_like(carry)
    power = np.empty((4, blocks, blocks))
    lean, toward = np.zeros((ends, blocks)), np.cumsum(1 / stiff)[:-1] / (1 / stiff).sum()
    longest = STEP * law.tau / stiff.max()
    total, time, travel = 0.0, 0.0, 0.0
    for t in range(frames):
        if t:
            gap = seen.time[t] - seen.time[t - 1]
            steps = max(1, math.ceil(gap / longest))
            dt = gap / steps
            # a kick moves a block by what pulls at its start: kicks of finite length lag behind
            ahead = 0.5 * (dt - law.kick)
            if correct and time == 0.0:  # half-way between now and as it grew in the last stretch
                for block in range(blocks):
                    now = _force_variance(spread, stiff, block, blocks)
                    unsure[block] = 0.5 * (now + max(now, unsure_late[block]))
            shift_left, shift_right = 0.0, 0.0
            for k in range(ends):
                shift_left -= seen.pattern[t, 0, k] * effect[blocks + k]
                shift_right -= seen.pattern[t, blocks + 1, k] * effect[blocks + k]
            for s in range(steps):
                for part in range(2):
                    share = (s + part * ahead / dt) / steps
                    left = seen.wall[t - 1] + share * (seen.wall[t] - seen.wall[t - 1])
                    right = seen.hand[t - 1] + share * (seen.hand[t] - seen.hand[t - 1])
                    at = half if part else x
                    _flow(rate, slope, source, at, unsure, left + shift_left,
                          right + shift_right, stiff, law)  # fmt: skip
                    if part == 0:
                        for block in range(blocks):
                            half[block] = x[block] + ahead * rate[block]
                for block in range(blocks):
                    x[block] += dt * rate[block]
                    slopes[block] += dt * slope[block]
                    sources[block] += dt * source[block]
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
                slopes[block] /= time
                sources[block] /= time
                effect_spread[block, block] += law.wander**2 * travel
            for k in range(ends):
                left, right = seen.pattern[t, 0, k], seen.pattern[t, blocks + 1, k]
                for block in range(blocks):
                    lean[k, block] = -(1 - toward[block]) * left - toward[block] * right
            _passage(carry, gained, power, slopes, sources, stiff, time, law.kick, one, two, three)
            _against_ends(spread, beside, effect_spread, lean, -1.0)
            _carried(one, carry, spread, two, three)
            for k in range(effects):
                gain[:] = beside[k]
                beside[k] = 0.0
                for column in range(blocks):
                    for block in range(blocks):
                        beside[k, block] += gain[column] * three[column, block]
            slopes[:] = 0.0
            sources[:] = 0.0
            for block in range(blocks):
                # what the error of the measured hand has driven
                gain[block] = toward[block]
                for other in range(blocks):
                    gain[block] -= carry[block, other] * toward[other]
            for block in range(blocks):
                for other in range(blocks):
                    driven = seen.hand_variance[t] * gain[block] * gain[other]
                    spread[block, other] = one[block, other] + gained[block, other] + driven
            _against_ends(spread, beside, effect_spread, lean, 1.0)
            for block in range(blocks):
                unsure_late[block] = _force_variance(spread, stiff, block, blocks)
            time, travel = 0.0, 0.0
        for block in range(blocks):
            if not np.isnan(seen.place[t, block]):
                off, variance = _correct(
                    x, effect, known, block, seen.place[t, block], seen.variance[t, block],
                    seen.pattern[t, block + 1], gain, effect_gain,
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
