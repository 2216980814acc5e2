"""Which mark is which joint: the order of the chain in one picture, held end first."""

from __future__ import annotations

import numpy as np

BEAM = 3000  # partial chains kept while searching


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
