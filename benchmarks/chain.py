"""Speed of the simulated chain against the published loop, all in one run.

    python benchmarks/chain.py [--json]

The unit is block-steps per second of processor time: one block advanced by one time step. The
methods take turns, and the median over the rounds counts. "Two cores" is wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import numpy as np
from numba import njit

from rulerlab.chain import drive, kernels
from rulerlab.chain.mean import leap_profiles, mean_profiles
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import final_profiles, law_of, new_tile

FIRST = ChainModel(noise=0.1)
SECOND = {"stiffness": 0.1, "friction_right": 0.003, "friction_left": 0.004, "mass": 1.0,
          "noise_decay": 0.001, "dt": 0.05}  # fmt: skip
GOALS = {"first order / loop": 1900, "second order / sdeint": 20_000, "mean diagram, s": 0.1}
# Vector operations of one kick and one overdamped step of ours, counted in the kernel: half of
# a pair of normals (24 integer, 26 floating) and 10 for spring, dead zone and move.
OPERATIONS = 25 + 10


def published_loop(steps: int) -> int:
    """First order, from its equation as a notebook writes it: numpy arrays, element by element."""
    x, state = np.zeros(9), np.random.RandomState(0)
    x[8] = 1
    for _ in range(steps):
        old = x.copy()
        for i in range(1, 8):
            z = 1.0 * (old[i + 1] - 2 * old[i] + old[i - 1]) + 0.1 * state.normal()
            x[i] = old[i] + 0.01 * dead_zone(z, 0.1, 0.1)
    return 7 * steps


def dead_zone(z: float, friction_right: float, friction_left: float) -> float:
    if z > friction_right:
        return z - friction_right
    if z < -friction_left:
        return z + friction_left
    return 0.0


def plain_loop(steps: int) -> int:
    """The same with Python's own numbers and lists, the fastest that plain Python does."""
    x, draw = [0.0] * 8 + [1.0], np.random.default_rng(0).standard_normal
    for _ in range(steps):
        old = list(x)
        for i in range(1, 8):
            z = old[i + 1] - 2 * old[i] + old[i - 1] + 0.1 * draw()
            f = z - 0.1 if z > 0.1 else z + 0.1 if z < -0.1 else 0.0
            x[i] = old[i] + 0.01 * f
    return 7 * steps


def published_langevin(steps: int) -> int:
    """Second order by sdeint.itoint, as published, with the same kick on all blocks."""
    import sdeint

    laplacian = np.diag(np.full(7, -2.0)) + np.diag(np.ones(6), 1) + np.diag(np.ones(6), -1)
    end, time_s = np.eye(7)[6], np.arange(steps + 1) * 0.05

    def drift(state, _t):
        v = state[7:]
        friction = np.where(v > 0, -0.003, np.where(v < 0, 0.004, 0.0))
        return np.concatenate([v, 0.1 * (laplacian @ state[:7] + end) - v + friction])

    def spread(_state, t):
        matrix = np.zeros((14, 14))
        matrix[7:, 7:] = 0.003 * np.exp(-0.001 * t)
        return matrix

    sdeint.itoint(drift, spread, np.zeros(14), time_s, np.random.default_rng(0))
    return 7 * steps


def numpy_chains(steps: int, chains: int = 1000) -> int:
    """First order, all chains at once in numpy."""
    rng, x = np.random.default_rng(0), np.zeros((9, chains))
    x[-1] = 1
    for _ in range(steps):
        z = np.diff(x, 2, axis=0) + 0.1 * rng.standard_normal((7, chains))
        x[1:-1] += 0.01 * (np.maximum(z - 0.1, 0) + np.minimum(z + 0.1, 0))
    return 7 * steps * chains


def ours(model: ChainModel, steps: int, chains: int, threads: int, precision: str) -> int:
    final_profiles(model, drive.step(), steps, chains=chains, threads=threads, precision=precision)
    return model.blocks * steps * chains


@njit(nogil=True)
def _draws(noise, times):
    for _ in range(times):
        kernels.draw(noise)


def kicks_only(steps: int) -> int:
    """Random numbers of the same tile without the physics."""
    tile = new_tile(FIRST, np.arange(64), 0, np.float32, {})
    _draws(tile.noise, steps // 2)
    return 2 * (steps // 2) * tile.v.size


def physics_only(steps: int) -> int:
    """The same tile without kicks."""
    model = ChainModel()
    tile = new_tile(model, np.arange(64), 0, np.float32, {})
    law = law_of(model, drive.step(), 64, {})
    kernels.advance(tile, law, np.ones(steps + 1), np.zeros(0), 0, steps)
    return tile.v.size * steps


PEAK = """
import numpy as np, time
a, best = np.ones((768, 768), np.float32), 0.0
for _ in range(40):
    start = time.process_time()
    a @ a
    best = max(best, 768**3 / (time.process_time() - start))
print(best)
"""


def multiply_add_peak() -> float:
    """Multiply-adds per second of one core in single precision, from the matrix product."""
    alone = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PEAK], env=alone, capture_output=True, text=True)
    return float(done.stdout)


