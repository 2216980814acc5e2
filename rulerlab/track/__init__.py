"""A recording of a rig, turned into the tracks of its points with calibrated errors."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from rulerlab.camera import Camera
from rulerlab.errors import InputError, QualityError
from rulerlab.records import DETECTED, LOST, PREDICTED, Tracks
from rulerlab.rig import Rig
from rulerlab.track.follow import Followed, follow
from rulerlab.track.gaps import fill_gaps
from rulerlab.track.health import GHOST_PX, blended, farthest, repeated, time_gaps
from rulerlab.track.lens import camera_of, lens_warnings
from rulerlab.track.measure import Measured, Progress, measure, measure_bare, references
from rulerlab.track.register import BLOCK, View, register
from rulerlab.track.scale import view_from_sections
from rulerlab.track.shared import with_lens_errors, with_scale_error
from rulerlab.track.uncertainty import FLOOR_PX, USUAL, moving_share, rail_scale, strain_scale
from rulerlab.video import Recording

__all__ = ["Tracked", "track"]

ENOUGH = 4000  # frames that tell how large the errors are; more make no difference


@dataclass(frozen=True)
class Tracked:
    """The tracks of a clip, and what is known about how they came to be."""

    tracks: Tracks
    view: View | None  # None: no reference, all is in pixels
    height_mm: np.ndarray  # (N,) of the marks above the board
    kind: str  # "ruler" or "blocks"
    marks: str  # "dots", "tags" or "none"
    notes: list[str]  # what was assumed, in the words of rig.toml
    warnings: list[str]
    health: dict[str, Any]


def track(
    recording: Recording, rig: Rig, *, joints_px: np.ndarray | None = None,
    progress: Progress | None = None,
) -> Tracked:
    """Follow every point of the rig through a recording.

    `joints_px` (N, 2), held end first, are the joints of bare sticks in its first frame where they
    are not to be looked for.

    Raises InputError when there is no rig in view or rig.toml contradicts the picture,
    QualityError when the marks form no chain.
    """
    began = time.perf_counter()
    camera, doubts = camera_of(recording, rig)
    measured = measure(recording, rig, progress, joints_px)
    if len(measured.time_s) < 2:
        raise InputError(f"{recording.path} has one frame: a motion needs at least two")
    view, warnings = _view(measured, rig, camera)
    try:
        followed = follow(measured, rig, view)
    except QualityError as nothing:
        if measured.marks != "dots":
            raise
        measured = measure_bare(recording, rig, nothing, progress)  # the dots were noise, or print
        followed = follow(measured, rig, view)
    _check_seen(followed.position_px)
    measured.spots.clear()  # they have become points
    measured.corners.clear()
    if view is None:
        view = _view_of_paper(measured, followed, rig, warnings)
    if view is None:
        view = _view_of_sections(followed, rig, warnings)
    height = _heights(rig, followed.sharp.shape[1])
    health = _health(recording, measured, followed)
    tracks, scale = _finish(measured, followed, view, height, rig, health)
    if recording.latest is not None:
        doubts += lens_warnings(recording.latest.luma, view, rig, tracks.position_px[-1], height)
    health["seconds"] = round(time.perf_counter() - began, 3)
    health["frames_per_s"] = round(len(tracks.time_s) / (time.perf_counter() - began), 1)
    health["error_scale"] = round(scale, 2)
    return Tracked(tracks, view, height, followed.kind, measured.marks,
                   [*measured.notes, *followed.notes],
                   [*followed.warnings, *warnings, *doubts, *recording.problems], health)


def _view(measured: Measured, rig: Rig, camera: Camera | None) -> tuple[View | None, list[str]]:
    warnings = []
    found = references(measured, rig)
    if found is None:
        return None, warnings
    view = with_lens_errors(register(*found, camera), found[2])
    if rig.reference.scale_sigma:
        view = with_scale_error(view, rig.reference.scale_sigma)
    if view.residual_px > 1.0:
        warnings.append(
            f"the references miss their places by {view.residual_px:.1f} px: "
            "check their mm in rig.toml and the camera's calibration"
        )
    if camera is None and max(rig.marks.height_mm, default=0) > 0:
        warnings.append(
            f"marks stand {max(rig.marks.height_mm):g} mm above the board and no calibrated camera "
            "is given: their parallax is not corrected (about height / camera distance in scale)"
        )
    return view, warnings


def _view_of_paper(
    measured: Measured, followed: Followed, rig: Rig, warnings: list[str]
) -> View | None:
    """Without marks on the board: its squared paper, if rig.toml says how wide the squares are."""
    if measured.paper is None:
        return None
    view = measured.paper.view(rig.reference.grid_mm, followed.position_px[:, 0])
    if view is None:
        warnings.append("no squared paper is seen clearly: reference.grid_mm gives no scale")
        return None
    followed.notes.append(f"scale and perspective from squared paper of "
                          f"{rig.reference.grid_mm:g} mm")
    return view


def _view_of_sections(followed: Followed, rig: Rig, warnings: list[str]) -> View | None:
    """Without a reference: the scale from the ruler's own sections, or pixels; either is told."""
    found = None
    if followed.kind == "ruler" and rig.ruler.sections_mm:
        found = view_from_sections(followed.position_px, rig.ruler.sections_mm)
        if found is None:
            warnings.append(
                f"ruler.sections_mm has {len(rig.ruler.sections_mm)} numbers, but the ruler has "
                f"{followed.sharp.shape[1] - 1} sections: they give no scale"
            )
    if found is None:
        followed.notes.append("no reference in rig.toml: all lengths are in pixels")
        return None
    view, per_px, error = found
    followed.notes.append(
        f"scale from ruler.sections_mm: {per_px:.4f} mm per px +- {100 * error:.1f} % "
        "(the camera is taken to look straight down)"
    )
    if error > 0.01:
        warnings.append(
            f"the sections disagree about the scale by {100 * error:.1f} %: the camera is tilted, "
            "or ruler.sections_mm is wrong; put reference marks on the board"
        )
    return view


