"""`rulerlab compare`: which chain and which network share their load as this run does."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import click


@click.command(short_help="Which chain, which network is this ruler?")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--networks", type=click.Path(path_type=Path),
              help="phase.csv of `rulerlab phase network` to compare with, instead of the digits "
                   "that come along.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(runs: tuple[Path, ...], networks: Path | None, as_json: bool) -> int:
    """Lay the load curves of RUNS on one scale beside chains and trained networks.

    RUNS are run folders (of track, simulate or diagnose) or load_curve.csv files. Writes
    comparison.json and plots/comparison.svg into each folder. With several runs, their distances
    from one another are told too.
    """
    from rulerlab.store import json_text

    found = [compare_run(run, networks) for run in runs]
    between = _distances(runs)
    if as_json:
        click.echo(json_text(found[0] if len(found) == 1 else
                             {"runs": found, "distances": between}))
        return 0
    for answer in found:
        click.echo("\n".join([answer["run"], *(f"  {line}" for line in answer["statements"])]))
    for pair in between:
        click.echo(f"{pair['runs'][0]} and {pair['runs'][1]}: shares differ by "
                   f"{pair['rms']:.3f} ± {pair['rms_sigma']:.3f} (rms), chi2 {pair['chi2']:.1f}"
                   f" / {pair['degrees_of_freedom']}, p = {pair['p']:.2g}")
    return 0


def compare_run(run: Path, networks: Path | None = None) -> dict[str, Any]:
    """Compare one run and, if it is a folder, leave the answer and its picture there."""
    from rulerlab.compare import compare
    from rulerlab.compare.runs import matched_curve
    from rulerlab.compare.words import as_dict
    from rulerlab.network.atlas import read_phase_csv, reference_curves
    from rulerlab.store import read_load_curve, shape_numbers

    cells = list(read_phase_csv(networks).cells()) if networks else reference_curves()
    curve = read_load_curve(run)
    matched, lengths = matched_curve(run)
    found = compare(matched, cells, lengths=lengths)
    answer = {"run": str(run)} | shape_numbers(curve) | as_dict(found, curve)
    if run.is_dir():
        _keep(run, found, answer)
    return answer


def _keep(run: Path, found, answer: dict[str, Any]) -> None:
    from rulerlab.compare.figures import write_comparison
    from rulerlab.errors import InputError
    from rulerlab.store import json_text

    try:
        (run / "plots").mkdir(exist_ok=True)
        write_comparison(found, run / "plots" / "comparison.svg")
        (run / "comparison.json").write_text(json_text(answer) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{run} can't be written ({error.strerror})") from error


def _distances(runs: tuple[Path, ...]) -> list[dict[str, Any]]:
    from dataclasses import asdict

    from rulerlab.compare import distance
    from rulerlab.compare.runs import matched_curve

    curves = {run: matched_curve(run)[0] for run in runs}
    return [{"runs": [str(a), str(b)]} | asdict(distance(curves[a], curves[b]))
            for a, b in combinations(curves, 2)]
