"""Where the edges and tips of sticks are seen, beside their expected places in one frame.

A clip's sticks are told from what lies around them by one mix of Y, U and V, learned from frames
in which the chain is known: 1 on the sticks, 0 beside them, and unmoved by a shadow there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.errors import InputError
from rulerlab.track.dots import SITINGS
from rulerlab.track.pixels import chroma_at, compiled, grey_at
from rulerlab.track.sticks.chain import frames_of
from rulerlab.video import Frame

SAMPLES = 40  # along each edge
STEP = 0.5  # px between the places at which the picture is read across an edge
NEAR = 3.0  # px of free ground that an edge needs beside it
LEAST_WOOD, MOST_WOOD = 0.35, 2.0  # of the mix that is 1 on a stick: what may be one
SOFT = 12.0  # px over which an edge at rest rises at most
CUTS = (-0.12, 0.0, 0.12)  # widths from the axis at which a tip is looked for
WITHIN, BEYOND = 0.7, 0.3  # of a stick's mix: inside its edge at least, and outside at most
TELLING, DARKEST = 0.2, 0.6  # of it: a shadow that shows more looks like a stick; at the most
SHADE = 0.3  # by how much, of its brightness, the ground is darker in a shadow
CORE, BESIDE = 0.3, (0.8, 1.3)  # widths from the axis: certainly stick, certainly beside it
NO_LUMA = 1e9  # variance of Y that leaves it out of a mix
CLEAR_PX = 0.4  # by which one place of the chroma samples must fit better than the usual one


@dataclass(frozen=True)
class Wood:
    """How sticks differ from their surroundings: a mix of Y, U, V that is 1 on a stick, 0 beside.
    """

    mix: np.ndarray  # (7,) factors of Y, U, V, what is added, x, y (px) of the first chroma
    #                  sample, and what the ground shows in a shadow
    contrast: float  # between stick and surroundings, in their standard deviations
    shaded: float  # by how much a shadow on the ground looks like a stick, which is 1


def learn_wood(frames: list[Frame], joints: list[np.ndarray], width_px: float) -> Wood:
    """The look of the sticks, from frames with known joints (N, 2).

    Raises InputError when sticks and ground look alike.
    """
    stick, ground = [], []
    for frame, place in zip(frames, joints, strict=True):
        unit, normal = frames_of(place)
        share = np.linspace(0.08, 0.92, 40)[:, None]
        for k in range(len(unit)):
            axis = place[k] + share * (place[k + 1] - place[k])
            for side in (-1.0, -0.5, 0.0, 0.5, 1.0):
                stick.append(_colours(frame, axis + side * CORE * width_px * normal[k]))
            for side in (-BESIDE[1], -BESIDE[0], BESIDE[0], BESIDE[1]):
                beside = axis + side * width_px * normal[k]
                ground.append(_colours(frame, beside[distance_to(place, beside) > 0.7 * width_px]))
    inside, outside = np.concatenate(stick), np.concatenate(ground)
    if len(outside) < 50:
        raise InputError("the sticks lie so close that nothing is seen between or beside them")
    even, between = SITINGS[frames[0].turned]
    apart = [
        _misfit_px(frames, joints, width_px, _mix(inside, outside, siting, NO_LUMA))
        for siting in (even, between)
    ]
    return _mix(inside, outside, even if apart[0] + CLEAR_PX < apart[1] else between)


def _mix(inside: np.ndarray, outside: np.ndarray, siting: tuple, luma: float = 0.0) -> Wood:
    """The best mix for colours (M, 3) of the sticks and beside them; `luma` is more noise of Y."""
    middle, other = np.median(inside, axis=0), np.median(outside, axis=0)
    shade = SHADE * (other - [16.0, 128.0, 128.0])
    spread = _spread(inside, middle) + _spread(outside, other) + np.outer(shade, shade)
    spread[0, 0] += luma
    mix = np.linalg.solve(spread, middle - other)
    gap = max(float(mix @ (middle - other)), 1e-9)
    mix = mix / gap
    shaded = float(abs(mix @ shade))
    return Wood(np.array([*mix, -mix @ other, *siting, shaded]), float(np.sqrt(gap)), shaded)


def _misfit_px(frames: list[Frame], joints: list[np.ndarray], width_px: float, wood: Wood) -> float:
    """How far edges in luma lie to one side of edges in chroma along the rows, on average."""
    axis = 0 if frames[0].turned % 180 == 0 else 1
    sides: list[list[float]] = [[], []]
    for frame, place in zip(frames, joints, strict=True):
        place = np.ascontiguousarray(place, float)
        widths = np.full(len(place) - 1, width_px)
        offset, _, _ = find_edges(frame.luma, frame.chroma_u, frame.chroma_v, wood.mix, place,
                                  widths, np.zeros(len(widths)), 0.4 * width_px)
        beside = luma_beside(frame.luma, place, widths, offset)
        _, normal = frames_of(place)
        for k, side, sample in zip(*np.nonzero(np.isfinite(beside)), strict=True):
            way = normal[k, axis] * (1 - 2 * side)
            if abs(way) > 0.5:
                sides[int(way > 0)].append(beside[k, side, sample] / way)
    if min(map(len, sides)) < 20:
        return np.inf
    return abs(float(np.median(sides[0]) + np.median(sides[1]))) / 2


def _spread(colours: np.ndarray, middle: np.ndarray) -> np.ndarray:
    """Covariance of the half of the colours that lie nearest to their middle, and of noise."""
    away = np.abs(colours - middle)
    near = (away <= 3 * np.median(away, axis=0) + 2).all(1)
    return np.cov(colours[near].T) + np.eye(3)


def distance_to(joints: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Distance of places (M, 2) from the nearest axis of the chain, px."""
    best = np.full(len(places), np.inf)
    for start, end in zip(joints[:-1], joints[1:], strict=True):
        way = end - start
        along = np.clip((places - start) @ way / max(way @ way, 1e-9), 0, 1)
        best = np.minimum(best, np.linalg.norm(places - start - along[:, None] * way, axis=1))
    return best


