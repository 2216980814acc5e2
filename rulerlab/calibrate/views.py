"""Views of a board: from pictures, or the best and most different frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rulerlab.calibrate.board import Board, find_corners, quick_corners
from rulerlab.errors import InputError, QualityError
from rulerlab.video import VIDEO_SUFFIXES, Recording, files_in

CORNERS_MIN = 6  # twelve numbers, for the six of a pose
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp")
VIDEO_LOOKS = 240  # frames of a video in which the board is searched for
VIDEO_VIEWS = 30  # frames of a video that are used


@dataclass(frozen=True)
class View:
    """One picture of the board: n corners, known on the board and seen in the picture."""

    name: str
    ids: np.ndarray  # (n,) index of the corner on the board
    points_mm: np.ndarray  # (n, 3) on the board, z = 0
    corners_px: np.ndarray  # (n, 2)

    def __post_init__(self):
        if not len(self.ids) == len(self.points_mm) == len(self.corners_px):
            raise ValueError("ids, points_mm and corners_px must be of equal length")

    def without(self, bad: np.ndarray) -> View:
        """The view without the corners marked in `bad` (n,)."""
        keep = ~bad
        return View(self.name, self.ids[keep], self.points_mm[keep], self.corners_px[keep])


@dataclass(frozen=True)
class Views:
    """What was found in a set of pictures of one size."""

    size_px: tuple[int, int]  # width, height
    views: tuple[View, ...]
    dropped: dict[str, str]  # name of the picture -> why it is of no use


def read_views(paths: Iterable[Path], board: Board,
               *, progress: Callable[[int, int], None] | None = None) -> Views:
    """Find the board in pictures, folders of pictures, or videos.

    Raises InputError when a file can't be read, QualityError when no picture shows the board.
    """
    files = files_in(map(Path, paths), PICTURE_SUFFIXES + VIDEO_SUFFIXES)
    views: list[tuple[tuple[int, int], View]] = []
    dropped: dict[str, str] = {}
    for number, path in enumerate(files):
        if progress is not None:
            progress(number, len(files))
        if path.suffix.lower() in VIDEO_SUFFIXES:
            views += _views_of_video(path, board, dropped)
        else:
            picture = read_picture(path)
            found = view_of(path.name, picture, board, dropped)
            if found is not None:
                views.append((picture.shape[::-1], found))
    if not views:
        raise QualityError(_why_nothing(files, board))
    sizes = [size for size, _ in views]
    size = max(set(sizes), key=sizes.count)
    for other, view in views:
        if other != size:
            dropped[view.name] = (
                f"is {other[0]}x{other[1]} px, the others are {size[0]}x{size[1]}"
            )
    return Views(size, tuple(view for other, view in views if other == size), dropped)


def read_picture(path: Path) -> np.ndarray:
    """A picture in grey, (H, W) uint8, as the sensor lies (a note to turn it is ignored)."""
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    flags = cv2.IMREAD_GRAYSCALE | cv2.IMREAD_IGNORE_ORIENTATION
    picture = cv2.imdecode(data, flags) if len(data) else None
    if picture is None:
        raise InputError(f"{path} is not a picture that can be read")
    return picture


def view_of(
    name: str, picture: np.ndarray, board: Board, dropped: dict[str, str]
) -> View | None:
    """The board in one grey picture; without it the reason goes into `dropped`."""
    ids, corners = find_corners(picture, board)
    if not len(ids):
        dropped[name] = "board not found"
    elif len(ids) < CORNERS_MIN or _in_one_line(board.corners_mm[ids]):
        dropped[name] = f"only {len(ids)} of {len(board.corners_mm)} corners seen"
    else:
        return View(name, ids, board.corners_mm[ids], corners)
    return None


def _in_one_line(points_mm: np.ndarray) -> bool:
    spread = np.linalg.svd(points_mm[:, :2] - points_mm[:, :2].mean(axis=0), compute_uv=False)
    return spread[1] < 0.1 * spread[0] or len(np.unique(points_mm[:, 0])) < 2


def _views_of_video(
    path: Path, board: Board, dropped: dict[str, str]
) -> list[tuple[tuple[int, int], View]]:
    """The views of the chosen frames; the file is read twice, in constant memory."""
    recording = Recording(path)
    chosen = _choose_frames(recording, board)
    views = []
    for frame in recording.frames():
        if frame.index in chosen:
            picture = np.ascontiguousarray(frame.luma)
            view = view_of(f"{path.name}#{frame.index}", picture, board, dropped)
            if view is not None:
                views.append((picture.shape[::-1], view))
    return views


def _choose_frames(recording: Recording, board: Board) -> set[int]:
    """Frames that are sharp and differ most from one another."""
    step = max(1, recording.frames_declared // VIDEO_LOOKS)
    indices, poses, blurs = [], [], []
    for frame in recording.frames():
        if frame.index % step or frame.corrupt:
            continue
        picture = np.ascontiguousarray(frame.luma)
        corners = quick_corners(picture, board)
        if len(corners) >= CORNERS_MIN:
            indices.append(frame.index)
            poses.append(_pose_of(corners, picture.shape))
            blurs.append(blur_px(picture, corners))
    if not indices:
        return set()
    blur = np.array(blurs)
    sharp = np.flatnonzero(blur <= np.quantile(blur, 0.6))
    picks = farthest(np.array(poses)[sharp], VIDEO_VIEWS)
    return {indices[sharp[k]] for k in picks}


def _pose_of(corners_px: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Where the board lies, how large and how tilted it looks: comparable numbers, (7,)."""
    place = corners_px / max(shape)
    centre = place.mean(axis=0)
    spread = place - centre
    second = spread.T @ spread / len(place)
    third = [(spread[:, a] ** 2 * spread[:, b]).mean() for a, b in ((0, 1), (1, 0))]
    size = np.sqrt(np.trace(second))
    shear = np.array([second[0, 0] - second[1, 1], second[0, 1]]) / size**2
    return np.concatenate([centre, [size], shear, np.array(third) / size**3])


