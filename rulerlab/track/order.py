"""Which mark is which joint: the order of the chain in one picture, held end first."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise, permutations

import numpy as np

BEAM = 3000  # partial chains kept while searching
SHORT = 6  # points of a ruler of which all orders are tried
KEPT = 0.004  # share by which the length of a rigid section seems to change


def is_straight(points: np.ndarray) -> bool:
    """Whether the points lie on one line, as blocks on a rail do and folded rulers do not."""
    centred = points - points.mean(0)
    spread = np.linalg.svd(centred, compute_uv=False)
    return bool(len(points) > 2 and spread[1] < 0.03 * spread[0])


def rail_direction(points: np.ndarray) -> np.ndarray:
    """Unit vector of the line through the points, pointing to the right (or up)."""
    centred = points - points.mean(0)
    along = np.linalg.svd(centred, full_matrices=False)[2][0]
    return along * (1 if along[np.abs(along).argmax()] > 0 else -1)


def on_one_line(points: np.ndarray, within: float) -> np.ndarray:
    """Indices of the most points (n, 2) that lie within so much of one line."""
    best = np.zeros(len(points), bool)
    for a in range(len(points)):
        for b in range(a):
            along = points[a] - points[b]
            normal = np.array([-along[1], along[0]]) / max(np.linalg.norm(along), 1e-9)
            near = np.abs((points - points[a]) @ normal) < within
            if near.sum() > best.sum():
                best = near
    return np.flatnonzero(best)


def order_along(points: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Blocks: the order along the rail."""
    return np.argsort(points @ direction)


def order_ruler(
    points: np.ndarray,
    colour: np.ndarray,
    pull: np.ndarray,
    *,
    sections: np.ndarray | None = None,
    count: int | None = None,
    tolerance: float = 0.03,
) -> tuple[np.ndarray, float]:
    """The zig-zag through the marks of a ruler: indices, held end first, and its cost.

    A chain must have the known section lengths (or else equal full sections; the first, the last
    but one and the one in the hand may differ), should advance along the unit vector `pull`, fold
    to and fro, and, with two colours of marks, alternate them. The search keeps the best partial
    chains. `count` is the number of points; without it, every mark but clear outliers is used.
    """
    number = len(points)
    wanted = number if count is None else count
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    along = points @ pull
    known = sections is not None
    full = float(np.median(sections)) if known else _full_section(points, along, colour)
    two_colours = len(np.unique(colour)) == 2
    lengths = np.asarray(sections, float) if known else np.full(wanted - 1, full)

    state = np.arange(number)[:, None]  # partial chains (S, k)
    cost = 4 * np.maximum(along - np.sort(along)[:2].mean(), 0) / full  # begin at the held end
    for step in range(wanted - 1):
        last = state[:, -1]
        gap = apart[last]  # (S, n)
        strict = known or 1 <= step < wanted - 3
        off = (gap - lengths[step]) / (tolerance * lengths[step])
        if strict:
            more = np.minimum(off**2, 400)
        else:  # a half section, or one of unknown length
            more = np.where(gap > 1.15 * full, ((gap - 1.15 * full) / (0.1 * full)) ** 2, 0.0)
            more = np.where(gap < 0.3 * full, ((gap - 0.3 * full) / (0.05 * full)) ** 2, more)
            if step == wanted - 2:
                more = 0.2 * more
        back = np.maximum(along[last][:, None] - along[None, :], 0) / (0.08 * full)
        more = more + np.minimum(back**2, 60)
        if state.shape[1] > 1:
            more = more + 3.0 * _folds_wrongly(points, state)
        if two_colours:
            more = more + 100 * (colour[last][:, None] == colour[None, :])
        total = cost[:, None] + more
        np.put_along_axis(total, state, np.inf, axis=1)
        best = np.argsort(total, axis=None)[:BEAM]
        best = best[np.isfinite(total.ravel()[best])]
        row, column = np.unravel_index(best, total.shape)
        state = np.concatenate([state[row], column[:, None]], axis=1)
        cost = total[row, column]
    return state[0], float(cost[0])


def most_rigid_order(position: np.ndarray, pull: np.ndarray) -> np.ndarray | None:
    """The order of a few points (T, N, 2) in which neighbours keep their distance all the time.

    One picture of a short ruler allows for several zig-zags; its motion allows for one. None when
    the points hardly move or their order is right already; SHORT is the most points to try.
    """
    number = position.shape[1]
    apart = np.linalg.norm(position[:, :, None] - position[:, None], axis=-1)
    usual = np.nanmedian(apart, axis=0)
    change = 1.48 * np.nanmedian(np.abs(apart - usual), axis=0) / np.maximum(usual, 1e-9)
    change = np.nan_to_num(np.minimum(change / KEPT, 30.0), nan=30.0)

    def cost(order: Sequence[int]) -> float:
        return sum(change[a, b] for a, b in pairwise(order))

    best = min(permutations(range(number)), key=cost)
    if cost(best) > 0.5 * cost(range(number)) or cost(range(number)) < number:
        return None
    middle = np.nanmedian(position, axis=0)
    order = np.array(best)
    return order if (middle[order[-1]] - middle[order[0]]) @ pull > 0 else order[::-1]


def _full_section(points: np.ndarray, along: np.ndarray, colour: np.ndarray) -> float:
    """The most common distance between marks that follow each other along the pull."""
    order = np.argsort(along)
    gaps = []
    for skip in (1, 2, 3):
        a, b = order[:-skip], order[skip:]
        gaps.append(np.linalg.norm(points[a] - points[b], axis=-1))
    gap = np.concatenate(gaps)
    shares = zip(gaps, (1.0, 0.5, 0.5), strict=True)
    weight = np.concatenate([np.full(len(g), share) for g, share in shares])
    long = gap > 0.3 * gap.max()
    near = np.abs(np.log(gap[:, None] / gap[None, :])) < 0.05
    score = (near * weight).sum(1) * long
    centre = gap[score.argmax()]
    close = np.abs(np.log(gap / centre)) < 0.05
    return float(np.median(gap[close]))


def _folds_wrongly(points: np.ndarray, state: np.ndarray) -> np.ndarray:
    """(S, n) 1 where the next section would turn to the same side as the fold before it."""
    last, before = points[state[:, -1]], points[state[:, -2]]
    came = last - before
    go = points[None, :, :] - last[:, None, :]
    turn = came[:, None, 0] * go[..., 1] - came[:, None, 1] * go[..., 0]
    if state.shape[1] < 3:
        return np.zeros(turn.shape)
    earlier = before - points[state[:, -3]]
    previous = earlier[:, 0] * came[:, 1] - earlier[:, 1] * came[:, 0]
    return (np.sign(turn) == np.sign(previous)[:, None]).astype(float)
