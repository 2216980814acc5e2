"""Pictures of a comparison, each `plot_x(record, ax)`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from rulerlab.compare import Comparison
from rulerlab.compare.measured import Conditions
from rulerlab.compare.networks import Neighbour
from rulerlab.compare.scale import on_one_scale
from rulerlab.fit.nearest import NearestChain
from rulerlab.network.atlas import noise_order
from rulerlab.palette import ACCENT, INK, MUTED
from rulerlab.plots import write_figure
from rulerlab.records import LoadCurve

CHAIN, NETWORK = "#d55e00", "#009e73"
STYLE = {"chain": (CHAIN, "s--"), "network": (NETWORK, "^:")}


def plot_shares(curves: Sequence[LoadCurve], ax: Axes) -> None:
    """Load curves on one scale against depth; the first one with its error bars on top."""
    ax.plot([0, 1], [1, 0], color=MUTED, lw=1.2, ls="--", label="evenly shared")
    for number, curve in enumerate(curves):
        scaled = on_one_scale(curve)
        colour, style = (ACCENT, "o-") if number == 0 else STYLE.get(curve.source, (INK, "x-"))
        depth = np.linspace(0, 1, len(scaled.remaining))
        ax.errorbar(depth, scaled.remaining, np.sqrt(np.diag(scaled.covariance)), fmt=style,
                    color=colour, ms=5, lw=1.6, capsize=3, label=curve.label or curve.source,
                    zorder=9 - number)
    ax.set(xlabel="depth (0 = held end, 1 = pulled end)", ylabel="share of the load left",
           title="On one scale")
    ax.legend(loc="lower left")


def plot_neighbours(found: Sequence[Neighbour], knob: str, ax: Axes) -> None:
    """c~ of the networks of one knob, and which of them share their load as the curve does.

    Noise falls from left to right, nonlinearity from top to bottom, as in the published diagram.
    Framed cells can't be told apart from the curve; the star is the nearest.
    """
    shown = [n for n in found if n.cell.knob == knob]
    values = np.unique([n.cell.value for n in shown])
    values = list(values[noise_order(knob, values)])
    alphas = sorted({n.cell.alpha for n in shown})
    c = np.full((len(alphas), len(values)), np.nan)
    for n in shown:
        place = alphas.index(n.cell.alpha), values.index(n.cell.value)
        c[place] = n.cell.c_normalised
        if n.accepted:
            ax.plot(place[1] + np.array([-1, 1, 1, -1, -1]) * 0.46,
                    place[0] + np.array([-1, -1, 1, 1, -1]) * 0.46, color=INK, lw=2)
    drawn = ax.imshow(c, cmap="RdBu", vmin=-0.5, vmax=0.5, aspect="auto")
    best = shown[0].cell  # nearest first
    ax.plot(values.index(best.value), alphas.index(best.alpha), "*", color=INK, ms=13)
    ax.figure.colorbar(drawn, ax=ax, pad=0.02, label="c~ (red: near the output, blue: input)")
    every = max(1, -(-len(values) // 9))
    ax.set_xticks(range(0, len(values), every), [f"{v:g}" for v in values[::every]], rotation=45)
    ax.set_yticks(range(len(alphas)), [f"{a:g}" for a in alphas])
    ax.set(xlabel=f"{knob.replace('-', ' ')} (more noise at the left)",
           ylabel="slope alpha (0 ReLU, 1 linear)")
    ax.set_title("Networks; framed: can't be told apart from the curve", fontsize=10)


def plot_trend(curves: Sequence[LoadCurve], conditions: Conditions, ax: Axes) -> None:
    """c~ of every run against the column's condition, one colour per row."""
    rows = np.unique(conditions.row_values)
    for shade, row in zip(np.linspace(0, 0.65, len(rows)), rows, strict=True):
        which = np.flatnonzero(conditions.row_values == row)
        which = which[np.argsort(conditions.column_values[which])]
        ax.errorbar(conditions.column_values[which], [curves[k].c_normalised for k in which],
                    [curves[k].sigma_of("c_normalised") for k in which], fmt="o-", ms=4,
                    color=f"{shade:.2f}", capsize=2, label=f"{row:g}")
    ax.axhline(0, color=ACCENT, lw=1)
    ax.set(xlabel=conditions.column, ylabel="c~ (negative: load near the pulled end)",
           title="Does shaking even the load?")
    ax.legend(title=conditions.row.split(" (")[0], fontsize=8, title_fontsize=9)


def plot_chains(found: NearestChain, ax: Axes) -> None:
    """How far the chains of the phase diagram are from the curve, and the 95 % region."""
    rows, columns = np.arange(len(found.friction)), np.arange(len(found.noise))
    far = np.log10(np.maximum(found.distance / found.distance.min(), 1))
    drawn = ax.imshow(far[::-1, ::-1], cmap="gray_r", aspect="auto", vmin=0, vmax=max(far.max(), 1))
    if not found.region.all():
        ax.contour(found.region[::-1, ::-1].astype(float), [0.5], colors=CHAIN, linewidths=2)
    best = np.unravel_index(int(found.distance.argmin()), found.distance.shape)
    ax.plot(columns[-1] - best[1], rows[-1] - best[0], "*", color=CHAIN, ms=13)
    ax.figure.colorbar(drawn, ax=ax, pad=0.02, label="log10 of chi2 over its least")
    for axis, values, name in (("x", found.noise, "noise over k (more at the left)"),
                               ("y", found.friction, "friction over k")):
        places = np.linspace(0, len(values) - 1, 6).astype(int)
        getattr(ax, f"set_{axis}ticks")(places, [f"{v:.2g}" for v in values[::-1][places]])
        getattr(ax, f"set_{axis}label")(name)
    ax.set_title("Chains; star: nearest, line: 95 % region", fontsize=10)


def write_comparison(found: Comparison, path: Path) -> None:
    """The curve beside its neighbours, and its place among chains and networks: .svg and .png."""
    nearest = found.networks[0].cell
    network = replace(nearest.curve, label=f"nearest network\n({nearest.curve.label})")

    def panels(figure) -> None:
        left, middle, right = figure.subplots(1, 3, width_ratios=[1, 1.25, 1.25])
        plot_shares([found.curve, found.chain.curve, network], left)
        plot_chains(found.chain, middle)
        plot_neighbours(found.networks, nearest.knob, right)

    write_figure(path, panels, width=15, height=4.2)