def _colours(frame: Frame, places: np.ndarray) -> np.ndarray:
    """Y, U, V of the nearest pixels, (M, 3)."""
    height, width = frame.luma.shape
    inside = ((places >= 0) & (places <= [width - 1, height - 1])).all(1)
    x, y = np.rint(places[inside]).astype(int).T
    u, v = ((plane[y // 2, x // 2]) for plane in (frame.chroma_u, frame.chroma_v))
    return np.column_stack([frame.luma[y, x], u, v]).astype(float)


@compiled
def wood_at(luma, u, v, mix, x, y):
    """The mix that is 1 on a stick and 0 beside it, at a place between the pixels."""
    chroma = chroma_at(u, v, 0.5 * (x - mix[4]), 0.5 * (y - mix[5]), mix[1], mix[2])
    return mix[0] * grey_at(luma, x, y) + chroma + mix[3]


@compiled
def is_free(joints, x, y, skip, other, radius):
    """Whether a place lies further than `radius` from all axes but those of two sections."""
    for j in range(len(joints) - 1):
        if j in (skip, other):
            continue
        ax, ay = joints[j, 0], joints[j, 1]
        wx, wy = joints[j + 1, 0] - ax, joints[j + 1, 1] - ay
        along = ((x - ax) * wx + (y - ay) * wy) / max(wx * wx + wy * wy, 1e-9)
        along = min(max(along, 0.0), 1.0)
        dx, dy = x - ax - along * wx, y - ay - along * wy
        if dx * dx + dy * dy < radius * radius:
            return False
    return True


@compiled
def _fall(luma, u, v, mix, x, y, ox, oy, level, reach):
    """How far outwards from a place, px, the picture falls through `level`; the nearest such place
    within `reach` to either side, or NaN.
    """
    outer = inner = wood_at(luma, u, v, mix, x, y)
    for s in range(int(reach / STEP)):
        way = STEP * (s + 1)
        further = wood_at(luma, u, v, mix, x + way * ox, y + way * oy)
        nearer = wood_at(luma, u, v, mix, x - way * ox, y - way * oy)
        out = into = np.inf
        if outer >= level > further:
            out = way - STEP * (level - further) / (outer - further)
        if nearer >= level > inner:
            into = way - STEP * (nearer - level) / (nearer - inner)
        if out <= into and out < np.inf:
            return out
        if into < np.inf:
            return -into
        outer, inner = further, nearer
    return np.nan


@compiled
def _way_to(luma, u, v, mix, x, y, ox, oy, level, most):
    """How far from a place, px, the picture first passes `level` in a direction; `most` at most."""
    last = wood_at(luma, u, v, mix, x, y) - level
    way = 0.0
    while way < most:
        way += STEP
        value = wood_at(luma, u, v, mix, x + way * ox, y + way * oy) - level
        if value * last <= 0:
            return way - STEP * value / (value - last) if value != last else way
        last = value
    return most


@compiled
def _edge_at(luma, u, v, mix, x, y, ox, oy, level, ground, smear, reach):
    """How far outwards from a place, px, a stick of the level ends, and over how many px the
    picture falls there; NaN where it does not fall from stick to `ground` (share of the level).

    The edge lies where the picture is halfway between what it shows on both sides.
    """
    half = 0.5 * (1 + ground)
    shift = _fall(luma, u, v, mix, x, y, ox, oy, half * level, reach)
    if not np.isfinite(shift):
        return np.nan, np.nan
    ex, ey = x + shift * ox, y + shift * oy
    most = 0.25 * (SOFT + smear)
    quarter = 0.25 * (1 - ground)
    blur = 2 * _way_to(luma, u, v, mix, ex, ey, ox, oy, (half - quarter) * level, most)
    blur += 2 * _way_to(luma, u, v, mix, ex, ey, -ox, -oy, (half + quarter) * level, most)
    near = NEAR + 0.75 * min(max(blur - 2 * NEAR, 0.0), smear)
    beyond = wood_at(luma, u, v, mix, ex + near * ox, ey + near * oy)
    within = wood_at(luma, u, v, mix, ex - near * ox, ey - near * oy)
    if within < WITHIN * level or beyond > (ground + BEYOND * (1 - ground)) * level:
        return np.nan, np.nan
    if mix[6] > TELLING:  # on the ground beside it the stick's own shadow fades
        shift += _fall(luma, u, v, mix, ex, ey, ox, oy, 0.5 * (within + beyond), NEAR)
    return shift, blur


@compiled
def find_edges(luma, u, v, mix, joints, widths, smear, reach):
    """Offsets (S, 2, SAMPLES) of the edges seen, px outwards from their expected places; NaN
    where another stick lies beside or above, or where none is seen.

    Side 0 lies along the normal (-y, x) of a section, side 1 against it. `open_` (S, 2, SAMPLES)
    tells where an edge should be seen, `rise` (S, 2, SAMPLES) over how many px those seen fall.
    Edges are looked for up to `reach` px away; `widths` (S,) are those of the sections, `smear`
    (S,) how far they move across between two frames: by so much, motion may blur their edges.
    """
    sections = len(joints) - 1
    offset = np.full((sections, 2, SAMPLES), np.nan)
    rise = np.full((sections, 2, SAMPLES), np.nan)
    open_ = np.zeros((sections, 2, SAMPLES), np.bool_)
    high, wide = luma.shape
    widest = widths.max()
    inner = max(0.22 * widest, 2.0)
    for k in range(sections):
        width = widths[k]
        wx, wy = joints[k + 1, 0] - joints[k, 0], joints[k + 1, 1] - joints[k, 1]
        length = max(np.hypot(wx, wy), 1e-9)
        nx, ny = -wy / length, wx / length
        for m in range(SAMPLES):
            share = 0.04 + 0.92 * m / (SAMPLES - 1)
            ax, ay = joints[k, 0] + share * wx, joints[k, 1] + share * wy
            for side in range(2):
                sign = 1.0 - 2.0 * side
                ox, oy = sign * nx, sign * ny
                x, y = ax + 0.5 * width * ox, ay + 0.5 * width * oy
                if not (2 < x < wide - 3 and 2 < y < high - 3):
                    continue
                out = 0.5 * widest + NEAR
                if not (is_free(joints, x, y, k, k, out)
                        and is_free(joints, x + NEAR * ox, y + NEAR * oy, k, k, out)):
                    continue
                open_[k, side, m] = True
                level = 0.5 * (wood_at(luma, u, v, mix, x - inner * ox, y - inner * oy)
                               + wood_at(luma, u, v, mix, ax, ay))
                if not LEAST_WOOD < level < MOST_WOOD:
                    continue
                shift, blur = _edge_at(luma, u, v, mix, x, y, ox, oy, level, 0.0, smear[k], reach)
                if np.isnan(shift) and mix[6] > TELLING:
                    shift, blur = _edge_at(luma, u, v, mix, x, y, ox, oy, level,
                                           min(mix[6], DARKEST), smear[k], reach)
                offset[k, side, m], rise[k, side, m] = shift, blur
    return offset, open_, rise


@compiled
def bare_share(luma, u, v, mix, joints):
    """Share of the axis of each stick, (S,), on which no stick is seen, neither it nor another."""
    share = np.zeros(len(joints) - 1)
    for k in range(len(joints) - 1):
        for m in range(SAMPLES):
            part = 0.04 + 0.92 * m / (SAMPLES - 1)
            x = joints[k, 0] + part * (joints[k + 1, 0] - joints[k, 0])
            y = joints[k, 1] + part * (joints[k + 1, 1] - joints[k, 1])
            if wood_at(luma, u, v, mix, x, y) < LEAST_WOOD:
                share[k] += 1 / SAMPLES
    return share


@compiled
def find_tips(luma, u, v, mix, joints, width, overhang):
    """How far each stick reaches beyond its two joints along its axis, px, (S, 2, cuts); NaN
    where another stick covers the tip or none is seen.
    """
    sections = len(joints) - 1
    found = np.full((sections, 2, len(CUTS)), np.nan)
    high, wide = luma.shape
    reach = 0.6 * width
    for k in range(sections):
        for end in range(2):
            joint = k + end
            wx, wy = joints[k + 1, 0] - joints[k, 0], joints[k + 1, 1] - joints[k, 1]
            length = max(np.hypot(wx, wy), 1e-9)
            ox, oy = wx / length * (2 * end - 1), wy / length * (2 * end - 1)
            other = joint if end == 1 else joint - 1  # the section that shares the joint
            if 0 <= other < sections:
                far = other + 1 if end == 1 else other
                dx, dy = joints[far, 0] - joints[joint, 0], joints[far, 1] - joints[joint, 1]
                if (dx * ox + dy * oy) > -0.3 * np.hypot(dx, dy):
                    continue  # the partner lies over the tip or beside it
            for c in range(len(CUTS)):
                x = joints[joint, 0] - CUTS[c] * width * oy
                y = joints[joint, 1] + CUTS[c] * width * ox
                out = overhang + NEAR
                fx, fy = x + out * ox, y + out * oy
                if not (2 < fx < wide - 3 and 2 < fy < high - 3):
                    continue
                if not is_free(joints, fx, fy, k, other, 0.5 * width + 2.0):
                    continue
                level = 0.0
                for s in range(8):
                    level += wood_at(luma, u, v, mix, x - (0.5 + 0.12 * s) * width * ox,
                                     y - (0.5 + 0.12 * s) * width * oy) / 8
                if not LEAST_WOOD < level < MOST_WOOD:
                    continue
                at = overhang + _fall(luma, u, v, mix, x + overhang * ox, y + overhang * oy,
                                      ox, oy, 0.5 * level, reach)
                if not np.isfinite(at):
                    continue
                beyond = wood_at(luma, u, v, mix, x + (at + NEAR) * ox, y + (at + NEAR) * oy)
                if beyond < 0.3 * level:
                    found[k, end, c] = at
    return found


@compiled
def luma_beside(luma, joints, widths, offset):
    """How far outwards of each edge (S, 2, SAMPLES) luma changes most, px; NaN where none is."""
    found = np.full(offset.shape, np.nan)
    for k in range(len(joints) - 1):
        wx, wy = joints[k + 1, 0] - joints[k, 0], joints[k + 1, 1] - joints[k, 1]
        length = max(np.hypot(wx, wy), 1e-9)
        for m in range(SAMPLES):
            share = 0.04 + 0.92 * m / (SAMPLES - 1)
            ax, ay = joints[k, 0] + share * wx, joints[k, 1] + share * wy
            for side in range(2):
                if not np.isfinite(offset[k, side, m]):
                    continue
                sign = 1.0 - 2.0 * side
                ox, oy = -sign * wy / length, sign * wx / length
                most = 4.0
                for s in range(-10, 11):
                    at = 0.5 * widths[k] + offset[k, side, m] + 0.25 * s
                    change = abs(grey_at(luma, ax + (at + 0.5) * ox, ay + (at + 0.5) * oy)
                                 - grey_at(luma, ax + (at - 0.5) * ox, ay + (at - 0.5) * oy))
                    change *= np.exp(-0.5 * (0.25 * s / 1.5) ** 2)
                    if change > most:
                        most = change
                        found[k, side, m] = 0.25 * s
    return found
