"""`rulerlab review`: look through a run in the browser, and mend its tracks."""

from __future__ import annotations

from pathlib import Path

import click

from rulerlab.errors import InputError, MissingPartError, UsageError


@click.command(short_help="Look through a run in the browser, and mend its tracks.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(0, 65535), default=0,
              help="Of the page on this machine; left out: any that is free.")
@click.option("--no-browser", is_flag=True, help="Print the address only.")
@click.option("--no-video", is_flag=True, help="Leave annotated.mp4 out when saving.")
def command(run: Path, port: int, no_browser: bool, no_video: bool) -> None:
    """Look through the run folder RUN frame by frame, and mend what was tracked wrong.

    Every correction is logged in corrections.jsonl at once; saving writes everything that follows
    from the tracks anew, as `rulerlab segments` does. The page is for this machine only and ends
    with Ctrl-C.
    """
    try:
        from rulerlab.review.server import Subject, serve
    except ModuleNotFoundError as missing:
        raise MissingPartError(f"{missing.name} is not installed, which the page needs: "
                               'pip install -c constraints.txt ".[review]"') from None
    from rulerlab.cli._run_folder import recording_of, rewrite_run
    from rulerlab.review.mending import LOG, Mending
    from rulerlab.review.pictures import Pictures
    from rulerlab.track.kept import read_tracked
    from rulerlab.video import Recording

    tracks = read_tracked(run).tracks
    recording = recording_of(run)
    if recording is None:
        raise InputError(f"the recording of {run} is neither where it was nor beside the run "
                         "folder: put it there")
    if not isinstance(recording, Recording):
        raise UsageError(f"{run} is one picture: mend it with `rulerlab track PICTURE --pick`")
    mending = Mending(tracks, run / LOG)
    if mending.steps:
        click.echo(f"{mending.steps} corrections that were not saved are taken up again", err=True)

    subject = Subject(
        run.resolve().name, (recording.width, recording.height), tracks.time_s,
        Pictures(recording, tracks.time_s), mending,
        lambda mended: rewrite_run(run, tracks=mended, no_video=no_video))

    def say(address: str) -> None:
        click.echo(address)
        click.echo("the page is open until Ctrl-C", err=True)
        if not no_browser:
            click.launch(address)

    serve(subject, port=port, say=say)
