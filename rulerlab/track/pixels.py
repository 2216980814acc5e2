"""Compiled loops over pixels: patches of one colour, edges along rays, outlines of dots.

The picture is read between its pixels by linear interpolation; outside it, the border goes on.
All functions here are compiled on first use (a few seconds) and kept on disk for the next time.
"""

from __future__ import annotations

import numpy as np
from numba import njit

RAYS = 40
STEP = 0.5  # px between samples of a ray
_ANGLE = np.arange(RAYS) * 2 * np.pi / RAYS
_COS, _SIN = np.cos(_ANGLE), np.sin(_ANGLE)
_SHAPE = np.stack(  # radius of an edge = shift along the ray + r + an ellipse's second harmonic
    [_COS, _SIN, np.ones(RAYS), np.cos(2 * _ANGLE), np.sin(2 * _ANGLE)], -1
)
_PRIOR = np.array([1e-6, 1e-6, 1e-6, 0.02, 0.02, 0.1])  # weak: no ellipse, no second radius


def compiled(function):
    """The function as machine code; kept on disk wherever that can be written."""
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no writable place for the cache: compile in every run
        return njit(function, nogil=True, error_model="numpy")


@compiled
def _cell(plane, x, y):
    """Row and column of the pixel above and left of a place, and the shares beyond them."""
    height, width = plane.shape
    x = min(x, width - 1.0) if x > 0 else 0.0  # a NaN counts as 0
    y = min(y, height - 1.0) if y > 0 else 0.0
    column, row = min(int(x), width - 2), min(int(y), height - 2)
    return np.uint64(row), np.uint64(column), x - column, y - row


@compiled
def grey_at(plane, x, y):
    """Value of a plane at a place between its pixels; the border goes on outside."""
    row, column, fx, fy = _cell(plane, x, y)
    below, right = row + np.uint64(1), column + np.uint64(1)
    upper = plane[row, column] * (1 - fx) + plane[row, right] * fx
    lower = plane[below, column] * (1 - fx) + plane[below, right] * fx
    return upper * (1 - fy) + lower * fy


@compiled
def chroma_at(u, v, x, y, mix_u, mix_v):
    """Mix of the values of two planes at a place between their pixels."""
    row, column, fx, fy = _cell(u, x, y)
    below, right = row + np.uint64(1), column + np.uint64(1)
    upper = (mix_u * u[row, column] + mix_v * v[row, column]) * (1 - fx)
    upper += (mix_u * u[row, right] + mix_v * v[row, right]) * fx
    lower = (mix_u * u[below, column] + mix_v * v[below, column]) * (1 - fx)
    lower += (mix_u * u[below, right] + mix_v * v[below, right]) * fx
    return upper * (1 - fy) + lower * fy


