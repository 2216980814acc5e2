"""The compiled loops of the rigid chain: all that pictures say, added up to normal equations.

Every measurement is one row: how the four coordinates of a section's two joints change it, how
what the clip shares does, its weight, and by how much it misses.
"""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import compiled


@compiled
def _add(normal, right, cross, at, row, weight, miss, extra):
    """One row into the equations of a picture, joints from coordinate `at` on."""
    for a in range(4):
        heavy = weight * row[a]
        if heavy == 0.0:
            continue
        right[at + a] += heavy * miss
        for b in range(4):
            normal[at + a, at + b] += heavy * row[b]
        for g in range(len(extra)):
            cross[at + a, g] += heavy * extra[g]


@compiled
def _add_shared(common, common_right, weight, miss, extra):
    for g in range(len(extra)):
        heavy = weight * extra[g]
        if heavy == 0.0:
            continue
        common_right[g] += heavy * miss
        for h in range(len(extra)):
            common[g, h] += heavy * extra[h]


@compiled
def terms_of(places):
    """What multiplies the trend for the sections of chains (T, N, 2) in spans, (T, N - 1, 5): 1,
    the middle of the section, and cosine and sine of twice the angle of its slope."""
    frames, points, _ = places.shape
    terms = np.ones((frames, points - 1, 5))
    for t in range(frames):
        for k in range(points - 1):
            for c in range(2):
                terms[t, k, 1 + c] = 0.5 * (places[t, k, c] + places[t, k + 1, c])
            wx, wy = (places[t, k + 1, 0] - places[t, k, 0], places[t, k + 1, 1] - places[t, k, 1])
            square = max(wx * wx + wy * wy, 1e-12)
            terms[t, k, 3], terms[t, k, 4] = (wx * wx - wy * wy) / square, 2 * wx * wy / square
    return terms


@compiled
def folds_of(joints):
    """To which side each hinge of chains (T, N, 2) folds: the sine of its angle, (T, N - 2)."""
    frames, points, _ = joints.shape
    sine = np.zeros((frames, points - 2))
    for t in range(frames):
        for k in range(points - 2):
            ax, ay = joints[t, k + 1, 0] - joints[t, k, 0], joints[t, k + 1, 1] - joints[t, k, 1]
            bx, by = (joints[t, k + 2, 0] - joints[t, k + 1, 0],
                      joints[t, k + 2, 1] - joints[t, k + 1, 1])
            size = max(np.hypot(ax, ay) * np.hypot(bx, by), 1e-9)
            sine[t, k] = (ax * by - ay * bx) / size
    return sine


