"""What is drawn onto the video: points where they are, in the colours of their status."""

import numpy as np
import pytest

from rulerlab.palette import STATUS_RGB
from rulerlab.records import DETECTED, LOST, PREDICTED
from rulerlab.track.annotate import draw_track, enlargement


def drawn(status, position, variance=0.04, *, height=720, note=""):
    picture = np.full((height, height * 16 // 9, 3), 200, np.uint8)
    position = np.array(position, float)
    covariance = np.tile(np.eye(2) * variance, (len(position), 1, 1))
    draw_track(picture, position, covariance, np.array(status), 1.5, note=note)
    return picture


@pytest.mark.parametrize("status", [DETECTED, PREDICTED])
def test_a_point_has_the_colour_of_its_status(status):
    picture = drawn([status, status], [[300, 400], [700.0, 500.0]])
    assert tuple(picture[400, 300]) == STATUS_RGB[status][::-1]
    assert tuple(picture[500, 700]) == STATUS_RGB[status][::-1]


def test_a_section_is_drawn_between_two_points_that_are_seen():
    picture = drawn([DETECTED, DETECTED], [[300, 400], [700, 400]])
    assert picture[400, 500].max() < 100


def test_a_lost_point_draws_nothing_below_the_legend():
    picture = drawn([LOST, LOST], [[np.nan, np.nan]] * 2)
    assert (picture[40:] == 200).all() and not (picture[:30] == 200).all()


def test_a_point_outside_the_picture_does_no_harm():
    picture = drawn([DETECTED, DETECTED], [[-5000.0, 1e6], [300, 400]])
    assert tuple(picture[400, 300]) == STATUS_RGB[DETECTED][::-1]


@pytest.mark.parametrize("variance", [0.0, 1e-4, 4.0, 1e9, np.nan])
def test_any_size_of_error_can_be_drawn(variance):
    picture = drawn([DETECTED, DETECTED], [[300, 400], [700, 400]], variance)
    assert tuple(picture[400, 300]) == STATUS_RGB[DETECTED][::-1]


@pytest.mark.parametrize("height", [144, 2160])
def test_small_and_large_pictures_are_drawn_in_proportion(height):
    picture = drawn([DETECTED, DETECTED], [[20, 90], [60, 90]], height=height, note="frame 7")
    assert tuple(picture[90, 20]) == STATUS_RGB[DETECTED][::-1]


@pytest.mark.parametrize(("sigma_px", "factor"), [(0.05, 200), (0.1, 100), (1.0, 10), (40.0, 1),
                                                  (np.nan, 1), (0.0, 1)])
def test_ellipses_of_a_clip_are_enlarged_by_one_round_factor(sigma_px, factor):
    covariance = np.tile(sigma_px**2 * np.eye(2), (9, 3, 1, 1))
    covariance[0, 0] = np.nan
    assert enlargement(covariance, 720) == factor
