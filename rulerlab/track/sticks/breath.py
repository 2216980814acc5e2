"""How the picture as a whole breathes: the phone comes nearer, or the focus is drawn.

Rigid sections then seem longer all at once. How much, each frame tells by the pins of its hinges:
edges alone know the folded sections across, and hardly along.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rulerlab.track.sticks.chain import STIFF, Lines, Rods, frames_of, solve

LOOSE = 0.02  # relative: by so much lengths may differ while a frame is asked for them


def with_breath(lines: Lines, rods: Rods) -> Lines:
    """The lines of T pictures, and by how much each is larger than the clip on average.

    Without pins that are trusted, all are taken to be alike.
    """
    if not np.isfinite(rods.pin_px):
        return lines
    joints, full = solve(lines, rods, stiff=LOOSE)
    longer = np.log(np.linalg.norm(np.diff(joints, axis=1), axis=-1) / rods.lengths(joints))
    sigma = _errors(joints, full) / rods.lengths(joints)
    weight = np.where([kind == "free" for kind in rods.kinds], 0.0, 1 / (sigma**2 + STIFF**2))
    larger = (weight * longer).sum(1) / weight.sum(1)
    larger -= np.median(larger)
    error = 1 / weight.sum(1)
    usual = max((1.48 * np.median(np.abs(larger))) ** 2 - np.median(error), 0.0)
    return replace(lines, larger=larger * usual / (usual + error))


def _errors(joints: np.ndarray, full: np.ndarray) -> np.ndarray:
    """Errors of the lengths of sections, px (T, S), from covariances (T, 2N, 2N) of the joints."""
    unit, _ = frames_of(joints)
    frames, points = joints.shape[:2]
    row = np.zeros((frames, points - 1, points, 2))
    every = np.arange(points - 1)
    row[:, every, every], row[:, every, every + 1] = -unit, unit
    row = row.reshape(frames, points - 1, -1)
    return np.sqrt(np.einsum("tki,tij,tkj->tk", row, full, row))
