"""Where to look first: points that were not seen, and points that jumped."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.records import DETECTED, EDITED, LOST, PREDICTED, Tracks

JUMP = 12.0  # times the usual unrest of a point that a jump must have


@dataclass(frozen=True)
class Doubt:
    """Frames of one point that want to be looked at, the worst kind first."""

    point: int
    first: int
    last: int
    why: str


def doubts(tracks: Tracks) -> list[Doubt]:
    """All doubtful stretches in the order of time; points that are never seen come as one."""
    found = []
    for point in range(tracks.points):
        status = tracks.status[:, point]
        found += [Doubt(point, *stretch, f"lost in {_count(stretch)}")
                  for stretch in _stretches(status == LOST)]
        found += [Doubt(point, *stretch, f"predicted in {_count(stretch)}")
                  for stretch in _stretches(status == PREDICTED)]
        found += [Doubt(point, frame, frame, f"jumps by {size:.1f} px and back")
                  for frame, size in _jumps(tracks, point)]
    return sorted(found, key=lambda doubt: (doubt.first, doubt.point))


def _count(stretch: tuple[int, int]) -> str:
    frames = stretch[1] - stretch[0] + 1
    return "1 frame" if frames == 1 else f"{frames} frames"


def _stretches(chosen: np.ndarray) -> list[tuple[int, int]]:
    """First and last index of every run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], chosen.astype(int), [0]])))
    return [(int(a), int(b) - 1) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def _jumps(tracks: Tracks, point: int) -> list[tuple[int, float]]:
    """Frames in which a point was detected off the middle of its places before and after.

    A jump must be both a multiple of what this point usually does and of its standard deviation,
    larger than those beside it, and the point must come back: the two frames beside it agree
    better with each other.
    """
    position = tracks.position_px[:, point]
    seen = np.isin(tracks.status[:, point], (DETECTED, EDITED))
    if len(position) < 5:
        return []
    bend = position[1:-1] - (position[:-2] + position[2:]) / 2
    size = np.linalg.norm(bend, axis=1)
    across = np.linalg.norm(position[2:] - position[:-2], axis=1)
    trio = (tracks.status[1:-1, point] == DETECTED) & seen[:-2] & seen[2:]
    if not trio.any():
        return []
    usual = max(float(np.median(size[trio])), 1e-6)
    sigma = tracks.sigma_px()[1:-1, point].max(axis=-1)
    beside = np.pad(np.nan_to_num(size), 1)
    with np.errstate(invalid="ignore"):
        jump = trio & (size > JUMP * usual) & (size > 6 * sigma) & (size > across)
        jump &= size >= np.maximum(beside[:-2], beside[2:])
    return [(int(frame) + 1, float(size[frame])) for frame in np.flatnonzero(jump)]
