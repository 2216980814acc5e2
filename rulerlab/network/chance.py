"""The chance of a training run: every number is a function of seed, purpose, step and place.

So the same network draws the same dropout masks, noise and batches whichever way it is trained
and whatever is trained beside it. Words come from Threefry-2x32 with 13 rounds (Salmon et al.
2011), a block cipher of the counter (place, row), under a key made of seed, purpose and step.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from rulerlab.chain.kernels import box_muller, compiled, inner, u4, u8

ORDER, LABELS, INPUT, MASK = range(4)  # purposes; MASK + l is the dropout after hidden layer l
WORDS = 2.0**32
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
def draw_words(out, key, row):
    """Fill out (2 h,) with random words of one row: places i and i + h share a counter."""
    half = out.size // 2
    k, m = key
    for i in range(half):
        out[i], out[half + i] = threefry(u4(i), u4(row), k, m)


@inner
def draw_normals(out, key, row):
    """The same with standard normals."""
    half = out.size // 2
    k, m = key
    for i in range(half):
        first, second = threefry(u4(i), u4(row), k, m)
        out[i], out[half + i] = box_muller(first, second)


@compiled
def _words(out, seed, purpose, step):
    for row in range(len(out)):
        draw_words(out[row], key_of(seed, purpose, step), row)


@compiled
def _normals(out, seed, purpose, step):
    for row in range(len(out)):
        draw_normals(out[row], key_of(seed, purpose, step), row)


def _table(rows: int, samples: int, kind: type) -> np.ndarray:
    return np.empty((rows, samples + samples % 2), kind)


def order(seed: int, epoch: int, samples: int) -> np.ndarray:
    """The order in which an epoch goes through its samples."""
    words = _table(1, samples, np.uint32)
    _words(words, seed, ORDER, epoch)
    return np.argsort(words[0, :samples], kind="stable")


def kept(seed: int, layer: int, step: int, units: int, samples: int, dropout: float) -> np.ndarray:
    """Which units (units, samples) of hidden layer 0.. a step of dropout keeps."""
    words = _table(units, samples, np.uint32)
    _words(words, seed, MASK + layer, step)
    return words[:, :samples] >= np.uint32(dropout * WORDS)


def input_kick(seed: int, step: int, features: int, samples: int) -> np.ndarray:
    """Standard normals (features, samples) for the noise on the input of one step."""
    normals = _table(features, samples, np.float32)
    _normals(normals, seed, INPUT, step)
    return normals[:, :samples]


@inner
def mix_labels(labels, words, share, classes):
    """Replace a share of the labels by random ones; words are twice as long as labels."""
    limit = u8(share * WORDS)
    for i in range(labels.size):
        if u8(words[i]) < limit:
            labels[i] = (u8(words[labels.size + i]) * u8(classes)) >> u8(32)


@compiled
def mixed_labels(labels, seed, step, share, classes):
    """The labels of one step of training with label noise."""
    mixed, words = labels.copy(), np.empty(2 * labels.size, np.uint32)
    draw_words(words, key_of(seed, LABELS, step), 0)
    mix_labels(mixed, words, share, classes)
    return mixed
