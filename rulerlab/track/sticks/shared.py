"""Lengths, perspective and overhang that all frames of a clip share, and frames solved with them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rulerlab.track.sticks.chain import LAYER, TREND, Lines, Rods, equations, solve

TREND_SIGMA = (3.0, 0.03, 0.03, 0.003, 0.003)  # relative: scale, then perspective
HALF_SIGMA, FREE_SIGMA = 0.04, 0.5  # of a full section: how much these may differ from the start
OVERHANG_SIGMA = 0.15  # widths
LAYER_SIGMA = (0.003, 0.0006, 0.0006)  # spans: thickness over the camera's distance; its foot
SHADE_SIGMA = 0.02  # widths: how far the pins of the hinges seem aside, for they throw shadows
HIDDEN_SIGMA, GIVEN_SIGMA = 0.15, 0.01  # of a section whose end is hidden: guessed, or given
TOP, TOP_SIGMA = 0.6, 0.3  # thicknesses from the middle of the upper stick to the joint's top
LOOKS = 6.0  # a whole clip counts as so many pictures: what errs in one errs in the next
ROUNDS = 6


def fit_shared(lines: Lines, rods: Rods) -> tuple[Rods, np.ndarray]:
    """The rods that agree best with many pictures (trend, lengths of half sections, overhang,
    layer, top, shade of the pins), and the covariance (G, G) of what they share.
    """
    loose = [k for k, kind in enumerate(rods.kinds) if kind != "full"]
    sigma = [*TREND_SIGMA]
    sigma += [HALF_SIGMA if rods.kinds[k] == "half" else FREE_SIGMA for k in loose]
    sigma.append(OVERHANG_SIGMA * rods.width_px)
    sigma += [*(part * rods.span_px for part in LAYER_SIGMA), TOP_SIGMA]
    sigma += [SHADE_SIGMA * rods.width_px] * 2
    stiff = max(len(lines.base) / LOOKS, 1.0) / np.array(sigma) ** 2
    expected = np.concatenate([
        [rods.trend[0], *[0.0] * (TREND - 1)],
        [0.5 if rods.kinds[k] == "half" else rods.share[k] for k in loose],
        [0.5 * rods.width_px], [0.0] * LAYER, [TOP, 0.0, 0.0],
    ])
    over = TREND + len(loose)
    joints, inverse = lines.base, np.zeros((len(stiff), len(stiff)))
    for _ in range(ROUNDS):
        joints, _ = solve(lines, rods, rounds=2, start=joints)
        normal, right, cross, common, common_right = equations(lines, rods, joints)
        through = np.swapaxes(cross, 1, 2) @ np.linalg.inv(normal)
        now = np.concatenate([rods.trend, rods.share[loose], [rods.overhang_px],
                              rods.layer, [rods.top], rods.shade_px])
        inverse = np.linalg.inv(common - (through @ cross).sum(0) + np.diag(stiff))
        common_right = common_right - (through @ right[..., None]).sum(0)[:, 0]
        step = inverse @ (common_right + stiff * (expected - now))
        share = rods.share.copy()
        share[loose] = np.clip(share[loose] + step[TREND:over], 0.1, 3.0)
        overhang = np.clip(rods.overhang_px + step[over], 0.1 * rods.width_px, 1.5 * rods.width_px)
        rods = replace(rods, trend=rods.trend + step[:TREND], share=share,
                       overhang_px=float(overhang), layer=rods.layer + step[over + 1 : -3],
                       top=float(rods.top + step[-3]), shade_px=rods.shade_px + step[-2:])
    return rods, max(len(lines.base) / LOOKS, 1.0) * inverse


def with_known_ends(rods: Rods, sections_mm: tuple[float, ...]) -> tuple[Rods, float]:
    """Rods whose end sections of unknown length, and the one in the hand whatever is seen of it,
    have the length of rig.toml, and the relative doubt."""
    if len(sections_mm) != len(rods.share):
        return rods, HIDDEN_SIGMA
    given = np.array(sections_mm)
    full = np.median(given[[kind == "full" for kind in rods.kinds]])
    free = np.array([kind == "free" for kind in rods.kinds])
    free[-1] |= rods.covered
    return replace(rods, share=np.where(free, given / full, rods.share)), GIVEN_SIGMA


def solve_all(lines: Lines, rods: Rods, shared: np.ndarray):
    """Joints (T, N, 2) and covariances (T, 2N, 2N) of every picture, and which joints (T, N) are
    ends that nothing was seen of: they lie where the length of their section puts them.

    `shared` (G, G) is the covariance of what the pictures have in common.
    """
    joints, covariance = [], []
    for begin in range(0, len(lines.base), 256):
        part = lines.pick(slice(begin, begin + 256))
        place, spread = solve(part, rods)
        moved = spread @ equations(part, rods, place)[2] + _seen_aside(rods, place, len(shared))
        joints.append(place + rods.rise[0] * rods.aside(place))
        covariance.append(spread + moved @ shared @ np.swapaxes(moved, 1, 2))
    alone = np.zeros(lines.base.shape[:2], bool)
    alone[:, -1] = lines.tip_weight[:, -1, 1] == 0
    if rods.kinds[0] == "free":
        alone[:, 0] = lines.tip_weight[:, 0, 0] == 0
    return np.concatenate(joints), np.concatenate(covariance), alone


def _seen_aside(rods: Rods, joints: np.ndarray, count: int) -> np.ndarray:
    """How the tops of joints (T, N, 2) move aside of their layer with what the clip shares,
    (T, 2N, count)."""
    rise, higher = rods.rise
    moved = np.zeros((*joints.shape, count))
    moved[..., -3 - LAYER] = rise * rods.place(joints)
    moved[..., -2 - LAYER : -3] = rise * np.eye(2)
    moved[..., -3] = higher * rods.aside(joints)
    return moved.reshape(len(joints), -1, count)
