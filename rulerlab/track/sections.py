"""Tags on the sections of a ruler: every section is a rigid body, and joints are where two hinge.

A tag gives a place and a direction. How it is glued to its section (turned by `phi`, `along` from
the held-side joint, `aside` of the axis) stays the same for a whole clip, so all frames together
tell it: the far joint of a section and the near joint of the next must be one point in each of
them. Every frame is then one least-squares fit of the rigid chain to all its tags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.errors import InputError, QualityError
from rulerlab.rig import Rig
from rulerlab.track.register import View
from rulerlab.track.uncertainty import FLOOR_PX, STAYS, USUAL

FRAMES = 60  # that tell how the tags are glued; more of them repeat the same errors
BLOCK = 400  # frames solved at once
TURN_VARIANCE = 9.4  # of a tag's direction, in variances of its centre over its side squared
LOOSE = 0.5  # rad: what is known of a section whose tag is not seen
UNSURE = 0.02  # of a section: a joint known worse than this is not seen


@dataclass(frozen=True)
class Bodies:
    """Tags as rigid bodies in the plane (mm, or px with y up): T frames, L sections."""

    centre: np.ndarray  # (T, L, 2), NaN where unseen
    turn: np.ndarray  # (T, L) rad, unwrapped in time
    variance: np.ndarray  # (T, L) of the centre along one axis
    turn_variance: np.ndarray  # (T, L)


@dataclass(frozen=True)
class Glue:
    """How the tags sit on their sections, (L,) each, and the covariance of all (4 L, 4 L)."""

    phi: np.ndarray
    along: np.ndarray
    aside: np.ndarray
    length: np.ndarray
    covariance: np.ndarray


def bodies_of(
    corners: list[np.ndarray], ids: np.ndarray, view: View | None, height_mm: np.ndarray
) -> Bodies:
    """The tags `ids` in chain order, from rows (id, 8 corner coordinates, centre, variance)."""
    px = np.full((len(corners), len(ids), 5, 2), np.nan)
    variance_px = np.full((len(corners), len(ids)), np.nan)
    for t, rows in enumerate(corners):
        for row in rows:
            place = np.flatnonzero(ids == int(row[0]))
            if len(place):
                px[t, place[0]] = row[1:11].reshape(5, 2)
                variance_px[t, place[0]] = row[11]
    flat = px.reshape(len(px), -1, 2)
    if view is None:
        plane, stretch = flat * [1, -1], np.ones(flat.shape[:2])
    else:
        height = np.repeat(height_mm, 5)
        plane = view.to_mm(flat, height)
        stretch = np.sqrt(np.abs(np.linalg.det(view.jacobian(flat, height))))
    plane = plane.reshape(px.shape)
    stretch = stretch.reshape(px.shape[:3])[..., 4]
    side = 0.5 * (plane[:, :, 1] - plane[:, :, 0] + plane[:, :, 2] - plane[:, :, 3])
    turn = np.arctan2(side[..., 1], side[..., 0])
    for k in range(len(ids)):
        seen = np.isfinite(turn[:, k])
        turn[seen, k] = np.unwrap(turn[seen, k])
    variance = (variance_px + (FLOOR_PX / USUAL["tags"]) ** 2) * stretch**2
    return Bodies(plane[:, :, 4], turn, variance,
                  TURN_VARIANCE * variance / (side**2).sum(-1))


def joints_from_tags(
    corners: list[np.ndarray], ids: np.ndarray, rig: Rig, view: View | None, notes: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (T, L + 1, 2) and calibrated covariances of the joints of a ruler with tags `ids`.

    Raises InputError for lists of rig.toml that don't fit the tags, QualityError when the joints
    can't be told.
    """
    count = len(ids)
    along = _one_each(rig.marks.along_mm, count, "marks.along_mm")
    length = _one_each(rig.ruler.sections_mm, count, "ruler.sections_mm")
    height = np.array(rig.marks.height_mm or (0.0,))
    tag_height = np.broadcast_to(height if len(height) in (1, count) else height.mean(), count)
    bodies = bodies_of(corners, ids, view, tag_height)
    if view is None and (along is not None or length is not None):
        found = find_glue(bodies, None, None).length
        if length is None:  # pixels, and no length to compare them with
            along = None
        else:
            per_mm = float(np.median(found[1:-1] / length[1:-1])) if count > 2 else float(
                np.median(found / length))
            length = length * per_mm
            along = None if along is None else along * per_mm
    if length is None:
        ends = "both ends" if along is None else "the pulled end"
        notes.append(f"{ends} of the chain lie as far beyond the tag as the joint before it "
                     "(ruler.sections_mm is not given)")
    joint, covariance = fit_chain(bodies, find_glue(bodies, along, length))
    if view is None:
        flip = np.diag([1.0, -1.0])
        return joint @ flip, flip @ covariance @ flip
    joint_height = np.full(count + 1, height.mean()) if len(height) != count + 1 else height
    pixel = view.to_px(joint, joint_height)
    inverse = np.full(covariance.shape, np.nan)
    seen = np.isfinite(joint[..., 0])
    inverse[seen] = np.linalg.inv(view.jacobian(pixel, joint_height)[seen])
    return pixel, inverse @ covariance @ np.swapaxes(inverse, -1, -2)


