"""From spots to points of the chain: which of their errors last, and what is never seen."""

from types import SimpleNamespace

import numpy as np
import pytest

from rulerlab.track.points import LASTING, Followed, collect, held_end_first


def spots_with(aside_px):
    """Three dots at rest in frames (T,), with the way from colour to luma (T, 3, 2) as given."""
    spots = []
    for aside in aside_px:
        rows = np.zeros((3, 11), np.float32)
        rows[:, :2] = [[10, 10], [60, 10], [110, 10]]
        rows[:, [2, 4]], rows[:, 6], rows[:, 7:9], rows[:, 9:] = 1e-4, 5.0, 1.0, aside
        spots.append(rows)
    return SimpleNamespace(spots=spots, marks="dots")


@pytest.mark.parametrize("apart", [0.0, 0.3])
def test_centres_that_stay_apart_in_colour_and_luma_are_a_lasting_error_and_noise_is_none(apart):
    rng = np.random.default_rng(3)
    way = apart * np.array([[0.0, 1], [0, -1], [0, 1]])  # up and down, never aside
    aside = way + 0.1 * rng.standard_normal((60, 3, 2))
    aside[1::2] = np.nan  # frames in which they were not compared
    followed = collect(spots_with(aside), np.tile(np.arange(3), (60, 1)), "ruler", [])
    assert np.allclose(followed.lasting_px, [0, LASTING * apart], atol=0.02)


@pytest.mark.parametrize(("sharp", "lost"), [(1.0, False), (0.5, True)])
def test_a_smeared_mark_is_known_less_well_along_its_way(sharp, lost):
    measured = spots_with(np.full((9, 3, 2), np.nan))
    for t, rows in enumerate(measured.spots):
        rows[:, 0] += 30 * t
    measured.spots[4][:, 8] = sharp
    assigned = np.tile(np.arange(3), (9, 1))
    assigned[5, 2] = -1  # one of them is lost in the frame after
    sigma = np.sqrt(collect(measured, assigned, "ruler", []).covariance_px[4, :, [0, 1], [0, 1]])
    assert (sigma[0] > 0.4).all() == lost and np.allclose(sigma[1], 0.01)


def test_an_end_of_the_chain_that_is_never_seen_does_not_say_which_end_is_held():
    position = np.zeros((5, 3, 2))
    position[:, 1, 0] = np.arange(5)
    position[:, 2] = np.nan
    followed = Followed(position, np.zeros((5, 3, 2, 2)), "blocks", np.ones((5, 3)), [])
    assert held_end_first(followed) is followed
