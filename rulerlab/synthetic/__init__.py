"""A filmed rig with known truth: for tests, for accuracy tables, and for users without a rig."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from rulerlab.camera import Camera, write_camera
from rulerlab.synthetic.draw import (
    FINE,
    REFERENCE_IDS,
    TAG_SIZE_MM,
    Painter,
    reference_mm,
)
from rulerlab.synthetic.motion import (
    Scene,
    block_points,
    board_shift,
    camera_sway,
    frame_times,
    point_heights,
    ruler_points,
)

__all__ = ["Scene", "film", "scene_camera"]

TICKS = 90_000  # per second, the time base of the film
HAND_MM = {"ruler": 13.0, "blocks": 38.0}  # finger tips beyond the pulled point


def scene_camera(scene: Scene) -> Camera:
    """The camera that films a scene; it shows the whole board whatever the resolution."""
    width, height = scene.size_px
    focal = 1.42 * width
    matrix = np.array([[focal, 0, width / 2 - 3.0], [0, focal, height / 2 + 2.5], [0, 0, 1]])
    return Camera(scene.size_px, matrix, np.array(scene.distortion))


def _pose(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """World to camera: looking down on the board, tilted about x."""
    distance = 650.0 if scene.kind == "ruler" else 850.0
    down = np.diag([1.0, -1.0, -1.0])
    tilt = cv2.Rodrigues(np.radians([scene.tilt_deg, 0.3 * scene.tilt_deg, 1.0]))[0]
    return tilt @ down, np.array([-4.0, 3.0, distance])


def film(scene: Scene, path: Path, *, progress: Callable[[int, int], None] | None = None) -> Path:
    """Write a clip to `path` (.mp4), and beside it .rig.toml, .camera.toml and .truth.npz.

    The truth holds t_s (F,), point_px (F, P, 2) after lens distortion, point_world_mm (F, P, 3),
    point_visible (F, P; 1 seen, 0 covered, -1 outside the picture) and extension_x_mm (F, P-1).
    """
    path = Path(path)
    times = frame_times(scene)
    camera = scene_camera(scene)
    painter = Painter(scene, camera)
    noise = np.random.default_rng([scene.seed, 8])
    truth = _Truth(scene, times)
    past: list[np.ndarray] = []
    with _Film(path, scene) as reel:
        for number, start in enumerate(times):
            sharp = truth.expose(painter, number, start)
            grainy = _develop(sharp, scene, noise)
            if number in scene.duplicated and past:
                grainy = past[-1]
            past = [*past[-1:], grainy]
            if number in scene.ghosted and number + 1 < len(times):
                after = _develop(truth.peek(painter, times[number + 1]), scene, noise)
                grainy = ((past[0].astype(np.uint16) + after) // 2).astype(np.uint8)
            reel.write(grainy, start)
            if progress:
                progress(number + 1, len(times))
    truth.save(path.with_suffix(".truth.npz"))
    write_camera(path.with_suffix(".camera.toml"), camera)
    path.with_suffix(".rig.toml").write_text(_rig_toml(scene, path.stem))
    return path


class _Truth:
    """Where everything is at any time, and what was put on film."""

    def __init__(self, scene: Scene, times: np.ndarray):
        self.scene, self.times = scene, times
        self.heights = point_heights(scene)
        self.pixels, self.world, self.visible = [], [], []

    def _at(self, moments: np.ndarray):
        scene = self.scene
        where = ruler_points if scene.kind == "ruler" else block_points
        return where(scene, moments), board_shift(scene, moments), camera_sway(scene, moments)

    def _draw(self, painter: Painter, moments: np.ndarray) -> np.ndarray:
        scene = self.scene
        points, board, sway = self._at(moments)
        rotation, shift = _pose(scene)
        total = None
        for k, moment in enumerate(moments):
            turned = cv2.Rodrigues(sway[k, :3])[0] @ rotation
            moved = shift + sway[k, 3:] + rotation @ np.append(board[k], 0.0)
            hand = points[k, -1] + [HAND_MM[scene.kind], 0.0] if scene.hand else None
            passing = None
            if scene.passing_hand:
                share = moment / scene.seconds
                passing = np.array([60.0 - 180 * np.sin(np.pi * share), 90 - 200 * share])
            picture = painter.picture(points[k], self.heights, cv2.Rodrigues(turned)[0].ravel(),
                                      moved, hand, passing)
            total = picture if total is None else total + picture
        return total / len(moments)

    def _moments(self, start: float) -> np.ndarray:
        """Instants whose average is the exposure; more of them where the marks move."""
        ends, _, _ = self._at(np.array([start, start + self.scene.exposure_s]))
        count = int(np.clip(np.ceil(np.abs(ends[1] - ends[0]).max() / 0.25), 1, 12))
        if self.scene.shake_mm:
            count = max(count, 3)
        share = (np.arange(count) + 0.5) / count
        return start + self.scene.exposure_s * share

    def expose(self, painter: Painter, number: int, start: float) -> np.ndarray:
        """The picture of one frame; its truth, at mid exposure, is noted."""
        moments = self._moments(start)
        picture = self._draw(painter, moments)
        middle = np.array([start + self.scene.exposure_s / 2])
        points, board, sway = self._at(middle)
        rotation, shift = _pose(self.scene)
        painter.turn = cv2.Rodrigues(cv2.Rodrigues(sway[0, :3])[0] @ rotation)[0].ravel()
        painter.shift = shift + sway[0, 3:] + rotation @ np.append(board[0], 0.0)
        pixels = painter.project(points[0], self.heights)
        width, height = self.scene.size_px
        outside = (pixels < 0).any(-1) | (pixels > [width - 1, height - 1]).any(-1)
        fine = np.clip(np.round((pixels + 0.5) * FINE - 0.5).astype(int), 0,
                       [width * FINE - 1, height * FINE - 1])
        covered = painter.covered[fine[:, 1], fine[:, 0]] > 0
        self.pixels.append(pixels)
        self.world.append(np.c_[points[0], self.heights])
        self.visible.append(np.where(outside, -1, np.where(covered, 0, 1)))
        return picture

    def peek(self, painter: Painter, start: float) -> np.ndarray:
        return self._draw(painter, self._moments(start))

    def save(self, path: Path) -> None:
        world = np.array(self.world)
        np.savez_compressed(
            path, t_s=np.round(self.times * TICKS) / TICKS, point_px=np.array(self.pixels),
            point_world_mm=world, point_visible=np.array(self.visible, np.int8),
            extension_x_mm=np.diff(world[..., 0], axis=1),
        )


def _develop(picture: np.ndarray, scene: Scene, rng: np.random.Generator) -> np.ndarray:
    """Optics and sensor: blur, shot and read noise, eight bits."""
    soft = cv2.GaussianBlur(picture, (0, 0), scene.blur_px) if scene.blur_px else picture
    sigma = scene.noise * np.sqrt(1.2 + 0.035 * np.maximum(soft, 0))
    grain = rng.standard_normal(soft.shape[:2] + (3,), np.float32)
    return np.clip(np.round(soft + sigma * grain), 0, 255).astype(np.uint8)


class _Film:
    """H.264 at a bit rate, with the frames' own times."""

    def __init__(self, path: Path, scene: Scene):
        self.container = av.open(str(path), "w")
        self.stream = self.container.add_stream("libx264", rate=Fraction(30))
        self.stream.width, self.stream.height = scene.size_px
        self.stream.pix_fmt = "yuv420p"
        self.stream.bit_rate = int(scene.bits_per_s)
        self.stream.time_base = Fraction(1, TICKS)
        self.stream.codec_context.time_base = Fraction(1, TICKS)
        self.stream.options = {"preset": "fast"}

    def write(self, picture_rgb: np.ndarray, time_s: float) -> None:
        frame = av.VideoFrame.from_ndarray(picture_rgb, format="rgb24")
        frame.pts, frame.time_base = round(time_s * TICKS), Fraction(1, TICKS)
        self.container.mux(self.stream.encode(frame))

    def __enter__(self) -> _Film:
        return self

    def __exit__(self, *_) -> None:
        self.container.mux(self.stream.encode())
        self.container.close()


