"""The inner loops: many chains side by side, one lane per block and chain.

Lanes lie flat, block after block, each block a row of `width` chains, so one loop serves a
single long chain (width 1) and a tile of short ones alike. Every lane owns a random stream
(xoshiro128++, Blackman & Vigna 2021; normals by Box-Muller with polynomial logarithm, sine and
cosine) keyed by seed, chain and block. Products are fused only where `fma` says so and nothing is
reordered, so a chain's path is the same to the last bit in any tile, batch or thread. Noise and
coefficients lie in chunks of LANES at constant distances, so the compiler sees that they do not
overlap and makes vector code.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

LANES = 32
f4, i4, u4, u8 = np.float32, np.int32, np.uint32, np.uint64
NOISE_ROWS = 6  # four words of the stream, two normals
# Coefficients of a lane: springs, friction, kick amplitudes, a one, dt/damping or dt/mass, brake;
# `advance` wants springs and friction (and overdamped kicks) multiplied by MOVE already.
ROWS = 9
K_LEFT, K_RIGHT, MU_RIGHT, MU_LEFT, NOISE, COMMON, UNIT, MOVE, BRAKE = range(ROWS)


def compiled(function: Callable) -> Any:
    """Compile, keeping the machine code on disk where the disk can be written."""
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no writable place for the cache
        return njit(function, nogil=True, error_model="numpy")


def inner(function: Callable) -> Any:
    """Compile as a part of other loops only; it ends up in their machine code."""
    return njit(function, nogil=True, error_model="numpy", no_cpython_wrapper=True,
                no_cfunc_wrapper=True)  # fmt: skip


@intrinsic
def fma(_context, a, b, c):
    """a b + c with one rounding."""

    def code(context, builder, _signature, values):
        each = zip(values, (a, b, c), strict=True)
        return builder.fma(*(context.cast(builder, value, kind, a) for value, kind in each))

    return a(a, b, c), code


def _bits(source, target, llvm_type):
    def code(_context, builder, _signature, values):
        return builder.bitcast(values[0], llvm_type)

    return target(source), code


@intrinsic
def float_bits(_context, value):
    return _bits(types.float32, types.int32, ir.IntType(32))


@intrinsic
def bits_float(_context, value):
    return _bits(types.int32, types.float32, ir.FloatType())


@intrinsic
def word_float(_context, value):
    return _bits(types.uint32, types.float32, ir.FloatType())


@intrinsic
def float_word(_context, value):
    return _bits(types.float32, types.uint32, ir.IntType(32))


def polynomial(function, low: float, high: float, degree: int) -> tuple:
    """Near-minimax polynomial: least squares at Chebyshev points, lowest power first."""
    x = low + (high - low) * (np.cos(np.pi * (np.arange(4000) + 0.5) / 4000) + 1) / 2
    return tuple(f4(c) for c in np.polynomial.polynomial.polyfit(x, function(x), degree))


L0, L1, L2, L3, L4, L5, L6, L7, L8 = polynomial(
    lambda m: np.log1p(m) / m, 0.5**0.5 - 1, 2**0.5 - 1, 8
)
S0, S1, S2, S3 = polynomial(lambda q: np.sin(2 * np.pi * np.sqrt(q)) / np.sqrt(q), 0, 1 / 64, 3)
C0, C1, C2, C3, C4 = polynomial(lambda q: np.cos(2 * np.pi * np.sqrt(q)), 0, 1 / 64, 4)
LOG2, HALF_ROOT = f4(math.log(2)), i4(0x3F3504F3)  # bits of sqrt(1/2)
TO_UNIT, HALF_STEP, TO_OCTANT = f4(2.0**-31), f4(2.0**-32), f4(2.0**-34)
ONE, MINUS_TWO = f4(1), f4(-2)
R1, R2, R7, R9, R11, R21, R25 = (u4(n) for n in (1, 2, 7, 9, 11, 21, 25))
SHIFT, SWAP, SIGN = i4(23), u4(0x40000000), u4(0x80000000)


@inner
def box_muller(first, second):
    """Two normals from two random words; never larger than 6.7."""
    bits = float_bits(fma(f4(i4(first >> R1)), TO_UNIT, HALF_STEP))
    power = i4(i4(bits - HALF_ROOT) >> SHIFT)
    m = f4(bits_float(i4(bits - i4(power << SHIFT))) - ONE)
    p = fma(fma(fma(fma(L8, m, L7), m, L6), m, L5), m, L4)
    p = fma(fma(fma(fma(p, m, L3), m, L2), m, L1), m, L0)
    radius = f4(math.sqrt(f4(MINUS_TWO * fma(f4(power), LOG2, f4(p * m)))))
    radius = -radius if (second & SIGN) != 0 else radius
    turn = f4(f4(i4(second << R2)) * TO_OCTANT)
    q = f4(turn * turn)
    sine = f4(fma(fma(fma(S3, q, S2), q, S1), q, S0) * turn)
    cosine = fma(fma(fma(fma(C4, q, C3), q, C2), q, C1), q, C0)
    swap = (second & SWAP) != 0
    return f4(radius * (sine if swap else cosine)), f4(radius * (cosine if swap else sine))


@inner
def draw(noise):
    """The next two normals of every lane."""
    for chunk in range(noise.size // (NOISE_ROWS * LANES)):
        at = u8(chunk * NOISE_ROWS * LANES)
        for lane in range(LANES):
            j = at + u8(lane)
            a, b = noise[j], noise[j + u8(LANES)]
            c, d = noise[j + u8(2 * LANES)], noise[j + u8(3 * LANES)]
            t = u4(a + d)
            first = u4(u4(u4(t << R7) | u4(t >> R25)) + a)
            t, c, d = u4(b << R9), u4(c ^ a), u4(d ^ b)
            b, a, c = u4(b ^ c), u4(a ^ d), u4(c ^ t)
            d = u4(u4(d << R11) | u4(d >> R21))
            t = u4(a + d)
            second = u4(u4(u4(t << R7) | u4(t >> R25)) + a)
            t, c, d = u4(b << R9), u4(c ^ a), u4(d ^ b)
            b, a, c = u4(b ^ c), u4(a ^ d), u4(c ^ t)
            d = u4(u4(d << R11) | u4(d >> R21))
            noise[j], noise[j + u8(LANES)] = a, b
            noise[j + u8(2 * LANES)], noise[j + u8(3 * LANES)] = c, d
            own, spare = box_muller(first, second)
            noise[j + u8(4 * LANES)] = float_word(own)
            noise[j + u8(5 * LANES)] = float_word(spare)


@inner
def band(noise, row, memory, filter_):
    """Turn the white normals of one row into banded ones of unit variance."""
    a, b, c = f4(filter_[0]), f4(filter_[1]), f4(filter_[2])
    half = memory.size // 2
    for chunk in range(noise.size // (NOISE_ROWS * LANES)):
        at, m = (chunk * NOISE_ROWS + row) * LANES, chunk * LANES
        for lane in range(LANES):
            now = f4(a * memory[m + lane]) + f4(b * memory[half + m + lane])
            now = f4(now + f4(c * word_float(noise[at + lane])))
            memory[half + m + lane] = memory[m + lane]
            memory[m + lane] = now
            noise[at + lane] = float_word(now)


@inner
def spread(noise, row, common, width):
    """Give every lane the normal that its chain drew for all its blocks."""
    aligned, wide = width % LANES == 0, width // LANES
    for chunk in range(noise.size // (NOISE_ROWS * LANES)):
        at = u8((chunk * NOISE_ROWS + row) * LANES)
        if aligned:
            c = u8((chunk % wide * NOISE_ROWS + row) * LANES)
            for lane in range(LANES):
                noise[at + u8(lane)] = common[c + u8(lane)]
        else:
            for lane in range(LANES):
                chain = (chunk * LANES + lane) % width
                place = (chain // LANES * NOISE_ROWS + row) * LANES + chain % LANES
                noise[at + u8(lane)] = common[place]


@inner
def mix(noise, row, shared, rows):
    """Replace the normals by whole kicks: own amplitude times own, common times shared."""
    for chunk in range(noise.size // (NOISE_ROWS * LANES)):
        at, c = u8((chunk * NOISE_ROWS + row) * LANES), u8(chunk * ROWS * LANES)
        for lane in range(LANES):
            j = u8(lane)
            own = rows[c + u8(NOISE * LANES) + j] * word_float(noise[at + j])
            all_ = rows[c + u8(COMMON * LANES) + j] * word_float(shared[at + j])
            noise[at + j] = float_word(f4(own + all_))


@inner
def creep(out, x, width, rows, noise, row, level, amplitude):
    """One overdamped step of every lane from x to out: force, dead zone, move."""
    zero = x.dtype.type(0)
    for chunk in range(noise.size // (NOISE_ROWS * LANES)):
        left = u8(chunk * LANES)
        mid, right = left + u8(width), left + u8(2 * width)
        c, n = u8(chunk * ROWS * LANES), u8((chunk * NOISE_ROWS + row) * LANES)
        k = c + u8(level * LANES)
        for lane in range(LANES):
            j = u8(lane)
            here = x[mid + j]
            spring = (rows[c + u8(K_RIGHT * LANES) + j] * (x[right + j] - here)
                      - rows[c + u8(K_LEFT * LANES) + j] * (here - x[left + j]))
            force = fma(amplitude * rows[k + j], word_float(noise[n + j]), spring)
            to_right = force - rows[c + u8(MU_RIGHT * LANES) + j]
            to_left = force + rows[c + u8(MU_LEFT * LANES) + j]
            net = (to_right if to_right > zero else zero) + (to_left if to_left < zero else zero)
            out[mid + j] = here + net


@inner
def creep_static(out, x, v, width, rows, noise, row, level, amplitude, ratio):
    """The same with a larger threshold for blocks that did not move in the step before."""
    zero = x.dtype.type(0)
    for chunk in range(noise.size // (NOISE_ROWS * LANES)):
        c, n = chunk * ROWS * LANES, (chunk * NOISE_ROWS + row) * LANES
        for j in range(LANES):
            at = chunk * LANES + j
            here = x[at + width]
            spring = (rows[c + K_RIGHT * LANES + j] * (x[at + 2 * width] - here)
                      - rows[c + K_LEFT * LANES + j] * (here - x[at]))
            force = fma(amplitude * rows[c + level * LANES + j], word_float(noise[n + j]), spring)
            mu_right, mu_left = rows[c + MU_RIGHT * LANES + j], rows[c + MU_LEFT * LANES + j]
            stuck = v[at] == 0 and -ratio * mu_left <= force <= ratio * mu_right
            net = max(force - mu_right, zero) + min(force + mu_left, zero)
            v[at] = zero if stuck else net
            out[at + width] = here + v[at]


@inner
def swing(out, x, v, width, rows, noise, row, level, amplitude, table, ratio, dt):
    """One step of the second order: kick, spring, friction that really sticks, damping, move.

    v <- soft(v + dt/m force + kick, friction dt/m) / (1 + damping dt/m): friction is implicit, so
    a block that can't overcome it stops within the step (proximal step of Coulomb's law).
    """
    zero, sticky = x.dtype.type(0), ratio > 1
    for chunk in range(noise.size // (NOISE_ROWS * LANES)):
        left = u8(chunk * LANES)
        mid, right = left + u8(width), left + u8(2 * width)
        c, n = u8(chunk * ROWS * LANES), u8((chunk * NOISE_ROWS + row) * LANES)
        k = c + u8(level * LANES)
        for lane in range(LANES):
            j = u8(lane)
            here, before = x[mid + j], v[left + j]
            spring = (rows[c + u8(K_RIGHT * LANES) + j] * (x[right + j] - here)
                      - rows[c + u8(K_LEFT * LANES) + j] * (here - x[left + j]))
            push = spring + (before - table)
            push = fma(amplitude * rows[k + j], word_float(noise[n + j]), push)
            hold_right = rows[c + u8(MU_RIGHT * LANES) + j]
            hold_left = rows[c + u8(MU_LEFT * LANES) + j]
            to_right, to_left = push - hold_right, push + hold_left
            net = (to_right if to_right > zero else zero) + (to_left if to_left < zero else zero)
            if sticky:
                inside = (push <= ratio * hold_right) & (push >= -ratio * hold_left)
                net = zero if (before == zero) & inside else net
            net = net * rows[c + u8(BRAKE * LANES) + j]
            v[left + j] = net
            out[mid + j] = fma(dt, net, here)


class Tile(NamedTuple):
    """State of `width` chains; lanes n = blocks x width, filled up to whole chunks."""

    x: np.ndarray  # (n + 2 width,) wall, blocks, pulled end
    spare: np.ndarray  # like x
    v: np.ndarray  # (n,)
    noise: np.ndarray  # (n / LANES x NOISE_ROWS x LANES,) uint32
    memory: np.ndarray  # (2 n,) of the band filter
    common: np.ndarray  # like noise, one lane per chain
    common_memory: np.ndarray
    shared: np.ndarray  # like noise, the common normals on every lane
    rows: np.ndarray  # (n / LANES x ROWS x LANES,) coefficients of every lane


class Law(NamedTuple):
    """What all chains of a tile share."""

    blocks: int
    width: int
    inertia: bool
    force: bool
    independent: bool
    common: bool
    banded: bool
    filter_: tuple[float, float, float]
    kick: float  # amplitude of a step's kick, before decay
    decay: float  # of the amplitude in one step
    static_ratio: float
    dt: float


@compiled
def advance(tile, law, pull, table, first, steps):
    """Move a tile by `steps`, from step number `first`; `pull` and `table` count from step 0."""
    kind = tile.x.dtype.type
    width, last = law.width, law.blocks * law.width
    x, spare = tile.x, tile.spare
    level = NOISE
    if law.common:
        level = UNIT if law.independent else COMMON
    ratio = kind(law.static_ratio)
    for s in range(first, first + steps):
        row = 4 + s % 2
        if s % 2 == 0 and law.independent:
            draw(tile.noise)
        if s % 2 == 0 and law.common:
            draw(tile.common)
        if law.banded:
            if law.independent:
                band(tile.noise, row, tile.memory, law.filter_)
            if law.common:
                band(tile.common, row, tile.common_memory, law.filter_)
        if law.common and law.independent:
            spread(tile.shared, row, tile.common, width)
            mix(tile.noise, row, tile.shared, tile.rows)
        elif law.common:
            spread(tile.noise, row, tile.common, width)
        end = kind(pull[s])
        if law.force:
            for w in range(width):
                lane = last - width + w
                at = lane // LANES * ROWS * LANES + lane % LANES
                spring = tile.rows[at + K_RIGHT * LANES] / tile.rows[at + MOVE * LANES]
                x[last + width + w] = x[last + w] + end / spring
        else:
            for w in range(width):
                x[u8(last + width) + u8(w)] = end
        amplitude = kind(law.kick)
        if law.decay > 0:
            amplitude = kind(law.kick * math.exp(-law.decay * s))
        if law.inertia:
            push = kind(table[s] * law.dt) if table.size else kind(0)
            swing(spare, x, tile.v, width, tile.rows, tile.noise, row, level, amplitude, push,
                  ratio, kind(law.dt))
        elif law.static_ratio > 1:
            creep_static(spare, x, tile.v, width, tile.rows, tile.noise, row, level, amplitude,
                         ratio)
        else:
            creep(spare, x, width, tile.rows, tile.noise, row, level, amplitude)
        x, spare = spare, x
    if steps % 2:
        tile.x[:] = tile.spare
