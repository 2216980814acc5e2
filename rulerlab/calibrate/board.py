"""A calibration board and where its corners lie in a picture.

OpenCV 4 and 5 hand corners over in different shapes; here they leave as (n, 2) and (n,).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np

from rulerlab.errors import UsageError

FIND_WIDTH_PX = 1600  # chessboards are searched for in a copy no wider than this
WINDOW_SHARE = 0.35  # half window of the corner refinement, as a share of the corner distance
WINDOW_MAX_PX = 11


@dataclass(frozen=True)
class Board:
    """A flat board of known geometry: kind "chessboard" or "charuco".

    `size` counts the inner corners of a chessboard and the squares of a ChArUco board, across
    and down. `inverted`: dark and light are exchanged. `legacy`: the pattern of OpenCV before
    4.6, as calib.io prints it (it differs for an even number of rows).
    """

    kind: str
    size: tuple[int, int]
    square_mm: float
    marker_mm: float | None = None
    dictionary: str = "DICT_4X4_50"
    inverted: bool = False
    legacy: bool = False

    def __post_init__(self):
        if self.kind not in ("chessboard", "charuco"):
            raise UsageError(f"board {self.kind!r} is neither chessboard nor charuco")
        if min(self.size) < 3:
            raise UsageError(f"a board of {self.text_size} is too small: 3 or more each way")
        if not self.square_mm > 0:
            raise UsageError(f"square_mm must be above zero, got {self.square_mm}")
        if self.kind == "charuco":
            if self.marker_mm is None:
                raise UsageError("a ChArUco board needs the size of its markers (--marker-mm)")
            if not 0 < self.marker_mm < self.square_mm:
                raise UsageError(
                    f"markers of {self.marker_mm:g} mm don't fit in squares of "
                    f"{self.square_mm:g} mm"
                )
            markers, known = self.size[0] * self.size[1] // 2, len(self.cv_dictionary.bytesList)
            if markers > known:
                raise UsageError(
                    f"{self.text_size} squares hold {markers} markers, {self.dictionary} knows "
                    f"only {known}"
                )

    @property
    def text_size(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"

    @property
    def description(self) -> str:
        """One line that names the board, as camera.toml holds it."""
        if self.kind == "chessboard":
            text = f"chessboard {self.text_size} inner corners, {self.square_mm:g} mm"
        else:
            text = (f"charuco {self.text_size} squares, {self.square_mm:g}/{self.marker_mm:g} mm, "
                    f"{self.dictionary}")
        return text + ", inverted" * self.inverted + ", legacy" * self.legacy

    @cached_property
    def cv_dictionary(self) -> cv2.aruco.Dictionary:
        return dictionary(self.dictionary)

    @cached_property
    def cv_board(self) -> cv2.aruco.CharucoBoard:
        board = cv2.aruco.CharucoBoard(
            self.size, self.square_mm, self.marker_mm, self.cv_dictionary
        )
        board.setLegacyPattern(self.legacy)
        return board

    @cached_property
    def inner(self) -> tuple[int, int]:
        """Inner corners across and down."""
        return self.size if self.kind == "chessboard" else (self.size[0] - 1, self.size[1] - 1)

    @cached_property
    def corners_mm(self) -> np.ndarray:
        """Every inner corner, row by row, (n, 3) with z = 0."""
        across, down = self.inner
        grid = np.mgrid[:across, :down].T.reshape(-1, 2) * self.square_mm
        if self.kind == "charuco":
            grid = grid + self.square_mm
        return np.column_stack([grid, np.zeros(len(grid))])


def dictionary(name: str) -> cv2.aruco.Dictionary:
    """A marker dictionary by OpenCV's name. Raises UsageError for an unknown one."""
    code = getattr(cv2.aruco, name, None)
    if not name.startswith("DICT_") or not isinstance(code, int):
        raise UsageError(f"unknown dictionary {name!r}: for instance DICT_4X4_50, DICT_5X5_100")
    return cv2.aruco.getPredefinedDictionary(code)


def find_corners(picture: np.ndarray, board: Board) -> tuple[np.ndarray, np.ndarray]:
    """Indices (n,) into `board.corners_mm` and pixels (n, 2) of the corners that are seen.

    `picture` is grey, (H, W) uint8. Both are empty when the board is not seen.
    """
    if board.inverted:
        picture = cv2.bitwise_not(picture)
    if board.kind == "charuco":
        return _find_charuco(picture, board)
    return _find_chessboard(picture, board)


