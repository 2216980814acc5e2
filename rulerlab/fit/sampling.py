"""Draws from a posterior over a unit cube, with ridges and edges as they are.

Every parameter is an axis that maps 0..1, where its prior is flat, to a value: one that starts at 0
is even near zero and even in the logarithm far from it, so that 0 itself is inside and nothing
depends on how many decades of it a logarithm would add.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.special import ndtr, ndtri

from rulerlab.fit.mixture import Mixture, fitted
from rulerlab.records import Parameter

EDGE = 0.04  # share of an axis that counts as its end
CERTAIN = 0.025  # posterior that may lie there without the end counting as allowed
RIDGE = 0.95  # correlation from which two parameters are known only together
WIDE = 0.03  # standard deviation on its axis from which such a parameter is not known by itself
FIRST = 512  # places all over the prior
STEP = 1.2  # new places at once, per place that must count
LEAST = 1e-13  # power of the likelihood at the start
NOTHING = 50.0  # log weight below the largest at which a place is forgotten
PER_PART, PARTS = 80, 12  # effective places to each part (small ones miss the ends of ridges)
DRAWS = 4000  # draws of equal weight that stand for all places
HEAVY = 0.02  # share of one place above which the search goes on
FEW = 100.0  # effective draws below which quantiles are not told
IMPOSSIBLE = -1e12  # log likelihood of a place where there is none


@dataclass(frozen=True)
class Axis:
    """A parameter whose prior is flat along 0..1."""

    name: str
    unit: str
    low: float  # scale of the even part if `zero`, else the smallest value
    high: float
    zero: bool = True  # starts at 0

    def value(self, place: np.ndarray | float) -> np.ndarray:
        """Values at places 0..1 on the axis."""
        place = np.asarray(place, float)
        if self.zero:
            return self.low * np.sinh(place * math.asinh(self.high / self.low))
        return self.low * (self.high / self.low) ** place

    def place(self, value: np.ndarray | float) -> np.ndarray:
        """Places 0..1 of values, the inverse of `value`."""
        value = np.asarray(value, float)
        if self.zero:
            return np.arcsinh(value / self.low) / math.asinh(self.high / self.low)
        return np.log(value / self.low) / math.log(self.high / self.low)

    def density(self, value: np.ndarray | float) -> np.ndarray:
        """Slope of the place against the value: density of the prior."""
        value = np.asarray(value, float)
        if self.zero:
            return 1 / (np.hypot(self.low, value) * math.asinh(self.high / self.low))
        return 1 / (value * math.log(self.high / self.low))


@dataclass(frozen=True)
class Draws:
    """Draws of a posterior in the unit cube, all of the same weight."""

    place: np.ndarray  # (S, P)
    log_density: np.ndarray  # (S,)
    log_evidence: float  # of the likelihood under the flat prior
    effective: float  # independent draws that would say as much
    tail: float  # Pareto shape of the weights; above 0.7 a few draws decide (Vehtari et al. 2024)
    evaluations: int  # of the likelihood

    @property
    def best(self) -> np.ndarray:
        """Draw of highest density, (P,)."""
        return self.place[int(self.log_density.argmax())]

    @property
    def enough(self) -> bool:
        """Whether quantiles may be read off."""
        return self.effective >= FEW and self.tail < 0.7


class Coordinates(Protocol):
    """A way to write down places of the unit cube, in which proposals are drawn."""

    def along(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (S, P) of places, and log volume of the cube per volume of these."""
        ...

    def back(self, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places of coordinates, and the same; minus infinity where there is no place."""
        ...


class Normal:
    """Coordinates in which the flat prior is the standard normal."""

    def along(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        along = ndtri(place)
        return along, self._volume(along)

    def back(self, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return ndtr(along), self._volume(along)

    def _volume(self, along: np.ndarray) -> np.ndarray:
        return -0.5 * (along**2).sum(axis=1) - along.shape[1] / 2 * math.log(2 * math.pi)


class _Search:
    """All places looked at so far, with their coordinates.

    Every place is weighted against the mixture of all proposals, whichever drew it (Cornuet et
    al. 2012): a place that an early, wide proposal found by luck does not outweigh the others.
    """

    def __init__(
        self, heights: Callable[[np.ndarray], np.ndarray], place: np.ndarray, enough: int,
        coordinates: Coordinates,
    ):
        self.heights, self.coordinates = heights, coordinates
        self.place, self.height = place, heights(place)
        self.along, self.volume = coordinates.along(place)
        self.mixed = np.full(len(place), math.log(len(place)))
        self.first, self.drawn, self.looked = len(place), len(place), len(place)
        self.proposals: list[tuple[int, Mixture]] = []
        self.power, self.enough = LEAST, enough

    def weights(self, power: float) -> np.ndarray:
        """Logarithms of the weights for the likelihood to this power; their mean over all places
        that were drawn is the evidence."""
        return power * self.height - self.mixed + math.log(self.drawn)

    def effective(self) -> float:
        """Independent draws that the places are worth."""
        return _count(np.exp(self.weights(1.0) - self.weights(1.0).max()))

    def heaviest(self) -> float:
        """Share of the place that weighs most."""
        return 1 / float(np.exp(self.weights(1.0) - self.weights(1.0).max()).sum())

    def clipped(self, power: float) -> np.ndarray:
        """Shares of the places at this power, from which the next proposal is learned; where a
        single one outweighs all others, it shows where to look and no more (Ionides 2008)."""
        weight = np.exp(self.weights(power) - self.weights(power).max())
        weight = np.minimum(weight, weight.mean() * math.sqrt(len(weight)))
        return weight / weight.sum()

    def approach(self) -> float:
        """Raise the likelihood to the largest power at which enough places count."""
        if _count(self.clipped(1.0)) >= self.enough:
            self.power = 1.0
        low, high = math.log(self.power), 0.0
        while high - low > 0.01:
            middle = (low + high) / 2
            if _count(self.clipped(math.exp(middle))) > self.enough:
                low = middle
            else:
                high = middle
        self.power = math.exp(low)
        return self.power

    def look(self, count: int, rng: np.random.Generator) -> None:
        """Look at `count` new places, where the likelihood at the power reached has its weight."""
        weight = self.weights(self.power)
        self._keep(weight >= weight.max() - NOTHING)
        share = self.clipped(self.power)
        parts = int(np.clip(_count(share) // PER_PART, 1, PARTS))
        proposal = fitted(self.along, share, parts, rng)
        along = proposal.draw(count, rng)
        place, volume = self.coordinates.back(along)
        inside = np.isfinite(volume)  # draws beyond the prior weigh nothing, and cost nothing
        along, place, volume = along[inside], place[inside], volume[inside]
        mixed = np.full(len(along), math.log(self.first))
        self.proposals.append((count, proposal))
        for drawn, one in self.proposals:
            mixed = np.logaddexp(mixed, math.log(drawn) + one.log_density(along) - volume)
        here = math.log(count) + proposal.log_density(self.along) - self.volume
        self.mixed = np.concatenate([np.logaddexp(self.mixed, here), mixed])
        self.place = np.concatenate([self.place, place])
        self.along = np.concatenate([self.along, along])
        self.volume = np.concatenate([self.volume, volume])
        self.height = np.concatenate([self.height, self.heights(place)])
        self.drawn, self.looked = self.drawn + count, self.looked + len(place)

    def _keep(self, kept: np.ndarray) -> None:
        """Forget places that no longer count, and count even less at higher powers."""
        self.place, self.along, self.volume = self.place[kept], self.along[kept], self.volume[kept]
        self.height, self.mixed = self.height[kept], self.mixed[kept]


def _count(weight: np.ndarray) -> float:
    """How many equal weights are worth as much as these (Kish)."""
    return float(weight.sum() ** 2 / (weight**2).sum())


def sample(
    density: Callable[[np.ndarray], float],
    axes: int,
    rng: np.random.Generator,
    *,
    wanted: float = 500,
    most: int = 10_000,
    enough: int = 80,
    coordinates: Coordinates | None = None,
    progress: Callable[[float], None] | None = None,
) -> Draws:
    """Draws from a log likelihood over the unit cube by adaptive importance sampling.

    Places all over the prior come first; a mixture of Student's t is fitted to those that count at
    the largest power of the likelihood at which enough of them do (Cappe et al. 2008), new places
    are drawn from it, and so on until the power is 1 and `wanted` independent draws' worth is
    found, or `most` places were looked at. Several maxima, ridges and edges are kept; `enough`
    places must count for the next step, more of them keep thinner ends. `density` must be safe to
    call from threads.
    """
    from scipy.stats import qmc

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:

        def heights(places: np.ndarray) -> np.ndarray:
            return np.maximum(np.array(list(pool.map(density, places))), IMPOSSIBLE)

        first = qmc.LatinHypercube(axes, rng=rng).random(max(FIRST, 4 * enough))
        search, step = _Search(heights, first, enough, coordinates or Normal()), int(STEP * enough)
        while search.looked < most:
            power = search.approach()
            found = search.effective() if power == 1 else 0.0
            if found >= wanted and search.heaviest() < HEAVY:
                break
            if progress is not None:
                progress(max(search.looked / most, min(found / wanted, 1.0)))
            # few at a time while the way is long, many where only their number is missing
            search.look(step if power < 1 else max(step, search.looked // 16), rng)
    log_weight = search.weights(1.0)
    weight = np.exp(log_weight - log_weight.max())
    kept = _resampled(weight / weight.sum(), DRAWS, rng)
    evidence = float(log_weight.max() + math.log(weight.sum() / search.drawn))
    return Draws(search.place[kept], search.height[kept], evidence, search.effective(),
                 tail_shape(weight), search.looked)  # fmt: skip


def _resampled(share: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Systematic resampling: indices of `count` draws, each as often as its share says."""
    comb = (np.arange(count) + rng.random()) / count
    return np.minimum(np.searchsorted(np.cumsum(share), comb), len(share) - 1)


def tail_shape(weight: np.ndarray) -> float:
    """Shape of the generalised Pareto distribution of the largest weights (Zhang & Stephens 2009).

    Below 0.5 their mean square is finite, above 0.7 sums over them can't be trusted.
    """
    count = len(weight)
    tail = math.ceil(min(0.2 * count, 3 * math.sqrt(count)))
    order = np.sort(weight)
    excess = order[-tail:] - order[-tail - 1]
    if excess[0] <= 0:
        excess = np.maximum(excess, 1e-12 * excess[-1])
    points = 30 + int(math.sqrt(tail))
    rate = 1 - np.sqrt(points / (np.arange(1, points + 1) - 0.5))
    rate = rate / (3 * excess[tail // 4]) + 1 / excess[-1]
    shape = np.log1p(-rate[:, None] * excess).mean(axis=1)
    likely = tail * (np.log(-rate / shape) - shape - 1)
    share = 1 / np.exp(likely - likely[:, None]).sum(axis=1)
    rate = float((rate * share).sum())
    return float(np.log1p(-rate * excess).mean())


def parameters(axes: tuple[Axis, ...], place: np.ndarray, best: np.ndarray) -> dict[str, Parameter]:
    """Intervals from draws (S, P) on the axes; what reaches the end of an axis is a bound."""
    scatter = place.std(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        together = np.nan_to_num(np.corrcoef(place, rowvar=False))
    np.fill_diagonal(together, 0)
    found = {}
    for p, axis in enumerate(axes):
        value = axis.value(place[:, p])
        reaches_low = (place[:, p] < EDGE).mean() > CERTAIN
        reaches_high = (place[:, p] > 1 - EDGE).mean() > CERTAIN
        low, high = np.quantile(value, [0.025, 0.975])
        ridge = (np.abs(together[p]) > RIDGE) & (scatter > WIDE)
        point, sigma, bound = float(axis.value(best[p])), math.inf, ""
        if reaches_low and reaches_high:
            point, low, high, bound = math.nan, 0.0, math.inf, "ridge"
        elif reaches_low:
            low, high, bound = 0.0, np.quantile(value, 0.95), "upper"
        elif reaches_high:
            low, high, bound = np.quantile(value, 0.05), math.inf, "lower"
        elif ridge.any() and scatter[p] > WIDE:
            bound = "ridge"
        else:
            sigma = float(value.std())
        low, high = float(low), float(high)
        point = point if math.isnan(point) else min(max(point, low), high)
        found[axis.name] = Parameter(point, sigma, low, high, axis.unit, bound)
    return found
