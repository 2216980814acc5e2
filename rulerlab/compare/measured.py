"""A batch of runs as one diagram: surfaces down, shaking across, and whether it evens the load."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rulerlab.compare.scale import on_one_scale
from rulerlab.errors import InputError, UsageError
from rulerlab.records import Diagram, LoadCurve
from rulerlab.store import read_run_json

SHUFFLES = 20_000


@dataclass(frozen=True)
class Conditions:
    """Under which two conditions each run was made."""

    row: str
    column: str
    runs: tuple[Path, ...]
    row_values: np.ndarray  # (runs,)
    column_values: np.ndarray  # (runs,)


def read_conditions(path: Path) -> Conditions:
    """A table `run,ROW,COLUMN`: a run folder per line (beside the table) and its two conditions.

    Conditions in words (a surface) become 0, 1, 2, .. in the order in which they appear, and the
    name of the row says so. Raises InputError naming the line that can't be used.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            lines = [line for line in csv.reader(file) if any(cell.strip() for cell in line)]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    if not lines or len(lines[0]) != 3 or lines[0][0].strip() != "run":
        raise InputError(f"{path} must begin with the line run,ROW,COLUMN, as in "
                         "run,surface,shaking_g")
    for number, line in enumerate(lines[1:], 2):
        if len(line) != 3 or not all(cell.strip() for cell in line):
            raise InputError(f"{path}, line {number}: expected run, {lines[0][1]}, {lines[0][2]}")
    if len(lines) < 3:
        raise InputError(f"{path} lists {len(lines) - 1} runs; a diagram needs at least two")
    names, columns = lines[0][1:], list(zip(*lines[1:], strict=True))
    (row, row_values), (column, column_values) = (
        numbered(name.strip(), [cell.strip() for cell in cells])
        for name, cells in zip(names, columns[1:], strict=True)
    )
    folders = tuple(Path(path).parent / name.strip() for name in columns[0])
    return Conditions(row, column, folders, row_values, column_values)


def numbered(name: str, cells: Sequence[str]) -> tuple[str, np.ndarray]:
    """The values of a condition; words are counted in their order and explained in the name."""
    try:
        values = np.array([float(cell) for cell in cells])
    except ValueError:
        words = list(dict.fromkeys(cells))
        said = ", ".join(f"{k} {word}" for k, word in enumerate(words))
        return f"{name} ({said})", np.array([float(words.index(cell)) for cell in cells])
    if not np.isfinite(values).all():
        raise InputError(f"{name} holds a value that is no finite number")
    return name, values


def shaking_g(folder: Path) -> float:
    """Root mean square of the table's acceleration about its mean during the pull, in g.

    From `acceleration_film.csv` that `rulerlab record` left beside the video of the run. Raises
    InputError when there is none.
    """
    info = read_run_json(folder)
    places = [Path(file["path"]).parent for file in info.get("inputs", [])[:1]]
    logs = [place / "acceleration_film.csv" for place in (*places, Path(folder).parent)]
    log = next((log for log in logs if log.exists()), None)
    if log is None:
        raise InputError(f"{folder}: no acceleration_film.csv beside its video; was it made by "
                         "rulerlab record? Else give --table runs.csv with run,ROW,COLUMN")
    try:
        time_s, *axes = np.loadtxt(log, delimiter=",", skiprows=1, ndmin=2).T
    except ValueError as error:
        raise InputError(f"{log} can't be read: {error}") from error
    pull = info.get("pull") or {"onset_s": -np.inf, "end_s": np.inf}
    during = (time_s >= pull["onset_s"]) & (time_s <= pull["end_s"])
    if during.sum() < 2:
        raise InputError(f"{log} holds no readings during the pull")
    return float(np.sqrt(np.var(np.array(axes)[:, during], axis=1).sum()))


def diagram_of(curves: Sequence[LoadCurve], conditions: Conditions) -> Diagram:
    """Mean loads on one scale of the runs of each cell, with the standard error of c~.

    A run's own error bars hold for that one pull. How much pulls under the same conditions
    differ is learned from the cells with several runs and added to all; without any such cell
    the error bars say nothing about it.
    """
    parts = min(len(curve.loads) for curve in curves)
    scaled = [on_one_scale(curve, parts) for curve in curves]
    loads, c = np.array([curve.loads for curve in scaled]), np.array([curve.c for curve in scaled])
    variance = np.array([curve.sigma_of("c") ** 2 for curve in scaled])
    rows, columns = np.unique(conditions.row_values), np.unique(conditions.column_values)
    cell = [np.flatnonzero((conditions.row_values == row) & (conditions.column_values == column))
            for row in rows for column in columns]
    squares = sum(((c[which] - c[which].mean()) ** 2).sum() for which in cell if len(which))
    freedom = sum(len(which) - 1 for which in cell if len(which))
    between = max(squares / freedom - variance.mean(), 0.0) if freedom else 0.0
    mean = np.full((len(cell), parts), np.nan)
    sigma = np.full(len(cell), np.nan)
    for k, which in enumerate(cell):
        if len(which):
            mean[k] = loads[which].mean(axis=0)
            sigma[k] = np.sqrt((variance[which] + between).sum()) / len(which)
    shape = len(rows), len(columns)
    return Diagram(conditions.row, rows, conditions.column, columns,
                   mean.reshape(*shape, parts), sigma.reshape(shape))


@dataclass(frozen=True)
class Trend:
    """How a quantity goes with the column's condition, within the rows."""

    slope: float  # per unit of the column's condition
    sigma: float
    p: float  # that rearranging the runs within each row gives so steep a slope, either way


def trend(values: np.ndarray, conditions: Conditions, *, seed: int = 0) -> Trend:
    """Slope of `values` (runs,) against the column's condition, each row with its own level.

    Its significance is that of rearrangements within the rows, which assumes no law of errors.
    Raises UsageError when the condition varies in no row or there are too few runs.
    """
    rows = [np.flatnonzero(conditions.row_values == row)
            for row in np.unique(conditions.row_values)]
    x, y = np.array(conditions.column_values, float), np.array(values, float)
    for which in rows:
        x[which] -= x[which].mean()
        y[which] -= y[which].mean()
    freedom = len(x) - len(rows) - 1
    if not (x**2).sum() or freedom < 1:
        raise UsageError(f"{conditions.column} must vary within a row, and there must be at least "
                         f"{len(rows) + 2} runs")
    slope = float(x @ y / (x @ x))
    sigma = float(np.sqrt(((y - slope * x) ** 2).sum() / freedom / (x @ x)))
    rng = np.random.default_rng(seed)
    order = np.tile(np.arange(len(x)), (SHUFFLES, 1))
    for which in rows:
        order[:, which] = rng.permuted(order[:, which], axis=1)
    steep = np.abs(y[order] @ x) >= np.abs(x @ y) * (1 - 1e-9)
    return Trend(slope, sigma, float((steep.sum() + 1) / (SHUFFLES + 1)))
