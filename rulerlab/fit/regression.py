"""From trials to a posterior: learn what the numbers say about the parameters, then look there.

Regression-adjusted approximate Bayesian computation with learned summaries (Beaumont, Zhang &
Balding 2002; Fearnhead & Prangle 2012) under a flat prior in a box, cut round by round to where
the filmed run can lie (truncated proposals, Deistler et al. 2022).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FOLDS = 5
CURVED = 8  # leading components whose squares and products enter the regression
RIDGES = 10.0 ** np.arange(-4, 3)
NEAR = 0.5  # share of the trials that are near enough to count


@dataclass(frozen=True)
class Learned:
    """What trials with parameters (S, P) say about the filmed run."""

    estimate: np.ndarray  # (S, P) of each trial, from the other trials
    observed: np.ndarray  # (P,) of the filmed run
    posterior: np.ndarray  # (D, P) draws
    replicas: np.ndarray  # (M, P) of other runs, that had no part in the learning


def _ridge(design: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weights (K, P) and intercept by ridge regression, its strength by cross-validation (GCV)."""
    middle, centre = design.mean(axis=0), target.mean(axis=0)
    moved, wanted = design - middle, target - centre
    power, axes = np.linalg.eigh(moved.T @ moved)
    power = np.maximum(power, 1e-9 * power[-1])
    along = axes.T @ (moved.T @ wanted)
    best, weights = np.full(target.shape[1], np.inf), np.zeros((design.shape[1], target.shape[1]))
    for ridge in RIDGES * len(design):
        keep = power / (power + ridge)
        told = (along**2 / power[:, None] * (keep * (2 - keep))[:, None]).sum(axis=0)
        misfit = ((wanted**2).sum(axis=0) - told) / len(design)
        cost = misfit / (1 - (keep.sum() + 1) / len(design)) ** 2
        better = cost < best
        weights[:, better] = (axes @ (along / (power + ridge)[:, None]))[:, better]
        best = np.minimum(best, cost)
    return weights, centre - middle @ weights


class Lesson:
    """Regressions of parameters (S, P) on the numbers of trials (S, K), each blind to a fifth."""

    def __init__(self, numbers: np.ndarray, observed: np.ndarray, parameters: np.ndarray):
        spread = numbers.std(axis=0)
        self._good = np.isfinite(numbers).all(axis=0) & np.isfinite(observed) & (spread > 1e-9)
        self._middle = numbers[:, self._good].mean(axis=0)
        self._spread = spread[self._good]
        self._axes = np.linalg.svd(self._even(numbers), full_matrices=False)[2][:CURVED].T
        self._scale = (self._even(numbers) @ self._axes).std(axis=0)
        self._observed, self._parameters = observed, parameters
        design, fold = self._design(numbers), np.arange(len(numbers)) % FOLDS
        self._weights = [_ridge(design[fold != part], parameters[fold != part])
                         for part in range(FOLDS)]  # fmt: skip
        self._estimate = np.empty_like(parameters)
        for part, (weights, start) in enumerate(self._weights):
            self._estimate[fold == part] = design[fold == part] @ weights + start

    def _even(self, numbers: np.ndarray) -> np.ndarray:
        """Numbers in standard deviations of the trials; one that is not finite is as their mean."""
        return np.clip(np.nan_to_num((numbers[:, self._good] - self._middle) / self._spread), -8, 8)

    def _design(self, numbers: np.ndarray) -> np.ndarray:
        """Standardised numbers with products of their leading components."""
        every = self._even(numbers)
        leading = every @ self._axes / self._scale
        pairs = np.triu_indices(leading.shape[1])
        return np.hstack([every, leading[:, pairs[0]] * leading[:, pairs[1]]])

    def told(self, numbers: np.ndarray) -> np.ndarray:
        """Estimates (M, P) from the numbers of other runs (M, K), that had no part in it."""
        design = self._design(numbers)
        return np.mean([design @ weights + start for weights, start in self._weights], axis=0)

    def learned(self, replicas: np.ndarray | None = None) -> Learned:
        """What the trials say about the filmed run; `replicas` (M, K) are judged like it."""
        observed = self.told(self._observed[None])[0]
        others = np.empty((0, len(observed))) if replicas is None else self.told(replicas)
        posterior = _adjusted(self._parameters, self._estimate, observed)
        return Learned(self._estimate, observed, posterior, others)


def learn(
    numbers: np.ndarray, observed: np.ndarray, parameters: np.ndarray,
    replicas: np.ndarray | None = None,
) -> Learned:
    """Posterior of the parameters given `observed` (K,), from trials (S, K) and (S, P).

    Every trial is judged by a regression that has not seen it, so the spread is not flattered.
    The numbers of `replicas` (M, K) are judged like the observed ones.
    """
    return Lesson(numbers, observed, parameters).learned(replicas)


def _adjusted(parameters: np.ndarray, estimate: np.ndarray, told: np.ndarray) -> np.ndarray:
    """The nearest trials, shifted along the local dependence of parameters on estimates."""
    rest = parameters - estimate
    scale = rest.std(axis=0) + 1e-12
    away = np.sqrt((((estimate - told) / scale) ** 2).mean(axis=1))
    reach = np.quantile(away, NEAR)
    weight = np.maximum(1 - (away / reach) ** 2, 0)
    used = weight > 0
    root = np.sqrt(weight[used])[:, None]
    shift = (estimate[used] - told) / scale
    design = np.hstack([np.ones((used.sum(), 1)), shift])
    slope = np.linalg.lstsq(design * root, parameters[used] * root, rcond=None)[0]
    draws = parameters[used] - shift @ slope[1:]
    rng = np.random.default_rng(0)
    pick = rng.choice(len(draws), size=2000, p=weight[used] / weight[used].sum())
    return draws[pick]
