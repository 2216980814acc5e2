"""From possible sticks to a chain: the path through the hinges that the picture bears out best.

A chain visits no hinge twice. Its sections are full ones but for the first and the last but one
(which may be halves) and the last (any length: it lies in the hand). It folds to and fro, its
sticks seldom cross, and no edge in the picture speaks for two of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.track.sticks.beam import grow
from rulerlab.track.sticks.links import Links

COST = 0.12  # what a stick must be borne out by, at least, to be worth having
SAME_TURN = 0.35  # cost of two turns the same way, in well-seen sticks
FREE_COST = 0.15  # cost of a section in the hand: of any length, after which there is none
CROSSING = 0.3  # cost of a stick that crosses an earlier one
LENGTH_SLACK = 0.03  # neighbouring full sections are as long as one another within this
UNEQUAL = (0.1, 1.0)  # cost at that difference, and at the most
APART = 0.7  # widths: no two hinges of a chain are nearer to each other
BEAM = 600  # chains kept while searching
LONGEST = 40  # sections


@dataclass(frozen=True)
class Path:
    """One way through the hinges, held end first, and what speaks for it (in well-seen sticks)."""

    hinges: tuple[int, ...]
    sticks: tuple[int, ...]
    score: float


def best_paths(links: Links) -> list[Path]:
    """The best chain, and where that does not end in a full section, the best that does."""
    full, half = links.is_full, links.is_half
    first = np.flatnonzero(full | half)
    if not len(first):
        return []
    tables, at_hinge = _tables(links), _at_hinge(links)
    prices = COST, SAME_TURN, CROSSING, FREE_COST
    sticks = np.repeat(first, 2)[:, None]
    paths = np.stack([links.ends[first], links.ends[first, ::-1]], 1).reshape(-1, 2)
    worth = (links.worth - COST) * np.minimum(links.length, 1.0)
    beam = paths, sticks, worth[sticks[:, 0]], np.zeros(len(sticks))
    best: list[Path] = []  # of every length, those that may go on and those that may not
    for _ in range(LONGEST):
        best += _best(beam, full)
        beam, ended = grow(*beam, at_hinge, full, half, tables, prices, BEAM)
        best += _best(ended, full)
        if not len(beam[0]):
            break
    best.sort(key=lambda path: -path.score)
    second = next((path for path in best if full[path.sticks[-1]]), None)
    return [*best[:1], *([second] if second is not None and second is not best[0] else [])]


def _best(beam: tuple[np.ndarray, ...], full: np.ndarray) -> list[Path]:
    """The best of some paths, and the best that ends in a full section."""
    paths, sticks, score, _ = beam
    order = np.argsort(-score, kind="stable")
    chosen = [*order[:1], *order[full[sticks[order, -1]]][:1]]
    return [Path(tuple(paths[b].tolist()), tuple(sticks[b].tolist()), float(score[b]))
            for b in chosen]


def _tables(links: Links) -> tuple[np.ndarray, ...]:
    """What `beam.longer` looks up for each stick: see there."""
    ratio = np.log(links.length[:, None] / links.length[None]) / LENGTH_SLACK
    both = links.is_full[:, None] & links.is_full[None]
    unequal = np.where(both, np.minimum(UNEQUAL[0] * ratio**2, UNEQUAL[1]), 0.0)
    samples = np.maximum(links.evidence.sum(1), 1).astype(float)
    short = -links.known.shape[-1] % 64
    known = np.packbits(np.pad(links.known, ((0, 0), (0, 0), (0, short))), axis=-1)
    near = np.linalg.norm(links.hinge[:, None] - links.hinge, axis=-1) < APART * links.width_px
    return (links.hinge, near, links.worth, np.minimum(links.length, 1.0), samples,
            known.view(np.uint64), _crossings(links), unequal)


def _at_hinge(links: Links) -> np.ndarray:
    """The sticks at each hinge and the hinges at their other ends, (H, M, 2); -1 where no more."""
    count = np.bincount(links.ends.ravel(), minlength=len(links.hinge))
    table = np.full((len(links.hinge), max(int(count.max(initial=0)), 1), 2), -1)
    filled = np.zeros(len(links.hinge), int)
    for k, ends in enumerate(links.ends.tolist()):
        for here, there in (ends, ends[::-1]):
            table[here, filled[here]] = k, there
            filled[here] += 1
    return table


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
