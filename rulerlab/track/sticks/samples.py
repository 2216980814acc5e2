"""Compiled loops that read a picture between its pixels: values, and changes across edges."""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import compiled

INNER, OUTER = 0.34, 0.68  # widths from the axis: just inside and just outside a long edge
SAMPLES = 48  # along a stick
SLACK = 0.12  # widths by which an edge may lie beside its place


@compiled
def values_at(image, place, outside):
    """Values (M, C) of an image (H, W, C) at places (M, 2); `outside` beyond its rim."""
    height, width, channels = image.shape
    found = np.full((len(place), channels), outside, np.float32)
    for m in range(len(place)):
        x, y = place[m, 0], place[m, 1]
        if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
            continue
        column, row = min(int(x), width - 2), min(int(y), height - 2)
        fx, fy = np.float32(x - column), np.float32(y - row)
        for c in range(channels):
            upper = image[row, column, c] * (1 - fx) + image[row, column + 1, c] * fx
            lower = image[row + 1, column, c] * (1 - fx) + image[row + 1, column + 1, c] * fx
            found[m, c] = upper * (1 - fy) + lower * fy
    return found


@compiled
def _steep(slope_x, slope_y, x, y, nx, ny):
    """Change of all channels together along a direction, at one place; 0 beyond the rim."""
    height, width, channels = slope_x.shape
    if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
        return 0.0
    column, row = min(int(x), width - 2), min(int(y), height - 2)
    fx, fy = np.float32(x - column), np.float32(y - row)
    here, right = (1 - fx) * (1 - fy), fx * (1 - fy)
    below, across = (1 - fx) * fy, fx * fy
    total = 0.0
    for c in range(channels):
        change = nx * (here * slope_x[row, column, c] + right * slope_x[row, column + 1, c]
                       + below * slope_x[row + 1, column, c]
                       + across * slope_x[row + 1, column + 1, c])
        change += ny * (here * slope_y[row, column, c] + right * slope_y[row, column + 1, c]
                        + below * slope_y[row + 1, column, c]
                        + across * slope_y[row + 1, column + 1, c])
        total += change * change
    return np.sqrt(total)


@compiled
def steepness_at(slope_x, slope_y, place, normal):
    """The change of all channels together (M,) along normals (M, 2) at places (M, 2)."""
    found = np.empty(len(place), np.float32)
    for m in range(len(place)):
        found[m] = _steep(slope_x, slope_y, place[m, 0], place[m, 1], normal[m, 0], normal[m, 1])
    return found


@compiled
def _value(plane, x, y):
    """Value of a plane at a place between its pixels; -5 beyond its rim."""
    height, width = plane.shape
    if not (0 <= x <= width - 1 and 0 <= y <= height - 1):
        return -5.0
    column, row = min(int(x), width - 2), min(int(y), height - 2)
    fx, fy = x - column, y - row
    upper = plane[row, column] * (1 - fx) + plane[row, column + 1] * fx
    lower = plane[row + 1, column] * (1 - fx) + plane[row + 1, column + 1] * fx
    return upper * (1 - fy) + lower * fy


