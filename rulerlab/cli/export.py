"""`rulerlab export`: a run folder in the files of other programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from rulerlab.errors import InputError, UsageError

ENDINGS = {"tracker": "_tracker", "trk": ".trk", "dlc": "_dlc.csv", "sleap": "_sleap.csv"}


@click.command(short_help="Write a run's tracks for Tracker, DeepLabCut or SLEAP.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--to", "program", required=True, type=click.Choice(list(ENDINGS)),
              help="tracker: one text table per point; trk: a project that Tracker opens; "
                   "dlc, sleap: their csv.")
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="File (tracker: folder) to write; default: named after the run, beside it.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(run: Path, program: str, output: Path | None, force: bool, as_json: bool) -> int:
    """Write the tracks of the run folder RUN as files of another program."""
    from rulerlab import store

    folder = store.read_run(run)
    tracks = folder.tracks
    if tracks is None:
        raise InputError(f"{run} holds no tracks.csv and no tracks.nc")
    if output is None:
        output = run.resolve().with_name(run.resolve().stem + ENDINGS[program])
    if output.exists() and not force:
        raise UsageError(f"{output} exists already; give --force to overwrite it, or another -o")
    try:
        _write(program, output, folder)
    except OSError as error:
        raise InputError(f"{output} can't be written ({error.strerror}); "
                         "give another -o") from error
    click.echo(json.dumps({"schema_version": 1, "written": str(output), "points": tracks.points,
                           "frames": len(tracks.time_s)}) if as_json else str(output))
    return 0


def _write(program: str, output: Path, run) -> None:
    from rulerlab import exchange

    if program == "tracker":
        exchange.write_tracker_text(output, run.tracks, run.motion)
    elif program == "trk":
        inputs = run.info.get("inputs") or [{"path": ""}]
        video = Path(str(inputs[0]["path"]))
        exchange.write_trk(output, run.tracks, scale_px_per_mm=_px_per_mm(run),
                           video=str(video.resolve() if video.is_file() else video))
    elif program == "dlc":
        exchange.write_deeplabcut(output, run.tracks)
    else:
        exchange.write_sleap(output, run.tracks)


def _px_per_mm(run) -> float | None:
    """Mean scale of the clip: length of the chain in pixels over that in millimetres."""
    import numpy as np

    if run.motion is None or run.motion.unit != "mm":
        return None
    if run.motion.joint_mm.shape != run.tracks.position_px.shape:
        return None
    lengths = [np.linalg.norm(np.diff(place, axis=1), axis=-1)
               for place in (run.tracks.position_px, run.motion.joint_mm)]
    both = np.isfinite(lengths[0]) & np.isfinite(lengths[1])
    return float(lengths[0][both].sum() / lengths[1][both].sum()) if both.any() else None
