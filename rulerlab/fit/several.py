"""Several motions of one rig of unknown springs: common values, and whether the runs differ.

The runs share friction, noise and time scale in millimetres and seconds, so they may be pulled
by different distances at different speeds; results are in units of the first run's pull.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rulerlab.errors import UsageError
from rulerlab.fit.dimensionless import AXES, Prepared, posterior_of, prepare, result_of
from rulerlab.records import FitResult, Motion

DIFFER = 0.01  # p below which runs are said to differ


def in_units_of(first: Prepared, other: Prepared) -> Prepared:
    """A run with lengths in the pull and times in the duration of the first one."""
    length = other.pull.travel_mm / first.pull.travel_mm
    seen = other.seen
    return replace(other, seen=seen._replace(
        time=seen.time * other.duration_s / first.duration_s, wall=seen.wall * length,
        hand=seen.hand * length, hand_variance=seen.hand_variance * length**2,
        place=seen.place * length, variance=seen.variance * length**2,
        pattern=seen.pattern * length, start=seen.start * length**2,
    ))  # fmt: skip


def fit_chains(
    motions: Sequence[Motion],
    *,
    pull_section: bool = False,
    posterior: bool = False,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> FitResult:
    """One chain for all runs, with the p-value of the hypothesis that they are the same rig.

    `tests["runs differ"]` compares the likelihood of one chain with that of one chain for each
    run (-2 log of the ratio is a chi-square with as many degrees of freedom as parameters are
    saved); below 0.01 the result is not valid. Raises UsageError without motions, and what
    `prepare` raises.
    """
    from scipy.special import chdtrc

    if not motions:
        raise UsageError("no runs to fit together; give at least one")
    prepared = [prepare(motion, pull_section=pull_section) for motion in motions]
    prepared = [in_units_of(prepared[0], one) for one in prepared]
    parts = len(prepared) + 1 if len(prepared) > 1 else 1

    def shown(part: int) -> Callable[[float], None] | None:
        return None if progress is None else lambda share: progress((part + share) / parts)

    draws = posterior_of(prepared, posterior=posterior, seed=seed, progress=shown(0))
    result = result_of(draws, prepared)
    if len(prepared) == 1:
        return result
    alone = [posterior_of([one], posterior=posterior, seed=seed, progress=shown(part)).log_density
             for part, one in enumerate(prepared, 1)]  # fmt: skip
    gain = 2 * max(0.0, float(sum(one.max() for one in alone) - draws.log_density.max()))
    chance = float(chdtrc(len(AXES) * (len(prepared) - 1), gain))
    told = [result.message] if result.message else []
    if chance < DIFFER:
        told.append(f"the {len(prepared)} runs differ (p = {chance:.2g}): no one chain gives all")
    return replace(result, valid=result.valid and chance >= DIFFER, message="; ".join(told),
                   tests={**result.tests, "runs differ": chance})  # fmt: skip
