"""A scene on film: NAME.mp4 with NAME.rig.toml, NAME.camera.toml and NAME.truth.npz beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rulerlab.camera import write_camera
from rulerlab.errors import UsageError
from rulerlab.synthetic.render import Studio
from rulerlab.synthetic.scene import Scene
from rulerlab.video import VideoWriter

TICKS = 90_000  # per second, of the container
GOOD, DUPLICATE, GHOST = 0, 1, 2


@dataclass(frozen=True)
class Film:
    """The files of one clip."""

    video: Path
    rig: Path
    camera: Path
    truth: Path
    frames: int


def frame_times_s(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Numbers and times of the frames that reach the file, exact in the container's ticks."""
    frame = np.arange(round(scene.seconds * scene.fps))
    time = frame / scene.fps
    kept = ~np.isin(frame, scene.dropped)
    if scene.variable_rate:
        rng = np.random.default_rng([scene.seed, 5])
        time[1:] += np.clip(rng.normal(0, 0.05, len(time) - 1), -0.2, 0.2) / scene.fps
        kept[1:] &= rng.random(len(time) - 1) > 0.06
    return frame[kept], np.rint(time[kept] * TICKS) / TICKS


def truth(scene: Scene) -> dict[str, np.ndarray]:
    """Where everything is at the middle of each exposure; F frames, P points, R references.

    `t_s` (F), `point_px` (F, P, 2) with the lens, 0, 0 = centre of the top left pixel,
    `point_world_mm` (F, P, 3), `point_visible` (F, P) 1 seen, 0 under a hand, -1 outside,
    `extension_x_mm` (F, P-1), `ref_world_mm` (R, 3), `ref_px` (F, R, 2), `frame_fault` (F)
    0 good, 1 duplicate, 2 ghost.
    """
    return _truth(Studio(scene))


def _truth(studio: Studio) -> dict[str, np.ndarray]:
    scene, motion = studio.scene, studio.motion
    number, time = frame_times_s(scene)
    world = np.array([motion.points_mm(t) for t in time])
    reference = np.column_stack([scene.reference_mm, np.zeros(len(scene.reference_mm))])
    pose = [motion.pose(t) for t in time]
    px = np.array([studio.project(w, p) for w, p in zip(world, pose, strict=True)])
    ref_px = np.zeros((len(time), 0, 2))
    if len(reference):
        ref_px = np.array([studio.project(reference, p) for p in pose])
    visible = np.array([1 - studio.hidden(t).astype(np.int8) for t in time])
    outside = ((px < -0.5) | (px > np.array(scene.size_px) - 0.5)).any(axis=-1)
    fault = np.where(np.isin(number, scene.duplicated), DUPLICATE, GOOD)
    fault[np.isin(number, scene.ghosted)] = GHOST
    return {
        "t_s": time,
        "point_px": px,
        "point_world_mm": world,
        "point_visible": np.where(outside, -1, visible).astype(np.int8),
        "extension_x_mm": np.diff(world[..., 0], axis=1),
        "ref_world_mm": reference,
        "ref_px": ref_px,
        "frame_fault": fault.astype(np.int8),
    }


def pictures(scene: Scene) -> Iterator[tuple[float, np.ndarray]]:
    """Time and picture (H, W, 3) uint8 BGR of each frame, before it is compressed."""
    yield from _pictures(Studio(scene))


def _pictures(studio: Studio) -> Iterator[tuple[float, np.ndarray]]:
    scene = studio.scene
    before = None
    for number, t in zip(*frame_times_s(scene), strict=True):
        if before is not None and number in scene.duplicated:
            yield t, before
            continue
        picture = studio.exposure(t)
        if before is not None and number in scene.ghosted:
            mixed = cv2.addWeighted(picture, 0.5, studio.exposure(t - 1 / scene.fps), 0.5, 0)
            yield t, studio.develop(mixed, int(number))
            continue
        before = studio.develop(picture, int(number))
        yield t, before


def film(scene: Scene, path: Path | str, *, progress: Callable[[int, int], None] | None = None):
    """Film a scene into `path` (NAME.mp4), with its rig, its camera and the truth; a Film.

    `progress` is called with the frames done and the frames to do. Raises UsageError when the
    folder can't be written.
    """
    video = Path(path)
    if video.suffix != ".mp4":
        raise UsageError(f"{video}: a film ends in .mp4")
    base = video.with_suffix("")
    rig, camera, known = (Path(f"{base}.{end}") for end in
                          ("rig.toml", "camera.toml", "truth.npz"))  # fmt: skip
    studio = Studio(scene)
    try:
        video.parent.mkdir(parents=True, exist_ok=True)
        write_camera(camera, scene.camera)
        rig.write_text(scene.rig_toml(camera.name))
        values = _truth(studio)
        np.savez_compressed(known, **values)  # pyright: ignore[reportArgumentType]
    except OSError as error:
        raise UsageError(f"{error.filename or video}: {error.strerror}") from None
    count = len(values["t_s"])
    with VideoWriter(video, *scene.size_px, kbps=scene.bitrate_kbps) as writer:
        for done, (t, picture) in enumerate(_pictures(studio), 1):
            writer.write(picture, float(t))
            if progress is not None:
                progress(done, count)
    return Film(video, rig, camera, known, count)
