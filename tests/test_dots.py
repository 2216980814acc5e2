"""Dots in one picture that are not flat discs on plain paper, sharply seen."""

import cv2
import drawn
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.track.colours import find_colours
from rulerlab.track.dots import find_spots, learn_look

DOTS = np.stack(np.meshgrid([60.3, 140.7, 220.1, 300.6], [50.4, 130.9, 200.2]), -1).reshape(-1, 2)


def spots_in(canvas, **how):
    frame = drawn.frame(canvas, noise=1.0, rng=np.random.default_rng(0), **how)
    look = learn_look([frame], find_colours([frame]))
    return look, find_spots(frame, look)


@pytest.mark.parametrize("siting", [0.0, 0.5])
def test_the_place_of_the_chroma_samples_is_found_in_a_soft_picture(siting):
    canvas = drawn.paper(360, 240)
    for centre in DOTS:
        drawn.disc(canvas, centre, 14.0, drawn.GREEN)
    look, spots = spots_in(cv2.GaussianBlur(canvas, (0, 0), 1.9), siting=siting)
    assert look.siting_px == (siting, 0.5)
    gap = np.linalg.norm(spots.position_px[:, None] - DOTS, axis=-1).min(axis=0)
    assert_allclose(gap, 0, atol=0.1)
