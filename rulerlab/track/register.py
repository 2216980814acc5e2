"""Where is the board? Reference crosses or tags tie every frame to millimetres.

With a calibrated camera the board's pose is fitted (six numbers, the height of the marks is then
corrected for parallax); without one, a homography. A board that rests is registered once, from
all frames; one that moves, frame by frame.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import permutations

import cv2
import numpy as np

from rulerlab.camera import Camera
from rulerlab.errors import InputError
from rulerlab.track.crosses import centre_crosses, find_crosses

REFERENCE_SIGMA_PX = 0.05  # what compression leaves uncertain in a cross or tag, at the least
BLOCK = 512  # frames that are turned to millimetres at once
REST_PX = 0.35  # references that wander less than this lie on a resting board


@dataclass(frozen=True)
class View:
    """Pixels to millimetres on the board, for all T frames (or for one that serves all)."""

    camera: Camera | None
    rotation: np.ndarray | None  # (T or 1, 3, 3) world to camera
    shift_mm: np.ndarray | None  # (T or 1, 3)
    homography: np.ndarray | None  # (T or 1, 3, 3) px to mm, without a camera
    effects: np.ndarray  # (T or 1, E, P) independent errors of the registration, 1 sigma each
    moving: bool
    residual_px: float  # of the references, RMS
    lenses: tuple[Camera, ...] = ()  # the camera as each of the last effects has it

    def part(self, frames: slice) -> View:
        """The view of some frames of a clip."""
        if not self.moving:
            return self
        rotation, shift_mm, homography = (
            None if values is None else values[frames]
            for values in (self.rotation, self.shift_mm, self.homography)
        )
        return replace(self, rotation=rotation, shift_mm=shift_mm, homography=homography,
                       effects=self.effects[frames])

    def to_mm(self, position_px: np.ndarray, height_mm: np.ndarray) -> np.ndarray:
        """Millimetres on the board of points (T, N, 2) whose heights above it are (N,)."""
        if self.camera is None:
            return _apply(self.homography, position_px)
        rays = self.camera.undistort(position_px)
        return _meet_plane(rays, self.rotation, self.shift_mm, height_mm)

    def to_px(self, position_mm: np.ndarray, height_mm: np.ndarray) -> np.ndarray:
        """Pixels of points on the board (T, N, 2) at their heights above it; inverse of to_mm."""
        if self.camera is None:
            return _apply(np.linalg.inv(self.homography), position_mm)
        height = np.broadcast_to(height_mm, position_mm.shape[:-1])
        world = np.concatenate([position_mm, height[..., None]], -1)
        frames = len(position_mm)
        turned = np.einsum("tab,tnb->tna", np.broadcast_to(self.rotation, (frames, 3, 3)), world)
        seen = turned + np.broadcast_to(self.shift_mm, (frames, 3))[:, None, :]
        seen = np.where(np.isfinite(seen), seen, 1.0)
        pixels = self.camera.project(seen, np.zeros(3), np.zeros(3))
        return np.where(np.isfinite(position_mm), pixels, np.nan)

    def jacobian(self, position_px: np.ndarray, height_mm: np.ndarray) -> np.ndarray:
        """d mm / d px, (T, N, 2, 2)."""
        columns = [
            self.to_mm(position_px + 0.5 * unit, height_mm)
            - self.to_mm(position_px - 0.5 * unit, height_mm)
            for unit in np.eye(2)
        ]
        return np.stack(columns, -1)

    def shared_mm(self, position_px: np.ndarray, height_mm: np.ndarray) -> np.ndarray:
        """Shift of every point by each error of registration and lens, (T, N, 2, E)."""
        here = self.to_mm(position_px, height_mm)
        shifts = []
        same = (self.camera,) * (self.effects.shape[1] - len(self.lenses))
        for effect, camera in enumerate(same + self.lenses):
            change = self.effects[:, effect]
            if camera is None:
                moved = _apply(self.homography + change.reshape(-1, 3, 3), position_px)
            else:
                turn = np.stack([cv2.Rodrigues(c[:3])[0] for c in change])
                rays = camera.undistort(position_px)
                moved = _meet_plane(
                    rays, turn @ self.rotation, self.shift_mm + change[:, 3:], height_mm
                )
            shifts.append(moved - here)
        return np.stack(shifts, -1)


def _apply(homography: np.ndarray, points: np.ndarray) -> np.ndarray:
    homogeneous = np.concatenate([points, np.ones(points.shape[:-1] + (1,))], -1)
    mapped = np.einsum("tab,tnb->tna", np.broadcast_to(homography, (len(points), 3, 3)),
                       homogeneous)
    return mapped[..., :2] / mapped[..., 2:]


def _meet_plane(rays, rotation, shift_mm, height_mm) -> np.ndarray:
    """Where rays (T, N, 2) meet the planes z = height (N,) of the world."""
    direction = np.concatenate([rays, np.ones(rays.shape[:-1] + (1,))], -1)
    back = np.swapaxes(rotation, -1, -2)
    along = np.einsum("tab,tnb->tna", np.broadcast_to(back, (len(rays), 3, 3)), direction)
    origin = -np.einsum("tab,tb->ta", back, np.broadcast_to(shift_mm, (len(back), 3)))
    origin = np.broadcast_to(origin, (len(rays), 3))[:, None, :]
    go = (height_mm - origin[..., 2]) / along[..., 2]
    return (origin + go[..., None] * along)[..., :2]


class CrossFollower:
    """Reference crosses of a clip, frame by frame; new ones are looked for until all are found."""

    def __init__(self, wanted: int):
        self.wanted = wanted
        self._rough = np.zeros((0, 6))
        self._frames = 0
        self._rest = 0

    def observe(self, luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Centres (c, 2) and covariances of the candidates so far; c grows as more are found."""
        new = self._frames % 20 == 0 and self._frames <= 600
        if new and (len(self._rough) < self.wanted or self._frames <= 20):
            self._add(find_crosses(luma))
        self._frames += 1
        if not len(self._rough):
            return np.zeros((0, 2)), np.zeros((0, 2, 2))
        centre, covariance = self._measure(luma)
        seen = np.isfinite(centre[:, 0])
        self._rough[seen, :2] = centre[seen]
        return centre, covariance

    def _measure(self, luma: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        centre, covariance = centre_crosses(luma, self._rough)
        seen = np.isfinite(centre[:, 0])
        if seen.any() and not seen.all():  # the board jumped: move the others with those seen
            drift = np.median(centre[seen] - self._rough[seen, :2], axis=0)
            moved = self._rough[~seen].copy()
            moved[:, :2] += drift
            centre[~seen], covariance[~seen] = centre_crosses(luma, moved)
        elif not seen.any():
            fresh = find_crosses(luma)
            for k, old in enumerate(self._rough):
                if len(fresh):
                    gap = np.hypot(*(fresh[:, :2] - old[:2]).T)
                    if gap.min() < np.hypot(*old[2:4]) * 2:
                        one, spread = centre_crosses(luma, fresh[[gap.argmin()]])
                        centre[k], covariance[k] = one[0], spread[0]
        return centre, covariance

    def _add(self, found: np.ndarray) -> None:
        for cross in found:
            apart = np.hypot(*(self._rough[:, :2] - cross[:2]).T)
            if not len(apart) or apart.min() > 12:
                self._rough = np.vstack([self._rough, cross])


def match_crosses(candidates_px: np.ndarray, crosses_mm: np.ndarray) -> np.ndarray:
    """Which candidate is which reference cross: index (R,), by the least turned, best fit.

    The picture shows the board from above, so y of the rig runs up where y of the pixels runs
    down. Raises InputError when no four candidates lie like the crosses.
    """
    count = len(crosses_mm)
    flipped = crosses_mm * [1, -1]
    usable = np.flatnonzero(np.isfinite(candidates_px[:, 0]))
    if len(usable) < count:
        raise InputError(
            f"{len(usable)} reference crosses are in view, rig.toml lists {count}; "
            "film all of them, or leave [reference] out"
        )
    best, chosen = np.inf, None
    spread = np.linalg.norm(flipped - flipped.mean(0))
    for pick in permutations(usable, count) if len(usable) <= 7 else []:
        seen = candidates_px[list(pick)]
        left = flipped - flipped.mean(0)
        right = seen - seen.mean(0)
        turn = (left[:, 0] + 1j * left[:, 1]).conj() @ (right[:, 0] + 1j * right[:, 1])
        turn /= (np.abs(left) ** 2).sum()
        fit = turn * (left[:, 0] + 1j * left[:, 1])
        misfit = np.linalg.norm(fit - (right[:, 0] + 1j * right[:, 1])) / (abs(turn) * spread)
        cost = misfit + 0.05 * abs(np.angle(turn))
        if misfit < 0.35 and cost < best:
            best, chosen = cost, np.array(pick)
    if chosen is None:
        raise InputError(
            "the crosses in view do not lie as reference.crosses_mm says; check its numbers"
        )
    return chosen


def register(
    observed_px: np.ndarray, covariance_px: np.ndarray, reference_mm: np.ndarray,
    camera: Camera | None,
) -> View:
    """The view of the board in every frame, from its references (T, R, 2); NaN where unseen."""
    seen = np.isfinite(observed_px[..., 0])
    middle = np.full(observed_px.shape[1:], np.nan)
    middle[seen.any(0)] = np.nanmedian(observed_px[:, seen.any(0)], axis=0)
    if np.isfinite(middle[:, 0]).sum() < 4 or (seen.sum(1) >= 4).mean() < 0.02 and not _rests(
        observed_px, middle
    ):
        raise InputError(
            f"only {int(np.isfinite(middle[:, 0]).sum())} references are ever in view, 4 are needed"
        )
    if _rests(observed_px, middle):
        spread = np.full(middle.shape, REFERENCE_SIGMA_PX)
        return _stack([_solve(middle, spread, reference_mm, camera, None)], camera, False)
    solved, last = [], None
    order = np.arange(len(observed_px))
    start = int(np.argmax(seen.sum(1) >= 4))
    for t in np.concatenate([order[start:], order[:start][::-1]]):
        noise = np.sqrt(np.maximum(np.nan_to_num(covariance_px[t, :, [0, 1], [0, 1]].T, nan=1), 0))
        spread = np.hypot(noise, REFERENCE_SIGMA_PX)
        if t == start - 1:
            last = solved[0]
        last = _solve(observed_px[t], spread, reference_mm, camera, last)
        solved.append(last)
    solved = solved[len(order) - start :][::-1] + solved[: len(order) - start] if start else solved
    return _stack(solved, camera, True)


def _rests(observed_px: np.ndarray, middle: np.ndarray) -> bool:
    away = np.abs(observed_px - middle)
    if not np.isfinite(away).any():
        return True
    return bool(np.nanpercentile(away, 90) < 2 * REST_PX)


def _stack(solved: list, camera: Camera | None, moving: bool) -> View:
    first, second, effects, residual = (list(column) for column in zip(*solved, strict=True))
    known = [r for r in residual if np.isfinite(r)]
    rms = float(np.sqrt(np.mean(np.square(known)))) if known else float("nan")
    if camera is None:
        return View(None, None, None, np.array(first), np.array(effects), moving, rms)
    return View(camera, np.array(first), np.array(second), None, np.array(effects), moving, rms)


def _solve(seen_px, spread_px, reference_mm, camera, last):
    good = np.isfinite(seen_px[:, 0])
    if camera is None:
        return _solve_homography(seen_px[good], spread_px[good], reference_mm[good], last)
    return _solve_pose(seen_px[good], spread_px[good], reference_mm[good], camera, last)


def _solve_pose(seen_px, spread_px, reference_mm, camera, last):
    """(rotation, shift, effects, residual) of one frame; few references lean on the last frame."""
    world = np.c_[reference_mm, np.zeros(len(reference_mm))]
    if last is None or len(seen_px) >= 4:
        rays = camera.undistort(seen_px)
        ok, turns, shifts, errors = cv2.solvePnPGeneric(
            world, rays.reshape(-1, 1, 2), np.eye(3), None, flags=cv2.SOLVEPNP_IPPE
        )
        if not ok:
            raise InputError("the references do not fix where the camera was; check their mm")
        best = int(np.argmin(np.ravel(errors)))
        turn, shift = turns[best].ravel(), shifts[best].ravel()
        if last is not None:  # near head-on two poses fit alike: stay with the one before
            gaps = [np.abs(cv2.Rodrigues(t)[0] - last[0]).max() for t in turns]
            turn, shift = turns[int(np.argmin(gaps))].ravel(), shifts[int(np.argmin(gaps))].ravel()
    else:
        turn, shift = cv2.Rodrigues(last[0])[0].ravel(), last[1].copy()
    prior = turn.copy(), shift.copy()
    stiff = np.zeros(6) if len(seen_px) >= 4 else 1 / np.array([0.004] * 3 + [3.0, 3.0, 6.0]) ** 2
    information = np.diag(stiff) + 1e-12 * np.eye(6)
    for _ in range(10 if len(seen_px) else 0):
        base = camera.project(world, turn, shift)
        slope = np.empty(base.shape + (6,))
        for p in range(6):
            step = 1e-6 if p < 3 else 1e-4
            nudge = np.zeros(6)
            nudge[p] = step
            turned = cv2.Rodrigues(cv2.Rodrigues(nudge[:3])[0] @ cv2.Rodrigues(turn)[0])[0].ravel()
            slope[..., p] = (camera.project(world, turned, shift + nudge[3:]) - base) / step
        design = (slope / spread_px[..., None]).reshape(-1, 6)
        misfit = ((seen_px - base) / spread_px).ravel()
        away = np.concatenate([
            cv2.Rodrigues(cv2.Rodrigues(prior[0])[0] @ cv2.Rodrigues(turn)[0].T)[0].ravel(),
            prior[1] - shift,
        ])
        information = design.T @ design + np.diag(stiff) + 1e-12 * np.eye(6)
        change = np.linalg.solve(information, design.T @ misfit + stiff * away)
        turn = cv2.Rodrigues(cv2.Rodrigues(change[:3])[0] @ cv2.Rodrigues(turn)[0])[0].ravel()
        shift = shift + change[3:]
        if np.abs(change).max() < 1e-9:
            break
    if len(seen_px):
        gap = seen_px - camera.project(world, turn, shift)
        residual = float(np.sqrt((gap**2).mean()))
    else:
        residual = float("nan")
    effects = np.linalg.cholesky(np.linalg.inv(information)).T
    return cv2.Rodrigues(turn)[0], shift, effects, residual


def _solve_homography(seen_px, spread_px, reference_mm, last):
    if len(seen_px) < 4:
        if last is None:
            raise InputError(f"{len(seen_px)} references in view, 4 are needed")
        return last[0], None, 2 * last[2], float("nan")

    def solve(points):
        return cv2.findHomography(points, reference_mm)[0]

    homography = solve(seen_px)
    effects = []
    for k in range(len(seen_px)):
        for axis in range(2):
            moved = seen_px.copy()
            moved[k, axis] += spread_px[k, axis]
            effects.append((solve(moved) - homography).ravel())
    residual = _apply(np.linalg.inv(homography)[None], reference_mm[None])[0] - seen_px
    return homography, None, np.array(effects), float(np.sqrt((residual**2).mean()))
