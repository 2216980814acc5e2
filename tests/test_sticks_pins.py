"""The pins of a ruler's hinges: where they are seen, and how far they are to be trusted."""

from dataclasses import replace

import numpy as np
import pytest

from rulerlab.track.sticks.breath import with_breath
from rulerlab.track.sticks.chain import Lines, rods_of, solve
from rulerlab.track.sticks.pins import error_of_pins, find_pins

WIDTH = 20.0
JOINTS = np.array([[60.0, 60.0], [140.0, 62.0], [221.0, 58.0]])


def wood(seed=1, *, grain=6.0):
    """A picture of nothing but wood, its grain along the rows."""
    rng = np.random.default_rng(seed)
    lines = np.convolve(rng.normal(size=140), np.ones(3) / 3, "same")[:120, None]
    return 150 + grain * lines + rng.normal(0, 2.0, (120, 280))


def with_discs(picture, middles, *, radius, level):
    """The picture with round pins of one grey value, their edges a pixel wide."""
    row, column = np.mgrid[: picture.shape[0], : picture.shape[1]]
    for x, y in middles:
        cover = np.clip(radius + 0.5 - np.hypot(column - x, row - y), 0, 1)
        picture = picture + cover * (level - picture)
    return np.clip(picture, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("level", [40, 240])
@pytest.mark.parametrize("radius", [1.5, 3.0, 5.0])
def test_dark_and_shining_pins_are_found_to_a_fraction_of_a_pixel(level, radius):
    pins = JOINTS + np.random.default_rng(2).uniform(-1.5, 1.5, JOINTS.shape)
    found = find_pins(with_discs(wood(), pins, radius=radius, level=level), JOINTS, WIDTH)
    assert np.abs(found - pins).max() < 0.35


def test_the_grain_of_wood_is_not_taken_for_pins():
    found = [find_pins(np.clip(wood(seed), 0, 255).astype(np.uint8), JOINTS, WIDTH)
             for seed in range(12)]
    assert np.isfinite(found).mean() < 0.2


def test_a_pin_is_trusted_as_far_as_it_agrees_with_the_edges():
    rng = np.random.default_rng(3)
    edges = np.broadcast_to(0.3**2 * np.eye(2), (50, 8, 2, 2))
    for error in (0.6, 2.0):
        off = rng.normal(0, np.hypot(error, 0.3), (50, 8, 2))
        assert error_of_pins(off, edges, WIDTH) == pytest.approx(error, rel=0.1)
    off[:, 2:] = np.nan
    assert error_of_pins(off, edges, WIDTH) == np.inf


def test_pins_tell_where_a_folded_stack_lies_along_its_sticks():
    true = np.array([[50.0 + 3 * k, 60.0 + 100.0 * (k % 2)] for k in range(6)])
    base, shape = true + [0.0, 2.5], (1, 5, 2)
    far = Lines(base[None], np.zeros(shape), np.broadcast_to(25.0 * np.eye(2), (*shape, 2)),
                np.zeros(shape), np.zeros(shape), (true - base)[None], np.array([1e-6]),
                np.zeros(1))
    rods = rods_of(true, ("full",) * 5, WIDTH, (400, 300))
    blind, _ = solve(far, rods)
    told, covariance = solve(far, replace(rods, pin_px=0.3))
    assert np.abs(blind[0] - true).max() > 2
    assert np.abs(told[0] - true).max() < 0.1
    assert np.sqrt(np.diag(covariance[0])).max() < 0.3


def test_pictures_that_are_larger_as_a_whole_are_told_by_their_pins():
    rng, small = np.random.default_rng(4), np.array([-0.004, 0.0, 0.002, 0.01, -0.008])
    chains = [np.array([[40.0 + 30 * k, 60.0 + 90.0 * (k % 2)] for k in range(6)]) * np.exp(s)
              for s in small]
    base = np.array(chains) + rng.normal(0, 0.3, (5, 6, 2))
    shape = (5, 5, 2)
    lines = Lines(base, np.zeros(shape), np.broadcast_to(0.1 * np.eye(2), (*shape, 2)),
                  np.zeros(shape), np.zeros(shape), np.array(chains) - base, np.full(5, 1e-6),
                  np.zeros(5))
    rods = rods_of(chains[1], ("full",) * 5, WIDTH, (400, 300))
    assert not with_breath(lines, rods).larger.any()  # no pins are trusted
    told = with_breath(lines, replace(rods, pin_px=0.1))
    assert np.abs(told.larger - small).max() < 5e-4
    joints, _ = solve(told, replace(rods, pin_px=0.1))
    assert np.abs(joints - chains).max() < 0.15
