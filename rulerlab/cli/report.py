"""`rulerlab report`: run folders to pages that are read, printed and handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rulerlab.errors import InputError, UsageError


@click.command(short_help="One page per run, to hand in; for many runs an index, odd ones first.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path, file_okay=False),
              help="Folder for the pages; left out: each in its run folder. A folder of runs "
                   "needs one: index.html and summary.csv go there.")
@click.option("--student", is_flag=True,
              help="Leave answers and conclusions blank, with lines to write on.")
@click.option("--pdf", is_flag=True, help="A PDF beside each page.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    runs: tuple[Path, ...], output: Path | None, student: bool, pdf: bool, as_json: bool
) -> int:
    """Write a page about each of RUNS: all numbers, figures and warnings, in one file.

    RUNS are run folders, or folders that hold many (groups/*/clip.rulerlab): these become a batch
    with an index of all runs, what stands out and videos handed in twice first.
    """
    batch = [path for path in runs if _is_batch(path)]
    if not batch:
        return _each(runs, output, student, pdf, as_json)
    if len(runs) > 1:
        raise UsageError("give one folder of runs, or run folders, not both")
    if output is None:
        raise UsageError(f"{batch[0]} holds several runs: give -o a folder for their pages")
    return _batch(batch[0], output, student, pdf, as_json)


def _is_batch(path: Path) -> bool:
    """Whether a folder is no run itself but holds folders."""
    if not path.is_dir():
        raise InputError(f"{path} is no folder; make a run with `rulerlab track VIDEO`")
    if (path / "run.json").exists() or path.suffix == ".rulerlab":
        return False
    return any(inside.is_dir() for inside in path.iterdir())


def _each(runs, output: Path | None, student: bool, pdf: bool, as_json: bool) -> int:
    """A page for each run folder; the first that can't be read ends it."""
    written = []
    for run in runs:
        path = None if output is None else output / f"{run.resolve().name}.html"
        written += _write(run, path, student, pdf)
    _say([str(path) for path in written], {}, as_json)
    return 0


def _write(run: Path, path: Path | None, student: bool, pdf: bool) -> list[Path]:
    from rulerlab.report import write_pdf, write_report

    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
        written = [write_report(run, path, student=student)]
        if pdf:
            written.append(write_pdf(run, written[0].with_suffix(".pdf"), student=student))
    except OSError as error:
        raise InputError(f"{error.filename or run} can't be written ({error.strerror}); give -o "
                         "a folder that you may write to") from error
    return written


def _batch(folder: Path, output: Path, student: bool, pdf: bool, as_json: bool) -> int:
    """All runs below a folder: their pages, the index, the table."""
    from rulerlab.report.batch import read_batch, write_summary
    from rulerlab.report.index import index_page

    entries = read_batch(folder)
    if not any(entry.run for entry in entries):
        raise InputError(f"{folder} holds no run folder that can be read; make some with "
                         "`rulerlab track VIDEO...`")
    pages: dict[str, str] = {}
    for entry in entries:
        if entry.run is None:
            click.echo(f"{entry.name}: {entry.fault}", err=True)
            continue
        name = entry.name.removesuffix(".rulerlab").replace("/", "_") + ".html"
        while name in pages.values():
            name = "_" + name
        _write(entry.folder, output / name, student, pdf)
        pages[entry.name] = name
    index = output / "index.html"
    try:
        index.write_text(index_page(folder.resolve().name, entries, pages), encoding="utf-8")
        write_summary(entries, output / "summary.csv")
    except OSError as error:
        raise InputError(f"{output} can't be written ({error.strerror})") from error
    broken = {entry.name: entry.fault for entry in entries if entry.run is None}
    found: dict[str, Any] = {
        "runs": len(entries), "broken": broken,
        "twins": {entry.name: entry.twins for entry in entries if entry.twins},
        "odd": {entry.name: entry.odd for entry in entries if entry.odd},
    }
    _say([str(index), str(output / "summary.csv")], found, as_json)
    return 6 if broken else 0


def _say(written: list[str], found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        from rulerlab.store import json_text

        click.echo(json_text({"written": written} | found))
        return
    for heading, what in (("handed in twice", "twins"), ("odd", "odd")):
        for name, why in found.get(what, {}).items():
            click.echo(f"{heading}: {name}: {'; '.join(why)}", err=True)
    click.echo("\n".join(written))
