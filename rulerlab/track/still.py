"""One picture of a bare ruler, turned into the tracks of a single moment."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np

from rulerlab.camera import read_camera
from rulerlab.errors import InputError
from rulerlab.records import DETECTED, Tracks
from rulerlab.rig import DIRECTIONS, Rig
from rulerlab.track import Tracked
from rulerlab.track.grid import view_from_grid
from rulerlab.track.register import View
from rulerlab.track.scale import view_from_sections
from rulerlab.track.sticks.find import Found, find_chain
from rulerlab.track.tags import find_tags
from rulerlab.video import Frame

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")
BY_HAND_PX = 3.0  # how well a person places a joint in a picture


@dataclass(frozen=True)
class Still:
    """A picture file, in the place of a recording of one frame at time 0."""

    path: Path
    bgr: np.ndarray  # (H, W, 3) uint8
    problems: list[str] = field(default_factory=list)

    @property
    def width(self) -> int:
        return self.bgr.shape[1]

    @property
    def height(self) -> int:
        return self.bgr.shape[0]

    @property
    def latest(self) -> Frame:
        """The picture as a frame of a film; an odd last row or column is left out."""
        even = self.bgr[: self.height // 2 * 2, : self.width // 2 * 2]
        planes = cv2.cvtColor(even, cv2.COLOR_BGR2YUV_I420)
        rows, columns = even.shape[:2]
        chroma = planes[rows:].reshape(2, rows // 2, columns // 2)
        return Frame(0, 0.0, planes[:rows], chroma[0], chroma[1])

    def frames(self) -> Iterator[Frame]:
        yield self.latest


def read_still(path: Path) -> Still:
    """A picture file, upright. Raises InputError when it can't be read as a picture."""
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty (0 bytes): copy it again from the camera")
    picture = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise InputError(f"{path} is not a picture that can be read")
    if min(picture.shape[:2]) < 64:
        raise InputError(f"{path} is {picture.shape[1]} x {picture.shape[0]} px: too small a "
                         "picture to see a ruler in")
    return Still(path, picture)


def without_lens(
    still: Still, rig: Rig, joints_px: np.ndarray | None = None
) -> tuple[Still, np.ndarray | None]:
    """The picture, and joints (N, 2) given in it, as a lens that does not bend lines shows them.

    Both are the same where rig.toml names no camera. Raises InputError when its file holds none, or
    one with another shape of picture.
    """
    if not rig.camera.calibration:
        return still, joints_px
    camera = read_camera(Path(rig.camera.calibration)).scaled_to(still.width, still.height)
    focal, centre = np.diag(camera.camera_matrix)[:2], camera.camera_matrix[:2, 2]
    pixels = np.stack(np.meshgrid(np.arange(still.width), np.arange(still.height)), -1)
    rays = np.dstack([(pixels - centre) / focal, np.ones(pixels.shape[:2])])
    place = camera.project(rays, np.zeros(3), np.zeros(3)).astype(np.float32)
    straight = cv2.remap(still.bgr, place[..., 0], place[..., 1], cv2.INTER_CUBIC,
                         borderMode=cv2.BORDER_REPLICATE)
    if joints_px is not None:
        joints_px = camera.undistort(joints_px) * focal + centre
    return replace(still, bgr=straight), joints_px


def write_png(path: Path, picture_bgr: np.ndarray) -> None:
    """Write a picture (H, W, 3)."""
    path.write_bytes(cv2.imencode(".png", picture_bgr)[1].tobytes())


def read_joints(path: Path) -> np.ndarray:
    """Joints (N, 2) in pixels from a csv file: x,y in each row, held end first; a header may be.

    Raises InputError naming the row that is not two numbers.
    """
    try:
        rows = [row for row in csv.reader(path.read_text(encoding="utf-8-sig").splitlines()) if row]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read: {error}") from None
    joints = []
    for number, row in enumerate(rows, 1):
        try:
            x, y = map(float, row)
        except ValueError:
            if number == 1:
                continue
            raise InputError(f"{path}, row {number}: {','.join(row)!r} is not x,y") from None
        joints.append((x, y))
    if len(joints) < 3 or not np.isfinite(joints).all():
        raise InputError(f"{path} holds {len(joints)} joints; a chain has three or more")
    return np.array(joints)


