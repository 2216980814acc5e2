"""Pictures of a synthetic rig: drawn three times larger than filmed, then averaged down."""

from __future__ import annotations

import cv2
import numpy as np

from rulerlab.camera import Camera
from rulerlab.synthetic.motion import COLOURS, Scene

FINE = 3  # drawn pixels per filmed pixel, each way
SHIFT = 6  # binary digits of a drawn pixel that OpenCV's polygons know
CIRCLE = np.stack([np.cos(np.linspace(0, 2 * np.pi, 72, endpoint=False)),
                   np.sin(np.linspace(0, 2 * np.pi, 72, endpoint=False))], -1)
PAPER, GRID, TABLE, BOARD = (214, 212, 210), (188, 192, 200), (128, 138, 128), (165, 122, 76)
REFERENCE_MM = np.array([[-186.0, -104.0], [186.0, -104.0], [186.0, 104.0], [-186.0, 104.0]])
BLOCKS_REFERENCE_MM = REFERENCE_MM * [1.35, 1.3]
TAG_SIZE_MM = 24.0
REFERENCE_IDS = (40, 41, 42, 43)


def reference_mm(scene: Scene) -> np.ndarray:
    """Where the reference crosses or tags of a scene lie, (4, 2)."""
    return REFERENCE_MM if scene.kind == "ruler" else BLOCKS_REFERENCE_MM


