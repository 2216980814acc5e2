"""What was printed, and how large it came out: the .toml beside each sheet.

[plan] is the sheet as drawn, [printed] the measured bars, and [board] or [reference] the sizes
on the paper, which calibration and rig use.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rulerlab import __version__
from rulerlab.errors import InputError, QualityError
from rulerlab.rig import read_toml
from rulerlab.targets.sheet import BAR_MM

SCALE_OFF_MAX = 0.02  # relative: beyond, the printer has fitted the sheet to the page
STRETCH_MAX = 0.005  # relative difference of the two bars
CALIPER_SIGMA_MM = 0.1
SIZES = ("square_mm", "marker_mm", "tag_size_mm", "diameter_mm", "crosses_mm")


def sheet_code(plan: dict[str, Any]) -> str:
    """Eight signs that name a plan; they stand on the sheet and in its .toml."""
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()[:8]


def write_target(path: Path, plan: dict[str, Any], bars_mm: tuple[float, float] | None) -> None:
    """Write the .toml of a sheet: its plan, and the sizes on paper if the bars were measured."""
    lines = [
        "[sheet]", f'by = "rulerlab {__version__}"', f'code = "{sheet_code(plan)}"',
        f"bar_mm = {BAR_MM}",
    ]
    scale_x = scale_y = 1.0
    if bars_mm is not None:
        scale_x, scale_y = scales(*bars_mm)
        lines += [
            "", "[printed]", f"bar_x_mm = {bars_mm[0]!r}", f"bar_y_mm = {bars_mm[1]!r}",
            f"scale_x = {scale_x:.6f}", f"scale_y = {scale_y:.6f}",
            f"scale_sigma = {CALIPER_SIGMA_MM / BAR_MM:.6f}",
        ]
    if plan:
        lines += ["", "[plan]", *_lines(plan)]
        sizes = {key: value for key, value in plan.items() if key != "paper"}
        table = "board" if plan["kind"] in ("charuco", "chessboard") else "reference"
        lines += ["", f"[{table}]", *_lines(_scaled(sizes, scale_x, scale_y))]
    Path(path).write_text("\n".join(lines) + "\n")


def read_plan(path: Path) -> dict[str, Any]:
    """The plan in the .toml of a sheet. Raises InputError."""
    data = read_toml(path)
    if "sheet" not in data:
        raise InputError(f"{path} is not the .toml of a sheet: it has no [sheet]")
    return data.get("plan", {})


def scales(bar_x_mm: float, bar_y_mm: float) -> tuple[float, float]:
    """Printed over drawn length along both axes. Raises QualityError for an unusable print."""
    scale_x, scale_y = bar_x_mm / BAR_MM, bar_y_mm / BAR_MM
    for axis, bar, scale in (("across", bar_x_mm, scale_x), ("up", bar_y_mm, scale_y)):
        if not abs(scale - 1) <= SCALE_OFF_MAX + 1e-12:
            raise QualityError(
                f"the bar {axis} is {bar:g} mm long, {100 * (scale - 1):+.1f} % off: the sheet "
                "was not printed at 100 %; switch off \"fit to page\" and print again"
            )
    stretch = scale_x / scale_y - 1
    if abs(stretch) > STRETCH_MAX + 1e-12:
        raise QualityError(
            f"the bars differ by {100 * abs(stretch):.1f} % ({bar_x_mm:g} and {bar_y_mm:g} mm): "
            "this printer stretches the paper; measure again or use another printer"
        )
    return scale_x, scale_y


def _scaled(sizes: dict[str, Any], scale_x: float, scale_y: float) -> dict[str, Any]:
    mean = (scale_x + scale_y) / 2
    scaled = dict(sizes)
    for key in SIZES:
        if key == "crosses_mm" and key in sizes:
            scaled[key] = [[round(x * scale_x, 3), round(y * scale_y, 3)] for x, y in sizes[key]]
        elif key in sizes:
            scaled[key] = round(sizes[key] * mean, 4)
    return scaled


def _lines(values: dict[str, Any]) -> list[str]:
    """Values as lines of TOML: strings, numbers, truth values and lists read alike in JSON."""
    return [f"{key} = {json.dumps(value)}" for key, value in values.items()]