def track_still(still: Still, rig: Rig, *, joints_px: np.ndarray | None = None) -> Tracked:
    """The chain in a picture, as tracks of one frame.

    `joints_px` (N, 2), held end first, replaces the search. A picture that a lens has bent is taken
    through `without_lens` first. Raises InputError when no ruler is found, or another number of
    joints than rig.toml says, or when the rig is none that a picture can be read of.
    """
    if rig.kind == "blocks":
        raise InputError(f"{still.path}: single pictures are read of folding rulers only, rig.toml "
                         "says kind = 'blocks': film the rig, or leave the kind out")
    began = time.perf_counter()
    if joints_px is None:
        pull = DIRECTIONS[rig.pull] if rig.pull else None
        try:
            found = find_chain(still.bgr, points=rig.points, pull=pull)
        except InputError as error:
            raise InputError(f"{still.path}: {error}{_marks_seen(still, rig)}") from None
        notes = [*found.notes]
        if rig.marks.kind in ("dots", "tags"):
            notes.append(f"the {rig.marks.kind} of rig.toml are not used: a picture is read by the "
                         "sticks themselves")
    else:
        found = _given(joints_px)
        notes = ["the joints were given by hand"]
    if rig.camera.calibration:
        notes.append("the lens of the camera file is taken out: pixels are those of the "
                     "straightened picture, as in annotated.png")
    count = len(found.joints_px)
    notes.insert(0, f"{count} joints, {count - 1} sections")
    blocks = np.arange(2 * count).reshape(count, 2)
    covariance = found.covariance_px[blocks[:, :, None], blocks[:, None, :]]
    tracks = Tracks(np.zeros(1), found.joints_px[None], covariance[None],
                    np.full((1, count), DETECTED))
    warnings: list[str] = []
    view = _view(still, rig, tracks.position_px, notes, warnings)
    height = np.array(rig.marks.height_mm or (0.0,))
    height = np.broadcast_to(height if len(height) in (1, count) else height.mean(), count).copy()
    seconds = time.perf_counter() - began
    health = {"frames": 1, "ghosts": [], "duplicates": [], "blurred": [],
              "seconds": round(seconds, 3), "frames_per_s": round(1 / seconds, 2)}
    return Tracked(tracks, view, height, "ruler", "sticks", notes, warnings, health)


def _marks_seen(still: Still, rig: Rig) -> str:
    """What to add where no ruler is found, but the rig carries tags."""
    own = set(find_tags(still.latest.luma, rig.marks.dictionary, enlarge=2).ids.tolist())
    own -= set(rig.reference.tags_mm)
    return f"; {len(own)} tags are seen: rigs with tags are read from films" if own else ""


def _view(still: Still, rig: Rig, position_px: np.ndarray, notes: list[str],
          warnings: list[str]) -> View | None:
    """Millimetres from squared paper, else from the sections' known lengths, else none; told."""
    grid_mm, sections_mm = rig.reference.grid_mm, rig.ruler.sections_mm
    if grid_mm is not None:
        view = view_from_grid(still.latest.luma, grid_mm, position_px[0, 0])
        if view is not None:
            notes.append(f"scale and perspective from squared paper of {grid_mm:g} mm")
            return view
        warnings.append("no squared paper is seen clearly: reference.grid_mm gives no scale")
    if sections_mm:
        scale = view_from_sections(position_px, sections_mm)
        if scale is not None:
            view, per_px, error = scale
            notes.append(f"scale from ruler.sections_mm: {per_px:.4f} mm per px "
                         f"+- {100 * error:.1f} %")
            return view
        warnings.append(f"ruler.sections_mm has {len(sections_mm)} numbers, but the ruler has "
                        f"{position_px.shape[1] - 1} sections: they give no scale")
    notes.append("no scale: all lengths are in pixels (rig.toml: reference.grid_mm)")
    return None


def _given(joints_px: np.ndarray) -> Found:
    """Joints that a person placed."""
    variance = np.full(joints_px.size, BY_HAND_PX**2)
    return Found(joints_px, np.diag(variance), 0.0, (), 0.0, ())
