"""Coloured dots: found on the half-size chroma planes, centred on the full-size picture.

A dot's edge is measured along rays from its centre outwards. Each ray sees the step from the dot
to whatever lies beside it (wood, paper, a shadow), so neither the surroundings nor a neighbour
that touches or half covers the dot pulls the centre, as they would pull a centroid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rulerlab.track.colours import MarkColour
from rulerlab.video import Frame

RAYS = 40
STEP = 0.5  # px between samples of a ray
_ANGLE = np.arange(RAYS) * 2 * np.pi / RAYS
_DIRECTION = np.stack([np.cos(_ANGLE), np.sin(_ANGLE)], -1)  # (R, 2)
_DESIGN = np.stack(  # edge radius = shift along the ray + r + an ellipse's second harmonic
    [np.cos(_ANGLE), np.sin(_ANGLE), np.ones(RAYS), np.cos(2 * _ANGLE), np.sin(2 * _ANGLE)], -1
)
_BOTH = np.vstack(  # colour edges, then luma edges: one shape, two radii
    [np.c_[_DESIGN, np.zeros(RAYS)], np.c_[_DESIGN, np.ones(RAYS)]]
)
LUMA = 0.6  # weight of a luma edge against a colour edge


@dataclass(frozen=True)
class Look:
    """What the dots of one clip look like."""

    colours: Sequence[MarkColour]
    weights: np.ndarray  # (colours, 3) mix of Y, U, V in which a dot stands out by 1
    siting_px: float  # column of the first chroma sample, in luma columns


@dataclass(frozen=True)
class Spots:
    """What one picture shows, n spots: candidates for the points of the chain."""

    position_px: np.ndarray  # (n, 2)
    covariance_px: np.ndarray  # (n, 2, 2) of the fit, not yet calibrated
    colour: np.ndarray  # (n,) index of the mark's colour (tags: their id)
    radius_px: np.ndarray  # (n,)
    clear: np.ndarray  # (n,) share of the outline that is seen, 0..1
    sharp: np.ndarray  # (n,) steepness of the outline, in contrasts per px

    def __len__(self) -> int:
        return len(self.position_px)


def find_spots(frame: Frame, look: Look) -> Spots:
    """The dots of one picture, with sub-pixel centres."""
    rough = [_rough_spots(frame, colour) for colour in look.colours]
    found = np.concatenate(rough)
    colour = np.repeat(np.arange(len(rough)), [len(r) for r in rough])
    return centre_spots(frame, found[:, :2], found[:, 2], colour, look)


def learn_look(frames: Sequence[Frame], colours: Sequence[MarkColour]) -> Look:
    """What sets the dots of a clip apart, and where its encoder put the chroma samples.

    H.264 has two habits (chroma on even luma columns, or between two columns) and rarely says
    which; the one that puts colour outlines where the luma outlines are is right.
    """
    looks = [Look(colours, _contrast(frames, colours, siting), siting) for siting in (0.0, 0.5)]
    return min(looks, key=lambda look: _misfit_px(frames, look))


def _misfit_px(frames: Sequence[Frame], look: Look) -> float:
    """How far luma outlines lie to one side of colour outlines, on average."""
    aside = []
    for frame in frames:
        spots = find_spots(frame, look)
        shifts = []
        for slope in (_luma_slope(frame), _colour_slope(frame, look, spots.colour)):
            edge, weight = _edges(slope, spots.position_px, spots.radius_px, 2.0)
            shifts.append(_fit_outline(edge, weight)[0][:, 0])
        aside += list(shifts[0] - shifts[1])
    return abs(float(np.median(aside))) if aside else np.inf


def _rough_spots(frame: Frame, colour: MarkColour) -> np.ndarray:
    """(x, y, radius) in luma pixels of the connected patches of one colour; touching dots split."""
    mask = _colour_mask(frame, colour)
    count, labels, stats, centres = cv2.connectedComponentsWithStats(mask, connectivity=4)
    radius = np.sqrt(colour.area_px / np.pi)
    spots = []
    for k in range(1, count):
        x, y, width, height, area = stats[k]
        if area < 0.2 * colour.area_px:
            continue
        if area < 1.5 * colour.area_px and max(width, height) < 3.4 * radius:
            spots.append((*centres[k], np.sqrt(area / np.pi)))
        elif area < 12 * colour.area_px:
            patch = labels[y : y + height, x : x + width] == k
            split = _split(patch, radius)
            spots += [(px + x, py + y, radius) for px, py in split]
    found = np.array(spots, float).reshape(-1, 3)
    found[:, :2] = 2 * found[:, :2] + 0.5
    found[:, 2] = 2 * np.maximum(found[:, 2], 0.75 * radius)
    return found


def _colour_mask(frame: Frame, colour: MarkColour) -> np.ndarray:
    """1 where a chroma pixel has the colour of the marks."""
    reach = colour.reach
    low_u, low_v = (max(int(np.ceil(c - reach)), 0) for c in colour.chroma)
    high_u, high_v = (min(int(c + reach), 255) for c in colour.chroma)
    near = cv2.inRange(frame.chroma_u, low_u, high_u)
    near &= cv2.inRange(frame.chroma_v, low_v, high_v)
    rows, columns = np.nonzero(near)
    if len(rows) > 0.2 * near.size:
        return np.zeros_like(near)
    du = frame.chroma_u[rows, columns] - np.float32(colour.chroma[0])
    dv = frame.chroma_v[rows, columns] - np.float32(colour.chroma[1])
    near[rows, columns] = du * du + dv * dv < reach * reach
    return near


def _split(patch: np.ndarray, radius: float) -> list[tuple[float, float]]:
    """Centres of the dots in a patch that several touching dots share."""
    padded = np.pad(patch.astype(np.uint8), 1)
    depth = cv2.GaussianBlur(cv2.distanceTransform(padded, cv2.DIST_L2, 5), (3, 3), 0.7)
    reach = max(int(round(0.8 * radius)), 1)
    peak = depth >= cv2.dilate(depth, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) - 1e-6
    rows, columns = np.nonzero(peak & (depth > 0.45 * radius))
    order = np.argsort(-depth[rows, columns])
    chosen: list[tuple[float, float]] = []
    for k in order:
        x, y = columns[k] - 1.0, rows[k] - 1.0
        if all(np.hypot(x - a, y - b) > 0.9 * radius for a, b in chosen):
            chosen.append((x, y))
    return chosen


def _contrast(
    frames: Sequence[Frame], colours: Sequence[MarkColour], siting: float
) -> np.ndarray:
    """How to mix Y, U and V so that dots stand out from all that lies beside them, (colours, 3).

    Fisher's discriminant between the inside of the dots and the ring around them; the coarse
    chroma planes get the weight that their contrast deserves and no more.
    """
    weights = []
    for colour in colours:
        inside, outside = [], []
        for frame in frames:
            for x, y, radius in _rough_spots(frame, colour):
                values, distance = _patch(frame, np.array([x, y]), radius, siting)
                inside.append(values[distance < 0.6])
                outside.append(values[(distance > 1.25) & (distance < 1.7)])
        dot, ring = np.concatenate(inside), np.concatenate(outside)
        scatter = 0.5 * (np.cov(dot.T) + np.cov(ring.T)) + np.diag([9.0, 12.0, 12.0])
        weight = np.linalg.solve(scatter, dot.mean(0) - ring.mean(0))
        weights.append(weight / (weight @ (dot.mean(0) - ring.mean(0))))
    return np.array(weights)


def _patch(frame: Frame, centre: np.ndarray, radius: float, siting: float):
    """(m, 3) values of Y, U, V around a dot, and (m,) distance from its centre in radii."""
    reach = int(1.8 * radius) + 1
    grid = np.arange(-reach, reach + 1, dtype=np.float32)
    x, y = np.meshgrid(grid + np.float32(centre[0]), grid + np.float32(centre[1]))
    values = _sample(frame, x, y, siting)
    distance = np.hypot(x - centre[0], y - centre[1]) / radius
    return values.reshape(-1, 3), distance.ravel()


def _sample_rays(frame: Frame, x: np.ndarray, y: np.ndarray, siting: float) -> np.ndarray:
    """Y, U, V along rays (n, R, S), as (n, R, S, 3)."""
    flat = (x.shape[0] * x.shape[1], x.shape[2])  # cv2.remap takes pictures
    return _sample(frame, x.reshape(flat), y.reshape(flat), siting).reshape(x.shape + (3,))


def _sample(frame: Frame, x: np.ndarray, y: np.ndarray, siting: float) -> np.ndarray:
    """Y, U, V at points of the picture, (..., 3)."""
    luma = cv2.remap(frame.luma, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cx, cy = (x - np.float32(siting)) / 2, (y - np.float32(0.5)) / 2
    u = cv2.remap(frame.chroma_u, cx, cy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    v = cv2.remap(frame.chroma_v, cx, cy, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.stack([luma, u, v], -1).astype(np.float32)


def centre_spots(
    frame: Frame, centre: np.ndarray, radius: np.ndarray, colour: np.ndarray, look: Look
) -> Spots:
    """Sub-pixel centres of dots that are roughly known, from their edges along rays.

    Colour finds the outline, whatever lies beside it; luma, four times finer, sharpens it.
    """
    count = len(centre)
    if not count:
        empty = np.zeros(0)
        return Spots(np.zeros((0, 2)), np.zeros((0, 2, 2)), empty.astype(int), empty, empty, empty)
    centre, radius = centre.astype(float), radius.astype(float)
    colour_slope = _colour_slope(frame, look, colour)
    for _ in range(2):
        edge, weight = _edges(colour_slope, centre, radius, _reach(radius))
        parameters, _, _ = _fit_outline(edge, weight)
        centre, radius = _moved(centre, radius, parameters)
    luma_edge, luma_weight = _edges(_luma_slope(frame), centre, radius, 2.0)
    edge, weight = _edges(colour_slope, centre, radius, 2.5)
    parameters, covariance, clear = _fit_outline(
        np.concatenate([edge, luma_edge], 1),
        np.concatenate([weight, LUMA * luma_weight], 1),
    )
    centre, radius = _moved(centre, radius, parameters)
    return Spots(centre, covariance, colour, radius, clear, weight.mean(1))


def _reach(radius: np.ndarray) -> float:
    return max(4.0, 0.45 * float(radius.max()))


def _moved(centre: np.ndarray, radius: np.ndarray, parameters: np.ndarray):
    shift = np.clip(parameters[:, :2], -radius[:, None], radius[:, None])
    return centre + shift, np.clip(parameters[:, 2], 0.7 * radius, 1.3 * radius)


def _colour_slope(frame: Frame, look: Look, colour: np.ndarray):
    """Fall of the dotness along rays; about 1 in all from a dot to its surroundings."""

    weights = look.weights[colour].astype(np.float32)

    def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        values = _sample_rays(frame, x, y, look.siting_px)
        dotness = np.einsum("nrsc,nc->nrs", values, weights)
        return dotness[..., :-2] - dotness[..., 2:]

    return slope


def _luma_slope(frame: Frame):
    """Change of luma along rays, in the direction that most of the outline has."""

    def slope(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        flat = (x.shape[0] * x.shape[1], x.shape[2])
        luma = cv2.remap(
            frame.luma, x.reshape(flat), y.reshape(flat), cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).reshape(x.shape).astype(np.float32)
        change = luma[..., 2:] - luma[..., :-2]
        middle = change.shape[-1] // 2
        brighter = np.median(change[..., middle - 1 : middle + 2].sum(-1), axis=1)
        return change * np.where(brighter < 0, -1, 1)[:, None, None] / 80

    return slope


def _edges(slope_of, centre: np.ndarray, radius: np.ndarray, reach: float):
    """Radius of the steepest fall along every ray (n, R), and its weight (0 where none is)."""
    offset = np.arange(-reach, reach + STEP / 2, STEP, dtype=np.float32)
    along = np.maximum(radius[:, None, None] + offset, 0.3).astype(np.float32)  # (n, 1, S)
    x = (centre[:, 0, None, None] + along * _DIRECTION[:, 0, None]).astype(np.float32)
    y = (centre[:, 1, None, None] + along * _DIRECTION[:, 1, None]).astype(np.float32)
    slope = slope_of(x, y)
    peak = slope.argmax(-1)
    inner = np.clip(peak, 1, slope.shape[-1] - 2)
    before, at, after = (
        np.take_along_axis(slope, (inner + shift)[..., None], -1)[..., 0] for shift in (-1, 0, 1)
    )
    bend = before - 2 * at + after
    shift = np.where(bend < 0, 0.5 * (before - after) / np.where(bend < 0, bend, -1), 0.0)
    edge = radius[:, None] + offset[1] + STEP * (inner + np.clip(shift, -0.5, 0.5))
    weight = np.where((peak == inner) & (at > 0.12), np.minimum(at, 0.5), 0.0)
    return edge, weight


def _fit_outline(edge: np.ndarray, weight: np.ndarray):
    """Robust outline of every dot: parameters (n, 5 or 6), covariance of the centre, share seen."""
    design = _DESIGN if edge.shape[1] == RAYS else _BOTH
    ridge = np.diag([1e-6, 1e-6, 1e-6, 0.02, 0.02, 0.1][: design.shape[1]])
    keep = weight.copy()
    for _ in range(5):
        normal = np.einsum("nr,ra,rb->nab", keep, design, design) + ridge
        right = np.einsum("nr,ra,nr->na", keep, design, edge)
        parameters = np.linalg.solve(normal, right[..., None])[..., 0]
        residual = edge - parameters @ design.T
        spread = np.where(weight > 0, np.abs(residual), np.nan)
        sigma = np.clip(1.48 * _nanmedian(spread), 0.06, 1.0)
        t = residual / (3.5 * sigma[:, None])
        keep = weight * np.where(np.abs(t) < 1, (1 - t * t) ** 2, 0)
    inverse = np.linalg.inv(np.einsum("nr,ra,rb->nab", keep, design, design) + ridge)
    chi2 = (keep * residual**2).sum(1) / np.maximum((keep > 0).sum(1), 1)
    covariance = inverse[:, :2, :2] * chi2[:, None, None]
    return parameters, covariance, (keep[:, :RAYS] > 0).mean(1)


def _nanmedian(values: np.ndarray) -> np.ndarray:
    """Median over the rays that see an edge; 1 where none does."""
    ordered = np.sort(values, axis=1)
    seen = np.isfinite(values).sum(1)
    middle = ordered[np.arange(len(values)), np.maximum(seen - 1, 0) // 2]
    return np.where(seen > 0, middle, 1.0)