class Painter:
    """Draws one scene through one camera."""

    def __init__(self, scene: Scene, camera: Camera):
        self.scene, self.camera = scene, camera
        self.rng = np.random.default_rng([scene.seed, 6])
        self.shade = self.rng.uniform(0.88, 1.06, 64)
        self._ground: np.ndarray | None = None
        self._pose0: tuple[np.ndarray, np.ndarray] | None = None
        self._dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        width, height = scene.size_px
        y, x = np.mgrid[0:height, 0:width] / np.array([height, width])[:, None, None] - 0.5
        tilt = self.rng.uniform(-0.25, 0.25, 2)
        self._light = (scene.light * (1 + tilt[0] * x + tilt[1] * y)).astype(np.float32)[..., None]

    def picture(self, points_mm, heights_mm, turn, shift, hand_mm, passing_mm) -> np.ndarray:
        """One instant, noiseless, (H, W, 3) float32 RGB."""
        self.turn, self.shift = turn, shift
        fine = self._background().copy()
        self._references(fine)
        if self.scene.kind == "ruler":
            self._sticks(fine, points_mm)
        else:
            self._rail(fine, points_mm)
        self._marks(fine, points_mm, heights_mm)
        self.covered = np.zeros(fine.shape[:2], np.uint8)
        if hand_mm is not None:
            self._hand(fine, hand_mm)
        if passing_mm is not None:
            self._hand(fine, passing_mm)
        width, height = self.scene.size_px
        small = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) * self._light

    def project(self, points_mm: np.ndarray, height_mm: np.ndarray | float) -> np.ndarray:
        """Pixels of points on (or above) the board."""
        height = np.broadcast_to(height_mm, points_mm.shape[:-1])
        world = np.concatenate([points_mm, height[..., None]], -1)
        return self.camera.project(world, self.turn, self.shift)

    def _fine(self, points_mm, height_mm=0.0) -> np.ndarray:
        pixels = self.project(np.asarray(points_mm, float), height_mm)
        return np.round(((pixels + 0.5) * FINE - 0.5) * 2**SHIFT).astype(np.int32)

    def _fill(self, picture, outline_mm, colour, height_mm=0.0) -> None:
        cv2.fillPoly(picture, [self._fine(outline_mm, height_mm)], colour, cv2.LINE_8, SHIFT)

    def _background(self) -> np.ndarray:
        """Table, board and squared paper; a moved camera sees the first picture warped."""
        if self._ground is None:
            self._ground = self._paint_ground()
            self._pose0 = (self.turn.copy(), self.shift.copy())
        if np.allclose(self.turn, self._pose0[0]) and np.allclose(self.shift, self._pose0[1]):
            return self._ground
        corners = 1.2 * reference_mm(self.scene)
        world = np.c_[corners, np.zeros(4)]
        before = (self.camera.project(world, *self._pose0) + 0.5) * FINE - 0.5
        after = (self.camera.project(world, self.turn, self.shift) + 0.5) * FINE - 0.5
        warp = cv2.getPerspectiveTransform(before.astype(np.float32), after.astype(np.float32))
        size = self._ground.shape[1::-1]
        return cv2.warpPerspective(self._ground, warp, size, borderMode=cv2.BORDER_REPLICATE)

    def _paint_ground(self) -> np.ndarray:
        width, height = self.scene.size_px
        picture = np.full((height * FINE, width * FINE, 3), TABLE, np.uint8)
        extent = np.abs(reference_mm(self.scene)).max(0) + [28, 24]
        for margin, colour in (((12, 40), BOARD), ((0, 60), PAPER)):
            x, y = extent + margin
            edge = np.linspace(-1, 1, 30)
            outline = np.concatenate([
                np.c_[edge * x, np.full(30, -y)], np.c_[np.full(30, x), edge * y],
                np.c_[-edge * x, np.full(30, y)], np.c_[np.full(30, -x), -edge * y]])
            self._fill(picture, outline, colour)
        x, y = extent + [0, 60]
        for at in np.arange(-np.floor(x / 5) * 5, x, 5.0):
            line = np.c_[np.full(20, at), np.linspace(-y, y, 20)]
            cv2.polylines(picture, [self._fine(line)], False, GRID, 2, cv2.LINE_AA, SHIFT)
        for at in np.arange(-np.floor(y / 5) * 5, y, 5.0):
            line = np.c_[np.linspace(-x, x, 20), np.full(20, at)]
            cv2.polylines(picture, [self._fine(line)], False, GRID, 2, cv2.LINE_AA, SHIFT)
        rough = self.rng.normal(0, 2.0, (height * FINE // 6, width * FINE // 6, 1))
        rough = cv2.resize(rough, (width * FINE, height * FINE))[..., None]
        return np.clip(picture + rough, 0, 255).astype(np.uint8)

    def _references(self, picture) -> None:
        if self.scene.references == "crosses":
            for centre in reference_mm(self.scene):
                self._fill(picture, centre + 11 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]),
                           (222, 221, 220))
                for long, wide in ((6.6, 0.65), (0.65, 6.6)):
                    box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [long, wide]
                    self._fill(picture, centre + box, (18, 18, 20))
        elif self.scene.references == "tags":
            for tag, centre in zip(REFERENCE_IDS, reference_mm(self.scene), strict=True):
                self._tag(picture, tag, centre, TAG_SIZE_MM / 2, 0.0)

    def _tag(self, picture, tag: int, centre, half: float, height: float, angle=0.0) -> None:
        """An upright ArUco tag with a white rim one module wide."""
        modules = cv2.aruco.generateImageMarker(self._dictionary, tag, 6)
        modules = np.pad(modules, 1, constant_values=235)
        modules = np.maximum(modules, 15)
        cosine, sine = np.cos(angle), np.sin(angle)
        along, up = np.array([cosine, sine]), np.array([-sine, cosine])
        pitch = half / 3
        for row in range(8):
            for column in range(8):
                corner = centre + along * (column - 4) * pitch + up * (4 - row) * pitch
                square = [corner, corner + along * pitch, corner + along * pitch - up * pitch,
                          corner - up * pitch]
                grey = int(modules[row, column])
                if grey > 100:
                    self._fill(picture, square, (grey,) * 3, height)
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        dark = centre + square @ np.array([along, up]) * half
        self._fill(picture, dark, (15, 15, 15), height)
        for row in range(1, 7):
            runs = np.flatnonzero(np.diff(np.r_[0, modules[row] > 100, 0])).reshape(-1, 2)
            for first, last in runs:
                if first < 1 or last > 7:
                    continue
                corner = centre + along * (first - 4) * pitch + up * (4 - row) * pitch
                far = along * (last - first) * pitch
                self._fill(picture, [corner, corner + far, corner + far - up * pitch,
                                     corner - up * pitch], (235,) * 3, height)

    def _sticks(self, picture, points) -> None:
        wide = 4.2
        over = self.scene.height_mm - 0.3
        shadow = np.array([1.6, -1.4])
        order = [*range(1, len(points) - 1, 2), *range(0, len(points) - 1, 2)]
        for s in order:
            a, b = points[s], points[s + 1]
            if s == len(points) - 2:
                b = b + (b - a) / np.linalg.norm(b - a) * 12
            self._fill(picture, _capsule(a + shadow, b + shadow, wide), (150, 149, 148))
        for rank, s in enumerate(order):
            a, b = points[s], points[s + 1]
            if s == len(points) - 2:
                b = b + (b - a) / np.linalg.norm(b - a) * 12
            wood = np.clip(np.array(self.scene.wood) * self.shade[s], 0, 255)
            level = over if rank >= len(order) // 2 else over - 1.5
            self._fill(picture, _capsule(a, b, wide), tuple(int(v * 0.82) for v in wood), level)
            self._fill(picture, _capsule(a, b, wide - 0.35), tuple(int(v) for v in wood), level)
            along = (b - a) / np.linalg.norm(b - a)
            side = np.array([-along[1], along[0]])
            grain = np.random.default_rng([self.scene.seed, 7, s])
            for offset in grain.uniform(-0.75, 0.75, 4) * wide:
                dark = tuple(int(v * grain.uniform(0.9, 0.97)) for v in wood)
                line = np.array([a + side * offset, b + side * offset])
                cv2.polylines(picture, [self._fine(line, level)], False, dark,
                              max(1, FINE), cv2.LINE_AA, SHIFT)

    def _rail(self, picture, points) -> None:
        left, right = points[0, 0] - 6, 250.0
        self._fill(picture, [[left, -10], [right, -10], [right, 10], [left, 10]], (120, 118, 118))
        self._fill(picture, [[left, -9], [right, -9], [right, 9], [left, 9]], (138, 136, 136))
        for a, b in zip(points[:-1], points[1:], strict=True):
            turns = np.linspace(0, 1, 60)
            wave = np.c_[a[0] + turns * (b[0] - a[0]), 5 * np.sin(turns * 24 * np.pi)]
            cv2.polylines(picture, [self._fine(wave, 9.0)], False, (70, 70, 74), FINE,
                          cv2.LINE_AA, SHIFT)
        for k, point in enumerate(points):
            box = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
            box = box * ([8, 22] if k == 0 else [13, 16])
            top = 21.8 if k == 0 else 19.0
            shade = (88, 88, 90) if k == 0 else (202, 203, 210)
            self._fill(picture, point + box + [3, -3], (132, 130, 130))
            for level in np.linspace(0, top, 8):
                self._fill(picture, point + box, tuple(int(v * 0.7) for v in shade), level)
            self._fill(picture, point + box, shade, top)

    def _marks(self, picture, points, heights) -> None:
        if self.scene.marks == "tags":
            for k, (point, height) in enumerate(zip(points, heights, strict=True)):
                self._tag(picture, k, point, 8.0 if k else 6.5, height)
        elif self.scene.marks == "dots":
            radius = self.scene.mark_mm if self.scene.kind == "ruler" else 1.6 * self.scene.mark_mm
            for k, (point, height) in enumerate(zip(points, heights, strict=True)):
                colour = np.array(COLOURS[self.scene.colours[k % len(self.scene.colours)]])
                mixed = self.scene.contrast * colour + (1 - self.scene.contrast) * np.array(
                    self.scene.wood)
                self._fill(picture, point + radius * CIRCLE, tuple(int(v) for v in mixed), height)

    def _hand(self, picture, tip_mm) -> None:
        """Fingers and the back of a hand, coming from the right."""
        skin = (205, 160, 118)
        for start, end, wide in (
            ((0, 3), (48, 14), 8), ((0, -4), (46, -18), 8), ((22, 22), (62, 22), 8),
            ((45, -2), (90, -12), 26), ((90, -12), (190, -80), 22),
        ):
            shape = _capsule(tip_mm + start, tip_mm + np.array(end), wide)
            self._fill(picture, shape, skin, 12.0)
            self._fill(self.covered, shape, 1, 12.0)


def _capsule(a: np.ndarray, b: np.ndarray, half: float) -> np.ndarray:
    """Outline of a bar with round ends from a to b."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    angle = np.arctan2(*(b - a)[::-1])
    turn = np.linspace(-np.pi / 2, np.pi / 2, 14)
    cap = np.stack([np.cos(angle + turn), np.sin(angle + turn)], -1)
    return np.concatenate([b + half * cap, a - half * cap])
