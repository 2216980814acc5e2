"""Tracks to motion to load curve: how far each section opened between rest and end of pull."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.errors import QualityError
from rulerlab.records import LOST, LoadCurve, Motion
from rulerlab.track import Tracked
from rulerlab.track.register import BLOCK, View
from rulerlab.track.scale import pull_direction

PATTERNS = 6  # of the errors that points share
SNAP = np.cos(np.radians(20))  # a pull this near to an axis of the rig frame runs along it


@dataclass(frozen=True)
class Pull:
    """When the pulled end moved: rest before `onset`, end of the pull at `end`."""

    rest: slice  # frames before the pull
    held: slice  # frames at the end of the pull
    onset_s: float
    end_s: float
    travel_mm: float
    starts_at_rest: bool


def to_plane(tracked: Tracked) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Positions (T, N, 2), covariances (T, N, 2, 2) and shared patterns (T, N, 2, S), mm.

    In the rig frame: that of the reference marks (design: x right, y up in the picture). Without
    a scale all is NaN and there is no pattern.
    """
    tracks, view = tracked.tracks, tracked.view
    if view is None:
        empty = np.full(tracks.position_px.shape, np.nan)
        return empty, np.full(tracks.covariance_px.shape, np.nan), None
    position = view.to_mm(tracks.position_px, tracked.height_mm)
    jacobian = view.jacobian(tracks.position_px, tracked.height_mm)
    covariance = jacobian @ tracks.covariance_px @ np.swapaxes(jacobian, -1, -2)
    return position, covariance, _shared(tracked, view)


def total_sigma(covariance: np.ndarray, shared: np.ndarray | None) -> np.ndarray:
    """Standard deviation of x and y of each point, what it shares with others included."""
    variance = np.diagonal(covariance, axis1=-2, axis2=-1)
    return np.sqrt(variance if shared is None else variance + (shared**2).sum(-1))


def motion_of(tracked: Tracked) -> Motion:
    """The chain's motion with x along the pull, held end first.

    In mm when a reference or known sections gave the scale, else in px with y up.
    """
    view = tracked.view
    position, covariance, shared = to_plane(tracked)
    if view is None:
        flip = np.diag([1.0, -1.0])
        position = tracked.tracks.position_px @ flip
        covariance = flip @ tracked.tracks.covariance_px @ flip
    moving = len(position) > 1  # one picture does not show which way the pull goes
    turn = _turn_to_pull(position, free=view is None and moving)
    position = position @ turn.T
    if view is None:
        position = position - np.nanmedian(position[:, 0], axis=0)
    covariance = turn @ covariance @ turn.T
    if shared is not None:
        shared = np.einsum("ab,tnbs->tnas", turn, shared).astype(np.float32)
    unit = "px" if view is None else "mm"
    return Motion(tracked.tracks.time_s, position, covariance, shared, tracked.tracks.status, unit)