def blur_px(picture: np.ndarray, corners_px: np.ndarray) -> float:
    """Width of the board's edges in the picture, px: contrast over the steepest slope."""
    x, y = np.round(corners_px).astype(int).T
    left, top, right, bottom = max(x.min(), 0), max(y.min(), 0), x.max() + 1, y.max() + 1
    part = picture[top:bottom, left:right].astype(np.float32)
    if min(part.shape) < 5:
        return float("inf")
    slope = np.hypot(cv2.Sobel(part, -1, 1, 0, scale=1 / 8), cv2.Sobel(part, -1, 0, 1, scale=1 / 8))
    contrast = np.quantile(part, 0.95) - np.quantile(part, 0.05)
    return float(contrast / max(np.quantile(slope, 0.99), 1e-6))


def farthest(poses: np.ndarray, count: int) -> list[int]:
    """Indices of up to `count` rows of `poses` (n, d), each far from those before it."""
    scaled = poses / np.maximum(poses.std(axis=0), 1e-9)
    picks = [int(np.linalg.norm(scaled - np.median(scaled, axis=0), axis=1).argmin())]
    distance = np.linalg.norm(scaled - scaled[picks[0]], axis=1)
    while len(picks) < min(count, len(poses)) and distance.max() > 1e-3:
        picks.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(scaled - scaled[picks[-1]], axis=1))
    return picks


def _why_nothing(files: list[Path], board: Board) -> str:
    """Say that no picture shows the board, and which switch would have found one."""
    from dataclasses import replace

    message = f"none of {len(files)} files shows a {board.description}"
    pictures = [f for f in files if f.suffix.lower() not in VIDEO_SUFFIXES][:3]
    switches = [("--inverted", {"inverted": not board.inverted})]
    if board.kind == "charuco":
        switches.append(("--legacy", {"legacy": not board.legacy}))
    for switch, change in switches:
        other = replace(board, **change)
        if any(len(find_corners(read_picture(f), other)[0]) for f in pictures):
            return f"{message}; with {switch} it is found"
    return (f"{message}; check --{'corners' if board.kind == 'chessboard' else 'squares'} "
            "(a chessboard is counted by its inner corners), light and focus")
