"""Tables of load curves over noise and nonlinearity: measured, shipped, published. numpy only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rulerlab.errors import InputError
from rulerlab.records import LoadCurve
from rulerlab.store.tables import read_table

KNOBS = ("data-noise", "learning-rate", "dropout", "batch")
SHIPPED, PUBLISHED = "network_digits.csv", "published_phase_diagram.csv"


def noise_order(knob: str, values: np.ndarray) -> np.ndarray:
    """Order of the values of a knob from the strongest noise to the weakest."""
    return np.argsort(values) if knob == "batch" else np.argsort(values)[::-1]


@dataclass(frozen=True)
class Cell:
    """All networks of one setting: their mean load curve and how they differ."""

    knob: str
    value: float
    alpha: float
    accuracy: float  # per cent, mean
    c_normalised: float  # mean of the networks'
    v_normalised: float
    networks: np.ndarray  # (seeds, L+1) D_0 .. D_L of each
    curve: LoadCurve  # their mean; its covariance is that between networks

    @property
    def seeds(self) -> int:
        return len(self.networks)


@dataclass(frozen=True)
class PhaseTable:
    """One row per trained network, in any order."""

    knob: np.ndarray  # (n,) of str
    value: np.ndarray  # (n,)
    alpha: np.ndarray  # (n,)
    accuracy: np.ndarray  # (n,) per cent
    c_normalised: np.ndarray  # (n,)
    v_normalised: np.ndarray  # (n,)
    remaining: np.ndarray  # (n, L+1); rows of NaN: training diverged

    def cells(self) -> Iterator[Cell]:
        """The settings, each with the mean over its seeds.

        The covariance of a curve is that between networks of different seeds. A few seeds can't
        tell it alone: that of the cell and the mean of all cells of its knob are averaged, with
        the degrees of freedom of the cell against the number of points.
        """
        found = {}
        for row in np.flatnonzero(np.isfinite(self.remaining).all(axis=1)):
            setting = str(self.knob[row]), float(self.value[row]), float(self.alpha[row])
            found.setdefault(setting, []).append(row)
        for knob in dict.fromkeys(setting[0] for setting in found):
            groups = {one: rows for one, rows in found.items() if one[0] == knob}
            scatter = {one: _scatter(self.remaining[rows]) for one, rows in groups.items()}
            degrees = sum(len(rows) - 1 for rows in groups.values())
            common = sum(scatter.values()) / max(degrees, 1)
            points = self.remaining.shape[1]
            for (_, value, alpha), rows in sorted(groups.items()):
                own = scatter[knob, value, alpha]
                covariance = (own + points * common) / (len(rows) - 1 + points)
                yield Cell(
                    knob, value, alpha, *(float(part[rows].mean()) for part in (
                        self.accuracy, self.c_normalised, self.v_normalised)), self.remaining[rows],
                    LoadCurve(self.remaining[rows].mean(axis=0), covariance, "network",
                              unit="layer", quantity="1",
                              label=f"{knob} {value:g}, alpha {alpha:g}"),
                )  # fmt: skip


def _scatter(curves: np.ndarray) -> np.ndarray:
    residual = curves - curves.mean(axis=0)
    return residual.T @ residual


def read_phase_csv(path: Path) -> PhaseTable:
    """A phase.csv of `rulerlab phase network`, or a table of means with the same columns."""
    table = read_table(path)
    points = [name for name in table.cells if name.startswith("D_")]
    if len(points) < 2:
        raise InputError(f"{path} has no columns D_0, D_1, ..: it is no table of load curves")
    remaining = np.stack([table.numbers(f"D_{place}") for place in range(len(points))], axis=1)
    return PhaseTable(
        np.array(table.words("knob")), table.complete("value"), table.complete("alpha"),
        *(table.numbers(name) for name in ("accuracy", "c_normalised", "v_normalised")), remaining,
    )  # fmt: skip


def _shipped(name: str) -> Path:
    """A table beside this file (installed) or in data/ of the source tree."""
    beside = Path(__file__).parent / name
    return beside if beside.exists() else Path(__file__).parents[2] / "data" / name


def reference_curves() -> list[Cell]:
    """Networks trained on the digits of scikit-learn, shipped with rulerlab: no torch is needed.

    Their recipes stand in data/README.md.
    """
    return list(read_phase_csv(_shipped(SHIPPED)).cells())


def published_diagram() -> list[Cell]:
    """The 192 load curves of the published phase diagram on MNIST, each normalised to 1 .. 0.

    Digitised from the figure of Shi, Pan & Dokmanić (2025) in the authors' repository; each is
    the mean of 10 seeds as drawn, so the covariance is zero.
    """
    return list(read_phase_csv(_shipped(PUBLISHED)).cells())


@dataclass(frozen=True)
class Agreement:
    """How well two phase diagrams agree, over the settings that both hold."""

    cells: int
    r: float  # Pearson correlation of c~
    difference: float  # mean |difference| of c~


def matched(found: list[Cell], other: list[Cell]) -> list[tuple[Cell, Cell]]:
    """The settings that both hold."""
    def setting(cell: Cell) -> tuple[str, str, str]:
        return cell.knob, f"{cell.value:.6g}", f"{cell.alpha:.6g}"

    known = {setting(cell): cell for cell in other}
    return [(cell, known[setting(cell)]) for cell in found if setting(cell) in known]


def agreement(pairs: list[tuple[Cell, Cell]]) -> Agreement:
    """Compare c~ setting by setting; NaN for fewer than two."""
    if len(pairs) < 2:
        return Agreement(len(pairs), float("nan"), float("nan"))
    c = np.array([[one.c_normalised, other.c_normalised] for one, other in pairs])
    r = float(np.corrcoef(c.T)[0, 1]) if c.std(axis=0).all() else float("nan")
    return Agreement(len(pairs), r, float(np.abs(c[:, 0] - c[:, 1]).mean()))


def write_comparison(path: Path, pairs: list[tuple[Cell, Cell]]) -> None:
    """Two diagrams setting by setting: c~, v~ and accuracy of ours and of the published one."""
    head = ["knob", "value", "alpha"]
    names = ("c_normalised", "v_normalised", "accuracy")
    head += [f"{name}{of}" for name in names for of in ("", "_published")]
    lines = [",".join(head)]
    for one, other in pairs:
        numbers = [getattr(cell, name) for name in names for cell in (one, other)]
        lines.append(",".join([one.knob, f"{one.value:g}", f"{one.alpha:g}",
                               *(f"{number:.4f}" for number in numbers)]))  # fmt: skip
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
