"""The run folder: what scripts rely on, complete or not there at all.

A folder is written under a temporary name beside its place and renamed when everything is in it.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from rulerlab import __version__
from rulerlab.errors import InputError, UsageError
from rulerlab.records import EDITED, LOST, LoadCurve, Motion, Tracks
from rulerlab.store.netcdf import read_netcdf, write_netcdf
from rulerlab.store.tables import (
    Segments,
    read_load_curve,
    read_segments_csv,
    read_tracks_csv,
    shape_numbers,
    write_load_curve,
    write_segments_csv,
    write_tracks_csv,
)

__all__ = [
    "Run", "Segments", "json_text", "open_run", "provenance", "read_load_curve", "read_netcdf",
    "read_run", "read_run_json", "read_segments_csv", "read_tracks_csv", "shape_numbers",
    "write_load_curve", "write_netcdf", "write_run_json", "write_segments_csv",
    "write_tracks_csv",
]

SCHEMA_VERSION = 1
LIBRARIES = ("numpy", "scipy", "opencv-python", "av", "matplotlib", "numba")
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}


def _alive(pid: int) -> bool:
    """Whether another process of this number is running on this machine."""
    if pid == os.getpid():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _left_behind(target: Path, kind: str) -> list[Path]:
    """Folders that earlier, dead processes left beside `target`."""
    start = f".{target.name}.{kind}-"
    found = []
    for path in target.parent.iterdir():
        pid = path.name.removeprefix(start)
        if path.name.startswith(start) and pid.isdigit() and not _alive(int(pid)):
            found.append(path)
    return found


def _tidy(target: Path) -> None:
    """Put back what a killed replacement had moved away; remove what never was complete."""
    for path in _left_behind(target, "replaced"):
        if target.exists():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.rename(target)
    for path in _left_behind(target, "partial"):
        shutil.rmtree(path, ignore_errors=True)


def _refuse(target: Path, shown: Path, force: bool) -> None:
    if not target.exists():
        return
    if not force:
        raise UsageError(f"{shown} exists already; give --force to replace it, or another -o")
    if not target.is_dir():
        raise UsageError(f"{shown} is a file; give -o the name of a folder")
    if any(target.iterdir()) and not (target / "run.json").exists():
        raise UsageError(f"{shown} holds other files and no run.json: it is not replaced, "
                         "give another -o")


def _put_in_place(partial: Path, target: Path) -> None:
    """Rename the finished folder; an old one steps aside first and comes back on failure."""
    if not target.exists():
        partial.rename(target)
        return
    aside = target.with_name(f".{target.name}.replaced-{os.getpid()}")
    target.rename(aside)
    try:
        partial.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _explain(error: OSError, shown: Path, partial: Path) -> InputError | None:
    """One line for a full disk or a place that can't be written; None for any other fault."""
    if error.errno in FULL:
        return InputError(f"no room to write {shown} ({error.strerror}); free some space or "
                          "give -o a folder on another disk. Nothing was changed")
    inside = str(error.filename or "").startswith(str(partial))
    if error.errno in FORBIDDEN and inside:
        return InputError(f"{shown} can't be written ({error.strerror}); give -o a folder that "
                          "you may write to")
    return None


