"""Where the error of a load comes from: marks, board and camera, unrest at rest."""

from __future__ import annotations

import numpy as np

from rulerlab.errors import QualityError
from rulerlab.records import LoadCurve, Motion
from rulerlab.report.blocks import Table, Words
from rulerlab.segments import Pull, find_pull


def error_budget(motion: Motion, curve: LoadCurve) -> Table | None:
    """Standard deviations that add (in squares) to that of a typical load, and their shares.

    The typical load is the one with the median variance of its kind. None when the pull can't be
    found again in the motion.
    """
    try:
        pull = find_pull(motion)
    except QualityError:
        return None
    loads = len(curve.loads)
    total = np.diag(curve.load_covariance)
    if curve.unit == "fold" or loads > motion.joint_mm.shape[1] - 1:
        return None
    marks = sum(_of_marks(motion, when)[:loads] for when in (pull.rest, pull.held))
    shared = _shared(motion, pull)[:loads]
    rest = np.maximum(total - marks - shared, 0.0)
    unit = curve.quantity
    parts = [("places of the marks in the picture (each mark alone)", marks),
             ("scale and registration of the board (moves all marks together)", shared),
             ("unrest of the marks before the pull and at its end", rest)]
    whole = float(np.median(total))
    rows = [(name, _short(float(np.median(variance)), unit),
             f"{100 * float(np.median(variance)) / whole:.0f} %" if whole > 0 else "")
            for name, variance in parts]
    rows.append(("all together: sigma of a load", _short(whole, unit), ""))
    return Table(tuple(rows), (Words("what"), Words("sigma of a load"), Words("share of variance")))


def _short(variance: float, unit: str) -> str:
    return f"{np.sqrt(variance):.2g} {unit}"


def _of_marks(motion: Motion, frames: slice) -> np.ndarray:
    """Variance of every extension (L,) from the errors that each mark has for itself."""
    own = np.nanmean(motion.covariance_mm2[frames, :, 0, 0], axis=0)
    return own[1:] + own[:-1]


def _shared(motion: Motion, pull: Pull) -> np.ndarray:
    """Variance of every load (L,) from effects that all marks share."""
    if motion.shared_mm is None:
        return np.zeros(motion.joint_mm.shape[1] - 1)
    pattern = [np.nanmean(motion.shared_mm[when, :, 0], axis=0) for when in (pull.rest, pull.held)]
    return (np.diff(pattern[1] - pattern[0], axis=0) ** 2).sum(axis=-1)
