"""`rulerlab phase measured`: a batch of runs as one diagram beside that of the chain."""

from __future__ import annotations

from pathlib import Path

import click

from rulerlab.cli._phase_folder import result_folder


@click.command("measured")
@click.argument("runs", nargs=-1, type=click.Path(path_type=Path))
@click.option("--table", type=click.Path(path_type=Path),
              help="A csv run,ROW,COLUMN with each run folder and its two conditions.")
@click.option("--surface", multiple=True, metavar="NAME",
              help="Without a table: the surface of each run in turn, or one for all; the "
                   "shaking comes from the accelerometer.")
@click.option("-o", "--out", default="phase-measured", show_default=True,
              type=click.Path(file_okay=False, path_type=Path), help="Folder for the result.")
@click.option("--force", is_flag=True, help="Replace a finished diagram.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def measured(runs: tuple[Path, ...], table: Path | None, surface: tuple[str, ...], out: Path,
             force: bool, as_json: bool) -> None:
    """Lay the load curves of many runs out as surface against shaking, and test the trend.

    Without --table the run folders RUNS must come from `rulerlab record`, whose accelerometer
    log tells how hard the table shook.
    """
    from rulerlab.compare.measured import diagram_of, read_conditions, trend
    from rulerlab.store import read_load_curve

    if (table is None) == (not runs):
        raise click.UsageError("give run folders, or --table with one run per line")
    conditions = read_conditions(table) if table else _from_logs(runs, surface)
    folder = result_folder(out, "phase.csv", force)
    curves = [read_load_curve(run) for run in conditions.runs]
    diagram = diagram_of(curves, conditions)
    _write(folder / "phase.csv", curves, conditions)
    trends = {name: trend([getattr(curve, name) for curve in curves], conditions)
              for name in ("c_normalised", "v_normalised")}
    _draw(folder / "phase.svg", diagram, curves, conditions)
    _say(diagram, trends, folder, as_json)


def _from_logs(runs: tuple[Path, ...], surface: tuple[str, ...]):
    import numpy as np

    from rulerlab.compare.measured import Conditions, numbered, shaking_g

    if len(surface) not in (0, 1, len(runs)):
        raise click.UsageError(f"{len(surface)} surfaces for {len(runs)} runs; give one, or one "
                               "for each")
    names = surface if len(surface) == len(runs) else (surface or ("the same",)) * len(runs)
    row, values = numbered("surface", names)
    shaking = np.array([shaking_g(run) for run in runs])
    return Conditions(row, "shaking_g", runs, values, np.round(shaking, 2))


def _write(path: Path, curves, conditions) -> None:
    """One row per run: its conditions, shape and loads on one scale."""
    import csv

    from rulerlab.compare.scale import on_one_scale

    parts = min(len(curve.loads) for curve in curves)
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["run", conditions.row, conditions.column, "c_normalised",
                       "c_normalised_sigma", "v_normalised", "v_normalised_sigma",
                       *(f"load_{l}" for l in range(1, parts + 1))])  # noqa: E741
        for k, curve in enumerate(curves):
            shape = [f"{number:.6g}" for name in ("c_normalised", "v_normalised")
                     for number in (getattr(curve, name), curve.sigma_of(name))]
            rows.writerow([conditions.runs[k], f"{conditions.row_values[k]:g}",
                           f"{conditions.column_values[k]:g}", *shape,
                           *(f"{load:.6g}" for load in on_one_scale(curve, parts).loads)])


def _draw(path: Path, diagram, curves, conditions) -> None:
    """The measured diagram, the runs one by one, and the diagrams of chain and network."""
    from rulerlab.chain.figures import plot_phase
    from rulerlab.chain.model import ChainModel
    from rulerlab.chain.phase import PhaseGrid, phase_diagram
    from rulerlab.compare import networks
    from rulerlab.compare.figures import plot_trend
    from rulerlab.network.atlas import reference_curves
    from rulerlab.plots import svg_of

    blocks = diagram.loads.shape[-1]
    chain = phase_diagram(PhaseGrid(ChainModel(blocks=blocks), tier="mean")).diagram
    network = networks.diagram_of(reference_curves(), "dropout")

    def panels(figure) -> None:
        (measured, trend), theory = figure.subplots(2, 2)
        shown = {measured: ("measured", diagram), theory[1]: ("trained on digits", network),
                 theory[0]: (f"simulated chain of {blocks} blocks", chain)}
        for ax, (title, one) in shown.items():
            plot_phase(one, ax)
            ax.set_title(title, fontsize=10)
        plot_trend(curves, conditions, trend)

    path.write_text(svg_of(panels, width=12.5, height=9), encoding="utf-8")


def _say(diagram, trends: dict, folder: Path, as_json: bool) -> None:
    from dataclasses import asdict

    import numpy as np

    from rulerlab.plots import quoted
    from rulerlab.store import json_text

    line = {"zero_line": diagram.zero_line(), "zero_line_sigma": diagram.zero_line_sigma()}
    if as_json:
        click.echo(json_text({
            "row": diagram.row, "row_values": diagram.row_values, "column": diagram.column,
            "column_values": diagram.column_values, "c": diagram.c, "c_sigma": diagram.c_sigma,
            "trend": {name: asdict(found) for name, found in trends.items()},
            "folder": str(folder),
        } | line))  # fmt: skip
        return
    click.echo(f"c~, {diagram.row} down, {diagram.column} across")
    click.echo(" " * 10 + "".join(f"{value:>18.3g}" for value in diagram.column_values))
    for row, value in enumerate(diagram.row_values):
        cells = (quoted(c, sigma) if np.isfinite(c) else "-"
                 for c, sigma in zip(diagram.c[row], diagram.c_sigma[row], strict=True))
        click.echo(f"{value:10.3g}" + "".join(f"{cell:>18}" for cell in cells))
    for row, at, sigma in zip(diagram.row_values, *line.values(), strict=True):
        if np.isfinite(at):
            click.echo(f"{diagram.row.split(' (')[0]} {row:g}: even at {diagram.column} = "
                       f"{quoted(at, sigma)}")
    for name, words in (("c_normalised", "c~ (up: away from the hand)"),
                        ("v_normalised", "unevenness v~")):
        found = trends[name]
        sure = "a trend" if found.p < 0.05 else "no trend that can be told from chance"
        click.echo(f"{words} per {diagram.column}: {quoted(found.slope, found.sigma)}, "
                   f"p = {found.p:.2g}: {sure}")
    click.echo(f"{folder}/phase.csv {folder}/phase.svg")
