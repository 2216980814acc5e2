"""`rulerlab record`: film and shake at once."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--camera", required=True,
              help="Camera index, address of a stream (rtsp, http, udp, tcp), or a file.")
@click.option("--port", "--shaker", "port",
              help="Serial port or pyserial URL of the shaker, `auto` or `simulated`.")
@click.option("--protocol", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="What the shaker plays: a TOML file of [[step]] tables.")
@click.option("--duty", type=float, help="One constant duty for the whole run instead, 0..1.")
@click.option("--seconds", type=click.FloatRange(min=0.1), help="Length of the run.")
@click.option("-o", "folder", type=click.Path(path_type=Path), help="A new folder.")
@click.option("--json", "as_json", is_flag=True, help="Result as one JSON object.")
def command(camera: str, port: str | None, protocol: Path | None, duty: float | None,
            seconds: float | None, folder: Path | None, as_json: bool) -> None:
    """Film and shake at once, into a folder that `rulerlab track` takes.

    video.mp4 can be played up to the last half second even when the run is killed; frames.csv,
    shaker.csv and acceleration.csv are written line by line. When the shaker's LED is in the
    picture, clock.json puts its log on the time of the film.
    """
    import json
    import signal
    import sys
    from datetime import datetime

    from rulerlab.capture import record
    from rulerlab.capture.run import show
    from rulerlab.capture.timeline import put_on_film_time
    from rulerlab.errors import UsageError
    from rulerlab.shaker import Drive, read_program

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # motor off, film closed
    if protocol and duty is not None:
        raise UsageError("--protocol and --duty exclude each other")
    program = read_program(protocol) if protocol else []
    if duty is not None:
        if seconds is None or seconds < 1:
            raise UsageError("--duty needs --seconds of at least 1")
        program = [Drive("constant", duty, ramp_s=0.5, seconds=seconds - 0.5)]
    folder = folder or Path(datetime.now().strftime("%Y-%m-%d_%H-%M-%S"))
    watched = sys.stderr.isatty()
    note = record(folder, camera=camera, port=port, program=program, seconds=seconds,
                  on_tick=show if watched else None)  # fmt: skip
    if watched:
        click.echo(err=True)
    if port is not None:
        note |= put_on_film_time(folder, note["chip_ms"])
    if as_json:
        click.echo(json.dumps({**note, "folder": str(folder)}))
        return
    click.echo(f"{folder}: {note['seconds']:.1f} s, {note['frames']} frames, "
               f"{note['dropped']} dropped; {note.get('clock', 'no shaker')}")  # fmt: skip
