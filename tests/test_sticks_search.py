"""The search for bare sticks: its compiled loops, its prices, and pictures turned over."""

import cv2
import numpy as np
import pytest

from rulerlab.track.sticks.assemble import COST, FREE_COST, SAME_TURN, best_paths
from rulerlab.track.sticks.check import left_over
from rulerlab.track.sticks.extend import Chain, without_detour
from rulerlab.track.sticks.links import Links
from rulerlab.track.sticks.pairs import Bars
from rulerlab.track.sticks.samples import edges_in_common, runs_through, values_at
from rulerlab.track.sticks.search import Outcome
from rulerlab.track.sticks.sight import Sight, slopes, support
from rulerlab.track.sticks.wood import evenly_lit

WIDTH = 10.0


def strip(size=(160, 200), *, middle=80, seed=0):
    """A bright strip along the rows of a dark noisy picture in Lab, and its evidence."""
    rng = np.random.default_rng(seed)
    evidence = np.full(size, -1.0, np.float32)
    half = round(WIDTH / 2)
    evidence[middle - half : middle + half, 30:170] = 1.0
    lab = np.repeat((100 + 50 * evidence)[..., None], 3, -1)
    return lab + rng.normal(0, 1, lab.shape).astype(np.float32), evidence


def sight_of(lab, evidence):
    return Sight(evidence, *slopes(lab), WIDTH, seam=4.0)


def test_values_between_pixels_are_those_of_a_plane():
    down, across = np.mgrid[:40, :60].astype(np.float32)
    image = np.stack([across + 2 * down, 7 - down], -1)
    place = np.random.default_rng(3).uniform([0, 0], [59, 39], (50, 2)).astype(np.float32)
    seen = values_at(image, place, -9.0)
    assert np.allclose(seen, np.c_[place[:, 0] + 2 * place[:, 1], 7 - place[:, 1]], atol=1e-3)
    assert (values_at(image, np.array([[-1.0, 5.0], [5.0, 39.5]], np.float32), -9.0) == -9).all()


