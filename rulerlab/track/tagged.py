"""From tags to points: they say themselves which they are, on blocks or on a ruler's sections."""

from __future__ import annotations

import numpy as np

from rulerlab.errors import InputError
from rulerlab.rig import DIRECTIONS, Rig
from rulerlab.track.measure import Measured
from rulerlab.track.order import on_one_line, order_along, rail_direction
from rulerlab.track.points import Followed, collect, held_end_first, in_order
from rulerlab.track.register import View
from rulerlab.track.sections import bodies_of, joints_from_tags

TURNING = 0.2  # rad: blocks on a rail turn by less


def follow_tagged(measured: Measured, rig: Rig, view: View | None) -> Followed:
    """Tags say themselves which point they are; only their order along the chain may be open."""
    notes: list[str] = []
    own = [spots for spots in measured.spots]
    ids, counts = np.unique(
        np.concatenate([spots[:, 5] for spots in own]).astype(int), return_counts=True
    )
    ids = ids[(counts >= 0.02 * len(own)) & ~np.isin(ids, list(rig.reference.tags_mm))]
    if rig.kind is None:
        _refuse_turning(measured, np.array(rig.marks.ids or ids))
    if rig.marks.ids:
        unseen = [i for i in rig.marks.ids if i not in ids]
        if unseen:
            raise InputError(
                f"tags {unseen} of marks.ids are in no frame; seen are {ids.tolist()} (glare, a "
                "hand or a quiet zone that is not white hides a tag; or take them out of marks.ids)"
            )
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
    followed = collect(measured, assigned, rig.kind or "blocks", notes)
    if not rig.marks.ids:
        followed = _order_tags(followed, rig, chain)
    return followed


def _refuse_turning(measured: Measured, chain: np.ndarray) -> None:
    """Raise InputError where tags turn against each other: those of blocks on a rail do not."""
    turn = bodies_of(measured.corners, chain, None, np.zeros(len(chain))).turn
    turn = turn[np.isfinite(turn).sum(axis=1) >= 2]
    among = (turn - np.nanmedian(turn, axis=1, keepdims=True)).T
    swing = np.array([np.ptp(np.percentile(own[np.isfinite(own)], [5, 95]))
                      if np.isfinite(own).any() else 0.0 for own in among])
    if (swing > TURNING).sum() >= 2:
        raise InputError(
            f"tags {chain[swing > TURNING].tolist()} turn against the others: on a ruler? Then say "
            'in rig.toml: kind = "ruler", [marks] ids = [...] from the held end to the pulled one, '
            '[marks] on = "sections" (or "points"), and [reference] which tags lie on the board'
        )


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
    if rig.reference.tags_mm or rig.kind == "ruler" or len(ids) < 4:
        return ids
    rows = np.concatenate(own)
    middle = np.array([np.median(rows[rows[:, 5] == i, :2], axis=0) for i in ids], float)
    best = np.zeros(len(ids), bool)
    best[on_one_line(middle, float(np.median(rows[:, 6])))] = True
    if best.sum() < max(4, len(ids) // 2 + 1):
        raise InputError(
            f"tags {ids.tolist()} are in view, but no rail carries them: on a ruler, or a "
            "reference on the board? rig.toml says which ([reference], [marks], kind)"
        )
    if best.all():
        return ids
    notes.append(f"tags {ids[~best].tolist()} lie beside the rail and are left out")
    return ids[best]


def _order_tags(followed: Followed, rig: Rig, chain: np.ndarray) -> Followed:
    middle = np.nanmedian(followed.position_px, axis=0)
    along = rail_direction(middle)
    if rig.pull is not None:
        along = along * np.sign(along @ np.array(DIRECTIONS[rig.pull]) or 1)
    order = order_along(middle, along)
    turned = in_order(followed, order, f"tags in chain order: {chain[order].tolist()}")
    return turned if rig.pull is not None else held_end_first(turned)
