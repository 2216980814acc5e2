"""How a synthetic rig moves: the world positions of its points against time, with known truth."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

RULER_SECTIONS_MM = (45.0, *[90.0] * 8, 45.0, 100.0)
COLOURS = {  # R, G, B
    "red": (204, 20, 20), "green": (20, 150, 50), "blue": (20, 65, 215), "magenta": (205, 20, 130),
    "yellow": (235, 210, 20), "orange": (235, 110, 10), "cyan": (10, 170, 200),
    "purple": (110, 30, 170),
}


@dataclass(frozen=True)
class Scene:
    """One filmed rig; every number is a truth that the tracker has to find again."""

    kind: str = "ruler"  # "ruler" or "blocks"
    marks: str = "dots"  # "dots", "tags" (blocks) or "none" (bare sticks)
    colours: tuple[str, ...] = ("red",)
    references: str = "crosses"  # "crosses", "tags" or "none"
    pull: str = "slow"  # "slow": opens from the pulled end; "jerky": everywhere, in jerks
    sections_mm: tuple[float, ...] = RULER_SECTIONS_MM
    blocks: int = 7
    mark_mm: float = 3.6  # radius of a dot, half the side of a tag
    height_mm: float = 3.4  # of the marks above the paper
    size_px: tuple[int, int] = (1280, 720)
    frames_per_s: float = 30.0
    seconds: float = 4.0
    exposure_s: float = 0.004
    tilt_deg: float = 2.0
    distortion: tuple[float, ...] = (-0.01, 0.005, 0.0002, -0.0001, 0.0)
    handheld_mm: float = 0.0  # rms sway of the camera
    shake_mm: float = 0.0  # rms motion of the board
    shake_hz: tuple[float, float] = (4.0, 9.0)
    contrast: float = 1.0  # of the dots against the wood
    light: float = 1.0
    noise: float = 1.0
    blur_px: float = 0.7
    bits_per_s: float = 2.6e6
    hand: bool = True
    passing_hand: bool = False
    variable_rate: bool = False
    duplicated: tuple[int, ...] = ()
    ghosted: tuple[int, ...] = ()
    dropped: tuple[int, ...] = ()
    wood: tuple[int, int, int] = (205, 165, 110)
    seed: int = 0
    extra: dict = field(default_factory=dict)

    @property
    def points(self) -> int:
        return len(self.sections_mm) + 1 if self.kind == "ruler" else self.blocks + 1


def frame_times(scene: Scene) -> np.ndarray:
    """Start of every exposure, seconds; a phone's variable rate has doubled steps and jitter."""
    count = round(scene.seconds * scene.frames_per_s)
    step = np.full(count, 1 / scene.frames_per_s)
    if scene.variable_rate:
        rng = np.random.default_rng([scene.seed, 1])
        step *= np.where(rng.random(count) < 0.12, 2.0, 1.0)
        step += rng.normal(0, 0.0012, count)
    times = np.concatenate([[0.0], np.cumsum(step)[:-1]])
    return np.delete(times, [k for k in scene.dropped if k < count])


def band_noise(
    times_s: np.ndarray, band_hz: tuple[float, float], rms: float, rng: np.random.Generator
) -> np.ndarray:
    """Gaussian motion inside a band of frequencies, evaluated at any times."""
    frequency = rng.uniform(*band_hz, 24)
    phase = rng.uniform(0, 2 * np.pi, 24)
    waves = np.cos(2 * np.pi * np.outer(times_s, frequency) + phase)
    return rms * np.sqrt(2 / 24) * waves.sum(1)


