"""Straight lines in a picture (table edges, ruled paper, a ruler) as a test of the lens.

A line that is straight on the table must be straight once the lens is undone (the plumb-line
method, Brown 1971). What bend is left says how far k1 of the camera is off.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from rulerlab.camera import Camera

LENGTH_MIN = 0.22  # of the picture's width: shorter lines say little about the lens
CELL_PX = 2  # lines are first looked for on a grid of this step
LINES_MIN = 3  # fewer may be a fold, or grain of wood, that is bent itself
REACH = 0.006  # of the width: how far an edge may lie from its line
TRUE_BEND = 2e-4  # arc of a real table edge or printed line, as a share of its length
FILLED_MIN = 0.5  # share of a line's length that must show an edge

Edges = tuple[np.ndarray, np.ndarray]  # points (n, 2) and the unit direction of their slope


@dataclass(frozen=True)
class Straightness:
    """How straight the long lines of pictures are behind a given camera."""

    lines: int
    bend_px: float  # RMS over the lines of the height of the arc; NaN without lines
    k1_shift: float  # what must be added to k1 of the camera to make the lines straight
    k1_sigma: float  # inf with less than LINES_MIN lines

    def edge_shift_px(self, camera: Camera) -> tuple[float, float]:
        """Shift, and its sigma, that the missing k1 makes at the left and right edge, px."""
        half = (camera.image_size_px[0] / 2) / camera.camera_matrix[0, 0]
        lever = half**3 * camera.camera_matrix[0, 0]
        return abs(self.k1_shift) * lever, self.k1_sigma * lever


def guessed_camera(width: int, height: int) -> Camera:
    """A camera without distortion, as wide as most phones: what is assumed when none is given."""
    focal = 0.85 * width
    matrix = np.array([[focal, 0, (width - 1) / 2], [0, focal, (height - 1) / 2], [0, 0, 1.0]])
    return Camera((width, height), matrix, np.zeros(5))


def straightness(picture: np.ndarray, camera: Camera) -> Straightness:
    """Bend of the long straight lines of a grey picture (H, W) uint8 behind `camera`."""
    return _straightness(_edge_points(picture), camera)


def _straightness(edges: Edges, camera: Camera) -> Straightness:
    lines = _lines(edges, camera)
    centre, focal = camera.camera_matrix[:2, 2], camera.camera_matrix[0, 0]
    pushes, lefts, weights, own, arcs = [], [], [], [], []
    for points in lines:
        along, across, normal = _axes(points)
        radius = points - centre
        # undoing too little of the lens leaves seen = true (1 + dk1 r^2)
        push = (radius @ normal) * (radius**2).sum(axis=1) / focal**2
        length = np.ptp(along)
        basis, _ = np.linalg.qr(np.column_stack([np.ones(len(along)), along / length]))
        push = push - basis @ (basis.T @ push)
        left = across - basis @ (basis.T @ across)
        weight = length / len(along)  # a line counts by its length, not by its texture
        pushes.append(push)
        lefts.append(left)
        weights.append(weight)
        own.append(weight * push @ (4 * TRUE_BEND * (along / length) ** 2) * length)
        arcs.append(np.polyfit(along / length, left, 2)[0] / 4)
    bottom = sum(w * push @ push for w, push in zip(weights, pushes, strict=True))
    if not lines or bottom <= 0:
        return Straightness(0, float("nan"), float("nan"), float("inf"))
    each = zip(weights, pushes, lefts, strict=True)
    shift = sum(w * push @ left for w, push, left in each) / bottom
    each = zip(weights, pushes, lefts, strict=True)
    scatter = sum((w * push @ (left - shift * push)) ** 2 for w, push, left in each)
    small = len(lines) / max(len(lines) - 1, 0.5)  # few lines: their scatter is underestimated
    sigma = np.sqrt(small * scatter + np.square(own).sum()) / bottom
    bend = float(np.sqrt(np.mean(np.square(arcs))))
    sigma = float(sigma) if len(lines) >= LINES_MIN else float("inf")
    return Straightness(len(lines), bend, float(shift), sigma)


def plumb_line(picture: np.ndarray, camera: Camera) -> tuple[Camera, Straightness]:
    """`camera` with the k1 that makes the picture's long lines straight, and how sure that is.

    `k1_shift` of the answer counts from the camera given. For a standard camera only.
    """
    edges = _edge_points(picture)
    tries = [_shifted(camera, k1) for k1 in (0.0, -0.08, 0.08, -0.16, -0.24, -0.32)]
    lengths = [_straight_length(edges, other) for other in tries]
    best = tries[int(np.argmax(np.array(lengths) - 1e-6 * np.arange(len(tries))))]
    found = _straightness(edges, best)
    for _ in range(4):
        if not np.isfinite(found.k1_shift) or abs(found.k1_shift) < 0.3 * found.k1_sigma:
            break
        best = _shifted(best, float(np.clip(found.k1_shift, -0.1, 0.1)))
        found = _straightness(edges, best)
    moved = best.distortion[0] - camera.distortion[0]
    return best, replace(found, k1_shift=moved + found.k1_shift)


def _shifted(camera: Camera, k1: float) -> Camera:
    distortion = np.array(camera.distortion, float)
    distortion[0] += k1
    return replace(camera, distortion=distortion)


def _straight_length(edges: Edges, camera: Camera) -> float:
    """Total length of the lines that are straight to half a pixel behind `camera`, px."""
    total = 0.0
    for points in _lines(edges, camera):
        along, across, _ = _axes(points)
        total += float(np.ptp(along)) * float(np.exp(-((across.std() / 0.5) ** 2)))
    return total


def _axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Coordinates along and across the line through points (n, 2), and its normal."""
    centred = points - points.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    return centred @ axes[0], centred @ axes[1], axes[1]