@contextmanager
def open_run(target: Path, *, force: bool = False) -> Iterator[Path]:
    """A new folder that becomes `target` when the block ends well, and vanishes when it does not.

    UsageError if `target` exists (with `force` a run folder is replaced, nothing else is);
    InputError if the disk is full or the place can't be written. An existing run folder stays
    as it was until the new one is complete.
    """
    shown, target = Path(target), Path(target).resolve()
    partial = target.with_name(f".{target.name}.partial-{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _tidy(target)
        _refuse(target, shown, force)
        partial.mkdir()
    except OSError as error:
        raise _explain(error, shown, partial) or InputError(
            f"{shown} can't be made ({error.strerror}); give -o a folder that you may write to"
        ) from error
    try:
        yield partial
        _put_in_place(partial, target)
    except OSError as error:
        known = _explain(error, shown, partial)
        if known is None:
            raise
        raise known from error
    finally:
        if partial.exists():
            shutil.rmtree(partial, ignore_errors=True)


def provenance(inputs: list[Path]) -> dict[str, Any]:
    """What made a result: versions, command, time, and name, size, sha256 of each input file."""
    versions = {"rulerlab": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    files = []
    for path in map(Path, inputs):
        with path.open("rb") as handle:
            digest = hashlib.file_digest(handle, "sha256").hexdigest()
        files.append({"path": str(path), "bytes": path.stat().st_size, "sha256": digest})
    return {
        "versions": versions,
        "platform": platform.platform(),
        "command": ["rulerlab", *sys.argv[1:]],
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "inputs": files,
    }


def _plain(value: Any) -> Any:
    """Numpy values, paths and NaN in the words of JSON (NaN becomes null)."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return str(value) if isinstance(value, Path) else value


def json_text(content: dict[str, Any]) -> str:
    """One JSON object that any reader takes: schema_version first, NaN as null."""
    return json.dumps({"schema_version": SCHEMA_VERSION} | _plain(content), indent=2,
                      allow_nan=False, ensure_ascii=False)


def write_run_json(folder: Path, content: dict[str, Any]) -> None:
    """Write run.json: `content` (provenance, rig, health, ...) after its schema_version."""
    (folder / "run.json").write_text(json_text(content) + "\n", encoding="utf-8")


def read_run_json(folder: Path) -> dict[str, Any]:
    """The content of run.json; InputError if the folder is no finished run or from the future."""
    path = Path(folder) / "run.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{folder} holds no run.json: it is not a run folder; "
                         "make one with `rulerlab track VIDEO`") from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    known = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(known, int):
        raise InputError(f"{path} has no schema_version; it was not written by rulerlab")
    if known > SCHEMA_VERSION:
        raise InputError(f"{path} has schema_version {known}, this rulerlab reads up to "
                         f"{SCHEMA_VERSION}; upgrade rulerlab")
    return content


@dataclass(frozen=True)
class Run:
    """A run folder in memory; what the folder does not hold is None."""

    folder: Path
    info: dict[str, Any]  # run.json
    tracks: Tracks | None
    motion: Motion | None
    load_curve: LoadCurve | None


def _mend(whole: Tracks, table: Tracks) -> Tracks:
    """The exact values of tracks.nc, except where tracks.csv was edited by hand since."""
    same_frames = (whole.status.shape == table.status.shape
                   and np.allclose(whole.time_s, table.time_s, rtol=0, atol=2e-6))
    if not same_frames:
        return table
    moved = np.abs(whole.position_px - table.position_px) > 1e-4
    resized = np.abs(whole.sigma_px() - table.sigma_px()) > 1e-4
    appeared = (whole.status == LOST) != (table.status == LOST)
    edited = (moved | resized).any(axis=-1) | appeared
    by_hand = moved.any(axis=-1) & (table.status != LOST)
    return Tracks(
        whole.time_s,
        np.where(edited[..., None], table.position_px, whole.position_px),
        np.where(edited[..., None, None], table.covariance_px, whole.covariance_px),
        np.where(by_hand, EDITED, table.status),
    )


def read_run(folder: Path) -> Run:
    """Read a run folder back into records; values edited by hand in tracks.csv win."""
    folder = Path(folder)
    info = read_run_json(folder)
    tracks = motion = curve = None
    if (folder / "tracks.nc").exists():
        tracks, motion = read_netcdf(folder / "tracks.nc")
    if (folder / "tracks.csv").exists():
        table = read_tracks_csv(folder / "tracks.csv")
        tracks = table if tracks is None else _mend(tracks, table)
    if (folder / "load_curve.csv").exists():
        curve = read_load_curve(folder)
    return Run(folder, info, tracks, motion, curve)
