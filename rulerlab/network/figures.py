"""Figures of networks, each drawn from a record into given axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from rulerlab.palette import ACCENT, INK, MUTED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from rulerlab.network.diagnose import Diagnosis

ROLE_COLOURS = {"overloaded": "#D55E00", "idle": ACCENT, "fair": "#999999"}


def plot_stress_map(found: Diagnosis, ax: Axes) -> None:
    """Load of each layer in fair shares, input at the top; coloured where it is surely uneven."""
    from rulerlab.network.diagnose import LITTLE, MUCH, shares

    share, sigma = shares(found.curve)
    layers = np.arange(len(share))
    ax.axvspan(LITTLE, MUCH, color="#eeeeee", zorder=0)
    ax.barh(layers, share, xerr=sigma, color=[ROLE_COLOURS[role] for role in found.roles],
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
