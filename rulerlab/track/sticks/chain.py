"""A chain of rigid sticks in the picture: what stays the same through a clip, and the algebra.

Lengths are those seen in the picture. A tilted camera makes them vary smoothly with place and
direction, so a full section has the length exp(trend . terms): its middle value, how it changes
across and down the picture, and how it changes with the slope of the section.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from rulerlab.track.sticks.equations import add_up, folds_of, terms_of

TREND, LAYER = 5, 3
SIDEWAYS_PX = 0.2  # by which whole edges lie aside at the least
SIDE_SEEN = 0.5  # of the side of a stick that is taken for stick: it lies in the shade


@dataclass(frozen=True)
class Rods:
    """What is rigid. S sections join N = S + 1 joints, held end first."""

    share: np.ndarray  # (S,) length of each section, in full ones
    kinds: tuple[str, ...]  # "full", "half" or "free"
    trend: np.ndarray  # (TREND,)
    width_px: float  # of a stick
    overhang_px: float  # from a joint to the tip of its stick
    turns: np.ndarray  # (S - 1,) 1 or -1: to which side each hinge folds
    middle_px: np.ndarray  # (2,) where the trend is counted from
    span_px: float  # over which it is counted
    layer: np.ndarray  # (LAYER,) px: by how much every second stick is seen aside
    sideways_px: float  # by how much a whole edge may lie aside: shadow, thickness, compression
    top: float = 0.6  # thicknesses from the middle of the upper stick to the joint's top
    pin_px: float = np.inf  # error of the hinges' pins; infinite: none are seen
    shade_px: np.ndarray = field(default_factory=lambda: np.zeros(2))  # by how much all lie aside
    covered: bool = False  # the last tip is in a hand: where its stick disappears is not its end

    def place(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) counted from the middle, in spans."""
        return (points - self.middle_px) / self.span_px

    def aside(self, points: np.ndarray) -> np.ndarray:
        """By how much sticks of the other layer are seen aside of points (..., 2), px.

        They lie lower (or higher) by their thickness: parallax from the foot of the camera.
        """
        return self.layer[0] * self.place(points) + self.layer[1:]

    @property
    def rise(self) -> tuple[float, float]:
        """From the layer of the joints to their tops, in shifts of every second stick; its slope.

        Edges show the middle of a stick's thickness; what lies nearer to the camera is seen further
        from its foot.
        """
        return (1 + self.top, 1.0) if self.layer[0] > 0 else (-self.top, -1.0)

    def terms(self, joints: np.ndarray) -> np.ndarray:
        """What multiplies the trend for every section of joints (..., N, 2), (..., S, TREND)."""
        terms = terms_of(np.ascontiguousarray(self.place(joints)).reshape(-1, *joints.shape[-2:]))
        return terms.reshape(*joints.shape[:-2], -1, TREND)

    def widths(self, joints: np.ndarray) -> np.ndarray:
        """Width of every section of joints (N, 2) where it lies, its visible side included, px."""
        middle = (joints[1:] + joints[:-1]) / 2
        _, normal = frames_of(joints)
        nearer = np.exp(self.place(middle) @ self.trend[1:3])
        side = np.abs((self.aside(middle) * normal).sum(-1))
        return self.width_px * nearer + SIDE_SEEN * side

    def lengths(self, joints: np.ndarray) -> np.ndarray:
        """Length of every section where it lies, px, (..., S)."""
        return self.share * np.exp(self.terms(joints) @ self.trend)


def folds(joints: np.ndarray) -> np.ndarray:
    """To which side each hinge of joints (..., N, 2) folds: the sine of its angle, (..., S - 1)."""
    folded = folds_of(np.ascontiguousarray(joints, float).reshape(-1, *joints.shape[-2:]))
    return folded.reshape(*joints.shape[:-2], -1)


def rods_of(
    joints: np.ndarray, kinds: tuple[str, ...], width_px: float, size_px: tuple[int, int]
) -> Rods:
    """The rods of a chain seen in one picture of the given size (width, height)."""
    length = np.linalg.norm(np.diff(joints, axis=0), axis=1)
    full = [size for size, kind in zip(length, kinds, strict=True) if kind == "full"]
    usual = float(np.median(full)) if full else float(np.median(length))
    share = np.where([kind == "full" for kind in kinds], 1.0, length / usual)
    turns = np.where(folds(joints) >= 0, 1.0, -1.0)
    trend = np.array([np.log(usual), *[0.0] * (TREND - 1)])
    return Rods(share, tuple(kinds), trend, width_px, 0.5 * width_px, turns,
                np.array(size_px) / 2.0, max(size_px) / 2.0, np.zeros(LAYER), SIDEWAYS_PX)


