"""Board pictures to a camera with honest error bars, and a check whether it still holds.

    views = read_views(["board.mp4"], Board("chessboard", (9, 6), 25.0))
    calibrated = calibrate_camera(views)
    write_camera("camera.toml", calibrated.camera)
"""

from rulerlab.calibrate.board import Board, find_corners
from rulerlab.calibrate.solve import Calibrated, calibrate_camera
from rulerlab.calibrate.views import View, Views, read_views

__all__ = [
    "Board", "Calibrated", "View", "Views", "calibrate_camera", "find_corners", "read_views",
]
