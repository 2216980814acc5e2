"""`rulerlab calibrate shaker`: what each duty does to the table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rulerlab.shaker.calibration import ShakerPoint

FILE_COLUMNS = "duty,frequency_hz,sigma_frequency_hz,acceleration_g,sigma_acceleration_g,aliased"


@click.command()
@click.option("--port", default="auto", show_default=True, help="Port of the shaker.")
@click.option("--duties", default="0.2,0.3,0.4,0.5,0.6,0.7,0.8", show_default=True,
              help="Duties to measure, with commas.")
@click.option("--seconds", type=click.FloatRange(min=0.8), default=2.5, show_default=True,
              help="How long each is held.")
@click.option("--from", "recorded", type=click.Path(exists=True, file_okay=False, path_type=Path),
              help="Use this log or recorded run instead of moving the motor.")
@click.option("--point", type=int, help="With --from: use the tracked motion of this point.")
@click.option("-o", "folder", type=click.Path(file_okay=False, path_type=Path),
              help="Where to; calibration/shaker_IDENTITY if left out.")
@click.option("--json", "as_json", is_flag=True, help="Result as one JSON object.")
def command(port: str, duties: str, seconds: float, recorded: Path | None, point: int | None,
            folder: Path | None, as_json: bool) -> None:
    """Measure frequency and acceleration of the shaker for a row of duties.

    Writes curve.csv, curve.svg and the readings they come from. Frequencies that the sensor or the
    camera was too slow for are marked as aliased, and the exit code is 4 when there are any.
    """
    import json

    from rulerlab.errors import QualityError, UsageError
    from rulerlab.shaker.calibration import curve_from_accelerometer, curve_from_motion

    if point is not None and recorded is None:
        raise UsageError("--point needs --from, a run that was recorded and tracked")
    if recorded is None:
        recorded = folder = _measure(port, _numbers(duties), seconds, folder)
    folder = folder or recorded
    curve = curve_from_accelerometer(recorded) if point is None else curve_from_motion(
        recorded, point)  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    _write(curve, folder)
    aliased = sum(p.aliased for p in curve)
    if as_json:
        points = [vars(p) for p in curve]
        click.echo(json.dumps({"schema_version": 1, "folder": str(folder), "points": points}))
    else:
        for p in curve:
            click.echo(f"duty {p.duty:.2f}  {p.frequency_hz:7.2f} ± {p.sigma_hz:.2f} Hz  "
                       f"{p.acceleration_g:6.3f} ± {p.sigma_g:.3f} g"
                       + ("  aliased?" if p.aliased else ""))  # fmt: skip
    if aliased:
        raise QualityError(
            f"{aliased} of {len(curve)} frequencies may be aliases: they fall while the duty "
            "rises, or lie near half the sampling rate; use the accelerometer, or more frames/s"
        )


def _numbers(text: str) -> list[float]:
    from rulerlab.errors import UsageError

    try:
        duties = [float(word) for word in text.split(",")]
    except ValueError:
        raise UsageError(f"--duties {text!r}: expected numbers with commas, as 0.2,0.4") from None
    if not all(0 < duty <= 1 for duty in duties):
        raise UsageError(f"--duties {text!r}: each must lie above 0 and not above 1")
    return duties


def _measure(port: str, duties: list[float], seconds: float, folder: Path | None) -> Path:
    """Drive each duty with rests as long as the runs, so that the board never has to refuse."""
    import contextlib
    import tempfile

    from rulerlab.errors import MissingPartError, UsageError
    from rulerlab.shaker import Drive, Shaker, ShakerLog

    with contextlib.ExitStack() as stack:
        if folder is None:  # its name is the board's identity, which the board has to tell first
            with Shaker.connect(port) as shaker:
                folder = Path("calibration") / f"shaker_{shaker.uid}"
        if folder.exists():
            raise UsageError(f"{folder} exists; name a new folder with -o, or move it away")
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=folder.name + ".partial", dir=folder.parent))
        log = stack.enter_context(contextlib.closing(ShakerLog(partial)))
        shaker = stack.enter_context(Shaker.connect(port, log=log))
        if shaker.sensor == "none":
            raise MissingPartError(
                "no accelerometer answers on the board; wire an MPU-6050 or ADXL345 "
                "(hardware/wiring.svg), or use --from RUN --point K on a tracked run"
            )
        shaker.stream(2)
        run_s = seconds + 0.5
        rest_s = max(0.3, run_s if len(duties) * run_s > shaker.limits.run_s else 0.3)
        program = []
        for duty in duties:
            program += [Drive("constant", duty, ramp_s=0.5, seconds=seconds),
                        Drive("rest", seconds=rest_s)]  # fmt: skip
        shaker.play(program)
    return partial.rename(folder)


def _write(curve: list[ShakerPoint], folder: Path) -> None:
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    rows = [f"{p.duty:.3f},{p.frequency_hz:.4f},{p.sigma_hz:.4f},{p.acceleration_g:.5f},"
            f"{p.sigma_g:.5f},{int(p.aliased)}" for p in curve]  # fmt: skip
    (folder / "curve.csv").write_text("\n".join([FILE_COLUMNS, *rows]) + "\n", encoding="utf-8")
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    FigureCanvasSVG(figure)
    above, below = figure.subplots(2, sharex=True)
    for axes, value, sigma, name in (
        (above, "frequency_hz", "sigma_hz", "frequency (Hz)"),
        (below, "acceleration_g", "sigma_g", "peak acceleration (g)"),
    ):
        for aliased, style in ((False, "o-"), (True, "x")):
            chosen = [p for p in curve if p.aliased == aliased]
            if chosen:
                axes.errorbar(
                    [p.duty for p in chosen], [getattr(p, value) for p in chosen],
                    yerr=[getattr(p, sigma) for p in chosen], fmt=style, capsize=3,
                    color="C3" if aliased else "C0",
                    label="may be an alias" if aliased else "measured",
                )  # fmt: skip
        axes.set_ylabel(name)
        axes.set_ylim(bottom=0)
        axes.grid(alpha=0.3)
    above.legend()
    below.set_xlabel("duty")
    figure.savefig(folder / "curve.svg")
