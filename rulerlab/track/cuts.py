"""Compiled loops over cuts across straight edges: the bars of crosses, the sides of tags.

Like `pixels`, compiled on first use and kept on disk.
"""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import compiled, grey_at, middle_of

ARM_CUTS = 16  # cuts across both arms of a bar of a cross
_ARM = np.linspace(0.3, 0.85, ARM_CUTS // 2)
_PLACE = np.concatenate([-_ARM[::-1], _ARM])  # of a cut, in arm lengths
_WIDE = np.arange(-6.0, 6.01, 0.5)  # px, a cut across a bar of a cross of the usual size
USUAL_ARM = 24.0  # px; the bars of larger crosses are wider, too
SIDE_CUTS = 24  # cuts across a side of a tag
_SHARE = np.linspace(0.1, 0.9, SIDE_CUTS)
RISE = 4  # half pixels to each side of the steepest place that belong to an edge
_NARROW = np.arange(-3.5, 3.51, 0.5)  # px, a cut across a side; positive is outwards


@compiled
def cut_bar(luma, centre, bar, offset, good):
    """Centre of the ink in cuts across a bar (its half-vector), px from where it was expected."""
    length = np.hypot(bar[0], bar[1])
    wider = max(1.0, length / USUAL_ARM)
    right, down = -wider * bar[1] / length, wider * bar[0] / length
    grey = np.empty(len(_WIDE))
    for k in range(ARM_CUTS):
        for s in range(len(_WIDE)):
            grey[s] = grey_at(luma, centre[0] + _PLACE[k] * bar[0] + _WIDE[s] * right,
                              centre[1] + _PLACE[k] * bar[1] + _WIDE[s] * down)
        left_paper, right_paper = grey[:4].mean(), grey[-4:].mean()
        dark = -np.inf
        for s in range(len(_WIDE)):
            share = s / (len(_WIDE) - 1)
            grey[s] = left_paper * (1 - share) + right_paper * share - grey[s]
            dark = max(dark, grey[s])
        total, moment = 0.0, 0.0
        for s in range(len(_WIDE)):
            ink = max(grey[s] - 0.15 * dark, 0.0)
            total += ink
            moment += ink * _WIDE[s]
        offset[k] = wider * moment / max(total, 1e-9)
        even = abs(left_paper - right_paper) < 0.6 * dark
        good[k] = dark > 18 and abs(offset[k]) < 4.5 * wider and even


@compiled
def fit_bar(offset, good):
    """Robust line through the cuts of a bar: offset, slope per arm length, variance; NaN: none."""
    keep, spread = good.copy(), np.empty(ARM_CUTS)
    if keep.sum() < 8:
        return np.nan, np.nan, np.nan
    middle, slope, scale = 0.0, 0.0, 0.0
    for _ in range(3):
        middle, slope = _line(_PLACE, offset, keep)
        used = 0
        for k in range(ARM_CUTS):
            if keep[k]:
                spread[used] = abs(offset[k] - middle - slope * _PLACE[k])
                used += 1
        scale = max(1.48 * middle_of(spread, used), 0.03)
        for k in range(ARM_CUTS):
            keep[k] = good[k] and abs(offset[k] - middle - slope * _PLACE[k]) < 3.5 * scale
        if keep.sum() < 6:
            return np.nan, np.nan, np.nan
    return middle, slope, scale**2 / keep.sum()


@compiled
def _line(place, value, weight):
    """Offset and slope of the weighted least-squares line."""
    s0, s1, s2, t0, t1 = 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(len(place)):
        s0 += weight[k]
        s1 += weight[k] * place[k]
        s2 += weight[k] * place[k] ** 2
        t0 += weight[k] * value[k]
        t1 += weight[k] * value[k] * place[k]
    det = s0 * s2 - s1 * s1
    if det <= 1e-9:
        return np.nan, np.nan
    return (s2 * t0 - s1 * t1) / det, (s0 * t1 - s1 * t0) / det


@compiled
def cross_centres(luma, crosses):
    """Centres (n, 2) and covariances (n, 2, 2) of rough crosses (n, 6); NaN where not seen.

    A cross is its centre and the half-vectors of its two bars, px.
    """
    count = len(crosses)
    centre, covariance = crosses[:, :2].copy(), np.full((count, 2, 2), np.nan)
    offset, good = np.empty(ARM_CUTS), np.empty(ARM_CUTS, np.bool_)
    left, shift, variance = np.empty((2, 2)), np.empty(2), np.empty(2)
    for i in range(count):
        for _ in range(2):
            for b in range(2):
                bar = crosses[i, 2 + 2 * b : 4 + 2 * b]
                length = np.hypot(bar[0], bar[1])
                cut_bar(luma, centre[i], bar, offset, good)
                shift[b], slope, variance[b] = fit_bar(offset, good)
                # the point c + d with across . d = offset + slope * (along . d) / length
                left[b, 0] = -bar[1] / length - slope / length * bar[0] / length
                left[b, 1] = bar[0] / length - slope / length * bar[1] / length
            det = left[0, 0] * left[1, 1] - left[0, 1] * left[1, 0]
            if not abs(det) > 1e-9:
                centre[i] = np.nan
                break
            inverse = np.array([[left[1, 1], -left[0, 1]], [-left[1, 0], left[0, 0]]]) / det
            for a in range(2):
                centre[i, a] += inverse[a, 0] * shift[0] + inverse[a, 1] * shift[1]
                for b in range(2):
                    covariance[i, a, b] = (inverse[a, 0] * inverse[b, 0] * variance[0]
                                           + inverse[a, 1] * inverse[b, 1] * variance[1])
        if not np.isfinite(centre[i, 0]):
            covariance[i] = np.nan
    return centre, covariance


@compiled
def cut_side(luma, start, end, edge, strength):
    """Where luma rises most from inside to outside in cuts across a side, px; and how much."""
    along_x, along_y = end[0] - start[0], end[1] - start[1]
    length = max(np.hypot(along_x, along_y), 1e-9)
    right, down = along_y / length, -along_x / length  # corners run clockwise on the screen
    steps = len(_NARROW) - 2
    grey, slope = np.empty(len(_NARROW)), np.empty(steps)
    for k in range(SIDE_CUTS):
        x, y = start[0] + _SHARE[k] * along_x, start[1] + _SHARE[k] * along_y
        peak = 0
        for s in range(len(_NARROW)):
            grey[s] = grey_at(luma, x + _NARROW[s] * right, y + _NARROW[s] * down)
            if s >= 2:
                slope[s - 2] = grey[s] - grey[s - 2]
                if slope[s - 2] > slope[peak]:
                    peak = s - 2
        inner = min(max(peak, 1), steps - 2)
        rise, moment = 0.0, 0.0  # the middle of the whole rise: a parabola would lock to pixels
        for s in range(max(inner - RISE, 0), min(inner + RISE + 1, steps)):
            weight = max(slope[s], 0.0)
            rise += weight
            moment += weight * s
        edge[k] = _NARROW[1] + 0.5 * moment / max(rise, 1e-9)
        strength[k] = slope[inner] if peak == inner else 0.0


@compiled
def fit_side(edge, strength):
    """Robust line through the edges of a side: offset at its middle, slope per side, variance.

    Tukey's weights; the variance is NaN when less than a third of the side is seen.
    """
    spread = strength.copy()
    least = max(0.35 * middle_of(spread, SIDE_CUTS), 8.0)
    strong = np.where(strength > least, 1.0, 0.0)
    keep, place = strong.copy(), _SHARE - 0.5
    offset, tilt = 0.0, 0.0
    residual = np.empty(SIDE_CUTS)
    for _ in range(4):
        offset, tilt = _line(place, edge, keep)
        if not np.isfinite(offset):
            return np.nan, np.nan, np.nan
        for k in range(SIDE_CUTS):
            residual[k] = edge[k] - offset - tilt * place[k]
            spread[k] = abs(residual[k])
        scale = min(max(1.48 * middle_of(spread, SIDE_CUTS), 0.05), 1.0)
        for k in range(SIDE_CUTS):
            t = residual[k] / (3.5 * scale)
            keep[k] = strong[k] * (1 - t * t) ** 2 if abs(t) < 1 else 0.0
    used, misfit = 0.0, 0.0
    for k in range(SIDE_CUTS):
        used += keep[k]
        misfit += keep[k] * residual[k] ** 2
    if used <= SIDE_CUTS / 3:
        return offset, tilt, np.nan
    return offset, tilt, max(misfit / used / used, 1e-5)


@compiled
def fit_sides(luma, corner):
    """One round over n tags: cut across every side, fit four lines, meet them in new corners.

    Corners (n, 4, 2) run clockwise on the screen. Returns them with the variances of the lines
    (n, 4), NaN where a side is not seen.
    """
    count = len(corner)
    new, variance = np.empty((count, 4, 2)), np.empty((count, 4))
    edge, strength = np.empty(SIDE_CUTS), np.empty(SIDE_CUTS)
    lines = np.empty((4, 4))  # a point of the line, its direction
    for i in range(count):
        for side in range(4):
            start, end = corner[i, side], corner[i, (side + 1) % 4]
            cut_side(luma, start, end, edge, strength)
            offset, tilt, variance[i, side] = fit_side(edge, strength)
            along_x, along_y = end[0] - start[0], end[1] - start[1]
            length = max(np.hypot(along_x, along_y), 1e-9)
            right, down = along_y / length, -along_x / length
            lines[side, 0] = start[0] + 0.5 * along_x + offset * right
            lines[side, 1] = start[1] + 0.5 * along_y + offset * down
            lines[side, 2], lines[side, 3] = along_x + tilt * right, along_y + tilt * down
        for side in range(4):
            here, before = lines[side], lines[side - 1]
            cross = before[2] * here[3] - before[3] * here[2]
            if not abs(cross) > 1e-9:
                new[i, side] = np.nan
                continue
            go = ((here[0] - before[0]) * here[3] - (here[1] - before[1]) * here[2]) / cross
            new[i, side, 0] = before[0] + go * before[2]
            new[i, side, 1] = before[1] + go * before[3]
    return new, variance


@compiled
def fit_tags(luma, guess):
    """Corners (n, 4, 2) from two rounds of `fit_sides`, where their diagonals meet (n, 2), and
    the variance (n,) of that centre; NaN for a tag that is not seen within 8 px of its guess.
    """
    corner, _ = fit_sides(luma, guess)
    corner, variances = fit_sides(luma, corner)
    count = len(corner)
    centre, variance = np.empty((count, 2)), np.empty(count)
    for i in range(count):
        a, b, c, d = corner[i, 0], corner[i, 1], corner[i, 2], corner[i, 3]
        cross = (c[0] - a[0]) * (d[1] - b[1]) - (c[1] - a[1]) * (d[0] - b[0])
        along = ((b[0] - a[0]) * (d[1] - b[1]) - (b[1] - a[1]) * (d[0] - b[0])) / cross
        centre[i, 0] = a[0] + along * (c[0] - a[0])
        centre[i, 1] = a[1] + along * (c[1] - a[1])
        variance[i] = variances[i].mean() / 2
        good = abs(cross) > 1e-9
        for k in range(4):
            for axis in range(2):
                good = good and abs(corner[i, k, axis] - guess[i, k, axis]) < 8
        if not good:
            variance[i] = np.nan
    return corner, centre, variance


@compiled
def reads_as(luma, corner, pattern):
    """Whether the modules of a tag (4, 2) are black and white as its pattern (m, m) says."""
    modules = len(pattern)
    a, b, c, d = corner[0], corner[1], corner[2], corner[3]
    # perspective of the unit square, Heckbert 1989, "Fundamentals of Texture Mapping"
    skew_x, skew_y = a[0] - b[0] + c[0] - d[0], a[1] - b[1] + c[1] - d[1]
    bx, by, dx, dy = b[0] - c[0], b[1] - c[1], d[0] - c[0], d[1] - c[1]
    det = bx * dy - by * dx
    if not abs(det) > 1e-9:
        return False
    g, h = (skew_x * dy - skew_y * dx) / det, (bx * skew_y - by * skew_x) / det
    grey = np.empty((modules, modules))
    sums, counts = np.zeros(2), np.zeros(2)
    for row in range(modules):
        for column in range(modules):
            s, t = (column + 0.5) / modules, (row + 0.5) / modules
            w = g * s + h * t + 1
            x = ((b[0] - a[0] + g * b[0]) * s + (d[0] - a[0] + h * d[0]) * t + a[0]) / w
            y = ((b[1] - a[1] + g * b[1]) * s + (d[1] - a[1] + h * d[1]) * t + a[1]) / w
            grey[row, column] = grey_at(luma, x, y)
            sums[pattern[row, column]] += grey[row, column]
            counts[pattern[row, column]] += 1
    black, white = sums[0] / counts[0], sums[1] / counts[1]
    if white - black < 12:
        return False
    right = 0
    for row in range(modules):
        for column in range(modules):
            right += (grey[row, column] > (white + black) / 2) == (pattern[row, column] > 0)
    return right > 0.9 * modules * modules
