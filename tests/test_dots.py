"""Dots in one picture that are not flat discs on plain paper, sharply seen."""

import cv2
import drawn
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.errors import InputError
from rulerlab.track.colours import find_colours
from rulerlab.track.dots import find_spots, learn_look

DOTS = np.stack(np.meshgrid([60.3, 140.7, 220.1, 300.6], [50.4, 130.9, 200.2]), -1).reshape(-1, 2)


def spots_in(canvas, *, grey=False, wanted=(), **how):
    frame = drawn.frame(canvas, noise=1.0, rng=np.random.default_rng(0), **how)
    look = learn_look([frame], find_colours([frame], grey=grey, wanted=wanted))
    return look, find_spots(frame, look)


def assert_centred(spots, within_px):
    gap = np.linalg.norm(spots.position_px[:, None] - DOTS, axis=-1)
    assert len(spots) == len(DOTS)
    assert_allclose(gap.min(axis=0), 0, atol=within_px)


@pytest.mark.parametrize("siting", [0.0, 0.5])
def test_the_place_of_the_chroma_samples_is_found_in_a_soft_picture(siting):
    canvas = drawn.paper(360, 240)
    for centre in DOTS:
        drawn.disc(canvas, centre, 14.0, drawn.GREEN)
    look, spots = spots_in(cv2.GaussianBlur(canvas, (0, 0), 1.9), siting=siting)
    assert look.siting_px == (siting, 0.5)
    assert_centred(spots, 0.1)


def test_a_bulls_eye_is_one_dot():
    canvas = drawn.paper(360, 240)
    for centre in DOTS:
        for radius, colour in ((15.0, drawn.RED), (9.5, (240, 240, 240)), (4.5, drawn.RED)):
            drawn.disc(canvas, centre, radius, colour)
    _, spots = spots_in(canvas)
    assert_centred(spots, 0.15)


def test_the_squares_of_a_cloth_are_no_dots_though_there_are_more_of_them():
    canvas = drawn.paper(360, 240)
    for column in range(0, 360, 60):
        for row in range(0, 240, 60):
            for x, y in ((column, row), (column + 30, row + 30)):
                corners = [[x, y], [x + 30, y], [x + 30, y + 30], [x, y + 30]]
                drawn.quad(canvas, np.array(corners) - 0.5, (200, 110, 120))
    for centre in DOTS:
        drawn.disc(canvas, centre, 9.0, drawn.GREEN)
    _, spots = spots_in(canvas)
    assert_centred(spots, 0.15)


@pytest.mark.parametrize(("ink", "ground", "name"), [(25, 1.0, "black"), (235, 0.2, "#f0f0ee")])
@pytest.mark.parametrize("named", [True, False])
def test_black_and_white_dots_are_found_where_rig_toml_speaks_of_dots(ink, ground, name, named):
    canvas = drawn.paper(360, 240) * ground
    for centre in DOTS:
        drawn.disc(canvas, centre, 7.3, (ink, ink, ink))
    assert find_colours([drawn.frame(canvas)]) == []
    _, spots = spots_in(canvas, grey=not named, wanted=[name] if named else [])
    assert_centred(spots, 0.1)


def test_a_soft_stain_of_the_dots_colour_is_no_dot():
    canvas = drawn.paper(360, 240)
    for centre in DOTS:
        drawn.disc(canvas, centre, 7.3, drawn.GREEN)
    look, _ = spots_in(canvas)
    stain = drawn.paper(360, 240)
    drawn.disc(stain, (180, 90), 10.0, drawn.GREEN)
    stain = cv2.GaussianBlur(stain, (0, 0), 7.0)
    near = np.hypot(*(np.mgrid[:240, :360] - np.array([90, 180])[:, None, None])) < 25
    canvas[near] = stain[near]
    assert_centred(find_spots(drawn.frame(canvas), look), 0.1)


def test_black_spots_are_no_dots_where_dots_of_a_colour_are_seen():
    canvas = drawn.paper(360, 240)
    for centre in DOTS:
        drawn.disc(canvas, centre, 7.3, drawn.RED)
        drawn.disc(canvas, centre + [25.0, 20.0], 7.3, (25, 25, 25))
    for wanted in ([], ["red"]):
        _, spots = spots_in(canvas, grey=True, wanted=wanted)
        assert_centred(spots, 0.1)


def test_dots_on_a_ground_of_their_own_colour_are_refused_with_what_to_do():
    canvas = drawn.paper(360, 240)
    for centre in DOTS:
        drawn.disc(canvas, centre, 7.3, drawn.RED)
    colours = find_colours([drawn.frame(canvas)])
    everywhere = drawn.frame(np.full_like(canvas, drawn.RED))
    with pytest.raises(InputError, match="red spots are too faint for dots, or too much"):
        learn_look([everywhere], colours)