@compiled
def along_sticks(evidence, slope_x, slope_y, width, seam, start, end, least):
    """What is seen along S sticks whose axes go from `start` to `end` (S, 2).

    Evidence on the axis (S, SAMPLES), what speaks for either edge (S, SAMPLES, 2), and the share
    (S,) of the inside that has the colour of sticks; where that is less than `least` the edges
    are not looked at.
    """
    sticks = len(start)
    core = np.empty((sticks, SAMPLES), np.float32)
    seen = np.full((sticks, SAMPLES, 2), -0.5, np.float32)
    cover = np.zeros(sticks)
    inside = np.empty((SAMPLES, 2), np.bool_)
    for k in range(sticks):
        wx, wy = end[k, 0] - start[k, 0], end[k, 1] - start[k, 1]
        length = max(np.sqrt(wx * wx + wy * wy), 1e-9)
        nx, ny = -wy / length, wx / length
        for m in range(SAMPLES):
            share = m / (SAMPLES - 1)
            x, y = start[k, 0] + share * wx, start[k, 1] + share * wy
            core[k, m] = _value(evidence, x, y)
            cover[k] += core[k, m] > 0
            for side in range(2):
                off = (2 * side - 1) * INNER * width
                inside[m, side] = _value(evidence, x + off * nx, y + off * ny) > 0
                cover[k] += inside[m, side]
        cover[k] /= 3 * SAMPLES
        if cover[k] < least:
            continue
        for m in range(SAMPLES):
            share = m / (SAMPLES - 1)
            x, y = start[k, 0] + share * wx, start[k, 1] + share * wy
            for side in range(2):
                if not inside[m, side]:
                    continue
                rim = 0.0
                for step in range(-1, 2):
                    off = ((2 * side - 1) * 0.5 + step * SLACK) * width
                    rim = max(rim, _steep(slope_x, slope_y, x + off * nx, y + off * ny, nx, ny))
                rim /= seam
                off = (2 * side - 1) * OUTER * width
                if _value(evidence, x + off * nx, y + off * ny) > 0:
                    seen[k, m, side] = min(max(rim - 1, -0.25), 0.75)
                else:
                    seen[k, m, side] = min(max(rim, 0.3), 1.0)
    return core, seen, cover


@compiled
def edges_in_common(place, start, end, reach, near, same_way):
    """Which places (K, M, 2) on the edges of each of K sticks lie on those of each other one.

    (K, K, M) bool. Two edges are one within `near` px, if their sticks' directions have a cosine
    above `same_way`; `reach` px is half a stick's width.
    """
    count, samples = place.shape[:2]
    known = np.zeros((count, count, samples), np.bool_)
    unit = np.empty((count, 2))
    length = np.empty(count)
    for k in range(count):
        wx, wy = end[k, 0] - start[k, 0], end[k, 1] - start[k, 1]
        length[k] = max(np.sqrt(wx * wx + wy * wy), 1e-9)
        unit[k, 0], unit[k, 1] = wx / length[k], wy / length[k]
    for k in range(count):
        for other in range(count):
            ux, uy = unit[other, 0], unit[other, 1]
            if abs(unit[k, 0] * ux + unit[k, 1] * uy) <= same_way:
                continue
            for m in range(samples):
                dx, dy = place[k, m, 0] - start[other, 0], place[k, m, 1] - start[other, 1]
                along, aside = dx * ux + dy * uy, abs(dy * ux - dx * uy)
                known[k, other, m] = (abs(aside - reach) < near and along > -reach
                                      and along < length[other] + reach)
    return known


@compiled
def runs_through(stick, middle, unit, half, aside, gap):
    """How far stick colour goes from places (M, 2) along unit vectors (M, 2), backwards and on.

    (M, 2) px, or NaN where there is little of it within `half` (M,) px of the place.

    A step is stick where two of three places are: on the axis and `aside` px to either side, in
    the mask `stick` (H, W). Other colours are crossed if that takes at most `gap` steps.
    """
    height, width = stick.shape
    found = np.full((len(middle), 2), np.nan)
    for m in range(len(middle)):
        ux, uy = unit[m, 0], unit[m, 1]
        own = hit = 0
        for way in range(2):
            sign = 2 * way - 1
            last = step = 0
            while step - last <= gap or step <= half[m]:
                x, y = middle[m, 0] + sign * step * ux, middle[m, 1] + sign * step * uy
                seen = 0
                for side in range(-1, 2):
                    column = int(np.rint(x - side * aside * uy))
                    row = int(np.rint(y + side * aside * ux))
                    seen += 0 <= column < width and 0 <= row < height and stick[row, column]
                if step <= half[m]:
                    own += 1
                    hit += seen >= 2
                if seen >= 2 and step - last <= gap:
                    last = step
                step += 1
            found[m, way] = last
        if hit < 0.7 * own:
            found[m] = np.nan
    return found
