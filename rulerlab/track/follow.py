"""From spots to points: how many, in which order, and which spot is which in each frame."""

from __future__ import annotations

import numpy as np

from rulerlab.errors import InputError, QualityError
from rulerlab.rig import DIRECTIONS, Rig
from rulerlab.track.link import link_chain
from rulerlab.track.measure import Measured
from rulerlab.track.order import (
    SHORT,
    is_straight,
    most_rigid_order,
    on_one_line,
    order_along,
    order_ruler,
    rail_direction,
)
from rulerlab.track.points import Followed, collect, held_end_first, in_order
from rulerlab.track.register import BLOCK, View
from rulerlab.track.sticks.agree import disagreeing
from rulerlab.track.sticks.follow import Chains, StickFollower
from rulerlab.track.tagged import follow_tagged

MOST = 0.7  # share of the frames that settles how many marks there are
CLEAR_COST, PLAIN_COST = 5.0, 30.0  # of an order that leaves no doubt, and hardly any
SINGLE = 0.02  # share of frames that one pass may reach alone without a word
PLAINLY = 0.85  # share of the edges of bare sticks that is seen where errors are as stated


def follow(measured: Measured, rig: Rig, view: View | None) -> Followed:
    """The chain through the whole clip. Raises InputError or QualityError when there is none."""
    if measured.marks == "tags":
        return follow_tagged(measured, rig, view)
    if measured.sticks is not None:
        return _follow_sticks(measured.sticks, rig)
    plane = _plane(measured, view)
    colours = [spots[:, 5].astype(np.int8) for spots in measured.spots]
    counts = np.array([len(spots) for spots in measured.spots])
    number, notes = _number(counts, rig)
    candidates = _promising(counts, number)
    pull = _pull(measured, rig, view, plane, notes)
    sample = plane[candidates[0]]
    kind = rig.kind or ("blocks" if is_straight(sample) else "ruler")
    if rig.kind is None:
        notes.append(f"kind = {kind!r} (from the shape of the chain)")
    if kind == "blocks":
        start, order = candidates[0], _order_blocks(sample, pull, number)
        sections = None
    else:
        _refuse_longer_chain(plane, colours, counts, pull, rig, view)
        start, order, number = _best_order(plane, colours, candidates, pull, rig, number, view)
        sections = _sections_mm(rig, view, number)
    assigned = link_chain(
        plane, colours, start, order, sections=sections, rigid=kind == "ruler",
        known=_true_lengths(view),
    )
    del plane, colours  # a long clip needs the room
    followed = collect(measured, assigned, kind, notes)
    if rig.points is None:
        notes.append(f"points = {number} (counted)")
    if kind == "ruler" and number <= SHORT:
        position = followed.position_px * [1, -1]
        if view is not None:
            position = view.to_mm(followed.position_px, np.zeros(number))
        order = most_rigid_order(position, pull)
        if order is not None:
            followed = in_order(followed, order, "order of the points found from the motion")
    if rig.pull is None:
        followed = held_end_first(followed)
    return followed


def _follow_sticks(sticks: StickFollower, rig: Rig) -> Followed:
    """Bare sticks: the joints of the chain that was followed from frame to frame."""
    chains = sticks.chains(rig.ruler.sections_mm)
    lost = ~np.isfinite(chains.joints_px[..., 0]).any(1)
    if lost.mean() > 0.9:
        raise QualityError(
            f"the sticks are seen in {int((~lost).sum())} of {len(lost)} frames only; film the "
            "ruler from above, with even light and nothing over it"
        )
    notes = [*sticks.start.notes]
    if rig.points is None:
        notes.append(f"points = {chains.joints_px.shape[1]} (counted)")
    elsewhere, warnings = _check_starts(sticks, chains)
    warnings += _check_passes(chains, lost)
    usual = float(np.median(chains.seen[~lost]))
    if usual < PLAINLY:
        warnings.append(f"the sticks stand out poorly: {100 * usual:.0f} % of their edges are seen;"
                        " errors may be larger than stated (more even light, other paper)")
    return Followed(chains.joints_px, chains.covariance_px, "ruler", chains.sharp, notes,
                    calibrated=True, guessed=chains.guessed | chains.apart | elsewhere,
                    warnings=tuple(warnings), ghosts=chains.ghosts)


