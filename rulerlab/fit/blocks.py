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
from rulerlab.fit.bench import Bench, bench_of
from rulerlab.fit.evidence import choose_law, compare_laws, laws_that_fit, residual_tests
from rulerlab.fit.prior import (
    ASYMMETRY,
    BIASED,
    ERROR,
    FRICTION,
    GRAVITY_MM_S2,
    LEAN,
    MEMORY,
    NOISE,
    OF_BLOCK,
    PLAIN,
    STATIC,
    STICKY,
    UNLIKE,
    VISCOUS,
    Box,
    Variety,
    draw,
    highest_hz,
    noise_share,
    prior_of,
)
from rulerlab.fit.regression import Learned, learn
from rulerlab.fit.summaries import Summary
from rulerlab.fit.trial import simulate_trials
from rulerlab.records import FitResult, Motion, Parameter
from rulerlab.rig import Rig

FEWEST_FRAMES = 40
SEARCH, FINAL, EXTRA = 640, 2048, 1024  # trials
ROUNDS = 7
SETTLED = 0.5  # a box that shrinks by less than this needs no further round
TRUST = 0.002  # p of the residuals below which no law fits
ENOUGH = 100  # draws that make a quantile
FOLDED = 0.96  # of half the frame rate: shaking up to there may in truth be faster
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


def fit_blocks(
    motion: Motion, rig: Rig, *, thorough: bool = False, seed: int = 0,
    progress: Progress | None = None,
) -> FitResult:
    """Friction, viscous damping and noise of the bench that `motion` shows, in physical units.

    `thorough` takes eight times as many trials. Raises InputError when masses, springs or
    millimetres are missing, QualityError when the run is too short or its ends are lost.
    """
    bench = bench_of(motion, rig)
    if len(bench.time_s) < FEWEST_FRAMES:
        raise QualityError(
            f"{len(bench.time_s)} frames tell nothing about friction; {FEWEST_FRAMES} are needed"
        )
    return result_of(gather(bench, seed=seed, more=8 if thorough else 1, progress=progress))


def gather(
    bench: Bench, *, seed: int = 0, more: int = 1, progress: Progress | None = None
) -> Evidence:
    """Run the trials: narrow the box down, then learn in it."""
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


def result_of(evidence: Evidence) -> FitResult:
    """The parameters with their intervals, the law, and whether it holds."""
    draws, prior = evidence.learned.posterior, evidence.prior
    criterion = compare_laws(draws, prior, evidence.extra[:, 1] - 1, STICKY - 1)
    law = choose_law(criterion)
    valid = evidence.tests["all"] > TRUST or law == "stribeck"
    columns, band = _quantities(evidence)
    parameters = {name: _parameter(*column) for name, column in columns.items()}
    if any(not parameters[name].bound for name in left_out(law)):
        law = "cannot tell"  # the simpler law has more evidence, yet the interval excludes 0
    static = parameters["static_over_kinetic"]
    if law != "stribeck" and static.bound in ("", "lower"):
        parameters["static_over_kinetic"] = _up_to(static)
    samples = np.column_stack([column[0] for column in columns.values()])
    with np.errstate(invalid="ignore"):
        correlation = np.nan_to_num(np.corrcoef(samples, rowvar=False))
    np.fill_diagonal(correlation, 1.0)
    return FitResult(
        law, parameters, valid, _message(law, valid, criterion, parameters, evidence),
        correlation=correlation, samples=samples, chi2=evidence.chi2,
        degrees_of_freedom=evidence.freedom, criterion=criterion, tests=evidence.tests,
        noise_band_hz=band,
    )  # fmt: skip


def left_out(law: str) -> list[str]:
    """The parameters that a law sets to 0."""
    if law not in ("none", "viscous", "coulomb"):
        return []
    return [name for term, name in (("coulomb", "friction_force_N"),
                                    ("viscous", "viscous_N_s_per_m")) if term != law]  # fmt: skip


