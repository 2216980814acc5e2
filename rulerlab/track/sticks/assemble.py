"""From possible sticks to a chain: the path through the hinges that the picture bears out best.

A chain visits no hinge twice. Its sections are full ones but for the first and the last but one
(which may be halves) and the last (any length: it lies in the hand). It folds to and fro, its
sticks seldom cross, and no edge in the picture speaks for two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.track.sticks.links import Links

COST = 0.12  # what a stick must be borne out by, at least, to be worth having
SAME_TURN = 0.35  # cost of two turns the same way, in well-seen sticks
FREE_COST = 0.15  # cost of a section that is neither full nor half
CROSSING = 0.3  # cost of a stick that crosses an earlier one
LENGTH_SLACK = 0.03  # neighbouring full sections are as long as one another within this
UNEQUAL = (0.1, 1.0)  # cost at that difference, and at the most
BEAM = 150  # chains kept while searching
LONGEST = 40  # sections


@dataclass(frozen=True)
class Path:
    """One way through the hinges, held end first, and what speaks for it (in well-seen sticks)."""

    hinges: tuple[int, ...]
    sticks: tuple[int, ...]
    score: float
    members: int  # bit k is set for stick k
    turn: float = 0.0  # which way the last joint turns


def best_paths(links: Links) -> list[Path]:
    """The best chain, and where that does not end in a full section, the best that does."""
    costs = _Costs(links)
    at_hinge: dict[int, list[tuple[int, int]]] = {}
    for k, (a, b) in enumerate(links.ends.tolist()):
        at_hinge.setdefault(a, []).append((k, b))
        at_hinge.setdefault(b, []).append((k, a))
    full, half = links.is_full.tolist(), links.is_half.tolist()
    beam = [
        Path((one, other), (k,), costs.gain(k, 0), 1 << k)
        for k, ends in enumerate(links.ends.tolist()) if full[k] or half[k]
        for one, other in (ends, ends[::-1])
    ]
    finished: list[Path] = []
    for _ in range(LONGEST):
        finished += beam
        grown: list[Path] = []
        for path in beam:
            last = path.sticks[-1]
            may_go_on = full[last] or len(path.sticks) == 1
            for k, there in at_hinge[path.hinges[-1]]:
                if there in path.hinges:
                    continue
                longer = costs.longer(path, k, there)
                if may_go_on and full[k] or full[last] and half[k]:
                    grown.append(longer)
                else:
                    finished.append(longer)
        beam = _distinct(grown)
        if not beam:
            break
    finished.sort(key=lambda path: -path.score)
    second = next((path for path in finished if full[path.sticks[-1]]), None)
    return [*finished[:1], *([second] if second is not None and second != finished[0] else [])]


class _Costs:
    """What each stick adds to a chain, from tables made once."""

    def __init__(self, links: Links):
        self.worth = links.worth.tolist()
        self.size = np.minimum(links.length, 1.0).tolist()
        self.free = np.where(links.is_full | links.is_half, 0.0, FREE_COST).tolist()
        self.hinge = [complex(*place) for place in links.hinge]
        self.samples = [max(int(count), 1) for count in links.evidence.sum(1)]
        self.known = [_numbers(row) for row in links.known]
        self.sharing = _numbers(np.any(links.known, axis=-1))
        self.crossing = _numbers(_crossings(links))
        ratio = np.log(links.length[:, None] / links.length[None]) / LENGTH_SLACK
        both = links.is_full[:, None] & links.is_full[None]
        self.unequal = np.where(both, np.minimum(UNEQUAL[0] * ratio**2, UNEQUAL[1]), 0.0).tolist()

    def gain(self, k: int, before: int) -> float:
        """The evidence for stick k without what the sticks `before` it (bits) explain already."""
        worth, sharing = self.worth[k], self.sharing[k] & before
        if sharing and worth > 0:
            known, row = 0, self.known[k]
            while sharing:
                known |= row[sharing.bit_length() - 1]
                sharing ^= 1 << (sharing.bit_length() - 1)
            worth *= 1 - known.bit_count() / self.samples[k]
        return (worth - COST) * self.size[k]

    def longer(self, path: Path, k: int, there: int) -> Path:
        """The path with stick k, less what speaks against k coming next."""
        before, here = self.hinge[path.hinges[-2]], self.hinge[path.hinges[-1]]
        turn = ((here - before).conjugate() * (self.hinge[there] - here)).imag
        cost = self.unequal[k][path.sticks[-1]] + SAME_TURN * (turn * path.turn > 0)
        cost += self.free[k]
        cost += CROSSING * (self.crossing[k] & path.members).bit_count()
        return Path((*path.hinges, there), (*path.sticks, k),
                    path.score + self.gain(k, path.members) - cost, path.members | 1 << k, turn)


def _numbers(rows: np.ndarray) -> list[int]:
    """Each row of truth values (R, M) as one number whose bit m tells of column m."""
    packed = np.packbits(rows, axis=-1, bitorder="little")
    return [int.from_bytes(bits.tobytes(), "little") for bits in packed]


def _crossings(links: Links) -> np.ndarray:
    """Which sticks cross which, (K, K); those that share a hinge do not."""
    first, second = links.hinge[links.ends[:, 0]], links.hinge[links.ends[:, 1]]

    def side(point: np.ndarray) -> np.ndarray:
        """On which side of every stick (rows) each point (columns) lies."""
        way, away = (second - first)[:, None], point[None] - first[:, None]
        return way[..., 0] * away[..., 1] - way[..., 1] * away[..., 0] > 0

    apart = side(first) != side(second)
    shared = (links.ends[:, None, :, None] == links.ends[None, :, None, :]).any((2, 3))
    return apart & apart.T & ~shared


def _distinct(paths: list[Path]) -> list[Path]:
    """The best chains; of those through the same hinges that end alike only one."""
    seen, kept = set(), []
    for path in sorted(paths, key=lambda path: -path.score):
        state = (frozenset(path.hinges), path.hinges[-2:])
        if state not in seen:
            seen.add(state)
            kept.append(path)
            if len(kept) == BEAM:
                break
    return kept
