"""The motion that is fitted: from a run folder, its tables edited by hand, or any plain table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from rulerlab.errors import InputError
from rulerlab.records import DETECTED, LOST, STATUSES, Motion
from rulerlab.store import read_run
from rulerlab.store.tables import Table, count_columns, read_table, rising_time

EDITED_MM = 2e-3  # tables hold micrometres: what differs by more was changed by hand
QUIET = 0.25  # the quietest share of a table shows its measurement errors
LEAST_MM = 1e-3


def read_measured(path: Path | str) -> Motion:
    """The motion of a run folder, of its tracks.csv or segments.csv, or of a table.

    A table has the columns `time_s,p0_x_mm,p1_x_mm,...`, held end first; `p0_y_mm`,
    `p0_sigma_x_mm` and `p0_status` may stand beside them. Values edited in the tables of a run
    folder win over what was tracked. Raises InputError naming the line and column of a fault.
    """
    path = Path(path)
    if path.is_dir():
        return _of_run(path)
    table = read_table(path)
    if "s1_extension_mm" in table.cells:
        return _of_segments(table)
    return _of_positions(table)


def _of_run(folder: Path) -> Motion:
    run = read_run(folder)
    table = folder / "tracks.csv"
    tracked = run.motion
    if tracked is None:
        if not table.exists():
            raise InputError(f"{folder} holds neither tracks.nc nor tracks.csv: nothing to fit")
        return _of_positions(read_table(table))
    if tracked.unit != "mm":
        return tracked
    motion = _mended(tracked, _of_positions(read_table(table))) if table.exists() else tracked
    segments = folder / "segments.csv"
    if segments.exists():
        motion = _extended(motion, tracked, _of_segments(read_table(segments)))
    return motion


def _of_positions(table: Table) -> Motion:
    time_s = rising_time(table)
    points = count_columns(table, "p", "_x_mm", 0)
    if not points:
        raise InputError(
            f"{table.path} has no column p0_x_mm; a table to fit has the columns "
            "time_s,p0_x_mm,p1_x_mm,..., held end first"
        )
    joint = np.zeros((len(time_s), points, 2))
    sigma = np.full(joint.shape, np.nan)
    told = any(f"p{k}_status" in table.cells for k in range(points))
    status = np.full(joint.shape[:2], DETECTED, dtype="<U9") if told else None
    for k in range(points):
        for i, axis in enumerate("xy"):
            if f"p{k}_{axis}_mm" in table.cells:
                joint[:, k, i] = table.numbers(f"p{k}_{axis}_mm")
            if f"p{k}_sigma_{axis}_mm" in table.cells:
                sigma[:, k, i] = table.numbers(f"p{k}_sigma_{axis}_mm")
        if status is not None and f"p{k}_status" in table.cells:
            words = np.array([word.strip().lower() for word in table.words(f"p{k}_status")])
            status[:, k] = np.where(np.isin(words, STATUSES), words, LOST)
            joint[status[:, k] == LOST, k] = np.nan
    return _with_errors(time_s, joint, sigma, status)


def _of_segments(table: Table) -> Motion:
    """Positions from extensions, against the held end."""
    time_s = rising_time(table)
    segments = count_columns(table, "s", "_extension_mm", 1)
    names = [f"s{s}_extension_mm" for s in range(1, segments + 1)]
    extension = np.stack([table.numbers(name) for name in names], axis=-1)
    joint = np.zeros((len(time_s), segments + 1, 2))
    joint[:, 1:, 0] = np.cumsum(extension, axis=1)
    sigma = np.full(joint.shape, np.nan)
    if "s1_sigma_mm" in table.cells:
        each = [table.numbers(f"s{s}_sigma_mm") for s in range(1, segments + 1)]
        sigma[:, 1:] = (np.stack(each, axis=-1) / np.sqrt(2))[..., None]
        sigma[:, 0] = 0.0
    return _with_errors(time_s, joint, sigma, None)


def _with_errors(time_s, joint, sigma, status) -> Motion:
    if len(time_s) < 5:
        raise InputError(f"{len(time_s)} rows are no motion")
    sigma = np.where(np.isfinite(sigma), sigma, error_of(joint[..., 0]))
    covariance = np.zeros((*joint.shape, 2))
    covariance[..., 0, 0], covariance[..., 1, 1] = sigma[..., 0] ** 2, sigma[..., 1] ** 2
    return Motion(time_s, joint, covariance, status=status)


def error_of(x_mm: np.ndarray) -> float:
    """Measurement error of positions (T, N) that come without: their jitter where all is quiet.

    Third differences of neighbouring frames have the variance 20 sigma^2.
    """
    jitter = np.abs(np.diff(x_mm, n=3, axis=0)) / np.sqrt(20)
    parts = np.array_split(jitter, max(1, len(jitter) // 40))
    level = np.array([np.nanmean(part, axis=0) for part in parts if np.isfinite(part).any(axis=0)
                      .all()]) * np.sqrt(np.pi / 2)  # fmt: skip
    level = level[level > 0]
    return max(float(np.quantile(level, QUIET)), LEAST_MM) if level.size else LEAST_MM


def _mended(motion: Motion, table: Motion) -> Motion:
    """The motion with the positions that tracks.csv has otherwise; its frame may be turned."""
    if table.joint_mm.shape != motion.joint_mm.shape:
        return table
    both = np.isfinite(table.joint_mm).all(-1) & np.isfinite(motion.joint_mm).all(-1)
    if both.sum() < 3:
        return table
    ours, theirs = motion.joint_mm[both], table.joint_mm[both]
    left, _, right = np.linalg.svd((theirs - np.median(theirs, axis=0)).T
                                   @ (ours - np.median(ours, axis=0)))  # fmt: skip
    turn = left @ right
    turned = table.joint_mm @ turn
    turned = turned + np.median(motion.joint_mm[both] - turned[both], axis=0)
    changed = np.abs(turned - motion.joint_mm).max(axis=-1) > EDITED_MM
    gone = ~np.isfinite(table.joint_mm).all(-1)
    joint = np.where(changed[..., None], turned, motion.joint_mm)
    joint[gone] = np.nan
    return replace(motion, joint_mm=joint, status=table.status)


def _extended(motion: Motion, tracked: Motion, table: Motion) -> Motion:
    """The motion, shifted where segments.csv has other extensions than were tracked."""
    if table.joint_mm.shape != motion.joint_mm.shape:
        return motion
    before, after = tracked.extension_mm(), table.extension_mm()
    change = np.nan_to_num(after - before)
    change[np.abs(change) < EDITED_MM] = 0.0
    joint = motion.joint_mm.copy()
    joint[:, 1:, 0] += np.cumsum(change, axis=1)
    joint[:, 1:][np.isnan(after) & np.isfinite(before)] = np.nan
    return replace(motion, joint_mm=joint)
