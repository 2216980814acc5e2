"""Pictures of the parts, seen straight from above: paper, sticks, labels, hand.

A `Sticker` is premultiplied colour with its own opacity, at a known density. Pixel i of a sticker
covers [i, i+1)/density, so that its centre lies at (i + 0.5)/density.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from rulerlab.synthetic.scene import (
    DICTIONARY,
    REFERENCE_TAGS,
    STICK_WIDTH_MM,
    Scene,
)

SKIN_BGR = np.array([112.0, 146, 196])


@dataclass(frozen=True)
class Sticker:
    """A flat thing to be laid into the picture."""

    bgra: np.ndarray  # (h, w, 4) uint8, premultiplied
    density: float  # px per mm
    origin_mm: tuple[float, float]  # of its own frame, from the upper left corner (right, down)


def _sticker(colour: np.ndarray, alpha: np.ndarray, density: float, origin_mm) -> Sticker:
    alpha = np.clip(alpha, 0, 1)[..., None]
    bgra = np.concatenate([colour * alpha, 255 * alpha], axis=-1)
    return Sticker(np.clip(np.rint(bgra), 0, 255).astype(np.uint8), density, origin_mm)


def _clouds(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]):
    """Smooth noise of about unit size with `cells` (down, across) bumps."""
    coarse = rng.standard_normal(cells).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def cells(bits: np.ndarray, side_mm: float, density: float, size: int) -> np.ndarray:
    """A pattern of square cells, exact area coverage, centred in (size, size) pixels."""
    edges = size / 2 + (np.linspace(-0.5, 0.5, len(bits) + 1) * side_mm * density)
    pixel = np.arange(size)
    low = np.maximum(pixel[:, None], edges[None, :-1])
    high = np.minimum(pixel[:, None] + 1, edges[None, 1:])
    share = np.clip(high - low, 0, 1)
    return share @ bits @ share.T


def _ink(tag: int, side_mm: float, density: float, size: int) -> np.ndarray:
    """Share of black in each pixel of a tag with its border of one black cell."""
    import cv2.aruco as aruco

    dictionary = aruco.getPredefinedDictionary(getattr(aruco, DICTIONARY))
    marker = aruco.generateImageMarker(dictionary, tag, 6, borderBits=1)
    return cells((marker < 128).astype(float), side_mm, density, size)


def tag_label(tag: int, side_mm: float, density: float, contrast: float) -> Sticker:
    """A tag on a white label with a quiet zone of one cell."""
    label = side_mm * 8 / 6
    size = int(np.ceil(label * density)) + 4
    paper = cells(np.ones((1, 1)), label, density, size)
    ink = _ink(tag, side_mm, density, size)
    grey = 226 - contrast * 204 * ink
    middle = size / 2 / density
    return _sticker(np.repeat(grey[..., None], 3, -1), paper, density, (middle, middle))


def stick(
    length_mm: float, density: float, rng: np.random.Generator, *, contact: float = 0.3,
    wood_bgr: np.ndarray,
) -> Sticker:
    """A wooden stick with round ends; its frame starts at the held-side joint, x along it.

    `contact` is how dark the soft shadow close around it is.
    """
    pad, half = STICK_WIDTH_MM / 2 + 3.0, STICK_WIDTH_MM / 2
    shape = (int(2 * pad * density), int((length_mm + 2 * pad) * density))
    x = (np.arange(shape[1]) + 0.5) / density - pad
    y = (np.arange(shape[0]) + 0.5) / density - pad
    beyond = np.maximum(np.maximum(-x, x - length_mm), 0)
    inside = half - np.hypot(beyond[None, :], y[:, None])  # mm from the edge
    wood = wood_bgr + rng.normal(0, 1, 3) * [9, 6, 4] + rng.normal(0, 5)
    grain = 5 * _clouds(rng, shape, (14, 5)) + 3 * _clouds(rng, shape, (28, 9))
    round_edge = -34 * np.exp(-np.maximum(inside, 0) / 0.5)
    colour = wood + (grain + round_edge)[..., None]
    body = np.clip(inside * density + 0.5, 0, 1)
    halo = contact * np.exp(-np.square(np.minimum(inside, 0) / 1.1))
    colour = colour * (body / np.maximum(body + halo * (1 - body), 1e-6))[..., None]
    return _sticker(np.clip(colour, 0, 255), body + halo * (1 - body), density, (pad, pad))


HAND = (  # x, y, radius (mm) of both ends of each finger and of the palm; fingertips at 0, 0
    ((2, 7, 7.0), (46, 18, 8.5)), ((46, 18, 8.5), (88, 12, 10)),
    ((4, -6, 7.5), (38, -26, 9.5)), ((38, -26, 9.5), (86, -36, 15)),
    ((22, 28, 7.0), (62, 36, 8.5)), ((62, 36, 8.5), (96, 26, 10)),
    ((48, 46, 6.5), (78, 48, 8.0)), ((78, 48, 8.0), (104, 36, 9)),
    ((98, 8, 24), (116, -16, 26)), ((116, -12, 25), (180, -40, 21)),
)  # fmt: skip
SLEEVE = ((168, -36, 27), (460, -150, 33))


def hand(density: float) -> Sticker:
    """A hand from the right, thumb and forefinger at its origin, with a dark sleeve."""
    left, up = 30.0, 80.0
    shape = (int(290 * density), int(440 * density))
    x = (np.arange(shape[1], dtype=np.float32) + 0.5) / density - left
    y = up - (np.arange(shape[0], dtype=np.float32) + 0.5) / density
    x, y = np.meshgrid(x, y)
    skin = np.max([_round(x, y, *part) for part in HAND], axis=0)
    sleeve = _round(x, y, *SLEEVE)
    height = np.maximum(skin, sleeve)
    relief = cv2.GaussianBlur(np.sqrt(np.maximum(height, 0)) * 5, (0, 0), 0.8 * density)
    slope_x = cv2.Sobel(relief, cv2.CV_32F, 1, 0, scale=density / 8)
    slope_y = cv2.Sobel(relief, cv2.CV_32F, 0, 1, scale=density / 8)
    shade = np.clip((1 + 0.35 * slope_x + 0.5 * slope_y) / np.hypot(1, 0.6 * slope_x), 0.35, 1.15)
    cloth = np.array([92.0, 72, 60])
    colour = np.where((sleeve > skin)[..., None], cloth, SKIN_BGR) * shade[..., None]
    body = np.clip(height * density + 0.5, 0, 1)
    move = np.array([[1, 0, -5 * density], [0, 1, 7 * density]], np.float32)
    shadow = 0.34 * cv2.GaussianBlur(
        cv2.warpAffine(body.astype(np.float32), move, shape[::-1]), (0, 0), 3 * density
    )
    colour = colour * (body / np.maximum(body + shadow * (1 - body), 1e-6))[..., None]
    return _sticker(np.clip(colour, 0, 255), body + shadow * (1 - body), density, (left, up))


def _round(x, y, one, two) -> np.ndarray:
    """Depth inside a cone-shaped limb between two circles, mm."""
    (x1, y1, r1), (x2, y2, r2) = one, two
    dx, dy = x2 - x1, y2 - y1
    along = np.clip(((x - x1) * dx + (y - y1) * dy) / (dx * dx + dy * dy), 0, 1)
    return r1 + along * (r2 - r1) - np.hypot(x - x1 - along * dx, y - y1 - along * dy)


def paper(scene: Scene, density: float) -> tuple[np.ndarray, tuple[float, float]]:
    """Table, wooden board, squared paper and references; and where x = y = 0 lies, mm."""
    rng = np.random.default_rng([scene.seed, 2])
    wide, high = 0.78 * scene.view_mm, 0.52 * scene.view_mm
    shape = (int(2 * high * density), int(2 * wide * density))
    x = (np.arange(shape[1]) + 0.5) / density - wide
    y = high - (np.arange(shape[0]) + 0.5) / density
    edge = 0.455 * scene.view_mm
    table = _tone(104, 122, 114) + 3 * _clouds(rng, shape, (60, 90))[..., None]
    wood = _tone(66, 122, 166) + 9 * _clouds(rng, shape, (12, 160))[..., None]
    squared = _tone(221, 217, 219) + 2 * _clouds(rng, shape, (14, 20))[..., None]
    ink = 1 - np.outer(1 - _lines(y, density), 1 - _lines(x, density)).astype(np.float32)
    squared -= ink[..., None] * _tone(34, 44, 52)
    on_paper = _inside(np.abs(x), edge, density)[None, :, None].astype(np.float32)
    on_board = _inside(np.abs(x), edge + 11, density)[None, :, None].astype(np.float32)
    picture = table + on_board * (wood - table)
    picture += on_paper * (squared - picture)
    for k, (cx, cy) in enumerate(scene.reference_mm):
        centre_px = (cx + wide) * density, (high - cy) * density
        _print_reference(picture, centre_px, density, (k, scene))
    return cv2.convertScaleAbs(picture), (wide, high)


def _tone(blue: int, green: int, red: int) -> np.ndarray:
    return np.array([blue, green, red], np.float32)


def _inside(distance: np.ndarray, limit: float, density: float) -> np.ndarray:
    return np.clip((limit - distance) * density + 0.5, 0, 1)


def _lines(mm: np.ndarray, density: float) -> np.ndarray:
    """Share of ink of grid lines every 5 mm, 0.35 mm wide; stronger every 25 mm."""
    fine = _inside(np.abs((mm + 2.5) % 5 - 2.5), 0.17, density)
    bold = _inside(np.abs((mm + 12.5) % 25 - 12.5), 0.17, density)
    return np.maximum(0.7 * fine, bold)


def _print_reference(picture, centre_px, density: float, which: tuple[int, Scene]) -> None:
    """Print a cross or a tag on a white square, its centre exact to a fraction of a pixel."""
    index, scene = which
    reach = int((12 if scene.references == "crosses" else 18) * density) + 2
    column, row = (int(value) for value in centre_px)
    patch = picture[row - reach : row + reach, column - reach : column + reach]
    dx = np.arange(column - reach, column + reach) + 0.5 - centre_px[0]
    dy = np.arange(row - reach, row + reach) + 0.5 - centre_px[1]

    def box(half_x_mm: float, half_y_mm: float) -> np.ndarray:
        across = np.clip(half_x_mm * density - np.abs(dx) + 0.5, 0, 1)
        down = np.clip(half_y_mm * density - np.abs(dy) + 0.5, 0, 1)
        return np.outer(down, across)

    side = 11 if scene.references == "crosses" else 16
    patch += box(side, side)[..., None] * (222 - patch)
    if scene.references == "crosses":
        ink = np.maximum(box(7, 0.6), box(0.6, 7))
    else:
        exact = _ink(REFERENCE_TAGS[index], 24.0, density, 2 * reach)
        shift = np.array([[1, 0, -dx.mean()], [0, 1, -dy.mean()]])
        ink = cv2.warpAffine(exact, shift, exact.shape[::-1], flags=cv2.INTER_LINEAR)
    patch -= ink[..., None] * (patch - 26)
