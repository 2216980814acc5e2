"""`rulerlab demo`: a filmed rig for a user without one."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Film a synthetic rig with known truth, to try everything without a rig.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=Path("demo.mp4"),
              show_default=True, help="The clip; its rig, camera and truth are put beside it.")
@click.option("--rig", "kind", type=click.Choice(["ruler", "blocks"]), default="ruler",
              show_default=True)
@click.option("--marks", type=click.Choice(["dots", "tags", "none"]), default="dots",
              show_default=True, help="Tags are for blocks, none (bare sticks) for rulers.")
@click.option("--colours", default="red", show_default=True, metavar="A[,B]",
              help="One colour of dots, or two that alternate.")
@click.option("--pull", type=click.Choice(["slow", "jerky"]), default="slow", show_default=True)
@click.option("--seconds", type=click.FloatRange(0.2, 600), default=5.0, show_default=True)
@click.option("--shake", "shake_mm", type=click.FloatRange(0, 10), default=0.0, show_default=True,
              metavar="MM", help="Rms motion of a shaken board.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--force", is_flag=True, help="Replace an existing clip.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(output, kind, marks, colours, pull, seconds, shake_mm, seed, force, as_json) -> None:
    """Film a synthetic rig: a clip, its rig.toml, its camera.toml and the truth as .truth.npz."""
    import sys

    from rulerlab.errors import UsageError
    from rulerlab.synthetic import Scene, film
    from rulerlab.synthetic.motion import COLOURS

    names = tuple(colours.split(","))
    unknown = [name for name in names if name not in COLOURS]
    if unknown or len(names) > 2:
        raise UsageError(f"--colours takes one or two of {', '.join(COLOURS)}, got {colours!r}")
    if (kind, marks) in (("ruler", "tags"), ("blocks", "none")):
        raise UsageError(f"a demo of {kind} with marks {marks!r} is not offered; see --help")
    if output.suffix != ".mp4":
        raise UsageError(f"-o must name an .mp4 file, got {output}")
    if output.exists() and not force:
        raise UsageError(f"{output} exists already; give --force to replace it")
    output.parent.mkdir(parents=True, exist_ok=True)
    scene = Scene(
        kind=kind, marks=marks, colours=names, pull=pull, seconds=seconds, shake_mm=shake_mm,
        seed=seed, references="tags" if marks == "tags" else "crosses",
    )

    def progress(done: int, of: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\rfilming {done}/{of}", nl=done == of, err=True)

    film(scene, output, progress=progress)
    if as_json:
        import json

        click.echo(json.dumps({"schema_version": 1, "video": str(output), "kind": kind,
                               "marks": marks, "points": scene.points,
                               "truth": str(output.with_suffix(".truth.npz"))}))
    else:
        click.echo(f"{output}\ntrack it:  rulerlab track {output}")
