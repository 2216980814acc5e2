"""A spring-block bench as it was filmed: what is known of it and what was seen.

Lengths are in mm, forces in mN, masses in kg, so that a stiffness in N/m is also one in mN/mm.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.errors import InputError, QualityError
from rulerlab.fit.paths import Rail, rail_of
from rulerlab.records import Motion
from rulerlab.rig import Rig

FRAME_S = 0.007  # frames that come faster than this are averaged in groups
GAP_S = 0.25  # a held or pulled end that is lost for longer leaves the chain undriven
ZERO_MM = 0.1  # how well rest_gap_mm and width_mm tell where a spring is at rest


@dataclass(frozen=True)
class Bench:
    """T frames of a chain with B blocks free to move, between the held and the pulled end."""

    time_s: np.ndarray  # (T,) from 0
    block_mm: np.ndarray  # (T, B) against the rail, 0 where all springs are at rest; NaN: lost
    hand_mm: np.ndarray  # (T,) of the pulled end in the picture, on the same scale
    hand_sigma_mm: np.ndarray  # (T,)
    sigma_mm: np.ndarray  # (T, B) measurement error of the blocks
    rail: Rail  # moves when the whole rail is shaken; seen by the held end
    zero_sigma_mm: np.ndarray  # (B+1,) of the length at which each spring is at rest
    mass_kg: np.ndarray  # (B,)
    stiffness: np.ndarray  # (B+1,) N/m, held end first

    @property
    def blocks(self) -> int:
        return len(self.mass_kg)

    @property
    def frame_s(self) -> float:
        """Usual time from frame to frame."""
        return float(np.median(np.diff(self.time_s)))

    def rail_mm(self) -> np.ndarray:
        """Where the rail most probably was in each frame, (T,)."""
        return self.rail.waves(self.time_s) @ self.rail.mean_mm

    def end_mm(self) -> np.ndarray:
        """The pulled end against the rail, (T,): what the last spring feels."""
        return self.hand_mm - self.rail_mm()

    def spring_force(self, block_mm: np.ndarray) -> np.ndarray:
        """Net force of its two springs on each block, mN, for positions (..., T, B)."""
        end = self.end_mm().astype(block_mm.dtype)[:, None]
        end = np.broadcast_to(end, block_mm.shape[:-1] + (1,))
        whole = np.concatenate([np.zeros_like(end), block_mm, end], axis=-1)
        pull = self.stiffness.astype(block_mm.dtype) * np.diff(whole, axis=-1)
        return pull[..., 1:] - pull[..., :-1]


def bench_of(motion: Motion, rig: Rig) -> Bench:
    """The bench of a measured motion, held end first, with the masses and springs of rig.toml.

    Raises InputError when the motion is not in mm or the rig lacks masses or springs, QualityError
    when the held or the pulled end is lost for too long.
    """
    points = motion.joint_mm.shape[1]
    if motion.unit != "mm":
        raise InputError(
            "the motion is in pixels, masses and springs want millimetres: add [reference] "
            "marks to rig.toml and track again"
        )
    if points < 3:
        raise InputError(f"{points} points leave no block free between the held and pulled end")
    mass = _per(rig.blocks.mass_kg, points - 1, "mass_kg")[:-1]
    stiffness = _per(rig.blocks.stiffness_N_per_m, points - 1, "stiffness_N_per_m")
    group = max(1, int(np.ceil(FRAME_S / np.median(np.diff(motion.time_s)) - 0.01)))
    time_s = _grouped(motion.time_s, group)
    x = _grouped(motion.joint_mm[..., 0], group)
    sigma = np.sqrt(_grouped(motion.covariance_mm2[..., 0, 0], group) / group)
    sigma = np.where(np.isfinite(sigma), sigma, np.nanmedian(sigma))
    held = _bridged(time_s, x[:, 0], "held end")
    hand = _bridged(time_s, x[:, -1], "pulled end")
    time_s = time_s - time_s[0]
    rail = rail_of(time_s, held, float(np.median(sigma[:, 0])))
    moved = rail.waves(time_s) @ rail.mean_mm
    x[:, 0] = held.mean()
    x[:, 1:-1] -= moved[:, None]
    rest, zero_sigma = _rest_lengths(np.column_stack([x[:, :-1], hand - moved]), rig)
    place = held.mean() + np.cumsum(rest)
    return Bench(
        time_s, x[:, 1:-1] - place[:-1], hand - place[-1], sigma[:, -1], sigma[:, 1:-1], rail,
        zero_sigma, mass, stiffness,
    )


def _per(numbers: tuple[float, ...], count: int, name: str) -> np.ndarray:
    if len(numbers) not in (1, count):
        raise InputError(
            f"blocks.{name} has {len(numbers)} numbers; {count} blocks need 1 or {count}"
        )
    return np.broadcast_to(np.array(numbers, float), count).copy()


def _grouped(values: np.ndarray, group: int) -> np.ndarray:
    """Means of `group` frames each; a mean with a lost frame in it is lost."""
    whole = len(values) // group * group
    return values[:whole].reshape(-1, group, *values.shape[1:]).mean(axis=1)


def _bridged(time_s: np.ndarray, x: np.ndarray, name: str) -> np.ndarray:
    """Positions with short gaps bridged by straight lines."""
    seen = np.isfinite(x)
    moments = time_s[seen]
    longest = np.diff(np.concatenate([time_s[:1], moments, time_s[-1:]])).max(initial=0.0)
    if seen.sum() < 3 or longest > GAP_S + 2 * np.median(np.diff(time_s)):
        raise QualityError(
            f"the {name} is lost for {longest:.2f} s: what drives the chain is not known; cut the "
            "clip there, or mend the tracks"
        )
    return np.interp(time_s, moments, x[seen])


def _rest_lengths(x: np.ndarray, rig: Rig) -> tuple[np.ndarray, np.ndarray]:
    """Distance of neighbouring points where each spring is at rest, and its error, (B+1,).

    Between blocks from rest_gap_mm and width_mm; the first, whose mark sits anywhere on the wall,
    and all when these are not given, from the first frames: the chain starts unstretched. In a
    chain that is shaken from the first frame on, the known springs tell how far off that is.
    """
    first = np.diff(x[:5], axis=1)
    length = np.nanmedian(first, axis=0)
    if np.isnan(length).any():
        raise QualityError("a block is lost in the first frames, where the springs are at rest")
    sigma = np.hypot(ZERO_MM, np.nanstd(first, axis=0))
    if rig.blocks.rest_gap_mm is not None and rig.blocks.width_mm is not None:
        length[1:] = rig.blocks.rest_gap_mm + rig.blocks.width_mm
        off = float(np.sqrt(np.nanmean((first[0, 1:] - length[1:]) ** 2)))
        if off < sigma[0] and np.isfinite(first[0, 0]):
            length[0], sigma[0] = first[0, 0], np.hypot(ZERO_MM, off)
        sigma[1:] = ZERO_MM
    return length, sigma
