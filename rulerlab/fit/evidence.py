"""Which law holds, and whether any does."""

from __future__ import annotations

import numpy as np

from rulerlab.fit.prior import FRICTION, VISCOUS, Box

TELL = 2 * np.log(3)  # two laws nearer than this (odds of 3) can't be told apart
STRONG = 2 * np.log(20)  # evidence that a bigger law needs before it is put in place of a smaller
LARGEST = 200.0


def against_zero(draws: np.ndarray, width: float) -> float:
    """-2 ln of the Bayes factor for a parameter (D,) that is 0, against a flat prior 0..`width`.

    The density ratio of Savage and Dickey, with a kernel estimate of the posterior that reflects
    at both ends. Negative: the law without that parameter is the better one.
    """
    inside = np.abs(draws)
    inside = width - np.abs(width - inside)
    kernel = max(float(inside.std()) * len(inside) ** -0.2, 1e-6 * width)
    exponent = -0.5 * (inside / kernel) ** 2
    top = exponent.max()
    log_density = top + np.log(2 * np.exp(exponent - top).mean() / (kernel * np.sqrt(2 * np.pi)))
    return float(np.clip(-2 * (log_density + np.log(width)), -LARGEST, LARGEST))


def _given_zero(draws: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """Draws of one parameter under the condition that another one is 0, to first order."""
    slope = np.cov(draws, zero)[0, 1] / max(float(zero.var()), 1e-300)
    return draws - slope * zero


def compare_laws(
    draws: np.ndarray, prior: Box, static: np.ndarray, sticky: float
) -> dict[str, float]:
    """-2 ln of the evidence of every law, above that of the best of the simple ones.

    `static` are draws of the static over the kinetic friction less 1, `sticky` its largest value.
    """
    friction, viscous = draws[:, FRICTION], draws[:, VISCOUS]
    width = prior.high - prior.low
    no_friction = against_zero(friction, width[FRICTION])
    worse = {
        "coulomb+viscous": 0.0,
        "coulomb": against_zero(viscous, width[VISCOUS]),
        "viscous": no_friction,
        "none": no_friction + against_zero(_given_zero(viscous, friction), width[VISCOUS]),
    }
    best = min(worse.values())
    worse["stribeck"] = -against_zero(static, sticky)
    return {law: value - best for law, value in worse.items()}


def choose_law(criterion: dict[str, float]) -> str:
    """The law with the most evidence; "cannot tell" when it has a rival.

    Static friction above the kinetic one must be strongly wanted before it counts.
    """
    if criterion["stribeck"] < -STRONG:
        return "stribeck"
    near = laws_that_fit(criterion)
    return near[0] if len(near) == 1 else "cannot tell"


def laws_that_fit(criterion: dict[str, float]) -> list[str]:
    """The best of the simple laws, and those that can't be told from it.

    A law that only adds terms to the best one is no rival: its terms are bounded instead.
    """
    plain = sorted((value, law) for law, value in criterion.items() if law != "stribeck")
    best = plain[0][1]
    return [law for value, law in plain
            if law == best or value <= TELL and not _terms(best) < _terms(law)]


def _terms(law: str) -> set[str]:
    return set(law.split("+")) - {"none"}


def _residual(numbers: np.ndarray, estimate: np.ndarray, told: np.ndarray, mine: np.ndarray):
    """Numbers less what their own estimates predict, of the trials and of the filmed run."""
    scale = estimate.std(axis=0) + 1e-12
    middle = estimate.mean(axis=0)
    every = (np.vstack([estimate, told]) - middle) / scale
    pairs = np.triu_indices(every.shape[1])
    design = np.hstack([np.ones((len(every), 1)), every, every[:, pairs[0]] * every[:, pairs[1]]])
    weights = np.linalg.lstsq(design[:-1], numbers, rcond=None)[0]
    return numbers - design[:-1] @ weights, mine - design[-1] @ weights


def residual_tests(
    numbers: np.ndarray, estimate: np.ndarray, observed: np.ndarray, told: np.ndarray,
    names: list[str],
) -> tuple[dict[str, float], float, float]:
    """p of each group of numbers (is the filmed run as odd as a trial?), chi2 and its freedom.

    Trials say how far numbers stray from what the estimates of their own run predict; the filmed
    run is ranked among them. The groups: spread of the residual force, its memory (whiteness),
    its dependence on the velocity, the velocities, the springs.
    """
    rest, mine = _residual(numbers, estimate, told, observed)
    near = np.argsort((((estimate - told) / (estimate.std(axis=0) + 1e-12)) ** 2).sum(axis=1))
    rest = rest[near[: max(300, len(near) // 2)]]
    groups = {
        "dispersion": ("spread", "tail of the spread"), "whiteness": ("memory",),
        "velocity law": ("viscous", "dry", "force before way", "force after way", "lean"),
        "velocity": ("speed", "way", "tail of the speed", "mean speed", "slow",
                     "memory of the speed"),
    }  # fmt: skip
    kind = [name.split(",")[0] for name in names]
    tests = {group: _rank(rest, mine, [k for k, name in enumerate(kind) if name in members])[0]
             for group, members in groups.items()}
    tests["springs"] = _rank(rest, mine, [k for k, n in enumerate(kind) if "spring" in n])[0]
    tests["all"], chi2, freedom = _rank(rest, mine, list(range(len(kind))))
    return tests, chi2, freedom


def _rank(rest: np.ndarray, mine: np.ndarray, columns: list[int]) -> tuple[float, float, float]:
    """p by rank, distance and its expectation, of some numbers."""
    part, here = rest[:, columns], mine[columns]
    spread = part.std(axis=0)
    good = spread > 1e-9
    part, here = part[:, good] / spread[good], here[good] / spread[good]
    size, axes = np.linalg.eigh(np.cov(part, rowvar=False).reshape(len(here), -1))
    keep = size > 1e-3 * size.max(initial=0)
    root = axes[:, keep] / np.sqrt(size[keep])
    distance = ((part - part.mean(axis=0)) @ root) ** 2
    own = float((((here - part.mean(axis=0)) @ root) ** 2).sum())
    rank = float(((distance.sum(axis=1) >= own).sum() + 1) / (len(part) + 1))
    return rank, own, float(keep.sum())
