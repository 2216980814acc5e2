"""How the covariance of an overdamped chain passes through a stretch of time.

The linearised law is dx/dt = J x with J = -diag(slope) K, K the (tridiagonal) stiffness matrix and
slope that of the speed against force. Kicks come at intervals, so a stretch of time multiplies a
shift of the blocks by (1 + kick J)^(time/kick) = 1 + diag(slope) pull; `pull` is symmetric.
"""

from __future__ import annotations

import math

from rulerlab.chain.kernels import inner

FINE = 1.0  # largest decay of a shift in one piece of the time that is doubled


@inner
def fastest(stiff, slope, size):
    """Bound of the fastest decay of a shift of `size` blocks in a row (Gershgorin)."""
    most = 0.0
    for row in range(size):
        reach = stiff[row] + stiff[row + 1]
        reach += (stiff[row] if row else 0.0) + (stiff[row + 1] if row + 1 < size else 0.0)
        most = max(most, reach * slope[row])
    return most


@inner
def filled(size):
    """Columns of a matrix whose rows are filled up to fours: loops over them are fastest."""
    return -(-size // 4) * 4


@inner
def _product(out, left, right, size, columns):
    """out = left right for `size` rows, of what may be parts of larger matrices."""
    for row in range(size):
        for column in range(columns):
            out[row, column] = 0.0
        for k in range(size):
            factor = left[row, k]
            for column in range(columns):
                out[row, column] += factor * right[k, column]


@inner
def _scaled(out, matrix, factor, size):
    """out = matrix diag(factor)."""
    for row in range(size):
        for column in range(size):
            out[row, column] = matrix[row, column] * factor[column]


@inner
def _carried(out, spread, pull, slope, pulled, size):
    """out = A spread A^T for A = 1 + diag(slope) pull, from pulled = pull spread."""
    _product(out, pulled, pull, size, filled(size))
    for row in range(size):
        for column in range(size):
            out[row, column] = (
                spread[row, column] + slope[row] * pulled[row, column]
                + pulled[column, row] * slope[column]
                + slope[row] * slope[column] * out[row, column]
            )  # fmt: skip


@inner
def _powers(power, slope, stiff, size):
    """W_1..W_4 of J^m = diag(slope) W_m, (4, size, columns), of the linearised law J = -diag(slope)
    K, K the stiffness matrix."""
    for row in range(size):
        for column in range(power.shape[2]):
            power[0, row, column] = 0.0
        power[0, row, row] = -stiff[row] - stiff[row + 1]
        if row:
            power[0, row, row - 1] = stiff[row]
        if row + 1 < size:
            power[0, row, row + 1] = stiff[row + 1]
    for order in range(1, 4):
        for row in range(size):
            above, below = max(row - 1, 0), min(row + 1, size - 1)
            here = -(stiff[row] + stiff[row + 1]) * slope[row]
            left = stiff[row] * slope[above] if row else 0.0
            right = stiff[row + 1] * slope[below] if row + 1 < size else 0.0
            for column in range(power.shape[2]):
                power[order, row, column] = (
                    left * power[order - 1, above, column] + here * power[order - 1, row, column]
                    + right * power[order - 1, below, column]
                )  # fmt: skip


@inner
def _steps(out, power, time, kick, size):
    """(1 + kick J)^(time/kick) = 1 + diag(slope) out: what `time` of kicks does to a small shift.

    Binomial series to fourth order; that of the exponential where kicks are short.
    """
    first = time
    second = first * (time - kick) / 2
    third = second * (time - 2 * kick) / 3
    fourth = third * (time - 3 * kick) / 4
    for row in range(size):
        for column in range(out.shape[1]):
            out[row, column] = (
                first * power[0, row, column] + second * power[1, row, column]
                + third * power[2, row, column] + fourth * power[3, row, column]
            )  # fmt: skip


@inner
def _passage(pull, gained, slope, source, stiff, size, time, kick, scratch):
    """What a stretch of time does to `size` blocks in a row: a shift x becomes x + diag(slope) pull
    x, and `gained` is the covariance of what kicks add, `source` on each block in unit time.

    Kicks of a short piece of the time count at two moments (Gauss-Legendre), half a kick later
    than they come as none is damped by the step it makes; pieces are doubled to fill the time.
    """
    one, two, three, power = scratch[0], scratch[1], scratch[2], scratch[3:]
    decay, pieces = fastest(stiff, slope, size) * time, 0
    while decay > FINE * 2.0**pieces:
        pieces += 1
    piece = time / 2.0**pieces
    _powers(power, slope, stiff, size)
    for row in range(size):
        for column in range(size):
            gained[row, column] = 0.0
            three[row, column] = 0.0
        three[row, row] = 0.5 * piece * source[row]
    for side in range(2):
        later = 0.5 * piece * (1 + (2 * side - 1) / math.sqrt(3.0)) - 0.5 * kick
        _steps(pull, power, later, kick, size)
        for row in range(size):
            for column in range(size):
                one[row, column] = pull[row, column] * three[column, column]
        _carried(two, three, pull, slope, one, size)
        for row in range(size):
            for column in range(size):
                gained[row, column] += two[row, column]
    _steps(pull, power, piece, kick, size)
    for _ in range(pieces):
        _product(one, pull, gained, size, filled(size))
        _carried(two, gained, pull, slope, one, size)
        _scaled(one, pull, slope, size)
        _product(three, one, pull, size, filled(size))
        for row in range(size):
            for column in range(size):
                gained[row, column] += two[row, column]
                pull[row, column] = 2 * pull[row, column] + three[row, column]


@inner
def _carry(known, lean, pull, gained, slope, first, turned, scratch):
    """Let the covariance of places and effects follow the blocks `first`, `first` + 1, ... of
    `_passage`, which go back to where the effects on the ends put them."""
    size, one, two = len(slope), scratch[0], scratch[1]
    every, (ends, blocks) = known.shape[1], lean.shape
    for row in range(size):
        for column in range(every):
            turned[row, column] = known[first + row, column]
        for end in range(ends):
            share = lean[end, first + row]
            for column in range(every):
                turned[row, column] -= share * known[2 * blocks + end, column]
    moved = known[first : first + size]
    _product(turned[blocks:], pull, turned, size, every)
    for row in range(size):
        for column in range(every):
            moved[row, column] += slope[row] * turned[blocks + row, column]
    for row in range(size):
        for column in range(size):
            one[row, column] = moved[row, first + column]
            for end in range(ends):
                one[row, column] -= lean[end, first + column] * moved[row, 2 * blocks + end]
    _product(two, one, pull, size, filled(size))
    for row in range(size):
        for column in range(row + 1):
            moved[row, first + column] += two[row, column] * slope[column] + gained[row, column]
            moved[column, first + row] = moved[row, first + column]
    for column in range(len(known)):
        if not first <= column < first + size:
            for row in range(size):
                known[column, first + row] = moved[row, column]


@inner
def pass_on(known, lean, toward, hand, slope, source, stiff, time, kick, turned, matrices):
    """Let a stretch of time pass for the covariance of places and effects, (2 n + S, filled).

    `slope` (of the speed against force) and `source` (variance that kicks add in unit time) are
    means over the time, 0 for a block that sticks; the place of a block moves with the hand by
    `toward`, with each effect on the ends by `lean` (S, n), when it yields; `hand` is the variance
    of the error of the hand. `turned` and `matrices` are room to work in.
    """
    blocks = len(slope)
    first, last = blocks, 0  # blocks that yield, with the neighbours that hold them
    for block in range(blocks):
        if slope[block] > 0:
            first, last = min(first, max(block - 1, 0)), min(block + 2, blocks)
    if first >= last:
        return
    size, slope, source = last - first, slope[first:last], source[first:last]
    pull, gained, rest = matrices[0], matrices[1], matrices[2:]
    _passage(pull, gained, slope, source, stiff[first : last + 1], size, time, kick, rest)
    driven = rest[0, 0]
    for row in range(size):
        driven[row] = 0.0
        for column in range(size):
            driven[row] += slope[row] * pull[row, column] * toward[first + column]
    for row in range(size):
        for column in range(size):
            gained[row, column] += hand * driven[row] * driven[column]
    _carry(known, lean, pull, gained, slope, first, turned, rest)