def _heights(rig: Rig, points: int) -> np.ndarray:
    """Of the points above the board; marks on sections give their mean to the joints."""
    height = np.array(rig.marks.height_mm or (0.0,))
    return np.broadcast_to(height if len(height) in (1, points) else height.mean(), points).copy()


def _health(recording: Recording, measured: Measured, followed: Followed) -> dict[str, Any]:
    """Frames that are not what they seem, by their number."""
    position = followed.position_px
    if followed.ghosts is None:
        ghosts = blended(measured.health, position,
                         followed.sharp if measured.marks == "dots" else None)
    else:
        ghosts = [int(t) for t in followed.ghosts if 0 < t < len(position) - 1
                  and farthest(position[t + 1] - position[t - 1]) > GHOST_PX]
    usual = np.nanmedian(followed.sharp, axis=0)
    dull = np.nan_to_num(followed.sharp / usual, nan=1.0) < 0.4
    return {
        "frames": len(measured.time_s),
        "frames_declared": recording.frames_declared,
        "duplicates": repeated(measured.health.frozen(), position),
        "ghosts": ghosts,
        "blurred": np.flatnonzero(dull.mean(1) > 0.5).tolist(),
        "corrupt": measured.corrupt,
        "gaps": [{"time_s": t, "frames_missing": n} for t, n in time_gaps(measured.time_s)],
        "problems": recording.problems,
    }


