"""What a chain is made of; the values are checked once, here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.errors import UsageError

PerBlock = float | tuple[float, ...]


@dataclass(frozen=True)
class ChainModel:
    """Blocks between a wall at 0 and a pulled end, joined by blocks+1 springs; held end first.

    Overdamped (`mass` = 0; Shi, Pan & Dokmanić 2025, first order):

        damping dx/dt = S(spring force + kick),    S: the dead zone of dry friction

    where every step draws a new kick of standard deviation `noise` (the papers' eps_bar), inside
    the dead zone. With a mass (second order, Langevin):

        mass dv/dt = spring force - damping v - friction(v),    v += noise exp(-noise_decay t) dW

    so there `noise` is a velocity per root time, the same for light and heavy blocks, as a shaken
    table gives it. `common_noise` is the part of the kick that all blocks share, stated per block.
    """

    blocks: int = 7
    stiffness: PerBlock = 1.0  # one number or blocks+1, held end first
    friction_right: PerBlock = 0.1  # force that holds a block against moving to the pulled end
    friction_left: PerBlock = 0.1  # and against moving back
    noise: PerBlock = 0.0  # independent kicks
    common_noise: PerBlock = 0.0  # kicks that all blocks share, amplitude on each block
    noise_decay: float = 0.0  # rate at which both die away
    noise_frequency: float = 0.0  # centre of the band of the kicks, with noise_bandwidth
    noise_bandwidth: float = 0.0  # full width of the band; 0 = white
    static_ratio: float = 1.0  # static over kinetic friction
    mass: PerBlock = 0.0  # 0 = overdamped
    damping: float = 1.0
    dt: float = 0.01

    def __post_init__(self):
        if self.blocks < 1:
            raise UsageError(f"a chain needs at least one block, got {self.blocks}")
        for name, count in [("stiffness", self.blocks + 1), ("friction_right", self.blocks),
                            ("friction_left", self.blocks), ("noise", self.blocks),
                            ("common_noise", self.blocks), ("mass", self.blocks)]:
            values = np.asarray(getattr(self, name), float)
            if values.ndim and values.shape != (count,):
                raise UsageError(f"{name} needs one number or {count}, got {values.size}")
            if not (np.isfinite(values).all() and (values >= 0).all()):
                raise UsageError(f"{name} is {values.min():g}; it must be 0 or more")
        if not (self.dt > 0 and np.isfinite(self.dt)):
            raise UsageError(f"the time step is {self.dt:g}; it must be above 0")
        if self.damping < 0 or (not self.second_order and self.damping == 0):
            raise UsageError(f"damping is {self.damping:g}; a chain without mass needs some")
        if self.second_order and np.min(self.mass) <= 0:
            raise UsageError("either every block has a mass or none")
        if self.static_ratio < 1:
            raise UsageError(f"static friction is {self.static_ratio:g} of kinetic; at least 1")
        if self.noise_decay < 0 or self.noise_bandwidth < 0 or self.noise_frequency < 0:
            raise UsageError("noise decay, frequency and bandwidth must be 0 or more")
        if self.noise_frequency and not self.noise_bandwidth:
            raise UsageError("a noise frequency needs a noise bandwidth")
        if self.stability() > 1:
            raise UsageError(
                f"the time step {self.dt:g} is {self.stability():.1f} times the largest stable one;"
                f" use {0.2 * self.dt / self.stability():.2g} or less"
            )

    @property
    def second_order(self) -> bool:
        return bool(np.max(self.mass) > 0)

    def springs(self) -> np.ndarray:
        """Stiffness of each spring, (L+1,)."""
        return np.broadcast_to(np.asarray(self.stiffness, float), self.blocks + 1).copy()

    def per_block(self, name: str) -> np.ndarray:
        """A property of each block, (L,)."""
        return np.broadcast_to(np.asarray(getattr(self, name), float), self.blocks).copy()

    def stability(self) -> float:
        """Time step over the largest one at which the frictionless chain is stable."""
        stiffest = 4 * float(np.max(self.stiffness))
        if self.second_order:
            return float(self.dt * np.sqrt(stiffest / np.min(self.mass)) / 2)
        return self.dt * stiffest / self.damping / 2

    def colour(self) -> tuple[float, float, float]:
        """Filter n_t = a n_(t-1) + b n_(t-2) + c xi_t of unit variance that bands the kicks.

        Two conjugate poles at radius exp(-pi bandwidth dt) and angle 2 pi frequency dt. White
        kicks are (0, 0, 1). The kick of one step keeps its standard deviation, whatever the band.
        """
        if not self.noise_bandwidth:
            return 0.0, 0.0, 1.0
        radius = np.exp(-np.pi * self.noise_bandwidth * self.dt)
        a = 2 * radius * np.cos(2 * np.pi * self.noise_frequency * self.dt)
        b = -(radius**2)
        variance = (1 - b) / ((1 + b) * ((1 - b) ** 2 - a**2))
        return float(a), float(b), float(1 / np.sqrt(variance))
