"""Tracks in the files of other programs: Tracker (OSP), DeepLabCut, SLEAP.

Tracker puts 0,0 on the corner of the top-left pixel, rulerlab (as OpenCV) on its centre: half a
pixel is added on the way out and taken off on the way in.
"""

from __future__ import annotations

import csv
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rulerlab.errors import InputError
from rulerlab.records import DETECTED, EDITED, LOST, PREDICTED, Motion, Tracks

HALF_PX = 0.5
SCORE = {DETECTED: 1.0, EDITED: 1.0, PREDICTED: 0.5, LOST: 0.0}
MEDIA, TRACKER = "org.opensourcephysics.media", "org.opensourcephysics.cabrillo.tracker"


class PointTable(NamedTuple):
    """One point as Tracker exports it, in whatever unit was set there (metres by default)."""

    name: str
    time_s: np.ndarray  # (T,)
    position: np.ndarray  # (T, 2), NaN where the cell is empty


def _cell(value: float, decimals: int = 4) -> str:
    return "" if np.isnan(value) else f"{value:.{decimals}f}"


def _score(tracks: Tracks) -> np.ndarray:
    """Likelihood as other programs want it, (T, N)."""
    return np.vectorize(SCORE.get, otypes=[float])(tracks.status)


# --- Tracker text ----------------------------------------------------------------------------

def write_tracker_text(
    folder: Path, tracks: Tracks, motion: Motion | None = None
) -> list[Path]:
    """One file per point, p0.txt (held end) and on: time in s, x and y in mm (px if no scale)."""
    time_s, place = tracks.time_s, tracks.position_px
    if motion is not None and motion.unit == "mm":
        time_s, place = motion.time_s, motion.joint_mm
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for k in range(place.shape[1]):
        rows = [f"{t:.6f}\t{_cell(x)}\t{_cell(y)}" for t, (x, y) in
                zip(time_s, place[:, k], strict=True)]
        written.append(folder / f"p{k}.txt")
        text = "\n".join([f"p{k}", "t\tx\ty", *rows]) + "\n"
        written[-1].write_text(text, encoding="utf-8")
    return written


def read_tracker_text(path: Path) -> PointTable:
    """The table of one point that Tracker exported: name, then `t x y`, then rows.

    Tabs, semicolons and (with one of these) decimal commas are understood.
    """
    lines = _text(path).splitlines()
    if len(lines) < 3:
        raise InputError(f"{path} is no table of Tracker: it has {len(lines)} lines")
    split = next((mark for mark in "\t;," if mark in lines[1]), None)
    heads = [head.strip() for head in lines[1].split(split)]
    missing = [head for head in ("t", "x", "y") if head not in heads]
    if missing:
        raise InputError(f"{path}: line 2 names no column {missing[0]}; export t, x and y")
    columns = [heads.index(head) for head in ("t", "x", "y")]
    rows = []
    for number, line in enumerate(lines[2:], 3):
        cells = line.split(split)
        if not line.strip():
            continue
        if len(cells) <= max(columns):
            raise InputError(f"{path}: line {number} has {len(cells)} cells")
        rows.append([_value(path, number, cells[c], comma=split != ",") for c in columns])
    values = np.array(rows, dtype=float).reshape(-1, 3)
    if not len(values) or not (np.diff(values[:, 0]) > 0).all():
        raise InputError(f"{path}: the times in column t do not rise from row to row")
    return PointTable(lines[0].strip(), values[:, 0], values[:, 1:])


def _text(path: Path) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} can't be read as text: {error}") from error


def _value(path: Path, line: int, word: str, *, comma: bool) -> float:
    word = word.strip().strip('"')
    try:
        return float(word.replace(",", ".") if comma else word) if word else float("nan")
    except ValueError:
        raise InputError(f"{path}: line {line}: {word!r} is not a number") from None


# --- Tracker .trk ----------------------------------------------------------------------------

def _object(parent: ElementTree.Element, kind: str) -> ElementTree.Element:
    return ElementTree.SubElement(parent, "object", {"class": kind})


def _property(
    parent: ElementTree.Element, name: str, kind: str, text: str | None = None
) -> ElementTree.Element:
    made = ElementTree.SubElement(parent, "property", {"name": name, "type": kind})
    made.text = text
    return made


