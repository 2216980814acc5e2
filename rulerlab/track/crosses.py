"""Printed reference crosses: found by their shape, centred where their two bars cross."""

from __future__ import annotations

import cv2
import numpy as np

from rulerlab.track.cuts import cross_centres


def find_crosses(luma: np.ndarray) -> np.ndarray:
    """(n, 5) centre x, y, unit vector and length of one arm, in px, of every dark cross."""
    block = max(31, int(luma.shape[1] / 18) | 1)
    dark = cv2.adaptiveThreshold(
        luma, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, block, 22
    )
    count, labels, stats, centres = cv2.connectedComponentsWithStats(dark, connectivity=8)
    found = []
    for k in range(1, count):
        x, y, width, height, area = stats[k]
        if not (10 <= width <= luma.shape[1] / 8 and 10 <= height <= luma.shape[0] / 5):
            continue
        if not (0.4 < width / height < 2.5 and 0.06 < area / (width * height) < 0.6):
            continue
        arms = _arms(labels[y : y + height, x : x + width] == k)
        if arms is not None:
            centre = centres[k]
            found += [np.concatenate([centre, arms[0], arms[1]])]
    return np.array(found).reshape(-1, 6)


def _arms(patch: np.ndarray) -> np.ndarray | None:
    """Half-vectors of the two bars of a cross (2, 2), or None when the patch is no cross."""
    contours, _ = cv2.findContours(
        patch.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE
    )
    hull = cv2.convexHull(max(contours, key=len)).reshape(-1, 2).astype(float)
    if len(hull) < 4:
        return None
    rows, columns = np.nonzero(patch)
    centre = np.array([columns.mean(), rows.mean()])
    away = hull - centre
    reach = np.hypot(*away.T)
    tips = [int(reach.argmax())]
    angle = np.arctan2(away[:, 1], away[:, 0])
    for turn in (np.pi / 2, np.pi, -np.pi / 2):
        apart = np.abs((angle - angle[tips[0]] - turn + np.pi) % (2 * np.pi) - np.pi)
        near = np.where(apart < 0.6, reach, -1)
        if near.max() < 0:
            return None
        tips.append(int(near.argmax()))
    ends = away[tips]
    bars = np.array([(ends[0] - ends[2]) / 2, (ends[1] - ends[3]) / 2])
    offset = np.array([(ends[0] + ends[2]) / 2, (ends[1] + ends[3]) / 2])
    length = np.hypot(*bars.T)
    if length.max() > 1.8 * length.min() or np.abs(offset).max() > 0.25 * length.min():
        return None
    filled = cv2.contourArea(hull.astype(np.float32))
    if not 0.1 < patch.sum() / max(filled, 1) < 0.75:
        return None
    for bar in bars:  # ink all along both bars
        along = centre + np.linspace(-0.85, 0.85, 25)[:, None] * bar
        column, row = np.round(along).astype(int).T
        inside = (row >= 0) & (row < patch.shape[0]) & (column >= 0) & (column < patch.shape[1])
        if patch[row[inside], column[inside]].mean() < 0.85:
            return None
    for diagonal in (bars[0] + bars[1], bars[0] - bars[1]):  # and none between them
        between = centre + np.outer([-0.45, -0.35, 0.35, 0.45], diagonal)
        column, row = np.round(between).astype(int).T
        inside = (row >= 0) & (row < patch.shape[0]) & (column >= 0) & (column < patch.shape[1])
        if patch[row[inside], column[inside]].any():
            return None
    return bars


def centre_crosses(luma: np.ndarray, crosses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sub-pixel centres (n, 2) and their covariance (n, 2, 2); NaN where a cross is not seen.

    `crosses` are rough ones as found by `find_crosses`. Each arm is cut across at several places;
    the cuts' centres of darkness give two lines, whose meeting point is the centre.
    """
    return cross_centres(luma, np.ascontiguousarray(crosses, float))
