"""The chance of a training run: every number is a function of seed, purpose, step and place.

So the same network draws the same dropout masks, noise and batches whichever way it is trained
and whatever is trained beside it. Words come from Threefry-2x32 with 13 rounds (Salmon et al.
2011), a block cipher of the counter (place, 0), under a key made of seed, purpose and step; the
place counts through samples, and through the units of each.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rulerlab.chain.kernels import box_muller, compiled, inner, u4, u8

ORDER, LABELS, INPUT, MASK = range(4)  # purposes; MASK + l is the dropout after hidden layer l
WORDS = 2.0**32
GROUP, HALF = 64, 32  # numbers i and i + 32 of a group of 64 share a counter
GOLDEN = u8(0x9E3779B97F4A7C15)
ROTATIONS = (u4(13), u4(15), u4(26), u4(6), u4(17), u4(29), u4(16), u4(24))
PARITY = u4(0x1BD11BDA)
A, B, C, D, E, F, G, H = ROTATIONS
U1, U2, U3, U32 = u4(1), u4(2), u4(3), u4(32)


@inner
def scrambled(word):
    """Finaliser of SplitMix64 (Steele et al. 2014)."""
    word = u8(word ^ (word >> u8(30))) * u8(0xBF58476D1CE4E5B9)
    word = u8(word ^ (word >> u8(27))) * u8(0x94D049BB133111EB)
    return u8(word ^ (word >> u8(31)))


@inner
def key_of(seed, purpose, step):
    """The two words of the key."""
    key = scrambled(u8(u8(seed) + GOLDEN))
    key = scrambled(u8(key ^ (u8(purpose) * GOLDEN + GOLDEN)))
    key = scrambled(u8(key ^ (u8(step) * u8(0xD1342543DE82EF95) + GOLDEN)))
    return u4(key & u8(0xFFFFFFFF)), u4(key >> u8(32))


@njit(nogil=True, inline="always")
def turned(word, other, rotation):
    return u4(u4(u4(other << rotation) | u4(other >> u4(U32 - rotation))) ^ word)


@inner
def threefry(x, y, k, m):
    """Two random words of the counter (x, y) under the key (k, m)."""
    n = u4(u4(PARITY ^ k) ^ m)
    x, y = u4(x + k), u4(y + m)
    x = u4(x + y)
    y = turned(x, y, A)
    x = u4(x + y)
    y = turned(x, y, B)
    x = u4(x + y)
    y = turned(x, y, C)
    x = u4(x + y)
    y = turned(x, y, D)
    x, y = u4(x + m), u4(u4(y + n) + U1)
    x = u4(x + y)
    y = turned(x, y, E)
    x = u4(x + y)
    y = turned(x, y, F)
    x = u4(x + y)
    y = turned(x, y, G)
    x = u4(x + y)
    y = turned(x, y, H)
    x, y = u4(x + n), u4(u4(y + k) + U2)
    x = u4(x + y)
    y = turned(x, y, A)
    x = u4(x + y)
    y = turned(x, y, B)
    x = u4(x + y)
    y = turned(x, y, C)
    x = u4(x + y)
    y = turned(x, y, D)
    x, y = u4(x + k), u4(u4(y + m) + U3)
    x = u4(x + y)
    y = turned(x, y, E)
    return x, y


@inner
def fill(words, key, group):
    """Random words of a stream from a group on; there is room for a whole number of groups."""
    k, m = key
    for g in range(words.size // GROUP):
        at, count = u8(g * GROUP), u4((group + g) * HALF)
        for i in range(HALF):
            first, second = threefry(u4(count + u4(i)), u4(0), k, m)
            words[at + u8(i)], words[at + u8(HALF) + u8(i)] = first, second


@inner
def to_normals(normals, words):
    """Standard normals from whole groups of words."""
    for g in range(words.size // GROUP):
        at = u8(g * GROUP)
        for i in range(HALF):
            j, k = at + u8(i), at + u8(HALF) + u8(i)
            normals[j], normals[k] = box_muller(words[j], words[k])


@compiled
def _fill(out, seed, purpose, step):
    fill(out, key_of(seed, purpose, step), 0)


@compiled
def _to_normals(normals, words):
    to_normals(normals, words)


def _words(count: int, seed: int, purpose: int, step: int) -> np.ndarray:
    """Words of a stream; `count` is rounded up to whole groups."""
    words = np.empty(whole_groups(count), np.uint32)
    _fill(words, seed, purpose, step)
    return words


def whole_groups(count: int) -> int:
    """Size of the room for `count` numbers: streams are drawn in whole groups."""
    return -(-count // GROUP) * GROUP


def order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """The order in which an epoch goes through its samples."""
    return np.argsort(_words(samples, seed, ORDER, epoch)[:samples], kind="stable")


def kept(seed: int, layer: int, step: int, samples: int, units: int, dropout: float) -> np.ndarray:
    """Which units of hidden layer 0.. a step of dropout keeps, (samples, units)."""
    words = _words(samples * units, seed, MASK + layer, step)[: samples * units]
    return (words >= np.uint32(dropout * WORDS)).reshape(samples, units)


def input_kick(seed: int, step: int, samples: int, features: int) -> np.ndarray:
    """Standard normals (samples, features) for the noise on the input of one step."""
    words = _words(samples * features, seed, INPUT, step)
    normals = np.empty(words.size, np.float32)
    _to_normals(normals, words)
    return normals[: samples * features].reshape(samples, features)


@inner
def mix_labels(labels, words, share, classes):
    """Replace a share of the labels by random ones; there are two words for a label."""
    limit = u8(share * WORDS)
    for i in range(labels.size):
        if u8(words[2 * i]) < limit:
            labels[i] = (u8(words[2 * i + 1]) * u8(classes)) >> u8(32)


@compiled
def _mix(labels, words, share, classes):
    mix_labels(labels, words, share, classes)


def mixed_labels(
    labels: np.ndarray, seed: int, step: int, share: float, classes: int
) -> np.ndarray:
    """The labels of one step of training with label noise."""
    mixed = labels.copy()
    _mix(mixed, _words(2 * labels.size, seed, LABELS, step), share, classes)
    return mixed
