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

from rulerlab.errors import InputError
from rulerlab.track.colours import MarkColour
from rulerlab.track.pixels import colour_edges, find_runs, fit_outlines, join_runs, luma_edges
from rulerlab.video import Frame

SITINGS = {  # where chroma samples may lie when the picture was turned by so many degrees
    0: ((0.0, 0.5), (0.5, 0.5)),
    90: ((0.5, 1.0), (0.5, 0.5)),
    180: ((1.0, 0.5), (0.5, 0.5)),
    270: ((0.5, 0.0), (0.5, 0.5)),
}
NO_LUMA = (1e9, 12.0, 12.0)  # variances of Y, U, V that leave Y out of a mix
LUMA = 0.6  # weight of a luma edge against a colour edge
NO_OUTLINE = 0.1  # share of an outline below which a patch of that colour is no dot
COMPARE_EVERY = 10  # frames: the centres in colour and in luma are compared now and then
SITED = 0.35  # share of the misfit of the usual habit below which the other one is right


@dataclass(frozen=True)
class Look:
    """What the dots of one clip look like."""

    colours: Sequence[MarkColour]
    weights: np.ndarray  # (colours, 3) mix of Y, U, V in which a dot stands out by 1
    siting_px: tuple[float, float]  # x, y of the first chroma sample, in luma pixels


@dataclass(frozen=True)
class Spots:
    """What one picture shows, n spots: candidates for the points of the chain."""

    position_px: np.ndarray  # (n, 2)
    covariance_px: np.ndarray  # (n, 2, 2) of the fit, not yet calibrated
    colour: np.ndarray  # (n,) index of the mark's colour (tags: their id)
    radius_px: np.ndarray  # (n,)
    clear: np.ndarray  # (n,) share of the outline that is seen, 0..1
    sharp: np.ndarray  # (n,) steepness of the outline, in contrasts per px
    aside_px: np.ndarray  # (n, 2) from the centre in colour to that in luma; NaN in most frames

    def __len__(self) -> int:
        return len(self.position_px)


def find_spots(frame: Frame, look: Look) -> Spots:
    """The dots of one picture, with sub-pixel centres."""
    rough = [_rough_spots(frame, colour) for colour in look.colours]
    found = np.concatenate(rough)
    colour = np.repeat(np.arange(len(rough)), [len(r) for r in rough])
    spots = centre_spots(frame, found[:, :2], found[:, 2], colour, look)
    clear = spots.clear > NO_OUTLINE
    return spots if clear.all() else Spots(*(values[clear] for values in vars(spots).values()))


def learn_look(frames: Sequence[Frame], colours: Sequence[MarkColour]) -> Look:
    """What sets the dots of a clip apart, and where its encoder put the chroma samples.

    H.264 has two habits (chroma on even luma columns, or between two columns) and rarely says
    which. The one that puts colour outlines where the luma outlines are is right; shadows move
    both a little, so the second habit, a software encoder's, has to be clearly wrong to be left.

    Raises InputError when what has such a colour is no dot.
    """
    even, between = (
        Look(colours, _contrast(frames, colours, siting), siting)
        for siting in SITINGS[frames[0].turned]
    )
    apart = [
        _misfit_px(frames, Look(colours, _contrast(frames, colours, siting, NO_LUMA), siting))
        for siting in SITINGS[frames[0].turned]
    ]
    return even if apart[0] < SITED * apart[1] else between


def _misfit_px(frames: Sequence[Frame], look: Look) -> float:
    """How far luma outlines lie to one side of outlines in chroma alone, on average."""
    aside = [np.zeros((0, 2))]
    for frame in frames:
        spots = find_spots(frame, look)
        where = spots.position_px, spots.radius_px, 2.0
        luma = fit_outlines(*luma_edges(frame.luma, *where))[0]
        colour = fit_outlines(*_colour_edges(frame, look, spots.colour, *where))[0]
        aside.append(luma[:, :2] - colour[:, :2])
    apart = np.concatenate(aside)
    axis = 0 if frames[0].turned % 180 == 0 else 1
    return abs(float(np.median(apart[:, axis]))) if len(apart) else np.inf