def test_a_run_of_stick_colour_ends_at_the_tips_and_crosses_a_rivet():
    _, evidence = strip()
    evidence[70:90, 95:101] = -1  # a rivet
    middle, unit = np.array([[60.0, 80.0], [60.0, 20.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    back, on = runs_through(evidence > 0, middle, unit, np.full(2, 10.0), 3.0, 9)[0]
    assert (back, on) == (30, 109)
    assert np.isnan(runs_through(evidence > 0, middle, unit, np.full(2, 10.0), 3.0, 9)[1]).all()


def test_a_stick_on_the_strip_is_borne_out_and_one_beside_it_is_not():
    sight = sight_of(*strip())
    seen = support(sight, np.array([[32.0, 79.5], [32.0, 110.0]]),
                   np.array([[168.0, 79.5], [168.0, 110.0]]))
    assert seen.cover[0] > 0.95 and seen.edges[0] > 0.9
    assert seen.cover[1] == 0 and seen.edges[1] == -0.5


def test_two_sticks_share_the_edges_that_lie_on_one_another():
    sight = sight_of(*strip())
    start = np.array([[30.0, 80], [30, 80], [30, 85]])
    end = np.array([[170.0, 80], [100, 80], [170, 85]])
    place = support(sight, start, end).place.reshape(3, -1, 2)
    known = edges_in_common(place, start, end, WIDTH / 2, 0.2 * WIDTH, 0.99).mean(-1)
    assert np.allclose(np.diag(known), 1)
    assert known[1, 0] == 1 and 0.4 < known[0, 1] < 0.7
    assert known[0, 2] == 0  # half a width aside: neither edge is the other's


@pytest.mark.parametrize("turn", ["upside_down", "transposed"])
def test_what_is_seen_in_a_turned_picture_is_what_is_seen_in_the_picture(turn):
    lab, evidence = strip()
    turned = (np.ascontiguousarray(part[::-1] if turn == "upside_down" else part.swapaxes(0, 1))
              for part in (lab, evidence))
    chain = Chain(np.array([[32.0, 79.5], [168.0, 79.5]]), ("full",))
    plain = Outcome(chain, sight_of(lab, evidence), 5.0, 1.0, None)
    back = getattr(Outcome(chain, sight_of(*turned), 5.0, 1.0, None), turn)()
    assert np.allclose(back.sight.evidence, plain.sight.evidence)
    assert np.allclose(back.sight.slope_x, plain.sight.slope_x, atol=1e-4)
    assert np.allclose(back.sight.slope_y, plain.sight.slope_y, atol=1e-4)
    again = getattr(back, turn)()
    assert again.same_as(plain) and np.allclose(again.chain.place, chain.place)


def links_of(hinge, ends, worth, length):
    """Sticks that share no edge."""
    count = len(ends)
    evidence = np.ones((count, 96), bool)
    return Links(np.array(hinge, float), np.array(ends), np.array(worth, float),
                 np.array(length, float), evidence, np.zeros((count, count, 96), bool), 100.0,
                 WIDTH)


def test_the_best_path_goes_to_and_fro_and_counts_every_stick_less_its_cost():
    hinge = [(0, 0), (30, 95), (60, 0), (90, 95), (150, 15)]
    links = links_of(hinge, [(0, 1), (1, 2), (2, 3), (3, 4)], [0.9, 0.8, 0.9, 0.7], [1, 1, 1, 1])
    path = best_paths(links)[0]
    assert path.hinges in ((0, 1, 2, 3, 4), (4, 3, 2, 1, 0))
    assert path.score == pytest.approx(3.3 - 4 * COST)


def test_turning_the_same_way_twice_costs_and_no_edge_counts_twice():
    square = links_of([(0, 0), (100, 0), (100, 100), (0, 100)], [(0, 1), (1, 2), (2, 3)],
                      [0.9, 0.9, 0.9], [1, 1, 1])
    assert best_paths(square)[0].score == pytest.approx(2.7 - 3 * COST - SAME_TURN)
    square.known[2, 0] = square.known[0, 2] = True  # the third stick has the edges of the first
    path = best_paths(square)[0]
    assert len(path.sticks) == 2 and path.score == pytest.approx(1.8 - 2 * COST)


def test_a_chain_does_not_come_back_to_where_it_was():
    links = links_of([(0, 0), (30, 95), (5, 0), (60, 0)], [(0, 1), (1, 2), (1, 3)],
                     [0.9, 0.9, 0.4], [1, 1, 1])
    assert set(best_paths(links)[0].hinges) in ({0, 1, 3}, {2, 1, 3})


def test_what_comes_after_a_half_section_lies_in_a_hand_and_costs():
    links = links_of([(0, 0), (30, 95), (60, 0), (75, 45), (90, 0)],
                     [(0, 1), (1, 2), (2, 3), (3, 4)], [0.9, 0.9, 0.9, 0.9], [1, 1, 0.5, 0.5])
    path = best_paths(links)[0]
    assert len(path.sticks) == 4
    assert path.score == pytest.approx((1 + 1 + 0.5 + 0.5) * (0.9 - COST) - FREE_COST)


def test_one_strip_seen_twice_is_left_over_once():
    sight = sight_of(*strip(middle=120))
    chain = Chain(np.array([[40.0, 30.0], [160.0, 30.0]]), ("full",))
    bars = Bars(np.array([[40.0, 120], [60, 121]]), np.array([[160.0, 120], [150, 121]]),
                np.full(2, WIDTH), np.full(2, 50.0))
    assert len(left_over(sight, bars, chain, 5.0).width) == 1


def test_light_that_falls_off_across_the_table_is_taken_out_and_a_stick_is_not():
    down, across = np.mgrid[:480, :640]
    light = 120 + 60 * np.cos(across / 400)
    lab = np.repeat(light[..., None], 3, -1).astype(np.float32)
    lab[200:240, 100:500] += 40
    even = evenly_lit(lab)[..., 0]
    ground = np.ones(lab.shape[:2], bool)
    ground[190:250, 90:510] = False
    assert even[ground].std() < 0.25 * light[ground].std()
    assert abs(even[205:235, 250:350].mean() - even[100:150, 250:350].mean() - 40) < 4


def test_the_sight_of_a_picture_sees_as_much_as_opencv_between_its_pixels():
    lab, evidence = strip()
    sight = sight_of(lab, evidence)
    place = np.random.default_rng(1).uniform(5, 150, (40, 2))
    x, y = np.float32(place[:, :1]), np.float32(place[:, 1:])
    expected = cv2.remap(lab, x, y, cv2.INTER_LINEAR)[:, 0]
    assert np.allclose(sight.at(lab, place), expected, atol=1.5)


@pytest.mark.parametrize("turned", [False, True])
def test_the_section_in_the_hand_begins_at_the_near_end_of_a_stack_not_below_it(turned):
    far = np.array([[184.0, 282], [175, 173], [163, 390], [145, 173], [129, 390], [113, 173],
                    [105, 282], [434, 258]])  # the last section runs below the whole stack
    kinds = ("half", "full", "full", "full", "full", "half", "free")
    chain = Chain(far, kinds)
    found = without_detour(chain.reversed() if turned else chain, 17.0)
    np.testing.assert_array_equal(found.place, [*far[-2::-1], far[-1]])
    assert found.kinds == kinds
    assert without_detour(found, 17.0) is found