def _check_starts(sticks: StickFollower, chains: Chains) -> tuple[np.ndarray, list[str]]:
    """Joints (T, N) that lie elsewhere than where the search found them in some frames, told."""
    elsewhere, warnings = np.zeros(chains.guessed.shape, bool), []
    for frame, found in zip(sticks.start.frames, sticks.start.found, strict=True):
        t = frame.index
        if t >= len(elsewhere) or not np.isfinite(chains.joints_px[t]).all():
            continue
        off = disagreeing(chains.joints_px[t], chains.covariance_px[t], found)
        elsewhere[t] = off & ~chains.guessed[t]
        if elsewhere[t].any():
            joints = ", ".join(map(str, np.flatnonzero(elsewhere[t])))
            warnings.append(f"at {frame.time_s:.2f} s the picture alone shows joints {joints} in "
                            "other places than the film: look at annotated.mp4 around there")
    return elsewhere, warnings


def _check_passes(chains: Chains, lost: np.ndarray) -> list[str]:
    """Where the passes through the clip, forwards and backwards, do not confirm each other."""
    warnings = []
    apart = (chains.apart & ~chains.guessed).any(1)
    if apart.any():
        warnings.append(f"in {int(apart.sum())} of {len(lost)} frames (the first is number "
                        f"{apart.argmax()}) the ruler followed forwards and backwards lies in two "
                        "places, or is lost on one way: joints there are predicted, not detected")
    single = ~chains.checked & ~chains.apart.all(1) & ~lost
    if single.mean() > SINGLE:
        warnings.append(f"{int(single.sum())} of {len(lost)} frames were reached from one side "
                        "only: nothing confirms the joints there")
    return warnings


def _plane(measured: Measured, view: View | None) -> list[np.ndarray]:
    """The spots of every frame in the plane where lengths are true: mm, or else pixels."""
    plane = []
    for begin in range(0, len(measured.spots), BLOCK):
        spots = measured.spots[begin : begin + BLOCK]
        together = np.zeros((len(spots), max(len(s) for s in spots), 2))
        for row, own in zip(together, spots, strict=True):
            row[: len(own)] = own[:, :2]
        if view is None:
            together *= [1, -1]
        elif together.size:
            part = view.part(slice(begin, begin + BLOCK))
            together = part.to_mm(together, np.zeros(together.shape[1]))
        plane += [row[: len(own)].copy() for row, own in zip(together, spots, strict=True)]
    return plane


def _number(counts: np.ndarray, rig: Rig) -> tuple[int, list[str]]:
    if not counts.any():
        raise InputError("no marks are seen in any frame")
    values, frequency = np.unique(counts[counts >= 2], return_counts=True)
    if not len(values):
        raise InputError("fewer than two marks are seen in every frame")
    if rig.points is None:
        return int(values[frequency.argmax()]), []
    if counts.max() < rig.points:
        raise InputError(
            f"rig.toml says points = {rig.points}, but no frame shows more than {counts.max()} "
            "marks; count the marks, or leave `points` out"
        )
    return rig.points, []


def _promising(counts: np.ndarray, number: int) -> np.ndarray:
    exact = np.flatnonzero(counts == number)
    if not len(exact):
        exact = np.flatnonzero(counts >= number)
    return exact[np.linspace(0, len(exact) - 1, min(9, len(exact))).astype(int)]


