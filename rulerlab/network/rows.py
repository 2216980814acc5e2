"""What a layer does to one unit: loops over its samples, which lie side by side in memory.

Sums may be taken in any order (`reassoc`), so the compiler adds up whole vectors at a time.
"""

from __future__ import annotations

import math

from numba import njit

from rulerlab.chain.kernels import u8
from rulerlab.network.chance import WORDS

row_loop = njit(
    nogil=True, error_model="numpy", no_cpython_wrapper=True,
    fastmath={"reassoc", "contract", "nsz", "arcp"},
)  # fmt: skip


@row_loop
def moments(z):
    """Mean and (biased) variance of a row."""
    total = z.dtype.type(0)
    for i in range(z.size):
        total += z[i]
    mean = total / z.dtype.type(z.size)
    square = z.dtype.type(0)
    for i in range(z.size):
        square += (z[i] - mean) * (z[i] - mean)
    return mean, square / z.dtype.type(z.size)


@row_loop
def stretch(out, z, factor, offset):
    """out = factor z + offset."""
    for i in range(z.size):
        out[i] = factor * z[i] + offset


@row_loop
def activate(out, z, factor, offset, alpha):
    """LeakyReLU of factor z + offset."""
    zero = z.dtype.type(0)
    for i in range(z.size):
        u = factor * z[i] + offset
        out[i] = u if u > zero else alpha * u


@row_loop
def activate_some(out, z, factor, offset, alpha, words, dropout):
    """The same with dropout: kept where the random word is large enough, and larger by that."""
    zero, gain = z.dtype.type(0), z.dtype.type(1 / (1 - dropout))
    limit = u8(dropout * WORDS)
    for i in range(z.size):
        u = factor * z[i] + offset
        u = u if u > zero else alpha * u
        out[i] = gain * u if u8(words[i]) >= limit else zero


@row_loop
def pull_back(d, a, alpha, dropout):
    """Slope of the loss before LeakyReLU and dropout, from that after it; in place.

    What was dropped is told by its activation, an exact zero.
    """
    zero, gain = d.dtype.type(0), d.dtype.type(1 / (1 - dropout))
    low = gain * alpha
    at_zero = zero if dropout > 0 else low
    for i in range(d.size):
        d[i] *= gain if a[i] > zero else (low if a[i] < zero else at_zero)


@row_loop
def slopes(d, z, mean, inverse):
    """Sum of d, and of d times the normalised z: the slopes of BatchNorm's offset and factor."""
    offset, factor = d.dtype.type(0), d.dtype.type(0)
    for i in range(d.size):
        offset += d[i]
        factor += d[i] * ((z[i] - mean) * inverse)
    return offset, factor


@row_loop
def pull_back_norm(d, z, mean, inverse, gamma, offset, factor):
    """Slope of the loss before BatchNorm; its mean and its part along z drop out; in place."""
    count = d.dtype.type(d.size)
    scale = gamma * inverse
    along = -scale * inverse * factor / count
    level = -scale * offset / count - along * mean
    for i in range(d.size):
        d[i] = scale * d[i] + along * z[i] + level


@row_loop
def total(d):
    found = d.dtype.type(0)
    for i in range(d.size):
        found += d[i]
    return found


@row_loop
def cross_entropy(logits, labels, peak):
    """Sum of -log softmax at the label; logits (classes, n) become its slope for the mean."""
    kind = logits.dtype.type
    classes, samples = logits.shape
    lost, scratch = 0.0, peak[1]
    top = peak[0]
    for i in range(samples):
        top[i] = logits[0, i]
        scratch[i] = kind(0)
    for k in range(1, classes):
        for i in range(samples):
            top[i] = max(top[i], logits[k, i])
    for i in range(samples):
        lost += top[i] - logits[labels[i], i]
    for k in range(classes):
        for i in range(samples):
            logits[k, i] = math.exp(logits[k, i] - top[i])
            scratch[i] += logits[k, i]
    for i in range(samples):
        lost += math.log(scratch[i])
        scratch[i] = kind(1) / (scratch[i] * kind(samples))
    for k in range(classes):
        for i in range(samples):
            logits[k, i] *= scratch[i]
    for i in range(samples):
        logits[labels[i], i] -= kind(1) / kind(samples)
    return lost


@row_loop
def mean_square(logits, labels):
    """Sum over samples of the mean square of what is missing to one-hot; logits as above."""
    kind = logits.dtype.type
    classes, samples = logits.shape
    for i in range(samples):
        logits[labels[i], i] -= kind(1)
    lost, factor = 0.0, kind(2) / (kind(classes) * kind(samples))
    for k in range(classes):
        for i in range(samples):
            lost += logits[k, i] * logits[k, i]
            logits[k, i] *= factor
    return lost / classes


@row_loop
def adam(theta, grad, first, second, rate, decay, step):
    """One step of Adam (Kingma & Ba 2015) with torch's constants; step counts from 1."""
    kind = theta.dtype.type
    keep1, keep2 = kind(0.9), kind(0.999)
    new1, new2 = kind(1 - 0.9), kind(1 - 0.999)
    size = kind(rate / (1 - 0.9**step))
    unbias, small = kind(1 / math.sqrt(1 - 0.999**step)), kind(1e-8)
    pull = kind(decay)
    for i in range(theta.size):
        slope = grad[i] + pull * theta[i]
        first[i] = keep1 * first[i] + new1 * slope
        second[i] = keep2 * second[i] + new2 * slope * slope
        theta[i] -= size * first[i] / (math.sqrt(second[i]) * unbias + small)


@row_loop
def descend(theta, grad, first, rate, decay, momentum):
    """One step of gradient descent with momentum."""
    kind = theta.dtype.type
    size, pull, keep = kind(rate), kind(decay), kind(momentum)
    for i in range(theta.size):
        first[i] = keep * first[i] + (grad[i] + pull * theta[i])
        theta[i] -= size * first[i]
