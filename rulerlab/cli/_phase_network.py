"""`rulerlab phase network`: train networks over a grid of noise and nonlinearity."""

from __future__ import annotations

import sys
from pathlib import Path

import click


def _numbers(_context, _option, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        return tuple(float(value) for value in text.split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write numbers with commas between") from error


def _part(_context, _option, text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    number, _, count = text.partition("/")
    if not (number.isdigit() and count.isdigit() and 1 <= int(number) <= int(count)):
        raise click.BadParameter(f"{text!r}: write K/N, with K from 1 to N, as 3/16")
    return int(number), int(count)


@click.command("network", short_help="Train networks: noise against nonlinearity.")
@click.option("--knob", required=True,
              type=click.Choice(["data-noise", "learning-rate", "dropout", "batch"]),
              help="Which noise is varied.")
@click.option("--values", callback=_numbers, help="Of the knob; left out: those of the paper.")
@click.option("--alphas", callback=_numbers,
              help="Slopes below 0: 0 ReLU, 1 linear; left out: those of the paper.")
@click.option("--seeds", default=10, show_default=True, type=click.IntRange(min=1),
              help="Networks in each cell, with seeds 1, 2, ..")
@click.option("--data", default="digits", show_default=True,
              help="digits, gaussian, or a folder with the four files of the MNIST kind.")
@click.option("--samples", type=click.IntRange(min=2),
              help="To train on; left out: 2560, of the digits 1280.")
@click.option("--epochs", type=click.IntRange(min=1),
              help="Left out: 100, for the learning rate 200.")
@click.option("--width", default=100, show_default=True, help="Units of a hidden layer.")
@click.option("--depth", default=8, show_default=True, help="Linear layers, the last included.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="Of Adam, if not varied.")
@click.option("--batch", type=click.IntRange(min=2), help="If not varied; left out: all samples.")
@click.option("--dropout", default=0.0, show_default=True, help="If not varied.")
@click.option("--threads", type=click.IntRange(min=1),
              help="Networks trained side by side; left out: one per processor.")
@click.option("--part", callback=_part, metavar="K/N",
              help="Train the K-th of N parts only: for a cluster. All parts share the folder; the "
                   "same command without --part gathers them.")
@click.option("-o", "--out", default=Path("phase-network"), show_default=True,
              type=click.Path(file_okay=False, path_type=Path),
              help="Folder for phase.csv, phase.svg, and published.csv to compare with.")
@click.option("--force", is_flag=True, help="Replace a diagram of another recipe or other data.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def network(knob: str, values, alphas, seeds: int, data: str, samples: int | None,
            threads: int | None, part: tuple[int, int] | None, out: Path, force: bool,
            as_json: bool, **recipe) -> None:
    """Train networks over a grid and map how they share the load (Shi et al. 2025).

    A row of phase.csv is written as soon as its network is trained; the same command goes on
    where an interrupted one stopped, and a larger grid keeps what is there.
    """
    from rulerlab.network import need_torch

    need_torch()
    from rulerlab.network.atlas import agreement, matched, published_diagram, write_comparison
    from rulerlab.network.data import read_data
    from rulerlab.network.figures import plot_phase
    from rulerlab.network.phase import ALPHAS, COMPARISON, EPOCHS, FIGURE, VALUES, PhaseGrid
    from rulerlab.network.recipe import Recipe
    from rulerlab.plots import svg_of

    recipe["epochs"] = recipe["epochs"] or EPOCHS.get(knob, 100)
    grid = PhaseGrid(knob, values or VALUES[knob], ALPHAS if alphas is None else alphas, seeds,
                     Recipe(seed=1, **recipe))  # fmt: skip
    if part and force:
        raise click.UsageError("--force would remove what other parts have done: empty the folder")
    _prepare(out, force)
    table = _watched(grid, read_data(data, samples=samples), out, part, threads)
    cells = list(table.cells())
    if part:
        _say(cells, agreement(matched(cells, published_diagram())), out, as_json)
        return
    if cells:
        svg = svg_of(lambda figure: plot_phase(cells, figure.subplots()), width=9.5, height=5.4)
        (out / FIGURE).write_text(svg, encoding="utf-8")
    pairs = matched(cells, published_diagram())
    if pairs:
        write_comparison(out / COMPARISON, pairs)
    _say(cells, agreement(pairs), out, as_json)


def _prepare(out: Path, force: bool) -> None:
    from rulerlab.errors import InputError
    from rulerlab.network.phase import COMPARISON, FIGURE, PARTS, QUESTION, TABLE

    try:
        out.mkdir(parents=True, exist_ok=True)
        if force:
            for name in (TABLE, QUESTION, FIGURE, COMPARISON):
                (out / name).unlink(missing_ok=True)
            for table in out.glob(PARTS):
                table.unlink()
    except OSError as error:
        raise InputError(f"{out} can't be made: {error.strerror}") from error


def _watched(grid, data, out: Path, part: tuple[int, int] | None, threads: int | None):
    """Train, with a progress bar and the time left on a terminal only."""
    from rulerlab.network.phase import network_phase

    if not sys.stderr.isatty():
        return network_phase(grid, data, out, part=part, threads=threads)
    with click.progressbar(length=1000, label="networks", file=sys.stderr) as bar:
        return network_phase(grid, data, out, part=part, threads=threads,
                             progress=lambda share: bar.update(round(1000 * share) - bar.pos))


def _say(cells: list, agrees, out: Path, as_json: bool) -> None:
    """c~ of every cell, and how it agrees with the published diagram."""
    if as_json:
        from rulerlab.store import json_text

        click.echo(json_text({
            "cells": [{"knob": cell.knob, "value": cell.value, "alpha": cell.alpha,
                       "accuracy": cell.accuracy, "c_normalised": cell.c_normalised,
                       "v_normalised": cell.v_normalised, "seeds": cell.seeds,
                       "regime": cell.curve.regime, "remaining": cell.curve.remaining}
                      for cell in cells],
            "published": {"cells": agrees.cells, "r": agrees.r,
                          "mean_difference": agrees.difference},
            "folder": str(out),
        }))  # fmt: skip
        return
    values = sorted({cell.value for cell in cells})
    known = {(cell.value, cell.alpha): cell for cell in cells}
    click.echo("c~ / accuracy in %, alpha down, " + "".join({cell.knob for cell in cells})
               + " across")
    click.echo(" " * 5 + "".join(f"{value:>13g}" for value in values))
    for alpha in sorted({cell.alpha for cell in cells}):
        row = [known.get((value, alpha)) for value in values]
        click.echo(f"{alpha:5g}" + "".join(
            f"{cell.c_normalised:+7.2f} /{cell.accuracy:5.1f}" if cell else f"{'-':>13}"
            for cell in row))  # fmt: skip
    if agrees.cells > 1:
        click.echo(f"published diagram (MNIST), {agrees.cells} cells: r of c~ {agrees.r:.2f}, "
                   f"mean difference {agrees.difference:.3f}")
    click.echo(f"{out}/phase.csv {out}/phase.svg")
