"""Figures of networks, each drawn from a record into given axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rulerlab.network.atlas import noise_order
from rulerlab.palette import ACCENT, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rulerlab.network.atlas import Cell
    from rulerlab.network.diagnose import Diagnosis

CURVE = "#C8102E"
NOISES = {"data-noise": "data noise (labels and inputs)", "learning-rate": "learning rate",
          "dropout": "dropout", "batch": "batch size"}  # fmt: skip
ROLE_COLOURS = {"overloaded": "#D55E00", "idle": ACCENT, "fair": "#999999"}


def plot_stress_map(found: Diagnosis, ax: Axes) -> None:
    """Load of each layer in fair shares, input at the top; coloured where it is surely uneven."""
    from rulerlab.network.diagnose import LITTLE, MUCH, shares

    share, sigma = shares(found.curve)
    layers = np.arange(len(share))
    if not np.isfinite(share).all():
        ax.text(0.5, 0.5, "no load to share", ha="center", transform=ax.transAxes, color=INK)
        ax.set_axis_off()
        return
    ax.axvspan(LITTLE, MUCH, color="#eeeeee", zorder=0)
    ax.barh(layers, share, xerr=sigma, color=[ROLE_COLOURS[role or "fair"] for role in found.roles],
            ecolor=INK, capsize=2, height=0.75)  # fmt: skip
    ax.axvline(1, color=MUTED, ls="--", lw=1.2)
    ax.axvline(0, color=INK, lw=0.8)
    names = [name if len(name) <= 28 else f"…{name[-27:]}" for name in found.measured.names[1:]]
    ax.set_yticks(layers, [f"{name}  {layer + 1}" for layer, name in enumerate(names)])
    ax.set_ylim(len(share) - 0.4, -0.6)
    ax.set_xlabel("load in fair shares (1: evenly shared)")
    for role, colour in ROLE_COLOURS.items():
        ax.plot([], [], "s", ms=9, color=colour, label=role)
    ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=9)


def draw_diagnosis(
    found: Diagnosis, figure: Figure, plot_load_curve: Callable[..., None]
) -> None:
    """The load curve (drawn by the function that draws those of rulers) and the stress map."""
    left, right = figure.subplots(1, 2, width_ratios=(1.1, 1))
    plot_load_curve(found.curve, left)
    plot_stress_map(found, right)


def plot_phase(cells: list[Cell], ax: Axes) -> None:
    """A phase diagram as the paper draws it: in each cell the load curve, on grey by accuracy.

    Noise falls from left to right, nonlinearity from top (ReLU) to bottom (linear); white is the
    highest accuracy. The line marks where the first and the last layer carry the same.
    """
    knob = cells[0].knob
    values = np.array(sorted({cell.value for cell in cells}))
    values = values[noise_order(knob, values)]
    alphas = sorted({cell.alpha for cell in cells})
    shape = len(alphas), len(values)
    accuracy, c = np.full(shape, np.nan), np.full(shape, np.nan)
    for cell in cells:
        place = alphas.index(cell.alpha), int(np.flatnonzero(values == cell.value)[0])
        accuracy[place], c[place] = cell.accuracy, cell.c_normalised
        _curve_in_cell(cell, place, ax)
    shade = ax.imshow(accuracy, cmap="gray", aspect="auto", vmax=np.nanmax(accuracy) + 1e-9,
                      vmin=2 * np.nanmin(accuracy) - np.nanmax(accuracy) - 1e-9)  # fmt: skip
    bar = ax.figure.colorbar(shade, ax=ax, pad=0.02, label="test accuracy (%)")
    bar.ax.set_ylim(np.nanmin(accuracy), max(np.nanmax(accuracy), np.nanmin(accuracy) + 0.1))
    if min(shape) > 1:
        ax.contour(np.arange(shape[1]), np.arange(shape[0]), c, levels=[0.0], colors=[ACCENT],
                   linewidths=1.6)  # fmt: skip
    ax.set_xticks(np.arange(len(values)), [f"{value:g}" for value in values])
    ax.set_yticks(np.arange(len(alphas)), [f"{alpha:g}" for alpha in alphas])
    ax.set_xlabel(f"{NOISES[knob]}, strongest left")
    ax.set_ylabel("slope $\\alpha$: 0 ReLU, 1 linear")
    ax.set_title("Load left against layer in each cell; blue: $\\tilde c = 0$")


def _curve_in_cell(cell: Cell, place: tuple[int, int], ax: Axes) -> None:
    remaining = cell.curve.remaining
    height = np.ptp(remaining) or 1.0
    x = place[1] - 0.38 + 0.76 * np.linspace(0, 1, len(remaining))
    y = place[0] + 0.36 - 0.72 * (remaining - remaining.min()) / height
    ax.plot(x, y, color=CURVE, lw=1.6)