def measured(methods: dict, rounds: int) -> dict[str, tuple[float, float]]:
    """Median block-steps per processor second and per wall second of each method."""
    rates: dict[str, list] = {name: [] for name in methods}
    for method in methods.values():
        method()  # compile and warm up
    for _ in range(rounds):
        for name, method in methods.items():
            wall, cpu = time.perf_counter(), time.process_time()
            done = method()
            rates[name].append((done / (time.process_time() - cpu),
                                done / (time.perf_counter() - wall)))  # fmt: skip
    return {name: (statistics.median(c for c, _ in pairs), statistics.median(w for _, w in pairs))
            for name, pairs in rates.items()}  # fmt: skip


def seconds_of(function) -> tuple[float, float]:
    """Median processor and wall seconds of three calls."""
    function()
    spent = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        function()
        spent.append((time.process_time() - cpu, time.perf_counter() - wall))
    return tuple(statistics.median(each) for each in zip(*spent, strict=True))  # type: ignore


def diagrams() -> dict[str, tuple[float, float]]:
    """Seconds for a diagram of 64 x 64 cells, 32 repeats; brute force on a sixteenth of it."""
    right, noise = (grid.ravel() for grid in np.meshgrid(
        np.linspace(0, 0.12, 64), np.linspace(0, 0.4, 64), indexing="ij"))  # fmt: skip
    cells = {"friction_right": right, "noise": noise}
    many = {name: np.repeat(values[::16], 32) for name, values in cells.items()}
    count, model, pull = 256 * 32, ChainModel(), drive.step()
    found = {
        "mean": seconds_of(lambda: mean_profiles(model, pull, 100.0, chains=4096, vary=cells)),
        "leap": seconds_of(lambda: leap_profiles(model, pull, 10_000, chains=count, vary=many)),
        "brute": seconds_of(lambda: final_profiles(
            model, pull, 10_000, chains=count, vary=many, precision="single")),
    }  # fmt: skip
    return {name: (cpu * (1 if name == "mean" else 16), wall * (1 if name == "mean" else 16))
            for name, (cpu, wall) in found.items()}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    own, common = ChainModel(**SECOND, noise=0.003), ChainModel(**SECOND, common_noise=0.008)
    methods = {
        "published loop": lambda: published_loop(2000),
        "the loop without numpy": lambda: plain_loop(5000),
        "numpy, 1000 chains": lambda: numpy_chains(300),
        "first order, 1 core": lambda: ours(FIRST, 10_000, 1024, 1, "single"),
        "first order, 2 cores": lambda: ours(FIRST, 10_000, 1024, 2, "single"),
        "first order, double, 1 core": lambda: ours(FIRST, 10_000, 512, 1, "double"),
        "first order, one chain": lambda: ours(FIRST, 10_000, 1, 1, "double"),
        "first order, 10 000 blocks": lambda: ours(
            ChainModel(10_000, noise=0.1), 1000, 1, 1, "single"),
        "second order, own kicks": lambda: ours(own, 14_000, 512, 1, "single"),
        "second order, common kicks": lambda: ours(common, 14_000, 512, 1, "single"),
        "kicks only": lambda: kicks_only(20_000),
        "physics only": lambda: physics_only(20_000),
    }  # fmt: skip
    try:
        import sdeint  # noqa: F401

        methods["sdeint"] = lambda: published_langevin(300)
    except ImportError:
        print("sdeint is not installed: its row and ratio are left out", file=sys.stderr)
    rates, peak, maps = measured(methods, arguments.rounds), multiply_add_peak(), diagrams()
    report(rates, peak, maps, arguments.json)


def report(rates: dict, peak: float, maps: dict, as_json: bool) -> None:
    loop, fast = rates["published loop"][0], rates["first order, 1 core"][0]
    shares = {
        "of the time spent on random numbers": fast / rates["kicks only"][0],
        f"of the machine's limit, {OPERATIONS} operations a block-step at the rate of a "
        "matrix product": fast * OPERATIONS / peak,
    }
    ratios = {"first order / loop": fast / loop,
              "first order / numpy": fast / rates["numpy, 1000 chains"][0],
              "mean diagram, s": maps["mean"][1]}  # fmt: skip
    if "sdeint" in rates:
        slowest = rates["second order, own kicks"][0]
        ratios["second order / sdeint"] = slowest / rates["sdeint"][0]
        ratios["second order, common / sdeint"] = (
            rates["second order, common kicks"][0] / rates["sdeint"][0])  # fmt: skip
    if as_json:
        print(json.dumps({
            "schema_version": 1, "block_steps_per_core_second": {k: v[0] for k, v in rates.items()},
            "block_steps_per_wall_second": {k: v[1] for k, v in rates.items()},
            "ratios": ratios, "goals": GOALS, "shares": shares,
            "diagram_64x64x32_core_and_wall_seconds": maps,
        }))  # fmt: skip
        return
    print(f"{'method':32s} {'block-steps/core-s':>18s} {'/wall s':>10s} {'ratio to loop':>14s}")
    for name, (cpu, wall) in rates.items():
        print(f"{name:32s} {cpu:18.3g} {wall:10.3g} {cpu / loop:14.1f}")
    for name, ratio in ratios.items():
        goal = f"   goal {GOALS[name]:g}" if name in GOALS else ""
        print(f"{name:32s} {ratio:18.3g}{goal}")
    for name, share in shares.items():
        print(f"{100 * share:5.0f} % {name}")
    for name, (cpu, wall) in maps.items():
        print(f"64 x 64 diagram, {name:6s} {cpu:8.3f} core-s {wall:8.3f} s")


if __name__ == "__main__":
    main()
