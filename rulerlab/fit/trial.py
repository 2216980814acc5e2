"""Trial benches: the filmed bench simulated with laws of friction and noise drawn at random.

Each trial is pulled by the measured hand, shaken by the measured rail, looked at in the same
frames with the same errors, and starts where the filmed one started.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from rulerlab.chain.drive import Drive
from rulerlab.chain.kernels import advance
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import law_of, new_tile
from rulerlab.fit.bench import Bench
from rulerlab.fit.paths import hand_path

STEP_S = 1.0e-3
WAVE_POINTS = 24  # per period of the rail's fastest motion, between which splines lead
STUCK_SHARE = 0.5  # most of the variance of an error that depends on the place of the mark
STUCK_MM = (0.2, 2.0)  # over which it changes
TOGETHER = 16  # trials that share one hand, one rail and one memory of the noise


@dataclass(frozen=True)
class Laws:
    """Friction and noise of S trials; forces in mN."""

    friction_right: np.ndarray  # (S, B) against moving to the pulled end
    friction_left: np.ndarray  # (S, B)
    viscous: np.ndarray  # (S,) N s/m
    noise: np.ndarray  # (S,) rms of the force on each block, over all frequencies
    memory_s: np.ndarray  # (S / TOGETHER,) correlation time of that force
    static_ratio: np.ndarray  # (S / TOGETHER,) static over kinetic friction
    error_scale: np.ndarray  # (S,) true measurement errors over those that the tracks quote


def simulate_trials(bench: Bench, laws: Laws, *, seed: int) -> np.ndarray:
    """Blocks as they would have been filmed, (S, T, B), mm."""
    trials = len(laws.viscous)
    clock = _Clock(bench)
    seen = np.empty((trials, len(bench.time_s), bench.blocks), np.float32)
    parts = [slice(i, min(i + TOGETHER, trials)) for i in range(0, trials, TOGETHER)]

    def work(number: int) -> None:
        seen[parts[number]] = _tile(clock, laws, parts[number], number, seed)

    work(0)  # compiles once, before the threads need it
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        list(pool.map(work, range(1, len(parts))))
    return seen


class _Clock:
    """The steps of the simulation, and what happens to the ends of the chain in them."""

    def __init__(self, bench: Bench):
        self.bench, rail = bench, bench.rail
        self.dt = bench.frame_s / max(1, round(bench.frame_s / STEP_S))
        steps = int(np.ceil(bench.time_s[-1] / self.dt)) + 1
        self.grid = np.arange(steps + 1) * self.dt
        fine = max(self.dt, 1 / (WAVE_POINTS * max(rail.band_hz[1], 1.0)))
        self.knots = np.arange(0, self.grid[-1] + 2 * fine, fine)
        self.waves = rail.waves(self.knots)
        self.bends = rail.waves(self.knots, derivative=2)
        self.frames = rail.waves(bench.time_s)

    def ends(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Redrawn within the errors: the pulled end against the rail and the rail's acceleration
        in each step, and by how much the rail was misjudged in each frame."""
        bench = self.bench
        pull = hand_path(bench.time_s, bench.hand_mm, bench.hand_sigma_mm, rng, self.grid)
        if not bench.rail.shaken:
            return pull, np.zeros(0), np.zeros(len(bench.time_s))
        amplitude = bench.rail.draw(rng)
        misjudged = self.frames @ (amplitude - bench.rail.mean_mm)
        position = CubicSpline(self.knots, self.waves @ amplitude)(self.grid)
        acceleration = CubicSpline(self.knots, self.bends @ amplitude)(self.grid[:-1])
        return pull - position, acceleration, misjudged  # leapfrog: forces at whole steps


def _tile(clock, laws, part, number, seed) -> np.ndarray:
    bench, dt = clock.bench, clock.dt
    rng = np.random.default_rng([seed, number])
    offset = np.cumsum(bench.zero_sigma_mm * rng.standard_normal(bench.blocks + 1))
    pull, table, misjudged = clock.ends(rng)
    pull = pull - offset[-1]
    tile, law = _chain(bench, laws, part, number, dt, seed)
    width = part.stop - part.start
    first = np.nan_to_num(bench.block_mm[0]) - offset[:-1]
    tile.x[width : (bench.blocks + 1) * width] = np.repeat(first, width)
    seen = np.empty((width, len(bench.time_s), bench.blocks), np.float32)
    done = 0
    for frame, moment in enumerate(bench.time_s):
        step = int(moment / dt + 1e-6)
        if step > done:
            advance(tile, law, pull, table, done, step - done)
            done = step
        x = tile.x[width : (bench.blocks + 1) * width] + (moment - step * dt) * tile.v[
            : bench.blocks * width]  # fmt: skip
        seen[:, frame] = x.reshape(bench.blocks, width).T
    sigma = laws.error_scale[part, None, None] * bench.sigma_mm
    seen += sigma.astype(np.float32) * _errors(seen, rng)
    seen += (misjudged[:, None] + offset[:-1]).astype(np.float32)
    return seen


def _errors(seen: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Errors of unit variance: anew in every frame, and bound to the place of the mark.

    A mark is drawn to the pixels or to what compression made of it: it errs alike wherever it
    rests, and otherwise a part of a millimetre further on. How much of the variance that makes
    is unknown, up to STUCK_SHARE.
    """
    trials, _, blocks = seen.shape
    share = STUCK_SHARE * rng.random((trials, 1, 1), np.float32)
    shortest, longest = np.log(STUCK_MM)
    wave = 2 * np.pi / np.exp(rng.uniform(shortest, longest, (trials, 1, blocks)))
    phase = 2 * np.pi * rng.random((trials, 1, blocks))
    stuck = np.sin(wave.astype(np.float32) * seen + phase.astype(np.float32))
    fresh = rng.standard_normal(seen.shape, np.float32)
    return np.sqrt(1 - share) * fresh + np.sqrt(2 * share) * stuck


def _chain(bench, laws, part, number, dt, seed):
    """The tile of one part, with noise that forgets itself exponentially (Ornstein-Uhlenbeck)."""
    model = ChainModel(
        blocks=bench.blocks, stiffness=tuple(bench.stiffness), mass=tuple(bench.mass_kg), dt=dt,
        noise_bandwidth=1.0, static_ratio=float(laws.static_ratio[number]),
    )  # fmt: skip
    kick = laws.noise[part] / bench.mass_kg[:, None] * np.sqrt(dt)
    vary = {
        "friction_right": laws.friction_right[part].T, "friction_left": laws.friction_left[part].T,
        "damping": laws.viscous[part], "noise": kick,
    }  # fmt: skip
    width = part.stop - part.start
    tile = new_tile(model, np.arange(part.start, part.stop), seed, np.float32, vary)
    keep = float(np.exp(-dt / laws.memory_s[number]))
    law = law_of(model, Drive(np.zeros(1), np.zeros(1)), width, vary)
    return tile, law._replace(filter_=(keep, 0.0, float(np.sqrt(1 - keep**2))))
