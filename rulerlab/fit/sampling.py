"""Draws from a posterior over a unit cube, with ridges and edges as they are.

Every parameter is an axis that maps 0..1, where its prior is flat, to a value: `Axis.positive` is
even near zero and even in the logarithm far from it, so that 0 itself is inside and nothing
depends on how many decades of it a logarithm would add.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from rulerlab.records import Parameter

EDGE = 0.04  # share of an axis that counts as its end
CERTAIN = 0.025  # posterior that may lie there without the end counting as allowed
RIDGE = 0.95  # correlation from which two parameters are known only together
WIDE = 0.03  # standard deviation on its axis from which such a parameter is not known by itself
EFFECTIVE = 0.3  # share of particles that stay effective from one power to the next


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

    def place(self, value: float) -> float:
        """Place 0..1 of a value, the inverse of `value`."""
        if self.zero:
            return math.asinh(value / self.low) / math.asinh(self.high / self.low)
        return math.log(value / self.low) / math.log(self.high / self.low)


@dataclass(frozen=True)
class Draws:
    """Draws of a posterior in the unit cube."""

    place: np.ndarray  # (S, P)
    log_density: np.ndarray  # (S,)
    log_evidence: float  # of the likelihood under the flat prior
    acceptance: float  # share of accepted steps at full likelihood

    @property
    def best(self) -> np.ndarray:
        """Draw of highest density, (P,)."""
        return self.place[int(self.log_density.argmax())]


def reflected(place: np.ndarray) -> np.ndarray:
    """Folded back into the unit cube at its faces."""
    return 1 - np.abs(1 - np.mod(place, 2))


def _power(height: np.ndarray, reached: float, share: float) -> float:
    """Next power of the likelihood: it leaves `share` of the particles effective."""

    def effective(power: float) -> float:
        weight = np.exp((power - reached) * (height - height.max()))
        return weight.sum() ** 2 / (weight**2).sum() / len(height)

    if effective(1.0) >= share:
        return 1.0
    low, high = reached, 1.0
    while high - low > 1e-9 * high and high > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) > share else (low, middle)
    return high


def sample(
    density: Callable[[np.ndarray], float],
    axes: int,
    rng: np.random.Generator,
    *,
    particles: int = 192,
    last_moves: float = 4.0,
    progress: Callable[[float], None] | None = None,
) -> Draws:
    """Draws from a log likelihood over the unit cube by sequential Monte Carlo (Del Moral 2006).

    Particles start all over the prior; the likelihood is let in power by power, so that a share
    EFFECTIVE of them stays effective. After each power they are resampled and step at random, as
    widely as they lie apart, until each was moved about once; at full likelihood `last_moves`
    times, of which the second half are the draws. Several maxima, ridges and edges are kept.
    `density` must be safe to call from threads.
    """
    from scipy.stats import qmc

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:

        def heights(places: np.ndarray) -> np.ndarray:
            return np.array(list(pool.map(density, places)))

        place = qmc.LatinHypercube(axes, rng=rng).random(4 * particles)
        height = heights(place)
        reached, evidence, scale, rate = 0.0, 0.0, 1.0, 1.0
        draws: list[tuple[np.ndarray, np.ndarray]] = []
        while reached < 1:
            power = _power(height, reached, EFFECTIVE * particles / len(place))
            weight = (power - reached) * (height - height.max())
            evidence += (power - reached) * height.max() + math.log(np.exp(weight).mean())
            reached = power
            share = np.exp(weight) / np.exp(weight).sum()
            kept = _resampled(share, particles, rng)
            place, height = place[kept], height[kept]
            moved, tries, wanted = 0.0, 0, last_moves if reached == 1 else 1.0
            while moved < wanted and tries < 12 * wanted:
                spread = np.linalg.cholesky(np.cov(place, rowvar=False) + 1e-14 * np.eye(axes))
                step = scale * 2.38 / math.sqrt(axes) * rng.standard_normal(place.shape) @ spread.T
                new = reflected(place + step)
                new_height = heights(new)
                chance = np.exp(np.minimum(reached * (new_height - height), 0))
                taken = rng.random(particles) < chance
                place[taken], height[taken] = new[taken], new_height[taken]
                rate, tries = float(taken.mean()), tries + 1
                moved += rate
                if reached == 1 and moved > last_moves / 2:
                    draws.append((place.copy(), height.copy()))
                scale = float(np.clip(scale * math.exp(rate - 0.25), 0.05, 1.5))
            if progress is not None:
                progress(min(1.0, 1 + math.log10(max(reached, 1e-6)) / 6))
    draws = draws or [(place, height)]
    return Draws(np.concatenate([one for one, _ in draws]),
                 np.concatenate([one for _, one in draws]), evidence, rate)  # fmt: skip


def _resampled(share: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Systematic resampling: indices of `count` particles, each as often as its share says."""
    comb = (np.arange(count) + rng.random()) / count
    return np.minimum(np.searchsorted(np.cumsum(share), comb), len(share) - 1)


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
