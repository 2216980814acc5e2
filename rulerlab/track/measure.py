"""One pass over a recording: what every frame shows, before anything is made of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rulerlab.errors import InputError, RulerlabError
from rulerlab.rig import Rig
from rulerlab.track.colours import find_colours
from rulerlab.track.dots import Look, Spots, find_spots, learn_look
from rulerlab.track.health import FrameHealth
from rulerlab.track.paper import PaperFollower
from rulerlab.track.register import CrossFollower
from rulerlab.track.sticks.follow import StickFollower
from rulerlab.track.sticks.start import Start, find_start, given_start
from rulerlab.track.tags import TagFollower, Tags, dictionary_in, find_tags
from rulerlab.video import Frame, Recording

LEARN_FRAMES = 24  # held in memory to learn what the marks look like
Progress = Callable[[int, float], None]  # frames done, time of the last one


@dataclass(frozen=True)
class Measured:
    """What a clip shows: T frames, ragged lists of spots."""

    time_s: np.ndarray  # (T,)
    spots: list[np.ndarray]  # per frame (n, 11), see `_pack`
    corners: list[np.ndarray]  # per frame (n, 8) corners of the tags; empty without tags
    crosses_px: np.ndarray  # (T, C, 2) candidates for the reference crosses
    crosses_covariance: np.ndarray  # (T, C, 2, 2)
    marks: str  # "dots", "tags" or "none" (bare sticks)
    notes: list[str]  # what was assumed
    health: FrameHealth
    corrupt: list[int]
    sticks: StickFollower | None = None  # bare sticks, followed from frame to frame
    paper: PaperFollower | None = None  # squared paper, where it is the only reference


def measure(
    recording: Recording, rig: Rig, progress: Progress | None = None,
    joints_px: np.ndarray | None = None,
) -> Measured:
    """Find marks and references in every frame. InputError when there is no rig in view.

    `joints_px` (N, 2) are those of bare sticks in the first frame, where a person gave them.
    """
    if joints_px is not None:
        start = given_start(recording, rig, joints_px)
        return _measure_all(recording, recording.frames(), rig, start, progress)
    frames = recording.frames()
    first = _first_frames(frames)
    if not first:
        raise InputError(f"{recording.path}: no frame of it can be decoded")
    notes: list[str] = []
    if rig.marks.kind == "tags" or rig.reference.tags_mm:
        rig, _ = _with_dictionary(first[0], rig, notes)
    marks = rig.marks.kind or _kind_of_marks(first, rig)
    if marks == "none":
        start = find_start(recording, rig)
        return _measure_all(recording, recording.frames(), rig, start, progress)
    if marks == "tags":
        return _measure_all(recording, _again(first, frames), rig, "tags", progress, notes)
    try:
        look, held = _learn_dots(first, frames, rig, recording)
    except InputError as nothing:
        if _is_grey(first[0]):  # too little to tell sticks from what lies about
            raise
        rig, tagged = _with_dictionary(first[0], rig, notes)
        if tagged and rig.marks.kind is None:
            return _measure_all(recording, recording.frames(), rig, "tags", progress, notes)
        return measure_bare(recording, rig, nothing, progress)
    frames = recording.frames() if held is None else frames
    return _measure_all(recording, _again(held or [], frames), rig, look, progress)


def _with_dictionary(frame: Frame, rig: Rig, notes: list[str]) -> tuple[Rig, bool]:
    """The rig with the dictionary of the tags in view, and whether it is another one; noted."""
    own = rig.marks.dictionary
    found = dictionary_in(frame.luma, own)
    if found in (None, own):
        return rig, False
    notes.append(f"dictionary = {found!r} (no tag of {own} is in view)")
    return replace(rig, marks=replace(rig.marks, dictionary=found)), True


def _is_grey(frame: Frame) -> bool:
    """Whether a picture holds no colour at all."""
    return max(int(np.ptp(plane)) for plane in (frame.chroma_u, frame.chroma_v)) < 4


def measure_bare(
    recording: Recording, rig: Rig, nothing: RulerlabError, progress: Progress | None = None
) -> Measured:
    """Follow a ruler without marks, where rig.toml allows for one; else the error stands."""
    if rig.marks.kind is not None or rig.kind == "blocks" or rig.marks.colours:
        raise nothing
    try:
        start = find_start(recording, rig)
    except InputError as error:
        why = str(error).removeprefix(f"{recording.path}: ")
        raise type(nothing)(f"{nothing}; nor is a bare ruler found: {why}") from None
    return _measure_all(recording, recording.frames(), rig, start, progress)


def _has_marks(rig: Rig) -> bool:
    """Whether the board has references better than the lines of its paper."""
    return bool(rig.reference.tags_mm or rig.reference.crosses_mm)


def _again(first: list[Frame], rest: Iterator[Frame]) -> Iterator[Frame]:
    while first:
        yield first.pop(0)
    yield from rest


def _first_frames(frames: Iterator[Frame]) -> list[Frame]:
    held = []
    for frame in frames:
        held.append(frame)
        if len(held) == LEARN_FRAMES:
            break
    return held


def _kind_of_marks(first: list[Frame], rig: Rig) -> str:
    """Tags beyond those of the reference mean a rig with tags; else dots are looked for.

    Up to four tags beside coloured dots are a reference that rig.toml does not list.
    """
    found = set()
    for frame in (first[0], first[-1]):
        found |= set(find_tags(frame.luma, rig.marks.dictionary, enlarge=2).ids.tolist())
    own = len(found - set(rig.reference.tags_mm))
    if own >= 3 and (own > 4 or not find_colours(first[::6], wanted=rig.marks.colours)):
        return "tags"
    return "dots"


def _learn_dots(
    first: list[Frame], rest: Iterator[Frame], rig: Rig, recording: Recording
) -> tuple[Look, list[Frame] | None]:
    """The look of the dots, from the first frames or, failing that, from later ones.

    The second value holds the frames still to be measured, or None when the recording has to be
    read again from its beginning.
    """
    sample, grey = first[:: max(1, len(first) // 5)], rig.marks.kind == "dots"
    colours = find_colours(sample, wanted=rig.marks.colours, grey=grey)
    needed = min(4, rig.points or 4)
    if sum(colour.spots for colour in colours) >= needed:
        return learn_look(sample, colours), first
    later = sample[-1:]
    for frame in rest:
        if frame.index % 15 == 0:
            later = [*later[-5:], frame]
            colours = find_colours(later, wanted=rig.marks.colours, grey=grey)
            if sum(colour.spots for colour in colours) >= needed:
                return learn_look(later, colours), None
    raise InputError(
        f"{recording.path}: no rig in view: no coloured dots and no tags are seen; "
        "look at the clip, or say in rig.toml [marks] what is glued to the rig"
    )


def _pack(spots: Spots) -> np.ndarray:
    covariance = spots.covariance_px
    return np.column_stack([
        spots.position_px, covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1],
        spots.colour, spots.radius_px, spots.clear, spots.sharp, spots.aside_px,
    ]).astype(np.float32)


def _pack_tags(tags: Tags) -> np.ndarray:
    covariance = tags.covariance_px
    size = np.sqrt(np.abs(np.linalg.det(
        tags.corner_px[:, [1, 3]] - tags.corner_px[:, [0]]
    ))) if len(tags.ids) else np.zeros(0)
    return np.column_stack([
        tags.centre_px, covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1],
        tags.ids, size / 2, np.ones(len(tags.ids)), np.ones(len(tags.ids)),
    ]).astype(np.float32)


def _measure_all(
    recording: Recording, frames: Iterator[Frame], rig: Rig, what: Look | Start | str,
    progress: Progress | None, notes: Sequence[str] = (),
) -> Measured:
    """`what` is the look of the dots, where the bare sticks were found, or "tags"."""
    look = what if isinstance(what, Look) else None
    sticks = StickFollower(what) if isinstance(what, Start) else None
    squares = rig.reference.grid_mm and not _has_marks(rig)
    paper = PaperFollower(recording.frames_declared) if squares else None
    marks = "dots" if look else "none" if sticks else "tags"
    health = FrameHealth()
    tags = None
    if marks == "tags" or rig.reference.tags_mm:
        tags = TagFollower(rig.marks.dictionary, [*rig.marks.ids, *rig.reference.tags_mm])
    crosses = CrossFollower(len(rig.reference.crosses_mm)) if rig.reference.crosses_mm else None
    time_s, spots, corners, crossed, corrupt = [], [], [], [], []
    for frame in frames:
        health.observe(frame.luma)
        seen_tags = tags.observe(frame.luma) if tags else None
        if look is not None:
            spots.append(_pack(find_spots(frame, look)))
        elif sticks is not None:
            sticks.observe(frame)
        else:
            spots.append(_pack_tags(seen_tags))
        if seen_tags is not None:
            corners.append(np.column_stack([
                seen_tags.ids, seen_tags.corner_px.reshape(-1, 8), seen_tags.centre_px,
                seen_tags.covariance_px[:, 0, 0],
            ]).astype(np.float32))
        if paper is not None:
            paper.observe(frame.index, frame.luma)
        if crosses is not None:
            crossed.append(crosses.observe(frame.luma))
        if frame.corrupt:
            corrupt.append(frame.index)
        time_s.append(frame.time_s)
        if progress:
            progress(len(time_s), frame.time_s)
    if sticks is not None:
        sticks.look_back(_told(recording.backwards(np.array(time_s)), progress))
    centres, covariances = _square(crossed, len(time_s))
    return Measured(np.array(time_s), spots, corners, centres, covariances, marks, list(notes),
                    health, corrupt, sticks, paper)


def _told(frames: Iterator[Frame], progress: Progress | None) -> Iterator[Frame]:
    """The frames, each of them told once it is dealt with."""
    for done, frame in enumerate(frames, 1):
        yield frame
        if progress:
            progress(done, frame.time_s)


def _square(crossed: list, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Candidates of all frames side by side; NaN before a candidate was first found."""
    most = max((len(centre) for centre, _ in crossed), default=0)
    centres = np.full((frames, most, 2), np.nan)
    covariances = np.full((frames, most, 2, 2), np.nan)
    for t, (centre, covariance) in enumerate(crossed):
        centres[t, : len(centre)], covariances[t, : len(centre)] = centre, covariance
    return centres, covariances