def _shared(tracked: Tracked, view: View) -> np.ndarray:
    """The few combinations of the shared errors that matter, (T, N, 2, PATTERNS).

    Those of pose, print and lens are many and strongly correlated; seen on the board nearly all
    of them is a common shift, which cancels in extensions, and a change of scale.
    """
    position, height = tracked.tracks.position_px, tracked.height_mm
    few = slice(None, None, 1 + len(position) // 400)
    sample = view.part(few).shared_mm(position[few], height)
    known = np.isfinite(sample[..., 0]).all(-1)
    _, _, ways = np.linalg.svd(sample[known].reshape(-1, sample.shape[-1]), full_matrices=False)
    parts = [slice(begin, begin + BLOCK) for begin in range(0, len(position), BLOCK)]
    return np.concatenate([
        (view.part(part).shared_mm(position[part], height) @ ways[:PATTERNS].T).astype(np.float32)
        for part in parts
    ])


def _turn_to_pull(position: np.ndarray, *, free: bool) -> np.ndarray:
    """Rotation that puts x along the pull; `free` frames turn exactly, others by right angles."""
    way = pull_direction(position)
    if not free and np.abs(way).max() > SNAP:
        way = np.round(way)
    return np.array([[way[0], way[1]], [-way[1], way[0]]])


def find_pull(motion: Motion) -> Pull:
    """When the pull began and ended, from the pulled end (or the last hinge) alone.

    Raises QualityError when the pulled end is lost at the beginning or the end of the clip.
    """
    hand = _hand(motion)
    x = motion.joint_mm[:, hand, 0]
    seen = np.flatnonzero(np.isfinite(x))
    if len(seen) < 3:
        raise QualityError("the pulled end is seen in fewer than three frames: no pull is found")
    value = x[seen]
    part = max(1, len(seen) // 40)
    first, last = np.median(value[:part]), np.median(value[-part:])
    travel = float(last - first)
    sigma = float(np.sqrt(np.nanmedian(motion.covariance_mm2[seen, hand, 0, 0])))
    slack = max(5 * sigma, 0.01 * abs(travel))
    away = np.abs(value - first) > slack
    arrived = np.abs(value - last) <= slack
    onset = int(seen[away.argmax()]) if away.any() else int(seen[-1])
    late = len(arrived) - int(np.argmin(arrived[::-1])) if not arrived.all() else 0
    end = int(seen[min(late, len(seen) - 1)])
    end = min(max(end, onset), int(seen[-1]))
    return Pull(
        slice(0, max(onset, 1)), slice(end, len(x)), float(motion.time_s[onset]),
        float(motion.time_s[end]), travel, onset > 2,
    )


def _hand(motion: Motion) -> int:
    """The point whose travel is the pull: the last one, or the last whose place is known.

    Nobody sees the end of a section of unknown length that lies in the hand.
    """
    for point in (-1, -2):
        x = motion.joint_mm[:, point, 0]
        x = x[np.isfinite(x)]
        if len(x) < 3:
            break
        known = motion.covariance_mm2[:, point, 0, 0]
        known = known[np.isfinite(known)]
        if len(known) and np.sqrt(np.median(known)) < 0.05 * np.ptp(x):
            return point
    return -1


def angle_deg(motion: Motion) -> np.ndarray:
    """Angle of every section against the pull, (T, L), degrees, -180..180."""
    link = np.diff(motion.joint_mm, axis=1)
    return np.degrees(np.arctan2(link[..., 1], link[..., 0]))


def load_curve(
    motion: Motion, *, kind: str, pull_section: bool = True, unit: str | None = None,
    at_s: float | None = None,
) -> LoadCurve:
    """What each segment has opened beyond its rest state, at the end of the pull or at `at_s`.

    `kind` is "ruler" or "blocks"; `unit` "section" or "fold" (a V of two sections, in which
    leaning to one side cancels) for rulers, "spring" for blocks. With `pull_section` the last
    section of a ruler lies in the hand and carries no load. Raises QualityError when a joint is
    lost where it is needed.
    """
    pull = find_pull(motion)
    unit = unit or ("section" if kind == "ruler" else "spring")
    held = pull.held
    if at_s is not None:
        held = slice(*(int(np.argmin(np.abs(motion.time_s - at_s))) + k for k in (0, 1)))
    rest_x, rest_covariance, rest_shared = mean_place(motion, pull.rest)
    end_x, end_covariance, end_shared = mean_place(motion, held)
    covariance = rest_covariance + end_covariance
    if rest_shared is not None and end_shared is not None:
        covariance = covariance + (end_shared - rest_shared) @ (end_shared - rest_shared).T
    segments = len(end_x) - 1
    group = _groups(segments, kind, pull_section, unit)
    difference = group @ np.diff(np.eye(segments + 1), axis=0)
    return LoadCurve.from_loads(
        difference @ (end_x - rest_x), difference @ covariance @ difference.T, kind, unit=unit,
        quantity=motion.unit,
    )


def opened_curve(
    motion: Motion, *, pull_section: bool = True, unit: str = "section"
) -> LoadCurve:
    """The load curve of one picture: how far each section of a ruler reaches along the pull.

    The rest state is not seen; it is taken to be folded flat, where no section reaches anywhere.
    `unit` is "section" or "fold", as in `load_curve`.
    """
    group = _groups(motion.joint_mm.shape[1] - 1, "ruler", pull_section, unit)
    return LoadCurve.from_loads(
        group @ motion.extension_mm()[0], group @ motion.extension_covariance_mm2(0) @ group.T,
        "ruler", unit=unit, quantity=motion.unit,
    )


def mean_place(motion: Motion, frames: slice):
    """Mean positions along the pull in some frames, their covariance and shared patterns.

    The mean of many frames is not much better than one of them: what compression does to a
    resting mark stays the same. What the points themselves do about their mean (a shaken chain)
    is averaged, over as many independent moments as the frames hold, and moves neighbours alike.
    """
    x = motion.joint_mm[frames, :, 0]
    seen = np.isfinite(x)
    if not seen.any(0).all():
        lost = int(np.flatnonzero(~seen.any(0))[0])
        raise QualityError(
            f"point {lost} is lost at {motion.time_s[frames][0]:.2f} s, where the load is read; "
            "film it free of the hand, or choose another time"
        )
    count = seen.sum(0)
    mean = np.where(seen, x, 0).sum(0) / count
    variance = motion.covariance_mm2[frames, :, 0, 0]
    variance = np.where(seen, variance, 0).sum(0) / count
    wander = np.where(seen, x - mean, 0)
    wander *= np.sqrt(_memory(wander).max()) / count
    shared = None
    if motion.shared_mm is not None:
        pattern = motion.shared_mm[frames, :, 0, :]
        shared = np.where(seen[..., None], pattern, 0).sum(0) / count[:, None]
    return mean, np.diag(variance) + wander.T @ wander, shared


def _memory(deviation: np.ndarray) -> np.ndarray:
    """Frames per independent moment of each column (T, N): 1 + 2 x its autocorrelations, (N,).

    Summed until the first lag that is not positive (Geyer 1992). The deviations are from their
    own mean, which hides the share m / T of the variance and of each correlation: a second pass
    puts it back. With fewer than about ten moments the answer stays too small.
    """
    frames = len(deviation)
    power = np.abs(np.fft.rfft(deviation, 2 * frames, axis=0)) ** 2
    lagged = np.fft.irfft(power, axis=0)[:frames]
    return np.array([_memory_of(column) for column in (lagged / np.maximum(lagged[0], 1e-30)).T])


def _memory_of(correlation: np.ndarray) -> float:
    """That of one autocorrelation function (T,)."""
    frames, hidden = len(correlation), 0.0
    memory = inflation = 1.0
    for _ in range(2):
        mended = (correlation + hidden) / (1 + hidden)
        ends = np.flatnonzero(mended <= 0)
        last = min(ends[0] if len(ends) else frames, max(frames // 2, 1))
        memory = min(1 + 2 * mended[1:last].sum(), frames / 2)
        inflation, hidden = 1 + hidden, memory / frames
    return float(max(memory, 1.0) * inflation)


def _groups(segments: int, kind: str, pull_section: bool, unit: str) -> np.ndarray:
    """Which segments make one load, (loads, segments)."""
    loaded = segments - 1 if kind == "ruler" and pull_section and segments > 1 else segments
    if unit != "fold":
        return np.eye(segments)[:loaded]
    folds = [np.arange(k, min(k + 2, loaded)) for k in range(0, loaded, 2)]
    return np.array([np.isin(np.arange(segments), fold).astype(float) for fold in folds])


def share_lost(motion: Motion) -> float:
    """Share of all points and frames in which a point is lost."""
    return 0.0 if motion.status is None else float((motion.status == LOST).mean())
