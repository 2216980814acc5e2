"""The phase diagram of the chain: how it shares its load over a grid of two parameters.

Three tiers, each checked against the next: `mean` (closed mean dynamics, no repeats, a screen),
`leap` (distributions, 20 steps at once) and `brute` (every step; the truth).
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from rulerlab.chain import drive, mean
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import VARIED, extensions, final_profiles
from rulerlab.errors import InputError, UsageError
from rulerlab.records import Diagram

TIERS = ("mean", "leap", "brute")
CELLS_AT_ONCE = 64
LOOKS = 11  # moments that are averaged at the end of a run


@dataclass(frozen=True)
class PhaseGrid:
    """What is asked: a chain, two of its parameters with their values, and how to find out."""

    model: ChainModel
    row: str = "friction_right"
    row_values: tuple[float, ...] = (0.12, 0.09, 0.06, 0.03, 0.01, 0.0)
    column: str = "noise"
    column_values: tuple[float, ...] = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
    symmetric: bool = False  # friction_left follows friction_right
    pull: float = 1.0
    speed: float = 0.0  # 0: at once
    steps: int = 10_000
    average: float = 0.1  # share of the run, at its end, over which a cell is averaged
    repeats: int = 20
    seed: int = 0
    tier: str = "brute"

    def __post_init__(self):
        for name in (self.row, self.column):
            if name not in VARIED:
                raise UsageError(f"{name} can't be varied; these can: {', '.join(VARIED)}")
        if self.row == self.column:
            raise UsageError(f"rows and columns are both {self.row}; name two parameters")
        if not self.row_values or not self.column_values or self.repeats < 1 or self.steps < 1:
            raise UsageError("a diagram needs values, at least one repeat and at least one step")
        if not 0 <= self.average <= 1:
            raise UsageError(f"the averaged share of the run is {self.average:g}; 0 to 1")
        if self.tier not in TIERS:
            raise UsageError(f"tier is {self.tier!r}; one of {', '.join(TIERS)}")
        if self.symmetric and "friction_right" not in (self.row, self.column):
            raise UsageError("a symmetric diagram varies friction_right")

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.row_values), len(self.column_values)

    def drive(self) -> drive.Drive:
        return drive.ramp(self.pull, self.speed) if self.speed else drive.step(self.pull)

    def varied(self, cells: np.ndarray, repeats: int) -> dict[str, np.ndarray]:
        """Parameter values of all repeats of these cells (counted row by row)."""
        row, column = np.unravel_index(np.repeat(cells, repeats), self.shape)
        values = {
            self.row: np.array(self.row_values)[row],
            self.column: np.array(self.column_values)[column],
        }
        if self.symmetric:
            values["friction_left"] = values["friction_right"]
        return values

    def key(self) -> str:
        """Fingerprint of the question; an unfinished answer to another one is not continued."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class PhaseRuns:
    """The answer: mean loads of every cell with their spread between repeats."""

    grid: PhaseGrid
    extensions: np.ndarray  # (R, C, L+1) mean, held end first; NaN where not yet known
    spread: np.ndarray  # (R, C, L+1) standard deviation between repeats
    c_spread: np.ndarray  # (R, C) that of c

    @property
    def diagram(self) -> Diagram:
        """The diagram without the spring in the hand, as the last layer of a network is."""
        grid = self.grid
        return Diagram(
            grid.row, np.array(grid.row_values), grid.column, np.array(grid.column_values),
            self.extensions[..., :-1], self.c_spread / np.sqrt(grid.repeats),
        )