def write_trk(
    path: Path, tracks: Tracks, *, video: str = "", scale_px_per_mm: float | None = None
) -> None:
    """A project that Tracker opens on the video, one point mass per point, frame by frame.

    `scale_px_per_mm` becomes Tracker's scale (in metres). Tracker knows one time step only: the
    mean of the clip.
    """
    panel = ElementTree.Element("object", {"class": f"{TRACKER}.TrackerPanel"})
    clip = _object(_property(panel, "videoclip", "object"), f"{MEDIA}.core.VideoClip")
    if video:
        film = _object(_property(clip, "video", "object"), f"{MEDIA}.xuggle.XuggleVideo")
        _property(film, "path", "string", video)
    frames = len(tracks.time_s)
    for name, value in (("video_framecount", frames), ("startframe", 0), ("stepsize", 1),
                        ("stepcount", frames)):
        _property(clip, name, "int", str(value))
    _property(clip, "starttime", "double", repr(1000 * float(tracks.time_s[0])))
    step_ms = 1000 * float(np.mean(np.diff(tracks.time_s))) if frames > 1 else 1000 / 30
    control = _object(_property(panel, "clipcontrol", "object"), f"{MEDIA}.core.StepperClipControl")
    _property(control, "delta_t", "double", repr(step_ms))
    _property(control, "frame", "int", "0")
    _coordinates(panel, tracks, (scale_px_per_mm or 0.001) * 1000)
    masses = _property(panel, "tracks", "collection")
    masses.set("class", "java.util.ArrayList")
    for k in range(tracks.points):
        _point_mass(masses, f"p{k}", tracks.position_px[:, k])
    ElementTree.indent(panel)
    ElementTree.ElementTree(panel).write(path, encoding="utf-8", xml_declaration=True)


def _frame_array(parent: ElementTree.Element, kind: str) -> ElementTree.Element:
    data = _property(parent, "framedata", "array")
    data.set("class", f"[L{kind}$FrameData;")
    return data


def _coordinates(panel: ElementTree.Element, tracks: Tracks, px_per_unit: float) -> None:
    """Axes with their origin at the held end."""
    kind = f"{MEDIA}.core.ImageCoordSystem"
    coords = _object(_property(panel, "coords", "object"), kind)
    for name in ("fixedorigin", "fixedangle", "fixedscale"):
        _property(coords, name, "boolean", "true")
    held = tracks.position_px[:, 0]
    held = held[np.isfinite(held).all(axis=1)]
    origin = (held[0] if len(held) else np.zeros(2)) + HALF_PX
    frame = _object(_property(_frame_array(coords, kind), "[0]", "object"), f"{kind}$FrameData")
    values = {"xorigin": origin[0], "yorigin": origin[1], "angle": 0.0,
              "xscale": px_per_unit, "yscale": px_per_unit}
    for name, value in values.items():
        _property(frame, name, "double", repr(float(value)))


def _point_mass(masses: ElementTree.Element, name: str, position_px: np.ndarray) -> None:
    kind = f"{TRACKER}.PointMass"
    mass = _object(_property(masses, "item", "object"), kind)
    _property(mass, "name", "string", name)
    _property(mass, "mass", "double", "1.0")
    data = _frame_array(mass, kind)
    for frame in np.flatnonzero(np.isfinite(position_px).all(axis=1)):
        point = _object(_property(data, f"[{frame}]", "object"), f"{kind}$FrameData")
        for axis, value in zip("xy", position_px[frame] + HALF_PX, strict=True):
            _property(point, axis, "double", f"{value:.4f}")


