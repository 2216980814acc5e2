"""A scene photographed: a pinhole picture at twice the resolution, then lens, light and noise.

Everything flat is laid by its exact homography into the canvas; the blur of lens and pixel comes
before the canvas is bent through the distortion and sampled, so that centres stay where
`Camera.project` puts them (tested to 0.01 px).
"""

from __future__ import annotations

from functools import cached_property

import cv2
import numpy as np

from rulerlab.synthetic.motion import Motion
from rulerlab.synthetic.scene import (
    BLOCK_MM,
    BLOCK_TOP_MM,
    DOT_RADIUS_MM,
    RAIL_HALF_MM,
    STICK_THICK_MM,
    WALL_MM,
    WALL_TOP_MM,
    WOODS_BGR,
    Scene,
)
from rulerlab.synthetic.textures import Sticker, hand, paper, stick, tag_label

FINER = 2  # canvas pixels per pixel of the film
HAND_MM = 22.0  # height of the hands above the paper
GRID = 4  # the distortion is computed on every fourth pixel and interpolated (to 0.002 px)
Pose = tuple[np.ndarray, np.ndarray]


class Studio:
    """Takes the pictures of one scene."""

    def __init__(self, scene: Scene):
        self.scene, self.motion, self.camera = scene, Motion(scene), scene.camera
        self._lay_out_canvas()
        self.density = FINER * scene.size_px[0] / scene.view_mm
        self.hand = hand(self.density / 2)
        level = np.arange(256)
        self.sigma = (scene.noise * np.sqrt(0.3 + 0.7 * level / 128)).astype(np.float32)

    @cached_property
    def paper(self) -> tuple[np.ndarray, tuple[float, float]]:
        return paper(self.scene, 1.05 * self.density)

    @cached_property
    def empty(self) -> np.ndarray:
        """The canvas without the rig, while nothing shakes."""
        return self._background(self.motion.pose(0.0))

    @cached_property
    def sticks(self) -> list[Sticker]:
        return self._sticks(0.3)

    @cached_property
    def tops(self) -> list[Sticker]:
        """The sticks as seen above their lower rims: without the shadow close around them."""
        return self._sticks(0.0)

    def _sticks(self, contact: float) -> list[Sticker]:
        lengths = self.scene.sections_mm.copy()
        lengths[-1] += 24.0 if self.scene.hand != "none" else 0.0  # into the hand
        rng = np.random.default_rng([self.scene.seed, 3])
        return [stick(float(length), self.density, rng, contact=contact,
                      wood_bgr=WOODS_BGR[self.scene.wood]) for length in lengths]

    @cached_property
    def tags(self) -> list[Sticker]:
        scene = self.scene
        count = scene.points - (scene.rig == "ruler") if scene.marks == "tags" else 0
        return [tag_label(k, scene.tag_mm, self.density, scene.contrast) for k in range(count)]

    @cached_property
    def noise(self) -> np.ndarray:
        width, height = self.scene.size_px
        rng = np.random.default_rng([self.scene.seed, 6])
        return rng.standard_normal((height + 64, width + 64, 3), np.float32)

    @cached_property
    def light(self) -> np.ndarray:
        """Gain of the uneven light, a little warm, (H, W, 3)."""
        width, height = self.scene.size_px
        x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
        falloff = 1 - 0.08 * (x**2 + y**2) + self.scene.unevenness * (0.5 * x + 0.3 * y)
        gain = (self.scene.light * falloff).astype(np.float32)
        return cv2.merge([gain * 0.97, gain, gain])

    # --- geometry -------------------------------------------------------------------------
    def _lay_out_canvas(self) -> None:
        width, height = self.scene.size_px
        columns = GRID * (np.arange(-(-width // GRID) + 2) - 1) + (GRID - 1) / 2
        rows = GRID * (np.arange(-(-height // GRID) + 2) - 1) + (GRID - 1) / 2
        pixels = np.stack(np.meshgrid(columns, rows), axis=-1)
        matrix = self.camera.camera_matrix
        ideal = self.camera.undistort(pixels) * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        low = np.floor(ideal.reshape(-1, 2).min(axis=0)) - 2
        high = np.ceil(ideal.reshape(-1, 2).max(axis=0)) + 2
        self.canvas_px = tuple(int(n) for n in FINER * (high - low))
        finer = np.array(
            [
                [FINER, 0, FINER * (0.5 - low[0]) - 0.5],
                [0, FINER, FINER * (0.5 - low[1]) - 0.5],
                [0, 0, 1],
            ]
        )
        self.canvas_matrix = finer @ matrix
        look = (ideal * FINER + finer[:2, 2]).astype(np.float32)
        look = cv2.resize(look, None, fx=GRID, fy=GRID, interpolation=cv2.INTER_LINEAR)
        self.look = look[GRID : GRID + height, GRID : GRID + width].copy()

    def plane(self, pose: Pose, height_mm: float) -> np.ndarray:
        """Homography from board millimetres at a height to canvas pixels, (3, 3)."""
        rotation, shift = cv2.Rodrigues(pose[0])[0], pose[1]
        to_camera = np.column_stack(
            [rotation[:, 0], rotation[:, 1], rotation[:, 2] * height_mm + shift]
        )
        return self.canvas_matrix @ to_camera

    def project(self, points_mm: np.ndarray, pose: Pose) -> np.ndarray:
        """Pixels of the film, lens included, (..., 2)."""
        return self.camera.project(points_mm, *pose)

    # --- drawing on the canvas ------------------------------------------------------------
    def _background(self, pose: Pose) -> np.ndarray:
        density = 1.05 * self.density
        picture, (wide, high) = self.paper
        board = np.array(
            [[1 / density, 0, 0.5 / density - wide], [0, -1 / density, high - 0.5 / density],
             [0, 0, 1.0]]
        )  # fmt: skip
        return cv2.warpPerspective(
            picture, self.plane(pose, 0.0) @ board, self.canvas_px, flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )  # fmt: skip

    def _lay(self, canvas, sticker: Sticker, plane, at_mm, direction) -> None:
        """Blend a sticker into the canvas: its x axis along `direction` (unit vector)."""
        (dx, dy), (ox, oy), d = direction, sticker.origin_mm, sticker.density
        to_mm = np.array([[1 / d, 0, 0.5 / d - ox], [0, 1 / d, 0.5 / d - oy], [0, 0, 1]])
        turn = np.array([[dx, dy, at_mm[0]], [dy, -dx, at_mm[1]], [0, 0, 1]])
        warp = plane @ turn @ to_mm
        height, width = sticker.bgra.shape[:2]
        corners = np.array([[[0.0, 0], [width, 0], [width, height], [0, height]]])
        outline = cv2.perspectiveTransform(corners, warp)[0]
        box = self._box(outline)
        if box is None:
            return
        x0, y0, x1, y1 = box
        shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1.0]])
        patch = cv2.warpPerspective(sticker.bgra, shift @ warp, (x1 - x0, y1 - y0))
        clear = cv2.bitwise_not(cv2.extractChannel(patch, 3))
        area = canvas[y0:y1, x0:x1]
        under = cv2.multiply(area, cv2.merge([clear, clear, clear]), scale=1 / 255)
        cv2.add(under, cv2.cvtColor(patch, cv2.COLOR_BGRA2BGR), dst=area)

    def _box(self, outline: np.ndarray) -> tuple[int, int, int, int] | None:
        x0, y0 = np.maximum(np.floor(outline.min(axis=0)) - 1, 0).astype(int)
        x1, y1 = np.minimum(np.ceil(outline.max(axis=0)) + 2, self.canvas_px).astype(int)
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _dot(self, canvas, plane, centre_mm, radius_mm: float, colour) -> None:
        """A disc by its exact distance to the rim, seen through the homography."""
        around = np.linspace(0, 2 * np.pi, 16, endpoint=False)
        ring = centre_mm + 1.05 * radius_mm * np.column_stack([np.cos(around), np.sin(around)])
        box = self._box(cv2.perspectiveTransform(ring[None], plane)[0])
        if box is None:
            return
        x0, y0, x1, y1 = box
        x, y = np.meshgrid(np.arange(x0, x1), np.arange(y0, y1))
        m = np.linalg.inv(plane)
        scale = m[2, 0] * x + m[2, 1] * y + m[2, 2]
        across = (m[0, 0] * x + m[0, 1] * y + m[0, 2]) / scale - centre_mm[0]
        up = (m[1, 0] * x + m[1, 1] * y + m[1, 2]) / scale - centre_mm[1]
        inside = radius_mm - np.hypot(across, up)
        slope_y, slope_x = np.gradient(inside)
        alpha = np.clip(inside / np.maximum(np.hypot(slope_x, slope_y), 1e-6) + 0.5, 0, 1)
        area = canvas[y0:y1, x0:x1]
        area[:] = np.rint(area + alpha[..., None] * (colour - area)).astype(np.uint8)

    def _polygon(self, canvas, pose: Pose, corners_mm: np.ndarray, colour) -> None:
        """The outline of a body that stands on the board: hull of its projected corners."""
        matrix, flat = self.canvas_matrix, np.zeros(5)
        corners, _ = cv2.projectPoints(np.asarray(corners_mm, float), *pose, matrix, flat)
        hull = cv2.convexHull(corners.astype(np.float32)).reshape(-1, 2)
        cv2.fillPoly(canvas, [np.rint(hull * 16).astype(int)], colour, cv2.LINE_AA, 4)

    def _box_of(self, centre_mm, size_mm, low: float, high: float) -> np.ndarray:
        x, y = np.array([-1, 1, 1, -1]) * size_mm[0] / 2, np.array([-1, -1, 1, 1]) * size_mm[1] / 2
        ring = np.column_stack([x + centre_mm[0], y + centre_mm[1]])
        return np.vstack([np.column_stack([ring, np.full(4, z)]) for z in (low, high)])

    def _shade(self, canvas, pose: Pose, lines_mm: list[np.ndarray], width_mm: float) -> None:
        """Soft shadow of bars on the paper, painted at a quarter of the resolution."""
        small = (self.canvas_px[0] // 4, self.canvas_px[1] // 4)
        mask = np.zeros(small[::-1], np.uint8)
        plane = self.plane(pose, 0.0)
        for line in lines_mm:
            ends = cv2.perspectiveTransform(line[None, :, :2] + [2.2, -2.6], plane)[0] / 4
            thick = max(1, round(width_mm * self.density / 4))
            cv2.polylines(mask, [np.rint(ends * 8).astype(int)], False, 70, thick, cv2.LINE_AA, 3)
        mask = cv2.GaussianBlur(mask, (0, 0), 0.4 * self.density)
        x, y, w, h = cv2.boundingRect(mask)
        if not w:
            return
        part = cv2.resize(cv2.bitwise_not(mask[y : y + h, x : x + w]), (4 * w, 4 * h))
        area = canvas[4 * y : 4 * (y + h), 4 * x : 4 * (x + w)]
        cv2.multiply(area, cv2.merge([part, part, part]), dst=area, scale=1 / 255)

    # --- the rigs -------------------------------------------------------------------------
    def _draw_ruler(self, canvas, pose: Pose, points: np.ndarray) -> None:
        steps = np.diff(points[:, :2], axis=0)
        directions = steps / np.linalg.norm(steps, axis=1)[:, None]
        if self.scene.shadows:
            self._shade(canvas, pose, [points], 9.0)
        bare = self.scene.marks == "none"
        for layer in (0, 1):
            rises = ((0.0, self.sticks), (0.5, self.tops), (1.0, self.tops))  # their sides show
            for rise, sticks in rises if bare else ((1.0, self.sticks),):
                plane = self.plane(pose, STICK_THICK_MM * (layer + rise))
                for k in range(layer, len(steps), 2):
                    self._lay(canvas, sticks[k], plane, points[k, :2], directions[k])
        top = self.plane(pose, points[0, 2])
        if self.scene.marks == "dots":
            for k, point in enumerate(points):
                self._dot(canvas, top, point[:2], DOT_RADIUS_MM, self.scene.dot_bgr(k))
            return
        for point in points:  # the pins of the hinges
            self._dot(canvas, top, point[:2], 1.1, np.array([52.0, 50, 48]))
        for k, label in enumerate(self.tags):
            middle = (points[k, :2] + points[k + 1, :2]) / 2
            self._lay(canvas, label, top, middle, directions[k])

    def _draw_blocks(self, canvas, pose: Pose, points: np.ndarray) -> None:
        grey = np.array([1.0, 1, 1])
        wall, blocks = points[0], points[1:]
        rail = self._box_of((points[0, 0] + 300, 0), (600, 2 * RAIL_HALF_MM), 0, 5)
        if self.scene.shadows:
            self._shade(canvas, pose, [np.array([[wall[0], 0, 0], [300, 0, 0]])], 18)
            half = np.array([[0, -6.0, 0], [0, 4.0, 0]])
            self._shade(canvas, pose, [block + half for block in blocks], 0.85 * BLOCK_MM[0])
        self._polygon(canvas, pose, rail, 92 * grey)
        gaps = zip(points[:-1], points[1:], strict=True)
        for k, (left, right) in enumerate(gaps):
            start = left[0] + (WALL_MM if k == 0 else BLOCK_MM)[0] / 2
            self._spring(canvas, pose, start, right[0] - BLOCK_MM[0] / 2)
        if self.scene.hand != "none":
            last = blocks[-1, 0] + BLOCK_MM[0] / 2
            rod = self._box_of((last + 20, 0), (40, 3), 10, 11)
            self._polygon(canvas, pose, rod, 175 * grey)
        bodies = [(wall, WALL_MM, WALL_TOP_MM, 70)]
        bodies += [(block, BLOCK_MM, BLOCK_TOP_MM, 168) for block in blocks]
        for k, (point, size, top, level) in enumerate(bodies):
            body = self._box_of(point, size, 5.0, top)
            self._polygon(canvas, pose, body, 0.55 * level * grey)
            self._polygon(canvas, pose, body[4:], level * grey)
            plane = self.plane(pose, point[2])
            if self.tags:
                self._lay(canvas, self.tags[k], plane, point[:2], np.array([1.0, 0.0]))
            else:
                self._dot(canvas, plane, point[:2], 4.6, self.scene.dot_bgr(k))

    def _spring(self, canvas, pose: Pose, left: float, right: float) -> None:
        turns = np.arange(0, 20)
        coil = np.column_stack(
            [left + (right - left) * turns / 19, 4.0 * (-1.0) ** turns, np.full(20, 10.0)]
        )
        line, _ = cv2.projectPoints(coil, *pose, self.canvas_matrix, np.zeros(5))
        line = np.rint(line * 16).astype(int)
        thick = max(1, round(0.6 * self.density))
        cv2.polylines(canvas, [line], False, (176, 176, 172), thick, cv2.LINE_AA, 4)

    # --- one frame ------------------------------------------------------------------------
    def canvas(self, t: float) -> np.ndarray:
        """The ideal picture at one instant."""
        pose, points = self.motion.pose(t), self.motion.points_mm(t)
        canvas = self.empty.copy() if self.motion.still else self._background(pose)
        if self.scene.rig == "ruler":
            self._draw_ruler(canvas, pose, points)
        else:
            self._draw_blocks(canvas, pose, points)
        plane = self.plane(pose, HAND_MM)
        for tip, angle in self.motion.hands_mm(t):
            self._lay(canvas, self.hand, plane, tip, (np.cos(angle), np.sin(angle)))
        return canvas

    def exposure(self, t: float) -> np.ndarray:
        """What the sensor gathers while the shutter is open around t, (H, W, 3) uint8."""
        count = self._instants(t)
        if count == 1:
            canvas = self.canvas(t)
        else:
            gathered = np.zeros(self.canvas_px[::-1] + (3,), np.float32)
            for share in (np.arange(count) + 0.5) / count - 0.5:
                cv2.accumulate(self.canvas(t + share * self.scene.exposure_s), gathered)
            canvas = cv2.convertScaleAbs(gathered, alpha=1 / count)
        canvas = cv2.GaussianBlur(canvas, (0, 0), max(self.scene.psf_px, 0.3) * FINER)
        return cv2.remap(canvas, self.look, None, cv2.INTER_LINEAR)

    def _instants(self, t: float) -> int:
        """Pictures that are averaged: one per 0.7 px of motion, one below a pixel."""
        ends = [
            self.project(self.motion.points_mm(at), self.motion.pose(at))
            for at in (t - self.scene.exposure_s / 2, t + self.scene.exposure_s / 2)
        ]
        blur = np.linalg.norm(ends[1] - ends[0], axis=1).max()
        return 1 if blur < 1 else int(np.clip(np.ceil(blur / 0.7) + 1, 2, 24))

    def develop(self, picture: np.ndarray, frame: int) -> np.ndarray:
        """Uneven light and sensor noise, (H, W, 3) uint8."""
        lit = cv2.multiply(picture, self.light, dtype=cv2.CV_8U)
        if not self.scene.noise:
            return lit
        height, width = lit.shape[:2]
        dx, dy, flip = np.random.default_rng([self.scene.seed, 4, frame]).integers(0, 64, 3)
        noise = self.noise[dy : dy + height, dx : dx + width]
        noise = cv2.multiply(cv2.LUT(lit, self.sigma), noise, scale=-1.0 if flip % 2 else 1.0)
        return cv2.add(lit, noise, dtype=cv2.CV_8U)

    def hidden(self, t: float) -> np.ndarray:
        """Which points lie under a hand at t, (P,) bool; a shadow hides nothing."""
        pose, points = self.motion.pose(t), self.motion.points_mm(t)
        flat = cv2.projectPoints(points, *pose, self.canvas_matrix, np.zeros(5))[0]
        hidden = np.zeros(len(points), bool)
        for tip, angle in self.motion.hands_mm(t):
            on_hand = cv2.perspectiveTransform(flat, np.linalg.inv(self.plane(pose, HAND_MM)))
            dx, dy = (on_hand[:, 0] - tip).T
            x = np.cos(angle) * dx + np.sin(angle) * dy + self.hand.origin_mm[0]
            y = np.sin(angle) * dx - np.cos(angle) * dy + self.hand.origin_mm[1]
            column, row = (np.column_stack([x, y]) * self.hand.density).astype(int).T
            height, width = self.hand.bgra.shape[:2]
            over = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            hidden[over] |= self.hand.bgra[row[over], column[over], 3] > 160
        return hidden
