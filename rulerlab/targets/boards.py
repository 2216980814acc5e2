"""Calibration boards on paper, drawn from the same Board that finds them again."""

from __future__ import annotations

import cv2
import numpy as np

from rulerlab.calibrate.board import Board, dictionary
from rulerlab.errors import UsageError
from rulerlab.targets.sheet import MARGIN_MM, Sheet, modules

DEFAULT_BOARD = Board("charuco", (9, 7), 24.0, 18.0, "DICT_5X5_100")
DEFAULT_CHESSBOARD = Board("chessboard", (9, 6), 22.0)


def board_sheet(board: Board, *, paper: str = "a4", code: str = "") -> Sheet:
    """A board in the middle of a sheet. Raises UsageError when the paper is too small."""
    sheet = Sheet(paper)
    across, down = squares_of(board)
    width, height = across * board.square_mm, down * board.square_mm
    left, bottom, room_x, room_y = sheet.free_mm
    edge = board.square_mm / 4 if board.inverted else 0.0  # a dark frame round an inverted board
    if width + 2 * edge > room_x or height + 2 * edge > room_y:
        raise UsageError(
            f"a board of {width:g} x {height:g} mm does not fit on {paper}, which has room for "
            f"{room_x:.0f} x {room_y:.0f} mm: take smaller or fewer squares"
        )
    left, top = left + (room_x - width) / 2, bottom + (room_y + height) / 2
    dark = _dark_squares(board)
    if board.inverted:
        sheet.rectangle(left - edge, top - height - edge, width + 2 * edge, height + 2 * edge)
        ink = Sheet(paper)
    else:
        ink = sheet
    for row, column in np.argwhere(dark):
        ink.rectangle(left + column * board.square_mm, top - (row + 1) * board.square_mm,
                      board.square_mm, board.square_mm)
    if board.kind == "charuco":
        _markers(ink, board, left, top)
    if board.inverted:
        sheet.paths["white"] = ink.paths["black"]
    sheet.bars_and_foot(board.description, code)
    if bottom - MARGIN_MM < 0:
        raise UsageError(f"no room for a board on {paper}")
    return sheet


def squares_of(board: Board) -> tuple[int, int]:
    """Squares of a board across and down."""
    if board.kind == "charuco":
        return board.size
    return board.size[0] + 1, board.size[1] + 1


def marker_bits(name: str, tag: int) -> np.ndarray:
    """Modules of a marker with its dark border, (n, n), True is dark. Raises UsageError."""
    known = dictionary(name)
    if not 0 <= tag < len(known.bytesList):
        raise UsageError(f"{name} has tags 0 to {len(known.bytesList) - 1}, not {tag}")
    side = known.markerSize + 2
    return cv2.aruco.generateImageMarker(known, int(tag), side, borderBits=1) == 0


def _dark_squares(board: Board) -> np.ndarray:
    """Which squares are dark throughout, (down, across)."""
    across, down = squares_of(board)
    if board.kind == "chessboard":
        return np.indices((down, across)).sum(axis=0) % 2 == 0
    dark = np.ones((down, across), bool)
    for corners in board.cv_board.getObjPoints():
        column, row = (np.mean(corners, axis=0)[:2] / board.square_mm).astype(int)
        dark[row, column] = False
    return dark


def _markers(sheet: Sheet, board: Board, left: float, top: float) -> None:
    for tag, corners in zip(
        np.ravel(board.cv_board.getIds()), board.cv_board.getObjPoints(), strict=True
    ):
        x, y = np.asarray(corners)[0, :2]  # the corner at the upper left
        bits = marker_bits(board.dictionary, int(tag))
        side = float(np.asarray(corners)[1, 0] - x)
        modules(sheet, bits, left + float(x), top - float(y), side / len(bits))
