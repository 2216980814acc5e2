"""Calibration, model choice and speed of the fits of spring-block benches, from known truth.

    python benchmarks/fit.py speed
    python benchmarks/fit.py calibration [--runs 200] [--seed 0]
    python benchmarks/fit.py laws [--runs 50]

Rigs and laws are drawn from the prior of the fit, simulated, measured with errors, and fitted as a
measured motion. The tables are those of docs/fit.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from rulerlab.fit.bench import Bench, bench_of
from rulerlab.fit.blocks import gather
from rulerlab.fit.calibration import calibrate
from rulerlab.fit.prior import (
    ERROR,
    FRICTION,
    GRAVITY_MM_S2,
    MEMORY,
    NOISE,
    VISCOUS,
    draw,
    highest_hz,
    laws_of,
    noise_share,
    prior_of,
)
from rulerlab.fit.trial import simulate_trials
from rulerlab.fit.verdict import result_of
from rulerlab.records import FitResult, Motion
from rulerlab.rig import Blocks, Rig

PULL_MM = 120.0
class Case(NamedTuple):
    """A law at a signal level: how often is it told from the others?"""

    law: str
    friction: float  # over the weight
    viscous: float  # N s/m
    static: float = 1.0  # over the kinetic friction
    noise: float = 0.35  # over the weight
    seconds: float = 6.0


CASES = (
    Case("none", 0.0, 0.0, seconds=12), Case("none", 0.0, 0.0),
    Case("viscous", 0.0, 0.5), Case("viscous", 0.0, 0.12),
    Case("coulomb", 0.25, 0.0), Case("coulomb", 0.06, 0.0),
    Case("coulomb+viscous", 0.25, 1.0, seconds=12), Case("coulomb+viscous", 0.25, 1.0),
    Case("coulomb+viscous", 0.25, 0.5), Case("coulomb+viscous", 0.06, 0.25),
    Case("stribeck", 0.25, 0.1, 2.0, 0.02), Case("stribeck", 0.25, 0.1, 1.25, 0.02),
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """An apparatus and how it is filmed."""

    blocks: int = 4
    mass_kg: float = 0.05
    stiffness: float = 22.0
    fps: float = 30.0
    seconds: float = 6.0
    error_mm: float = 0.03
    rail_m_s2: float = 0.0  # rms of the rail's acceleration, 6-13 Hz

    @property
    def rig(self) -> Rig:
        return Rig(kind="blocks", blocks=Blocks((self.mass_kg,), (self.stiffness,)))


def random_setting(rng: np.random.Generator) -> Setting:
    return Setting(
        blocks=int(rng.integers(2, 7)), mass_kg=float(np.exp(rng.uniform(-3.6, -2.3))),
        stiffness=float(rng.uniform(15, 40)), fps=60.0 if rng.random() < 0.2 else 30.0,
        seconds=float(rng.uniform(4, 6)), error_mm=float(np.exp(rng.uniform(-4.0, -3.0))),
        rail_m_s2=float(rng.uniform(1.5, 5.0)) if rng.random() < 0.3 else 0.0,
    )  # fmt: skip


def ends(setting: Setting, rng: np.random.Generator) -> Motion:
    """Held and pulled end of the film; the blocks are not there yet."""
    time_s = np.arange(0, setting.seconds, 1 / setting.fps)
    joint = np.zeros((len(time_s), setting.blocks + 2, 2))
    joint[..., 0] = 45.0 * np.arange(setting.blocks + 2)
    joint[:, -1, 0] += PULL_MM * np.clip((time_s - 0.6) / (setting.seconds - 1.2), 0, 1)
    if setting.rail_m_s2:
        waves = np.linspace(6, 13, 80)
        phase = 2 * np.pi * rng.random(80)
        size = 1e3 * setting.rail_m_s2 * np.sqrt(2 / 80) / (2 * np.pi * waves) ** 2
        rail = (size * np.cos(2 * np.pi * np.outer(time_s, waves) + phase)).sum(axis=1)
        joint[:, :-1, 0] += rail[:, None]
    covariance = np.broadcast_to(setting.error_mm**2 * np.eye(2), (*joint.shape, 2)).copy()
    return Motion(time_s, joint, covariance)


def filmed(motion: Motion, laws, rig: Rig, setting: Setting, rng: np.random.Generator) -> Motion:
    """The motion with blocks under the first of these laws; the ends get measurement errors."""
    bench = bench_of(motion, rig)
    block = simulate_trials(replace(bench, zero_sigma_mm=0 * bench.zero_sigma_mm), laws,
                            seed=int(rng.integers(2**31)))[0]  # fmt: skip
    joint = motion.joint_mm.copy()
    joint[:, 1:-1, 0] = joint[:1, 1:-1, 0] - joint[:1, :1, 0] + joint[:, :1, 0].mean() + (
        bench.rail_mm()[:, None] + block)  # fmt: skip
    joint[:, [0, -1]] += setting.error_mm * rng.standard_normal((len(joint), 2, 2))
    return replace(motion, joint_mm=joint)


def trial(rng: np.random.Generator) -> tuple[dict[str, float], FitResult]:
    """Truth from the prior of the fit, and the fit."""
    setting = random_setting(rng)
    motion = ends(setting, rng)
    bench = bench_of(motion, setting.rig)
    values, laws = draw(bench, prior_of(bench), 1, rng)
    motion = filmed(motion, laws, setting.rig, setting, rng)
    evidence = gather(bench_of(motion, setting.rig), seed=int(rng.integers(2**31)))
    result = result_of(evidence)
    truth = _truth(values[0], bench, result)
    _tell(setting, truth, result)
    return truth, result


def _tell(setting: Setting, truth: dict[str, float], result: FitResult) -> None:
    """One run on stderr: truth, interval, and the share of the draws below the truth."""
    said = [str(setting)]
    for name, value in truth.items():
        draws = np.asarray(result.samples)[:, list(result.parameters).index(name)]
        said.append(f"  {name} {value:.4g} in {result[name].low95:.4g}..{result[name].high95:.4g} "
                    f"rank {(draws < value).mean():.4f}")  # fmt: skip
    print("\n".join([*said, f"  {result.law} {result.valid}"]), file=sys.stderr, flush=True)


def _truth(values: np.ndarray, bench: Bench, result: FitResult) -> dict[str, float]:
    memory = np.exp(values[MEMORY])
    total = values[NOISE] / noise_share(memory, highest_hz(bench))
    name, band = "block_noise_force_N", highest_hz(bench)
    if name not in result.parameters and result.noise_band_hz is not None:
        name, band = "noise_force_N", result.noise_band_hz[1]
    own = 1e-3 * total * noise_share(memory, band)
    return {
        "friction_force_N": 1e-3 * values[FRICTION], "viscous_N_s_per_m": values[VISCOUS],
        name: own, "noise_memory_s": memory, "error_scale": float(np.exp(values[ERROR])),
    }  # fmt: skip


def calibration(runs: int, seed: int) -> None:
    def named(rng):
        truth, result = trial(rng)
        # where the rail is the noise that of the blocks has another name: one column for both
        if "block_noise_force_N" in truth and result.samples is not None:
            truth = {("noise_force_N" if name == "block_noise_force_N" else name): value
                     for name, value in truth.items()}  # fmt: skip
            names = list(result.parameters)
            own, rail = names.index("block_noise_force_N"), names.index("noise_force_N")
            samples = result.samples.copy()
            samples[:, rail] = samples[:, own]
            result = replace(result, samples=samples, parameters=result.parameters | {
                "noise_force_N": result["block_noise_force_N"]})  # fmt: skip
        return truth, result

    print(calibrate(named, runs, seed=seed).table())


def law_choice(runs: int, seed: int) -> None:
    """How often each law is chosen, at levels from plain to too faint to tell."""
    print("| truth | friction/weight | viscous N s/m | static/kinetic | noise/weight | clip s "
          "| chosen |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for case in CASES:
        chosen = Counter(_chosen(case, run, seed) for run in range(runs))
        told = ", ".join(f"{law} {count}" for law, count in chosen.most_common())
        print(f"| {case.law} | {case.friction:g} | {case.viscous:g} | {case.static:g} "
              f"| {case.noise:g} | {case.seconds:g} | {told} |", flush=True)  # fmt: skip


def _chosen(case: Case, run: int, seed: int) -> str:
    """The law that a fit chooses for one simulated clip."""
    rng = np.random.default_rng([seed, run])
    setting = Setting(seconds=case.seconds)
    motion = ends(setting, rng)
    bench = bench_of(motion, setting.rig)
    weight = setting.mass_kg * GRAVITY_MM_S2
    values = np.array([[case.friction * weight, case.viscous, case.noise * weight,
                        np.log(0.012), 0.0]])  # fmt: skip
    dry = np.full((1, bench.blocks), values[0, FRICTION])
    laws = laws_of(bench, values, dry, static=case.static)
    motion = filmed(motion, laws, setting.rig, setting, rng)
    result = result_of(gather(bench_of(motion, setting.rig), seed=run))
    return result.law if result.valid else "no law fits"


def speed() -> None:
    rng = np.random.default_rng(0)
    for fps, seconds in ((30.0, 6.5), (60.0, 10.0), (120.0, 10.0)):
        setting = Setting(blocks=6, fps=fps, seconds=seconds)
        motion = ends(setting, rng)
        bench = bench_of(motion, setting.rig)
        values, laws = draw(bench, prior_of(bench), 512, rng)
        simulate_trials(bench, laws, seed=0)
        start, cpu = time.perf_counter(), time.process_time()
        simulate_trials(bench, laws, seed=1)
        rate = 512 / (time.perf_counter() - start), 512 / (time.process_time() - cpu)
        usual = np.array([[0.25, 0.2, 0.4, 0, 0]]) * setting.mass_kg * GRAVITY_MM_S2
        usual[0, [VISCOUS, MEMORY]] = 0.2, np.log(0.012)
        laws = laws_of(bench, usual, np.full((1, bench.blocks), usual[0, FRICTION]))
        motion = filmed(motion, laws, setting.rig, setting, rng)
        start, cpu = time.perf_counter(), time.process_time()
        gather(bench_of(motion, setting.rig))
        print(f"{fps:.0f} frames/s, {seconds:g} s: {rate[0]:.0f} trials/s "
              f"({rate[1]:.0f} per core), fit {time.perf_counter() - start:.1f} s "
              f"({time.process_time() - cpu:.1f} s of processor time)")  # fmt: skip


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("what", choices=["speed", "calibration", "laws"])
    asked.add_argument("--runs", type=int, default=None)
    asked.add_argument("--seed", type=int, default=0)
    options = asked.parse_args()
    if options.what == "calibration":
        calibration(options.runs or 200, options.seed)
    elif options.what == "laws":
        law_choice(options.runs or 50, options.seed)
    else:
        speed()


if __name__ == "__main__":
    main()
