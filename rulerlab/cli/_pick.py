"""`rulerlab track --pick`: joints by mouse, or a picture with a grid to read them from."""

from __future__ import annotations

import os
import sys

import numpy as np

from rulerlab.errors import InputError
from rulerlab.track.still import Still, write_png

STEPS_PX = (10, 20, 50, 100, 200, 500)  # between the lines of the grid
LINES = 16  # across the longer side, about
ENLARGE_PX = 1600  # small pictures are enlarged to about this, so that pixels can be read off


def pick_joints(still: Still) -> np.ndarray:
    """Joints (N, 2) in pixels, held end first, clicked in a window.

    Without a screen a picture with a grid is written instead, and InputError says what to do.
    """
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
            or sys.platform in ("win32", "darwin")):
        grid = still.path.with_name(still.path.stem + ".pick.png")
        write_png(grid, with_grid(still))
        raise InputError(
            f"no screen to pick joints on: read them off {grid} into a csv file (x,y in each row, "
            "held end first) and give it with --joints"
        )
    return _clicked(still)


def with_grid(still: Still) -> np.ndarray:
    """The picture, enlarged if it is small, with lines and numbers of its pixel coordinates."""
    import cv2

    longer = max(still.width, still.height)
    step = next((s for s in STEPS_PX if longer / s <= LINES), STEPS_PX[-1])
    times = max(1, round(ENLARGE_PX / longer))
    picture = cv2.resize(still.bgr, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC)
    height, width = picture.shape[:2]
    over = picture.copy()
    for value in range(0, longer, step):
        place = round((value + 0.5) * times - 0.5)
        cv2.line(over, (place, 0), (place, height), (0, 0, 255), 1)
        cv2.line(over, (0, place), (width, place), (0, 0, 255), 1)
    picture = cv2.addWeighted(over, 0.5, picture, 0.5, 0)
    for value in range(0, longer, step):
        place = round((value + 0.5) * times - 0.5)
        for at in ((place + 3, 14), (3, place - 4)):
            for colour, thick in (((255, 255, 255), 3), ((0, 0, 0), 1)):
                cv2.putText(picture, str(value), at, cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour,
                            thick, cv2.LINE_AA)
    return picture


def _clicked(still: Still) -> np.ndarray:
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(14, 8))
    axes.imshow(still.bgr[..., ::-1])
    axes.set_title("Click every joint, held end first; right click takes one back; Enter ends")
    places = figure.ginput(n=-1, timeout=0)
    plt.close(figure)
    if len(places) < 3:
        raise InputError(f"{len(places)} joints were picked; a chain has three or more")
    return np.array(places)
