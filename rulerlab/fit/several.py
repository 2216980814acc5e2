"""Several motions of one rig of unknown springs: common values, and whether the runs differ.

The runs share friction, noise and time scale in millimetres and seconds, so they may be pulled
by different distances at different speeds; results are in units of the first run's pull.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from rulerlab.chain.foretell import Law, foretell
from rulerlab.errors import UsageError
from rulerlab.fit.dimensionless import (
    ALL_FRAMES,
    AXES,
    FRAMES,
    Prepared,
    fit_chain,
    in_other_units,
    law_at,
    laws_of,
    posterior_of,
    prepare,
    result_of,
)
from rulerlab.records import FitResult, Motion

DIFFER = 0.01  # p below which runs are said to differ
TRIED = 1000  # draws of a run's own fit among which its likeliest chain is sought


def in_units_of(first: Prepared, other: Prepared) -> Prepared:
    """A run with lengths in the pull and times in the duration of the first one."""
    length = other.pull.travel_mm / first.pull.travel_mm
    seen = other.seen
    return replace(other, seen=seen._replace(
        time=seen.time * other.duration_s / first.duration_s, wall=seen.wall * length,
        hand=seen.hand * length, hand_variance=seen.hand_variance * length**2,
        travelled=seen.travelled * length,
        place=seen.place * length, variance=seen.variance * length**2,
        pattern=seen.pattern * length, start=seen.start * length**2,
        stirred=seen.stirred * length, offset=seen.offset * length**2,
    ))  # fmt: skip


def fit_chains(
    motions: Sequence[Motion],
    *,
    pull_section: bool = False,
    posterior: bool = False,
    seed: int = 0,
    alone: Sequence[FitResult] | None = None,
    progress: Callable[[float], None] | None = None,
) -> FitResult:
    """One chain for all runs, with the p-value of the hypothesis that they are the same rig.

    `alone` are the fits of the single runs where they are at hand. `tests["runs differ"]` compares
    the likelihood of one chain with that of one chain for each run (-2 log of the ratio is a
    chi-square with as many degrees of freedom as parameters are saved); below 0.01 the result is
    not valid. Raises UsageError without motions, and what `prepare` raises.
    """
    from scipy.special import chdtrc

    if not motions:
        raise UsageError("no runs to fit together; give at least one")
    frames = ALL_FRAMES if posterior else FRAMES
    own = [prepare(motion, pull_section=pull_section, frames=frames) for motion in motions]
    same = [in_units_of(own[0], one) for one in own]
    draws = posterior_of(same, posterior=posterior, seed=seed, progress=progress)
    result = result_of(draws, same)
    if len(own) == 1:
        return result
    if alone is None:
        alone = [fit_chain(motion, pull_section=pull_section, posterior=posterior, seed=seed)
                 for motion in motions]  # fmt: skip
    gain = 2 * max(0.0, sum(_gain(own[0], one, single, law_at(draws.best))
                            for one, single in zip(own, alone, strict=True)))  # fmt: skip
    chance = float(chdtrc(len(AXES) * (len(own) - 1), gain))
    told = [f"{len(own)} runs together, in units of the pull of the first"]
    told += [result.message] if result.message else []
    if chance < DIFFER:
        told.append(f"the {len(own)} runs differ (p = {chance:.2g}): no one chain gives all")
    return replace(result, valid=result.valid and chance >= DIFFER, message="; ".join(told),
                   tests={**result.tests, "runs differ": chance})  # fmt: skip


def _gain(first: Prepared, run: Prepared, alone: FitResult, together: Law) -> float:
    """How much likelier a run is under its own chain than under that of all runs."""
    common = in_other_units(together, run.pull.travel_mm / first.pull.travel_mm,
                            run.duration_s / first.duration_s)  # fmt: skip
    likely = [foretell(run.seen, law).log_likelihood for law in [*laws_of(alone, TRIED), common]]
    return max(likely) - likely[-1]
