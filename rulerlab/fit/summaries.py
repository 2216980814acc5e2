"""What a trajectory tells about friction and noise, in a few dozen numbers per block.

Newton's law, averaged over two frame intervals with a triangle as weight, holds exactly for second
differences of positions; the springs are averaged with Numerov's weights 1 10 1. What is left of
the inertia after the springs is friction and noise: its regression on the velocity, its spread and
its memory are the numbers, at several lags between frames. They need not be unbiased: trials
show what they mean.
"""

from __future__ import annotations

import numpy as np

from rulerlab.fit.bench import Bench

LAGS_S = (0.008, 0.017, 0.034, 0.068, 0.136)
START_S = 0.15  # left out: the first motion depends on what was before the clip
TINY = 1e-9
NAMES = (  # of the numbers at each lag
    "viscous", "dry", "spread", "memory", "speed", "way", "tail of the speed", "mean speed",
    "slow", "memory of the speed", "force before way", "force after way", "lean",
    "tail of the spread",
)  # fmt: skip
SPRINGS = ("mean spring", "spring at way", "spread of the spring", "tail of the spring",
           "memory of the spring")  # fmt: skip


def lags_of(bench: Bench) -> list[int]:
    """Lags in frames, near LAGS_S but whole and different."""
    frames = {max(1, round(lag / bench.frame_s)) for lag in LAGS_S}
    return sorted(lag for lag in frames if lag < len(bench.time_s) // 8) or [1]


class Summary:
    """Turns positions (S, T, B) into numbers (S, B, K), in units of the filmed run's own scale."""

    def __init__(self, bench: Bench):
        self.bench = bench
        self.lags = lags_of(bench)
        self.rail_mm = bench.rail_mm().astype(np.float32)
        self.mass_kg = bench.mass_kg.astype(np.float32)
        self.scale, self.used = {}, {}
        for lag in self.lags:
            self.used[lag] = self._usable(lag)
            self.scale[lag] = (1.0, 1.0)
            parts = self._balance(np.nan_to_num(bench.block_mm[None]), lag)
            self.scale[lag] = tuple(
                float(np.sqrt((part**2).sum() / max(self.used[lag].sum(), 1))) or 1.0
                for part in parts[:2]
            )

    @property
    def names(self) -> list[str]:
        """What each of the K numbers is, with its lag in frames."""
        return [f"{name}, lag {lag}" for lag in self.lags for name in NAMES + SPRINGS]

    def _usable(self, lag: int) -> np.ndarray:
        """1 where a block and its neighbours were seen thrice, evenly spaced, (B, T-2lag)."""
        time_s, seen = self.bench.time_s, np.isfinite(self.bench.block_mm)
        before, after = time_s[lag:-lag] - time_s[: -2 * lag], time_s[2 * lag :] - time_s[lag:-lag]
        even = (np.abs(after / before - 1) < 0.1) & (time_s[lag:-lag] > START_S)
        padded = np.pad(seen, ((0, 0), (1, 1)), constant_values=True)
        seen = seen & padded[:, :-2] & padded[:, 2:]
        return (even[:, None] & seen[2 * lag :] & seen[lag:-lag] & seen[: -2 * lag]).T.astype(
            np.float32)  # fmt: skip

    def balance(self, block_mm: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Inertia minus springs (mN), velocity (mm/s), springs (mN), each (S, B, T-2lag).

        0 where a frame is missing.
        """
        force, speed = self.scale[lag]
        net, velocity, spring = self._balance(block_mm, lag)
        return net * force, velocity * speed, spring * force

    def _balance(self, block_mm: np.ndarray, lag: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        bench, (force, speed) = self.bench, self.scale[lag]
        early, now, late = (slice(None, -2 * lag), slice(lag, -lag), slice(2 * lag, None))
        step = ((bench.time_s[late] - bench.time_s[early]) / 2)[:, None].astype(np.float32)
        block_mm = np.asarray(block_mm, np.float32)
        spring = bench.spring_force(block_mm)
        spring = (spring[:, late] + 10 * spring[:, now] + spring[:, early]) / 12
        rail = (self.rail_mm[late] - 2 * self.rail_mm[now] + self.rail_mm[early])[:, None]
        bend = (block_mm[:, late] - 2 * block_mm[:, now] + block_mm[:, early] + rail) / step**2
        velocity = (block_mm[:, late] - block_mm[:, early]) / (2 * step * speed)
        net = (self.mass_kg * bend - spring) / force
        used = self.used[lag]
        return tuple(
            np.ascontiguousarray(np.moveaxis(part, 1, 2), np.float32) * used
            for part in (net, velocity, spring / force)
        )

    def __call__(self, block_mm: np.ndarray) -> np.ndarray:
        """The numbers of every block of every trial, (S, B, K); positions may be NaN where lost."""
        lost = ~np.isfinite(self.bench.block_mm)
        filled = np.where(lost, 0.0, block_mm) if lost.any() else block_mm
        parts = np.array_split(filled, max(1, filled.size // 2_000_000))
        return np.concatenate([
            np.concatenate([self._at(part, lag) for lag in self.lags], axis=-1) for part in parts
        ])  # fmt: skip

    def _at(self, block_mm: np.ndarray, lag: int) -> np.ndarray:
        force, speed, spring = self._balance(block_mm, lag)
        used = self.used[lag]
        count = np.maximum(used.sum(axis=1), 1)

        def mean(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            return np.einsum("sbt,sbt->sb", left, right) / count

        def lagged(left: np.ndarray, right: np.ndarray) -> np.ndarray:
            return np.einsum("sbt,sbt->sb", left[..., lag:], right[..., :-lag]) / count

        one = np.broadcast_to(used, force.shape)
        way = np.tanh(4 * speed)
        fast = speed * speed
        square, cross, ways = mean(speed, speed), mean(speed, way), mean(way, way)
        on_speed, on_way = mean(force, speed), mean(force, way)
        whole = square * ways - cross**2 + TINY
        viscous = (on_speed * ways - on_way * cross) / whole
        dry = (on_way * square - on_speed * cross) / whole
        rest = force - viscous[..., None] * speed - dry[..., None] * way
        spread = mean(rest, rest) + TINY
        level = mean(spring, one)
        pull = spring - level[..., None] * used
        size = mean(pull, pull) + TINY
        return np.stack([
            viscous, dry, np.log(spread), lagged(rest, rest) / spread, np.log(square + TINY),
            np.log(ways + TINY), np.log(mean(fast, fast) / (square**2 + TINY) + TINY),
            mean(np.abs(speed), one) / np.sqrt(square + TINY),
            mean((np.abs(speed) < 0.15).astype(np.float32), one),
            lagged(speed, speed) / (square + TINY), lagged(force, way), lagged(way, force),
            mean(rest, one), np.log(mean(rest * rest, rest * rest) / spread**2 + TINY),
            level, mean(spring, way), np.log(size),
            np.log(mean(pull * pull, pull * pull) / size**2 + TINY), lagged(pull, pull) / size,
        ], axis=-1)  # fmt: skip