def _rough_spots(frame: Frame, colour: MarkColour) -> np.ndarray:
    """(x, y, radius) in luma pixels of the connected patches of one colour; touching dots split."""
    planes = colour.planes(frame)
    runs = find_runs(_colour_box(planes, colour), *planes, *colour.chroma, colour.reach)
    label, patches = join_runs(runs)
    radius = np.sqrt(colour.area_px / np.pi)
    spots = []
    least, depth = (0.5, 0.7) if colour.grey else (0.2, 0.45)  # much else is black or white
    for k in np.flatnonzero(patches[:, 0] >= least * colour.area_px):
        area, sum_x, sum_y, left, top, right, bottom = patches[k].tolist()
        if area < 1.5 * colour.area_px and max(right - left, bottom - top) + 1 < 3.4 * radius:
            spots.append((sum_x / area, sum_y / area, np.sqrt(area / np.pi)))
        elif area < 12 * colour.area_px:
            patch = _drawn(runs[label == k], int(left), int(top), int(right), int(bottom))
            spots += [(x + left, y + top, radius) for x, y in _split(patch, radius, depth)]
    found = _outermost(np.array(spots, float).reshape(-1, 3), radius)
    found[:, :2] = 2 * found[:, :2] + 0.5
    found[:, 2] = 2 * np.maximum(found[:, 2], 0.75 * radius)
    return found


def _outermost(spots: np.ndarray, radius: float) -> np.ndarray:
    """Spots (n, 3) without those that lie in the middle of a larger one: a bull's eye is one dot.
    """
    if len(spots) < 2:
        return spots
    order = np.argsort(-spots[:, 2])
    apart = np.hypot(*(spots[order, None, :2] - spots[None, order, :2]).transpose(2, 0, 1))
    inner = np.tril(apart < 0.45 * radius, -1).any(axis=1)
    return spots[np.sort(order[~inner])]


def _colour_box(planes: tuple[np.ndarray, np.ndarray], colour: MarkColour) -> np.ndarray:
    """Not 0 where both planes lie within reach of the colour of the marks."""
    (low_u, high_u), (low_v, high_v) = (
        (max(int(np.ceil(c - colour.reach)), 0), min(int(c + colour.reach), 255))
        for c in colour.chroma
    )
    near = cv2.inRange(planes[0], low_u, high_u)
    return cv2.bitwise_and(near, cv2.inRange(planes[1], low_v, high_v), dst=near)


def _drawn(runs: np.ndarray, left: int, top: int, right: int, bottom: int) -> np.ndarray:
    """The pixels of one patch within its box."""
    patch = np.zeros((bottom - top + 1, right - left + 1), bool)
    for row, begin, end in runs:
        patch[row - top, begin - left : end - left] = True
    return patch


def _split(patch: np.ndarray, radius: float, least: float) -> list[tuple[float, float]]:
    """Centres of the dots in a patch that several touching dots share, `least` radii inside it."""
    padded = np.pad(patch.astype(np.uint8), 1)
    depth = cv2.GaussianBlur(cv2.distanceTransform(padded, cv2.DIST_L2, 5), (3, 3), 0.7)
    reach = max(int(round(0.8 * radius)), 1)
    peak = depth >= cv2.dilate(depth, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) - 1e-6
    rows, columns = np.nonzero(peak & (depth > least * radius))
    order = np.argsort(-depth[rows, columns])
    chosen: list[tuple[float, float]] = []
    for k in order:
        x, y = columns[k] - 1.0, rows[k] - 1.0
        if all(np.hypot(x - a, y - b) > 0.9 * radius for a, b in chosen):
            chosen.append((x, y))
    return chosen


