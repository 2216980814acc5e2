"""Printable boards, tags, dots and crosses at exact scale, and how large they came out."""

from rulerlab.targets.boards import DEFAULT_BOARD, DEFAULT_CHESSBOARD, board_sheet
from rulerlab.targets.marks import CROSSES_MM, cross_sheet, dot_sheet, tag_sheet
from rulerlab.targets.measured import read_plan, sheet_code, write_target

__all__ = [
    "CROSSES_MM", "DEFAULT_BOARD", "DEFAULT_CHESSBOARD", "board_sheet", "cross_sheet",
    "dot_sheet", "read_plan", "sheet_code", "tag_sheet", "write_target",
]
