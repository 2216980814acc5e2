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
from rulerlab.fit.evidence import choose_law, compare_laws
from rulerlab.fit.prior import (
    ASYMMETRY,
    BIASED,
    FRICTION,
    OF_BLOCK,
    PLAIN,
    STATIC,
    STICKY,
    UNLIKE,
    Box,
    Variety,
    draw,
    prior_of,
    rooted,
    unrooted,
)
from rulerlab.fit.regression import Learned, Lesson, learn
from rulerlab.fit.replicas import TRUST, draws_of_law, oddness, replicas_of
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
    law: str
    criterion: dict[str, float]  # -2 ln of the evidence of every law above the best simple one
    learned: Learned  # columns as in rulerlab.fit.prior
    extra: np.ndarray  # (D, 2 + B) draws of asymmetry, static ratio, friction of each block
    tests: dict[str, float]
    chi2: float
    freedom: float


def gather(
    bench: Bench, *, seed: int = 0, more: int = 1, progress: Progress | None = None
) -> Evidence:
    """Run the trials: narrow the box down, learn in it, and choose the law.

    `more` times as many trials give a smoother posterior. Raises QualityError when the run is too
    short.
    """
    if len(bench.time_s) < FEWEST_FRAMES:
        raise QualityError(
            f"{len(bench.time_s)} frames tell nothing about friction; {FEWEST_FRAMES} are needed"
        )
    tell = progress or (lambda _share: None)
    film = _Film(bench, np.random.default_rng(seed))
    prior = prior_of(bench)
    box = film.search(prior, prior, PLAIN)
    tell(0.2)
    learned, copies, odd = film.learn_law(box, prior, PLAIN, FINAL * more)
    tell(0.5)
    sticky = film.sticky_box(box)
    values, numbers = film.trials(sticky, EXTRA * more, BIASED)
    biased = learn(numbers.mean(axis=1), film.mine, values[:, [ASYMMETRY, STATIC]], copies)
    chance = (1 + (biased.replicas[:, 1] >= biased.observed[1]).sum()) / (1 + len(copies))
    criterion = compare_laws(learned.posterior, prior, biased.posterior[:, 1] - 1, STICKY - 1)
    law, lean_and_static, variety = choose_law(criterion, chance), biased.posterior, UNLIKE
    tell(0.7)
    if law == "stribeck" or odd[0]["all"] <= TRUST:  # of no use without static friction and lean
        wider = film.search(sticky, prior, BIASED)
        whole, _, left = film.learn_law(wider, prior, BIASED, FINAL * more)
        if law == "stribeck" or left[0]["all"] > TRUST:
            box, learned, odd = wider, whole, left
            lean_and_static = learned.posterior[:, [ASYMMETRY, STATIC]]
            static = lean_and_static[:, 1]
            criterion = compare_laws(learned.posterior, prior, static - 1, STICKY - 1)
            law, variety = choose_law(criterion), BIASED._replace(blocks=UNLIKE.blocks)
    of_blocks = film.blocks(box, EXTRA * more, variety)
    tell(1.0)
    return Evidence(bench, prior, law, criterion, learned,
                    np.hstack([lean_and_static, of_blocks]), *odd)  # fmt: skip


class _Film:
    """One filmed run, and the trials that are compared with it."""

    def __init__(self, bench: Bench, rng: np.random.Generator):
        self.bench, self.rng = bench, rng
        self.summary = Summary(bench)
        self.seen = self.summary(bench.block_mm[None])[0]  # (B, K) numbers of each block
        self.mine = self.seen.mean(axis=0)

    def trials(
        self, box: Box, count: int, variety: Variety, *, by_roots: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Parameters (S, P) and numbers (S, B, K) of trials."""
        values, laws = draw(self.bench, box, count, self.rng, variety, by_roots=by_roots)
        blocks = simulate_trials(self.bench, laws, seed=int(self.rng.integers(2**31)))
        return values, self.summary(blocks)

    def search(self, box: Box, prior: Box, variety: Variety) -> Box:
        """The part of the prior in which the filmed run can lie, cut from `box` in rounds: along
        cube roots first, so that no corner is missed, then along the parameters."""
        for to, back in ((rooted, unrooted), (np.asarray, np.asarray)):
            for _ in range(ROUNDS):
                values, numbers = self.trials(box, SEARCH, variety, by_roots=to is rooted)
                found = learn(numbers.mean(axis=1), self.mine, to(values[:, :ASYMMETRY]))
                narrower = box.around(back(found.posterior), prior)
                settled = narrower.volume() > SETTLED * box.volume()
                box = narrower
                if settled:
                    break
        return box

    def learn_law(
        self, box: Box, prior: Box, variety: Variety, count: int
    ) -> tuple[Learned, np.ndarray, tuple[dict[str, float], float, float]]:
        """What trials in the box say, numbers (M, K) of replicas of the filmed run under the
        law that they favour, and how odd the filmed run is among these."""
        parts = [self.trials(box, FINAL, variety) for _ in range(count // FINAL)]
        values = np.concatenate([part for part, _ in parts])
        values = values[:, : STATIC + 1 if variety.sticky > 1 else ASYMMETRY]
        pooled = np.concatenate([numbers.mean(axis=1) for _, numbers in parts])
        lesson = Lesson(pooled, self.mine, values)
        draws = lesson.learned().posterior
        law = "stribeck" if variety.sticky > 1 else choose_law(compare_laws(draws, prior))
        replicas = replicas_of(self.bench, draws_of_law(draws, law, prior), self.rng)
        copies = self.summary(replicas).mean(axis=1)
        learned = lesson.learned(copies)
        return learned, copies, oddness(pooled, learned, self.mine, copies, self.summary.names)

    def sticky_box(self, box: Box) -> Box:
        """The box with room for kinetic friction below what static friction makes it look."""
        low = box.low.copy()
        low[FRICTION] /= STICKY
        return Box(low, box.high)

    def blocks(self, box: Box, count: int, variety: Variety) -> np.ndarray:
        """Draws (D, B) of the friction of each block."""
        values, numbers = self.trials(box, count, variety)
        pooled, columns = numbers.mean(axis=1), []
        for block in range(self.bench.blocks):
            own = np.hstack([numbers[:, block], pooled])
            friction = values[:, [OF_BLOCK + block]]
            columns.append(learn(own, np.hstack([self.seen[block], self.mine]), friction).posterior)
        return np.hstack(columns)
