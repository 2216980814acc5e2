"""Calibration and speed of the fits of rulers and unknown springs, from known truth.

    python benchmarks/fit_ruler.py [--runs 200] [--scatter 0.1] [--posterior]
    python benchmarks/fit_ruler.py --profiles [--runs 200]

Simulates rigs drawn from the prior of the fit (every step of the noisy chain, measured with
errors), fits each as a measured motion, and prints the tables of docs/fit_chain.md. `--scatter`
makes springs and blocks of each rig unequal by that share, which the law of the fit does not know.
`--profiles` measures quiet load curves instead, and counts how often the closed form's 95 %
interval holds the friction.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np

from rulerlab.chain import rest
from rulerlab.chain.drive import Drive
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import simulate
from rulerlab.fit.calibration import calibrate
from rulerlab.fit.dimensionless import AXES, fit_chain, prepare
from rulerlab.fit.profile import fit_profile
from rulerlab.records import FitResult, LoadCurve, Motion

PULL_MM, DURATION_S = 300.0, 10.0
REST, HOLD = 0.1, 0.4  # before and after the pull, in units of its duration


def rig(rng: np.random.Generator, scatter: float) -> tuple[ChainModel, dict[str, float]]:
    """A chain from the prior of the fit, lengths in units of the pull, times of its duration."""
    value = {axis.name: float(axis.value(rng.random())) for axis in AXES}
    blocks, tau = int(rng.integers(3, 8)), value["time_scale_over_pull"]

    def unequal(mean: float, count: int) -> tuple[float, ...]:
        return tuple(mean * np.exp(scatter * rng.standard_normal(count)))

    model = ChainModel(
        blocks, unequal(1.0, blocks + 1), unequal(value["friction_right_over_k"], blocks),
        unequal(value["friction_left_over_k"], blocks), noise=value["noise_over_k"], damping=tau,
        dt=tau * value["kick_over_time_scale"],
    )  # fmt: skip
    return model, value


def film(model: ChainModel, wander: float, rng: np.random.Generator) -> Motion:
    """The chain pulled steadily and held, seen with errors by a camera; while the hand moves,
    every block strays from the law."""
    frames, total = int(rng.integers(60, 120)), REST + 1 + HOLD
    steps = int(np.ceil(total / model.dt))
    hand = Drive(np.array([REST, REST + 1]), np.array([0.0, 1.0]))
    true = simulate(model, hand, steps, every=max(1, steps // frames),
                    seed=int(rng.integers(2**31)))  # fmt: skip
    place = true.joint_mm.copy()
    travel = np.diff(place[:, -1, 0], prepend=0.0)
    stray = np.sqrt(travel)[:, None] * rng.standard_normal((len(place), model.blocks))
    place[:, 1:-1, 0] += wander * stray.cumsum(axis=0)
    sigma = PULL_MM * 10 ** rng.uniform(-3.7, -2.7)
    joint = PULL_MM * place + sigma * rng.standard_normal(place.shape)
    covariance = np.broadcast_to(sigma**2 * np.eye(2), (*joint.shape, 2)).copy()
    return Motion(DURATION_S * true.time_s, joint, covariance)


def trial(rng: np.random.Generator, scatter: float, posterior: bool):
    """Truth in the units that the fit finds, and the fit."""
    model, value = rig(rng, scatter)
    motion = film(model, value["wander"], rng)
    result: FitResult = fit_chain(motion, posterior=posterior, seed=int(rng.integers(2**31)))
    found = prepare(motion)
    length, duration = found.pull.travel_mm / PULL_MM, found.duration_s / DURATION_S
    unit = {"time_scale_over_pull": duration, "kick_over_time_scale": 1.0,
            "wander": np.sqrt(length)}  # fmt: skip
    truth = {name: one / unit.get(name, length) for name, one in value.items()}
    return truth, result


def profiles(runs: int, seed: int) -> str:
    """How often intervals of the closed form hold the friction of quiet chains."""
    rng, inside, number, bounded = np.random.default_rng(seed), 0, 0, 0
    for _ in range(runs):
        blocks, friction = int(rng.integers(3, 12)), 10 ** rng.uniform(-2.5, -0.5)
        loads = PULL_MM * rest.rest_extensions(blocks, 1.0, friction)
        sigma = PULL_MM * 10 ** rng.uniform(-3.7, -2)
        step = np.diff(np.eye(blocks + 2), axis=0)
        seen = loads + step @ (sigma * rng.standard_normal(blocks + 2))
        curve = LoadCurve.from_loads(seen, sigma**2 * step @ step.T, "blocks")
        found = fit_profile(curve, quiet=True, discrepancy=0.0)["friction_right_over_k"]
        held = found.low95 <= friction <= found.high95
        inside, number = inside + held, number + (found.bound == "")
        bounded += held and found.bound != ""
    return (f"{runs} quiet load curves: {100 * inside / runs:.1f} % inside the 95 % interval; "
            f"{number} reported as a number, {runs - number} as a bound ({bounded} of these hold)")


def main() -> None:
    asked = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    asked.add_argument("--runs", type=int, default=200)
    asked.add_argument("--scatter", type=float, default=0.0)
    asked.add_argument("--posterior", action="store_true")
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--profiles", action="store_true")
    options = asked.parse_args()
    if options.profiles:
        print(profiles(options.runs, options.seed))
        return
    start, cpu = time.perf_counter(), time.process_time()

    def progress(share: float) -> None:
        print(f"\r{100 * share:.0f} %", end="", file=sys.stderr)

    found = calibrate(lambda rng: trial(rng, options.scatter, options.posterior), options.runs,
                      seed=options.seed, progress=progress)  # fmt: skip
    print(found.table())
    wall, core = time.perf_counter() - start, time.process_time() - cpu
    print(f"\n{wall / options.runs:.1f} s and {core / options.runs:.1f} core-s per fit")
    print("ranks in tenths:")
    for p, name in enumerate(found.names):
        print(f"  {name}: {np.histogram(found.rank[:, p], 10, (0, 1))[0].tolist()}")


if __name__ == "__main__":
    main()
