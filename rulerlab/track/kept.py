"""The way from pixels to millimetres, kept in the run folder: tracks mended later use it again."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from rulerlab.camera import Camera
from rulerlab.errors import InputError
from rulerlab.records import EDITED, LOST, Tracks
from rulerlab.store import read_netcdf, read_run
from rulerlab.store.tables import read_table
from rulerlab.track import Tracked
from rulerlab.track.register import View

NAME = "view.npz"
POSES = ("rotation", "shift_mm", "homography")
EDITED_MM = 2e-3  # tables hold tenths of micrometres: what differs by more was changed by hand


def write_view(folder: Path, tracked: Tracked) -> None:
    """Keep view and heights of a tracked clip in its run folder."""
    content: dict[str, Any] = {"height_mm": tracked.height_mm}
    view = tracked.view
    if view is not None:
        content |= {"effects": view.effects, "moving": view.moving, "residual_px": view.residual_px}
        content |= {name: getattr(view, name) for name in POSES if getattr(view, name) is not None}
        if view.camera is not None:
            cameras = [view.camera, *view.lenses]
            content |= {"camera_size_px": view.camera.image_size_px,
                        "camera_model": view.camera.model,
                        "camera_matrix": np.stack([c.camera_matrix for c in cameras]),
                        "camera_distortion": np.stack([np.ravel(c.distortion) for c in cameras])}
    np.savez_compressed(folder / NAME, **content)


def read_tracked(folder: Path) -> Tracked:
    """What `track` had found out, with the tracks as they stand in the run folder now.

    Positions that were changed in tracks.csv win, be it in pixels or in millimetres. Raises
    InputError for a folder that is no run of `track`, or of one before views were kept.
    """
    run = read_run(folder)
    if run.tracks is None or "health" not in run.info:
        raise InputError(f"{folder} was not made by `rulerlab track`: there are no tracks in it")
    view, height_mm = _read_view(folder)
    tracks = run.tracks if view is None else _moved_in_mm(folder, run.tracks, view, height_mm)
    info = run.info
    return Tracked(tracks, view, height_mm, info["kind"], info["marks"], list(info["found"]),
                   list(info.get("noticed", [])), info["health"])


def _read_view(folder: Path) -> tuple[View | None, np.ndarray]:
    path = folder / NAME
    try:
        with np.load(path, allow_pickle=False) as data:
            kept = {name: data[name] for name in data.files}
        height_mm = kept["height_mm"]
        if "effects" not in kept:
            return None, height_mm
        cameras: list[Camera] = []
        if "camera_matrix" in kept:
            width, height = map(int, kept["camera_size_px"])
            cameras = [Camera((width, height), matrix, distortion, str(kept["camera_model"]))
                       for matrix, distortion in zip(
                           kept["camera_matrix"], kept["camera_distortion"], strict=True)]
        poses = {name: kept.get(name) for name in POSES}
        return View(cameras[0] if cameras else None, effects=kept["effects"],
                    moving=bool(kept["moving"]), residual_px=float(kept["residual_px"]),
                    lenses=tuple(cameras[1:]), **poses), height_mm
    except FileNotFoundError:
        raise InputError(f"{folder} holds no {NAME}, which tells millimetres from pixels: "
                         "make it again with `rulerlab track VIDEO --force`") from None
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read: {error}") from error


def _moved_in_mm(folder: Path, tracks: Tracks, view: View, height_mm: np.ndarray) -> Tracks:
    """The tracks with the millimetres that were changed by hand, where the pixels were not."""
    table = read_table(folder / "tracks.csv")
    names = [[f"p{k}_{axis}_mm" for axis in "xy"] for k in range(tracks.points)]
    if not all(name in table.cells for pair in names for name in pair):
        return tracks
    before, _ = read_netcdf(folder / "tracks.nc")
    if before.status.shape != tracks.status.shape:
        return tracks
    told = np.stack([np.stack([table.numbers(name) for name in pair], axis=-1) for pair in names],
                    axis=1)
    same_px = np.abs(tracks.position_px - before.position_px).max(axis=-1) < 1e-9
    moved = same_px & (np.abs(told - view.to_mm(before.position_px, height_mm)).max(axis=-1)
                       > EDITED_MM)
    if not moved.any():
        return tracks
    position = np.where(moved[..., None], view.to_px(told, height_mm), tracks.position_px)
    status = np.where(moved & (tracks.status != LOST), EDITED, tracks.status)
    return Tracks(tracks.time_s, position, tracks.covariance_px, status)