def _lines(found: Edges, camera: Camera) -> list[np.ndarray]:
    """Edge points (n, 2) of each long line, in the pixels of the same camera without its lens."""
    width, height = camera.image_size_px
    edges, slopes = found
    if len(edges) < 50:
        return []
    rays = camera.undistort(edges)
    ahead = camera.undistort(edges + slopes)
    focal, centre = camera.camera_matrix[[0, 1], [0, 1]], camera.camera_matrix[:2, 2]
    ideal, slope = rays * focal + centre, (ahead - rays) * focal
    good = np.isfinite(ideal).all(axis=1) & np.isfinite(slope).all(axis=1)
    ideal, slope = ideal[good], slope[good]
    slope = slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)
    x, y = ideal.astype(np.float32).T  # enough to say which points lie near a line
    lines = []
    for start, end in _segments(ideal, width, height):
        length = np.linalg.norm(end - start)
        direction = (end - start) / length
        normal = np.array([-direction[1], direction[0]])
        offset = x * np.float32(normal[0]) + y * np.float32(normal[1]) - np.float32(normal @ start)
        near = np.flatnonzero(np.abs(offset) < REACH * width)
        place = (ideal[near] - start) @ direction
        across = slope[near] @ normal
        near = near[(place > -0.05 * length) & (place < 1.05 * length) & (np.abs(across) > 0.97)]
        points = _one_edge(ideal[near], slope[near] @ normal)
        if points is None or not _is_full(points, LENGTH_MIN * width):
            continue
        lines.append(points)
        left = np.abs(offset) > 2 * REACH * width
        x, y, ideal, slope = x[left], y[left], ideal[left], slope[left]
    return lines


def _one_edge(points: np.ndarray, sign: np.ndarray) -> np.ndarray | None:
    """The points of a single smooth edge: one polarity, without what strays from it."""
    if len(points) < 30:
        return None
    points = points[np.sign(sign) == np.sign(np.median(sign))]
    for _ in range(6):
        if len(points) < 30:
            return None
        along, across, _ = _axes(points)
        t = along / max(np.ptp(along), 1e-9)
        left = across - np.polyval(np.polyfit(t, across, 3), t)
        limit = max(3 * 1.4826 * np.median(np.abs(left)), 0.3)
        keep = np.abs(left) < limit
        if keep.all():
            break
        points = points[keep]
    return points


def _is_full(points: np.ndarray, length_min: float) -> bool:
    along, across, _ = _axes(points)
    if np.ptp(along) < length_min:
        return False
    cells = np.unique((along / 4).astype(int))
    t = along / np.ptp(along)
    left = across - np.polyval(np.polyfit(t, across, 3), t)
    return len(cells) * 4 > FILLED_MIN * np.ptp(along) and bool(left.std() < 0.6)


def _segments(ideal: np.ndarray, width: int, height: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Long nearly straight chains of edge points, longest first, at most 60."""
    margin = 0.15 * np.array([width, width])
    cells = np.round((ideal + margin) / CELL_PX).astype(int)
    shape = np.round((np.array([width, height]) + 2 * margin) / CELL_PX).astype(int)
    canvas = np.zeros(shape[::-1], np.uint8)
    x, y = cells[((cells >= 0) & (cells < shape)).all(axis=1)].T
    canvas[y, x] = 255
    least = LENGTH_MIN * width / CELL_PX
    found = cv2.HoughLinesP(
        canvas, 1, np.pi / 360, threshold=int(0.35 * least), minLineLength=0.7 * least,
        maxLineGap=0.09 * least,
    )
    if found is None:
        return []
    ends = np.reshape(found, (-1, 2, 2)).astype(float) * CELL_PX - margin
    order = np.argsort(-np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1))[:60]
    return [(ends[k, 0], ends[k, 1]) for k in order]


def _edge_points(picture: np.ndarray) -> Edges:
    """Edge points (n, 2) to a fraction of a pixel, and the unit direction of their slope."""
    smooth = cv2.GaussianBlur(picture, (0, 0), 1.2)
    dx = cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8)
    dy = cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8)
    size = np.hypot(dx, dy)
    strong = max(3.0, float(np.quantile(size, 0.9)))
    high = 8 * strong
    mask = cv2.Canny(smooth, 0.4 * high, high, L2gradient=True)
    mask[:3], mask[-3:], mask[:, :3], mask[:, -3:] = 0, 0, 0, 0
    y, x = np.nonzero(mask)
    if not len(x):
        return np.zeros((0, 2)), np.zeros((0, 2))
    middle = size[y, x]
    slope = np.column_stack([dx[y, x], dy[y, x]]) / np.maximum(middle, 1e-6)[:, None]
    points = np.column_stack([x, y]).astype(float)
    before, after = _sample(size, points - slope), _sample(size, points + slope)
    bottom = before - 2 * middle + after
    step = np.where(bottom < -1e-6, (before - after) / np.minimum(2 * bottom, -1e-6), 0)
    good = np.abs(step) <= 1
    return (points + step[:, None] * slope)[good], slope[good]


def _sample(values: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Values (H, W) between the pixels, at points (n, 2) inside the picture."""
    x, y = np.floor(points).astype(int).T
    u, v = points[:, 0] - x, points[:, 1] - y
    upper = values[y, x] * (1 - u) + values[y, x + 1] * u
    lower = values[y + 1, x] * (1 - u) + values[y + 1, x + 1] * u
    return upper * (1 - v) + lower * v
