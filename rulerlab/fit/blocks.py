"""Friction, damping and noise of a spring-block bench with known masses and springs.

The bench is simulated many times with laws drawn at random, pulled by the measured hand and
filmed with the measured errors; what the filmed run has in common with the trials gives the
posterior (docs/fit.md).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rulerlab.errors import QualityError
from rulerlab.fit.bench import Bench
from rulerlab.fit.evidence import residual_tests
from rulerlab.fit.prior import (
    ASYMMETRY,
    BIASED,
    OF_BLOCK,
    PLAIN,
    STATIC,
    UNLIKE,
    Box,
    Variety,
    draw,
    prior_of,
)
from rulerlab.fit.regression import Learned, learn
from rulerlab.fit.summaries import Summary
from rulerlab.fit.trial import simulate_trials

FEWEST_FRAMES = 40
SEARCH, FINAL, EXTRA = 640, 2048, 1024  # trials
ROUNDS = 7
SETTLED = 0.5  # a box that shrinks by less than this needs no further round
Progress = Callable[[float], None]


@dataclass(frozen=True)
class Evidence:
    """All that trials said about one filmed run."""

    bench: Bench
    prior: Box
    learned: Learned  # columns as in rulerlab.fit.prior
    extra: np.ndarray  # (D, 2 + B) draws of asymmetry, static ratio, friction of each block
    tests: dict[str, float]
    chi2: float
    freedom: float


def gather(
    bench: Bench, *, seed: int = 0, more: int = 1, progress: Progress | None = None
) -> Evidence:
    """Run the trials: narrow the box down, then learn in it.

    `more` times as many trials give a smoother posterior. Raises QualityError when the run is too
    short.
    """
    if len(bench.time_s) < FEWEST_FRAMES:
        raise QualityError(
            f"{len(bench.time_s)} frames tell nothing about friction; {FEWEST_FRAMES} are needed"
        )
    rng = np.random.default_rng(seed)
    tell = progress or (lambda _share: None)
    summary, prior = Summary(bench), prior_of(bench)
    seen = summary(bench.block_mm[None])[0]
    box = prior
    for round_ in range(ROUNDS):
        tell(0.5 * round_ / (ROUNDS * more))
        values, numbers = _trials(bench, summary, box, SEARCH, rng)
        found = learn(numbers.mean(axis=1), seen.mean(axis=0), values[:, :ASYMMETRY])
        narrower = box.around(found.posterior, prior)
        settled = narrower.volume() > SETTLED * box.volume()
        box = narrower
        if settled:
            break
    parts = [_trials(bench, summary, box, FINAL, rng)]
    for part in range(1, more):
        tell((part - 0.5) / more)
        parts.append(_trials(bench, summary, box, FINAL, rng))
    values, numbers = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    pooled = numbers.mean(axis=1)
    learned = learn(pooled, seen.mean(axis=0), values[:, :ASYMMETRY])
    tests, chi2, freedom = residual_tests(
        pooled, learned.estimate, seen.mean(axis=0), learned.observed, summary.names)  # fmt: skip
    tell(1 - 0.5 / more)
    extra = _extra(bench, summary, box, EXTRA * more, rng, seen)
    tell(1.0)
    return Evidence(bench, prior, learned, extra, tests, chi2, freedom)


def _trials(
    bench: Bench, summary: Summary, box: Box, count: int, rng: np.random.Generator,
    variety: Variety = PLAIN,
) -> tuple[np.ndarray, np.ndarray]:
    """Parameters (S, P) and numbers (S, B, K) of trials."""
    values, laws = draw(bench, box, count, rng, variety)
    seen = simulate_trials(bench, laws, seed=int(rng.integers(2**31)))
    return values, summary(seen)


def _extra(bench, summary, box, count, rng, seen) -> np.ndarray:
    """Draws of what is not in the pooled law: asymmetry, static friction, single blocks."""
    mine = seen.mean(axis=0)
    values, numbers = _trials(bench, summary, box, count, rng, BIASED)
    columns = [learn(numbers.mean(axis=1), mine, values[:, [ASYMMETRY, STATIC]]).posterior]
    values, numbers = _trials(bench, summary, box, count, rng, UNLIKE)
    pooled = numbers.mean(axis=1)
    for block in range(bench.blocks):
        own = np.hstack([numbers[:, block], pooled])
        friction = values[:, [OF_BLOCK + block]]
        columns.append(learn(own, np.hstack([seen[block], mine]), friction).posterior)
    return np.hstack(columns)