def _one_each(numbers: tuple[float, ...], count: int, name: str) -> np.ndarray | None:
    if not numbers:
        return None
    if len(numbers) not in (1, count):
        raise InputError(f"{name} has {len(numbers)} numbers, but {count} tags sit on sections")
    return np.broadcast_to(np.array(numbers), count)


def find_glue(bodies: Bodies, along: np.ndarray | None, length: np.ndarray | None) -> Glue:
    """How the tags are glued, from the hinges of some frames and from what rig.toml knows.

    `along` and `length` (L,) are in the unit of the plane; None: found. The two ends of the chain
    have no hinge: where nothing else is known, their tag is taken to sit in the middle.
    Raises QualityError when the sections never turn against each other and nothing is known.
    """
    pick = _telling(bodies.turn)
    some = Bodies(*(part[pick] for part in vars(bodies).values()))
    value, size = _pivots(some, along, length)
    count = len(value)
    wanted, weight = np.zeros((count, 4)), np.zeros((count, 4))
    weight[:, 0] = 1e-9
    weight[:, 2] = 1 / (0.003 * size) ** 2
    if along is not None:
        wanted[:, 1], weight[:, 1] = along, 1 / (0.003 * size) ** 2
    if length is not None:
        wanted[:, 3], weight[:, 3] = length, 1 / (0.002 * length) ** 2
    else:
        wanted[:, 3], weight[:, 3] = size, 1 / (0.5 * size) ** 2
    centred = np.zeros(count)  # weight of "the tag sits in the middle"
    if length is None:
        centred[1:-1] = 1 / (0.5 * size)  # its hinges tell it better
        centred[-1] = 1 / (0.003 * size)
        centred[0] = centred[-1] if along is None else centred[0]
    middle = np.kron(np.diag(centred), [0.0, 1.0, 0.0, -0.5])
    for _ in range(25):
        design, gap = _closure(some, value)
        spread = max(1.48 * float(np.median(np.abs(gap))), 1.0)
        trust = 1 / (1 + (gap / (2.5 * spread)) ** 2)  # a side of a tag that was misread
        information = (design.T @ (trust[:, None] * design) / spread**2
                       + np.diag(weight.ravel()) + middle.T @ middle)
        right = (design.T @ (trust * gap) / spread**2 + (weight * (wanted - value)).ravel()
                 - middle.T @ (middle @ value.ravel()))
        change = np.linalg.solve(information, right)
        value = value + change.reshape(count, 4)
        if np.abs(change).max() < 1e-9 * size:
            break
    return Glue(*value.T, STAYS**2 * np.linalg.inv(information))


