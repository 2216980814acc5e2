"""Figures of the chain, each drawn from a record into given axes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from rulerlab.chain.events import Lubrication, Slips
from rulerlab.chain.opening import EVEN, OpeningMap
from rulerlab.records import Diagram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORDS = {
    "friction_right": "friction to the right, $\\mu_r$", "friction_left": "friction to the left",
    "noise": "noise, $\\bar\\epsilon$", "common_noise": "common noise", "mass": "mass",
    "stiffness": "stiffness, $k$",
}  # fmt: skip
MOST_CURVES = 12


def _ordered(diagram: Diagram) -> tuple[np.ndarray, np.ndarray]:
    """Rows from the largest value at the top, columns from the largest at the left."""
    return np.argsort(diagram.row_values)[::-1], np.argsort(diagram.column_values)[::-1]


def plot_phase(diagram: Diagram, ax: Axes) -> None:
    """The diagram as the paper draws it: in every cell the load curve over a grey field.

    Noise falls from left to right, friction from top to bottom. White cells share the load
    evenly. Large grids get a curve in some of their cells only. The blue line is c = 0.
    """
    rows, columns = _ordered(diagram)
    loads = diagram.loads[np.ix_(rows, columns)]
    uneven = loads.std(axis=-1) / np.maximum(loads.sum(axis=-1), 1e-12)
    shade = ax.imshow(uneven, cmap="gray_r", vmin=0, aspect="auto",
                      vmax=1.6 * max(float(uneven.max()), 1e-3))  # fmt: skip
    ax.figure.colorbar(shade, ax=ax, label="unevenness of the load, $v/\\Sigma d$", pad=0.02)
    _curves(loads, ax)
    _zero_line(diagram, rows, columns, ax)
    for axis, name, order, values in [("y", diagram.row, rows, diagram.row_values),
                                      ("x", diagram.column, columns, diagram.column_values)]:
        every = max(1, -(-len(order) // (MOST_CURVES if axis == "y" else 9)))
        places = np.arange(0, len(order), every)
        marks = [f"{np.array(values)[order[p]]:.2g}" for p in places]
        getattr(ax, f"set_{axis}ticks")(places, marks)
        getattr(ax, f"set_{axis}label")(WORDS.get(name, name))
    ax.set_title("load left against block, held end at the left", fontsize=10)


def _curves(loads: np.ndarray, ax: Axes) -> None:
    """Load curves, each scaled to its cell (or to the block of cells that it stands for)."""
    size = max(-(-n // MOST_CURVES) for n in loads.shape[:2])
    for i in range(0, loads.shape[0] - size + 1, size):
        for j in range(0, loads.shape[1] - size + 1, size):
            load = loads[i + size // 2, j + size // 2]
            remaining = np.concatenate([[load.sum()], load.sum() - np.cumsum(load)])
            height = np.ptp(remaining)
            curve = (remaining - remaining.min()) / height if height else remaining * 0
            x = j + size * (0.12 + 0.76 * np.linspace(0, 1, len(curve))) - 0.5
            ax.plot(x, i + size * (0.86 - 0.72 * curve) - 0.5, "-", color="crimson", lw=1.5)


def _zero_line(diagram: Diagram, rows: np.ndarray, columns: np.ndarray, ax: Axes) -> None:
    """Where the first and the last block carry the same, in cells."""
    value = np.array(diagram.column_values)[columns]
    crossing = diagram.zero_line()[rows]
    seen = np.isfinite(crossing)
    if seen.any():
        place = np.interp(crossing[seen], value[::-1], np.arange(len(value))[::-1])
        ax.plot(place, np.flatnonzero(seen), ".-", color="tab:blue", lw=2, ms=8)
        ax.annotate("$c = 0$", (place[0], np.flatnonzero(seen)[0]), (-5, 5), color="tab:blue",
                    textcoords="offset points", ha="right", fontsize=11)  # fmt: skip


def plot_slices(diagram: Diagram, ax: Axes) -> None:
    """c against the columns' parameter, one line per row, with standard errors."""
    rows, _ = _ordered(diagram)
    order = np.argsort(diagram.column_values)
    value = np.array(diagram.column_values)[order]
    every = max(1, -(-len(rows) // 8))
    for place, row in enumerate(rows[::every]):
        ax.errorbar(value, diagram.c[row, order], diagram.c_sigma[row, order], marker="o", ms=3,
                    color=f"{0.75 * place / max(1, len(rows[::every]) - 1):.2f}",
                    label=f"{diagram.row_values[row]:.2g}", clip_on=False)  # fmt: skip
    ax.axhline(0, color="tab:blue", lw=1)
    positive = value[value > 0]
    if 1 < len(positive) <= 10 and positive[-1] > 8 * positive[0]:  # few, far apart
        ax.set_xscale("symlog", linthresh=float(positive[0]), linscale=0.4)
        ax.set_xticks(value)
        ax.xaxis.set_major_formatter(lambda x, _: f"{x:.3g}")
        ax.minorticks_off()
    ax.set_xlim(left=min(0.0, float(value[0])))
    ax.set_xlabel(WORDS.get(diagram.column, diagram.column))
    ax.set_ylabel("c: first minus last load")
    ax.text(0.98, 0.03, "concave: load at the hand", transform=ax.transAxes, ha="right",
            color="0.4", fontsize=8)  # fmt: skip
    name = WORDS.get(diagram.row, diagram.row).split(", ")[-1]
    ax.legend(title=name, fontsize=8, title_fontsize=9,
              loc="upper left", bbox_to_anchor=(1.01, 1.0))  # fmt: skip


def _sheet(width: float, height: float):
    """An empty figure that needs no screen."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def write_phase(diagram: Diagram, path: str | Path) -> None:
    """The diagram and its slices as one picture; the ending of `path` names the format."""
    figure = _sheet(12, 5)
    left, right = figure.subplots(1, 2, width_ratios=[1.25, 1])
    plot_phase(diagram, left)
    plot_slices(diagram, right)
    figure.savefig(path, dpi=130)


def plot_slips(slips: Slips, ax: Axes) -> None:
    """Which blocks slipped when: one bar per block and slip, as wide as the slip lasted."""
    for event in range(len(slips)):
        for block in np.flatnonzero(slips.moved[event]):
            ax.plot([slips.onset_s[event], slips.onset_s[event] + slips.duration_s[event]],
                    [block + 1, block + 1], "-", color="crimson", lw=3, solid_capstyle="butt")
    ax.set_ylim(0.5, slips.moved.shape[1] + 0.5)
    ax.set_xlabel("time")
    ax.set_ylabel("block, held end at the bottom")


def plot_lubrication(found: Lubrication, ax: Axes) -> None:
    """Friction that is left under shaking, simulated points on the closed form."""
    ax.plot(found.noise, found.closed_form, "-", color="0.4", label="closed form")
    ax.errorbar(found.noise, found.friction, found.sigma, fmt="o", color="crimson", ms=4,
                label="simulated")  # fmt: skip
    ax.set_xlabel(WORDS["noise"])
    ax.set_ylabel("effective friction")
    ax.legend()


def plot_opening(found: OpeningMap, friction: int, ax: Axes) -> None:
    """Unevenness of a ruler's folds over shaking, one line per pulling speed."""
    for v, speed in enumerate(found.speed_mm_s):
        shade = f"{0.7 * v / max(1, len(found.speed_mm_s) - 1):.2f}"
        ax.errorbar(found.shake_mm, found.fold[friction, v], found.fold_spread[friction, v],
                    marker="o", ms=4, color=shade, label=f"{speed:g} mm/s")  # fmt: skip
    ax.axhspan(0, EVEN, color="tab:blue", alpha=0.12, lw=0)
    ax.text(0.98, 0.02, "opens evenly", transform=ax.transAxes, ha="right", va="bottom",
            color="tab:blue", fontsize=9)  # fmt: skip
    ax.set_ylim(0, None)
    ax.set_xlabel("shaking of the board, standard deviation in mm")
    ax.set_title(f"friction x {found.friction[friction]:g}", fontsize=10)


def write_opening_map(found: OpeningMap, path: str | Path) -> None:
    """One panel per friction; the ending of `path` names the format."""
    figure = _sheet(4.2 * len(found.friction) + 0.8, 4)
    axes = figure.subplots(1, len(found.friction), sharey=True, squeeze=False)[0]
    for friction, ax in enumerate(axes):
        plot_opening(found, friction, ax)
    axes[0].set_ylabel("unevenness of the folds (CV)")
    axes[0].legend(title="pulled at", fontsize=8, title_fontsize=8)
    figure.savefig(path, dpi=130)