def _finish(measured, followed, view, height, rig, health) -> tuple[Tracks, float]:
    """Drop what can't be trusted, scale the errors, fill the gaps, and say which is which.

    The arrays of `followed` become those of the tracks: a long clip has no room for two of each.
    """
    position, covariance = followed.position_px, followed.covariance_px
    for name in ("duplicates", "ghosts", "corrupt"):
        position[health[name]] = np.nan
    frames = len(position)
    _check_seen(position)
    plane = _to_plane(position, view, height)
    lengths = None
    if followed.kind == "ruler":
        lengths = _lengths(plane, rig, view)
        true = view is not None and view.camera is not None
        _drop_strangers(position, plane, (0.025 if true else 0.12) * lengths, lengths,
                        followed.covariance_px)
    few = slice(None, None, 1 + frames // ENOUGH)
    jacobian = _jacobian(position[few], view and view.part(few), height)
    scale = _scale(measured, followed, position, plane, few, jacobian, lengths, view)
    covariance *= scale**2
    covariance += np.diag(FLOOR_PX**2 + np.square(followed.lasting_px))
    spread = np.sqrt(np.nanmedian(covariance[..., 0, 0]) * np.nanmedian(jacobian[..., 0, 0] ** 2))
    missing = ~np.isfinite(plane[..., 0])
    plane, extra = fill_gaps(
        measured.time_s, plane, lengths if view is not None else None, sigma=float(spread)
    )
    _bring_back(position, covariance, missing, plane, extra, view, height)
    del plane, jacobian
    if followed.guessed is not None:
        missing |= followed.guessed
    status = np.where(missing, PREDICTED, DETECTED)
    size = np.median(np.linalg.norm(np.diff(position, axis=1), axis=-1))
    sigma = np.sqrt(np.maximum(covariance[..., 0, 0], covariance[..., 1, 1]))
    lost = missing & ~(sigma < 0.25 * size)
    status[lost] = LOST
    position[lost], covariance[lost] = np.nan, np.nan
    return Tracks(measured.time_s, position, covariance, status), scale


def _bring_back(position, covariance, missing, filled, extra, view, height) -> None:
    """Write what was filled in, in the plane, into pixels where a point was `missing` (T, N)."""
    done = 0
    for some in _blocks(len(position)):
        gone, part = missing[some], view and view.part(some)
        if gone.any():
            own = extra[done : done + gone.sum()]
            done += len(own)
            back = filled[some] * [1, -1] if part is None else part.to_px(filled[some], height)
            position[some][gone] = back[gone]
            slope = _jacobian(np.where(np.isfinite(back), back, 0.0), part, height)
            inverse = np.linalg.inv(slope[gone])
            covariance[some][gone] = inverse @ own @ np.swapaxes(inverse, -1, -2)


def _check_seen(position_px: np.ndarray) -> None:
    """Raise InputError where a point (T, N, 2) has no place in any frame."""
    never = np.flatnonzero(~np.isfinite(position_px[..., 0]).any(axis=0))
    if len(never):
        raise InputError(f"point {never[0]} of the chain is seen clearly in no frame: take away "
                         "what covers it, or say in rig.toml how many points there are")


def _blocks(frames: int) -> Iterator[slice]:
    """Parts of a clip short enough that what is worked out on the way takes no memory to speak of.
    """
    for begin in range(0, frames, BLOCK):
        yield slice(begin, begin + BLOCK)


def _to_plane(position: np.ndarray, view: View | None, height: np.ndarray) -> np.ndarray:
    if view is None:
        return position * [1, -1]
    plane = np.empty_like(position)
    for some in _blocks(len(position)):
        plane[some] = view.part(some).to_mm(position[some], height)
    return plane


def _jacobian(position: np.ndarray, view: View | None, height: np.ndarray) -> np.ndarray:
    if view is None:
        return np.broadcast_to(np.diag([1.0, -1.0]), position.shape[:2] + (2, 2))
    return view.jacobian(position, height)


def _lengths(plane: np.ndarray, rig: Rig, view: View | None) -> np.ndarray:
    """Section lengths: as measured in this clip; those of rig.toml where nothing was seen."""
    gap = np.linalg.norm(np.diff(plane, axis=1), axis=-1)
    given = np.array(rig.ruler.sections_mm)
    if view is not None and len(given) == gap.shape[1]:
        seen = np.isfinite(gap).sum(0) >= 10
        return np.where(seen, np.nanmedian(np.where(seen, gap, given), axis=0), given)
    known = np.isfinite(gap).any(0)
    typical = np.nanmedian(gap)
    return np.where(known, np.nanmedian(np.where(known, gap, typical), axis=0), typical)


def _drop_strangers(position, plane, slack, lengths, covariance_px) -> None:
    """Forget sightings that a rigid section can't reach: another thing of the same colour.

    `slack` (L,) is by how much lengths may vary at least: more where the lens is not corrected.
    """
    strain = np.abs(np.linalg.norm(np.diff(plane, axis=1), axis=-1) - lengths)
    usual = 1.48 * np.nanmedian(strain, axis=0)
    bad = strain > np.maximum(8 * usual, slack)
    left = np.concatenate([np.zeros((len(bad), 1), bool), bad], axis=1)
    right = np.concatenate([bad, np.zeros((len(bad), 1), bool)], axis=1)
    inner = left & right
    alone_left = bad & ~inner[:, :-1] & ~inner[:, 1:]
    spread = np.nan_to_num(covariance_px[..., 0, 0] + covariance_px[..., 1, 1], nan=np.inf)
    worse = spread[:, :-1] > spread[:, 1:]
    drop = inner.copy()
    drop[:, :-1] |= alone_left & worse
    drop[:, 1:] |= alone_left & ~worse
    position[drop], plane[drop] = np.nan, np.nan


def _scale(measured, followed, position, plane, few, jacobian, lengths, view) -> float:
    """How much larger the true errors are than those of the fits.

    The chain's own scatter and what is usual for such marks are both known to within a third, so
    their geometric mean is taken; where the chain can't tell, the usual value stands.
    """
    if followed.calibrated:
        return 1.0
    usual = USUAL[measured.marks]
    position, plane = position[few], plane[few]
    seen = np.where(np.isfinite(position[..., :1, None]), followed.covariance_px[few], np.nan)
    covariance = seen + (FLOOR_PX / usual) ** 2 * np.eye(2)
    found = None
    if followed.kind == "ruler" and view is not None:
        found = strain_scale(plane, lengths, jacobian, covariance, moving=moving_share(position))
    elif followed.kind == "blocks":
        found = rail_scale(plane, jacobian, covariance)
    return usual if found is None else float(np.sqrt(usual * np.clip(found, 0.3, 60.0)))
