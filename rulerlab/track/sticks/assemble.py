"""From possible sticks to a chain: the path through the hinges that the picture bears out best.

A chain visits no hinge twice. Its sections are full ones but for the first and the last but one
(which may be halves) and the last (any length: it lies in the hand). It folds to and fro, and no
edge in the picture belongs to two of its sticks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.track.sticks.links import Links

COST = 0.12  # what a stick must be borne out by, at least, to be worth having
SAME_TURN = 0.35  # cost of two turns the same way, in well-seen sticks
LENGTH_SLACK = 0.03  # neighbouring full sections are as long as one another within this
BEAM = 400  # chains kept while searching
LONGEST = 40  # sections


@dataclass(frozen=True)
class Path:
    """One way through the hinges, held end first, and what speaks for it (in well-seen sticks)."""

    hinges: tuple[int, ...]
    sticks: tuple[int, ...]
    score: float


def best_paths(links: Links, *, most: int = 5) -> list[Path]:
    """The best chains, the best one first."""
    at_hinge: dict[int, list[tuple[int, int]]] = {}
    for k, (a, b) in enumerate(links.ends):
        at_hinge.setdefault(int(a), []).append((k, int(b)))
        at_hinge.setdefault(int(b), []).append((k, int(a)))
    full, half = links.is_full, links.is_half
    beam = [
        Path((one, other), (k,), _gain(links, k, ()))
        for k, ends in enumerate(links.ends.tolist()) if full[k] or half[k]
        for one, other in (ends, ends[::-1])
    ]
    finished: list[Path] = []
    for _ in range(LONGEST):
        finished += beam
        grown: list[Path] = []
        for path in beam:
            last = path.sticks[-1]
            for k, there in at_hinge[path.hinges[-1]]:
                if there in path.hinges:
                    continue
                longer = Path((*path.hinges, there), (*path.sticks, k), path.score
                              + _gain(links, k, path.sticks) - _joint_cost(links, path, k, there))
                may_go_on = full[last] or len(path.sticks) == 1
                if may_go_on and full[k] or full[last] and half[k]:
                    grown.append(longer)
                else:
                    finished.append(longer)
        beam = _distinct(grown)[:BEAM]
        if not beam:
            break
    return sorted(finished, key=lambda path: -path.score)[:most]


def _gain(links: Links, k: int, before: tuple[int, ...]) -> float:
    """What stick k adds: its evidence without what the sticks before it explain already."""
    known = max((links.shared[k, other] for other in before), default=0.0)
    worth = links.worth[k] - max(links.worth[k], 0.0) * known
    return float((worth - COST) * min(links.length[k], 1.0))


def _joint_cost(links: Links, path: Path, k: int, there: int) -> float:
    """What speaks against stick k following the path: a turn like the last one, another length."""
    cost = 0.0
    if len(path.hinges) > 2:
        a, b, c = links.hinge[list(path.hinges[-3:])]
        turns = _cross(b - a, c - b), _cross(c - b, links.hinge[there] - c)
        cost += SAME_TURN * (turns[0] * turns[1] > 0)
    if links.is_full[k] and links.is_full[path.sticks[-1]]:
        ratio = np.log(links.length[k] / links.length[path.sticks[-1]])
        cost += 0.1 * min((ratio / LENGTH_SLACK) ** 2, 10.0)
    return float(cost)


def _cross(one: np.ndarray, other: np.ndarray) -> float:
    return float(one[0] * other[1] - one[1] * other[0])


def _distinct(paths: list[Path]) -> list[Path]:
    """Of chains through the same hinges that end alike, the best; in the order of their scores."""
    seen, kept = set(), []
    for path in sorted(paths, key=lambda path: -path.score):
        state = (frozenset(path.hinges), path.hinges[-2:])
        if state not in seen:
            seen.add(state)
            kept.append(path)
    return kept
