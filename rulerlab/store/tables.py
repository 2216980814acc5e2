"""The tables of a run folder, as a spreadsheet opens them: units in the column names."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rulerlab.errors import InputError
from rulerlab.records import LOST, STATUSES, LoadCurve, Motion, Tracks

BLOCK = 1000  # frames that are turned into text at a time
MISSING = {"", "nan", "na", "n/a", "null", "none"}


@dataclass(frozen=True)
class Table:
    """Cells by column name, with the line of the file in which each row stands."""

    path: Path
    cells: dict[str, list[str]]
    line: list[int]
    decimal_comma: bool

    def fail(self, row: int, column: str, problem: str) -> InputError:
        return InputError(f"{self.path}: line {self.line[row]}, column {column}: {problem}")

    def words(self, column: str) -> list[str]:
        if column not in self.cells:
            raise InputError(f"{self.path} has no column {column}")
        return self.cells[column]

    def numbers(self, column: str) -> np.ndarray:
        """The column as floats, NaN where a cell is empty."""
        words = self.words(column)
        if not self.decimal_comma:
            try:
                numbers = np.array(words, dtype=float)
            except ValueError:
                numbers = np.array([self._number(column, row) for row in range(len(words))])
        else:
            numbers = np.array([self._number(column, row) for row in range(len(words))])
        if np.isinf(numbers).any():
            raise self.fail(int(np.isinf(numbers).argmax()), column, "is infinite")
        return numbers

    def _number(self, column: str, row: int) -> float:
        word = self.cells[column][row].strip()
        if word.lower() in MISSING:
            return float("nan")
        try:
            return float(word.replace(",", ".") if self.decimal_comma else word)
        except ValueError:
            raise self.fail(row, column, f"{word!r} is not a number") from None

    def complete(self, column: str) -> np.ndarray:
        """The column as floats, none of which may be missing."""
        numbers = self.numbers(column)
        if np.isnan(numbers).any():
            raise self.fail(int(np.isnan(numbers).argmax()), column, "the cell is empty")
        return numbers


def read_table(path: Path) -> Table:
    """Read comma or (as some spreadsheets write) semicolon separated cells under one header."""
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as a table: {error}") from error
    first = text.split("\n", 1)[0]
    semicolon = first.count(";") > first.count(",")
    rows, lines = [], []
    try:
        reader = csv.reader(text.splitlines(), delimiter=";" if semicolon else ",")
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append(row)
                lines.append(reader.line_num)
    except csv.Error as error:
        raise InputError(f"{path} can't be read as a table: {error}") from error
    if len(rows) < 2:
        raise InputError(f"{path} holds no rows under a header")
    header = [name.strip() for name in rows[0]]
    for name in header:
        if name and header.count(name) > 1:
            raise InputError(f"{path} has column {name} twice")
    for row, line in zip(rows[1:], lines[1:], strict=True):
        if len(row) != len(header):
            raise InputError(f"{path}: line {line} has {len(row)} cells, "
                             f"the header has {len(header)}")
    columns = map(list, zip(*rows[1:], strict=True))
    return Table(Path(path), dict(zip(header, columns, strict=True)), lines[1:], semicolon)


def rising_time(table: Table) -> np.ndarray:
    """The column time_s, which must be complete and rise."""
    time_s = table.complete("time_s")
    falls = np.flatnonzero(np.diff(time_s) <= 0)
    if len(falls):
        raise table.fail(int(falls[0]) + 1, "time_s", "the time does not rise")
    return time_s


def count_columns(table: Table, before: str, after: str, first: int) -> int:
    """How many columns BEFORE number AFTER there are, without a gap in the numbers."""
    pattern = re.compile(re.escape(before) + r"(\d+)" + re.escape(after))
    numbers = {int(found[1]) for name in table.cells if (found := pattern.fullmatch(name))}
    for number in range(first, first + max(len(numbers), 1)):
        if number not in numbers:
            raise InputError(f"{table.path} has no column {before}{number}{after}")
    return len(numbers)


def _cells(values: np.ndarray, decimals: int) -> list[list[str]]:
    """Columns of text, `nan` where a value is missing; values is (T, columns)."""
    form = f"%.{decimals}f"
    return [[form % value for value in column] for column in values.T.tolist()]


def _write_rows(path: Path, header: list[str], blocks: Iterable[list[list[str]]]) -> None:
    """Write block after block of columns, so that a long run is never text in memory at once."""
    with Path(path).open("w", encoding="utf-8", newline="") as handle:
        handle.write(",".join(header) + "\n")
        for columns in blocks:
            handle.writelines(",".join(row) + "\n" for row in zip(*columns, strict=True))


def _blocks(frames: int) -> list[slice]:
    return [slice(start, min(start + BLOCK, frames)) for start in range(0, frames, BLOCK)]


def _frame_columns(time_s: np.ndarray, block: slice) -> list[list[str]]:
    frames = [str(frame) for frame in range(block.start, block.stop)]
    return [frames, *_cells(time_s[block, None], 6)]


def write_tracks_csv(
    path: Path,
    tracks: Tracks,
    position_mm: np.ndarray | None = None,
    sigma_mm: np.ndarray | None = None,
) -> None:
    """One row per frame; `position_mm` and `sigma_mm` (T, N, 2) are left empty when None."""
    names = ("x_px", "y_px", "sigma_x_px", "sigma_y_px",
             "x_mm", "y_mm", "sigma_x_mm", "sigma_y_mm", "status")
    header = [f"p{k}_{name}" for k in range(tracks.points) for name in names]
    sigma_px = tracks.sigma_px()

    def columns(block: slice) -> list[list[str]]:
        columns = _frame_columns(tracks.time_s, block)
        for k in range(tracks.points):
            columns += _cells(tracks.position_px[block, k], 4) + _cells(sigma_px[block, k], 4)
            if position_mm is None or sigma_mm is None:
                columns += [[""] * (block.stop - block.start)] * 4
            else:
                columns += _cells(position_mm[block, k], 4) + _cells(sigma_mm[block, k], 4)
            columns.append(tracks.status[block, k].tolist())
        return columns

    _write_rows(path, ["frame", "time_s", *header], map(columns, _blocks(len(tracks.time_s))))


def _read_status(table: Table, column: str) -> np.ndarray:
    words = [word.strip().lower() for word in table.words(column)]
    for row, word in enumerate(words):
        if word not in STATUSES and word not in MISSING:
            raise table.fail(row, column, f"{word!r} is none of {', '.join(STATUSES)}")
    return np.array([LOST if word in MISSING else word for word in words])


def read_tracks_csv(path: Path) -> Tracks:
    """Tracks from the table, their covariances diagonal; rows and columns may be edited by hand.

    A point without a position, or with the status cell emptied, is lost in that frame. InputError
    names the line and the column of anything that can't be understood.
    """
    table = read_table(path)
    time_s = rising_time(table)
    points = count_columns(table, "p", "_x_px", 0)
    position = np.empty((len(time_s), points, 2))
    covariance = np.zeros((len(time_s), points, 2, 2))
    status = np.empty((len(time_s), points), dtype=f"<U{max(map(len, STATUSES))}")
    for k in range(points):
        status[:, k] = _read_status(table, f"p{k}_status")
        position[:, k] = np.stack([table.numbers(f"p{k}_{axis}_px") for axis in "xy"], axis=-1)
        lost = (status[:, k] == LOST) | np.isnan(position[:, k]).any(axis=-1)
        status[lost, k], position[lost, k] = LOST, np.nan
        for i, axis in enumerate("xy"):
            column = f"p{k}_sigma_{axis}_px"
            sigma = table.numbers(column)
            wrong = ~lost & ~(sigma >= 0)
            if wrong.any():
                raise table.fail(int(wrong.argmax()), column,
                                 "a position needs a standard deviation that is not negative")
            covariance[:, k, i, i] = sigma**2
        covariance[lost, k] = np.nan
    return Tracks(time_s, position, covariance, status)


class Segments(NamedTuple):
    """The content of segments.csv, NaN where a neighbour is lost."""

    time_s: np.ndarray  # (T,)
    extension_mm: np.ndarray  # (T, L)
    sigma_mm: np.ndarray  # (T, L)
    angle_deg: np.ndarray | None  # (T, L) rulers only


def write_segments_csv(path: Path, motion: Motion, angle_deg: np.ndarray | None = None) -> None:
    """Extension, its sigma and (rulers) the direction of each segment, one row per frame.

    A motion in pixels leaves the millimetre columns empty and appends `_px` columns.
    """
    extension, sigma = motion.extension_mm(), motion.extension_sigma_mm()
    in_mm = motion.unit == "mm"
    names = ["extension_mm", "sigma_mm", *(["angle_deg"] if angle_deg is not None else []),
             *([] if in_mm else ["extension_px", "sigma_px"])]
    header = [f"s{s + 1}_{name}" for s in range(extension.shape[1]) for name in names]

    def columns(block: slice) -> list[list[str]]:
        columns = _frame_columns(motion.time_s, block)
        for s in range(extension.shape[1]):
            values = _cells(np.stack([extension[block, s], sigma[block, s]], axis=-1), 4)
            columns += values if in_mm else [[""] * (block.stop - block.start)] * 2
            if angle_deg is not None:
                columns += _cells(angle_deg[block, s, None], 3)
            columns += [] if in_mm else values
        return columns

    _write_rows(path, ["frame", "time_s", *header], map(columns, _blocks(len(motion.time_s))))


def read_segments_csv(path: Path) -> Segments:
    """Extensions and angles back from segments.csv."""
    table = read_table(path)
    segments = count_columns(table, "s", "_extension_mm", 1)

    def stack(name: str) -> np.ndarray:
        columns = [table.numbers(f"s{s}_{name}") for s in range(1, segments + 1)]
        return np.stack(columns, axis=-1)

    angle_deg = stack("angle_deg") if "s1_angle_deg" in table.cells else None
    return Segments(rising_time(table), stack("extension_mm"), stack("sigma_mm"), angle_deg)


def shape_numbers(curve: LoadCurve) -> dict[str, object]:
    """c, v, c~, v~, r with their sigmas and the regime with its probability (Shi et al. 2025)."""
    if curve.total == 0:  # nothing was pulled: there is no shape
        return {"c": curve.c, "v": curve.v, "regime": None}
    names = ("c", "v", "c_normalised", "v_normalised", "r")
    return {
        **{name: getattr(curve, name) for name in names},
        **{f"{name}_sigma": curve.sigma_of(name) for name in names},
        "regime": curve.regime,
        "regime_probability": curve.regime_probability(),
    }


def write_load_curve(folder: Path, curve: LoadCurve, *, name: str = "load_curve") -> None:
    """Write NAME.csv, NAME_cov.csv (the covariance) and NAME.json (unit, source, shape)."""
    sigma = np.sqrt(np.diagonal(curve.covariance))
    depth = [str(l) for l in range(len(sigma))]  # noqa: E741 - l is the field's index
    columns = [depth, *([f"{value:.9g}" for value in part] for part in (curve.remaining, sigma))]
    _write_rows(folder / f"{name}.csv", ["l", "remaining", "sigma"], [columns])
    covariance = [[f"{value:.12g}" for value in column] for column in curve.covariance.T]
    _write_rows(folder / f"{name}_cov.csv", ["l", *depth], [[depth, *covariance]])
    meaning = {key: getattr(curve, key) for key in ("source", "unit", "quantity", "label")}
    shape = {key: None if value != value else value for key, value in shape_numbers(curve).items()}
    text = json.dumps({"schema_version": 1} | meaning | shape, indent=2, ensure_ascii=False)
    (folder / f"{name}.json").write_text(text + "\n", encoding="utf-8")


def _correlation(path: Path, joints: int) -> np.ndarray:
    """Correlation of the curve's errors; none when there is no covariance file."""
    if not path.exists():
        return np.eye(joints)
    table = read_table(path)
    covariance = np.stack([table.complete(str(l)) for l in range(joints)], axis=-1)  # noqa: E741
    if covariance.shape != (joints, joints):
        raise InputError(f"{path} has {len(covariance)} rows, the load curve has {joints}")
    sigma = np.sqrt(np.clip(np.diagonal(covariance), 0, None))
    scale = np.where(sigma > 0, sigma, 1.0)
    correlation = covariance / np.outer(scale, scale)
    np.fill_diagonal(correlation, 1.0)
    return correlation


