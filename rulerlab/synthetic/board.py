"""A calibration board, waved before a camera of known truth, and other flat things it looks at."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from rulerlab.calibrate.board import Board
from rulerlab.camera import Camera, write_camera
from rulerlab.errors import UsageError
from rulerlab.video import VideoWriter

FINER = 2  # rays per pixel, each way
BLUR_PX = 0.7  # sigma of lens and sensor
DARK, LIGHT = 40.0, 193.0  # grey of ink and paper
TABLE = 128  # grey in the texture of what lies round the board
HOLD_S, MOVE_S, EXPOSURE_S = 0.45, 0.55, 0.008
FILLS = (0.45, 0.95)  # share of the picture's width that the board takes
TILT_DEG = (15.0, 40.0)


@dataclass(frozen=True)
class FlatStudio:
    """Pictures of flat things through one lens."""

    camera: Camera

    @cached_property
    def rays(self) -> np.ndarray:
        """Rays (n, 3) through a grid FINER than the pixels, row by row."""
        width, height = self.camera.image_size_px
        grid = np.meshgrid(*((np.arange(FINER * n) + 0.5) / FINER - 0.5 for n in (width, height)))
        rays = self.camera.undistort(np.stack(grid, axis=-1).reshape(-1, 2))
        return np.column_stack([rays, np.ones(len(rays))]).astype(np.float32)

    def expose(self, flat: np.ndarray, to_flat: np.ndarray) -> np.ndarray:
        """Grey (H, W) float32 of a texture (h, w) uint8; `to_flat` (3, 3) takes rays to its pixels.
        """
        width, height = self.camera.image_size_px
        place = self.rays @ to_flat.T.astype(np.float32)
        place = (place[:, :2] / place[:, 2:]).reshape(FINER * height, FINER * width, 2)
        seen = cv2.remap(flat, place, None, cv2.INTER_LINEAR, borderValue=TABLE)
        return cv2.resize(seen.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)

    def develop(self, exposed: np.ndarray, rng: np.random.Generator, noise: float) -> np.ndarray:
        """The picture (H, W) uint8 that the sensor makes of it; `noise` in grey levels, rms."""
        picture = DARK + (LIGHT - DARK) / 255 * cv2.GaussianBlur(exposed, (0, 0), BLUR_PX)
        picture += noise * rng.standard_normal(picture.shape, np.float32)
        return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def board_texture(board: Board, per_mm: float) -> tuple[np.ndarray, np.ndarray]:
    """A board with a white rim, (h, w) uint8, and the matrix (3, 3) from its mm to its pixels."""
    side = round(board.square_mm * per_mm)
    per_mm = side / board.square_mm
    if board.kind == "charuco":
        ink = board.cv_board.generateImage([n * side for n in board.size], None, 0, 1)
        first = 0.0
    else:
        checks = np.indices((board.size[1] + 1, board.size[0] + 1)).sum(axis=0) % 2 * 255
        ink, first = np.kron(checks, np.ones((side, side))).astype(np.uint8), board.square_mm
    rim = side // 2
    ink = cv2.copyMakeBorder(ink, rim, rim, rim, rim, cv2.BORDER_CONSTANT, value=255)
    if board.inverted:
        ink = cv2.bitwise_not(ink)
    shift = first * per_mm + rim - 0.5
    return ink, np.array([[per_mm, 0, shift], [0, per_mm, shift], [0, 0, 1.0]])


def rays_to_board(pose: np.ndarray) -> np.ndarray:
    """The matrix (3, 3) from rays to mm on a board at `pose` (6,), Rodrigues vector and shift."""
    turn = cv2.Rodrigues(pose[:3])[0]
    return np.linalg.inv(np.column_stack([turn[:, 0], turn[:, 1], pose[3:]]))


def random_pose(camera: Camera, board: Board, rng: np.random.Generator) -> np.ndarray:
    """A pose (6,) that shows a board large, tilted to any side, anywhere in the picture.

    A chessboard is seen whole, of a ChArUco board at least half.
    """
    size, corners = np.array(camera.image_size_px), board.corners_mm
    matrix = camera.camera_matrix
    wide = (board.inner[0] + 1) * board.square_mm
    needed = 1.0 if board.kind == "chessboard" else 0.5
    for _ in range(2000):
        tilt, way = np.radians(rng.uniform(*TILT_DEG)), rng.uniform(0, 2 * np.pi)
        turn = cv2.Rodrigues(np.array([np.cos(way), np.sin(way), 0]) * tilt)[0]
        turn = turn @ cv2.Rodrigues(np.array([0, 0, rng.uniform(-0.4, 0.4)]))[0]
        depth = matrix[0, 0] * wide / (rng.uniform(*FILLS) * size[0])
        ray = camera.undistort(rng.uniform(0.1, 0.9, 2) * size)
        shift = depth * np.append(ray, 1.0) - turn @ corners.mean(axis=0)
        pose = np.concatenate([cv2.Rodrigues(turn)[0].ravel(), shift])
        pixels = camera.project(corners, pose[:3], pose[3:])
        inside = ((pixels > 8) & (pixels < size - 9)).all(axis=1)
        if inside.mean() >= needed:
            return pose
    raise UsageError(f"a {board.description} does not fit into the picture of this camera")


def film_board(
    camera: Camera, board: Board, path: Path, *, seconds: float = 24.0, fps: float = 7.0,
    noise: float = 2.0, kbps: int = 4000, seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Film a board that is held still here and there, and moved in between; camera.toml beside.

    Returns the path of NAME.camera.toml, the truth. Raises UsageError when the folder can't be
    written.
    """
    rng, studio = np.random.default_rng(seed), FlatStudio(camera)
    poses = [random_pose(camera, board, rng)
             for _ in range(2 + int(seconds / (HOLD_S + MOVE_S)))]
    depth = np.median([pose[5] for pose in poses])
    texture, to_texture = board_texture(board, 1.5 * camera.camera_matrix[0, 0] / depth)
    known = path.with_suffix(".camera.toml")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_camera(known, camera)
    except OSError as error:
        raise UsageError(f"{error.filename or path}: {error.strerror}") from None
    count = round(seconds * fps)
    with VideoWriter(path, *camera.image_size_px, kbps=kbps) as writer:
        for frame in range(count):
            open_s = frame / fps + EXPOSURE_S * np.array([-0.5, 0.0, 0.5])
            seen = [_between(poses, float(t)) for t in (open_s if _moves(open_s) else open_s[1:2])]
            exposed = [studio.expose(texture, to_texture @ rays_to_board(pose)) for pose in seen]
            grey = studio.develop(np.mean(exposed, axis=0), rng, noise)
            writer.write(cv2.cvtColor(grey, cv2.COLOR_GRAY2BGR), frame / fps)
            if progress is not None:
                progress(frame + 1, count)
    return known


def _moves(time_s: np.ndarray) -> bool:
    return bool((np.maximum(time_s, 0) % (HOLD_S + MOVE_S) > HOLD_S).any())


def _between(poses: list[np.ndarray], time_s: float) -> np.ndarray:
    """The pose at a time: still for HOLD_S, then gently to the next one."""
    whole, part = divmod(max(time_s, 0.0) / (HOLD_S + MOVE_S), 1)
    ease = np.clip((part * (HOLD_S + MOVE_S) - HOLD_S) / MOVE_S, 0, 1)
    ease = ease**2 * (3 - 2 * ease)
    first, second = poses[int(whole)], poses[int(whole) + 1]
    return first + ease * (second - first)
