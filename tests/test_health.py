"""Frames that are not what they seem: repeated, blended, or neither though they look it."""

import cv2
import drawn
import numpy as np
from conftest import SECTIONS, draw_ruler, ruler_pixels

from rulerlab.track.health import FrameHealth, blended, repeated

JOINTS = ruler_pixels(drawn.ruler_joints(0.4, SECTIONS))
SHARP = np.ones((16, len(JOINTS)))


def health_of(canvases):
    health, rng, last = FrameHealth(), np.random.default_rng(0), None
    for canvas in canvases:
        if canvas is not None:
            last = drawn.planes(canvas, noise=1.0, rng=rng)[0]
        health.observe(last)
    return health


def glide(step=9.0, frames=16):
    """Places (T, N, 2) of a ruler that glides along, and its pictures."""
    place = JOINTS + step * np.arange(frames)[:, None, None] * [1, 0]
    return place, [draw_ruler(joints) for joints in place]


def test_a_clip_without_faults_has_none():
    place, pictures = glide()
    health = health_of(pictures)
    assert repeated(health.frozen(), place) == [] == blended(health, place, SHARP)
    assert blended(health, place, None) == []


def test_a_ruler_at_rest_is_no_duplicate():
    place, pictures = glide(0.0)
    assert repeated(health_of(pictures).frozen(), place) == []


def test_repeated_frames_are_found_alone_and_two_in_a_row():
    place, pictures = glide()
    for t in (4, 10, 11):
        pictures[t], place[t] = None, place[t - 1]
    assert repeated(health_of(pictures).frozen(), place) == [4, 10, 11]


def test_blended_frames_are_found():
    place, pictures = glide()
    sharp = SHARP.copy()
    for t in (5, 10):
        pictures[t], sharp[t] = 0.5 * (pictures[t - 1] + pictures[t + 1]), 0.5
    health = health_of(pictures)
    assert blended(health, place, sharp) == [5, 10] == blended(health, place, None)


def test_soft_edges_that_move_by_less_than_their_width_are_no_ghosts():
    place, pictures = glide(step=4.0)
    health = health_of(cv2.GaussianBlur(picture, (0, 0), 3.0) for picture in pictures)
    assert blended(health, place, None)  # the picture alone is taken in
    assert blended(health, place, SHARP) == []


def test_a_jerk_that_smears_the_marks_in_frame_after_frame_is_no_ghost():
    place, pictures = glide()
    sharp = SHARP.copy()
    sharp[6:9] = 0.5
    assert blended(health_of(pictures), place, sharp) == []
