"""What was said to the shaker and by it, on disk line by line: a killed run keeps its log."""

from __future__ import annotations

import csv
import threading
import time
from pathlib import Path

import numpy as np

from rulerlab.shaker.protocol import Samples

WRAP_US = 2**32


class Unwrap:
    """Microseconds that start again at 0 every 71.6 minutes, made to go on; in seconds."""

    def __init__(self):
        self._last_us: int | None = None
        self._lock = threading.Lock()

    def __call__(self, us: int) -> float:
        with self._lock:
            if self._last_us is None:
                self._last_us = us
            else:  # readings may come a little out of order, never half a round apart
                step = (us - self._last_us + WRAP_US // 2) % WRAP_US - WRAP_US // 2
                self._last_us += step
            return self._last_us / 1e6

    def forget(self) -> None:
        """The board has started anew, and its clock with it."""
        self._last_us = None


class ShakerLog:
    """`shaker.csv` (every line, both ways) and `acceleration.csv` (g) in a folder.

    `host_s` counts from `start_s` of this computer's monotonic clock, `mcu_s` is the
    microcontroller's own time. `boot` counts how often the board has started: its clock begins
    anew each time.
    """

    def __init__(self, folder: Path, *, start_s: float | None = None):
        self.start_s = time.monotonic() if start_s is None else start_s
        self._lines = (folder / "shaker.csv").open("x", newline="", encoding="utf-8")
        self._samples = (folder / "acceleration.csv").open("x", newline="", encoding="utf-8")
        self._line_writer = csv.writer(self._lines)
        self._sample_writer = csv.writer(self._samples)
        self._line_writer.writerow(["host_s", "boot", "mcu_s", "direction", "text"])
        self._sample_writer.writerow(["boot", "mcu_s", "x_g", "y_g", "z_g"])
        self.flush()

    def line(
        self, direction: str, text: str, *, at_s: float, boot: int = 0, mcu_s: float | None = None
    ) -> None:
        """`direction` is ">" to the board, "<" from it, "!" for what the host noticed."""
        stamp = "" if mcu_s is None else f"{mcu_s:.6f}"
        self._line_writer.writerow([f"{at_s - self.start_s:.6f}", boot, stamp, direction, text])
        self._lines.flush()

    def samples(self, batch: Samples, *, first_s: float, boot: int, counts_per_g: float) -> None:
        """One batch of readings, evenly spaced from `first_s` of microcontroller time."""
        times = first_s + batch.period_us / 1e6 * np.arange(len(batch.counts))
        for time_s, reading in zip(times, batch.counts / counts_per_g, strict=True):
            values = [f"{value:.5f}" for value in reading]
            self._sample_writer.writerow([boot, f"{time_s:.6f}", *values])
        self._samples.flush()

    def flush(self) -> None:
        self._lines.flush()
        self._samples.flush()

    def close(self) -> None:
        self._lines.close()
        self._samples.close()