def _nothing() -> tuple[np.ndarray, np.ndarray]:
    return np.zeros(0, int), np.zeros((0, 2))


def _find_charuco(picture: np.ndarray, board: Board) -> tuple[np.ndarray, np.ndarray]:
    detector = cv2.aruco.CharucoDetector(board.cv_board)
    corners, ids, _, _ = detector.detectBoard(picture)
    if ids is None or len(ids) < 4:
        return _nothing()
    return np.ravel(ids).astype(int), np.reshape(corners, (-1, 2)).astype(float)


def _find_chessboard(picture: np.ndarray, board: Board) -> tuple[np.ndarray, np.ndarray]:
    factor = min(1.0, FIND_WIDTH_PX / max(picture.shape))
    small = picture
    if factor < 1:
        small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    found, corners = cv2.findChessboardCornersSB(
        small, board.inner,
        flags=cv2.CALIB_CB_NORMALIZE_IMAGE | cv2.CALIB_CB_EXHAUSTIVE | cv2.CALIB_CB_ACCURACY,
    )
    if not found:
        found, corners = cv2.findChessboardCorners(
            small, board.inner,
            flags=cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_NORMALIZE_IMAGE
            | cv2.CALIB_CB_FAST_CHECK,
        )
    if not found:
        return _nothing()
    corners = (np.reshape(corners, (-1, 2)).astype(np.float64) + 0.5) / factor - 0.5
    corners = _canonical(refine(picture, corners, board.inner), picture, board.inner)
    return np.arange(len(corners)), corners


def quick_corners(picture: np.ndarray, board: Board) -> np.ndarray:
    """Rough corners (n, 2) for choosing frames of a video; empty when no board is seen."""
    if board.kind == "charuco":
        return find_corners(picture, board)[1]
    if board.inverted:
        picture = cv2.bitwise_not(picture)
    factor = min(1.0, 800 / max(picture.shape))
    small = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    found, corners = cv2.findChessboardCorners(
        small, board.inner, flags=cv2.CALIB_CB_ADAPTIVE_THRESH | cv2.CALIB_CB_FAST_CHECK
    )
    return np.reshape(corners, (-1, 2)) / factor if found else np.zeros((0, 2))


def refine(picture: np.ndarray, corners_px: np.ndarray, inner: tuple[int, int]) -> np.ndarray:
    """Saddle points (n, 2) near the given ones, from a window that no neighbour reaches."""
    grid = corners_px.reshape(inner[1], inner[0], 2)
    spacing = min(
        np.linalg.norm(np.diff(grid, axis=axis), axis=-1).min() for axis in (0, 1)
    )
    half = int(np.clip(spacing * WINDOW_SHARE, 2, WINDOW_MAX_PX))
    stop = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 100, 1e-4)
    start = np.ascontiguousarray(corners_px, np.float32).reshape(-1, 1, 2)
    corners = cv2.cornerSubPix(picture, start, (half, half), (-1, -1), stop)
    return corners.reshape(-1, 2).astype(float)


def _canonical(corners_px: np.ndarray, picture: np.ndarray, inner: tuple[int, int]) -> np.ndarray:
    """The corners in one order for all pictures: not mirrored, first square dark.

    The same corner of the board then has the same index in every view (with an odd sum of rows
    and columns; a symmetric board can't be told from its half turn).
    """
    grid = corners_px.reshape(inner[1], inner[0], 2)
    across, down = grid[0, -1] - grid[0, 0], grid[-1, 0] - grid[0, 0]
    if across[0] * down[1] - across[1] * down[0] < 0:
        grid = grid[:, ::-1]
    if sum(inner) % 2:
        first, last = grid[:2, :2].mean(axis=(0, 1)), grid[-2:, -2:].mean(axis=(0, 1))
        if _grey(picture, first) > _grey(picture, last):
            grid = grid[::-1, ::-1]
    return np.ascontiguousarray(grid.reshape(-1, 2))


def _grey(picture: np.ndarray, point_px: np.ndarray) -> float:
    x, y = np.round(point_px).astype(int)
    patch = picture[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
    return float(patch.mean()) if patch.size else 0.0