def _pull(measured: Measured, rig: Rig, view: View | None, plane: list, notes: list) -> np.ndarray:
    """Unit vector of the pull in the plane."""
    if rig.pull is not None:
        direction = np.array(DIRECTIONS[rig.pull], float)
        if view is None:
            return direction * [1, -1]
        t = next(t for t, spots in enumerate(measured.spots) if len(spots))
        middle = measured.spots[t][:, :2].astype(float).mean(0)
        ends = np.array([[middle - 20 * direction, middle + 20 * direction]])
        mapped = view.part(slice(t, t + 1)).to_mm(ends, np.zeros(2))[0]
        return (mapped[1] - mapped[0]) / np.linalg.norm(mapped[1] - mapped[0])
    some = [p for p in plane if len(p)]
    part = max(1, len(some) // 10)
    early = np.median([p.mean(0) for p in some[:part]], axis=0)
    late = np.median([p.mean(0) for p in some[-part:]], axis=0)
    size = np.ptp(some[0], axis=0).max()
    moved = late - early
    if np.linalg.norm(moved) > 0.03 * size:
        return moved / np.linalg.norm(moved)
    notes.append("pull = 'right' (assumed: the chain hardly moves)")
    return np.array([1.0, 0.0])


def _order_blocks(points: np.ndarray, pull: np.ndarray, number: int) -> np.ndarray:
    """Indices of the marks on the rail, held end first; other things of that colour left out."""
    rail = np.arange(len(points))
    if len(points) > number:
        rail = on_one_line(points, 0.01 * np.ptp(points, axis=0).max())
    if len(rail) != number:
        raise QualityError(
            f"{len(points)} marks are seen and {len(rail)} of them lie on one line, where rig.toml "
            f"says points = {number}: count the marks, or take other things of that colour away"
        )
    along = rail_direction(points[rail])
    return rail[order_along(points[rail], along if along @ pull > 0 else -along)]


def _true_lengths(view: View | None) -> bool:
    """Whether lengths in the plane are the same everywhere: not under an uncorrected lens."""
    return view is not None and view.camera is not None


def _sections_mm(rig: Rig, view: View | None, number: int) -> np.ndarray | None:
    """Section lengths from rig.toml, usable when the plane is in mm."""
    lengths = rig.ruler.sections_mm
    if not _true_lengths(view) or len(lengths) != number - 1:
        return None
    return np.array(lengths)


def _refuse_longer_chain(plane, colours, counts, pull, rig, view) -> None:
    """Raise InputError where all the marks form one chain, but rig.toml counts fewer."""
    usual = int(np.bincount(counts).argmax())
    if rig.points is None or usual <= rig.points or (counts == usual).mean() < MOST:
        return
    t = int(np.argmax(counts == usual))
    _, cost = order_ruler(plane[t], colours[t], pull, count=usual,
                          tolerance=0.015 if _true_lengths(view) else 0.03)
    if cost < PLAIN_COST:
        raise InputError(
            f"rig.toml says points = {rig.points}, but most frames show a chain of {usual} marks; "
            "count the marks, or leave `points` out"
        )


def _best_order(plane, colours, candidates, pull, rig, number, view):
    """The frame in which the chain reads most clearly, and its order."""
    best = (np.inf, candidates[0], np.arange(number), number)
    choices = [number] if rig.points else [n for n in range(number, max(number - 3, 2), -1)]
    for t in candidates:
        for count in choices:
            order, cost = order_ruler(
                plane[t], colours[t], pull, sections=_sections_mm(rig, view, count), count=count,
                tolerance=0.015 if _true_lengths(view) else 0.03,
            )
            cost += 60.0 * (number - count)
            if cost < best[0]:
                best = (cost, t, order, count)
            if cost < PLAIN_COST:
                break
        if best[0] < CLEAR_COST:
            break
    cost, start, order, count = best
    if cost > 120 + 10 * count:
        raise QualityError(
            f"{len(plane[start])} marks are seen, but no {count} of them form a chain of rigid "
            f"sections (misfit {cost:.0f}); is something else of that colour in view, or is a "
            "length in rig.toml wrong?"
        )
    return int(start), order, count
