"""What the shaker did, on the time of the film.

The LED's code in the picture decides. Where no LED is in view the frames' times of arrival have to
do, and the camera's own delay (tens of milliseconds, unknown) stays in the result.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from rulerlab.clock import ClockLine, LedClock, read_led
from rulerlab.errors import InputError, QualityError
from rulerlab.video import Recording


def put_on_film_time(folder: Path, chip_ms: int) -> dict[str, object]:
    """Write `clock.json`, `timeline.csv` and `acceleration_film.csv` into a recorded folder.

    Returns which clock was used (`led` or `arrival`) and its line. The log of the board's last
    start counts: its clock begins anew with each.
    """
    log = read_log(folder)
    boot = max((int(row["boot"]) for row in log), default=0)
    log = [row for row in log if int(row["boot"]) == boot]
    try:
        led = read_led(_luma(folder), chip_s=chip_ms / 1000, word_mcu_s=word_times(log))
        line, kind, said = led.line, "led", led_note(led)
    except QualityError as error:
        line, kind, said = arrival_line(folder), "arrival", {"led": str(error)}
    note = {"clock": kind, "film_to_board": vars(line), **said}
    _write_timeline(folder, log, line)
    _write_acceleration(folder, line, boot)
    document = json.dumps({"schema_version": 1, **note}, indent=1)
    (folder / "clock.json").write_text(document + "\n", encoding="utf-8")
    return note


def read_log(folder: Path) -> list[dict[str, str]]:
    """The rows of `shaker.csv`; a last line that was cut off by a crash is left out."""
    path = folder / "shaker.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except OSError as error:
        raise InputError(f"{path} can't be read: {error.strerror}") from error
    return [row for row in rows if row.get("text") is not None]


def word_times(log: list[dict[str, str]]) -> dict[int, float]:
    """When each word of the time code began, on the board's clock, since the LED was last set."""
    words: dict[int, float] = {}
    for row in log:
        if row["direction"] == "<" and row["text"].startswith("!WORD") and row["mcu_s"]:
            number = int(row["text"].split()[1])
            if number == 0:
                words.clear()
            words[number] = float(row["mcu_s"])
    return words


def led_note(led: LedClock) -> dict[str, object]:
    return {
        "exposure_s": led.exposure_s, "residual": led.residual, "words": led.words,
        "words_possible": led.words_possible, "led_box_px": list(led.box_px),
    }  # fmt: skip


def arrival_line(folder: Path) -> ClockLine:
    """Film time to board time by the computer's clock, over which both came in."""
    note = json.loads((folder / "record.json").read_text(encoding="utf-8"))
    if "clock_by_arrival" not in note:
        raise QualityError(f"{folder}: the run ended before the clocks were compared")
    host = ClockLine(**note["clock_by_arrival"])
    with (folder / "frames.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["status"] == "written"]
    film_s = np.array([float(row["time_s"]) for row in rows])
    delay_s = np.array([float(row["host_s"]) for row in rows]) - film_s
    early_s = float(np.percentile(delay_s, 10))  # frames are late, never early
    sigma_s = float(np.hypot(host.sigma_offset_s, np.std(delay_s)))
    return ClockLine(
        float(host.to_mcu(early_s + film_s.mean())), host.drift, sigma_s, host.sigma_drift,
        float(film_s.mean()),
    )  # fmt: skip


def _luma(folder: Path) -> Iterator[tuple[float, np.ndarray]]:
    for frame in Recording(folder / "video.mp4").frames():
        yield frame.time_s, frame.luma


def _write_timeline(folder: Path, log: list[dict[str, str]], line: ClockLine) -> None:
    with (folder / "timeline.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time_s", "sigma_s", "event"])
        for row in log:
            text = row["text"].rpartition("*")[0]
            if row["direction"] != "<":
                continue
            if row["mcu_s"]:
                mcu_s = float(row["mcu_s"])
            elif " t=" in text:  # a drive began
                mcu_s = _unwrapped_near(int(text.split(" t=")[1].split()[0]) / 1e6, log)
                text = f"drive {text.split(' OK ')[1].split(' t=')[0]}"
            else:
                continue
            time_s = line.from_mcu(mcu_s)
            rows.writerow([f"{time_s:.6f}", f"{line.sigma_s(time_s):.6f}", text])


def _unwrapped_near(mcu_s: float, log: list[dict[str, str]]) -> float:
    known = [float(row["mcu_s"]) for row in log if row["mcu_s"]]
    wrap_s = 2**32 / 1e6
    return mcu_s + wrap_s * round((np.median(known) - mcu_s) / wrap_s) if known else mcu_s


def _write_acceleration(folder: Path, line: ClockLine, boot: int) -> None:
    with (folder / "acceleration.csv").open(newline="", encoding="utf-8") as file:
        readings = [row for row in csv.reader(file)][1:]
    with (folder / "acceleration_film.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time_s", "x_g", "y_g", "z_g"])
        for number, mcu_s, *values in readings:
            if int(number) == boot:
                rows.writerow([f"{line.from_mcu(float(mcu_s)):.6f}", *values])
