"""The chain decides: which spot of each frame is which point, from one well-ordered frame outwards.

Points are predicted from the frames before; rigid sections (rulers) or the order along the rail
(blocks) then choose among the spots. A point without a spot stays unassigned (-1): it is filled
in later, never by the nearest stranger.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MISSING = 16.0  # cost of leaving a point without a spot: as a spot 4 sigma away
UNUSED = 10.0  # cost of leaving a spot on the rail unexplained
SURPRISE = 10.0  # cost at most of a jump, if only the chain agrees: less than MISSING
FAR = 1e6
BEAM = 400  # partial chains kept in a difficult frame


def link_chain(
    spots: Sequence[np.ndarray],
    colours: Sequence[np.ndarray],
    start: int,
    order: np.ndarray,
    *,
    sections: np.ndarray | None,
    rigid: bool,
    known: bool,
) -> np.ndarray:
    """Index of the spot of every point in every frame, (T, N); -1 where there is none.

    `spots` holds (n, 2) positions per frame in one plane, `order` the chain's spots in frame
    `start`. `rigid` sections keep their length (rulers); blocks keep their order along the rail.
    `known` says that the sections are the true lengths (in mm on the board) and not those of the
    first frame, which perspective may change.
    """
    first = spots[start][order]
    lengths = np.linalg.norm(np.diff(first, axis=0), axis=1) if sections is None else sections
    assigned = np.full((len(spots), len(order)), -1)
    assigned[start] = order
    colour = colours[start][order]
    for direction in (1, -1):
        follower = _Follower(first, lengths.copy(), colour, rigid, known)
        frames = range(start + direction, len(spots) if direction > 0 else -1, direction)
        for t in frames:
            assigned[t] = follower.step(spots[t], colours[t])
    return assigned


class _Follower:
    """The chain as it was last seen, moving through the frames in one direction of time."""

    def __init__(self, position, lengths, colour, rigid: bool, known: bool):
        self.position = position.copy()
        self.velocity = np.zeros_like(position)
        self.lengths, self.colour, self.rigid, self.known = lengths, colour, rigid, known
        self.size = float(np.median(lengths))
        self.jump = np.full(len(position), 0.02 * self.size)  # how far predictions fail lately
        self.unseen = np.zeros(len(position), int)

    def step(self, spots: np.ndarray, colours: np.ndarray) -> np.ndarray:
        predicted = self.position + self.velocity
        reach = np.maximum(3 * self.jump, 0.04 * self.size) * (1 + np.minimum(self.unseen, 20))
        reach = np.minimum(reach, 1.5 * self.size)
        assigned = self._nearest(predicted, reach, spots, colours)
        if assigned is None:
            if self.rigid:
                assigned = self._along_chain(predicted, reach, spots, colours)
            else:
                assigned = self._along_rail(predicted, reach, spots, colours)
        self._update(assigned, spots, predicted)
        return assigned

    def _unary(self, predicted, reach, spots, colours) -> np.ndarray:
        """(N, n) squared distance from where a point is expected, in units of its reach."""
        away = np.linalg.norm(predicted[:, None] - spots[None], axis=-1) / reach[:, None]
        return np.where(self.colour[:, None] == colours[None, :], away**2, FAR)

    def _nearest(self, predicted, reach, spots, colours) -> np.ndarray | None:
        """The easy frame: every point has its own spot nearby, and the sections have kept."""
        if len(spots) < len(predicted):
            return None
        away = self._unary(predicted, reach, spots, colours)
        pick = away.argmin(1)
        if len(set(pick.tolist())) < len(pick) or away[np.arange(len(pick)), pick].max() > 1:
            return None
        if self.rigid:
            chosen = spots[pick]
            gap = np.linalg.norm(np.diff(chosen, axis=0), axis=1)
            if (np.abs(gap - self.lengths) > 3 * self._length_sigma()).any():
                return None
            second = np.partition(away, 1, axis=1)[:, 1] if away.shape[1] > 1 else np.full(1, FAR)
            if (second < 0.25).any():
                return None
        elif (np.diff(self._along(spots[pick])) <= 0).any():
            return None
        return pick

    def _length_sigma(self) -> np.ndarray:
        return (0.008 if self.known else 0.02) * self.lengths + 0.002 * self.size

    def _along_chain(self, predicted, reach, spots, colours) -> np.ndarray:
        """Beam search along the chain: expectation, rigid lengths, folds to and fro; each spot
        is used once, and any point may be missing."""
        count, own = len(predicted), len(spots)
        unary = self._unary(predicted, reach, spots, colours)
        unary = np.where(unary < FAR, SURPRISE * unary / (SURPRISE + unary), FAR)
        unary = np.concatenate([unary, np.full((count, 1), MISSING)], axis=1)
        sigma = self._length_sigma()
        axis = _advance(predicted)
        pick = np.arange(own + 1)[:, None]
        place = np.concatenate([spots, predicted[:1]])[:, None, :]  # (S, k, 2) of partial chains
        cost = unary[0].copy()
        for k in range(1, count):
            here = np.concatenate([spots, predicted[k : k + 1]])
            link = here[None] - place[:, -1][:, None]  # (S, n+1, 2)
            spread = np.full(link.shape[:2], sigma[k - 1])
            spread[pick[:, -1] == own] += 0.5 * reach[k - 1]
            spread[:, own] += 0.5 * reach[k]
            gap = np.linalg.norm(link, axis=-1)
            total = np.minimum(((gap - self.lengths[k - 1]) / spread) ** 2, 150.0)
            back = np.maximum(-(link @ axis), 0) / (0.12 * self.size)
            total = cost[:, None] + total + np.minimum(back**2, 12.0) + unary[k]
            if k >= 3:
                total = total + 2.0 * _unfolds(place, link)
            used = np.zeros((len(pick), own + 1), bool)
            np.put_along_axis(used, pick, True, axis=1)
            used[:, own] = False
            total = np.where(used, FAR * 10, total)
            best = np.argsort(total, axis=None)[:BEAM]
            row, column = np.unravel_index(best, total.shape)
            pick = np.concatenate([pick[row], column[:, None]], axis=1)
            place = np.concatenate([place[row], here[column][:, None]], axis=1)
            cost = total[row, column]
        return np.where(pick[0] == own, -1, pick[0])

    def _along(self, points: np.ndarray) -> np.ndarray:
        axis = self.position[-1] - self.position[0]
        return points @ (axis / np.linalg.norm(axis))

    def _along_rail(self, predicted, reach, spots, colours) -> np.ndarray:
        """Best order-keeping assignment of spots to blocks; either side may have gaps."""
        order = np.argsort(self._along(spots)) if len(spots) else np.zeros(0, int)
        away = np.minimum(self._unary(predicted, reach, spots, colours) * 4.0, FAR)[:, order]
        axis = self.position[-1] - self.position[0]
        normal = np.array([-axis[1], axis[0]]) / np.linalg.norm(axis)
        off = np.abs((spots[order] - self.position[0]) @ normal) if len(order) else np.zeros(0)
        stray = off > 0.35 * self.size
        fitting = ~stray & (colours[order] == self.colour[0]) if len(order) else stray
        if fitting.sum() == len(predicted) and len(set(self.colour.tolist())) == 1:
            return order[fitting]  # as many spots on the rail as blocks: no doubt is left
        away = np.where(stray[None, :], FAR, away)
        count, own = away.shape
        unused = np.where(stray, 0.0, UNUSED)
        cost = np.zeros((count + 1, own + 1))
        cost[1:, 0] = MISSING * np.arange(1, count + 1)
        cost[0, 1:] = np.cumsum(unused)
        for k in range(1, count + 1):
            for j in range(1, own + 1):
                cost[k, j] = min(cost[k - 1, j] + MISSING, cost[k, j - 1] + unused[j - 1],
                                 cost[k - 1, j - 1] + away[k - 1, j - 1])
        assigned = np.full(count, -1)
        k, j = count, own
        while k and j:
            if cost[k, j] == cost[k - 1, j - 1] + away[k - 1, j - 1] and away[k - 1, j - 1] < FAR:
                assigned[k - 1] = order[j - 1]
                k, j = k - 1, j - 1
            elif cost[k, j] == cost[k, j - 1] + unused[j - 1]:
                j -= 1
            else:
                k -= 1
        return assigned

    def _update(self, assigned, spots, predicted) -> None:
        seen = assigned >= 0
        new = predicted.copy()
        new[seen] = spots[assigned[seen]]
        miss = np.linalg.norm(new - predicted, axis=1)
        self.jump = np.where(seen, np.maximum(0.8 * self.jump, miss), self.jump)
        self.jump = np.clip(self.jump, 0.01 * self.size, 0.5 * self.size)
        step = new - self.position
        again = self.unseen > 0
        self.velocity = np.where(seen[:, None] & ~again[:, None], 0.7 * step, 0.5 * self.velocity)
        self.position = new
        self.unseen = np.where(seen, 0, self.unseen + 1)
        if self.rigid and not seen.all():
            self._pull_back_unseen(seen)
        if not self.known:
            both = seen[1:] & seen[:-1]
            gap = np.linalg.norm(np.diff(new, axis=0), axis=1)
            self.lengths = np.where(both, gap, self.lengths)

    def _pull_back_unseen(self, seen: np.ndarray) -> None:
        """Unseen points follow their neighbours at the length of the sections between them."""
        for _ in range(6):
            for k in range(len(self.lengths)):
                link = self.position[k + 1] - self.position[k]
                length = max(np.linalg.norm(link), 1e-9)
                excess = (1 - self.lengths[k] / length) * link
                free = ~seen[k] * 1.0, ~seen[k + 1] * 1.0
                if sum(free):
                    self.position[k] += excess * free[0] / sum(free)
                    self.position[k + 1] -= excess * free[1] / sum(free)


def _advance(position: np.ndarray) -> np.ndarray:
    """Unit vector along a zig-zag, from the middles of its sections: its ends may stick out."""
    middle = (position[1:] + position[:-1]) / 2
    part = max(len(middle) // 3, 1)
    axis = middle[-part:].mean(0) - middle[:part].mean(0)
    return axis / max(np.linalg.norm(axis), 1e-9)


def _unfolds(place: np.ndarray, link: np.ndarray) -> np.ndarray:
    """(S, n) 1 where a section would turn to the same side as the fold before it."""
    came, earlier = place[:, -1] - place[:, -2], place[:, -2] - place[:, -3]
    turn = came[:, None, 0] * link[..., 1] - came[:, None, 1] * link[..., 0]
    previous = earlier[:, 0] * came[:, 1] - earlier[:, 1] * came[:, 0]
    return (np.sign(turn) == np.sign(previous)[:, None]).astype(float)
