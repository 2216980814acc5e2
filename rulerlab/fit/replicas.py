"""Runs as the fitted law would have shown them: is the filmed one like these?"""

from __future__ import annotations

import numpy as np

from rulerlab.fit.bench import Bench
from rulerlab.fit.evidence import given_zero
from rulerlab.fit.prior import (
    ASYMMETRY,
    FRICTION,
    LEAN,
    MEMORY,
    PLAIN,
    STATIC,
    STICKY,
    VISCOUS,
    Box,
    laws_of,
)
from rulerlab.fit.regression import Learned
from rulerlab.fit.trial import TOGETHER, simulate_trials

REPLICAS = 640  # runs; at least 500, or none could be odder than 0.002
TRUST = 0.002  # share of replicas as odd below which the law does not fit
KINDS = {  # of the numbers of a run, by what they speak of
    "dispersion": ("spread", "tail of the spread"), "whiteness": ("memory",),
    "velocity law": ("viscous", "dry", "force before way", "force after way", "lean"),
    "velocity": ("speed", "way", "tail of the speed", "mean speed", "slow", "memory of the speed"),
    "springs": ("mean spring", "spring at way", "spread of the spring", "tail of the spring",
                "memory of the spring"),
}  # fmt: skip


def draws_of_law(draws: np.ndarray, law: str, prior: Box) -> np.ndarray:
    """Draws (REPLICAS, P) of the posterior under a law: what it leaves out is 0."""
    draws = draws[np.arange(REPLICAS) % len(draws)]
    for term, column in (("coulomb", FRICTION), ("viscous", VISCOUS)):
        if law in ("none", "coulomb", "viscous") and law != term:
            draws = given_zero(draws, column)
    lean_and_static = draws[:, ASYMMETRY:]
    if lean_and_static.size:
        lean_and_static = np.clip(lean_and_static, (-LEAN, 1.0), (LEAN, STICKY))
    return np.hstack([prior.clipped(draws[:, :ASYMMETRY]), lean_and_static])


def replicas_of(bench: Bench, draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Blocks (M, T, B) of benches with laws (M, 5), or (M, 7) with asymmetry and static ratio.

    Runs that share their noise's memory and static ratio by construction are those that are
    nearest in the latter, or else in the former.
    """
    sticky = draws.shape[1] > STATIC
    draws = draws[np.argsort(draws[:, STATIC if sticky else MEMORY])]
    departure = PLAIN.blocks * rng.uniform(-1, 1, (len(draws), bench.blocks))
    friction = draws[:, [FRICTION]] * (1 + departure - departure.mean(axis=1, keepdims=True))
    lean = draws[:, ASYMMETRY] if sticky else 0.0
    static = np.maximum(draws[::TOGETHER, STATIC], 1.0) if sticky else 1.0
    laws = laws_of(bench, draws, friction, lean=lean, static=static)
    return simulate_trials(bench, laws, seed=int(rng.integers(2**31)))


def oddness(
    numbers: np.ndarray, learned: Learned, observed: np.ndarray, replicas: np.ndarray,
    names: list[str],
) -> tuple[dict[str, float], float, float]:
    """p of each group of numbers (share of replicas as odd as the filmed run), chi2, its freedom.

    From `numbers` of trials (S, K) the regression on the estimates of each run is taken off, and
    the covariance of what is left measures the distance of the filmed run and of the `replicas`
    (M, K), which had no part in either.
    """
    rest, others = _residual(numbers, learned, np.vstack([observed, replicas]))
    scale = learned.estimate.std(axis=0) + 1e-12
    away = (((learned.estimate - learned.observed) / scale) ** 2).sum(axis=1)
    rest = rest[np.argsort(away)[: max(300, len(away) // 2)]]
    kind = [name.split(",")[0] for name in names]
    tests = {group: _rank(rest, others, [k for k, name in enumerate(kind) if name in members])[0]
             for group, members in KINDS.items()}  # fmt: skip
    tests["all"], chi2, freedom = _rank(rest, others, list(range(len(kind))))
    return tests, chi2, freedom


def _residual(numbers: np.ndarray, learned: Learned, others: np.ndarray):
    """Numbers of trials and others less what the estimates of each run predict for them."""
    trials = len(numbers)
    scale, middle = learned.estimate.std(axis=0) + 1e-12, learned.estimate.mean(axis=0)
    every = np.vstack([learned.estimate, learned.observed, learned.replicas])
    every = (every - middle) / scale
    pairs = np.triu_indices(every.shape[1])
    design = np.hstack([np.ones((len(every), 1)), every, every[:, pairs[0]] * every[:, pairs[1]]])
    weights = np.linalg.lstsq(design[:trials], numbers, rcond=None)[0]
    return numbers - design[:trials] @ weights, others - design[trials:] @ weights


def _rank(rest: np.ndarray, others: np.ndarray, columns: list[int]) -> tuple[float, float, float]:
    """p of the first of the others by its rank, its distance, and the expectation of that."""
    part, other = rest[:, columns], others[:, columns]
    spread = part.std(axis=0)
    good = spread > 1e-9
    part, other = part[:, good] / spread[good], other[:, good] / spread[good]
    middle = part.mean(axis=0)
    size, axes = np.linalg.eigh(np.cov(part, rowvar=False).reshape(part.shape[1], -1))
    keep = size > 1e-3 * size.max(initial=0)
    distance = (((other - middle) @ (axes[:, keep] / np.sqrt(size[keep]))) ** 2).sum(axis=1)
    share = float((distance >= distance[0]).mean())
    return share, float(distance[0]), float(keep.sum())
