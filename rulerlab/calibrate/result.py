"""What a calibration leaves behind: camera.toml with its history, and JSON for scripts."""

from __future__ import annotations

import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from rulerlab import __version__
from rulerlab.calibrate.board import Board
from rulerlab.calibrate.check import Checked
from rulerlab.calibrate.judge import advice, coverage, tilt_deg
from rulerlab.calibrate.lens import names
from rulerlab.calibrate.solve import Calibrated
from rulerlab.camera import write_camera
from rulerlab.errors import InputError
from rulerlab.rig import read_toml

SCHEMA_VERSION = 1


def sigmas(done: Calibrated) -> dict[str, float]:
    """Standard deviation of each parameter, by name."""
    spread = np.sqrt(np.diag(done.spread.covariance))
    return dict(zip(names(done.fit.model), spread.tolist(), strict=True))


def as_json_object(done: Calibrated, output: Path, plot: Path) -> dict[str, Any]:
    """The contract of `rulerlab calibrate camera --json`."""
    fit = done.fit
    return {
        "schema_version": SCHEMA_VERSION,
        "model": fit.model,
        "image_size_px": list(fit.size_px),
        "camera_matrix": done.camera.camera_matrix.tolist(),
        "distortion": done.camera.distortion.tolist(),
        "sigma": sigmas(done),
        "reprojection_error_px": fit.error_px(),
        "views_used": [view.name for view in fit.views],
        "views_dropped": [
            {"view": name, "reason": reason} for name, reason in done.dropped.items()
        ],
        "view_error_px": {
            view.name: error
            for view, error in zip(fit.views, fit.view_error_px().tolist(), strict=True)
        },
        "corners_dropped": done.corners_dropped,
        "covered": coverage(fit),
        "tilt_deg": tilt_deg(fit),
        "noise_px": done.spread.noise_px,
        "view_factor": done.spread.view_factor,
        "board_bend_mm": done.spread.bend_mm,
        "advice": advice(fit),
        "camera": str(output),
        "plot": str(plot),
    }


def check_as_json_object(found: Checked) -> dict[str, Any]:
    """The contract of `rulerlab calibrate check --json`; a number that is unknown is null."""
    lines = found.lines
    return {
        "schema_version": SCHEMA_VERSION,
        "verdict": found.verdict,
        "holds": found.verdict == "holds",
        "reasons": list(found.reasons),
        "lines": {
            "count": lines.lines,
            "bend_px": _number(lines.bend_px),
            "k1_shift": _number(lines.k1_shift),
            "k1_sigma": _number(lines.k1_sigma),
            "edge_shift_px": _number(found.edge_shift_px),
            "edge_shift_sigma_px": _number(found.edge_shift_sigma_px),
        },
        "board": None if found.board is None else asdict(found.board),
        "marks": None if found.marks is None else asdict(found.marks),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def write_calibration(path: Path, done: Calibrated, board: Board, files: list[str]) -> None:
    """Write camera.toml: the camera, then [made] with the board, the views and their errors."""
    write_camera(path, done.camera)
    fit = done.fit
    lines = [
        "",
        "[made]",
        f'by = "rulerlab {__version__}"',
        f"files = {json.dumps(files)}",
        f"noise_px = {done.spread.noise_px:.4f}",
        f"view_factor = {done.spread.view_factor:.3f}",
        f"board_bend_mm = {done.spread.bend_mm:.4f}",
        f"covered = {coverage(fit):.3f}",
        f"tilt_deg = {tilt_deg(fit):.1f}",
        "",
        "[made.board]",
        *board_lines(board),
        "",
        "[made.view_error_px]",
        *(
            f"{json.dumps(view.name)} = {error:.4f}"
            for view, error in zip(fit.views, fit.view_error_px(), strict=True)
        ),
        "",
        "[made.dropped]",
        *(f"{json.dumps(name)} = {json.dumps(why)}" for name, why in done.dropped.items()),
    ]
    with open(path, "a") as handle:
        handle.write("\n".join(lines) + "\n")


def board_lines(board: Board) -> list[str]:
    """The board as lines of TOML."""
    lines = [
        f'kind = "{board.kind}"',
        f"{'corners' if board.kind == 'chessboard' else 'squares'} = {list(board.size)}",
        f"square_mm = {board.square_mm!r}",
    ]
    if board.kind == "charuco":
        lines += [f"marker_mm = {board.marker_mm!r}", f'dictionary = "{board.dictionary}"']
    lines += ["inverted = true"] * board.inverted + ["legacy = true"] * board.legacy
    return lines


def read_board(path: Path) -> Board:
    """The board in the [board] table of a target.toml. Raises InputError."""
    data = read_toml(path)
    table = data.get("board")
    if not isinstance(table, dict):
        raise InputError(f"{path} has no [board]: `rulerlab print charuco` writes one")
    size = table.get("squares", table.get("corners", ()))
    try:
        return Board(
            str(table["kind"]), (int(size[0]), int(size[1])), float(table["square_mm"]),
            float(table["marker_mm"]) if "marker_mm" in table else None,
            str(table.get("dictionary", "DICT_4X4_50")),
            bool(table.get("inverted", False)), bool(table.get("legacy", False)),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise InputError(f"{path}: [board] is incomplete: {error}") from None
