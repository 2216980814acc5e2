"""Squared paper gives scale, turn and perspective by itself."""

import cv2
import numpy as np
import pytest

from rulerlab.track.grid import grid_waves, view_from_grid

TILTED = np.array([[0.42, 0.03, -120.0], [0.025, -0.41, 110.0], [6e-5, -9e-5, 1.0]])  # px to mm


def paper(homography, *, grid_mm=5.0, size=(640, 480), noise=2.0):
    """A picture (H, W) of squared paper whose plane lies as the homography says."""
    columns, rows = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    seen = np.stack([columns, rows], -1).reshape(-1, 1, 2).astype(float)
    place = cv2.perspectiveTransform(seen, homography).reshape(*size[::-1], 2) / grid_mm
    lines = (np.abs(place - np.round(place)) < 0.045).any(-1)
    picture = cv2.GaussianBlur(np.where(lines, 160.0, 235.0), (0, 0), 0.8)
    noisy = picture + np.random.default_rng(0).normal(0, noise, picture.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def test_lengths_on_the_paper_are_right_everywhere_in_a_tilted_picture():
    view = view_from_grid(paper(TILTED), 5.0, np.array([50.0, 400.0]))
    assert view is not None
    ends = np.random.default_rng(1).uniform([40, 40], [600, 440], (40, 2, 2))
    true = cv2.perspectiveTransform(ends, TILTED)
    found = np.array([view.to_mm(pair[None], np.zeros(2))[0] for pair in ends])
    ratio = (np.linalg.norm(found[:, 1] - found[:, 0], axis=1)
             / np.linalg.norm(true[:, 1] - true[:, 0], axis=1))
    assert np.abs(ratio - 1).max() < 0.01


def test_the_origin_lies_where_it_is_wanted_and_y_runs_up():
    origin = np.array([50.0, 400.0])
    view = view_from_grid(paper(TILTED), 5.0, origin)
    assert view is not None
    mm = view.to_mm(np.array([[origin, origin + [100, 0], origin - [0, 100]]]), np.zeros(3))[0]
    assert np.allclose(mm[0], 0, atol=1e-9)
    assert mm[1, 0] > 30 and abs(mm[1, 1]) < 10
    assert mm[2, 1] > 30 and abs(mm[2, 0]) < 10


@pytest.mark.parametrize("spacing_mm", [2.5, 5.0])
def test_the_waves_are_as_long_as_the_squares(spacing_mm):
    straight = np.diag([0.4, -0.4, 1.0])
    places, waves = grid_waves(paper(straight, grid_mm=spacing_mm, size=(400, 300)))
    assert len(places) > 1
    assert np.allclose(1 / np.linalg.norm(waves, axis=-1), spacing_mm / 0.4, rtol=0.01)


def test_plain_paper_is_no_reference():
    blank = np.random.default_rng(0).normal(225, 3, (480, 640)).astype(np.uint8)
    assert view_from_grid(blank, 5.0, np.zeros(2)) is None
