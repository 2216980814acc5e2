"""A gap in the path of a point, bridged in time, with an error that is measured."""

from __future__ import annotations

import numpy as np
from scipy.interpolate import Akima1DInterpolator

from rulerlab.errors import QualityError
from rulerlab.records import DETECTED, EDITED, PREDICTED, Tracks
from rulerlab.review.mending import Change

ANCHORS = 4  # frames in which the point is known, on each side, that hold a bridge
TRIALS = 60  # gaps of the same length elsewhere that tell how good a bridge is


def bridge(tracks: Tracks, point: int, frame: int) -> list[Change]:
    """Places of `point` in the gap around `frame`, where it was neither seen nor placed by hand.

    The path is a smooth curve (modified Akima) through the known places. Its error is that by which
    the same bridge misses the point over gaps of the same length where it is known, the nearest of
    them; the errors of its ends are added. Raises QualityError when there is no gap, or no known
    place on one of its sides.
    """
    known = np.isin(tracks.status[:, point], (DETECTED, EDITED))
    if known[frame]:
        raise QualityError(f"point {point} is known in frame {frame}: there is no gap to bridge")
    before, after = np.flatnonzero(known[:frame]), np.flatnonzero(known[frame:]) + frame
    if not len(before) or not len(after):
        raise QualityError(f"point {point} is not known on both sides of frame {frame}: place it "
                           "by hand there first")
    first, last = int(before[-1]) + 1, int(after[0]) - 1
    position = tracks.position_px[:, point]
    path = _across(tracks.time_s, position, known, first, last)
    ends = tracks.sigma_px()[[first - 1, last + 1], point].max()
    sigma = float(np.hypot(_usual_miss(tracks.time_s, position, known, first, last), ends))
    return [Change(t, point, float(x), float(y), sigma, PREDICTED)
            for t, (x, y) in zip(range(first, last + 1), path, strict=True)]


def _across(time_s: np.ndarray, position: np.ndarray, known: np.ndarray, first: int, last: int
            ) -> np.ndarray:
    """Places in frames first..last from the known ones around them, (last - first + 1, 2)."""
    frames = np.concatenate([np.flatnonzero(known[:first])[-ANCHORS:],
                             np.flatnonzero(known[last + 1:])[:ANCHORS] + last + 1])
    path = Akima1DInterpolator(time_s[frames], position[frames], method="makima")
    return path(time_s[first: last + 1])


def _usual_miss(time_s: np.ndarray, position: np.ndarray, known: np.ndarray, first: int, last: int
                ) -> float:
    """Root mean square, on the worse axis, by which bridges of this length miss known places.

    Where it is known nowhere long enough, half of the way across the gap.
    """
    length = last - first + 1
    whole = np.convolve(known, np.ones(length + 2), "valid") == length + 2
    starts = np.flatnonzero(whole) + 1
    starts = starts[np.argsort(np.abs(starts - first), kind="stable")][:TRIALS]
    if not len(starts):
        return float(np.linalg.norm(position[last + 1] - position[first - 1])) / 2
    missed = [_across(time_s, position, known, start, start + length - 1)
              - position[start: start + length] for start in starts]
    return float(np.sqrt(np.mean(np.square(np.concatenate(missed)), axis=0)).max())
