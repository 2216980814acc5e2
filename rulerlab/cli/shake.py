"""`rulerlab shake`: drive the motor under the table."""

from __future__ import annotations

from pathlib import Path

import click


@click.command()
@click.option("--port", default="auto", show_default=True,
              help="Serial port or pyserial URL; `auto` looks for a board, `simulated` needs none.")
@click.option("--duty", type=float, default=0.0, help="Mean share of the time switched on, 0..1.")
@click.option("--seconds", type=float, default=5.0, show_default=True)
@click.option("--ramp", type=float, default=0.5, show_default=True, help="Seconds up to the duty.")
@click.option("--sine", nargs=2, type=float, metavar="FROM TO",
              help="Let the duty swing, from one frequency to another (Hz).")
@click.option("--noise", nargs=2, type=float, metavar="LOW HIGH",
              help="Let the duty wander within a band (Hz).")
@click.option("--amplitude", type=float, default=0.0, help="Of the sine or noise, up to the duty.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of the noise.")
@click.option("--protocol", type=click.Path(exists=True, dir_okay=False, path_type=Path),
              help="A TOML file of [[step]] tables instead of one drive.")
@click.option("--log", type=click.Path(file_okay=False, path_type=Path),
              help="A new folder for shaker.csv and acceleration.csv.")
@click.option("--blink", type=click.IntRange(5, 250), metavar="MS",
              help="Let the LED send its time code, so many milliseconds to a chip.")
@click.option("--stream", type=click.IntRange(2, 250), metavar="MS",
              help="Log the accelerometer, so many milliseconds between readings.")
@click.option("--clear", is_flag=True, help="Unlock after trips; look at the bench first.")
@click.option("--list", "only_list", is_flag=True, help="List the serial ports and stop.")
@click.option("--json", "as_json", is_flag=True, help="Result as one JSON object.")
def command(port: str, log: Path | None, blink: int | None, stream: int | None, clear: bool,
            only_list: bool, as_json: bool, **drive: object) -> None:
    """Drive the shaker: a constant duty, a sine sweep, noise in a band, or a protocol file.

    The motor is off afterwards, and within a second of this program's end however it ends.
    """
    import json

    from rulerlab.shaker import list_ports

    if only_list:
        ports = [{"port": name, "what": what} for name, what in list_ports()]
        text = "\n".join(f"{one['port']}  {one['what']}" for one in ports) or "no serial port"
        click.echo(json.dumps({"schema_version": 1, "ports": ports}) if as_json else text)
        return
    program = program_of(drive)
    result = run_program(port, program, log=log, blink=blink, stream=stream, clear=clear)
    if as_json:
        click.echo(json.dumps({"schema_version": 1, **result}))
    else:
        click.echo(f"{result['steps']} step(s), {result['seconds']:.1f} s, shaker {result['uid']}, "
                   f"{result['samples']} accelerations")  # fmt: skip


def program_of(drive: dict) -> list:
    """The drives that the options ask for."""
    from rulerlab.errors import UsageError
    from rulerlab.shaker import Drive, read_program

    if drive["protocol"]:
        return read_program(drive["protocol"])
    if drive["sine"] and drive["noise"]:
        raise UsageError("--sine and --noise exclude each other; put both in a protocol file")
    shape = "sine" if drive["sine"] else "noise" if drive["noise"] else "constant"
    from_hz, to_hz = drive["sine"] or drive["noise"] or (0.0, 0.0)
    if not drive["duty"]:
        shape = "rest"
    return [Drive(shape, drive["duty"], drive["amplitude"], from_hz, to_hz, drive["seed"],
                  drive["ramp"], drive["seconds"])]  # fmt: skip


def run_program(port: str, program: list, *, log: Path | None, blink: int | None,
                stream: int | None, clear: bool) -> dict:  # fmt: skip
    import contextlib
    import signal
    import time

    from rulerlab.errors import UsageError
    from rulerlab.shaker import Shaker, ShakerLog

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM ends like Ctrl-C: motor off
    with contextlib.ExitStack() as stack:
        book = None
        if log:
            try:
                log.mkdir(parents=True)
            except FileExistsError:
                raise UsageError(f"{log} exists; name a new folder for the log") from None
            book = stack.enter_context(contextlib.closing(ShakerLog(log)))
        shaker = stack.enter_context(Shaker.connect(port, log=book))
        if clear:
            shaker.clear()
        if blink:
            shaker.blink(blink)
        if stream:
            shaker.stream(stream)
        begun_s = time.monotonic()
        shaker.play(program)
        status = shaker.status()
        return {"port": shaker.name, "uid": shaker.uid, "firmware": shaker.firmware,
                "limits": vars(shaker.limits), "sensor": shaker.sensor, "steps": len(program),
                "seconds": round(time.monotonic() - begun_s, 3), **status}  # fmt: skip
