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
_SHAPE = np.tile(  # radius of an edge = shift along the ray + r + an ellipse's second harmonic
    np.stack([_COS, _SIN, np.ones(RAYS), np.cos(2 * _ANGLE), np.sin(2 * _ANGLE)], -1), (2, 1)
)
_SHAPE = np.c_[_SHAPE, np.repeat([0.0, 1.0], RAYS)]  # two sets of edges: one shape, two radii


def compiled(function):
    """The function as machine code; kept on disk wherever that can be written."""
    try:
        return njit(function, nogil=True, error_model="numpy", cache=True)
    except RuntimeError:  # no writable place for the cache: compile in every run
        return njit(function, nogil=True, error_model="numpy")


@compiled
def grey_at(plane, x, y):
    """Value of a plane at a place between its pixels; the border goes on outside."""
    height, width = plane.shape
    x = min(x, width - 1.0) if x > 0 else 0.0  # a NaN counts as 0
    y = min(y, height - 1.0) if y > 0 else 0.0
    column, row = min(int(x), width - 2), min(int(y), height - 2)
    fx, fy = x - column, y - row
    upper = plane[row, column] * (1 - fx) + plane[row, column + 1] * fx
    lower = plane[row + 1, column] * (1 - fx) + plane[row + 1, column + 1] * fx
    return upper * (1 - fy) + lower * fy


@compiled
def middle_of(values, count):
    """Median of the first `count` values, which are put in order on the way."""
    for i in range(1, count):
        value, j = values[i], i - 1
        while j >= 0 and values[j] > value:
            values[j + 1] = values[j]
            j -= 1
        values[j + 1] = value
    half = count // 2
    return values[half] if count % 2 else 0.5 * (values[half - 1] + values[half])


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


@compiled
def _steepest(slope, count, start, edge, weight, i, k):
    """Store where the slope along a ray is steepest, to a part of a step, and how steep."""
    peak = 0
    for s in range(1, count):
        if slope[s] > slope[peak]:
            peak = s
    inner = min(max(peak, 1), count - 2)
    before, at, after = slope[inner - 1], slope[inner], slope[inner + 1]
    bend = before - 2 * at + after
    shift = 0.5 * (before - after) / bend if bend < 0 else 0.0
    edge[i, k] = start + STEP * (inner + min(max(shift, -0.5), 0.5))
    weight[i, k] = min(at, 0.5) if peak == inner and at > 0.12 else 0.0


@compiled
def colour_edges(luma, u, v, siting, weights, centre, radius, reach):
    """Edges along rays from n dots outwards, where the colour of the dot falls off most.

    `weights` (n, 3) mix Y, U, V to 1 more in a dot than beside it; `siting` (x, y) is the place
    of the first chroma sample, in luma pixels; rays are searched from radius - reach to
    radius + reach.
    Returns the radius of the edges (n, RAYS), px, and their weight (0 where there is none).
    """
    count, samples = len(centre), int(2 * reach / STEP + 1.5)
    edge, weight = np.empty((count, RAYS)), np.empty((count, RAYS))
    dotness, slope = np.empty(samples), np.empty(samples)
    for i in range(count):
        for k in range(RAYS):
            right, down = _COS[k], _SIN[k]
            for s in range(samples):
                along = max(radius[i] - reach + STEP * s, 0.3)
                x, y = centre[i, 0] + along * right, centre[i, 1] + along * down
                cx, cy = (x - siting[0]) / 2, (y - siting[1]) / 2
                dotness[s] = (
                    weights[i, 0] * grey_at(luma, x, y)
                    + weights[i, 1] * grey_at(u, cx, cy)
                    + weights[i, 2] * grey_at(v, cx, cy)
                )
                if s >= 2:
                    slope[s - 2] = dotness[s - 2] - dotness[s]
            _steepest(slope, samples - 2, radius[i] - reach + STEP, edge, weight, i, k)
    return edge, weight


@compiled
def luma_edges(luma, centre, radius, reach):
    """Edges as in `colour_edges`, of luma alone, in the direction most of the outline has."""
    count, samples = len(centre), int(2 * reach / STEP + 1.5)
    edge, weight = np.empty((count, RAYS)), np.empty((count, RAYS))
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
            _steepest(slope[k], samples - 2, radius[i] - reach + STEP, edge, weight, i, k)
    return edge, weight


@compiled
def _normal_equations(keep, edge, normal, right):
    """Fill normal matrix (upper triangle, with a weak prior of no ellipse) and right side."""
    size = len(right)
    normal[:], right[:] = 0, 0
    for a in range(size):
        normal[a, a] = 1e-6 if a < 3 else (0.02 if a < 5 else 0.1)
    for r in range(len(keep)):
        if keep[r] > 0:
            for a in range(size):
                part = keep[r] * _SHAPE[r, a]
                right[a] += part * edge[r]
                for b in range(a, size):
                    normal[a, b] += part * _SHAPE[r, b]


@compiled
def _solve(normal, right):
    """Solve a symmetric positive system from its upper triangle; `right` becomes the answer."""
    size = len(right)
    matrix = normal.copy()
    for a in range(size):
        for b in range(a + 1, size):
            share = matrix[a, b] / matrix[a, a]
            right[b] -= share * right[a]
            for c in range(b, size):
                matrix[b, c] -= share * matrix[a, c]
    for a in range(size - 1, -1, -1):
        for b in range(a + 1, size):
            right[a] -= matrix[a, b] * right[b]
        right[a] /= matrix[a, a]


@compiled
def fit_outlines(edge, weight):
    """Robust outline (Tukey's weights) of n dots from their edges (n, RAYS or 2 RAYS), px.

    Returns the parameters (n, 6): shift x, y, radius, two of an ellipse, difference of the second
    set of edges; the covariance of the shift (n, 2, 2); the share of the outline that is seen.
    """
    count, rays = edge.shape
    size = 5 if rays == RAYS else 6
    parameters, covariance = np.zeros((count, 6)), np.empty((count, 2, 2))
    clear = np.empty(count)
    normal, right = np.empty((size, size)), np.empty(size)
    keep, residual, spread = np.empty(rays), np.empty(rays), np.empty(rays)
    for i in range(count):
        keep[:] = weight[i]
        for _ in range(5):
            _normal_equations(keep, edge[i], normal, right)
            _solve(normal, right)
            seen = 0
            for r in range(rays):
                fitted = 0.0
                for a in range(size):
                    fitted += right[a] * _SHAPE[r, a]
                residual[r] = edge[i, r] - fitted
                if weight[i, r] > 0:
                    spread[seen] = abs(residual[r])
                    seen += 1
            sigma = 1.0
            if seen:
                middle_of(spread, seen)
                sigma = min(max(1.48 * spread[(seen - 1) // 2], 0.06), 1.0)
            for r in range(rays):
                t = residual[r] / (3.5 * sigma)
                keep[r] = weight[i, r] * (1 - t * t) ** 2 if abs(t) < 1 else 0.0
        parameters[i, :size] = right
        chi2, used, outline = 0.0, 0, 0
        for r in range(rays):
            if keep[r] > 0:
                chi2 += keep[r] * residual[r] ** 2
                used += 1
                outline += r < RAYS
        _normal_equations(keep, edge[i], normal, right)
        for a in range(2):
            right[:] = 0
            right[a] = 1
            _solve(normal, right)
            covariance[i, a] = right[:2] * chi2 / max(used, 1)
        clear[i] = outline / RAYS
    return parameters, covariance, clear
