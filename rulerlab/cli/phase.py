"""`rulerlab phase`: maps of the regimes, of chains, networks and rulers."""

from __future__ import annotations

import click

from rulerlab.cli._phase_folder import result_folder
from rulerlab.cli._phase_measured import measured
from rulerlab.cli._phase_network import network


@click.group()
def command() -> None:
    """Map how the load is shared over a grid of two parameters."""


command.add_command(network)


def _axis(_context, _option, text: str) -> tuple[str, tuple[float, ...]]:
    """NAME=a,b,c or NAME=first:last:count."""
    name, _, values = text.partition("=")
    try:
        if values.count(":") == 2:
            first, last, count = values.split(":")
            number = int(count)
            if number < 1:
                raise ValueError
            step = (float(last) - float(first)) / max(1, number - 1)
            return name.replace("-", "_"), tuple(float(first) + i * step for i in range(number))
        return name.replace("-", "_"), tuple(float(v) for v in values.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write NAME=0,0.1,0.2 or NAME=0:0.8:64") from error


@command.command("chain")
@click.option("--rows", default="friction-right=0.12,0.09,0.06,0.03,0.01,0", show_default=True,
              callback=_axis, help="NAME=values of the rows, a list or first:last:count.")
@click.option("--columns", default="noise=0,0.02,0.05,0.1,0.2,0.4,0.8", show_default=True,
              callback=_axis, help="The same for the columns.")
@click.option("--tier", type=click.Choice(["mean", "leap", "brute"]), default="brute",
              show_default=True, help="mean: instant; leap: distributions; brute: every step.")
@click.option("--symmetric", is_flag=True, help="Friction to the left follows that to the right.")
@click.option("--blocks", default=7, show_default=True, help="Number of blocks.")
@click.option("--stiffness", default=1.0, show_default=True, help="Of each spring.")
@click.option("--friction-right", default=0.1, show_default=True, help="If not varied.")
@click.option("--friction-left", default=0.1, show_default=True, help="If not varied.")
@click.option("--noise", default=0.1, show_default=True, help="If not varied.")
@click.option("--mass", default=0.0, show_default=True, help="If not varied; 0: overdamped.")
@click.option("--damping", default=1.0, show_default=True, help="Viscous friction.")
@click.option("--dt", default=0.01, show_default=True, help="Time step.")
@click.option("--steps", default=10000, show_default=True, help="Number of time steps.")
@click.option("--pull", default=1.0, show_default=True, help="Where the pulled end goes.")
@click.option("--speed", default=0.0, help="Pulling speed; left out: at once.")
@click.option("--average", default=0.1, show_default=True,
              help="Share of the run, at its end, over which the loads are averaged.")
@click.option("--repeats", default=20, show_default=True, help="Runs of every cell.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of chance.")
@click.option("-o", "--out", default="phase-chain", show_default=True,
              type=click.Path(file_okay=False), help="Folder for phase.csv and phase.svg.")
@click.option("--force", is_flag=True, help="Replace a finished diagram.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def chain(rows, columns, out: str, force: bool, as_json: bool, **options) -> None:
    """Simulate the phase diagram of the chain: friction against noise.

    An interrupted run goes on where it stopped when the same command is given again.
    """
    from rulerlab.chain import phase
    from rulerlab.chain.model import ChainModel

    parts = {name: options.pop(name) for name in (
        "blocks", "stiffness", "friction_right", "friction_left", "noise", "mass", "damping", "dt")}
    for name, values in (rows, columns):
        if name in parts:
            parts[name] = max(values)
    names = {"row": rows[0], "row_values": rows[1], "column": columns[0],
             "column_values": columns[1]}  # fmt: skip
    grid = phase.PhaseGrid(ChainModel(**parts), **names, **options)
    folder = result_folder(out, "phase.csv", force)
    runs = _watched(grid, folder / "phase.partial.npz")
    phase.write(runs, folder / "phase.csv")
    from rulerlab.chain.figures import write_phase

    write_phase(runs.diagram, folder / "phase.svg")
    _say(runs, folder, as_json)


def _watched(grid, partial):
    """Run the diagram, with a progress bar on a terminal only."""
    import sys

    from rulerlab.chain.phase import phase_diagram

    if not sys.stderr.isatty():
        return phase_diagram(grid, partial=partial)
    with click.progressbar(length=1000, label="cells", file=sys.stderr) as bar:
        return phase_diagram(grid, partial=partial,
                             progress=lambda share: bar.update(round(1000 * share) - bar.pos))


def _say(runs, folder, as_json: bool) -> None:
    """c of every cell, or everything as one object."""
    import json

    import numpy as np

    grid, diagram = runs.grid, runs.diagram
    line = [None if np.isnan(x) else float(x) for x in diagram.zero_line()]
    if as_json:
        click.echo(json.dumps({
            "schema_version": 1, "row": grid.row, "row_values": grid.row_values,
            "column": grid.column, "column_values": grid.column_values, "tier": grid.tier,
            "repeats": grid.repeats, "seed": grid.seed, "c": diagram.c.tolist(),
            "c_sigma": diagram.c_sigma.tolist(), "v": diagram.v.tolist(),
            "extensions": runs.extensions.tolist(), "zero_line": line, "folder": str(folder),
        }))  # fmt: skip
        return
    if len(grid.column_values) <= 12 and len(grid.row_values) <= 24:
        click.echo(f"c, {grid.row} down, {grid.column} across")
        click.echo(" " * 8 + "".join(f"{value:8.3g}" for value in grid.column_values))
        for value, c in zip(grid.row_values, diagram.c, strict=True):
            click.echo(f"{value:8.3g}" + "".join(f"{x:+8.3f}" for x in c))
    click.echo(f"{folder}/phase.csv {folder}/phase.svg")


def _numbers(_context, _option, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write numbers with commas between") from error


@command.command("ruler")
@click.option("--shake", default="0,0.3,0.6,1,1.5,2.5", show_default=True, callback=_numbers,
              help="Standard deviation of the board's position in mm.")
@click.option("--speed", default="40,150,600", show_default=True, callback=_numbers,
              help="Pulling speed in mm/s.")
@click.option("--friction", default="0.3,1", show_default=True, callback=_numbers,
              help="Multiples of the usual friction of hinges and table.")
@click.option("--sections", default=8, show_default=True, help="Full sections of the ruler.")
@click.option("--pull", default=300.0, show_default=True, help="Distance of the pull in mm.")
@click.option("--frequency", default=20.0, show_default=True, help="Of the shaking in Hz.")
@click.option("--repeats", default=2, show_default=True, help="Runs of every cell.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of chance.")
@click.option("-o", "--out", default="phase-ruler", show_default=True,
              type=click.Path(file_okay=False), help="Folder for ruler.csv and ruler.svg.")
@click.option("--force", is_flag=True, help="Replace a finished map.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def ruler(shake, speed, friction, sections: int, pull: float, frequency: float, repeats: int,
          seed: int, out: str, force: bool, as_json: bool) -> None:
    """Map where shaking opens a rigid folding ruler evenly."""
    import json
    import sys

    import numpy as np

    from rulerlab.chain.figures import write_opening_map
    from rulerlab.chain.opening import opening_map
    from rulerlab.chain.ruler import RulerModel

    folder = result_folder(out, "ruler.csv", force)
    knobs = {"shake_mm": shake, "speed_mm_s": speed, "friction": friction, "pull_mm": pull,
             "frequency_hz": frequency, "repeats": repeats, "seed": seed}  # fmt: skip
    model = RulerModel.of_wood(sections)
    if sys.stderr.isatty():
        with click.progressbar(length=1000, label="cells", file=sys.stderr) as bar:
            found = opening_map(model, **knobs, progress=lambda share: bar.update(
                round(1000 * share) - bar.pos))  # fmt: skip
    else:
        found = opening_map(model, **knobs)
    place = np.meshgrid(found.friction, found.speed_mm_s, found.shake_mm, indexing="ij")
    table = np.stack([*place, found.fold, found.fold_spread, found.section], -1).reshape(-1, 6)
    head = "friction,speed_mm_s,shake_mm,fold_cv,fold_cv_spread,section_cv"
    np.savetxt(folder / "ruler.csv", table, delimiter=",", header=head, comments="", fmt="%.6g")
    write_opening_map(found, folder / "ruler.svg")
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "shake_mm": shake, "speed_mm_s": speed,
                               "friction": friction, "fold": found.fold.tolist(),
                               "section": found.section.tolist(), "folder": str(folder)}))
        return
    for row in table:
        even = "  even" if row[3] < 0.5 else ""
        click.echo(f"friction x{row[0]:<4g} {row[1]:6g} mm/s  shaken {row[2]:4g} mm  "
                   f"CV of the folds {row[3]:.2f}{even}")
    click.echo(f"{folder}/ruler.csv {folder}/ruler.svg")


command.add_command(measured)
