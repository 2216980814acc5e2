"""Printed reference crosses: found by their shape, centred where their two bars cross."""

from __future__ import annotations

import cv2
import numpy as np

ALONG = np.linspace(0.3, 0.85, 8)  # where an arm is cut across, in arm lengths
ACROSS = np.arange(-6.0, 6.01, 0.5)  # px, the cut


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
    centre = crosses[:, :2].copy()
    for _ in range(2):
        cuts, ink = _cut(luma, centre, crosses[:, 2:].reshape(-1, 2, 2))
        centre, covariance = _meet(cuts, ink, centre, crosses[:, 2:].reshape(-1, 2, 2))
    return centre, covariance


def _cut(luma: np.ndarray, centre: np.ndarray, bars: np.ndarray):
    """Offsets of the ink from the guessed bar (n, 2, 16), px, and whether there is ink."""
    place = np.concatenate([-ALONG[::-1], ALONG])
    along = bars / np.linalg.norm(bars, axis=-1, keepdims=True)
    across = np.stack([-along[..., 1], along[..., 0]], -1)
    start = np.nan_to_num(centre)[:, None, None, None, :]
    points = (
        start
        + (place[:, None] * bars[:, :, None, :])[..., None, :]
        + ACROSS[:, None] * across[:, :, None, None, :]
    ).astype(np.float32)
    flat = points.reshape(-1, len(ACROSS), 2)
    grey = cv2.remap(luma, flat[..., 0], flat[..., 1], cv2.INTER_LINEAR,
                     borderMode=cv2.BORDER_REPLICATE).astype(float)
    side = np.linspace(0, 1, len(ACROSS))
    paper = grey[:, :4].mean(1)[:, None] * (1 - side) + grey[:, -4:].mean(1)[:, None] * side
    ink = np.maximum(paper - grey - 0.15 * (paper - grey).max(1, keepdims=True), 0)
    total = ink.sum(1)
    offset = (ink * ACROSS).sum(1) / np.maximum(total, 1e-9)
    dark = (paper - grey).max(1)
    even = np.abs(grey[:, :4].mean(1) - grey[:, -4:].mean(1)) < 0.6 * dark
    good = (dark > 18) & (np.abs(offset) < 4.5) & even
    shape = (len(centre), 2, len(place))
    return offset.reshape(shape), good.reshape(shape)


def _meet(cuts: np.ndarray, good: np.ndarray, centre: np.ndarray, bars: np.ndarray):
    place = np.concatenate([-ALONG[::-1], ALONG])
    design = np.stack([np.ones_like(place), place], -1)
    new = np.full_like(centre, np.nan)
    covariance = np.full((len(centre), 2, 2), np.nan)
    for k in range(len(centre)):
        lines = []
        for bar in range(2):
            keep = good[k, bar].copy()
            if keep.sum() < 8:
                break
            for _ in range(3):
                fit, *_ = np.linalg.lstsq(design[keep], cuts[k, bar, keep], rcond=None)
                residual = cuts[k, bar] - design @ fit
                scale = max(1.48 * np.median(np.abs(residual[keep])), 0.03)
                keep = good[k, bar] & (np.abs(residual) < 3.5 * scale)
                if keep.sum() < 6:
                    break
            else:
                lines.append((fit, scale**2 / keep.sum()))
        if len(lines) < 2:
            continue
        (first, var_first), (second, var_second) = lines
        along = bars[k] / np.linalg.norm(bars[k], axis=-1, keepdims=True)
        across = np.stack([-along[:, 1], along[:, 0]], -1)
        length = np.linalg.norm(bars[k], axis=-1)
        # the point c + d with across_i . d = offset_i + slope_i * (along_i . d)
        left = np.stack([
            across[0] - first[1] / length[0] * along[0],
            across[1] - second[1] / length[1] * along[1],
        ])
        inverse = np.linalg.inv(left)
        new[k] = centre[k] + inverse @ np.array([first[0], second[0]])
        covariance[k] = inverse @ np.diag([var_first, var_second]) @ inverse.T
    return new, covariance
