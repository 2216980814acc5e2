"""What colour are the sticks? Learned in each picture from the bars found in it.

No colour is taken for granted: pale wood, yellow paint, white plastic and grey metal all lie on
white paper, on a dark desk, in lamp light and in shadows. The colours inside the bars of the common
width are set against those beside them and against the rest of the picture.
"""

from __future__ import annotations

import cv2
import numpy as np

from rulerlab.track.sticks.pairs import Bars

STEP = 8.0  # Lab levels per bin of the colour histograms
BINS = 36  # bins per channel, centred on the middle of the scale
CORE = 0.6  # of the width: certainly stick
CLEAR = 1.5  # widths: beside a bar this far is certainly not this stick
NEAR = 4.0  # widths: what lies beside the sticks counts as much as all the rest of the picture
GROUND_PX = 320  # a window in which most is ground
COARSE = 8  # px: the ground is looked at in steps of this
FLOOR = 1e-6  # chance that any colour shows up anywhere
BLURS = ((1.0, 0.85), (3.0, 0.12), (6.0, 0.03))  # bins, and shares, of what blurs the histograms


def bar_mask(bars: Bars, shape: tuple[int, ...], *, wide: float, longer: float = 0.0) -> np.ndarray:
    """Where the bars are, (H, W) bool, each `wide` times its width and `longer` widths longer."""
    mask = np.zeros(shape[:2], np.uint8)
    way = (bars.end - bars.start) / np.maximum(bars.length, 1e-9)[:, None]
    side = np.c_[-way[:, 1], way[:, 0]] * (0.5 * wide * bars.width)[:, None]
    more = way * (longer * bars.width)[:, None]
    start, end = bars.start - more, bars.end + more
    for corners in np.stack([start + side, end + side, end - side, start - side], 1):
        cv2.fillConvexPoly(mask, np.round(corners * 8).astype(np.int32), 1, cv2.LINE_8, 3)
    return mask.astype(bool)


def evenly_lit(lab: np.ndarray) -> np.ndarray:
    """The picture (H, W, 3) less what changes slowly across it, around its mean colour.

    What most of a window shows is taken for the ground: light that falls off, a vignette. A stack
    of sticks is no ground, since it is smaller than the window.
    """
    height, width = lab.shape[:2]
    size = width // COARSE, height // COARSE
    coarse = np.clip(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), 0, 255).astype(np.uint8)
    ground = cv2.medianBlur(coarse, GROUND_PX // COARSE | 1).astype(np.float32)
    ground = cv2.GaussianBlur(ground, (0, 0), GROUND_PX / COARSE / 6)
    ground = cv2.resize(ground, (width, height), interpolation=cv2.INTER_LINEAR)
    return lab - ground + ground.mean((0, 1))


def stick_evidence(lab: np.ndarray, bars: Bars) -> np.ndarray:
    """How much every pixel looks like stick rather than like anything else, (H, W) float32.

    A log likelihood ratio, scaled to 1 for what is typical of the sticks and -1 for what is typical
    beside them, so that the outline at 0 is the sticks' own. `bars` are those taken for pieces of
    sticks; `lab` as of `smooth_lab`.
    """
    width = float(np.median(bars.width))
    inside = bar_mask(bars, lab.shape, wide=CORE)
    outside = ~bar_mask(bars, lab.shape, wide=CLEAR, longer=0.5)
    reach = max(round(NEAR * width), 1)
    near = cv2.dilate(inside.astype(np.uint8), np.ones((2 * reach + 1,) * 2, np.uint8)) > 0
    beside = outside & near
    bins = _bins(lab)
    stick = _density(bins[inside])
    elsewhere = 0.5 * _density(bins[beside]) + 0.5 * _density(bins[outside])
    ratio = np.log((stick + FLOOR) / (elsewhere + FLOOR)).astype(np.float32)
    evidence = ratio.ravel()[bins]
    evidence = cv2.GaussianBlur(evidence, (0, 0), max(0.06 * width, 0.6))
    typical, other = float(np.median(evidence[inside])), float(np.median(evidence[beside]))
    return (2 * evidence - typical - other) / max(typical - other, 1e-3)


def _bins(lab: np.ndarray) -> np.ndarray:
    """The bin of every pixel's colour in a flattened histogram, (H, W)."""
    place = np.clip((lab - 128) / STEP + BINS / 2, 0, BINS - 1).astype(np.int32)
    return (place[..., 0] * BINS + place[..., 1]) * BINS + place[..., 2]


def _density(bins: np.ndarray) -> np.ndarray:
    """Smoothed share of the samples in every colour.

    Mostly a narrow blur; a little of wider ones lets colours that were not sampled (a highlight, a
    stick in the shade) go with the nearest that were.
    """
    count = np.bincount(bins, minlength=BINS**3).astype(np.float32).reshape((BINS,) * 3)
    count /= max(len(bins), 1)
    return np.sum([share * _blurred(count, sigma) for sigma, share in BLURS], axis=0)


def _blurred(count: np.ndarray, sigma: float) -> np.ndarray:
    for axis in range(3):
        flat = np.moveaxis(count, axis, 0).reshape(BINS, -1)
        flat = cv2.GaussianBlur(flat, (1, 2 * round(3 * sigma) + 1), sigmaX=0.01, sigmaY=sigma,
                                borderType=cv2.BORDER_CONSTANT)
        count = np.moveaxis(flat.reshape(BINS, BINS, BINS), 0, axis)
    return count
