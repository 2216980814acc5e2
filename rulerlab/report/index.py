"""The first page of a batch: what to look at first, then every run in one table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from rulerlab.palette import ACCENT, INK, MUTED
from rulerlab.plots import quoted
from rulerlab.report.batch import ENOUGH, Entry
from rulerlab.report.blocks import Alert, Facts, Link, Picture, Section, Table, Text
from rulerlab.report.page import html_page

HEADS = ("run", "look at", "regime", "c~", "v~", "lost", "sigma", "travel", "fit", "warnings")


def plot_batch(entries: Sequence[Entry], ax: Axes) -> None:
    """Load curves of all runs as shares of the total; the odd ones stand out."""
    ax.plot([0, 1], [1, 0], color=MUTED, ls="--", lw=1.2, label="evenly shared")
    labels = set()
    for entry in reversed(entries):
        curve = entry.run.load_curve if entry.run else None
        if curve is None or not curve.total:
            continue
        label = "odd or twice" if entry.odd or entry.twins else "others"
        depth = np.linspace(0, 1, len(curve.remaining))
        ax.plot(depth, (curve.remaining - curve.remaining[-1]) / curve.total, lw=1.2,
                color=INK if label == "others" else "#d55e00",
                alpha=0.45 if label == "others" else 0.9, zorder=2 + (label != "others"),
                label=None if label in labels else label)
        labels.add(label)
    ax.legend(loc="lower left")
    ax.set(xlabel="depth (0 = held end, 1 = pulled end)", ylabel="share of the load left",
           title="All load curves on one scale")


def plot_shapes(entries: Sequence[Entry], ax: Axes) -> None:
    """c~ of every run with its error, in rising order."""
    known = [entry for entry in entries if entry.numbers.get("c_normalised") is not None]
    known.sort(key=lambda entry: entry.numbers["c_normalised"])
    for row, entry in enumerate(known):
        colour = "#d55e00" if entry.odd or entry.twins else ACCENT
        ax.errorbar(entry.numbers["c_normalised"], row, fmt="o", ms=4, color=colour,
                    xerr=entry.numbers.get("c_normalised_sigma"), capsize=2)
    for edge in (-0.06, 0.06):
        ax.axvline(edge, color=MUTED, lw=0.9, ls=":")
    step = max(1, -(-len(known) // 30))
    ax.set_yticks(range(0, len(known), step), [_cut(_shown(e)) for e in known[::step]], fontsize=7)
    ax.set(xlabel="c~ (dotted: concave, linear, convex)", title="Shape of every load curve")


def _shown(entry: Entry) -> str:
    return entry.name.removesuffix(".rulerlab")


def _cut(name: str) -> str:
    return name if len(name) <= 26 else f"…{name[-25:]}"


def index_page(title: str, entries: Sequence[Entry], pages: dict[str, str]) -> str:
    """The HTML of a batch; `pages` are the addresses of the reports, by the runs' names."""
    good = [entry for entry in entries if entry.run is not None]
    facts = Facts((
        ("runs", str(len(entries))), ("can't be read", str(len(entries) - len(good))),
        ("videos handed in twice", str(sum(bool(e.twins) for e in entries))),
        ("odd", str(sum(bool(e.odd) for e in entries))),
        ("with warnings", str(sum(bool(e.numbers.get("warnings")) for e in good))),
    ))
    alerts = [Alert(f"{_shown(entry)}: {'; '.join(_alarms(entry))}") for entry in entries
              if _alarms(entry)]
    few = [] if len(good) >= ENOUGH else [
        Text(f"Fewer than {ENOUGH} runs: none is called odd by comparison.", quiet=True)]
    opening = Section("", (facts, *(alerts or [Alert("Nothing stands out.", fine=True)]), *few))
    shape = [e for e in good if e.numbers.get("c_normalised") is not None]
    pictures = Section("All runs together", (
        Picture("Each curve from its whole load to nothing.",
                draw=lambda figure: plot_batch(good, figure.subplots()), height=3.8),
        Picture("One standard deviation; runs that stand out are orange.",
                draw=lambda figure: plot_shapes(shape, figure.subplots()),
                height=max(3.8, 0.9 + 0.17 * min(len(shape), 30))),
    )) if shape else None
    rows = tuple((Link(_shown(e), pages[e.name]) if e.name in pages else _shown(e), *_cells(e))
                 for e in entries)
    table = Section("Every run", (
        Table(rows, HEADS),
        Text("Odd: further than 3.5 robust standard deviations from the median of the runs of its "
             "kind. All columns are in summary.csv beside this page.", quiet=True)))
    return html_page(title, [opening, *([pictures] if pictures else []), table])


def _alarms(entry: Entry) -> list[str]:
    return [*([f"handed in twice? See {'; '.join(entry.twins)}"] if entry.twins else []),
            *([entry.fault] if entry.fault else []), *entry.odd,
            *([entry.numbers["quality"]] if entry.numbers.get("quality") else [])]


def _cells(entry: Entry) -> list[str]:
    """The cells behind the name."""
    n = entry.numbers
    mark = ", ".join(word for word, true in (
        ("twice", entry.twins), ("odd", entry.odd), ("broken", entry.fault),
        ("poor", n.get("quality"))) if true)
    if entry.run is None:
        return [mark, *[""] * (len(HEADS) - 2)]

    def shape(key: str) -> str:
        return quoted(n[key], n.get(f"{key}_sigma", float("nan"))) if key in n else ""

    lost = f"{100 * n['share_lost']:.1f} %" if "share_lost" in n else ""
    sigma = f"{n['sigma_px']:.2g} px" if "sigma_px" in n else ""
    travel = f"{n['travel']:.1f} {n.get('unit', '')}" if "travel" in n else ""
    law = f"{n['fit_law']}{'' if n.get('fit_valid') else ' (not valid)'}" if "fit_law" in n else ""
    return [mark, str(n.get("regime", "")), shape("c_normalised"), shape("v_normalised"), lost,
            sigma, travel, law, str(n.get("warnings", ""))]