def ruler_points(scene: Scene, times_s: np.ndarray) -> np.ndarray:
    """Joints of the folding ruler on the board, (T, N, 2) mm, held end first."""
    rng = np.random.default_rng([scene.seed, 2])
    lengths = np.array(scene.sections_mm)
    loaded = len(lengths) - 1
    folded = np.radians(86.0) + rng.normal(0, 0.012, loaded)
    progress = np.clip((times_s - 0.15 * scene.seconds) / (0.7 * scene.seconds), 0, 1)
    share = np.empty((len(times_s), loaded))
    for s in range(loaded):
        if scene.pull == "slow":  # the sections near the hand open one after the other
            start = 0.55 * (loaded - 1 - s) / 2.5
            share[:, s] = np.clip((progress - start) / 0.45, 0, 1)
        else:
            jerks = np.clip(np.floor(progress * 7) / 7 + np.clip(progress * 7 % 1 * 4, 0, 1) / 7,
                            0, 1)
            share[:, s] = 0.38 * jerks * rng.uniform(0.6, 1.2)
    angle = folded - share * np.radians(52.0)
    if scene.pull == "jerky":
        for s in range(loaded):
            moving = 0.05 + np.minimum(progress, 1 - progress) * 4
            angle[:, s] += np.clip(moving, 0, 1) * band_noise(times_s, (2.0, 7.0), 0.04, rng)
    sign = np.where(np.arange(loaded) % 2 == 0, 1, -1)
    lean = np.radians(2.0) * np.sin(2 * np.pi * times_s / scene.seconds)
    theta = np.concatenate([sign * angle, (lean * scene.extra.get("lean", 1.0))[:, None]], axis=1)
    link = lengths[:, None] * np.stack([np.cos(theta), np.sin(theta)], -1)
    start = np.zeros((len(times_s), 1, 2))
    points = np.concatenate([start, np.cumsum(link, axis=1)], axis=1)
    return points + np.array([-178.0, 0.0])


def block_points(scene: Scene, times_s: np.ndarray) -> np.ndarray:
    """Wall mark and blocks on the rail, (T, N, 2) mm, held end first."""
    rng = np.random.default_rng([scene.seed, 3])
    gap = np.full(scene.blocks, 40.0)
    progress = np.clip((times_s - 0.15 * scene.seconds) / (0.7 * scene.seconds), 0, 1)
    weight = np.linspace(0.25, 1.0, scene.blocks) if scene.pull == "slow" else np.ones(scene.blocks)
    opened = np.empty((len(times_s), scene.blocks))
    for s in range(scene.blocks):
        late = 0.0 if scene.pull == "jerky" else 0.35 * (scene.blocks - 1 - s) / scene.blocks
        opened[:, s] = weight[s] * np.clip((progress - late) / (1 - late), 0, 1)
    opened *= 150.0 / weight.sum()
    x = np.cumsum(np.concatenate([np.zeros((len(times_s), 1)), gap + opened], axis=1), axis=1)
    if scene.pull == "jerky":
        for s in range(1, scene.blocks):
            x[:, s] += band_noise(times_s, (3.0, 8.0), 2.0, rng)
    return np.stack([x - 225.0, np.zeros_like(x)], -1)


def point_heights(scene: Scene) -> np.ndarray:
    """Height of the marks above the paper, (N,) mm."""
    if scene.kind == "ruler":
        return np.full(scene.points, scene.height_mm)
    return np.concatenate([[22.2], np.full(scene.blocks, 19.4)])


def board_shift(scene: Scene, times_s: np.ndarray) -> np.ndarray:
    """Where a shaken board is, (T, 2) mm in the room."""
    rng = np.random.default_rng([scene.seed, 4])
    if not scene.shake_mm:
        return np.zeros((len(times_s), 2))
    return np.stack(
        [band_noise(times_s, scene.shake_hz, scene.shake_mm * f, rng) for f in (1.0, 0.4)], -1
    )


def camera_sway(scene: Scene, times_s: np.ndarray) -> np.ndarray:
    """Extra rotation (3, rad) and shift (3, mm) of a handheld camera, (T, 6)."""
    rng = np.random.default_rng([scene.seed, 5])
    rms = [scene.handheld_mm / 500] * 3 + [scene.handheld_mm] * 3
    return np.stack([band_noise(times_s, (0.2, 2.0), r, rng) if r else np.zeros(len(times_s))
                     for r in rms], -1)
