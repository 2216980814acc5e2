"""Ruler, chain and network on one scale: which chain, which network shares its load like this?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf, sqrt

import numpy as np

from rulerlab.compare.networks import Neighbour, neighbours
from rulerlab.compare.scale import Distance, distance, on_one_scale
from rulerlab.fit.nearest import NearestChain, nearest_chain
from rulerlab.network.atlas import Cell
from rulerlab.records import LoadCurve

__all__ = ["Comparison", "Distance", "compare", "distance", "on_one_scale"]


@dataclass(frozen=True)
class Comparison:
    """A load curve, its place among simulated chains, and the trained networks, nearest first."""

    curve: LoadCurve
    chain: NearestChain
    networks: tuple[Neighbour, ...]

    def concave_probability(self) -> float:
        """Probability that c < 0: on the side of the zero line where the hand carries more."""
        sigma = self.curve.sigma_of("c")
        if not sigma:
            return float(self.curve.c < 0)
        return 0.5 * (1 - erf(self.curve.c / sigma / sqrt(2)))

    def alike(self) -> tuple[Neighbour, ...]:
        """The networks that can't be told apart from the curve."""
        return tuple(found for found in self.networks if found.accepted)


def compare(
    curve: LoadCurve, cells: Sequence[Cell], *, lengths: np.ndarray | None = None
) -> Comparison:
    """Lay a load curve of any source beside simulated chains and trained networks.

    `lengths` (L,) are those of the segments over the common one: a half section opens half as far
    under the same tension. Raises QualityError when the curve carries no load.
    """
    return Comparison(curve, nearest_chain(curve, lengths=lengths),
                      tuple(neighbours(curve, cells)))