def references(measured: Measured, rig: Rig) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """(T, R, 2) pixels, (T, R, 2, 2) covariances and (R, 2) mm of the rig's references."""
    from rulerlab.track.register import match_crosses

    if rig.reference.tags_mm:
        ids = list(rig.reference.tags_mm)
        seen = np.full((len(measured.time_s), len(ids), 2), np.nan)
        covariance = np.full(seen.shape + (2,), np.nan)
        for t, tags in enumerate(measured.corners):
            for row in tags:
                if int(row[0]) in rig.reference.tags_mm:
                    k = ids.index(int(row[0]))
                    seen[t, k], covariance[t, k] = row[9:11], row[11] * np.eye(2)
        if np.isfinite(seen[..., 0]).any(0).sum() < 4:
            raise InputError(
                f"{int(np.isfinite(seen[..., 0]).any(0).sum())} of the reference tags {ids} are "
                "in view, 4 are needed; film all of them, or leave [reference] out"
            )
        return seen, covariance, np.array([rig.reference.tags_mm[i] for i in ids], float)
    if rig.reference.crosses_mm:
        crosses = np.array(rig.reference.crosses_mm, float)
        with np.errstate(all="ignore"):
            middle = _nanmedian(measured.crosses_px)
        pick = match_crosses(middle, crosses)
        return measured.crosses_px[:, pick], measured.crosses_covariance[:, pick], crosses
    return None


def _nanmedian(values: np.ndarray) -> np.ndarray:
    """Median over frames; NaN for what is never seen, without a warning."""
    result = np.full(values.shape[1:], np.nan)
    for k in range(values.shape[1]):
        seen = values[np.isfinite(values[:, k, 0]), k]
        if len(seen) > 0.05 * len(values):
            result[k] = np.median(seen, axis=0)
    return result
