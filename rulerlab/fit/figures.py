"""Figures of a fit, each `plot_x(record, ax)`, and which of them go with which fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rulerlab.fit.bench import Bench
from rulerlab.fit.blocks import Evidence
from rulerlab.fit.oscillator import Swings
from rulerlab.fit.prior import FRICTION, laws_of
from rulerlab.fit.summaries import Summary
from rulerlab.fit.trial import simulate_trials
from rulerlab.palette import ACCENT, INK, MUTED
from rulerlab.records import FitResult

Drawing = tuple[str, Callable[[Figure], None], float, float]  # name, draw, width, height (inches)
SHOWN = 48  # trials from the posterior that stand for the law in a figure
THIN = 5  # every so many draws are shown as dots
NEWTON = 1e-3  # of a mN


def of_blocks(result: FitResult, evidence: Evidence) -> list[Drawing]:
    """Force against velocity, extensions, spectrum of the residual force, posterior."""
    trials = posterior_trials(evidence)
    bench = evidence.bench
    return [
        ("force", lambda figure: plot_force(
            result, figure.subplots(), bench=bench, trials=trials), 7.0, 4.0),
        ("extensions", lambda figure: plot_measured_and_simulated(
            bench, figure.subplots(), trials=trials), 7.0, 4.0),
        ("residuals", lambda figure: plot_residual_spectrum(
            bench, figure.subplots(), trials=trials, result=result), 7.0, 3.8),
        ("posterior", lambda figure: plot_corner(
            result, figure, names=("friction_force_N", "viscous_N_s_per_m", "noise_force_N")),
         6.5, 6.0),
    ]  # fmt: skip


def of_oscillator(result: FitResult, swings: Swings) -> list[Drawing]:
    """Amplitudes with the law, and the wander of the period."""
    return [("swings", lambda figure: plot_swings(swings, figure.subplots()), 7.0, 3.8),
            ("period", lambda figure: plot_period(
                swings, figure.subplots(), period_s=result["period_s"].value), 7.0, 3.4)]


def posterior_trials(evidence: Evidence) -> np.ndarray:
    """Blocks (SHOWN, T, B) of trials with laws from the posterior, each block with its own
    friction."""
    bench = evidence.bench
    values = evidence.prior.clipped(evidence.learned.posterior[:SHOWN])
    own = np.median(evidence.extra[:, 2:], axis=0)
    friction = values[:, [FRICTION]] * own / max(float(own.mean()), 1e-9)
    return simulate_trials(bench, laws_of(bench, values, np.maximum(friction, 0)), seed=1)


def _balance(summary: Summary, block_mm: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Friction and noise on every block (N) and its velocity (mm/s) at the shortest lag."""
    lag = summary.lags[0]
    net, speed, _ = summary.balance(np.nan_to_num(block_mm), lag)
    used = summary.used[lag] > 0
    return -NEWTON * net[:, used], speed[:, used]


def plot_force(result: FitResult, ax: Axes, *, bench: Bench, trials: np.ndarray) -> None:
    """What holds every block back (springs minus inertia) against its velocity, and the law.

    Frames average over stops and noise; means of the trials, seen through the same frames, show
    what the law looks like then.
    """
    summary = Summary(bench)
    force, speed = _balance(summary, bench.block_mm[None])
    reach = float(np.quantile(np.abs(speed), 0.99)) or 1.0
    edges = np.linspace(-reach, reach, 22)
    middle = (edges[1:] + edges[:-1]) / 2
    ax.plot(speed[0], force[0], ".", ms=2, color=MUTED, alpha=0.4, label="measured, each frame")
    run = np.array([_binned(*pair, edges) for pair in zip(*_balance(summary, trials), strict=True)])
    often = np.isfinite(run).mean(axis=0) > 0.5
    low, high = np.nanquantile(run[:, often], [0.025, 0.975], axis=0)
    ax.fill_between(middle[often], low, high, color=ACCENT, alpha=0.25, lw=0,
                    label="mean of simulated frames, 95 % of the runs")
    ax.plot(middle, _binned(force[0], speed[0], edges), "o", ms=4, color=INK,
            label="mean of measured frames")
    line = np.linspace(-reach, reach, 401)
    dry, viscous = (max(float(np.median(column(result, name))), 0.0)
                    for name in ("friction_force_N", "viscous_N_s_per_m"))  # fmt: skip
    ax.plot(line, dry * np.sign(line) + viscous * line * 1e-3, color=ACCENT, lw=1.8,
            label="law at each moment")
    spread = 1.3 * float(np.quantile(np.abs(force), 0.98))
    ax.set(xlim=(-reach, reach), ylim=(-spread, spread))
    ax.axhline(0, color=INK, lw=0.6)
    ax.legend(loc="upper left", fontsize=8)
    ax.set(xlabel="velocity against the rail (mm/s)", ylabel="force holding the block back (N)",
           title="Friction and damping: force against velocity")


