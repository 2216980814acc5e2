"""The load curve of a run as it is compared."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rulerlab.fit.dimensionless import relative_length
from rulerlab.records import LoadCurve
from rulerlab.store import read_load_curve, read_run

FOLDS = 3  # a ruler with fewer is compared by its sections


def matched_curve(run: Path) -> tuple[LoadCurve, np.ndarray | None]:
    """The curve of a run folder or csv, by folds for a ruler, and its segments' relative lengths.

    In a fold (two sections) the leaning of a ruler to one side cancels. Lengths are over the
    common one, (L,); None where they are all alike or unknown.
    """
    curve = read_load_curve(run)
    folds = run / "load_curve_folds.csv"
    by_fold = None
    if curve.source == "ruler" and curve.unit == "section" and folds.exists():
        by_fold = read_load_curve(folds)
        by_fold = by_fold if len(by_fold.loads) >= FOLDS else None
    lengths = None
    if curve.source == "ruler" and (run / "tracks.nc").exists():
        lengths = relative_length(read_run(run).motion)[: len(curve.loads)]
    if by_fold is None:
        return curve, lengths
    if lengths is not None:
        lengths = np.append(lengths, 0.0)[: 2 * len(by_fold.loads)].reshape(-1, 2).sum(axis=1) / 2
    return by_fold, lengths
