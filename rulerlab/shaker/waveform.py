"""The firmware's waveforms in the same whole numbers: duty in permille, one value a millisecond.

Knowing the seed is knowing the drive, before and after the experiment.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

TONES, REDRAW_MS = 8, 32
_QUARTER = [round(127 * math.sin((i + 0.5) * math.pi / 128)) for i in range(64)]
_SINE = [
    (-1 if turn & 128 else 1) * _QUARTER[63 - turn % 64 if turn & 64 else turn % 64]
    for turn in range(256)
]


@dataclass(frozen=True)
class WholeDrive:
    """A drive as the wire carries it: permille, 0.01 Hz, milliseconds."""

    shape: str = "constant"
    mean: int = 0
    amplitude: int = 0
    from_chz: int = 0
    to_chz: int = 0
    seed: int = 0
    ramp_ms: int = 100
    hold_ms: int = 0

    def is_allowed(self, max_run_ms: int) -> bool:
        if self.mean > 1000 or self.amplitude > self.mean:
            return False
        if self.ramp_ms > max_run_ms or self.hold_ms > max_run_ms:
            return False
        if self.shape == "constant":
            return True
        in_band = 1 <= self.from_chz <= 25_000 and 1 <= self.to_chz <= 25_000
        return in_band and (self.shape != "noise" or self.from_chz <= self.to_chz)

    def within(self, min_ramp_ms: int, max_duty: int) -> WholeDrive:
        return replace(
            self, ramp_ms=max(self.ramp_ms, min_ramp_ms), mean=min(self.mean, max_duty)
        )


def _per_ms(chz: int) -> int:
    """Steps of phase in a millisecond; 2^32 is one turn."""
    return chz * 42949 + chz * 67 // 100


class Waveform:
    """The duty that a drive asks for, before ramp and limits."""

    def __init__(self, drive: WholeDrive):
        self.drive = drive
        self.elapsed_ms = 0
        self.state = drive.seed or 1
        self.phase = [0]
        self.advance = [_per_ms(drive.from_chz)]
        run_ms = drive.ramp_ms + drive.hold_ms or 1
        self.sweep = int((_per_ms(drive.to_chz) - self.advance[0]) / run_ms)
        if drive.shape == "noise":
            self.phase, self.advance = [], []
            for _ in range(TONES):
                self.phase.append(self._random())
                self.advance.append(self._draw_tone())

    def _random(self) -> int:
        self.state ^= self.state << 13 & 0xFFFFFFFF
        self.state ^= self.state >> 17
        self.state ^= self.state << 5 & 0xFFFFFFFF
        return self.state

    def _draw_tone(self) -> int:
        width = self.drive.to_chz - self.drive.from_chz + 1
        return _per_ms(self.drive.from_chz + (self._random() >> 16) * width // 65536)

    def step(self) -> int:
        """Permille for the next millisecond; may lie outside 0..1000."""
        drive = self.drive
        if drive.shape == "constant":
            return drive.mean
        if drive.shape == "sine":
            self.advance[0] = self.advance[0] + self.sweep & 0xFFFFFFFF
        elif self.elapsed_ms % REDRAW_MS == 0:
            self.advance[self.elapsed_ms // REDRAW_MS % TONES] = self._draw_tone()
        total = sum(_SINE[phase >> 24] for phase in self.phase)
        self.phase = [
            p + a & 0xFFFFFFFF for p, a in zip(self.phase, self.advance, strict=True)
        ]
        self.elapsed_ms += 1
        return drive.mean + int(drive.amplitude * total / (127 * len(self.phase)))


def duty_series(drive: WholeDrive) -> np.ndarray:
    """Duty of every millisecond of a drive, before ramp and limits, 0..1."""
    wave = Waveform(drive)
    return np.array([wave.step() for _ in range(drive.ramp_ms + drive.hold_ms)]) / 1000