@compiled
def nth_of(values, count, n):
    """The n-th smallest (from 0) of the first `count` values, which change places on the way."""
    low, high = 0, count - 1
    while low < high:
        pivot, i, j = values[(low + high) // 2], low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while pivot < values[j]:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i, j = i + 1, j - 1
        if n <= j:
            high = j
        elif n >= i:
            low = i
        else:
            break
    return values[n]


@compiled
def middle_of(values, count):
    """Median of the first `count` values, which change places on the way."""
    upper = nth_of(values, count, count // 2)
    return upper if count % 2 else 0.5 * (upper + nth_of(values, count, count // 2 - 1))


@compiled
def find_runs(near, u, v, chroma_u, chroma_v, reach):
    """Runs of pixels of one colour, (r, 3): row, first column, column after the last.

    `near` (h, w) is not 0 in a box around the colour, `reach` the radius of the circle in it that
    counts. A picture of which a fifth and more lies in the box has no runs.
    """
    width, limit = near.shape[1], reach * reach
    flat = near.reshape(-1)
    eights = flat[: flat.size // 8 * 8].view(np.uint64)  # most are 0 and skipped at once
    runs = np.empty((flat.size // 5 + 2, 3), np.int32)
    count, pixels, last = 0, 0, -2  # `last` pixel of the colour
    for eight in range(len(eights) + 1):
        if eight < len(eights) and eights[eight] == 0:
            continue
        for pixel in range(8 * eight, min(8 * eight + 8, flat.size)):
            if flat[pixel] == 0:
                continue
            row = pixel // width
            column = pixel - row * width
            pixels += 1
            du, dv = u[row, column] - chroma_u, v[row, column] - chroma_v
            if du * du + dv * dv >= limit:
                continue
            if pixel != last + 1 or column == 0:
                runs[count, 0], runs[count, 1] = row, column
                count += 1
            runs[count - 1, 2] = column + 1
            last = pixel
        if 5 * pixels > flat.size:
            return runs[:0]
    return runs[:count].copy()


@compiled
def join_runs(runs):
    """Which runs touch from row to row: patch of every run (r,), and the patches' sums (p, 7).

    A patch is (area, sum of x, sum of y, first column, first row, last column, last row);
    pixels that touch by a corner only are apart.
    """
    count = len(runs)
    parent = np.arange(count)
    above = 0
    for i in range(count):
        while above < i and runs[above, 0] < runs[i, 0] - 1:
            above += 1
        j = above
        while j < i and runs[j, 0] < runs[i, 0] and runs[j, 1] < runs[i, 2]:
            if runs[j, 2] > runs[i, 1]:
                a, b = i, j
                while parent[a] != a:
                    a = parent[a]
                while parent[b] != b:
                    b = parent[b]
                low, high = min(a, b), max(a, b)
                parent[high] = low
            j += 1
    label = np.empty(count, np.int64)
    patches = np.empty((count, 7))
    number = 0
    for i in range(count):
        row, begin, end = runs[i, 0], runs[i, 1], runs[i, 2]
        if parent[i] == i:
            label[i] = number
            patches[number] = 0
            patches[number, 3:5] = begin, row
            number += 1
        else:
            label[i] = label[parent[i]]  # parents come first
        patch = patches[label[i]]
        length = end - begin
        patch[0] += length
        patch[1] += length * (begin + end - 1) * 0.5
        patch[2] += length * row
        patch[3] = min(patch[3], begin)
        patch[5] = max(patch[5], end - 1)
        patch[6] = row
    return label, patches[:number]


FALL = 6  # steps to each side of the steepest place that belong to an edge


@compiled
def _steepest(slope, count, start, edge, weight, k):
    """Store the middle of the steepest fall along a ray, and how steep it is.

    The middle of the whole fall: a parabola through its steepest place locks to pixels.
    """
    peak = 0
    for s in range(1, count):
        if slope[s] > slope[peak]:
            peak = s
    inner = min(max(peak, 1), count - 2)
    at, fall, moment = slope[inner], 0.0, 0.0
    for s in range(max(inner - FALL, 0), min(inner + FALL + 1, count)):
        part = max(slope[s], 0.0)
        fall += part
        moment += part * s
    edge[k] = start + STEP * moment / max(fall, 1e-9)
    weight[k] = min(at, 0.5) if peak == inner and at > 0.12 else 0.0


@compiled
def colour_edges(luma, u, v, siting, weights, centre, radius, reach):
    """Edges along rays from n dots outwards, where the colour of the dot falls off most.

    `weights` (n, 3) mix Y, U, V to 1 more in a dot than beside it; `siting` (x, y) is the place of
    the first chroma sample, in luma pixels; rays are searched from radius - reach to
    radius + reach. Returns the radius of the edges (n, 1, RAYS), px, and their weight (0 where
    there is none).
    """
    count, samples = len(centre), int(2 * reach / STEP + 1.5)
    edge, weight = np.empty((count, 1, RAYS)), np.empty((count, 1, RAYS))
    dotness, slope = np.empty(samples), np.empty(samples)
    for i in range(count):
        mix_y, mix_u, mix_v = weights[i, 0], weights[i, 1], weights[i, 2]
        middle_x, middle_y = centre[i, 0], centre[i, 1]
        start = radius[i] - reach
        for k in range(RAYS):
            right, down = _COS[k], _SIN[k]
            for s in range(samples):
                along = max(start + STEP * s, 0.3)
                x, y = middle_x + along * right, middle_y + along * down
                chroma = chroma_at(u, v, 0.5 * (x - siting[0]), 0.5 * (y - siting[1]), mix_u, mix_v)
                dotness[s] = mix_y * grey_at(luma, x, y) + chroma
            for s in range(samples - 2):
                slope[s] = dotness[s] - dotness[s + 2]
            _steepest(slope, samples - 2, start + STEP, edge[i, 0], weight[i, 0], k)
    return edge, weight


@compiled
def luma_edges(luma, centre, radius, reach):
    """Edges as in `colour_edges`, of luma alone, in the direction most of the outline has."""
    count, samples = len(centre), int(2 * reach / STEP + 1.5)
    edge, weight = np.empty((count, 1, RAYS)), np.empty((count, 1, RAYS))
    slope, rise = np.empty((RAYS, samples - 2)), np.empty(RAYS)
    grey = np.empty(samples)
    half = (samples - 2) // 2
    for i in range(count):
        for k in range(RAYS):
            right, down = _COS[k], _SIN[k]
            for s in range(samples):
                along = max(radius[i] - reach + STEP * s, 0.3)
                grey[s] = grey_at(luma, centre[i, 0] + along * right, centre[i, 1] + along * down)
                if s >= 2:
                    slope[k, s - 2] = (grey[s] - grey[s - 2]) / 80
            rise[k] = slope[k, half - 1] + slope[k, half] + slope[k, half + 1]
        sign = -1.0 if middle_of(rise, RAYS) < 0 else 1.0
        for k in range(RAYS):
            for s in range(samples - 2):
                slope[k, s] *= sign
            _steepest(slope[k], samples - 2, radius[i] - reach + STEP, edge[i, 0], weight[i, 0], k)
    return edge, weight


@compiled
def _normal_equations(first, second, first_edge, second_edge, normal, right):
    """Fill normal matrix (upper triangle) and right side from the weights of both sets of edges."""
    for a in range(6):
        right[a] = 0.0
        for b in range(a, 6):
            normal[a, b] = 0.0
        normal[a, a] = _PRIOR[a]
    for r in range(RAYS):
        both = first[r] + second[r]
        pulled = first[r] * first_edge[r] + second[r] * second_edge[r]
        for a in range(5):
            part = both * _SHAPE[r, a]
            for b in range(a, 5):
                normal[a, b] += part * _SHAPE[r, b]
            normal[a, 5] += second[r] * _SHAPE[r, a]
            right[a] += pulled * _SHAPE[r, a]
        normal[5, 5] += second[r]
        right[5] += second[r] * second_edge[r]


@compiled
def _solve(normal, matrix, right):
    """Solve a symmetric positive system from its upper triangle; `right` becomes the answer."""
    for a in range(6):
        for b in range(a, 6):
            matrix[a, b] = normal[a, b]
    for a in range(6):
        for b in range(a + 1, 6):
            share = matrix[a, b] / matrix[a, a]
            right[b] -= share * right[a]
            for c in range(b, 6):
                matrix[b, c] -= share * matrix[a, c]
    for a in range(5, -1, -1):
        for b in range(a + 1, 6):
            right[a] -= matrix[a, b] * right[b]
        right[a] /= matrix[a, a]


@compiled
def fit_outlines(edge, weight):
    """Robust outline (Tukey's weights) of n dots from one or two sets of edges (n, s, RAYS), px.

    Returns the parameters (n, 6): shift x, y, radius, two of an ellipse, larger radius of the
    second set; the covariance of the shift (n, 2, 2); the share of the first outline that is seen.
    """
    count, sets = edge.shape[0], edge.shape[1]
    parameters, covariance = np.zeros((count, 6)), np.empty((count, 2, 2))
    clear = np.empty(count)
    normal, matrix, right = np.empty((6, 6)), np.empty((6, 6)), np.empty(6)
    keep, residual = np.zeros((2, RAYS)), np.empty((2, RAYS))
    spread = np.empty(2 * RAYS)
    for i in range(count):
        keep[:sets] = weight[i]
        second = edge[i, sets - 1]  # of no weight when there is one set
        for _ in range(5):
            _normal_equations(keep[0], keep[1], edge[i, 0], second, normal, right)
            _solve(normal, matrix, right)
            seen = 0
            for r in range(RAYS):
                fitted = 0.0
                for a in range(5):
                    fitted += right[a] * _SHAPE[r, a]
                for s in range(sets):
                    residual[s, r] = edge[i, s, r] - fitted - s * right[5]
                    if weight[i, s, r] > 0:
                        spread[seen] = abs(residual[s, r])
                        seen += 1
            sigma = 1.0
            if seen:
                sigma = min(max(1.48 * nth_of(spread, seen, (seen - 1) // 2), 0.06), 1.0)
            for s in range(sets):
                for r in range(RAYS):
                    t = residual[s, r] / (3.5 * sigma)
                    keep[s, r] = weight[i, s, r] * (1 - t * t) ** 2 if abs(t) < 1 else 0.0
        parameters[i] = right
        chi2, used = 0.0, 0
        for s in range(sets):
            for r in range(RAYS):
                chi2 += keep[s, r] * residual[s, r] ** 2
                used += keep[s, r] > 0
        clear[i] = (keep[0] > 0).mean()
        _normal_equations(keep[0], keep[1], edge[i, 0], second, normal, right)
        for a in range(2):
            right[:] = 0
            right[a] = 1
            _solve(normal, matrix, right)
            covariance[i, a] = right[:2] * chi2 / max(used, 1)
    return parameters, covariance, clear


@compiled
def change_between(before, after):
    """Mean absolute difference of two pictures, grey levels."""
    total = 0
    for row in range(before.shape[0]):
        for column in range(before.shape[1]):
            total += abs(np.int32(after[row, column]) - np.int32(before[row, column]))
    return total / before.size


@compiled
def shares_of_change(before, here, after, least):
    """Share of the change already made `here`, of the pixels that change by more than `least`."""
    share = np.empty(before.size)
    count = 0
    for row in range(before.shape[0]):
        for column in range(before.shape[1]):
            change = np.int32(after[row, column]) - np.int32(before[row, column])
            if abs(change) > least:
                share[count] = (np.int32(here[row, column]) - before[row, column]) / change
                count += 1
    return share[:count].copy()
