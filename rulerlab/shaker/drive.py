"""What the motor is asked to do: single drives, and programs of drives read from a TOML file.

A drive is a duty (share of the time the motor is switched on, 0..1) that is constant, swings as a
sine whose frequency sweeps, or wanders as noise within a band.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, fields
from pathlib import Path

from rulerlab.errors import InputError

SHAPES = ("rest", "constant", "sine", "noise")


@dataclass(frozen=True)
class Limits:
    """What a board's firmware allows; it applies them itself, whatever it is asked."""

    duty: float = 0.9
    ramp_s: float = 0.1
    run_s: float = 30.0  # may pile up; resting takes it down again, second by second
    frequency_hz: float = 250.0


@dataclass(frozen=True)
class Drive:
    """One step of a program: `ramp_s` from the duty before, then `seconds` of the shape."""

    shape: str = "constant"
    duty: float = 0.0  # mean
    amplitude: float = 0.0  # noise stays within duty +- amplitude, its rms is a quarter of it
    from_hz: float = 0.0  # sine: at the start; noise: lower edge of the band
    to_hz: float = 0.0  # sine: at the end; noise: upper edge
    seed: int = 1
    ramp_s: float = 0.1
    seconds: float = 1.0

    def __post_init__(self):
        if self.shape not in SHAPES:
            raise InputError(f"shape {self.shape!r} is none of {', '.join(SHAPES)}")
        for name in ("duty", "amplitude", "from_hz", "to_hz", "ramp_s", "seconds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise InputError(f"{name} must be a number, got {value!r}")
            if not math.isfinite(value) or value < 0:
                raise InputError(f"{name} must be a number from 0 up, got {value}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise InputError(f"seed must be a whole number, got {self.seed!r}")
        if not 0 <= self.seed < 2**32:
            raise InputError(f"seed must lie in 0..4294967295, got {self.seed}")
        if self.duty > 1:
            raise InputError(f"duty must lie in 0..1, got {self.duty}")
        if self.amplitude > self.duty:
            raise InputError(f"amplitude {self.amplitude} is more than the mean duty {self.duty}")
        if self.shape in ("sine", "noise") and min(self.from_hz, self.to_hz) < 0.01:
            raise InputError(f"a {self.shape} needs from_hz and to_hz of at least 0.01 Hz")
        if self.shape == "noise" and self.from_hz > self.to_hz:
            raise InputError(f"the band {self.from_hz}..{self.to_hz} Hz is upside down")

    @property
    def total_s(self) -> float:
        return self.seconds + (0.0 if self.shape == "rest" else self.ramp_s)

    def request(self) -> str:
        """The request that asks a board for this drive."""
        duty, amplitude = round(1000 * self.duty), round(1000 * self.amplitude)
        times = f"{round(1000 * self.ramp_s)} {round(1000 * self.seconds)}"
        band = f"{round(100 * self.from_hz)} {round(100 * self.to_hz)}"
        if self.shape == "sine":
            return f"SINE {duty} {amplitude} {band} {times}"
        if self.shape == "noise":
            return f"NOISE {duty} {amplitude} {band} {self.seed} {times}"
        return "STOP" if self.shape == "rest" else f"SHAKE {duty} {times}"


def read_program(path: str | Path) -> list[Drive]:
    """The `[[step]]` tables of a protocol file, in order; InputError tells what is wrong where."""
    try:
        document = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"{path} can't be read as a protocol: {error}") from error
    unknown = set(document) - {"step"}
    steps = document.get("step")
    if unknown or not isinstance(steps, list) or not steps:
        found = f", found {', '.join(sorted(unknown))}" if unknown else ""
        raise InputError(f"{path} must hold [[step]] tables and nothing else{found}")
    known = {field.name for field in fields(Drive)}
    program = []
    for number, step in enumerate(steps, 1):
        if wrong := set(step) - known:
            raise InputError(
                f"{path}, step {number}: unknown {', '.join(sorted(wrong))}; "
                f"known are {', '.join(sorted(known))}"
            )
        try:
            program.append(Drive(**step))
        except InputError as error:
            raise InputError(f"{path}, step {number}: {error}") from error
    return program


def check_program(program: list[Drive], limits: Limits) -> None:
    """Refuse before the motor starts what the board would refuse half way."""
    heat_s = 0.0
    for number, drive in enumerate(program, 1):
        if drive.shape == "rest":
            heat_s = max(0.0, heat_s - drive.seconds)
            continue
        if drive.duty + drive.amplitude > limits.duty:
            raise InputError(
                f"step {number} asks for a duty up to {drive.duty + drive.amplitude:.3f}; "
                f"the board allows {limits.duty:.3f}"
            )
        if max(drive.from_hz, drive.to_hz) > limits.frequency_hz:
            raise InputError(
                f"step {number} goes up to {max(drive.from_hz, drive.to_hz):g} Hz; "
                f"the board allows {limits.frequency_hz:g} Hz"
            )
        if drive.ramp_s < limits.ramp_s:
            raise InputError(f"step {number}: the ramp must last at least {limits.ramp_s} s")
        heat_s += drive.total_s
        if heat_s > limits.run_s + 1e-9:
            raise InputError(
                f"step {number} ends after {heat_s:.1f} s of running; the board allows "
                f"{limits.run_s:g} s: put a rest of {heat_s - limits.run_s:.1f} s before it"
            )
