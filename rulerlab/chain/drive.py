"""What the hand does to the pulled end, and what the table does under the chain."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rulerlab.errors import InputError, UsageError
from rulerlab.records import Motion


@dataclass(frozen=True)
class Drive:
    """Pulled end against time, straight lines between the given moments, constant outside.

    A moving table is described in its own frame: the wall stays at 0, the hand moves against the
    table, and a chain with mass feels minus the acceleration of the table.
    """

    time: np.ndarray  # (P,) rising
    pull: np.ndarray  # (P,) position of the pulled end; the force on it if `force`
    force: bool = False
    table_acceleration: np.ndarray | None = None  # (P,)

    def __post_init__(self):
        if len(self.time) != len(self.pull) or not len(self.time):
            raise UsageError(f"{len(self.pull)} positions for {len(self.time)} moments of the pull")
        if not (np.isfinite(self.time).all() and np.isfinite(self.pull).all()):
            raise UsageError("the pull holds NaN or infinite values; cut or fill them first")
        if len(self.time) > 1 and not (np.diff(self.time) > 0).all():
            raise UsageError("the moments of the pull must rise")

    def sampled(self, dt: float, steps: int) -> np.ndarray:
        """Pull at the start of each step and at the end of the last, (steps+1,)."""
        return np.interp(np.arange(steps + 1) * dt, self.time, self.pull)

    def sampled_table(self, dt: float, steps: int) -> np.ndarray:
        """Acceleration of the table during each step, (steps,); empty for a table at rest."""
        if self.table_acceleration is None:
            return np.zeros(0)
        return np.interp((np.arange(steps) + 0.5) * dt, self.time, self.table_acceleration)


def step(pull: float = 1.0) -> Drive:
    """The hand jumps to `pull` at time 0 and stays there."""
    return Drive(np.zeros(1), np.array([pull]))


def ramp(pull: float, speed: float) -> Drive:
    """The hand moves to `pull` at a steady speed and stays there."""
    if not speed > 0:
        raise UsageError(f"the pulling speed is {speed:g}; it must be above 0")
    return Drive(np.array([0.0, abs(pull) / speed]), np.array([0.0, pull]))


def jerky_ramp(pull: float, speed: float, amplitude: float, frequency: float) -> Drive:
    """A ramp with jerks amplitude |sin(2 pi frequency t)| on top, as long as it lasts."""
    if not (speed > 0 and frequency > 0):
        raise UsageError("a jerky pull needs a speed and a frequency above 0")
    duration = abs(pull) / speed
    time = np.linspace(0, duration, max(2, int(np.ceil(duration * frequency * 64)) + 1))
    jerk = amplitude * np.abs(np.sin(2 * np.pi * frequency * time))
    jerk[-1] = 0.0
    return Drive(time, pull * time / duration + jerk)


def force(value: float) -> Drive:
    """The hand pulls with a constant force through the last spring."""
    return Drive(np.zeros(1), np.array([value]), force=True)


def recorded(motion: Motion) -> Drive:
    """The pull of a measured or simulated run: its last point against its first, along x.

    The chain starts with all springs at rest, so the distance in the first frame counts as zero.
    Frames in which one of the two points is lost are bridged by straight lines.
    """
    distance = motion.joint_mm[:, -1, 0] - motion.joint_mm[:, 0, 0]
    seen = np.isfinite(distance)
    if seen.sum() < 2:
        raise UsageError("the pulled end is seen in fewer than 2 frames; nothing to drive with")
    time, distance = motion.time_s[seen], distance[seen]
    return Drive(time - time[0], distance - distance[0])


def read(path: str | Path) -> Drive:
    """The pull in a table: columns time,pull, or the first and last point of a `tracks.csv` in mm.

    Raises InputError if the file holds neither.
    """
    try:
        with open(path, encoding="utf-8") as lines:
            head = lines.readline().strip().split(",")
            rows = [line.rstrip("\n").split(",") for line in lines if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as a table: {error}") from error
    points = [name for name in head if name.endswith("_x_mm") and "sigma" not in name]
    names = ["time_s", points[0], points[-1]] if len(points) > 1 else head[:2]
    places = [head.index(name) for name in names if name in head]
    try:
        column = np.array([[float(row[at] or "nan") for at in places] for row in rows]).T
    except (ValueError, IndexError) as error:
        raise InputError(f"{path} is no table of numbers: {error}") from error
    if len(column) != len(names) or len(column) < 2 or column.shape[1] < 2:
        raise InputError(f"{path} needs columns time,pull or a tracks.csv with two points in mm")
    if len(column) == 2:
        return Drive(column[0], column[1])
    joint = np.zeros((column.shape[1], 2, 2))
    joint[:, :, 0] = column[1:].T
    return recorded(Motion(column[0], joint, np.zeros((len(joint), 2, 2, 2))))


def on_moving_table(hand: Drive, time: np.ndarray, table: np.ndarray) -> Drive:
    """The same hand while the table under the chain stands at `table` (P,) at `time` (P,)."""
    every = np.union1d(hand.time, time)
    smooth = np.gradient(np.gradient(table, time), time)
    against = np.interp(every, hand.time, hand.pull)
    if not hand.force:
        against = against - np.interp(every, time, table)
    return Drive(every, against, hand.force, np.interp(every, time, smooth))