@compiled
def add_up(joints, base, back, edges, tips, pins, lengths, shared):
    """Normal equations of T pictures of a chain of S sections at `joints` (T, N, 2).

    `edges`: offsets aside (T, S, 2), their inverse covariances (T, S, 2, 2), by how much every
    second section is seen aside of the base (T, N, 2) and the place (T, N, 2) that scales it;
    `tips`: places beyond the base (T, S, 2), inverse variances, overhang; `pins`: their places from
    the base (T, N, 2) or NaN, one inverse variance, how many times the shift of every second
    section they are seen aside, by how much more when the top lies higher, and by how much their
    shadows shift them all (2,); `lengths`: wanted
    (T, S), what multiplies the trend (T, S, P), relative error, for each section the number of
    its own share among the loose ones or -1, and the shares (S,); `shared`: how many unknowns the
    clip shares (0: none are asked for) and the numbers of the first loose share, the overhang, the
    layer and the top of the joints among them, which the shadows' shift follows.

    Returns matrix (T, 2N, 2N), right side (T, 2N), coupling (T, 2N, G), matrix (G, G), right side.
    """
    aside, edge_weight, lower, place = edges
    tip, tip_weight, overhang = tips
    pin, pin_weight, rise, higher, shade = pins
    wanted, terms, stiff, loose, share = lengths
    count, first_loose, over, layer, top = shared
    frames, sections = wanted.shape
    size = 2 * sections + 2
    normal = np.zeros((frames, size, size))
    right = np.zeros((frames, size))
    cross = np.zeros((frames, size, count))
    common, common_right = np.zeros((count, count)), np.zeros(count)
    rows, parts = np.zeros((2, 4)), np.zeros((2, count))
    row, part = np.zeros(4), np.zeros(count)
    offs = np.zeros(2)
    for t in range(frames):
        for joint in range(sections + 1):
            for c in range(2):
                normal[t, 2 * joint + c, 2 * joint + c] += back[t]
                moved = joints[t, joint, c] - base[t, joint, c]
                right[t, 2 * joint + c] -= back[t] * moved
                if pin_weight == 0.0 or np.isnan(pin[t, joint, c]):
                    continue
                row[:], part[:] = 0.0, 0.0
                at = 2 * min(joint, sections - 1)
                row[2 * joint + c - at] = 1.0
                if count:
                    part[layer], part[layer + 1 + c] = rise * place[t, joint, c], rise
                    part[top], part[top + 1 + c] = higher * lower[t, joint, c], 1.0
                miss = pin[t, joint, c] - shade[c] - rise * lower[t, joint, c] - moved
                _add(normal[t], right[t], cross[t], at, row, pin_weight, miss, part)
                _add_shared(common, common_right, pin_weight, miss, part)
        for k in range(sections):
            at = 2 * k
            wx, wy = base[t, k + 1, 0] - base[t, k, 0], base[t, k + 1, 1] - base[t, k, 1]
            size_of = max(np.hypot(wx, wy), 1e-9)
            ux, uy = wx / size_of, wy / size_of
            rows[:] = 0.0
            parts[:] = 0.0
            for e in range(2):
                rows[e, 2 * e], rows[e, 2 * e + 1] = -uy, ux
                dx = joints[t, k + e, 0] - base[t, k + e, 0]
                dy = joints[t, k + e, 1] - base[t, k + e, 1]
                if k % 2 == 0:
                    dx, dy = dx + lower[t, k + e, 0], dy + lower[t, k + e, 1]
                    if count:
                        parts[e, layer] = -uy * place[t, k + e, 0] + ux * place[t, k + e, 1]
                        parts[e, layer + 1], parts[e, layer + 2] = -uy, ux
                offs[e] = aside[t, k, e] + uy * dx - ux * dy
            weight = edge_weight[t, k]
            first = np.sqrt(max(weight[0, 0], 1e-12))
            slope = weight[0, 1] / first
            second = np.sqrt(max(weight[1, 1] - slope * slope, 0.0))
            row[:] = first * rows[0] + slope * rows[1]
            part[:] = first * parts[0] + slope * parts[1]
            miss = first * offs[0] + slope * offs[1]
            _add(normal[t], right[t], cross[t], at, row, 1.0, miss, part)
            _add_shared(common, common_right, 1.0, miss, part)
            row[:], part[:], miss = second * rows[1], second * parts[1], second * offs[1]
            _add(normal[t], right[t], cross[t], at, row, 1.0, miss, part)
            _add_shared(common, common_right, 1.0, miss, part)

            wx, wy = joints[t, k + 1, 0] - joints[t, k, 0], joints[t, k + 1, 1] - joints[t, k, 1]
            length = max(np.hypot(wx, wy), 1e-9)
            row[0], row[1], row[2], row[3] = -wx / length, -wy / length, wx / length, wy / length
            part[:] = 0.0
            if count:
                part[: terms.shape[2]] = -wanted[t, k] * terms[t, k]
                if loose[k] >= 0:
                    part[first_loose + loose[k]] = -wanted[t, k] / share[k]
            tight, miss = 1 / (stiff * wanted[t, k]) ** 2, wanted[t, k] - length
            _add(normal[t], right[t], cross[t], at, row, tight, miss, part)
            _add_shared(common, common_right, tight, miss, part)

            for e in range(2):
                weight_of = tip_weight[t, k, e]
                if weight_of == 0.0:
                    continue
                sign = 2.0 * e - 1.0
                row[:] = 0.0
                row[2 * e], row[2 * e + 1] = sign * ux, sign * uy
                dx = joints[t, k + e, 0] - base[t, k + e, 0]
                dy = joints[t, k + e, 1] - base[t, k + e, 1]
                miss = tip[t, k, e] - overhang - sign * (ux * dx + uy * dy)
                part[:] = 0.0
                if count:
                    part[over] = 1.0
                _add(normal[t], right[t], cross[t], at, row, weight_of, miss, part)
                _add_shared(common, common_right, weight_of, miss, part)
    return normal, right, cross, common, common_right
