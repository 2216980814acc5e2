"""Which law of friction holds, by the evidence for each."""

from __future__ import annotations

import numpy as np

from rulerlab.fit.prior import FRICTION, VISCOUS, Box

TELL = 2 * np.log(3)  # two laws nearer than this (odds of 3) can't be told apart
STRONG = 2 * np.log(20)  # evidence that a bigger law needs before it is put in place of a smaller
RARE, SELDOM = 0.01, 0.05  # share of the simpler law's runs that look as much like a bigger law
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


def given_zero(draws: np.ndarray, column: int) -> np.ndarray:
    """Draws (D, P) under the condition that one of the parameters is 0, to first order."""
    zero = draws[:, column]
    away = zero - zero.mean()
    slope = away @ draws / max(float(away @ away), 1e-300)
    return draws - zero[:, None] * slope


def compare_laws(
    draws: np.ndarray, prior: Box, static: np.ndarray | None = None, sticky: float = 1.0
) -> dict[str, float]:
    """-2 ln of the evidence of every law, above that of the best of the simple ones.

    `static` are draws of the static over the kinetic friction less 1, `sticky` its largest value;
    without them there is no "stribeck".
    """
    friction, viscous = draws[:, FRICTION], draws[:, VISCOUS]
    width = prior.high - prior.low
    no_friction = against_zero(friction, width[FRICTION])
    worse = {
        "coulomb+viscous": 0.0,
        "coulomb": against_zero(viscous, width[VISCOUS]),
        "viscous": no_friction,
        "none": no_friction + against_zero(
            given_zero(draws, FRICTION)[:, VISCOUS], width[VISCOUS]),
    }  # fmt: skip
    best = min(worse.values())
    if static is not None:
        worse["stribeck"] = -against_zero(static, sticky)
    return {law: value - best for law, value in worse.items()}


def choose_law(criterion: dict[str, float], chance: float = 0.0) -> str:
    """The law with the most evidence; "cannot tell" when it has a rival.

    Static friction above the kinetic one must be strongly wanted before it counts, and runs
    without it must seldom look as if they had it: `chance` is their share.
    """
    sticky = criterion.get("stribeck", 0.0)
    if sticky < -STRONG and chance < RARE:
        return "stribeck"
    near = laws_that_fit(criterion)
    rival = sticky < -TELL and chance < SELDOM
    return "cannot tell" if rival or len(near) > 1 else near[0]


def laws_that_fit(criterion: dict[str, float]) -> list[str]:
    """The best of the simple laws, and those that can't be told from it."""
    plain = sorted((value, law) for law, value in criterion.items() if law != "stribeck")
    return [law for value, law in plain if value <= plain[0][0] + TELL]
