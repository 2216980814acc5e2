"""From spots to points: how many, in which order, and which spot is which in each frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.errors import InputError, QualityError
from rulerlab.rig import DIRECTIONS, Rig
from rulerlab.track.link import link_chain
from rulerlab.track.measure import Measured
from rulerlab.track.order import is_straight, order_along, order_ruler, rail_direction
from rulerlab.track.register import BLOCK, View
from rulerlab.track.sections import joints_from_tags
from rulerlab.track.sticks.agree import disagreeing
from rulerlab.track.sticks.follow import Chains, StickFollower

CLEAR_COST = 5.0  # of an order that leaves no doubt
ODD_SIZE = 0.12  # share by which the radius of a dot may differ from what it usually is
HIDDEN = 0.35  # share of a dot's outline below which its centre is not to be trusted
SINGLE = 0.02  # share of frames that one pass may reach alone without a word
PLAINLY = 0.85  # share of the edges of bare sticks that is seen where errors are as stated


@dataclass(frozen=True)
class Followed:
    """The points of the chain as seen; NaN where a point has no spot."""

    position_px: np.ndarray  # (T, N, 2)
    covariance_px: np.ndarray  # (T, N, 2, 2) of the fits
    kind: str  # "ruler" or "blocks"
    sharp: np.ndarray  # (T, N)
    notes: list[str]
    calibrated: bool = False  # the covariances are those of true errors already
    guessed: np.ndarray | None = None  # (T, N) bool: known from the rest of the chain only
    warnings: tuple[str, ...] = ()
    ghosts: np.ndarray | None = None  # numbers of frames that are blends, where they are known


def follow(measured: Measured, rig: Rig, view: View | None) -> Followed:
    """The chain through the whole clip. Raises InputError or QualityError when there is none."""
    if measured.marks == "tags":
        return _follow_tags(measured, rig, view)
    if measured.sticks is not None:
        return _follow_sticks(measured.sticks, rig)
    plane = _plane(measured, view)
    colours = [spots[:, 5].astype(int) for spots in measured.spots]
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
        start, order, number = _best_order(plane, colours, candidates, pull, rig, number, view)
        sections = _sections_mm(rig, view, number)
    assigned = link_chain(
        plane, colours, start, order, sections=sections, rigid=kind == "ruler",
        known=_true_lengths(view),
    )
    followed = _collect(measured, assigned, kind, notes)
    if rig.points is None:
        notes.append(f"points = {number} (counted)")
    if rig.pull is None:
        followed = _held_end_first(followed)
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
        plane += [row[: len(own)] for row, own in zip(together, spots, strict=True)]
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
    usual = int(values[frequency.argmax()])
    if usual > rig.points and frequency.max() > 0.7 * len(counts):
        raise InputError(
            f"rig.toml says points = {rig.points}, but most frames show {usual} marks; "
            "count the marks, leave `points` out, or take other things of that colour away"
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
    along = rail_direction(points)
    order = order_along(points, along if along @ pull > 0 else -along)
    return order[:number]


def _true_lengths(view: View | None) -> bool:
    """Whether lengths in the plane are the same everywhere: not under an uncorrected lens."""
    return view is not None and view.camera is not None


def _sections_mm(rig: Rig, view: View | None, number: int) -> np.ndarray | None:
    """Section lengths from rig.toml, usable when the plane is in mm."""
    lengths = rig.ruler.sections_mm
    if not _true_lengths(view) or len(lengths) != number - 1:
        return None
    return np.array(lengths)


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
            if cost < 30:
                break
        if best[0] < CLEAR_COST:
            break
    cost, start, order, count = best
    if cost > 120 + 10 * count:
        raise QualityError(
            f"{count} marks are seen, but they do not form a chain of rigid sections "
            f"(misfit {cost:.0f}); is something else of that colour in view, or is a length in "
            "rig.toml wrong?"
        )
    return int(start), order, count


def _collect(measured: Measured, assigned: np.ndarray, kind: str, notes: list) -> Followed:
    frames, points = assigned.shape
    position = np.full((frames, points, 2), np.nan)
    covariance = np.full((frames, points, 2, 2), np.nan)
    sharp, radius = np.full((frames, points), np.nan), np.full((frames, points), np.nan)
    for t, spots in enumerate(measured.spots):
        seen = np.flatnonzero(assigned[t] >= 0)
        rows = spots[assigned[t, seen]].astype(float)
        clear = rows[:, 7] >= HIDDEN
        seen, rows = seen[clear], rows[clear]
        position[t, seen] = rows[:, :2]
        covariance[t, seen] = rows[:, [2, 3, 3, 4]].reshape(-1, 2, 2)
        radius[t, seen], sharp[t, seen] = rows[:, 6], rows[:, 8]
    if measured.marks == "dots":
        _doubt_odd_sizes(position, covariance, radius)
    return Followed(position, covariance, kind, sharp, notes)


def _doubt_odd_sizes(position, covariance, radius) -> None:
    """A dot whose size jumps is half covered: its centre is doubtful by as much, or not seen."""
    for k in range(radius.shape[1]):
        usual = _running_median(radius[:, k])
        odd = np.abs(radius[:, k] - usual)
        position[odd > ODD_SIZE * usual, k] = np.nan
        excess = np.nan_to_num(np.maximum(odd - 0.03 * usual, 0))
        covariance[:, k] += (0.3 * excess**2)[:, None, None] * np.eye(2)


def _running_median(values: np.ndarray, half: int = 15) -> np.ndarray:
    """Median of what is seen around each frame; of the whole clip where nothing is."""
    padded = np.pad(values, half, constant_values=np.nan)
    window = np.sort(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    seen = np.isfinite(window).sum(1)
    middle = window[np.arange(len(values)), np.maximum(seen - 1, 0) // 2]
    return np.where(seen > 0, middle, np.nanmedian(values) if seen.any() else np.nan)


def _held_end_first(followed: Followed) -> Followed:
    """Turn the chain round when its first point is the one that travels."""
    position = followed.position_px
    travel = [np.nanmax(np.ptp(position[np.isfinite(position[:, k, 0]), k], axis=0))
              for k in (0, -1)]
    if travel[0] <= 1.5 * travel[1]:
        return followed
    return Followed(
        position[:, ::-1], followed.covariance_px[:, ::-1], followed.kind,
        followed.sharp[:, ::-1], followed.notes + ["pulled end found from the motion"],
    )


def _follow_tags(measured: Measured, rig: Rig, view: View | None) -> Followed:
    """Tags say themselves which point they are; only their order along the chain may be open."""
    notes: list[str] = []
    own = [spots for spots in measured.spots]
    ids, counts = np.unique(
        np.concatenate([spots[:, 5] for spots in own]).astype(int), return_counts=True
    )
    ids = ids[(counts >= 0.02 * len(own)) & ~np.isin(ids, list(rig.reference.tags_mm))]
    if rig.marks.ids:
        unseen = [i for i in rig.marks.ids if i not in ids]
        if unseen:
            raise InputError(f"tags {unseen} of marks.ids are in no frame; seen are {ids.tolist()}")
        chain = np.array(rig.marks.ids)
    else:
        chain = _tags_of_chain(own, ids, rig, notes)
    if rig.kind == "ruler" and rig.marks.on != "points":
        return _follow_sections(measured, rig, view, chain, notes)
    if rig.points is not None and len(chain) != rig.points:
        raise InputError(
            f"rig.toml says points = {rig.points}, but {len(chain)} tags are in view "
            f"({chain.tolist()}); give marks.ids, or leave `points` out"
        )
    if len(chain) < 2:
        raise InputError(f"{len(chain)} tags besides the reference are in view, 2 are needed")
    assigned = np.full((len(own), len(chain)), -1)
    for t, spots in enumerate(own):
        for row, tag in enumerate(spots[:, 5].astype(int)):
            assigned[t, chain == tag] = row
    followed = _collect(measured, assigned, rig.kind or "blocks", notes)
    if not rig.marks.ids:
        followed = _order_tags(followed, rig, chain)
    return followed


def _follow_sections(
    measured: Measured, rig: Rig, view: View | None, chain: np.ndarray, notes: list[str]
) -> Followed:
    """A ruler with a tag on every section: its joints, one more than there are tags."""
    if len(chain) < 2 or (rig.points is not None and len(chain) != rig.points - 1):
        wanted = "2 or more" if rig.points is None else f"{rig.points - 1} (points - 1)"
        raise InputError(
            f"{len(chain)} tags on sections are in view ({chain.tolist()}), {wanted} are needed; "
            'give marks.ids, or [marks] on = "points" if they sit on the joints'
        )
    if not rig.marks.ids:
        chain = _sections_in_order(measured, rig, chain)
        notes.append(f"tags in chain order: {chain.tolist()}")
    position, covariance = joints_from_tags(measured.corners, chain, rig, view, notes)
    sharp = np.where(np.isfinite(position[..., 0]), 1.0, np.nan)
    return Followed(position, covariance, "ruler", sharp, notes, calibrated=True)


def _sections_in_order(measured: Measured, rig: Rig, chain: np.ndarray) -> np.ndarray:
    """Tags from the held end to the pulled one, from the frame that shows the chain widest."""
    place = np.full((len(measured.spots), len(chain), 2), np.nan)
    for t, spots in enumerate(measured.spots):
        for row in spots:
            place[t, chain == int(row[5])] = row[:2]
    whole = np.flatnonzero(np.isfinite(place[..., 0]).all(1))
    if not len(whole):
        raise InputError(
            f"no frame shows all tags {chain.tolist()}; give their order as marks.ids"
        )
    wide = place[whole[np.ptp(place[whole], axis=1).max(-1).argmax()]]
    along = rail_direction(wide)
    if rig.pull is not None:
        turned = np.sign(along @ np.array(DIRECTIONS[rig.pull], float)) or 1.0
        return chain[order_along(wide, along * turned)]
    order = order_along(wide, along)
    travel = np.nanmax(place[:, order], axis=0) - np.nanmin(place[:, order], axis=0)
    far = np.hypot(*travel.T)
    return chain[order[::-1] if far[0] > 1.5 * far[-1] else order]


def _tags_of_chain(own: list[np.ndarray], ids: np.ndarray, rig: Rig, notes: list) -> np.ndarray:
    """The tags on the rail, when others that no rig.toml explains lie beside it."""
    if rig.reference.tags_mm or len(ids) < 6:
        return ids
    rows = np.concatenate(own)
    middle = np.array([np.median(rows[rows[:, 5] == i, :2], axis=0) for i in ids], float)
    size = np.median(rows[:, 6])
    best = np.zeros(len(ids), bool)
    for a in range(len(ids)):
        for b in range(a):
            along = middle[a] - middle[b]
            normal = np.array([-along[1], along[0]]) / max(np.linalg.norm(along), 1e-9)
            on_line = np.abs((middle - middle[a]) @ normal) < size
            if on_line.sum() > best.sum():
                best = on_line
    if best.sum() < 4 or best.all():
        return ids
    notes.append(f"tags {ids[~best].tolist()} lie beside the rail and are left out")
    return ids[best]


def _order_tags(followed: Followed, rig: Rig, chain: np.ndarray) -> Followed:
    middle = np.nanmedian(followed.position_px, axis=0)
    along = rail_direction(middle)
    if rig.pull is not None:
        along = along * np.sign(along @ np.array(DIRECTIONS[rig.pull]) or 1)
    order = order_along(middle, along)
    turned = Followed(
        followed.position_px[:, order], followed.covariance_px[:, order], followed.kind,
        followed.sharp[:, order],
        followed.notes + [f"tags in chain order: {chain[order].tolist()}"],
    )
    return turned if rig.pull is not None else _held_end_first(turned)