def _contrast(
    frames: Sequence[Frame], colours: Sequence[MarkColour], siting: tuple,
    noise: tuple[float, float, float] = (9.0, 12.0, 12.0),
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
                inside.append(values[_own(values, distance, colour)])
                outside.append(values[(distance > 1.25) & (distance < 1.7)])
        if not inside:
            raise InputError(f"{colour.described} are too faint for dots, or too much of the "
                             "picture looks like them: take dots of another colour, or another "
                             "ground")
        dot, ring = np.concatenate(inside), np.concatenate(outside)
        scatter = 0.5 * (np.cov(dot.T) + np.cov(ring.T)) + np.diag(noise)
        weight = np.linalg.solve(scatter, dot.mean(0) - ring.mean(0))
        weights.append(weight / (weight @ (dot.mean(0) - ring.mean(0))))
    return np.array(weights)


def _own(values: np.ndarray, distance: np.ndarray, colour: MarkColour) -> np.ndarray:
    """Which samples (m, 3) show the mark itself: its middle, or where that is hollow, its ring."""
    place = values[:, :1] if colour.grey else values[:, 1:]
    near = np.linalg.norm(place - colour.chroma[: place.shape[1]], axis=1) < colour.reach
    middle = distance < 0.6
    return near & (middle if 2 * (near & middle).sum() > middle.sum() else distance < 0.9)


def _patch(frame: Frame, centre: np.ndarray, radius: float, siting: tuple):
    """(m, 3) values of Y, U, V around a dot, and (m,) distance from its centre in radii."""
    reach = int(1.8 * radius) + 1
    grid = np.arange(-reach, reach + 1, dtype=np.float32)
    x, y = np.meshgrid(grid + np.float32(centre[0]), grid + np.float32(centre[1]))
    values = _sample(frame, x, y, siting)
    distance = np.hypot(x - centre[0], y - centre[1]) / radius
    return values.reshape(-1, 3), distance.ravel()


def _sample(frame: Frame, x: np.ndarray, y: np.ndarray, siting: tuple) -> np.ndarray:
    """Y, U, V at points of the picture, (..., 3)."""
    luma = cv2.remap(frame.luma, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cx, cy = (x - np.float32(siting[0])) / 2, (y - np.float32(siting[1])) / 2
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
        empty, pairs = np.zeros(0), np.zeros((0, 2))
        return Spots(pairs, np.zeros((0, 2, 2)), empty.astype(int), empty, empty, empty, pairs)
    centre, radius = centre.astype(float), radius.astype(float)
    for _ in range(2):
        edge, weight = _colour_edges(frame, look, colour, centre, radius, _reach(radius))
        parameters, _, _ = fit_outlines(edge, weight)
        centre, radius = _moved(centre, radius, parameters)
    luma_edge, luma_weight = luma_edges(frame.luma, centre, radius, 2.0)
    edge, weight = _colour_edges(frame, look, colour, centre, radius, 2.5)
    aside = np.full((count, 2), np.nan)
    if frame.index % COMPARE_EVERY == 0:
        in_luma, in_colour = fit_outlines(luma_edge, luma_weight), fit_outlines(edge, weight)
        aside = in_luma[0][:, :2] - in_colour[0][:, :2]
    parameters, covariance, clear = fit_outlines(
        np.concatenate([edge, luma_edge], 1),
        np.concatenate([weight, LUMA * luma_weight], 1),
    )
    centre, radius = _moved(centre, radius, parameters)
    return Spots(centre, covariance, colour, radius, clear, weight[:, 0].mean(1), aside)


def _colour_edges(frame: Frame, look: Look, colour, centre, radius, reach: float):
    return colour_edges(
        frame.luma, frame.chroma_u, frame.chroma_v, look.siting_px, look.weights[colour], centre,
        radius, reach,
    )


def _reach(radius: np.ndarray) -> float:
    return max(4.0, 0.45 * float(radius.max()))


def _moved(centre: np.ndarray, radius: np.ndarray, parameters: np.ndarray):
    shift = np.clip(parameters[:, :2], -radius[:, None], radius[:, None])
    return centre + shift, np.clip(parameters[:, 2], 0.7 * radius, 1.3 * radius)