def read_load_curve(
    path: Path, *, source: str = "ruler", unit: str = "section", quantity: str = "mm"
) -> LoadCurve:
    """The curve of a run folder or of one csv file, its values and sigmas as they stand there.

    The correlations come from the covariance file beside it. `source`, `unit` and `quantity` are
    for a csv without its json.
    """
    path = Path(path)
    path = path / "load_curve.csv" if path.is_dir() else path
    table = read_table(path)
    depth = table.complete("l")
    if not np.array_equal(depth, np.arange(len(depth))):
        raise InputError(f"{path}: column l must count 0, 1, 2, .. {len(depth) - 1}")
    remaining, sigma = table.complete("remaining"), table.complete("sigma")
    if (sigma < 0).any():
        raise table.fail(int((sigma < 0).argmax()), "sigma", "is negative")
    correlation = _correlation(path.with_name(f"{path.stem}_cov.csv"), len(depth))
    meaning = {"source": source, "unit": unit, "quantity": quantity}
    beside = path.with_suffix(".json")
    if beside.exists():
        try:
            told = json.loads(beside.read_text(encoding="utf-8"))
            meaning = {key: str(told[key]) for key in ("source", "unit", "quantity", "label")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{beside} can't be read: {error}") from error
    try:
        return LoadCurve(remaining, correlation * np.outer(sigma, sigma), **meaning)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
