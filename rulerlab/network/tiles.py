"""What a layer does to its units: loops over a block of samples, unit after unit in each sample.

Coefficients and sums of the units are repeated for TILE samples (a tile), so that the loops run
over long stretches and make whole vectors whatever the number of units. A block is flat,
(samples x units,); an incomplete last tile is allowed. Nothing is reordered by the compiler.
"""

from __future__ import annotations

import math

from numba import njit

from rulerlab.chain.kernels import u8
from rulerlab.network.chance import WORDS

TILE = 8
EPSILON, NEWEST = 1e-5, 0.1  # of BatchNorm: added to the variance; share in the running mean
loop = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True,
            no_cfunc_wrapper=True, fastmath={"contract", "nsz"})  # fmt: skip


@loop
def fill(out, value):
    for i in range(out.size):
        out[i] = value


@loop
def copy(out, values):
    for i in range(values.size):
        out[i] = values[i]


@loop
def tile(out, values):
    """Repeat the coefficients of the units for a tile."""
    for t in range(TILE):
        for k in range(values.size):
            out[t * values.size + k] = values[k]


@loop
def fold(out, sums):
    """Add up the sums of a tile to those of the units."""
    for k in range(out.size):
        out[k] = sums[k]
    for t in range(1, TILE):
        for k in range(out.size):
            out[k] += sums[t * out.size + k]


@loop
def guess_mean(shift, z):
    """Mean of the first tile of a block, repeated: near enough to take squares about."""
    units = shift.size // TILE
    samples = min(z.size // units, TILE)
    for k in range(units):
        shift[k] = z[k]
    for s in range(1, samples):
        for k in range(units):
            shift[k] += z[s * units + k]
    share = z.dtype.type(1.0 / samples)
    for k in range(units):
        shift[k] *= share
    for t in range(1, TILE):
        for k in range(units):
            shift[t * units + k] = shift[k]


@loop
def gather_moments(total, square, z, shift):
    """Add the block's z - shift, and its square, to the sums."""
    for start in range(0, z.size, shift.size):
        at = u8(start)
        for i in range(min(shift.size, z.size - start)):
            j = u8(i)
            value = z[at + j] - shift[j]
            total[j] += value
            square[j] += value * value


@loop
def settle(mean, variance, inverse, shift, samples):
    """Mean, variance (biased) and 1 / deviation of the units, from sums of z - shift and square."""
    one, share, small = mean.dtype.type(1), mean.dtype.type(1 / samples), mean.dtype.type(EPSILON)
    for k in range(mean.size):
        off = mean[k] * share
        mean[k] = shift[k] + off
        variance[k] = max(variance[k] * share - off * off, mean.dtype.type(0))
        inverse[k] = one / math.sqrt(variance[k] + small)


@loop
def follow(running_mean, running_variance, mean, variance, constant, samples):
    """BatchNorm's running mean and (unbiased) variance; `constant` was left out of the mean."""
    newest, unbias = mean.dtype.type(NEWEST), mean.dtype.type(samples / (samples - 1.0))
    for k in range(mean.size):
        running_mean[k] += newest * (mean[k] + constant[k] - running_mean[k])
        running_variance[k] += newest * (unbias * variance[k] - running_variance[k])


@loop
def stretch(factor, offset, mean, inverse):
    """BatchNorm as factor z + offset; they come in as its gamma and beta."""
    for k in range(mean.size):
        factor[k] *= inverse[k]
        offset[k] -= mean[k] * factor[k]


@loop
def shrink(scale, along, level, gamma, mean, inverse, slope_gamma, slope_beta, samples):
    """Slope before BatchNorm as scale d + along z + level: d less its mean and its part on z.

    slope_gamma comes in as the sum of d (z - mean) and leaves as the slope of gamma.
    """
    units, share = gamma.size, mean.dtype.type(1 / samples)
    for k in range(units):
        slope_gamma[k] *= inverse[k]
        scale[k] = gamma[k] * inverse[k]
        along[k] = -scale[k] * inverse[k] * slope_gamma[k] * share
        level[k] = -scale[k] * slope_beta[k] * share - along[k] * mean[k]
    for t in range(1, TILE):
        for k in range(units):
            scale[t * units + k] = scale[k]
            along[t * units + k] = along[k]
            level[t * units + k] = level[k]


@loop
def activate(out, z, factor, offset, alpha):
    """LeakyReLU of factor z + offset."""
    zero = z.dtype.type(0)
    for start in range(0, z.size, factor.size):
        at = u8(start)
        for i in range(min(factor.size, z.size - start)):
            j = u8(i)
            u = factor[j] * z[at + j] + offset[j]
            out[at + j] = u if u > zero else alpha * u


@loop
def activate_some(out, z, factor, offset, alpha, words, dropout):
    """The same with dropout: kept where the random word is large enough, and larger by that."""
    zero, gain = z.dtype.type(0), z.dtype.type(1 / (1 - dropout))
    limit = words.dtype.type(dropout * WORDS)
    for start in range(0, z.size, factor.size):
        at = u8(start)
        for i in range(min(factor.size, z.size - start)):
            j = u8(i)
            u = factor[j] * z[at + j] + offset[j]
            u = gain * (u if u > zero else alpha * u)
            out[at + j] = u if words[at + j] >= limit else zero


@loop
def pull_back(d, a, z, mean, alpha, dropout, offset, factor):
    """Slope of the loss before LeakyReLU and dropout, from that after them; in place.

    Adds it to the sums `offset`, and times z - mean to `factor`. What was dropped is told by its
    activation, an exact zero.
    """
    zero, gain = d.dtype.type(0), d.dtype.type(1 / (1 - dropout))
    low = gain * alpha
    at_zero = zero if dropout > 0 else low
    for start in range(0, d.size, mean.size):
        at = u8(start)
        for i in range(min(mean.size, d.size - start)):
            j = u8(i)
            active = a[at + j]
            slope = gain if active > zero else (low if active < zero else at_zero)
            slope *= d[at + j]
            d[at + j] = slope
            offset[j] += slope
            factor[j] += slope * (z[at + j] - mean[j])


@loop
def pull_back_norm(out, d, z, scale, along, level):
    """out = scale d + along z + level."""
    for start in range(0, d.size, scale.size):
        at = u8(start)
        for i in range(min(scale.size, d.size - start)):
            j = u8(i)
            out[at + j] = scale[j] * d[at + j] + (along[j] * z[at + j] + level[j])


@loop
def add_to(out, values):
    for i in range(out.size):
        out[i] += values[i]
