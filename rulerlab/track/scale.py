"""Millimetres without a reference on the board: the known sections of the ruler are the scale."""

from __future__ import annotations

import numpy as np

from rulerlab.track.register import View

LEAST = 0.001  # share of the scale that section lengths, read off a ruler, leave uncertain
SAME = 0.05  # sections whose lengths differ by less than this share are full ones


def view_from_sections(
    position_px: np.ndarray, sections_mm: tuple[float, ...]
) -> tuple[View, float, float] | None:
    """The plane in which the sections have their lengths; (view, mm per px, its relative error).

    `position_px` is (T, N, 2); `sections_mm` one length per section, or one for all full
    sections. y runs up, the origin is point 0 and x runs along the pull. The scale is the same
    everywhere (a camera that looks straight down); how far sections disagree is its error.
    None when no section is ever seen.
    """
    gap = np.linalg.norm(np.diff(position_px, axis=1), axis=-1)
    seen = np.isfinite(gap).sum(0) > 0
    if not seen.any() or len(sections_mm) not in (1, gap.shape[1]):
        return None
    length_px = np.array([np.nanmedian(g) if ok else np.nan for g, ok in zip(gap.T, seen,
                                                                             strict=True)])
    if len(sections_mm) == 1:
        seen &= _full(length_px)
    ratio = (np.broadcast_to(sections_mm, len(length_px)) / length_px)[seen]
    per_px = float(np.median(ratio))
    off = np.abs(ratio / per_px - 1)
    fits = off < max(4 * 1.48 * float(np.median(off)), 5 * LEAST)
    per_px = float(np.average(ratio[fits], weights=length_px[seen][fits]))
    spread = float(np.sqrt(np.mean((ratio[fits] / per_px - 1) ** 2) / max(fits.sum() - 1, 1)))
    error = float(np.hypot(spread, LEAST))
    up = position_px * [1, -1]
    way = pull_direction(up)
    held = up[:, 0][np.isfinite(up[:, 0, 0])]
    origin = np.median(held, axis=0)
    linear = per_px * np.array([[way[0], way[1]], [-way[1], way[0]]])
    homography = np.eye(3)
    homography[:2, :2] = linear @ np.diag([1.0, -1.0])
    homography[:2, 2] = -linear @ origin
    effect = error * homography
    effect[2] = 0.0
    return View(None, None, None, homography[None], effect.reshape(1, 1, 9), False,
                float("nan")), per_px, error


def _full(length_px: np.ndarray) -> np.ndarray:
    """Which sections have the most common length."""
    with np.errstate(invalid="ignore"):
        near = np.abs(np.log(length_px[:, None] / length_px[None])) < SAME
    return near[np.lexsort((np.nan_to_num(length_px), near.sum(1)))[-1]]


def pull_direction(position: np.ndarray) -> np.ndarray:
    """Unit vector in which the last point of (T, N, 2) travels; along the chain if it rests."""
    last = position[np.isfinite(position[:, -1, 0]), -1]
    part = max(1, len(last) // 20)
    way = np.median(last[-part:], axis=0) - np.median(last[:part], axis=0)
    size = np.nanmedian(np.linalg.norm(np.diff(position, axis=1), axis=-1))
    if np.linalg.norm(way) < 0.05 * size:
        way = np.nanmedian(position[:, -1] - position[:, 0], axis=0)
    return way / np.linalg.norm(way)