def _quantities(evidence: Evidence):
    """Draws, range of the prior and unit of every reported quantity, and the band of the noise."""
    bench, draws, prior = evidence.bench, evidence.learned.posterior, evidence.prior
    newton = 1e-3
    weight = float(np.mean(bench.mass_kg)) * GRAVITY_MM_S2
    friction, top = draws[:, FRICTION], prior.high
    columns = {
        "friction_force_N": (newton * friction, 0.0, newton * top[FRICTION], "N"),
        "friction_coefficient": (friction / weight, 0.0, top[FRICTION] / weight, "1"),
        "viscous_N_s_per_m": (draws[:, VISCOUS], 0.0, top[VISCOUS], "N s/m"),
    }
    noise, band = _noise_band(draws, bench)
    own = (newton * noise, 0.0, newton * top[NOISE], "N")
    if bench.rail.shaken:
        rail = bench.rail
        shaking = rail.acceleration_rms(np.random.default_rng(0), len(draws))
        band = rail.band_hz
        mass = float(np.mean(bench.mass_kg))
        columns["noise_force_N"] = (newton * mass * shaking, 0.0, np.inf, "N")
        columns["rail_acceleration_m_s2"] = (1e-3 * shaking, 0.0, np.inf, "m/s^2")
        columns["block_noise_force_N"] = own
    else:
        columns["noise_force_N"] = own
    for name, column, unit in (("noise_memory_s", MEMORY, "s"), ("error_scale", ERROR, "1")):
        ends = np.exp([prior.low[column], prior.high[column]])
        columns[name] = (np.exp(draws[:, column]), *ends, unit)
    columns["friction_asymmetry"] = (evidence.extra[:, 0], -LEAN, LEAN, "1")
    columns["static_over_kinetic"] = (evidence.extra[:, 1], 1.0, STICKY, "1")
    for block in range(bench.blocks):
        columns[f"friction_force_block{block + 1}_N"] = (
            newton * evidence.extra[:, 2 + block], 0.0, newton * top[FRICTION], "N")
    return columns, band


def _noise_band(draws: np.ndarray, bench: Bench) -> tuple[np.ndarray, tuple[float, float]]:
    """The noise in the widest band, from 0 to a few times half the frame rate, that is as well
    known as the noise that the frames resolve."""
    resolved = highest_hz(bench)
    memory = np.exp(draws[:, MEMORY])
    total = draws[:, NOISE] / noise_share(memory, resolved)
    best, band = draws[:, NOISE], (0.0, resolved)
    usual = best.std()
    for wider in (2, 4, 8, 16):
        noise = total * noise_share(memory, wider * resolved)
        if noise.std() / max(noise.mean(), 1e-9) > max(0.12, 1.3 * usual / max(best.mean(), 1e-9)):
            break
        best, band = noise, (0.0, wider * resolved)
    return best, band


def _parameter(draws: np.ndarray, least: float, most: float, unit: str) -> Parameter:
    """Value and interval; a bound where the interval runs into an end of what is possible."""
    low, middle, high = (float(q) for q in np.quantile(draws, [0.025, 0.5, 0.975]))
    open_low, open_high = low <= least + 1e-12, high >= most
    low, high = max(low, least), min(high, most)
    if open_low and open_high:
        return Parameter(float("nan"), float("inf"), least, most, unit, "ridge")
    if open_low:
        inside = draws[draws > least]
        usual = np.quantile(inside, 0.95) if len(inside) > ENOUGH else least + 2 * np.std(draws)
        high = min(max(high, float(usual)), most)
        return Parameter(float("nan"), float("inf"), least, high, unit, "upper")
    if open_high:
        return Parameter(float("nan"), float("inf"), min(low, most), float("inf"), unit, "lower")
    return Parameter(middle, float(np.std(draws)), low, high, unit)


def _up_to(ratio: Parameter) -> Parameter:
    """An interval of static over kinetic friction that leaves open that they are equal."""
    if ratio.bound == "lower":
        return Parameter(float("nan"), float("inf"), 1.0, float("inf"), ratio.unit, "ridge")
    return Parameter(float("nan"), float("inf"), 1.0, ratio.high95, ratio.unit, "upper")


def _message(law, valid, criterion, parameters, evidence) -> str:
    said = []
    if not valid:
        worst = min((p, name) for name, p in evidence.tests.items() if name != "all")
        said.append(f"no law explains the motion: its {worst[1]} is unlike that of any trial "
                    f"(p = {evidence.tests['all']:.2g})")  # fmt: skip
    elif law == "cannot tell":
        near = laws_that_fit(criterion)
        said.append(f"the motion does not tell apart: {', '.join(near)}" if len(near) > 1 else
                    f"{near[0]} has the most evidence, yet more than it can't be excluded")
    else:
        said.append(f"{law} explains the motion")
    rail, resolved = evidence.bench.rail, highest_hz(evidence.bench)
    if rail.shaken and rail.band_hz[1] > FOLDED * resolved:
        said.append(f"the rail shakes up to {rail.band_hz[1]:.1f} Hz, where {2 * resolved:.0f} "
                    "frames/s end to resolve it: film faster")  # fmt: skip
    noise = parameters["noise_force_N"]
    if noise.bound == "upper":
        said.append("noise is consistent with measurement errors alone: "
                    f"below {noise.high95:.2g} N rms")  # fmt: skip
    return "; ".join(said)
