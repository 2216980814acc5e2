"""Stick and slip: the list of slips of a run, their statistics, and what shaking does to friction.

A slip is a stretch of time in which at least one block moves. The list is made from a `Motion`,
simulated or measured alike; the first and the last point (held end and hand) are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.chain import rest
from rulerlab.chain.drive import Drive
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import final_profiles
from rulerlab.errors import QualityError, UsageError
from rulerlab.records import Motion


@dataclass(frozen=True)
class Slips:
    """Slips of a run in order of time, E of them among L blocks."""

    onset_s: np.ndarray  # (E,)
    duration_s: np.ndarray  # (E,)
    size_mm: np.ndarray  # (E,) sum of what all blocks moved
    moved: np.ndarray  # (E, L) True for the blocks that took part
    block_mm: np.ndarray  # (E, L) net displacement of each block

    def __len__(self) -> int:
        return len(self.onset_s)

    @property
    def blocks(self) -> np.ndarray:
        """Number of blocks that took part in each slip, (E,)."""
        return self.moved.sum(axis=1)

    @property
    def waiting_s(self) -> np.ndarray:
        """Rest between the end of a slip and the onset of the next, (E-1,)."""
        return self.onset_s[1:] - (self.onset_s + self.duration_s)[:-1]

    def burstiness(self) -> float:
        """(s - m)/(s + m) of the times between onsets: -1 regular, 0 random, +1 in bursts."""
        between = np.diff(self.onset_s)
        if len(between) < 2:
            raise QualityError(f"{len(self)} slips have no burstiness; it needs at least 3")
        return float((between.std() - between.mean()) / (between.std() + between.mean()))

    def survival(self) -> tuple[np.ndarray, np.ndarray]:
        """Sizes in rising order and the share of slips that are at least as large."""
        size = np.sort(self.size_mm)
        return size, 1 - np.arange(len(size)) / max(1, len(size))

    def size_exponent(self, smallest: float) -> tuple[float, float]:
        """Exponent a of a size density size^-a above `smallest`, with its standard error.

        Maximum likelihood (Hill): a = 1 + n / sum log(size/smallest), error (a - 1)/sqrt(n). It
        always gives a number; look at `survival` before believing in a power law.
        """
        large = self.size_mm[self.size_mm >= smallest]
        if len(large) < 10:
            raise QualityError(f"{len(large)} slips of {smallest:g} or more; 10 needed for a slope")
        excess = np.log(large / smallest).sum()
        if excess == 0:
            raise QualityError(f"all slips have the size {smallest:g}; there is no slope")
        return float(1 + len(large) / excess), float(np.sqrt(len(large)) / excess)


def slips(motion: Motion, *, above: float | None = None, quiet_frames: int = 1) -> Slips:
    """Every slip of a run.

    A block moves between two frames when its position changes by more than `above` (default: four
    standard deviations of the difference of its errors; exactly 0 for a simulated run). Slips that
    are fewer than `quiet_frames` frames apart count as one. A lost point is not moving.

    Raises UsageError if the run is shorter than two frames.
    """
    if len(motion.time_s) < 2:
        raise UsageError(f"{len(motion.time_s)} frames hold no slip; at least 2 are needed")
    position = motion.joint_mm[:, 1:-1, 0]
    change = np.diff(position, axis=0)
    if above is None:
        variance = motion.covariance_mm2[:, 1:-1, 0, 0]
        limit = 4 * np.sqrt(variance[1:] + variance[:-1])
    else:
        limit = np.full(change.shape, above)
    moving = np.abs(np.nan_to_num(change)) > np.nan_to_num(limit)
    starts, stops = _stretches(moving.any(axis=1), quiet_frames)
    moved = np.array([moving[a:b].any(axis=0) for a, b in zip(starts, stops, strict=True)])
    net = np.array([np.nansum(change[a:b], axis=0) for a, b in zip(starts, stops, strict=True)])
    blocks = change.shape[1]
    moved, net = moved.reshape(-1, blocks).astype(bool), net.reshape(-1, blocks)
    return Slips(
        onset_s=motion.time_s[starts], duration_s=motion.time_s[stops] - motion.time_s[starts],
        size_mm=np.abs(np.where(moved, net, 0)).sum(axis=1), moved=moved, block_mm=net,
    )  # fmt: skip


def _stretches(active: np.ndarray, quiet: int) -> tuple[np.ndarray, np.ndarray]:
    """First and one past the last index of each run of True; short gaps are bridged."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(int)))
    starts, stops = edges[::2], edges[1::2]
    if not len(starts):
        return starts, stops
    apart = starts[1:] - stops[:-1] >= max(1, quiet)
    return starts[np.concatenate([[True], apart])], stops[np.concatenate([apart, [True]])]


@dataclass(frozen=True)
class Lubrication:
    """Friction that a steadily pulled block feels, against how hard it is shaken."""

    noise: np.ndarray  # (S,)
    friction: np.ndarray  # (S,) force minus damping times mean velocity
    sigma: np.ndarray  # (S,)
    closed_form: np.ndarray  # (S,) `rest.effective_friction`


def lubrication(
    noise: np.ndarray,
    *,
    force: float,
    friction_right: float = 0.1,
    friction_left: float = 0.1,
    dt: float = 0.01,
    steps: int = 4000,
    repeats: int = 200,
    seed: int = 0,
) -> Lubrication:
    """Pull one shaken block with a steady force and measure the friction that is left.

    A block without inertia, kicked in every step; without shaking it feels the whole dry friction
    (or the whole force, when that is too small to move it), with strong shaking none.
    """
    level = np.asarray(noise, float)
    # the wall's spring has no stiffness, so nothing holds the block but friction
    block = ChainModel(1, (0.0, 1.0), friction_right, friction_left, dt=dt)
    hand = Drive(np.zeros(1), np.array([force]), force=True)
    end = final_profiles(block, hand, steps, chains=len(level) * repeats, seed=seed,
                         vary={"noise": np.repeat(level, repeats)})  # fmt: skip
    velocity = end.reshape(len(level), repeats) / (steps * dt)
    return Lubrication(
        noise=level, friction=force - velocity.mean(axis=1),
        sigma=velocity.std(axis=1, ddof=1) / np.sqrt(repeats),
        closed_form=np.array([rest.effective_friction(force, s, friction_right, friction_left)
                              for s in level]),
    )  # fmt: skip
