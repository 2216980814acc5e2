"""Where to begin: frames from all over a clip in which the chain is found without a person."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np

from rulerlab.errors import InputError
from rulerlab.rig import DIRECTIONS, Rig
from rulerlab.track.colours import find_colours
from rulerlab.track.dots import find_spots, learn_look
from rulerlab.track.sticks.find import HELP, Doubtful, Found, find_chain
from rulerlab.track.sticks.given import chain_at
from rulerlab.track.tags import find_tags
from rulerlab.video import Frame, Recording

PLACES = (0.0, 0.96, 0.5, 0.25, 0.75)  # of the clip, where the chain is looked for, in this order
MORE_PLACES = (0.86, 0.62, 0.38, 0.12)  # where a chain is looked for that must be there somewhere
ENOUGH = 3  # pictures that show a chain of one number of joints, each searched once
LEAST_DOTS = 4
AGREEING = 3  # pictures that must show the same chain when each is in doubt


@dataclass(frozen=True)
class Start:
    """The chain in some frames, all of one number of joints."""

    frames: list[Frame]
    found: list[Found]
    best: int  # the one in which the chain is most open
    notes: list[str]

    @property
    def width_px(self) -> float:
        return float(np.median([found.width_px for found in self.found]))


def find_start(recording: Recording, rig: Rig) -> Start:
    """The chain in some frames of a clip.

    Raises InputError when none is found, when the rig carries marks, or when their number is not
    that of rig.toml.
    """
    frames = _samples(recording, PLACES)
    if not frames:
        raise InputError(f"{recording.path}: no frame of it can be decoded")
    _refuse_tags(frames[:2], rig)
    if rig.kind == "blocks":
        _refuse_dots(frames[:2], [])
        raise InputError("marks.kind = 'none' is for the bare sticks of a ruler, but kind = "
                         "'blocks': put dots or tags on them, and say so or leave it out")
    found, doubted, why = _search(frames, rig)
    if not found and (doubted or rig.points):
        more = _samples(recording, MORE_PLACES)
        others, in_doubt, _ = _search(more, rig)
        found |= {len(frames) + k: one for k, one in others.items()}
        doubted |= {len(frames) + k: one for k, one in in_doubt.items()}
        frames += more
    count, notes = count_of(found, doubted, rig.points)
    chosen = {k: one for k, one in found.items() if len(one.joints_px) == count} or {
        k: one for k, one in doubted.items() if len(one.joints_px) == count}
    _refuse_dots([frames[k] for k in chosen] or frames[:2], list(chosen.values()))
    if not chosen:
        raise InputError(f"{recording.path}: {why}")
    notes = sorted({note for one in chosen.values() for note in one.notes}) + notes
    open_ = [np.linalg.norm(one.joints_px[-2] - one.joints_px[0]) for one in chosen.values()]
    return Start([frames[k] for k in chosen], list(chosen.values()), int(np.argmax(open_)), notes)


def _search(frames: list[Frame], rig: Rig):
    """The chains found in frames, by their place among them, those in doubt, and why others are
    not found."""
    pull = DIRECTIONS[rig.pull] if rig.pull else None
    found: dict[int, Found] = {}
    doubted: dict[int, Found] = {}
    why = None
    for order, frame in enumerate(frames):
        if len(found) >= ENOUGH and len({len(one.joints_px) for one in found.values()}) == 1:
            break
        try:
            found[order] = find_chain(frame.bgr(), points=rig.points, pull=pull, once=True)
        except Doubtful as error:
            doubted[order], why = error.found, error
        except InputError as error:
            why = error
    return found, doubted, why


def count_of(
    found: dict[int, Found], doubted: dict[int, Found], points: int | None
) -> tuple[int | None, list[str]]:
    """How many joints the chain has, from single pictures, and what there is to say about that.

    Fingers and rims look like sticks, too, so that a picture may be in doubt; but a ruler opens,
    and its sections stay as many: pictures in doubt that show as many are believed, and one that
    shows fewer is not believed against them. None when too few pictures say anything. Raises
    InputError when none shows the `points` of rig.toml.
    """
    votes = Counter({n: 2 * k for n, k in
                     Counter(len(one.joints_px) for one in found.values()).items()})
    doubts = Counter(len(one.joints_px) for one in doubted.values())
    votes.update({n: k for n, k in doubts.items() if k >= AGREEING})
    if not votes:
        return None, []
    if points is not None and points not in votes:
        raise InputError(
            f"rig.toml says points = {points}, but the picture shows sticks with "
            f"{sorted(votes)} joints and ends; count them (both ends count), leave `points` out, "
            f"or {HELP}"
        )
    count = points or max(votes, key=lambda n: (votes[n], n))
    notes = []
    if not any(len(one.joints_px) == count for one in found.values()):
        notes.append(f"{doubts[count]} of {len(found) + len(doubted)} pictures show {count} "
                     "joints, each with strips beside them that look like sections: check the "
                     "count in annotated.mp4")
    if len(votes) > 1:
        notes.append(f"single pictures show {sorted(votes)} joints, {count} are taken: say "
                     "points in rig.toml if that is wrong")
    return count, notes


def given_start(recording: Recording, rig: Rig, joints_px: np.ndarray) -> Start:
    """The chain whose joints (N, 2) in the first frame of a clip a person gave, held end first.

    Raises InputError when no sticks are seen there, or rig.toml tells of something else.
    """
    if rig.marks.kind not in (None, "none") or rig.kind == "blocks":
        raise InputError("joints are given for bare sticks, but rig.toml tells of "
                         f"{'blocks' if rig.kind == 'blocks' else rig.marks.kind}: leave them out")
    if rig.points not in (None, len(joints_px)):
        raise InputError(f"{len(joints_px)} joints are given, rig.toml says points = {rig.points}")
    first = next(recording.frames(), None)
    if first is None:
        raise InputError(f"{recording.path}: no frame of it can be decoded")
    first = copied(first)
    found = chain_at(first.bgr(), joints_px)
    return Start([first], [found], 0, [*found.notes])


def _samples(recording: Recording, places: tuple[float, ...]) -> list[Frame]:
    """Frames from such places of the clip, in the order in which they are tried."""
    total = recording.frames_declared or 0
    wanted = [int(share * max(total - 1, 0)) for share in places]
    kept = {frame.index: copied(frame) for frame in recording.frames() if frame.index in wanted}
    return [kept[index] for index in dict.fromkeys(wanted) if index in kept]


def copied(frame: Frame) -> Frame:
    """A frame that outlives the one that the decoder holds."""
    return replace(frame, luma=frame.luma.copy(), chroma_u=frame.chroma_u.copy(),
                   chroma_v=frame.chroma_v.copy())


def _refuse_tags(frames: list[Frame], rig: Rig) -> None:
    """InputError when the rig carries tags, which are tracked far better."""
    tags = max(len(set(find_tags(frame.luma, rig.marks.dictionary, enlarge=2).ids.tolist())
                   - set(rig.reference.tags_mm)) for frame in frames)
    if tags > 4:
        raise InputError(f"{tags} tags are seen, but marks.kind = 'none' is for bare sticks: "
                         "set it to 'tags', or leave it out")


def _refuse_dots(frames: list[Frame], found: list[Found]) -> None:
    """InputError when the rig carries dots, which are tracked far better.

    They count when they lie on the joints of the chains `found` in the frames, or when there are
    none.
    """
    colours = find_colours(frames)
    if sum(colour.spots for colour in colours) < LEAST_DOTS:
        return
    try:
        look = learn_look(frames, colours)
    except InputError:
        return
    on_joints = [
        (np.linalg.norm(chain.joints_px[:, None] - find_spots(frame, look).position_px[None],
                        axis=-1).min(1, initial=np.inf) < 0.7 * chain.width_px).mean()
        for frame, chain in zip(frames, found, strict=False)  # without a chain, none
    ]
    if not found or max(on_joints, default=0.0) > 0.5:
        raise InputError("coloured dots are seen, but marks.kind = 'none' is for bare sticks: "
                         "set it to 'dots', or leave it out")
