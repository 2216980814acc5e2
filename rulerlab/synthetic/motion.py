"""Where everything is at a time: the points of the rig, the board under the camera, the hands.

Kinematics, not dynamics: rigid lengths hold exactly, the load law is that of a dry-friction chain
(sections open from the pulled end, each with one friction step less), or an even share.
"""

from __future__ import annotations

import cv2
import numpy as np

from rulerlab.synthetic.scene import BLOCK_MM, REST_GAP_MM, WALL_MM, Scene

REACH = 5.0  # sections that a slow pull opens


class Wobble:
    """A smooth random motion: a few sinusoids with random phases, rms 1 in each component."""

    def __init__(self, rng: np.random.Generator, components: int, low_hz: float, high_hz: float):
        self.rate = 2 * np.pi * rng.uniform(low_hz, high_hz, (5, components))
        self.phase = rng.uniform(0, 2 * np.pi, (5, components))

    def at(self, t: float) -> np.ndarray:
        return np.sin(self.rate * t + self.phase).sum(axis=0) * np.sqrt(2 / 5)


def _ease(x: np.ndarray | float) -> np.ndarray:
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


class Motion:
    """The moving parts of a scene as functions of time, s."""

    def __init__(self, scene: Scene):
        self.scene = scene
        rng = np.random.default_rng([scene.seed, 1])
        self.jerk_s = np.sort(rng.uniform(0.12, 0.85, scene.jerks)) * scene.seconds
        share = rng.uniform(0.5, 1.5, scene.jerks)
        self.jerk_share = share / share.sum() if scene.jerks else share
        self.share = 1 + 0.08 * rng.uniform(-1, 1, self._loaded())
        uneven = 0.05 if scene.marks == "tags" else 0.2  # labels must not lie on one another
        self.lean = 1 + uneven * rng.uniform(-1, 1, self._loaded())
        self.tremor = Wobble(rng, 2, 1.0, 4.0)
        self.board = Wobble(rng, 2, 4.0, 8.0)
        self.rattle = Wobble(rng, scene.blocks, 3.0, 7.0)
        self.grip = Wobble(rng, 6, 0.3, 2.5)
        self._sweep = self._drive_table()
        self.base_rotation, self.base_shift = self._base_pose()

    def _loaded(self) -> int:
        return self.scene.full_sections + 2 if self.scene.rig == "ruler" else self.scene.blocks

    def _weights(self) -> np.ndarray:
        """How far a segment opens under the same force: half sections open half as far."""
        if self.scene.rig == "blocks":
            return np.ones(self._loaded())
        return self.scene.sections_mm[:-1] / self.scene.section_mm

    def _opening(self, drive: np.ndarray) -> np.ndarray:
        """Extension of each loaded segment beyond rest for a drive, (..., L), unscaled."""
        if self.scene.opening == "even":
            return drive[..., None] * self.share * self._weights()
        steps = np.arange(self._loaded() - 1, -1, -1.0)
        return np.maximum(drive[..., None] - steps, 0) * self._weights()

    def _drive_table(self) -> tuple[np.ndarray, np.ndarray, float]:
        drive = np.linspace(0, REACH, 500)
        total = self._opening(drive).sum(axis=-1)
        return drive, total, self.scene.pull_mm / total[-1]

    def progress(self, t: float) -> float:
        """Share of the pull that is done."""
        if self.scene.jerks:
            return float(self.jerk_share @ _ease((t - self.jerk_s) / 0.13))
        x = np.clip((t / self.scene.seconds - 0.1) / 0.78, 0, 1)
        return float(0.15 * _ease(x) + 0.85 * x)

    def openings_mm(self, t: float) -> np.ndarray:
        """Extension of each loaded segment beyond rest, (L,)."""
        drive, total, scale = self._sweep
        force = np.interp(self.progress(t) * total[-1], total, drive)
        opening = scale * self._opening(np.array(force))
        return opening + scale * total[-1] * self._ring(t)

    def _ring(self, t: float) -> np.ndarray:
        """After each jerk the chain swings for a moment."""
        since = np.maximum(t - self.jerk_s - 0.1, 0)
        swing = self.jerk_share * np.exp(-since / 0.12) * np.sin(2 * np.pi * 6 * since)
        return 0.012 * swing.sum() * self._weights() * np.linspace(0, 1, self._loaded())

    def points_mm(self, t: float) -> np.ndarray:
        """The points of the chain, held end first, (P, 3)."""
        ruler = self.scene.rig == "ruler"
        plane = self._ruler_mm(t) if ruler else self._blocks_mm(t)
        return np.column_stack([plane, self.scene.heights_mm])

    def _ruler_mm(self, t: float) -> np.ndarray:
        length = self.scene.sections_mm
        rest = self.scene.fold * self._weights() * self.lean
        along = np.minimum(rest + self.openings_mm(t), 0.93 * length[:-1])
        side = np.sqrt(length[:-1] ** 2 - along**2)
        side[1::2] *= -1
        step = np.column_stack([along, side])
        joints = np.vstack([[-178.0, -6.0], [-178.0, -6.0] + np.cumsum(step, axis=0)])
        hand_y = 6 + 1.2 * self.tremor.at(t)[1]
        down = np.clip(hand_y - joints[-1, 1], -0.5 * length[-1], 0.5 * length[-1])
        last = joints[-1] + [np.sqrt(length[-1] ** 2 - down**2), down]
        return np.vstack([joints, last])

    def _blocks_mm(self, t: float) -> np.ndarray:
        first = (WALL_MM[0] + BLOCK_MM[0]) / 2 + REST_GAP_MM
        pitch = np.full(self.scene.blocks, BLOCK_MM[0] + REST_GAP_MM)
        pitch[0] = first
        x = np.cumsum(pitch + self.openings_mm(t)) + self.scene.rattle_mm * self.rattle.at(t)
        x = np.concatenate([[0], x]) - 254.0
        least = np.concatenate([[0], pitch - 0.7 * REST_GAP_MM])
        for k in range(1, len(x)):  # blocks can't pass through each other
            x[k] = max(x[k], x[k - 1] + least[k])
        return np.column_stack([x, np.zeros(len(x))])

    def _base_pose(self) -> tuple[np.ndarray, np.ndarray]:
        tilt_x, tilt_y = np.radians(self.scene.tilt_deg)
        down = np.diag([1.0, -1.0, -1.0])
        rotation = cv2.Rodrigues(np.array([tilt_x, tilt_y, 0.004]))[0] @ down
        camera = self.scene.camera
        distance = camera.camera_matrix[0, 0] * self.scene.view_mm / camera.image_size_px[0]
        return rotation, np.array([-2.0, 1.5, distance])

    def pose(self, t: float) -> tuple[np.ndarray, np.ndarray]:
        """World to camera: rotation vector and shift in mm, each (3,)."""
        rotation, shift = self.base_rotation, self.base_shift
        if self.scene.shaking_mm:
            move = self.scene.shaking_mm * self.board.at(t) * [1.0, 0.4]
            shift = shift + rotation @ [*move, 0.0]
        if self.scene.handheld:
            sway = self.scene.handheld * self.grip.at(t)
            turn = cv2.Rodrigues(np.radians(0.12) * sway[:3])[0]
            rotation, shift = turn @ rotation, turn @ shift + [1, 1, 1.5] * sway[3:]
        return cv2.Rodrigues(rotation)[0].ravel(), shift

    @property
    def still(self) -> bool:
        """True when neither the board nor the camera moves."""
        return not (self.scene.shaking_mm or self.scene.handheld)

    def hands_mm(self, t: float) -> list[tuple[np.ndarray, float]]:
        """Where each hand's fingertips are (x, y) and how it is turned, rad."""
        hands = []
        if self.scene.hand != "none":
            points = self.points_mm(t)
            reach = points[-1, :2] - points[-2, :2]
            reach = reach / np.linalg.norm(reach)
            gap = 34.0 if self.scene.rig == "blocks" else 17.0
            tip = points[-1, :2] + gap * reach
            if self.scene.hand == "covers":  # the forefinger comes to lie on the last point
                x = t / self.scene.seconds
                over = _ease((x - 0.35) / 0.1) - _ease((x - 0.65) / 0.1)
                tip = tip - over * ((gap + 19.0) * reach + 11.0 * np.array([-reach[1], reach[0]]))
            hands.append((tip, 0.35 * np.arctan2(reach[1], reach[0])))
        for k in range(self.scene.passes):
            x = (t / self.scene.seconds - (k + 0.5) / self.scene.passes) * self.scene.passes
            path = np.clip(x / 0.3, -1, 1)
            tip = [(-1) ** k * 110 * path - 70, 70.0 - 300 * path**4]
            hands.append((np.array(tip), -np.pi / 2 + 0.3))
        return hands