@dataclass(frozen=True)
class Lines:
    """What T pictures say about the sticks, relative to base joints near the truth."""

    base: np.ndarray  # (T, N, 2)
    aside: np.ndarray  # (T, S, 2) by how much each end of an axis lies aside of its base, px
    weight: np.ndarray  # (T, S, 2, 2) inverse covariance of that
    tip: np.ndarray  # (T, S, 2) from the base joint to the stick's tip beyond it, px
    tip_weight: np.ndarray  # (T, S, 2) inverse variance of that
    pin: np.ndarray  # (T, N, 2) from the base joint to the pin of its hinge; NaN: none is seen
    back: np.ndarray  # (T,) inverse variance with which joints are drawn to their base
    larger: np.ndarray  # (T,) logarithm of how much larger the picture is than the clip on average

    def pick(self, frames) -> Lines:
        """Some of the pictures."""
        return Lines(self.base[frames], self.aside[frames], self.weight[frames], self.tip[frames],
                     self.tip_weight[frames], self.pin[frames], self.back[frames],
                     self.larger[frames])


def frames_of(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Directions and normals of the sections of joints (..., N, 2), each (..., S, 2)."""
    way = np.diff(joints, axis=-2)
    unit = way / np.maximum(np.linalg.norm(way, axis=-1, keepdims=True), 1e-9)
    return unit, np.stack([-unit[..., 1], unit[..., 0]], -1)


def across(moved: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """How far sections move sideways, (..., S), when their joints (..., N, 2) move by `moved`."""
    _, normal = frames_of(joints)
    return np.abs(((moved[..., 1:, :] + moved[..., :-1, :]) / 2 * normal).sum(-1))


STIFF = 1e-3  # relative error of a rigid length: play of the hinges
ALTERNATE = 8  # halvings of a step that would fold a hinge to the wrong side


def solve(
    lines: Lines, rods: Rods, *, rounds: int = 4, start: np.ndarray | None = None,
    stiff: float = STIFF,
):
    """Joints (T, N, 2) that agree best with edges, tips and lengths; covariances (T, 2N, 2N).

    `stiff` is the relative error of the lengths.
    """
    joints = (lines.base if start is None else start).copy()
    normal = np.zeros(0)
    for _ in range(rounds):
        normal, right, _, _, _ = equations(lines, rods, joints, shared=False, stiff=stiff)
        step = np.linalg.solve(normal, right[..., None])[..., 0].reshape(joints.shape)
        joints = _without_flips(joints, step, rods)
    return joints, np.linalg.inv(normal)


def _without_flips(joints: np.ndarray, step: np.ndarray, rods: Rods) -> np.ndarray:
    """The joints after the step, or as much of it as leaves each hinge folded to its side that was.
    """
    right = folds(joints) * rods.turns > 0
    share = np.ones(len(joints))
    for _ in range(ALTERNATE):
        moved = joints + share[:, None, None] * step
        flips = (right & (folds(moved) * rods.turns <= 0)).any(-1)
        if not flips.any():
            break
        share[flips] *= 0.5
    return joints + share[:, None, None] * step


def equations(
    lines: Lines, rods: Rods, joints: np.ndarray, *, shared: bool = True, stiff: float = STIFF
):
    """Normal equations at `joints`: matrix (T, 2N, 2N) and right side for the joints, and for
    what the clip shares (trend, shares of sections that are not full, overhang, layer, top, shade
    of the pins): the coupling (T, 2N, G), matrix (G, G) and right side (G,).

    `shared` False: G is 0.
    """
    loose = np.array([kind != "full" for kind in rods.kinds])
    number = np.where(loose, np.cumsum(loose) - 1, -1)
    over = TREND + int(loose.sum())
    terms = rods.terms(joints)
    return add_up(
        joints, lines.base, lines.back,
        (lines.aside, lines.weight, rods.aside(lines.base), rods.place(lines.base)),
        (lines.tip, lines.tip_weight, rods.overhang_px),
        (lines.pin, rods.pin_px**-2, *rods.rise, rods.shade_px),
        (rods.share * np.exp(terms @ rods.trend + lines.larger[:, None]), terms, stiff, number,
         rods.share),
        (over + 4 + LAYER if shared else 0, TREND, over, over + 1, over + 1 + LAYER),
    )


def of_each(full: np.ndarray) -> np.ndarray:
    """Covariances (T, N, 2, 2) of single joints out of those of whole chains (T, 2N, 2N)."""
    points = full.shape[-1] // 2
    every = np.arange(points)
    return full.reshape(-1, points, 2, points, 2)[:, every, :, every].swapaxes(0, 1)
