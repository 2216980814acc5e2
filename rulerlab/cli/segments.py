"""`rulerlab segments`: from tracks, mended or not, to extensions and load curve."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Extensions and load curve anew, from tracks mended by hand.")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--at", "at_s", type=float, metavar="SECONDS",
              help="Read the load curve at this time instead of the end of the pull.")
@click.option("--no-video", is_flag=True, help="Leave annotated.mp4 out.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(runs, at_s, no_video, as_json) -> None:
    """Make extensions, load curve, plots and report of RUNS anew from their tracks.

    Positions changed in tracks.csv (pixels or millimetres) win over what was tracked. What `fit`
    and `compare` had found in the old tracks is removed: `rulerlab run` finds it again.
    """
    from rulerlab.cli._run_folder import rewrite_run
    from rulerlab.cli.track import say

    for run in runs:
        say(rewrite_run(run, at_s=at_s, no_video=no_video), as_json)
