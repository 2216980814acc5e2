"""From duty to frequency and acceleration: what the motor really does, for each duty it was given.

An eccentric motor shakes with F = m r omega^2: frequency and acceleration rise together, and only a
measurement tells how. The readings come from the accelerometer, or from the tracked motion of a
mark on the shaken board; a camera is mostly too slow for that and shows an alias, which is noticed.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rulerlab.errors import InputError, QualityError

SETTLE_S = 0.3  # after the ramp, until the motor's speed is steady
LEAST_S = 0.4
NEAR_NYQUIST = 0.85
STANDARD_GRAVITY_MM = 9806.65
DRIVE = re.compile(r"duty=(\d+) ramp=(\d+) hold=(\d+)")


@dataclass(frozen=True)
class Tone:
    """The strongest oscillation in a stretch of readings."""

    frequency_hz: float
    sigma_hz: float
    amplitude: float  # peak, along the axis that shakes most, in the unit of the readings
    sigma_amplitude: float
    share: float  # of the readings' variance


@dataclass(frozen=True)
class ShakerPoint:
    """What one duty gives; `aliased` when the readings were too slow to be believed."""

    duty: float
    frequency_hz: float
    sigma_hz: float
    acceleration_g: float
    sigma_g: float
    aliased: bool


def strongest_tone(time_s: np.ndarray, reading: np.ndarray) -> Tone:
    """Frequency and amplitude of the strongest oscillation, (T,) times and (T, axes) readings.

    The axes are turned so that one carries most; a sine is fitted to it by least squares, with the
    errors of a sine in white noise (Rife and Boorstyn 1974). Times may be uneven.
    """
    swing = reading - reading.mean(axis=0)
    _, _, axes = np.linalg.svd(swing, full_matrices=False)
    along = swing @ axes[0]
    count, span = len(time_s), float(np.ptp(time_s))
    step = float(np.median(np.diff(time_s)))
    grid = np.arange(1.5 / span, 0.5 / step, 0.2 / span)
    window = np.hanning(count)
    power = [abs(np.exp(-2j * np.pi * f * time_s) @ (window * along)) for f in grid]
    low = high = float(grid[int(np.argmax(power))])
    low, high = low - 0.4 / span, high + 0.4 / span
    for _ in range(12):
        trial = np.linspace(low, high, 9)
        best = int(np.argmin([_left(time_s, along, f)[0] for f in trial]))
        low, high = trial[max(best - 1, 0)], trial[min(best + 1, 8)]
    frequency = float(low + high) / 2
    left, amplitude = _left(time_s, along, frequency)
    noise = np.sqrt(left / max(count - 4, 1))
    return Tone(
        frequency, float(np.sqrt(6 / count) * noise / (np.pi * span * max(amplitude, 1e-12))),
        amplitude, float(noise * np.sqrt(2 / count)), float(1 - left / max(along @ along, 1e-30)),
    )  # fmt: skip


def _left(time_s: np.ndarray, along: np.ndarray, frequency: float) -> tuple[float, float]:
    turn = 2 * np.pi * frequency * (time_s - time_s.mean())
    basis = np.column_stack([np.cos(turn), np.sin(turn), np.ones_like(turn)])
    part, *_ = np.linalg.lstsq(basis, along, rcond=None)
    rest = along - basis @ part
    return float(rest @ rest), float(np.hypot(part[0], part[1]))


def alias_of(frequency_hz: float, samples_per_s: float) -> float:
    """Where an oscillation appears when it is sampled too slowly."""
    return abs(frequency_hz - samples_per_s * round(frequency_hz / samples_per_s))


def curve_from_accelerometer(folder: Path) -> list[ShakerPoint]:
    """The curve from `shaker.csv` and `acceleration.csv` of a log or a recorded run."""
    table = _table(folder / "acceleration.csv")
    if not len(table):
        raise QualityError(f"{folder}/acceleration.csv holds no readings: check the sensor's wires")
    boot = table[:, 0].max()
    table = table[table[:, 0] == boot]
    drives = []
    with (folder / "shaker.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            found = DRIVE.search(row["text"] or "")
            if found and " t=" in row["text"] and int(row["boot"]) == boot:
                begun_us = int(re.split(r" t=|\*", row["text"])[1])
                drives.append((begun_us / 1e6, *map(int, found.groups())))
    return _curve(drives, table[:, 1] % (2**32 / 1e6), table[:, 2:5], to_g=None)


def curve_from_motion(folder: Path, point: int) -> list[ShakerPoint]:
    """The curve from point number `point` of a tracked run (`tracks.csv`, `timeline.csv`)."""
    with (folder / "tracks.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [f"p{point}_x_mm", f"p{point}_y_mm"]
    if not rows or names[0] not in rows[0]:
        raise InputError(f"{folder}/tracks.csv has no millimetres of point {point}")
    values = np.array([[float(row[name] or "nan") for name in ["time_s", *names]] for row in rows])
    values = values[np.isfinite(values).all(axis=1)]
    drives = []
    with (folder / "timeline.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if found := DRIVE.search(row["event"]):
                drives.append((float(row["time_s"]), *map(int, found.groups())))
    to_g = (2 * np.pi) ** 2 / STANDARD_GRAVITY_MM
    return _curve(drives, values[:, 0], values[:, 1:], to_g=to_g)


def _table(path: Path) -> np.ndarray:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in list(csv.reader(file))[1:] if len(row) == 5]
        return np.array([[float(value) for value in row] for row in rows]).reshape(-1, 5)
    except (OSError, ValueError) as error:
        raise InputError(f"{path} can't be read: {error}") from error


def _curve(drives: list, time_s: np.ndarray, reading: np.ndarray, *, to_g: float | None):
    points = []
    for begun_s, duty, ramp_ms, hold_ms in drives:
        first = begun_s + ramp_ms / 1000 + SETTLE_S
        inside = (time_s >= first) & (time_s <= begun_s + (ramp_ms + hold_ms) / 1000)
        if duty == 0 or inside.sum() < 20 or np.ptp(time_s[inside]) < LEAST_S:
            continue
        tone = strongest_tone(time_s[inside], reading[inside])
        # a displacement a sin(w t) is an acceleration of a w^2
        gain = 1.0 if to_g is None else to_g * tone.frequency_hz**2
        nyquist = 0.5 / float(np.median(np.diff(time_s[inside])))
        points.append(ShakerPoint(
            duty / 1000, tone.frequency_hz, tone.sigma_hz, gain * tone.amplitude,
            gain * tone.sigma_amplitude, bool(tone.frequency_hz > NEAR_NYQUIST * nyquist),
        ))  # fmt: skip
    if not points:
        raise QualityError("no drive lasted long enough to be measured: hold each duty for 1 s")
    return mark_aliases(sorted(points, key=lambda p: p.duty))


def mark_aliases(points: list[ShakerPoint]) -> list[ShakerPoint]:
    """A motor turns faster the more it gets: from where the frequency falls, it is an alias."""
    highest, marked, folded = 0.0, [], False
    for point in points:
        folded = folded or point.aliased
        folded = folded or bool(point.frequency_hz < highest - 3 * point.sigma_hz - 0.5)
        highest = max(highest, point.frequency_hz)
        marked.append(ShakerPoint(**(vars(point) | {"aliased": folded})))
    return marked
