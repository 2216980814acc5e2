"""Every figure of a run, each `plot_x(record, ax)`; SVG that is the same byte for byte."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import colormaps
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rulerlab.palette import ACCENT, INK, MUTED, STATUS_RGB, hexadecimal
from rulerlab.records import DETECTED, LOST, STATUSES, LoadCurve, Motion, Tracks

LOOK = {
    "svg.hashsalt": "rulerlab",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.titlesize": 10.5,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
MOST_COLUMNS = 600  # of a map; more can't be seen and only makes the file large
PAPER_DPI = 150
CROWD, CROWD_DPI = 100, 110  # more points than this become one picture of so many dots per inch
MOST_PIECES = 200  # of a line, each with its lowest and highest value
REGIMES = {"concave": "concave: the load sits near the pulled end",
           "linear": "linear: the load is shared evenly",
           "convex": "convex: the load sits near the held end"}


def quoted(value: float, sigma: float, unit: str = "") -> str:
    """`value ± sigma unit` with the digits that the error leaves (rule of the PDG).

    The error keeps two digits when they are 10 to 35, else one; the value ends where it ends.
    """
    unit = f" {unit}" if unit else ""
    if not math.isfinite(value):
        return "not known"
    if not math.isfinite(sigma) or sigma <= 0:
        return f"{value:.4g}{unit}"
    exponent = math.floor(math.log10(sigma))
    leading = round(sigma / 10.0 ** (exponent - 2))
    last = exponent - 1 if leading < 355 else exponent
    if leading >= 950:  # 0.0964 is quoted as 0.10
        last = exponent
    size = max(abs(value), sigma)
    power = math.floor(math.log10(size))
    if -4 <= power <= 5:
        shown = [f"{round(number, -last):.{max(-last, 0)}f}" for number in (value, sigma)]
        return f"{shown[0]} ± {shown[1]}{unit}"
    digits = max(power - last, 0)
    scale = 10.0**power
    return f"({value / scale:.{digits}f} ± {sigma / scale:.{digits}f})e{power}{unit}"


def _bins(time_s: np.ndarray) -> tuple[np.ndarray, int, tuple[float, float]]:
    """Column of an even time axis for each frame, the number of columns, and the axis' ends."""
    columns = min(len(time_s), MOST_COLUMNS)
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 1.0
    start, end = time_s[0] - step / 2, time_s[-1] + step / 2
    place = ((time_s - start) / (end - start) * columns).astype(int)
    return np.clip(place, 0, columns - 1), columns, (float(start), float(end))


def _averaged(time_s: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, tuple[float, float]]:
    """Mean of values (T, L) in each column of time, (L, columns), NaN where there is nothing."""
    place, columns, ends = _bins(time_s)
    total, count = np.zeros((columns, values.shape[1])), np.zeros((columns, values.shape[1]))
    np.add.at(total, place, np.nan_to_num(values))
    np.add.at(count, place, np.isfinite(values))
    picture = np.full(total.shape, np.nan)
    np.divide(total, count, out=picture, where=count > 0)
    return picture.T, ends


def _thinned(values: np.ndarray) -> np.ndarray:
    """Frames that show a line (T,) as it is: the lowest and the highest of each piece."""
    frames = len(values)
    if frames <= 2 * MOST_PIECES:
        return np.arange(frames)
    edges = np.linspace(0, frames, MOST_PIECES + 1).astype(int)
    kept = []
    for first, last in zip(edges[:-1], edges[1:], strict=True):
        part = values[first:last]
        low = np.where(np.isfinite(part), part, np.inf).argmin()
        high = np.where(np.isfinite(part), part, -np.inf).argmax()
        kept += [first + low, first + high]
    return np.unique([0, *kept, frames - 1])


def depth_colours(segments: int) -> np.ndarray:
    """One colour per segment from the held end (dark) to the pulled end (light), (L, 4)."""
    return colormaps["viridis"](np.linspace(0.0, 0.88, segments))


def _depth_bar(ax: Axes, segments: int, name: str) -> None:
    colours = ListedColormap(depth_colours(segments))
    norm = BoundaryNorm(np.arange(0.5, segments + 1), segments)
    every = math.ceil(segments / 12)
    bar = ax.figure.colorbar(ScalarMappable(norm, colours), ax=ax, pad=0.02, aspect=30,
                             ticks=np.arange(1, segments + 1, every))
    bar.set_label(f"{name} (1 held end, {segments} pulled end)")
    bar.ax.minorticks_off()
    bar.outline.set_visible(False)


