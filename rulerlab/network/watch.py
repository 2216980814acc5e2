"""The load curve of a network while it is trained."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from torch import nn

from rulerlab.errors import InputError, UsageError
from rulerlab.network.curve import How, measure_layers
from rulerlab.records import LoadCurve


class Watch:
    """Call it after each training step; every `every` steps it measures the load curve.

    `loader` and `how` are those of `measure_layers`: a few hundred samples, always the same, are
    enough to follow a curve. The network goes on training as if nobody had looked: its modes,
    running means, gradients and random numbers are not touched. What was seen is in `steps` and
    `curves`; `seconds` is what looking has cost.
    """

    def __init__(self, model: nn.Module, loader: Any, *, every: int = 100, how: How | None = None):
        if every < 1:
            raise UsageError(f"every is {every}; look every 1 step or more seldom")
        self.model, self.loader, self.every = model, loader, every
        self.how = how or How(errors=False)
        self.steps: list[int] = []
        self.curves: list[LoadCurve] = []
        self.seconds = 0.0
        self._step = 0

    def __call__(self) -> LoadCurve | None:
        """Count a step; the curve, if this was one to look at."""
        self._step += 1
        return self.look() if self._step % self.every == 0 else None

    def look(self) -> LoadCurve:
        """Measure now, whatever the step."""
        began = time.perf_counter()
        measured = measure_layers(self.model, self.loader, self.how)
        self.steps.append(self._step)
        self.curves.append(measured.curves[self.how.measures[0]])
        self.seconds += time.perf_counter() - began
        return self.curves[-1]

    def write(self, path: str | Path) -> None:
        """Write what was seen: step, c~, v~, regime and D_0 .. D_L, one row per look."""
        points = range(len(self.curves[0].remaining)) if self.curves else ()
        lines = [",".join(["step", "c_normalised", "v_normalised", "regime",
                           *(f"D_{place}" for place in points)])]  # fmt: skip
        for step, curve in zip(self.steps, self.curves, strict=True):
            shape = [f"{curve.c_normalised:.6f}", f"{curve.v_normalised:.6f}", curve.regime]
            lines.append(",".join([str(step), *shape, *(f"{d:.6f}" for d in curve.remaining)]))
        try:
            Path(path).write_text("\n".join(lines) + "\n", encoding="utf-8")
        except OSError as error:
            raise InputError(f"{path} can't be written: {error.strerror}") from error
