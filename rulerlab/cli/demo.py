"""`rulerlab demo`: film a synthetic rig whose truth is known."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from rulerlab.errors import UsageError


@click.command(short_help="Film a synthetic rig with known truth, to try rulerlab without a rig.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("demo"),
              show_default=True, help="Folder for the clip and its truth.")
@click.option("--rig", type=click.Choice(["ruler", "blocks"]), default="ruler", show_default=True)
@click.option("--marks", type=click.Choice(["dots", "tags", "none"]), default="dots",
              show_default=True, help="What the rig carries; none: bare sticks.")
@click.option("--wood", type=click.Choice(["pale", "dark", "yellow", "grey"]), default="pale",
              show_default=True, help="What the sticks of the ruler look like.")
@click.option("--opening", type=click.Choice(["pulled_end", "even"]), default="pulled_end",
              show_default=True, help="Slow pull (load near the hand), or evenly shared.")
@click.option("--shaking", "shaking_mm", type=click.FloatRange(0, 20), default=0.0,
              show_default=True, help="Shaking of the board, mm rms.")
@click.option("--handheld", is_flag=True, help="The camera is held by hand.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.2, 600), default=4.0, show_default=True)
@click.option("--fps", type=click.FloatRange(5, 240), default=30.0, show_default=True)
@click.option("--size", type=click.Choice(["720p", "1080p"]), default="720p", show_default=True)
@click.option("--kbps", type=click.IntRange(50, 100_000), default=2500, show_default=True,
              help="Bit rate of the film.")
@click.option("--samples", is_flag=True,
              help="Make the two sample recordings of data/ instead, with their list.")
@click.option("--board", is_flag=True,
              help="Film the calibration board instead: what `rulerlab calibrate camera` takes.")
@click.option("--force", is_flag=True, help="Replace clips that exist.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(output, samples, board, force, as_json, size, handheld, kbps, **scene) -> int:
    """Film a synthetic ruler or block chain and write the clip, rig.toml, camera.toml and truth.

    --board films the board of calibration/charuco_a4.pdf before the camera of the same clips.
    """
    from rulerlab.synthetic import Scene
    from rulerlab.synthetic.samples import SAMPLES, write_samples

    wanted = list(SAMPLES) if samples else [f"{scene['rig']}_{scene['marks']}"]
    if board:
        wanted = ["board"]
    taken = [output / f"{name}.mp4" for name in wanted if (output / f"{name}.mp4").exists()]
    if taken and not force:
        raise UsageError(f"{taken[0]} exists; choose another folder with -o or add --force")
    pixels = {"720p": (1280, 720), "1080p": (1920, 1080)}[size]
    if board:
        return _film_board(output / "board.mp4", pixels, scene["seed"], as_json)
    if samples:
        films = write_samples(output, progress=_progress)
    else:
        from rulerlab.synthetic import film

        chosen = Scene(size_px=pixels, handheld=float(handheld), bitrate_kbps=kbps, **scene)
        films = [film(chosen, output / f"{wanted[0]}.mp4", progress=_progress)]
    if as_json:
        clips = [
            {"video": str(f.video), "rig": str(f.rig), "camera": str(f.camera),
             "truth": str(f.truth), "frames": f.frames} for f in films
        ]  # fmt: skip
        click.echo(json.dumps({"schema_version": 1, "clips": clips}))
        return 0
    for made in films:
        click.echo(f"{made.video}  {made.frames} frames, truth in {made.truth.name}")
        click.echo(f"track it:  rulerlab track {made.video}")
    return 0


def _film_board(path: Path, size_px: tuple[int, int], seed: int, as_json: bool) -> int:
    from rulerlab.synthetic import Scene
    from rulerlab.synthetic.board import film_board
    from rulerlab.targets import DEFAULT_BOARD

    camera = film_board(Scene(size_px=size_px).camera, DEFAULT_BOARD, path, seed=seed,
                        progress=_progress)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "video": str(path), "camera": str(camera)}))
    else:
        click.echo(f"{path}  {DEFAULT_BOARD.description}, the true camera in {camera.name}\n"
                   f"calibrate it:  rulerlab calibrate camera {path} "
                   "--target calibration/charuco_a4.toml")
    return 0


def _progress(done: int, count: int) -> None:
    if sys.stderr.isatty():
        end = "\n" if done == count else ""
        click.echo(f"\rfilming {done}/{count}{end}", err=True, nl=False)
