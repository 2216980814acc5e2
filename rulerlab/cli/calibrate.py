"""`rulerlab calibrate`: a camera from pictures of a board, and whether it still holds."""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

import rulerlab.cli
from rulerlab.errors import QualityError, UsageError

if TYPE_CHECKING:
    from rulerlab.calibrate import Board, Calibrated

BOARD_OPTIONS = [
    click.option("--board", "kind", type=click.Choice(["chessboard", "charuco"]),
                 help="Kind of the board."),
    click.option("--corners", metavar="9x6", help="Inner corners of a chessboard."),
    click.option("--squares", metavar="9x6", help="Squares of a ChArUco board."),
    click.option("--square-mm", type=float, help="Side of a square, measured on the print."),
    click.option("--marker-mm", type=float, help="Side of a marker of a ChArUco board."),
    click.option("--dictionary", default="DICT_4X4_50", show_default=True,
                 help="Marker dictionary of a ChArUco board."),
    click.option("--inverted", is_flag=True, help="Light and dark are exchanged."),
    click.option("--legacy", is_flag=True,
                 help="ChArUco pattern of OpenCV before 4.6 (boards of calib.io)."),
]


def board_options(function):
    """The options that describe a board."""
    for option in reversed(BOARD_OPTIONS):
        function = option(function)
    return function


class _Parts(click.Group):
    """Subcommands of this file, and of the modules `_calibrate_NAME` beside it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = {module.name for module in pkgutil.iter_modules(rulerlab.cli.__path__)}
        others = {name.removeprefix("_calibrate_") for name in found
                  if name.startswith("_calibrate_")}
        return sorted({*super().list_commands(ctx), *others})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None or cmd_name not in self.list_commands(ctx):
            return own
        return importlib.import_module(f"rulerlab.cli._calibrate_{cmd_name}").command


@click.command(cls=_Parts)
def command() -> None:
    """Calibrate the camera, and check that a calibration still holds."""


@command.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@board_options
@click.option("--target", type=click.Path(path_type=Path),
              help="target.toml of a printed board (written by `rulerlab print`).")
@click.option("--model", default="auto", show_default=True,
              type=click.Choice(["auto", "standard", "rational", "fisheye"]),
              help="Lens model; auto takes a richer one when the residuals ask for it.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("camera.toml"),
              show_default=True, help="Where the camera is written.")
@click.option("--plot", type=click.Path(path_type=Path),
              help="Picture of coverage and residuals [default: beside the camera, .png].")
@click.option("--force", is_flag=True, help="Replace an existing camera file.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def camera(files, target, model, output, plot, force, as_json, **board) -> None:
    """Find the camera from pictures or a video of a flat board.

    \b
    rulerlab calibrate camera board.mp4 --target target.toml
    rulerlab calibrate camera left*.jpg --board chessboard --corners 9x6 --square-mm 25
    """
    from rulerlab.calibrate import calibrate_camera, read_views
    from rulerlab.calibrate.figure import draw_calibration
    from rulerlab.calibrate.judge import advice
    from rulerlab.calibrate.result import as_json_object, write_calibration

    if output.exists() and not force:
        raise UsageError(f"{output} exists; --force replaces it, -o writes elsewhere")
    plan = board_from(target, **board)
    if plan is None:
        raise UsageError("which board? give --board chessboard or charuco, or --target")
    with click.progressbar(
        length=len(files), label="pictures", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        views = read_views(files, plan, progress=lambda done, total: bar.update(1))
    done = calibrate_camera(views, model=model, board=plan.description, date=_today())
    write_calibration(output, done, plan, [str(file.name) for file in files])
    plot = plot or output.with_suffix(".png")
    draw_calibration(done, plot)
    for name, reason in done.dropped.items():
        click.echo(f"left out {name}: {reason}", err=True)
    for line in advice(done.fit):
        click.echo(f"better: {line}", err=True)
    if as_json:
        click.echo(json.dumps(as_json_object(done, output, plot), indent=1))
    else:
        click.echo(_report(done, output, plot))


@command.command()
@click.argument("clip", type=click.Path(path_type=Path))
@click.option("--camera", "camera_file", required=True, type=click.Path(path_type=Path),
              help="camera.toml to be checked.")
@board_options
@click.option("--target", type=click.Path(path_type=Path),
              help="target.toml of a printed board that the clip shows.")
@click.option("--rig", "rig_path", type=click.Path(path_type=Path),
              help="rig.toml whose crosses or tags the clip shows; default: VIDEO.rig.toml or "
                   "rig.toml beside the clip. 'none': no reference marks.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def check(clip, camera_file, target, rig_path, as_json, **board) -> int | None:
    """Measure straight lines and known lengths in a clip: does the calibration still hold?

    Lengths are known between the crosses or tags of rig.toml, and on a board. Exit code 4 when
    the calibration does not hold, or when the clip can't tell.
    """
    from functools import partial

    from rulerlab.calibrate.check import check_camera
    from rulerlab.calibrate.result import check_as_json_object
    from rulerlab.camera import read_camera
    from rulerlab.rig import Rig, read_rig, rig_beside
    from rulerlab.track.places import find_references

    rig_path = rig_path or rig_beside(clip)
    rig = Rig() if rig_path is None or str(rig_path) == "none" else read_rig(rig_path)
    found = check_camera(
        clip, read_camera(camera_file), board_from(target, **board),
        partial(find_references, rig=rig),
    )
    if as_json:
        click.echo(json.dumps(check_as_json_object(found), indent=1))
    else:
        word = {"holds": "The calibration holds", "fails": "The calibration does not hold",
                "open": "The clip can't tell whether the calibration holds"}[found.verdict]
        click.echo("\n".join([f"{word}:", *(f"  {reason}" for reason in found.reasons)]))
    return None if found.verdict == "holds" else QualityError.exit_code


def board_from(target, kind, corners, squares, **values) -> Board | None:
    """The board that the options describe; None when they describe none. Raises UsageError."""
    from rulerlab.calibrate import Board
    from rulerlab.calibrate.result import read_board

    if target is not None:
        return read_board(target)
    if kind is None:
        if corners or squares:
            raise UsageError("--corners goes with --board chessboard, --squares with charuco")
        return None
    option, size = ("--corners", corners) if kind == "chessboard" else ("--squares", squares)
    if size is None:
        raise UsageError(f"--board {kind} needs {option}, for instance {option} 9x6")
    if values["square_mm"] is None:
        raise UsageError("--square-mm: measure a square of the print, for instance 25")
    across, _, down = size.lower().partition("x")
    if not (across.isdigit() and down.isdigit()):
        raise UsageError(f"{option} {size!r} is not of the form 9x6")
    return Board(kind, (int(across), int(down)), **values)


def _today() -> str:
    from datetime import date

    return date.today().isoformat()


def _report(done: Calibrated, output: Path, plot: Path) -> str:
    import numpy as np

    from rulerlab.calibrate.lens import names

    fit, sigma = done.fit, np.sqrt(np.diag(done.spread.covariance))
    lines = [
        f"{fit.model} lens, {len(fit.views)} views used, {len(done.dropped)} left out",
        f"reprojection error {fit.error_px():.3f} px (RMS)",
    ]
    for name, value, spread in zip(names(fit.model), fit.parameters, sigma, strict=True):
        lines.append(f"  {name:2} = {value:11.5g} ± {spread:.2g}")
    if done.spread.bend_mm:
        lines.append(
            f"the board is not flat: {done.spread.bend_mm:.2f} mm RMS; the uncertainty holds it"
        )
    return "\n".join([*lines, f"wrote {output} and {plot}"])