def _rig_toml(scene: Scene, stem: str) -> str:
    """What a careful user would write about the scene."""
    marks = ['kind = "tags"', 'dictionary = "DICT_4X4_50"', 'on = "points"',
             f"ids = {list(range(scene.points))}"]
    if scene.marks != "tags":
        marks = [f'kind = "{scene.marks}"']
    heights = [round(float(h), 3) for h in point_heights(scene)]
    corners = [[float(x), float(y)] for x, y in reference_mm(scene)]
    lines = [f'kind = "{scene.kind}"', f"points = {scene.points}", 'pull = "right"', "", "[marks]",
             *marks, f"height_mm = {heights}"]
    if scene.references == "crosses":
        lines += ["", "[reference]", f"crosses_mm = {corners}"]
    elif scene.references == "tags":
        pairs = ", ".join(f"{i} = {c}" for i, c in zip(REFERENCE_IDS, corners, strict=True))
        lines += ["", "[reference]", f"tags_mm = {{ {pairs} }}", f"tag_size_mm = {TAG_SIZE_MM}"]
    if scene.kind == "ruler":
        lines += ["", "[ruler]", f"sections_mm = {list(scene.sections_mm)}"]
    lines += ["", "[camera]", f'calibration = "{stem}.camera.toml"']
    return "\n".join(lines) + "\n"