def plot_rig(
    tracks: Tracks, ax: Axes, *, picture: np.ndarray | None = None, frame: int | None = None
) -> None:
    """Path of every point over the whole clip, and the chain in one frame, on its picture.

    `picture` is (H, W, 3) RGB, shown pale; `frame` (default: the last one fully seen) is where
    the chain is drawn.
    """
    if picture is not None:
        height, width = picture.shape[:2]
        coarse = max(1, math.ceil(width / 480))
        high, wide = height // coarse, width // coarse
        rows, columns = high * coarse, wide * coarse
        blocks = picture[:rows, :columns].reshape(high, coarse, wide, coarse, 3)
        pale = 255 - (255 - blocks.mean(axis=(1, 3))) * 0.6
        ax.imshow((pale // 4 * 4).astype(np.uint8),
                  extent=(-0.5, columns - 0.5, rows - 0.5, -0.5), interpolation="bilinear")
    if frame is None:
        seen = np.isfinite(tracks.position_px).all(axis=(1, 2))
        frame = int(np.flatnonzero(seen)[-1]) if seen.any() else len(tracks.time_s) - 1
    for k, colour in enumerate(depth_colours(tracks.points)):
        path = tracks.position_px[:, k]
        path = path[:: max(1, len(path) // MOST_COLUMNS)]
        ax.plot(path[:, 0], path[:, 1], color=colour, lw=1.6)
    chain = tracks.position_px[frame]
    ax.plot(chain[:, 0], chain[:, 1], color=INK, lw=1.0, zorder=3)
    ax.scatter(chain[:, 0], chain[:, 1], c=depth_colours(tracks.points), s=26, zorder=4,
               edgecolors=INK, linewidths=0.8)
    for name, k in (("held", 0), ("pulled", -1)):
        if np.isfinite(chain[k]).all():
            ax.annotate(name, chain[k], xytext=(0, 9), textcoords="offset points", ha="center",
                        weight="bold", color=INK)
    ax.set_aspect("equal", "datalim" if picture is None else "box")
    if picture is None:
        ax.invert_yaxis()
    ax.set(xlabel="x (px)", ylabel="y (px)",
           title=f"Paths of the {tracks.points} points, chain at {tracks.time_s[frame]:.2f} s")


def _mark_times(ax: Axes, times_s: dict[str, float] | None) -> None:
    for name, time_s in (times_s or {}).items():
        if math.isfinite(time_s):
            ax.axvline(time_s, color=MUTED, lw=0.9, ls=":")
            ax.annotate(name, (time_s, 1), xycoords=("data", "axes fraction"), rotation=90,
                        xytext=(2, -2), textcoords="offset points", va="top", color=INK,
                        fontsize=8, bbox={"fc": "white", "ec": "none", "alpha": 0.75, "pad": 1})


def plot_extensions(
    motion: Motion, ax: Axes, *, times_s: dict[str, float] | None = None, name: str = "section"
) -> None:
    """Extension of every segment against time, bands of one standard deviation.

    `times_s` are named moments (start of the pull, ...) shown as dotted lines.
    """
    extension, sigma = motion.extension_mm(), motion.extension_sigma_mm()
    marker = "." if len(motion.time_s) < 3 else None
    for s, colour in enumerate(depth_colours(extension.shape[1])):
        kept = _thinned(extension[:, s])
        time_s, middle, spread = motion.time_s[kept], extension[kept, s], sigma[kept, s]
        ax.fill_between(time_s, middle - spread, middle + spread, color=colour, alpha=0.3, lw=0)
        ax.plot(time_s, middle, color=colour, lw=1.3, marker=marker)
    _mark_times(ax, times_s)
    known = sigma[np.isfinite(sigma)]
    typical = f", median sigma {np.median(known):.2g} {motion.unit}" if known.size else ""
    ax.set(xlabel="time (s)", ylabel=f"extension along the pull ({motion.unit})",
           title=f"Extensions; bands are ±1 sigma{typical}")
    ax.margins(x=0.01)
    _depth_bar(ax, extension.shape[1], name)


def plot_heat_map(
    motion: Motion, ax: Axes, *, times_s: dict[str, float] | None = None, name: str = "section"
) -> None:
    """Which segment opens when: extension beyond its first value as colour, depth against time."""
    picture, (start, end) = _averaged(motion.time_s, motion.extension_mm())
    segments = len(picture)
    picture = picture - picture[np.arange(segments), np.isfinite(picture).argmax(axis=1), None]
    drawn = ax.imshow(picture, aspect="auto", origin="lower", interpolation="nearest",
                      cmap="cividis", extent=(start, end, 0.5, segments + 0.5))
    ax.set_facecolor("#dddddd")
    _mark_times(ax, times_s)
    ax.figure.colorbar(drawn, ax=ax, pad=0.02, aspect=30, label=f"beyond the start ({motion.unit})")
    ax.set_yticks(np.arange(1, segments + 1, math.ceil(segments / 12)))
    ax.set(xlabel="time (s)", ylabel=f"{name} (1 = held end)",
           title=f"Extension of each {name} beyond its start; grey: not seen")


def _quantity(curve: LoadCurve) -> str:
    named = {"1": "log separation" if curve.source == "network" else "units of the chain",
             "share": "share of all"}
    return named.get(curve.quantity, curve.quantity)


def plot_load_curve(curve: LoadCurve, ax: Axes) -> None:
    """Load left to carry after each segment, and the straight line of even sharing."""
    depth, sigma = np.arange(len(curve.remaining)), np.sqrt(np.diagonal(curve.covariance))
    ax.plot(depth[[0, -1]], curve.remaining[[0, -1]], color=MUTED, ls="--", lw=1.2,
            label="evenly shared")
    ax.errorbar(depth, curve.remaining, yerr=sigma, color=ACCENT, marker="o", ms=5, lw=1.6,
                capsize=3, label=curve.label or curve.source)
    ax.set(xlabel=f"{curve.unit}s passed, $l$ (0 = held end)",
           ylabel=f"load left to carry $D_l$ ({_quantity(curve)})")
    ax.set_xticks(depth[:: math.ceil(len(depth) / 13)])
    if curve.total == 0:
        ax.set_title("Load curve: no load at all")
        return
    ax.set_title(f"Load curve, {REGIMES[curve.regime]}")
    numbers = [(r"$\tilde c$", "c_normalised"), (r"$\tilde v$", "v_normalised")]
    lines = [f"{short} = {quoted(getattr(curve, long), curve.sigma_of(long))}"
             for short, long in numbers]
    ax.legend(loc="upper right" if curve.regime == "convex" else "lower left",
              title="\n".join(lines), alignment="left")


def plot_loads(curve: LoadCurve, ax: Axes) -> None:
    """Load of each segment with its error, and the share that all would carry if equal."""
    segments = np.arange(1, len(curve.loads) + 1)
    ax.bar(segments, curve.loads, color=depth_colours(len(segments)), width=0.75,
           yerr=np.sqrt(np.diagonal(curve.load_covariance)), ecolor=INK, capsize=3)
    ax.axhline(curve.total / len(segments), color=MUTED, ls="--", lw=1.2, label="evenly shared")
    ax.legend(loc="lower right", bbox_to_anchor=(1, 1), borderaxespad=0.2)
    ax.axhline(0, color=INK, lw=0.8)
    ax.set_xticks(segments[:: math.ceil(len(segments) / 13)])
    ax.set(xlabel=f"{curve.unit} (1 = held end)", ylabel=f"load ({_quantity(curve)})",
           title=f"Load of each {curve.unit}")


def plot_status(tracks: Tracks, ax: Axes) -> None:
    """How each point was obtained in each frame; the worst of frames that share a column."""
    worst = [DETECTED, *(name for name in STATUSES if name not in (DETECTED, LOST)), LOST]
    rank = np.zeros(tracks.status.shape, dtype=int)
    for level, name in enumerate(worst):
        rank[tracks.status == name] = level
    place, columns, (start, end) = _bins(tracks.time_s)
    picture = np.full((columns, tracks.points), -1)
    np.maximum.at(picture, place, rank)
    colours = ["#ffffff", *(hexadecimal(STATUS_RGB[name]) for name in worst)]
    ax.imshow(picture.T, aspect="auto", origin="lower", interpolation="nearest",
              cmap=ListedColormap(colours), alpha=0.85, vmin=-1.5, vmax=len(worst) - 0.5,
              extent=(start, end, -0.5, tracks.points - 0.5))
    share = {name: float((tracks.status == name).mean()) for name in worst}
    ax.legend(handles=[Patch(color=hexadecimal(STATUS_RGB[name]),
                             label=f"{name} {100 * share[name]:.3g} %") for name in worst],
              loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=len(worst), fontsize=9)
    ax.set_yticks(np.arange(0, tracks.points, math.ceil(tracks.points / 7)))
    ax.set(xlabel="time (s)", ylabel="point (0 = held end)")


def plot_errors(tracks: Tracks, ax: Axes) -> None:
    """Standard deviation of the positions against time: the middle point and the worst."""
    sigma = tracks.sigma_px().max(axis=-1)
    seen = np.isfinite(sigma).any(axis=1)
    if not seen.any():
        ax.set(xlabel="time (s)", ylabel="sigma (px)", title="no point was seen")
        return
    filled = np.sort(np.where(np.isfinite(sigma), sigma, np.inf)[seen], axis=1)
    count = np.isfinite(filled).sum(axis=1)
    rows = np.arange(len(filled))
    time_s = tracks.time_s[seen]
    for name, values, colour in (("largest", filled[rows, count - 1], MUTED),
                                 ("median", filled[rows, (count - 1) // 2], ACCENT)):
        kept = _thinned(values)
        ax.plot(time_s[kept], values[kept], color=colour, lw=1.1, label=name)
    ax.set_ylim(0, 1.35 * float(filled[rows, count - 1].max()) or None)
    ax.legend(loc="upper right", ncols=2)
    ax.set(xlabel="time (s)", ylabel="sigma (px)", title="Standard deviation of the points")
    ax.margins(x=0.01)


def svg_of(draw: Callable[[Figure], None], *, width: float = 5.6, height: float = 3.6) -> str:
    """The figure (inches) that `draw` fills, as SVG text without date or random names."""
    with mpl.rc_context(LOOK):
        return _as_svg(_drawn(draw, width, height))


def write_figure(path: Path, draw: Callable[[Figure], None], *, width: float = 5.6,
                 height: float = 3.6) -> None:
    """The figure (inches) that `draw` fills as `path` (.svg), and as .png beside it for paper."""
    with mpl.rc_context(LOOK):
        figure = _drawn(draw, width, height)
        path.write_text(_as_svg(figure), encoding="utf-8")
        figure.savefig(path.with_suffix(".png"), dpi=PAPER_DPI)


def _drawn(draw: Callable[[Figure], None], width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height))
    FigureCanvasSVG(figure)
    draw(figure)
    for part in figure.findobj(_is_crowd):
        part.set_rasterized(True)
    return figure


def _as_svg(figure: Figure) -> str:
    room = io.StringIO()
    figure.savefig(room, format="svg", dpi=CROWD_DPI, metadata={"Date": None})
    return re.sub(r' d="[^"]*"', lambda path: _hundredths(path[0]), room.getvalue())


def _is_crowd(part: Artist) -> bool:
    """Clouds of points, bands and long lines: thousands of coordinates, smaller as pixels."""
    if isinstance(part, Line2D):
        points = len(np.asarray(part.get_xdata()))
        return points > (CROWD if part.get_linestyle() == "None" else 10 * CROWD)
    return isinstance(part, PolyCollection) and sum(map(
        len, (path.vertices for path in part.get_paths()))) > CROWD


def _hundredths(path: str) -> str:
    """A path with coordinates to a hundredth of a point: half the bytes, nothing to see."""
    return re.sub(r"(\.\d\d)\d+", r"\1", path)


def draw_health(figure: Figure, tracks: Tracks) -> None:
    """How every point was obtained above, how well it is known below, on one time axis."""
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1.3))
    plot_status(tracks, upper)
    plot_errors(tracks, lower)
    upper.set_xlabel("")


def write_plots(
    folder: Path,
    tracks: Tracks,
    motion: Motion | None = None,
    curve: LoadCurve | None = None,
    *,
    picture: np.ndarray | None = None,
    frame: int | None = None,
    times_s: dict[str, float] | None = None,
    name: str = "section",
) -> list[Path]:
    """Write rig, extensions, heat_map, load_curve, loads and health .svg into `folder`.

    `picture` is one frame in RGB, `frame` its row in the tracks; `times_s` are named moments of
    the pull; `name` is what a segment is ("section", "spring").
    """
    drawings: dict[str, tuple[Callable[[Figure], None], float]] = {
        "rig": (lambda figure: plot_rig(
            tracks, figure.subplots(), picture=picture, frame=frame), 4.2),
        "health": (lambda figure: draw_health(figure, tracks), 4.2),
    }
    if motion is not None:
        drawings["extensions"] = (lambda figure: plot_extensions(
            motion, figure.subplots(), times_s=times_s, name=name), 3.8)
        drawings["heat_map"] = (lambda figure: plot_heat_map(
            motion, figure.subplots(), times_s=times_s, name=name), 3.4)
    if curve is not None:
        drawings["load_curve"] = (lambda figure: plot_load_curve(curve, figure.subplots()), 3.8)
        drawings["loads"] = (lambda figure: plot_loads(curve, figure.subplots()), 3.2)
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stem, (draw, height) in drawings.items():
        written.append(folder / f"{stem}.svg")
        written[-1].write_text(svg_of(draw, height=height), encoding="utf-8")
    return written
