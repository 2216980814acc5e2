"""Where friction and noise may lie before anything was seen, and trials drawn from there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rulerlab.fit.bench import Bench
from rulerlab.fit.trial import TOGETHER, Laws

FRICTION, VISCOUS, NOISE, MEMORY, ERROR = range(5)
ASYMMETRY, STATIC, OF_BLOCK = 5, 6, 7  # columns after those of the box
GRAVITY_MM_S2 = 9810.0
COEFFICIENT = 1.2  # largest friction over weight
DAMPING_RATIO = 1.0  # largest viscous damping over the critical one of a block between springs
SHAKING = 1.5  # largest noise over weight
MEMORY_S = (0.002, 0.06)
ERROR_SCALE = (0.2, 2.5)
LEAN = 0.6  # largest (right - left) / (right + left) of the friction
STICKY = 2.5  # largest static over kinetic friction


class Variety(NamedTuple):
    """What the pooled law leaves open: by how much trials depart from it."""

    blocks: float  # largest departure of a single block's friction from the mean
    lean: float  # largest asymmetry
    sticky: float  # largest static over kinetic friction


PLAIN, UNLIKE, BIASED = Variety(0.12, 0, 1), Variety(0.4, 0, 1), Variety(0.12, LEAN, STICKY)


def noise_share(memory_s: np.ndarray, highest_hz: float) -> np.ndarray:
    """Part of the rms of a force with that memory that lies below a frequency.

    Ornstein-Uhlenbeck: power 4 rms^2 tau / (1 + (2 pi f tau)^2) per Hz.
    """
    return np.sqrt(2 / np.pi * np.arctan(2 * np.pi * highest_hz * memory_s))


def rooted(values: np.ndarray) -> np.ndarray:
    """Cube roots of friction, damping and noise (..., 5 or more); the rest as it is.

    A chain of hardly any damping is as unlike one of a little as that is unlike one of much.
    """
    root = np.array(values, float)
    root[..., :MEMORY] = np.cbrt(root[..., :MEMORY])
    return root


def unrooted(root: np.ndarray) -> np.ndarray:
    """The inverse of `rooted`."""
    values = np.array(root, float)
    values[..., :MEMORY] **= 3
    return values


@dataclass(frozen=True)
class Box:
    """A flat prior: friction (mN), viscous (N s/m), noise below half the frame rate (mN rms),
    log of its memory (s), log of the scale of the measurement errors."""

    low: np.ndarray  # (5,)
    high: np.ndarray  # (5,)

    def around(self, draws: np.ndarray, whole: Box) -> Box:
        """The part in which draws from a posterior lie, with a margin, inside `whole`."""
        first, last = np.quantile(draws, [0.005, 0.995], axis=0)
        margin = 0.4 * (last - first)
        least = 2e-3 * (whole.high - whole.low)
        low = np.clip(first - margin, whole.low, whole.high - least)
        return Box(low, np.maximum(np.clip(last + margin, whole.low, whole.high), low + least))

    def roots(self) -> Box:
        """The same box along axes on which small values have as much room as large ones."""
        return Box(rooted(self.low), rooted(self.high))

    def clipped(self, values: np.ndarray) -> np.ndarray:
        """Values (S, 5) moved to the nearest ones inside."""
        return np.clip(values, self.low, self.high)

    def volume(self) -> float:
        return float(np.prod(self.high - self.low))


def prior_of(bench: Bench) -> Box:
    """The widest box: all that a block on a table can do."""
    weight = float(np.mean(bench.mass_kg)) * GRAVITY_MM_S2
    critical = 2 * float(np.sqrt(np.mean(bench.stiffness) * np.mean(bench.mass_kg)))
    return Box(
        np.array([0.0, 0.0, 0.0, np.log(MEMORY_S[0]), np.log(ERROR_SCALE[0])]),
        np.array([COEFFICIENT * weight, DAMPING_RATIO * critical, SHAKING * weight,
                  np.log(MEMORY_S[1]), np.log(ERROR_SCALE[1])]),
    )  # fmt: skip


def highest_hz(bench: Bench) -> float:
    """Half the frame rate: what the frames resolve."""
    return 0.5 / bench.frame_s


def draw(
    bench: Bench, box: Box, trials: int, rng: np.random.Generator, variety: Variety = PLAIN, *,
    by_roots: bool = False,
) -> tuple[np.ndarray, Laws]:
    """Parameters of trials (S, 7 + B) and what they mean for the chain.

    Columns: those of the box, the friction being the mean of the blocks, then asymmetry, static
    over kinetic friction, and the friction of each block. With `by_roots` they lie evenly along
    the axes of `rooted`, else along their own.
    """
    groups = -(-trials // TOGETHER)
    along = box.roots() if by_roots else box
    values = along.low + (along.high - along.low) * rng.random((trials, len(along.low)))
    values = unrooted(values) if by_roots else values
    memory = box.low[MEMORY] + (box.high - box.low)[MEMORY] * rng.random(groups)
    values[:, MEMORY] = np.repeat(memory, TOGETHER)[:trials]
    departure = variety.blocks * rng.uniform(-1, 1, (trials, bench.blocks))
    friction = values[:, FRICTION, None] * (1 + departure)
    values[:, FRICTION] = friction.mean(axis=1)
    lean = variety.lean * rng.uniform(-1, 1, trials)
    static = 1 + (variety.sticky - 1) * rng.random(groups)
    laws = laws_of(bench, values, friction, lean=lean, static=static)
    each = np.repeat(static, TOGETHER)[:trials]
    return np.column_stack([values, lean, each, friction]), laws


def laws_of(
    bench: Bench, values: np.ndarray, friction: np.ndarray, *, lean: np.ndarray | float = 0.0,
    static: np.ndarray | float = 1.0,
) -> Laws:
    """What the chain needs to know: `values` of a Box (S, 5 or more), friction per block (S, B).

    The memory of the noise is that of the first trial of each group.
    """
    groups, memory = -(-len(values) // TOGETHER), np.exp(values[:, MEMORY])
    noise = values[:, NOISE] / noise_share(memory, highest_hz(bench))
    lean = np.broadcast_to(lean, len(values))[:, None]
    return Laws(
        friction * (1 + lean), friction * (1 - lean), values[:, VISCOUS], noise,
        memory[::TOGETHER], np.broadcast_to(static, groups), np.exp(values[:, ERROR]),
    )  # fmt: skip
