"""Are intervals what they say? Fits of simulated rigs whose truth is drawn from the prior.

If truth and data come from the prior and the law that a fit assumes, the share of posterior draws
below the truth is even between 0 and 1 for every parameter (Talts et al. 2018), and a 90 %
interval holds the truth in 90 % of the runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rulerlab.errors import QualityError, UsageError
from rulerlab.records import FitResult

BINS = 10
Trial = Callable[[np.random.Generator], tuple[dict[str, float], FitResult]]


@dataclass(frozen=True)
class Calibration:
    """Where the truth fell in each posterior; R runs, P parameters."""

    names: tuple[str, ...]
    truth: np.ndarray  # (R, P)
    rank: np.ndarray  # (R, P) share of the draws below the truth
    in95: np.ndarray  # (R, P) whether low95 <= truth <= high95
    number: np.ndarray  # (R, P) whether it was reported as a number, not as a bound
    valid: np.ndarray  # (R,) whether the fit called itself valid
    refused: int  # runs that the fit refused, left out here

    def coverage(self, level: float = 0.9) -> np.ndarray:
        """Share of runs in which the central interval of this level holds the truth, (P,)."""
        return (np.abs(self.rank - 0.5) <= level / 2).mean(axis=0)

    def flatness(self) -> np.ndarray:
        """p-value of a flat histogram of the ranks, by chi-square over BINS, (P,)."""
        from scipy.stats import chisquare

        place = np.minimum((self.rank * BINS).astype(int), BINS - 1)
        count = [np.bincount(place[:, p], minlength=BINS) for p in range(len(self.names))]
        return np.array([chisquare(one).pvalue for one in count])

    def table(self) -> str:
        """The evidence as a table for the documentation."""
        lines = [f"{len(self.rank)} runs, {self.refused} refused, {100 * self.valid.mean():.0f} % "
                 "called valid", "",
                 "| parameter | flat ranks, p | in the 90 % interval | in low95..high95 "
                 "| reported as a number |", "|---|---|---|---|---|"]  # fmt: skip
        for p, name in enumerate(self.names):
            lines.append(
                f"| `{name}` | {self.flatness()[p]:.2g} | {100 * self.coverage()[p]:.1f} % "
                f"| {100 * self.in95[:, p].mean():.1f} % | {100 * self.number[:, p].mean():.0f} % |"
            )
        return "\n".join(lines)


def calibrate(
    trial: Trial, runs: int, *, seed: int = 0, progress: Callable[[float], None] | None = None
) -> Calibration:
    """Run `trial` so many times, each with its own random numbers.

    `trial` draws a truth from the prior of the fit, simulates a motion, fits it, and returns the
    truth by name with the fit, whose `samples` are needed; parameters are those of the first
    truth. A QualityError of the fit counts as refused. Raises UsageError if all are refused or the
    fits have no draws.
    """
    truths, ranks, inside, number, valid, refused = [], [], [], [], [], 0
    names: tuple[str, ...] = ()
    for run in range(runs):
        rng = np.random.default_rng([seed, run])
        try:
            truth, result = trial(rng)
        except QualityError:
            refused += 1
            continue
        if result.samples is None:
            raise UsageError("a fit without draws can't be calibrated; ask it for its posterior")
        names = names or tuple(truth)
        order = list(result.parameters)
        draws = np.stack([result.samples[:, order.index(name)] for name in names], axis=-1)
        values = np.array([truth[name] for name in names])
        ties = (draws == values).mean(axis=0) * rng.random(len(names))
        ranks.append((draws < values).mean(axis=0) + ties)
        truths.append(values)
        found = [result[name] for name in names]
        inside.append([one.low95 <= value <= one.high95
                       for one, value in zip(found, values, strict=True)])  # fmt: skip
        number.append([one.bound == "" for one in found])
        valid.append(result.valid)
        if progress is not None:
            progress((run + 1) / runs)
    if not ranks:
        raise UsageError(f"all {runs} runs were refused; check the simulated motions")
    return Calibration(names, np.array(truths), np.array(ranks), np.array(inside),
                       np.array(number), np.array(valid), refused)  # fmt: skip