def _binned(force: np.ndarray, speed: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """Mean force of the frames in each range of velocities; NaN where there are few."""
    place = np.digitize(speed, edges) - 1
    inside = (place >= 0) & (place < len(edges) - 1)
    count = np.bincount(place[inside], minlength=len(edges) - 1)
    total = np.bincount(place[inside], force[inside], minlength=len(edges) - 1)
    return np.where(count >= 3, total / np.maximum(count, 1), np.nan)


def plot_measured_and_simulated(bench: Bench, ax: Axes, *, trials: np.ndarray) -> None:
    """Blocks as measured, and where 95 % of the trials from the posterior run."""
    low, high = np.quantile(trials, [0.025, 0.975], axis=0)
    for block in range(bench.blocks):
        ax.fill_between(bench.time_s, low[:, block], high[:, block], color=ACCENT, alpha=0.3, lw=0,
                        label="simulated, 95 % of the runs" if block == 0 else None)
        ax.plot(bench.time_s, bench.block_mm[:, block], color=INK, lw=0.9,
                label="measured" if block == 0 else None)
    ax.plot(bench.time_s, bench.end_mm(), color=MUTED, lw=1.2, label="hand")
    ax.legend(loc="upper left")
    ax.margins(x=0.01)
    ax.set(xlabel="time (s)", ylabel="displacement from rest (mm)",
           title="Each block, measured and simulated with the same hand")


def plot_residual_spectrum(
    bench: Bench, ax: Axes, *, trials: np.ndarray, result: FitResult
) -> None:
    """Spectrum of what friction and damping leave over, measured and in trials."""
    summary = Summary(bench)
    dry, viscous = (max(float(np.median(column(result, name))), 0.0)
                    for name in ("friction_force_N", "viscous_N_s_per_m"))  # fmt: skip

    def spectrum(block_mm: np.ndarray) -> np.ndarray:
        lag = summary.lags[0]
        net, speed, _ = summary.balance(np.nan_to_num(block_mm), lag)
        still = 3 * bench.sigma_mm.mean() / bench.frame_s
        rest = NEWTON * net + dry * np.tanh(speed / still) + viscous * speed * 1e-3
        rest = rest - rest.mean(axis=-1, keepdims=True)
        window = np.hanning(rest.shape[-1])
        power = np.abs(np.fft.rfft(rest * window)) ** 2 * 2 * bench.frame_s / (window**2).sum()
        return power.mean(axis=1)

    frames = len(bench.time_s) - 2 * summary.lags[0]
    frequency = np.fft.rfftfreq(frames, bench.frame_s)
    width = max(1, round(0.4 * frequency.size / 15))

    def smooth(power: np.ndarray) -> np.ndarray:
        kernel = np.ones(width) / width
        return np.array([np.convolve(row, kernel, mode="same") for row in power])

    low, high = np.quantile(smooth(spectrum(trials)), [0.025, 0.975], axis=0)
    inner = slice(width, -width)
    ax.fill_between(frequency[inner], low[inner], high[inner], color=ACCENT, alpha=0.3, lw=0,
                    label="simulated, 95 % of the runs")
    mine = smooth(spectrum(bench.block_mm[None]))[0]
    ax.plot(frequency[inner], mine[inner], color=INK, lw=1.1, label="measured")
    ax.set_yscale("log")
    ax.legend(loc="best")
    ax.set(xlabel="frequency (Hz)", ylabel="power of the residual force (N²/Hz)",
           title="What friction and damping leave over")


def column(result: FitResult, name: str) -> np.ndarray:
    """Draws of one parameter from the posterior."""
    assert result.samples is not None, "the fit keeps no draws"
    return result.samples[:, list(result.parameters).index(name)]


def plot_corner(result: FitResult, figure: Figure, *, names: tuple[str, ...]) -> None:
    """Posterior of each parameter and of each pair."""
    grid = figure.subplots(len(names), len(names), squeeze=False)
    for row, below in enumerate(names):
        for place, left in enumerate(names):
            ax = grid[row][place]
            if place > row:
                ax.set_visible(False)
                continue
            x = column(result, left)
            if row == place:
                ax.hist(x, bins=40, color=ACCENT, alpha=0.7)
                ax.set_yticks([])
            else:
                y = column(result, below)
                ax.plot(x[::THIN], y[::THIN], ".", ms=2, color=MUTED, alpha=0.6)
            if row == len(names) - 1:
                ax.set_xlabel(_axis_name(result, left), fontsize=8)
            if place == 0 and row > 0:
                ax.set_ylabel(_axis_name(result, below), fontsize=8)
            ax.tick_params(labelsize=7)
            ax.xaxis.set_major_locator(MaxNLocator(3))
    figure.suptitle("Posterior: each parameter, and each pair")


def _axis_name(result: FitResult, name: str) -> str:
    unit = result[name].unit
    words = name.split("_N")[0].replace("_", " ")
    return words if unit == "1" else f"{words} ({unit})"


def plot_swings(swings: Swings, ax: Axes) -> None:
    """Amplitude of every swing and the envelope of the law."""
    ax.errorbar(swings.time_s, swings.amplitude, yerr=swings.sigma, fmt="o", ms=3.5, color=INK,
                ecolor=MUTED, label="each swing")  # fmt: skip
    ax.plot(swings.time_s, swings.envelope, color=ACCENT, lw=1.6, label=swings.law)
    ax.legend(loc="upper right")
    ax.set(xlabel="time (s)", ylabel=f"amplitude ({swings.unit})", title="How the swings die away")


def plot_period(swings: Swings, ax: Axes, *, period_s: float) -> None:
    """By how much each swing comes early or late against the mean period."""
    even = 2 * np.pi / period_s * (swings.time_s - swings.time_s.mean())
    early = (swings.phase - swings.phase.mean() - even) / (2 * np.pi) * period_s
    ax.axhline(0, color=MUTED, lw=0.9)
    ax.plot(swings.time_s, 1e3 * early, "o-", ms=3.5, lw=0.8, color=INK)
    ax.set(xlabel="time (s)", ylabel="ahead of the mean period (ms)",
           title="Curved: the period changes with the swing")