def _telling(turn: np.ndarray) -> np.ndarray:
    """Frames spread evenly over the turning of the sections, not over time: rest tells little."""
    seen = np.isfinite(turn)
    both = np.flatnonzero((seen[:, 1:] & seen[:, :-1]).any(1))
    if not len(both):
        return both
    step = np.abs(np.diff(turn[both], axis=0))
    path = np.cumsum(np.concatenate([[0.0], np.nan_to_num(step).mean(1) + 1e-6]))
    return both[np.unique(np.searchsorted(path, np.linspace(0, path[-1], FRAMES)))]


def _axes(turn: np.ndarray, phi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Unit vectors along the sections and to their left, (T, L, 2)."""
    angle = turn - phi
    along = np.stack([np.cos(angle), np.sin(angle)], -1)
    return along, np.stack([-along[..., 1], along[..., 0]], -1)


def _pivots(some: Bodies, along: np.ndarray | None, length: np.ndarray | None):
    """A first guess of phi, along, aside and length (L, 4), and a typical length of a section.

    In the frames of two neighbouring tags their common hinge stands still: four numbers, and two
    equations per frame, linear.
    """
    count = some.turn.shape[1]
    far, near = np.full((count, 2), np.nan), np.full((count, 2), np.nan)
    strength = np.zeros(count - 1)
    for s in range(count - 1):
        ok = np.isfinite(some.turn[:, s] + some.turn[:, s + 1])
        if not ok.any():
            raise QualityError(
                f"the tags of sections {s + 1} and {s + 2} are never seen together: "
                "their joint can't be found"
            )
        turn = [_rotation(some.turn[ok, k]) for k in (s, s + 1)]
        design = np.concatenate([turn[0], -turn[1]], -1).reshape(-1, 4)
        right = (some.centre[ok, s + 1] - some.centre[ok, s]).ravel()
        strength[s] = np.linalg.eigvalsh(design.T @ design)[0] / len(right)
        if strength[s] < 1e-4 and (along is None or length is None):
            raise QualityError(
                f"sections {s + 1} and {s + 2} hardly turn against each other: their joint can't "
                "be found; give marks.along_mm and ruler.sections_mm"
            )
        ridge = 1e-5 * len(right) * np.eye(4)
        both = np.linalg.solve(design.T @ design + ridge, design.T @ right)
        far[s], near[s + 1] = both[:2], both[2:]
    near[0], far[-1] = -far[0], -near[-1]  # in the middle, until more is known
    if along is not None and length is not None:
        _spread_from(int(strength.argmax()), some, far, near, along, length)
    link = far - near
    phi = -np.arctan2(link[:, 1], link[:, 0])
    axis = np.stack([np.cos(-phi), np.sin(-phi)], -1)
    guess = np.zeros((count, 4))
    guess[:, 0] = phi
    guess[:, 1] = -(near * axis).sum(-1) if along is None else along
    guess[:, 3] = np.linalg.norm(link, axis=-1) if length is None else length
    return guess, float(np.median(guess[:, 3]))


def _spread_from(hinge: int, some: Bodies, far, near, along, length) -> None:
    """Replace ends of sections (L, 2), in their tags' frames, by those that follow from a hinge.

    Hinges that hardly turn don't tell where they are, but known lengths reach them from one that
    does: each section points from the joint that is known to its own tag.
    """
    count, rest = len(far), length - along
    near[hinge] = -far[hinge] * along[hinge] / np.linalg.norm(far[hinge])
    far[hinge + 1] = -near[hinge + 1] * rest[hinge + 1] / np.linalg.norm(near[hinge + 1])
    for s in range(hinge + 2, count):
        near[s] = _seen_from(some, s, s - 1, far[s - 1])
        far[s] = -near[s] * rest[s] / np.linalg.norm(near[s])
    for s in range(hinge - 1, -1, -1):
        far[s] = _seen_from(some, s, s + 1, near[s + 1])
        near[s] = -far[s] * along[s] / np.linalg.norm(far[s])


def _seen_from(some: Bodies, here: int, there: int, place: np.ndarray) -> np.ndarray:
    """A place (2,) in the frame of one tag as it lies, on average, in the frame of another."""
    gap = np.einsum("tab,b->ta", _rotation(some.turn[:, there]), place)
    gap += some.centre[:, there] - some.centre[:, here]
    return np.nanmean(np.einsum("tba,tb->ta", _rotation(some.turn[:, here]), gap), axis=0)


def _rotation(angle: np.ndarray) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], -1), np.stack([sin, cos], -1)], -2)


def _closure(some: Bodies, value: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Weighted derivative (M, 4 L) of the far and near ends of hinges, and their gaps (M,)."""
    phi, place, aside, length = value.T
    along, left = _axes(some.turn, phi)
    rest = length - place
    far = some.centre + rest[:, None] * along - aside[:, None] * left
    near = some.centre - place[:, None] * along - aside[:, None] * left
    far_slope = np.stack(
        [-rest[:, None] * left - aside[:, None] * along, -along, -left, along], -1)
    near_slope = np.stack(
        [place[:, None] * left - aside[:, None] * along, -along, -left, 0 * along], -1)
    own = some.variance + some.turn_variance * np.maximum(rest, place) ** 2
    sigma = np.sqrt(own[:, 1:] + own[:, :-1])
    gap = (near[:, 1:] - far[:, :-1]) / sigma[..., None]
    count = len(value)
    design = np.zeros(gap.shape + (count, 4))
    for s in range(count - 1):
        design[:, s, :, s] = far_slope[:, s] / sigma[:, s, None, None]
        design[:, s, :, s + 1] = -near_slope[:, s + 1] / sigma[:, s, None, None]
    good = np.isfinite(gap)
    return design.reshape(gap.shape + (4 * count,))[good], gap[good]


def fit_chain(bodies: Bodies, glue: Glue) -> tuple[np.ndarray, np.ndarray]:
    """Joints (T, L + 1, 2) and covariances (T, L + 1, 2, 2) of the rigid chain in every frame.

    NaN where no tag beside the joint is seen, or the others don't fix it. The covariances hold
    the scatter that the tags show about the chain, and the errors of the glue.
    """
    frames, count = bodies.turn.shape
    seen = np.isfinite(bodies.turn)
    angle = np.empty((frames, count))
    for s in range(count):
        known = np.flatnonzero(seen[:, s])
        angle[:, s] = np.interp(np.arange(frames), known, bodies.turn[known, s] - glue.phi[s])
    parts = [
        _fit_frames(Bodies(*(part[k : k + BLOCK] for part in vars(bodies).values())),
                    angle[k : k + BLOCK], glue)
        for k in range(0, frames, BLOCK)
    ]
    joint, own, common, z = (np.concatenate(column) for column in zip(*parts, strict=True))
    z = z[np.isfinite(z)]
    loss = np.sqrt(3 * count / max(2 * count - 2, 1))  # residuals of a fit are smaller than errors
    spread = STAYS * loss * (np.percentile(z, 84.13) - np.percentile(z, 15.87)) / 2
    own = max(float(spread), 1.0) ** 2 * own
    covariance = own + common
    beside = np.zeros((frames, count + 1), bool)
    beside[:, 1:], beside[:, :-1] = seen, beside[:, :-1] | seen
    sigma = np.sqrt(np.trace(own, axis1=-2, axis2=-1))
    gone = ~(beside & (sigma < UNSURE * np.median(glue.length)))
    joint[gone], covariance[gone] = np.nan, np.nan
    return joint, covariance


def _fit_frames(bodies: Bodies, angle: np.ndarray, glue: Glue):
    """Gauss-Newton on held end and angles of all frames at once, and on nothing else."""
    frames, count = angle.shape
    seen = np.isfinite(bodies.turn)
    variance = np.where(seen, bodies.variance, 1.0)
    turn_variance = np.where(seen, bodies.turn_variance, 1.0)
    weight = np.where(seen, 1 / variance, 0.0)
    turn_weight = np.where(seen, 1 / turn_variance, 0.0)
    before = np.tri(count, k=-1)
    start = np.full((frames, 2), np.nan)
    inverse, weighted = np.empty(0), np.empty(0)
    angle = angle.copy()
    for step in range(10):
        along, left = _axes(angle, 0.0)
        own = glue.along[:, None] * along + glue.aside[:, None] * left
        own_slope = glue.along[:, None] * left - glue.aside[:, None] * along
        reach = np.einsum("sj,tjx->tsx", before, glue.length[:, None] * along)
        if step == 0:
            guess = bodies.centre - reach - own
            some = seen.any(1)
            start[some] = np.nanmedian(guess[some], axis=1)
        gap = np.nan_to_num(bodies.centre - start[:, None] - reach - own)
        turn_gap = np.nan_to_num(bodies.turn - angle - glue.phi)
        slope = before[:, None, :] * (glue.length[:, None] * left).transpose(0, 2, 1)[:, None]
        slope = slope + np.einsum("sj,tsx->tsxj", np.eye(count), own_slope)
        full = np.zeros((frames, count, 3, count + 2))
        full[:, :, 0, 0] = full[:, :, 1, 1] = 1.0
        full[:, :, :2, 2:] = slope
        full[:, :, 2, 2:] = np.eye(count)
        weights = np.stack([weight, weight, turn_weight], -1)
        everything = np.concatenate([gap, turn_gap[..., None]], -1)
        if step > 3:  # a tag that was misread disagrees with the rest of the chain
            z2 = (weights * everything**2).sum(-1)
            usual = np.median(z2[seen]) if seen.any() else 1.0
            weights = weights / (1 + z2 / (8 * max(usual, 3.0)))[..., None]
        weighted = full * weights[..., None]
        flat = full.reshape(frames, -1, count + 2)
        information = np.swapaxes(weighted.reshape(flat.shape), -1, -2) @ flat
        prior = np.concatenate([[1e-9, 1e-9], np.full(count, 1 / LOOSE**2)])
        inverse = np.linalg.inv(information + np.diag(prior))
        right = np.einsum("tsij,tsi->tj", weighted, everything)
        change = np.einsum("tij,tj->ti", inverse, right)
        start, angle = start + change[:, :2], angle + change[:, 2:]
    along, left = _axes(angle, 0.0)
    joint = start[:, None] + np.concatenate(
        [np.zeros((frames, 1, 2)), np.cumsum(glue.length[:, None] * along, axis=1)], axis=1)
    arm = np.zeros((frames, count + 1, 2, count + 2))
    arm[:, :, 0, 0] = arm[:, :, 1, 1] = 1.0
    arm[..., 2:] = (np.tri(count + 1, count, -1)[:, None, :]
                    * (glue.length[:, None] * left).transpose(0, 2, 1)[:, None])
    own = arm @ inverse[:, None] @ np.swapaxes(arm, -1, -2)
    glued = _glue_slope(along, left, before)
    pulled = -np.einsum("tij,tsaj,tsap->tip", inverse, weighted, glued)
    direct = np.zeros((frames, count + 1, 2, count, 4))
    direct[..., 3] = np.tri(count + 1, count, -1)[:, None, :] * along.transpose(0, 2, 1)[:, None]
    sensitivity = direct.reshape(frames, count + 1, 2, -1) + arm @ pulled[:, None]
    common = sensitivity @ glue.covariance @ np.swapaxes(sensitivity, -1, -2)
    full_weights = np.stack([weight, weight, turn_weight], -1)
    z = np.where(full_weights > 0, everything * np.sqrt(full_weights), np.nan)
    return joint, own, common, z


def _glue_slope(along: np.ndarray, left: np.ndarray, before: np.ndarray) -> np.ndarray:
    """(T, L, 3, 4 L) change of expected centre and turn by phi, along, aside and length."""
    frames, count = along.shape[:2]
    slope = np.zeros((frames, count, 3, count, 4))
    each = np.arange(count)
    slope[:, each, 2, each, 0] = 1.0
    slope[:, each, :2, each, 1] = along.transpose(1, 0, 2)
    slope[:, each, :2, each, 2] = left.transpose(1, 0, 2)
    slope[:, :, :2, :, 3] = before[:, None, :] * along.transpose(0, 2, 1)[:, None]
    return slope.reshape(frames, count, 3, 4 * count)
