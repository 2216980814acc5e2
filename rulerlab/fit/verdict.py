"""What the trials of a bench amount to: numbers, bounds, the law, and whether it holds."""

from __future__ import annotations

import numpy as np

from rulerlab.fit.bench import Bench, bench_of
from rulerlab.fit.blocks import Evidence, Progress, gather
from rulerlab.fit.evidence import laws_that_fit
from rulerlab.fit.prior import (
    ERROR,
    FRICTION,
    GRAVITY_MM_S2,
    LEAN,
    MEMORY,
    NOISE,
    STICKY,
    VISCOUS,
    highest_hz,
    noise_share,
)
from rulerlab.fit.replicas import TRUST
from rulerlab.records import FitResult, Motion, Parameter
from rulerlab.rig import Rig

THOROUGH = 8  # times as many trials for the full posterior
ENOUGH = 100  # draws that make a quantile
FOLDED = 0.95  # of half the frame rate: shaking up to there may in truth be faster


def fit_blocks(
    motion: Motion, rig: Rig, *, posterior: bool = False, seed: int = 0,
    progress: Progress | None = None,
) -> FitResult:
    """Friction, viscous damping and noise of the bench that `motion` shows, in physical units.

    `posterior` takes eight times as many trials. Raises InputError when masses, springs or
    millimetres are missing, QualityError when the run is too short or its ends are lost.
    """
    more = THOROUGH if posterior else 1
    return result_of(gather(bench_of(motion, rig), seed=seed, more=more, progress=progress))


def result_of(evidence: Evidence) -> FitResult:
    """The parameters with their intervals, the law, and whether it holds."""
    law, criterion = evidence.law, evidence.criterion
    valid = evidence.tests["all"] > TRUST
    columns, band = _quantities(evidence)
    parameters = {name: _parameter(*column) for name, column in columns.items()}
    own = parameters.get("block_noise_force_N", parameters["noise_force_N"])
    if own.bound:  # what is not there has no memory
        memory = parameters["noise_memory_s"]
        parameters["noise_memory_s"] = Parameter(float("nan"), float("inf"), 0.0, float("inf"),
                                                 memory.unit, "ridge")  # fmt: skip
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
    shaking = bench.rail.acceleration_rms(np.random.default_rng(0), len(draws))
    inertia = float(np.mean(bench.mass_kg)) * shaking
    if np.median(inertia) > max(np.median(draws[:, NOISE]), 0):  # the rail is the noise
        band = bench.rail.band_hz
        columns["noise_force_N"] = (newton * inertia, 0.0, np.inf, "N")
        columns["block_noise_force_N"] = (newton * draws[:, NOISE], 0.0, newton * top[NOISE], "N")
    else:
        noise, band = _noise_band(draws, bench)
        columns["noise_force_N"] = (newton * noise, 0.0, newton * top[NOISE], "N")
    if bench.rail.shaken:
        columns["rail_acceleration_m_s2"] = (1e-3 * shaking, 0.0, np.inf, "m/s^2")
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
