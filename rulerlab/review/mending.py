"""Corrections of tracks, one step at a time: each is logged at once, and can be undone."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from rulerlab.errors import InputError, UsageError
from rulerlab.records import LOST, STATUSES, Tracks

LOG = "corrections.jsonl"


@dataclass(frozen=True)
class Change:
    """A new place of one point in one frame; lost when x is NaN."""

    frame: int
    point: int
    x_px: float
    y_px: float
    sigma_px: float
    status: str


class Mending:
    """Tracks under correction, and the log of what was done to them.

    The log lies in the run folder; every step is on disk before it counts. Steps that were logged
    and not yet saved are done again when the log is opened: a browser or a server that dies costs
    nothing.
    """

    def __init__(self, tracks: Tracks, log: Path):
        self._log = log
        self._before = tracks
        self._steps: list[list[Change]] = []
        self._take(tracks)
        for entry in _unsaved(log):
            if "undo" in entry:
                self._undo()
            else:
                self._do([change_of(cells) for cells in entry["changes"]])

    def _take(self, tracks: Tracks) -> None:
        self._position = tracks.position_px.copy()
        self._covariance = tracks.covariance_px.copy()
        self._status = tracks.status.copy()

    @property
    def steps(self) -> int:
        """How many steps wait to be saved."""
        return len(self._steps)

    def tracks(self) -> Tracks:
        """The tracks as they are now."""
        return Tracks(self._before.time_s, self._position.copy(), self._covariance.copy(),
                      self._status.copy())

    def change(self, changes: Sequence[Change]) -> list[int]:
        """Make one step of some changes; the frames that it touched.

        Raises UsageError for a change that makes no sense, InputError when the log can't be
        written; nothing is changed then.
        """
        frames, points = self._status.shape
        for one in changes:
            if not (0 <= one.frame < frames and 0 <= one.point < points):
                raise UsageError(f"there is no point {one.point} in frame {one.frame}")
            if one.status not in STATUSES:
                raise UsageError(f"{one.status!r} is none of {', '.join(STATUSES)}")
            seen = all(map(math.isfinite, (one.x_px, one.y_px, one.sigma_px)))
            if (one.status == LOST) == seen or (seen and one.sigma_px <= 0):
                raise UsageError("a point needs a place and a standard deviation, a lost one none")
        if not changes:
            return []
        self._write({"changes": [self._told(one) for one in changes]})
        return self._do(changes)

    def undo(self) -> list[int]:
        """Take the last step back; the frames that it had touched."""
        if not self._steps:
            return []
        self._write({"undo": 1})
        return self._undo()

    def saved(self, tracks: Tracks) -> None:
        """The tracks were saved: they are the new beginning."""
        self._write({"saved": self.steps})
        self._before, self._steps = tracks, []
        self._take(tracks)

    def _do(self, changes: Sequence[Change]) -> list[int]:
        self._steps.append(list(changes))
        for one in changes:
            self._set(one)
        return sorted({one.frame for one in changes})

    def _set(self, one: Change) -> None:
        cell = one.frame, one.point
        self._position[cell] = one.x_px, one.y_px
        self._covariance[cell] = one.sigma_px**2 * np.eye(2)
        self._status[cell] = one.status

    def _undo(self) -> list[int]:
        undone = self._steps.pop() if self._steps else []
        cells = {(one.frame, one.point) for one in undone}
        for cell in cells:
            self._position[cell] = self._before.position_px[cell]
            self._covariance[cell] = self._before.covariance_px[cell]
            self._status[cell] = self._before.status[cell]
        for step in self._steps:
            for one in step:
                if (one.frame, one.point) in cells:
                    self._set(one)
        return sorted({frame for frame, _ in cells})

    def _told(self, one: Change) -> dict[str, Any]:
        """A change as the log has it, with the old place."""
        old = self._position[one.frame, one.point]
        numbers = {"x_px": one.x_px, "y_px": one.y_px, "sigma_px": one.sigma_px,
                   "old_x_px": float(old[0]), "old_y_px": float(old[1])}
        return {"frame": one.frame, "point": one.point, "status": one.status,
                "time_s": float(self._before.time_s[one.frame]),
                "old_status": str(self._status[one.frame, one.point])} | {
            name: value if math.isfinite(value) else None for name, value in numbers.items()}

    def _write(self, entry: dict[str, Any]) -> None:
        entry = {"at": datetime.now(UTC).isoformat(timespec="seconds")} | entry
        try:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{self._log} can't be written ({error.strerror}): the correction "
                             "was not made") from error


def _unsaved(log: Path) -> list[dict[str, Any]]:
    """The entries of a log after the last save; a line cut off by a crash is left out."""
    if not log.exists():
        return []
    entries: list[dict[str, Any]] = []
    lines = log.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
        except ValueError:
            if number == len(lines):
                break
            raise InputError(f"{log}: line {number} can't be read; remove it, or the file, and "
                             "the corrections that were not saved with it") from None
        entries = [] if "saved" in entry else [*entries, entry]
    return entries


def change_of(cells: dict[str, Any]) -> Change:
    """A change from the log or the page, in which null stands for NaN."""
    x_px, y_px, sigma_px = (
        float("nan") if cells.get(name) is None else float(cells[name])
        for name in ("x_px", "y_px", "sigma_px")
    )
    return Change(int(cells["frame"]), int(cells["point"]), x_px, y_px, sigma_px,
                  str(cells["status"]))