class _NoDoctype(ElementTree.TreeBuilder):
    """Refuses document types: entities could read other files or fill the memory."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise InputError("it declares a DOCTYPE, which Tracker never writes; refused")


def read_trk(path: Path, *, sigma_px: float = 0.5) -> Tracks:
    """The point masses of a Tracker project, in the order of the file, as edited points.

    Tracker keeps no errors: `sigma_px` is taken for each. Times are counted with its time step.
    """
    try:
        parser = ElementTree.XMLParser(target=_NoDoctype())
        panel = ElementTree.parse(path, parser).getroot()
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    except (OSError, ElementTree.ParseError, ValueError, LookupError) as error:
        raise InputError(f"{path} is no .trk file of Tracker: {error}") from error
    masses = [_marks(path, mass) for mass in panel.iter("object")
              if mass.get("class") == f"{TRACKER}.PointMass"]
    if not any(masses):
        raise InputError(f"{path} holds no point mass with marks")
    start, step = int(_first(path, panel, "startframe", 0)), int(_first(path, panel, "stepsize", 1))
    delta_s = _first(path, panel, "delta_t", 1000 / 30) / 1000
    begin_s = _first(path, panel, "starttime", 0) / 1000
    last = max(max(marks) for marks in masses if marks)
    if step < 1 or delta_s <= 0 or not 0 <= last < 10**6:
        raise InputError(f"{path}: stepsize, delta_t or a frame number makes no sense")
    frames = np.arange(start, last + 1, step)
    place = np.full((len(frames), len(masses), 2), np.nan)
    for k, marks in enumerate(masses):
        for row, frame in enumerate(frames):
            place[row, k] = marks.get(int(frame), (np.nan, np.nan))
    time_s = begin_s + (frames - start) * delta_s
    return _as_tracks(time_s, place - HALF_PX, sigma_px, EDITED)


def _first(path: Path, panel: ElementTree.Element, name: str, otherwise: float) -> float:
    for element in panel.iter("property"):
        if element.get("name") == name:
            return _value(path, 0, element.text or "", comma=False)
    return float(otherwise)


def _marks(path: Path, mass: ElementTree.Element) -> dict[int, tuple[float, float]]:
    """Position by frame number of one point mass."""
    marks = {}
    for step in mass.iter("property"):
        index = re.fullmatch(r"\[(\d{1,7})\]", step.get("name") or "")
        frame = step.find("object")
        if index and frame is not None:
            values = {p.get("name"): p.text or "" for p in frame.findall("property")}
            if "x" in values and "y" in values:
                number = int(values.get("n") or index[1])
                marks[number] = tuple(_value(path, 0, values[axis], comma=False) for axis in "xy")
    return marks


def _as_tracks(time_s: np.ndarray, place: np.ndarray, sigma_px: float, seen: str) -> Tracks:
    lost = np.isnan(place).any(axis=-1)
    place[lost] = np.nan
    covariance = np.tile(sigma_px**2 * np.eye(2), (*lost.shape, 1, 1))
    covariance[lost] = np.nan
    return Tracks(time_s, place, covariance, np.where(lost, LOST, seen))


# --- DeepLabCut, SLEAP -----------------------------------------------------------------------

def write_deeplabcut(path: Path, tracks: Tracks) -> None:
    """Three header rows (scorer, bodyparts, coords), then x, y, likelihood of each point."""
    score = _score(tracks)
    parts = [f"p{k}" for k in range(tracks.points) for _ in range(3)]
    with Path(path).open("w", encoding="utf-8", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow(["scorer", *(["rulerlab"] * len(parts))])
        out.writerow(["bodyparts", *parts])
        out.writerow(["coords", *(["x", "y", "likelihood"] * tracks.points)])
        for frame in range(len(tracks.time_s)):
            row: list[str] = [str(frame)]
            for k in range(tracks.points):
                row += [*map(_cell, tracks.position_px[frame, k]), f"{score[frame, k]:.3f}"]
            out.writerow(row)


def read_deeplabcut(
    path: Path, *, frames_per_s: float, sigma_px: float = 1.0, threshold: float = 0.6
) -> Tracks:
    """One animal's csv; a point below the likelihood `threshold` is lost.

    DeepLabCut keeps neither times nor errors: `frames_per_s` and `sigma_px` give them.
    """
    rows = list(csv.reader(_text(path).splitlines()))
    heads = [row[0].strip().lower() for row in rows[:3] if row]
    if heads != ["scorer", "bodyparts", "coords"] or len(rows) < 4:
        raise InputError(f"{path} is no csv of DeepLabCut for one animal: its first rows must "
                         "begin with scorer, bodyparts, coords")
    names = list(dict.fromkeys(rows[1][1:]))
    keys = list(zip(rows[1], rows[2], strict=False))
    values = np.full((len(rows) - 3, len(names), 3), np.nan)
    for k, name in enumerate(names):
        for i, coordinate in enumerate(("x", "y", "likelihood")):
            if (name, coordinate) not in keys:
                raise InputError(f"{path} has no column {name} {coordinate}")
            column = keys.index((name, coordinate))
            for number, row in enumerate(rows[3:], 4):
                if len(row) != len(rows[1]):
                    raise InputError(f"{path}: line {number} has {len(row)} cells, "
                                     f"the header has {len(rows[1])}")
                values[number - 4, k, i] = _value(path, number, row[column], comma=False)
    place = values[..., :2].copy()
    place[values[..., 2] < threshold] = np.nan
    return _as_tracks(np.arange(len(place)) / frames_per_s, place, sigma_px, DETECTED)


def write_sleap(path: Path, tracks: Tracks) -> None:
    """SLEAP's analysis csv: one row per frame of the one track, `pK.x, pK.y, pK.score`."""
    score = _score(tracks)
    heads = [f"p{k}.{name}" for k in range(tracks.points) for name in ("x", "y", "score")]
    with Path(path).open("w", encoding="utf-8", newline="") as handle:
        out = csv.writer(handle, lineterminator="\n")
        out.writerow(["track", "frame_idx", "instance.score", *heads])
        for frame in range(len(tracks.time_s)):
            if not score[frame].any():
                continue
            row = ["chain", str(frame), f"{score[frame].mean():.3f}"]
            for k in range(tracks.points):
                row += [*map(_cell, tracks.position_px[frame, k]), f"{score[frame, k]:.3f}"]
            out.writerow(row)
