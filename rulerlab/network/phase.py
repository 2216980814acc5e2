"""Phase diagrams of trained networks: noise against nonlinearity, one row per network.

Rows are written as soon as a network is trained. A diagram that was interrupted goes on where it
stopped, and ends as the same file. Several processes, on as many machines, may share one diagram:
each trains its part into a table of its own.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from rulerlab.errors import InputError, UsageError
from rulerlab.network.atlas import KNOBS, PhaseTable, read_phase_csv
from rulerlab.network.curve import load_curve
from rulerlab.network.data import DataSet
from rulerlab.network.recipe import Recipe
from rulerlab.network.train import Trained, train

VALUES = {
    "data-noise": (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7),
    "learning-rate": (1e-4, 5e-4, 1e-3, 5e-3, 1e-2, 5e-2, 0.1, 0.2),
    "dropout": (0.0, 0.04, 0.08, 0.12, 0.16, 0.2, 0.24, 0.28),
    "batch": (10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 640.0, 1280.0),
}  # of the published figure
VARIED = {
    "data-noise": ("label_noise", "input_noise"), "learning-rate": ("learning_rate",),
    "dropout": ("dropout",), "batch": ("batch",),
}  # fields of a recipe
ALPHAS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
EPOCHS = {"learning-rate": 200}  # else 100, as published
TABLE, QUESTION, FIGURE, COMPARISON = "phase.csv", "phase.json", "phase.svg", "published.csv"
PARTS = "phase.part-*.csv"


@dataclass(frozen=True)
class PhaseGrid:
    """What is asked: a knob of noise, its values, the slopes alpha, seeds 1 to `seeds`."""

    knob: str
    values: tuple[float, ...]
    alphas: tuple[float, ...]
    seeds: int
    recipe: Recipe  # all that is not varied

    def __post_init__(self):
        if self.knob not in KNOBS:
            raise UsageError(f"knob is {self.knob!r}; choose {', '.join(KNOBS)}")
        if not self.values or not self.alphas or self.seeds < 1:
            raise UsageError("a diagram needs values, slopes and at least one seed")
        for value in self.values:
            self.recipe_of(value, 0.0, 1)

    def recipe_of(self, value: float, alpha: float, seed: int) -> Recipe:
        """The recipe of one network; data noise is that of labels and inputs alike."""
        if self.knob == "batch" and value != int(value):
            raise UsageError(f"a batch of {value:g} samples can't be; write a whole number")
        amount = int(value) if self.knob == "batch" else value
        varied = dict.fromkeys(VARIED[self.knob], amount)
        return replace(self.recipe, seed=seed, alpha=alpha, **varied)

    def settings(self) -> list[tuple[float, float, int]]:
        """Value, alpha and seed of every network, in the order of the file."""
        values, alphas = sorted(set(self.values)), sorted(set(self.alphas))
        return list(itertools.product(values, alphas, range(1, self.seeds + 1)))

    def question(self, data: DataSet) -> dict:
        """What makes rows comparable: all but the grid. Rows of another question are not mixed."""
        digest = hashlib.sha256()
        for part in (data.features, data.labels, data.test_features, data.test_labels):
            digest.update(np.ascontiguousarray(part).tobytes())
        varied = {"seed", "alpha", *VARIED[self.knob]}
        fixed = {name: value for name, value in asdict(self.recipe).items() if name not in varied}
        return {"schema_version": 1, "knob": self.knob, "data": data.name,
                "data_sha256": digest.hexdigest(), "recipe": fixed}  # fmt: skip


def network_phase(
    grid: PhaseGrid,
    data: DataSet,
    folder: Path,
    *,
    part: tuple[int, int] | None = None,
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> PhaseTable:
    """Train what is still missing in `folder`/phase.csv, and read the diagram.

    With `part` (k, n), 1 <= k <= n, only every n-th network, into a table of that part; without it,
    what the parts have done is gathered.

    Each row is one network: its knob, value, alpha and seed, accuracy on the test samples in per
    cent, c~, v~ and D_0 .. D_L on the clean training samples (trace ratio, without the logits).
    Rows beyond the grid are kept. UsageError if the folder holds the answer to another question.
    """
    settings, table = grid.settings(), folder / TABLE
    if part is not None:
        settings = settings[part[0] - 1 :: part[1]]
        table = folder / PARTS.replace("*", f"{part[0]}-of-{part[1]}")
    points = grid.recipe.depth
    head = ",".join(["knob", "value", "alpha", "seed", "accuracy", "c_normalised", "v_normalised",
                     *(f"D_{place}" for place in range(points))])  # fmt: skip
    try:
        known = _resume(folder, grid.question(data), head)
        missing = [one for one in settings if _key(grid.knob, *one) not in known]
        if part is not None:
            known = _complete_rows(table, head)
        _write_whole(table, [head, *known.values()])
        with table.open("a", encoding="utf-8", newline="") as file:
            for setting, row in _rows(grid, missing, data, threads, progress):
                known[setting] = row
                file.write(row + "\n")
                file.flush()
                os.fsync(file.fileno())
        order = sorted(known, key=lambda key: [float(part) for part in key.split(",")[1:]])
        _write_whole(table, [head, *(known[key] for key in order)])
    except OSError as error:
        raise InputError(f"{table} can't be written: {error.strerror}; free some space and give "
                         "the same command again") from error
    return read_phase_csv(table)


def _write_whole(path: Path, lines: list[str]) -> None:
    """The file is there with all of its lines, or as it was."""
    fresh = path.with_name(f"{path.name}.new-{os.getpid()}")
    fresh.write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.replace(fresh, path)


def _key(knob: str, value: float, alpha: float, seed: int) -> str:
    return f"{knob},{value:.9g},{alpha:.9g},{seed}"


def _resume(folder: Path, question: dict, head: str) -> dict[str, str]:
    """Complete rows of earlier runs and of all parts, by their key."""
    asked, text = folder / QUESTION, json.dumps(question, indent=2) + "\n"
    tables = [folder / TABLE, *sorted(folder.glob(PARTS))]
    known: dict[str, str] = {}
    for table in tables:
        known |= _complete_rows(table, head)
    before = asked.read_text(encoding="utf-8") if asked.exists() else ""
    if before != text and any(table.exists() for table in tables):
        raise UsageError(f"{folder / TABLE} was made with another recipe or other data; give "
                         "--force to replace it, or -o DIR")
    if before != text:
        _write_whole(asked, [text.rstrip("\n")])
    return known


def _complete_rows(table: Path, head: str) -> dict[str, str]:
    """Rows by their key; one that was cut short, or is being written, does not count."""
    if not table.exists():
        return {}
    lines = table.read_text(encoding="utf-8").split("\n")[:-1]  # the last one is cut or empty
    rows = [line for line in lines[1:] if line.count(",") == head.count(",")]
    return {",".join(row.split(",")[:4]): row for row in rows}


def _rows(
    grid: PhaseGrid, settings: list[tuple[float, float, int]], data: DataSet,
    threads: int | None, progress: Callable[[float], None] | None,
) -> Iterator[tuple[str, str]]:
    """Train the networks side by side; key and row of each, in order."""
    recipes = [grid.recipe_of(*setting) for setting in settings]
    done = train(recipes, data, threads=threads, progress=progress)
    for setting, trained in zip(settings, done, strict=True):
        key = _key(grid.knob, *setting)
        yield key, ",".join([key, *_numbers(trained, data, grid.recipe.depth)])


def _numbers(trained: Trained, data: DataSet, points: int) -> list[str]:
    """Accuracy, c~, v~ and the curve as text; nan where training diverged."""
    numbers = np.full(points + 2, np.nan)
    with suppress(InputError):  # features that are not finite, or the same for all classes
        curve = load_curve(trained.model, (data.features, data.labels), errors=False)
        numbers = np.array([curve.c_normalised, curve.v_normalised, *curve.remaining])
    return [f"{trained.accuracy:.4f}", *(f"{number:.6f}" for number in numbers)]
