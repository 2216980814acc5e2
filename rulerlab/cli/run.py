"""`rulerlab run`: the whole path, from the clip to the report, each stage resumable."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from rulerlab.errors import RulerlabError


@click.command(short_help="The whole path: track, fit, compare and report.")
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rig", "rig_path", type=click.Path(path_type=Path),
              help="What is known of the rig; default: VIDEO.rig.toml or rig.toml beside it.")
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="Run folder; default: VIDEO.rulerlab beside the video. For several videos: the "
                   "folder that holds one run folder each.")
@click.option("--force", is_flag=True, help="Do every stage again, even where it is up to date.")
@click.option("--no-video", is_flag=True, help="Leave annotated.mp4 out (half the time).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
def command(videos, rig_path, output, force, no_video, as_json, quiet) -> int:
    """Track VIDEOS, fit friction and noise, compare with chains and networks, and report.

    A stage whose result is newer than what it was made from is kept: the same command goes on
    where an interrupted one stopped. A fit or a comparison that can't be had is told and does not
    keep the report from being written.
    """
    from rulerlab.cli.track import run_folders
    from rulerlab.store import json_text
    from rulerlab.video import files_in

    files = files_in(videos)
    folders = [output] if output and len(files) == 1 else run_folders(files, output)
    runs = []
    for video, folder in zip(files, folders, strict=True):
        try:
            runs.append(_run(video, folder, rig_path, force, no_video, quiet))
        except RulerlabError as error:
            if len(files) == 1:
                raise
            runs.append({"video": str(video), "failed": {"track": str(error)}, "lines": []})
        if not as_json:
            _say(runs[-1])
    if as_json:
        click.echo(json_text(runs[0] if len(runs) == 1 else {"runs": runs}))
    if any(run["failed"] for run in runs):
        return 4 if len(runs) == 1 else 6
    return 0


def _run(video: Path, folder: Path, rig_path: Path | None, force: bool, no_video: bool,
         quiet: bool) -> dict[str, Any]:
    """All stages of one video; what was made, what was kept and what failed."""
    from rulerlab.cli.compare import compare_run
    from rulerlab.cli.fit import fit_run
    from rulerlab.cli.track import track_one
    from rulerlab.report import write_report
    from rulerlab.rig import rig_beside
    from rulerlab.store import read_run_json

    rig = rig_path or rig_beside(video)
    answer: dict[str, Any] = {"video": str(video), "run": str(folder), "stages": {}, "failed": {},
                              "lines": []}
    track_options = {"rig_path": rig_path, "camera": None, "force": True, "at_s": None,
                     "joints": None, "no_video": no_video, "quiet": quiet}
    stages: dict[str, tuple[str, list[Path], Callable[[], Any]]] = {
        "track": ("run.json", [video, *([rig] if rig else [])],
                  lambda: track_one(video, folder, **track_options)),
        "fit": ("fit.json", [folder / "run.json"], lambda: fit_run(folder)),
        "compare": ("comparison.json", [folder / "run.json"], lambda: compare_run(folder)),
        "report": ("report.html", [folder / "run.json", folder / "fit.json",
                                   folder / "comparison.json"], lambda: write_report(folder)),
    }
    for name, (result, sources, stage) in stages.items():
        if not force and _up_to_date(folder / result, sources):
            answer["stages"][name] = "kept"
            continue
        if name == "fit" and read_run_json(folder).get("frames") == 1:
            answer["stages"][name] = "left out: one picture shows no motion"
            continue
        if not quiet:
            click.echo(f"{name} ...", err=True)
        began = time.perf_counter()
        try:
            stage()
            answer["stages"][name] = f"{time.perf_counter() - began:.1f} s"
        except RulerlabError as error:
            if name == "track":
                raise
            answer["stages"][name], answer["failed"][name] = "failed", str(error)
    answer["lines"] = _findings(folder)
    answer["report"] = str(folder / "report.html")
    return answer


def _up_to_date(result: Path, sources: list[Path]) -> bool:
    """Whether a result is there and newer than everything that it was made from."""
    if not result.exists():
        return False
    made = result.stat().st_mtime
    return all(made >= source.stat().st_mtime for source in sources if source.exists())


def _findings(folder: Path) -> list[str]:
    """What the run says, in the words of its fit and its comparison."""
    import json

    found = {name: json.loads((folder / name).read_text(encoding="utf-8"))
             for name in ("fit.json", "comparison.json") if (folder / name).exists()}
    lines = found.get("comparison.json", {}).get("statements", [])
    fit = found.get("fit.json")
    if fit:
        verdict = fit["law"] if fit["valid"] else "no law holds"
        lines = [*lines, f"fit: {verdict}" + (f"; {fit['message']}" if fit["message"] else "")]
    return lines


def _say(run: dict[str, Any]) -> None:
    click.echo(run["video"])
    for name, took in run.get("stages", {}).items():
        click.echo(f"  {name:8} {run['failed'].get(name) or took}")
    if "track" in run["failed"]:
        click.echo(f"  track    FAILED: {run['failed']['track']}")
    for line in run["lines"]:
        click.echo(f"  {line}")
    if "report" in run:
        click.echo(f"  {run['report']}")
