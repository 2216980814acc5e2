"""Figures of a fit of rulers and unknown springs, each `plot_x(record, ax)`."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rulerlab.fit.dimensionless import AXES, predictions, surprises
from rulerlab.fit.figures import Drawing, column, plot_corner
from rulerlab.palette import ACCENT, INK, MUTED
from rulerlab.plots import depth_colours, plot_extensions
from rulerlab.records import FitResult, Motion

CORNER = ("friction_right_over_k", "friction_left_over_k", "noise_over_k", "time_scale_over_pull")
EVEN = {axis.name: axis.low for axis in AXES if axis.zero}  # up to here an axis is even
CELLS = 40  # per axis of the plane of friction and noise


def of_chain(result: FitResult, motion: Motion, *, pull_section: bool) -> list[Drawing]:
    """Extensions, surprises, the plane of friction and noise, posterior."""
    return [
        ("extensions", lambda figure: plot_chain_extensions(
            result, figure.subplots(), motion=motion, pull_section=pull_section), 7.5, 4.4),
        ("residuals", lambda figure: plot_surprises(
            result, figure, motion=motion, pull_section=pull_section), 7.5, 3.8),
        *of_posterior(result),
    ]  # fmt: skip


def of_posterior(result: FitResult) -> list[Drawing]:
    """What needs no motion: the plane of friction and noise, and every pair of parameters."""
    return [
        ("plane", lambda figure: plot_plane(result, figure.subplots()), 5.6, 4.4),
        ("posterior", lambda figure: plot_corner(result, figure, names=CORNER), 7.0, 6.6),
    ]


def plot_chain_extensions(
    result: FitResult, ax: Axes, *, motion: Motion, pull_section: bool
) -> None:
    """Extensions as measured, and where the mean chain of 95 % of the draws runs under the same
    pull: what single kicks do is not in it."""
    plot_extensions(motion, ax)
    runs = predictions(result, motion, pull_section=pull_section)
    low, high = np.quantile(runs, [0.025, 0.975], axis=0)
    middle = np.median(runs, axis=0)
    for s, colour in enumerate(depth_colours(runs.shape[2])):
        ax.fill_between(motion.time_s, low[:, s], high[:, s], color=colour, alpha=0.25, lw=0,
                        label="fitted chain, 95 % of the draws" if s == 0 else None)
        ax.plot(motion.time_s, middle[:, s], color=colour, lw=1.2, ls="--",
                label="fitted chain, from the pull alone" if s == 0 else None)
    ax.legend(loc="upper left", fontsize=8)
    ax.set_title("Measured extensions, and those of the fitted chain (dashed)")


def plot_surprises(
    result: FitResult, figure: Figure, *, motion: Motion, pull_section: bool
) -> None:
    """How far every point is from what the frames before it foretell, in standard deviations."""
    time_s, score = surprises(result, motion, pull_section=pull_section)
    ax, beside = figure.subplots(1, 2, sharey=True, width_ratios=(4, 1))
    for block, colour in enumerate(depth_colours(score.shape[1])):
        ax.plot(time_s, score[:, block], ".", ms=3, color=colour)
    for level in (-2, 0, 2):
        ax.axhline(level, color=MUTED, lw=0.8, ls="-" if level == 0 else ":")
    reach = max(4.0, 1.05 * float(np.nanmax(np.abs(score))))
    edges = np.linspace(-reach, reach, max(17, min(81, round(4 * reach) | 1)))
    known = score[np.isfinite(score)]
    beside.hist(known, bins=edges.tolist(), density=True, orientation="horizontal", color=ACCENT,
                alpha=0.6)
    line = np.linspace(-reach, reach, 201)
    beside.plot(np.exp(-(line**2) / 2) / np.sqrt(2 * np.pi), line, color=INK, lw=1.2)
    beside.set(xlabel="share", xticks=[])
    ax.margins(x=0.01)
    ax.set(xlabel="time (s)", ylabel="surprise (standard deviations)", ylim=(-reach, reach),
           title=f"Points against what was foretold; chi2 per value {np.mean(known**2):.2f}")
    beside.set_title("normal: line", fontsize=9)


def plot_plane(result: FitResult, ax: Axes) -> None:
    """Where friction and noise lie in the phase diagram: region of 95 % and of 68 %."""
    names = "noise_over_k", "friction_right_over_k"
    x, y = (column(result, name) for name in names)
    axes = [axis for name in names for axis in AXES if axis.name == name]
    edges = [axis.value(_cells(axis.place(values)))
             for axis, values in zip(axes, (x, y), strict=True)]  # fmt: skip
    density, _, _ = np.histogram2d(x, y, bins=edges)
    density = _smooth(density)
    order = np.sort(density, axis=None)[::-1]
    share = np.cumsum(order) / order.sum()
    levels = sorted({float(order[min(np.searchsorted(share, part), len(order) - 1)])
                     for part in (0.95, 0.68)})  # fmt: skip
    middle = [(edge[1:] + edge[:-1]) / 2 for edge in edges]
    for line, place in ((ax.axvline, x), (ax.axhline, y)):  # finds even the smallest region
        line(float(np.median(place)), color=ACCENT, lw=0.8, ls=":", zorder=0)
    ax.plot(x[::5], y[::5], ".", ms=1.5, color=MUTED, alpha=0.5, zorder=1)
    ax.contourf(*middle, density.T, levels=[*levels, density.max() * 1.01], cmap="Blues", vmin=0,
                alpha=0.7, zorder=2)  # fmt: skip
    for name, scale in zip(names, (ax.set_xscale, ax.set_yscale), strict=True):
        scale("asinh", linear_width=EVEN[name])
    ticks = [0, 0.01, 0.03, 0.1, 0.3, 1]
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=ticks, yticks=ticks, xticklabels=map(str, ticks),
           yticklabels=map(str, ticks), xlabel="noise / k, in units of the pull",
           ylabel="friction to the right / k, in units of the pull",
           title="Friction and noise: draws, and the regions of 68 and 95 %")


def _cells(place: np.ndarray) -> np.ndarray:
    """Edges of CELLS cells on an axis from 0 to 1, around all draws."""
    low, high = float(place.min()), float(place.max())
    room = 0.15 * (high - low) + 0.003
    return np.linspace(max(low - room, 0.0), min(high + room, 1.0), CELLS + 1)


def _smooth(density: np.ndarray) -> np.ndarray:
    """A histogram blurred by about one cell."""
    kernel = np.array([0.05, 0.25, 0.4, 0.25, 0.05])
    for axis in (0, 1):
        density = np.apply_along_axis(np.convolve, axis, density, kernel, mode="same")
    return density