def _moments(grid: PhaseGrid, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and spread of the loads, spread of c, of some cells."""
    model, pull = grid.model, grid.drive()
    shares = np.linspace(1 - grid.average, 1, LOOKS if grid.average else 1)
    if grid.tier == "mean":
        time, values = grid.steps * model.dt, grid.varied(cells, 1)
        found = mean.mean_profiles(model, pull, time, chains=len(cells), vary=values,
                                   snapshots=shares)  # fmt: skip
    else:
        knobs = {
            "chains": len(cells) * grid.repeats, "seed": grid.seed,
            "first_chain": int(cells[0]) * grid.repeats, "vary": grid.varied(cells, grid.repeats),
        }  # fmt: skip
        if grid.tier == "leap":
            found = mean.leap_profiles(model, pull, grid.steps, snapshots=shares, **knobs)
        else:
            looks = np.round(shares * grid.steps).astype(int)
            found = final_profiles(model, pull, grid.steps, precision="single", snapshots=looks,
                                   **knobs)  # fmt: skip
    end = np.interp(shares * grid.steps * model.dt, pull.time, pull.pull).mean()
    springs = extensions(found.mean(axis=1), np.full(len(found), end))
    springs = springs.reshape(len(cells), -1, model.blocks + 1)
    c = springs[..., 0] - springs[..., -2]
    degrees = 1 if springs.shape[1] > 1 else 0
    return springs.mean(axis=1), springs.std(axis=1, ddof=degrees), c.std(axis=1, ddof=degrees)


def _partial(path: Path, grid: PhaseGrid) -> dict[str, np.ndarray] | None:
    """What an interrupted run of the same question left behind."""
    try:
        with np.load(path) as kept:
            if str(kept["key"]) == grid.key():
                return {name: kept[name] for name in ("extensions", "spread", "c_spread")}
    except (OSError, ValueError, KeyError, EOFError):
        pass
    return None


def _keep(path: Path, grid: PhaseGrid, arrays: dict[str, np.ndarray]) -> None:
    fresh = path.with_name(path.name + ".new.npz")
    np.savez(fresh, key=grid.key(), **arrays)
    os.replace(fresh, path)


def phase_diagram(
    grid: PhaseGrid,
    *,
    partial: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> PhaseRuns:
    """Run every cell, some at a time; memory stays that of `CELLS_AT_ONCE` cells.

    With `partial`, finished cells are kept in that file and an interrupted run goes on from
    there; chains are numbered by cell, so the result is the same as in one go. The file is
    removed when the diagram is complete.
    """
    cells = int(np.prod(grid.shape))
    springs = grid.model.blocks + 1
    arrays = {"extensions": np.full((cells, springs), np.nan),
              "spread": np.full((cells, springs), np.nan), "c_spread": np.full(cells, np.nan)}
    if partial is not None:
        arrays = _partial(partial, grid) or arrays
    at_once = cells if grid.tier == "mean" else max(1, min(CELLS_AT_ONCE, 20_000 // grid.repeats))
    for start in range(0, cells, at_once):
        some = np.arange(start, min(start + at_once, cells))
        if np.isnan(arrays["c_spread"][some]).any():
            found = _moments(grid, some)
            for name, values in zip(arrays, found, strict=True):
                arrays[name][some] = values
            if partial is not None and some[-1] < cells - 1:
                _keep(partial, grid, arrays)
        if progress is not None:
            progress((some[-1] + 1) / cells)
    if partial is not None:
        partial.unlink(missing_ok=True)
    return PhaseRuns(grid, **{name: values.reshape(grid.shape + values.shape[1:])
                                 for name, values in arrays.items()})  # fmt: skip


def write(runs: PhaseRuns, path: Path) -> None:
    """One row per cell: the two parameters, c and its sigma, v, the loads and their spread."""
    grid, diagram, springs = runs.grid, runs.diagram, range(1, runs.grid.model.blocks + 2)
    head = [grid.row, grid.column, "c", "c_sigma", "v",
            *(f"e{s}" for s in springs), *(f"spread{s}" for s in springs)]  # fmt: skip
    row, column = np.meshgrid(grid.row_values, grid.column_values, indexing="ij")
    table = np.concatenate(
        [np.stack([row, column, diagram.c, diagram.c_sigma, diagram.v], -1),
         runs.extensions, runs.spread], axis=-1,
    )  # fmt: skip
    fresh = path.with_name(path.name + ".partial")
    try:
        np.savetxt(fresh, table.reshape(-1, len(head)), delimiter=",", header=",".join(head),
                   comments="", fmt="%.7g")  # fmt: skip
        os.replace(fresh, path)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}") from error
