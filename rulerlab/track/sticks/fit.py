"""The chain in one frame: its edges and tips are looked for, and the rigid chain is moved to them.

Moving edges on a rigid model, after Harris (1992), "Tracking with rigid models" (RAPID).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rulerlab.track.pixels import compiled, middle_of
from rulerlab.track.sticks.chain import Lines, Rods, across, solve
from rulerlab.track.sticks.edges import CUTS, SAMPLES, Wood, bare_share, find_edges, find_tips
from rulerlab.track.sticks.pins import find_pins
from rulerlab.video import Frame

SHARE = 0.04 + 0.92 * np.arange(SAMPLES) / (SAMPLES - 1)  # of a section, place of its samples
LINE = np.stack([1 - SHARE, SHARE], -1)  # (SAMPLES, 2)
TUKEY = 4.0  # robust standard deviations beyond which an edge belongs to something else
LEAST_EDGE_PX = 0.15  # error of one sample of an edge, at least
TIP_PX = 1.5  # error of a tip: round, worn, shaded
LOOSE = 0.5  # widths by which a frame may surprise: draws what is not seen to where it was expected
RUNS = 5.0  # samples of an edge that err together, at least, when a frame can't tell
WASHED = 0.6   # widths over which the edges of a stick rise that moved by more than its width
WIDER = 0.15  # of the way it moved: by so much each edge of such a stick may lie outwards
BARE = 0.3  # share of a hidden stick's axis on which no stick is seen: then it is not there
PIN = 0.1  # widths: error of a pin while nobody knows how well they agree with the edges
SMEARED = 0.25  # widths that a hinge may move between two frames for its pin to count
SETTLED_PX = 0.05  # joints that a round moves by less are where they belong
REPEATS, FEW = 4, 4  # of the robust lines; samples that make none
REACHES = (0.6, 0.4, 0.3, 0.3)  # widths within which edges are looked for, round by round


@dataclass(frozen=True)
class Fit:
    """A chain in one frame."""

    joints_px: np.ndarray  # (N, 2)
    covariance_px: np.ndarray  # (2N, 2N)
    lines: Lines  # of one picture: what the edges and tips say
    seen: np.ndarray  # (S,) share of the edges that should be seen and are; NaN: none should
    score: int  # edge samples seen, less those that should be and are not, and axes on the ground
    widening_px: float  # by how much sticks are wider than expected
    scatter_px: float  # of the widths of the sticks about that
    rise_px: np.ndarray  # (S,) over which the edges of each stick fall: blur; NaN: none is seen


def fit_chain(
    frame: Frame, wood: Wood, start: np.ndarray, rods: Rods, *,
    before: np.ndarray | None = None, reaches: tuple[float, ...] = REACHES,
) -> Fit:
    """The chain near `start` (N, 2) in a frame; `before` (N, 2) is where it lay in the last one.

    Joints of which nothing is seen stay where the start and the lengths put them, with an error
    that says so.
    """
    joints = np.ascontiguousarray(start, float)
    fit = _look(frame, wood, joints, before, rods, reaches[0] * rods.width_px)
    for reach in reaches[1:]:
        if np.abs(fit.joints_px - fit.lines.base[0]).max() < SETTLED_PX:
            break
        fit = _look(frame, wood, fit.joints_px, before, rods, reach * rods.width_px)
    return fit


def with_pins(frame: Frame, fit: Fit, rods: Rods, before: np.ndarray | None) -> Fit:
    """The fit, drawn to the pins of its hinges where they are seen in its frame, unless they moved
    far since the last one, in which the joints (N, 2) lay at `before`: motion smears them."""
    pins = find_pins(frame.luma, fit.joints_px, rods.width_px)
    if before is not None:
        far = np.linalg.norm(fit.joints_px - before, axis=1) > SMEARED * rods.width_px
        pins[far] = np.nan
    lines = replace(fit.lines, pin=pins - fit.lines.base)
    joints, _ = solve(lines, replace(rods, pin_px=PIN * rods.width_px), rounds=2)
    return replace(fit, lines=lines, joints_px=joints[0])


def _look(frame: Frame, wood: Wood, joints: np.ndarray, before: np.ndarray | None, rods: Rods,
          reach: float) -> Fit:
    """The chain moved to what edges and tips say that lie up to `reach` px from where it should."""
    planes = frame.luma, frame.chroma_u, frame.chroma_v
    smear = np.zeros(len(joints) - 1) if before is None else across(joints - before, joints)
    expected = rods.widths(joints)
    offset, open_, rise = find_edges(*planes, wood.mix, joints, expected, smear, reach)
    tips = find_tips(*planes, wood.mix, joints, rods.width_px, rods.overhang_px)
    found = np.isfinite(offset)
    due = open_.sum((1, 2))
    bare = bare_share(*planes, wood.mix, joints)
    bare[-1] *= not rods.covered
    seen = np.where(due >= 6, found.sum((1, 2)) / np.maximum(due, 1),
                    np.where(bare > BARE, 0.0, np.nan))
    score = int(2 * found.sum() - open_.sum() - 2 * SAMPLES * bare.sum())
    outward = np.where(found, offset, 0.0) * np.array([1.0, -1.0])[:, None]
    keep, spread, left = _robust(outward, found)
    weight = keep / (max(spread, LEAST_EDGE_PX) ** 2 * _together(left, keep))
    blur = _medians(rise)
    washed = np.where(np.nan_to_num(blur) > WASHED * expected, WIDER * smear, 0.0)
    aside, total, middle = _axes(outward, weight, rods.sideways_px, washed)
    both = (keep.sum(-1) > 8).all(1)
    widths = np.where(both, middle[:, 0] - middle[:, 1], np.nan)
    tip = np.full((len(aside), 2), rods.overhang_px)
    count = np.isfinite(tips).sum(-1)
    good = count == len(CUTS)
    good[-1, 1] &= not rods.covered
    tip[good] = np.median(tips[good], axis=-1)
    back = 1 / (LOOSE * rods.width_px) ** 2
    lines = Lines(joints[None].copy(), aside[None], total[None], tip[None],
                  np.where(good, 1 / TIP_PX**2, 0.0)[None], np.full((1, *joints.shape), np.nan),
                  np.array([back]), np.zeros(1))
    moved, covariance = solve(lines, rods, rounds=3)
    known = widths[np.isfinite(widths)]
    widening = float(np.median(known)) if len(known) else 0.0
    scatter = 1.48 * float(np.median(np.abs(known - widening))) if len(known) > 3 else np.nan
    return Fit(moved[0], covariance[0], lines, seen, score, widening, scatter, blur)


@compiled
def _medians(rise):
    """Median of what is known of the edges of each stick, (S,); NaN where few edges are."""
    result, known = np.full(len(rise), np.nan), np.empty(rise[0].size)
    for k in range(len(rise)):
        count = 0
        for value in rise[k].flat:
            if np.isfinite(value):
                known[count] = value
                count += 1
        if count > FEW:
            result[k] = middle_of(known, count)
    return result


@compiled
def _axes(outward, weight, sideways, washed):
    """The axis of each stick between its two edges: by how much both its ends lie aside (S, 2),
    the inverse covariance of that, and the middles of both edges, (S, 2).

    A whole edge may lie aside by `sideways` px, those that moved by `washed` (S,) besides.
    """
    sections = len(outward)
    aside, total = np.zeros((sections, 2)), np.zeros((sections, 2, 2))
    middle = np.zeros((sections, 2))
    for k in range(sections):
        pull = np.zeros(2)
        for side in range(2):
            first, last, n00, n01, n11 = _line(outward[k, side], weight[k, side], 1e-6)
            middle[k, side] = 0.5 * (first + last)
            det = n00 * n11 - n01 * n01
            c00 = n11 / det + sideways**2 + washed[k] ** 2
            c11 = n00 / det + sideways**2 + washed[k] ** 2
            c01 = -n01 / det + washed[k] ** 2
            det = c00 * c11 - c01 * c01
            soft = np.array([[c11, -c01], [-c01, c00]]) / det
            total[k] += soft
            pull[0] += soft[0, 0] * first + soft[0, 1] * last
            pull[1] += soft[1, 0] * first + soft[1, 1] * last
        det = total[k, 0, 0] * total[k, 1, 1] - total[k, 0, 1] ** 2
        aside[k, 0] = (total[k, 1, 1] * pull[0] - total[k, 0, 1] * pull[1]) / det
        aside[k, 1] = (total[k, 0, 0] * pull[1] - total[k, 0, 1] * pull[0]) / det
    return aside, total, middle


@compiled
def _line(values, weight, loose):
    """Ends of the line through samples of one edge, and their inverse covariance (00, 01, 11)."""
    n00, n01, n11, r0, r1 = loose, 0.0, loose, 0.0, 0.0
    for m in range(len(values)):
        if weight[m] > 0:
            a, b = LINE[m, 0], LINE[m, 1]
            n00 += weight[m] * a * a
            n01 += weight[m] * a * b
            n11 += weight[m] * b * b
            r0 += weight[m] * a * values[m]
            r1 += weight[m] * b * values[m]
    det = n00 * n11 - n01 * n01
    return (n11 * r0 - n01 * r1) / det, (n00 * r1 - n01 * r0) / det, n00, n01, n11


@compiled
def _robust(outward, found):
    """Tukey's weights of all samples about a line per edge, their spread, and what is left over."""
    sections, sides, samples = outward.shape
    keep, left = found.astype(np.float64), np.zeros(outward.shape)
    size = np.empty(outward.size)
    spread = 1.0
    for _ in range(REPEATS):
        count = 0
        for k in range(sections):
            for side in range(sides):
                first, last, _, _, _ = _line(outward[k, side], keep[k, side], 1e-3)
                for m in range(samples):
                    if found[k, side, m]:
                        left[k, side, m] = outward[k, side, m] - (
                            first * LINE[m, 0] + last * LINE[m, 1])
                        size[count] = abs(left[k, side, m])
                        count += 1
        if count == 0:
            break
        spread = max(1.48 * middle_of(size, count), LEAST_EDGE_PX)
        for k in range(sections):
            for side in range(sides):
                for m in range(samples):
                    away = left[k, side, m] / (TUKEY * spread)
                    near = found[k, side, m] and abs(away) < 1
                    keep[k, side, m] = (1 - away * away) ** 2 if near else 0.0
    for k in range(sections):
        for side in range(sides):
            if keep[k, side].sum() <= FEW:
                keep[k, side] = 0.0
    return keep, spread, left


def _together(left: np.ndarray, keep: np.ndarray) -> float:
    """How many neighbouring samples of an edge err together, from their autocorrelation."""
    pair = (keep[..., 1:] > 0) & (keep[..., :-1] > 0)
    if pair.sum() < 60:
        return RUNS
    first, second = left[..., 1:][pair], left[..., :-1][pair]
    like = float(np.clip((first * second).mean() / max((first**2).mean(), 1e-12), 0.0, 0.9))
    return max((1 + like) / (1 - like), 1.0)
