"""The chain decides: order from one picture, identities through a whole clip."""

import drawn
import numpy as np
import pytest

from rulerlab.track.link import link_chain
from rulerlab.track.order import (
    is_straight,
    most_rigid_order,
    on_one_line,
    order_along,
    order_ruler,
    rail_direction,
)

RIGHT = np.array([1.0, 0.0])


def a_ruler(seed, *, sections=10, folded=(0.1, 0.7)):
    """Joints of a ruler of full sections between halves, leaning by different angles, noisy."""
    rng = np.random.default_rng(seed)
    length = 100.0
    lengths = np.array([0.5, *np.ones(sections - 3), 0.5, rng.uniform(0.7, 1.2)]) * length
    opening = rng.uniform(*folded) + 0.12 * rng.standard_normal(sections)
    return drawn.ruler_joints(np.clip(opening, 0.06, 1.2), lengths), lengths


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("known", [True, False])
def test_the_zigzag_is_found_through_marks_in_any_order(seed, known):
    joint, lengths = a_ruler(seed)
    rng = np.random.default_rng(100 + seed)
    mixed = rng.permutation(len(joint))
    seen = joint[mixed] + rng.normal(scale=0.1, size=joint.shape)
    order, _ = order_ruler(
        seen, np.zeros(len(seen), int), RIGHT, sections=lengths if known else None,
        count=len(seen), tolerance=0.015 if known else 0.03,
    )
    assert mixed[order].tolist() == list(range(len(joint)))


@pytest.mark.parametrize("turn", [0.4, np.pi / 2, np.pi, -2.0])
def test_the_order_does_not_depend_on_how_the_picture_is_turned(turn):
    joint, lengths = a_ruler(3)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    order, _ = order_ruler(joint @ rotation.T, np.zeros(len(joint), int), rotation @ RIGHT,
                           sections=lengths, count=len(joint))
    assert order.tolist() == list(range(len(joint)))


def test_blocks_on_a_rail_are_straight_and_a_folded_ruler_is_not():
    blocks = drawn.pulled_blocks(1, 8)[0]
    assert is_straight(blocks + np.random.default_rng(0).normal(scale=0.2, size=blocks.shape))
    assert not is_straight(a_ruler(0)[0])
    mixed = np.random.default_rng(1).permutation(8)
    order = order_along(blocks[mixed], rail_direction(blocks[mixed]))
    assert mixed[order].tolist() == list(range(8))


def scattered(motion, *, seed, drop=0.0, strangers=0, noise=0.15):
    """The spots of every frame in random order, some missing, some of something else; and which
    spot is which point (-1 where it is missing)."""
    rng = np.random.default_rng(seed)
    spots, truth = [], []
    low, high = motion.min((0, 1)) - 20, motion.max((0, 1)) + 20
    for t, points in enumerate(motion):
        seen = np.flatnonzero((rng.random(len(points)) >= drop) | (t == 0))
        other = rng.uniform(low, high, (strangers if t else 0, 2))
        everything = np.concatenate([points[seen] + rng.normal(scale=noise, size=(len(seen), 2)),
                                     other])
        mixed = rng.permutation(len(everything))
        where = np.full(len(points), -1)
        where[seen] = np.argsort(mixed)[: len(seen)]
        spots.append(everything[mixed])
        truth.append(where)
    return spots, np.array(truth)


def swaps(assigned, truth):
    """Points that were given the spot of another point."""
    wrong = 0
    for got, right in zip(assigned, truth, strict=True):
        others = {int(s): k for k, s in enumerate(right) if s >= 0}
        wrong += sum(others.get(int(s), k) != k for k, s in enumerate(got) if s >= 0)
    return wrong


@pytest.mark.parametrize("seed", range(4))
def test_a_ruler_keeps_its_identities_through_drop_outs_and_strangers(seed):
    lengths = np.array([50.0, *[100.0] * 6, 50.0, 90.0])
    motion = drawn.pulled_ruler(60, lengths, folded=0.08)
    spots, truth = scattered(motion, seed=seed, drop=0.06, strangers=2)
    assigned = link_chain(spots, [np.zeros(len(s), int) for s in spots], 0, truth[0],
                          sections=lengths, rigid=True, known=True)
    assert swaps(assigned, truth) == 0
    assert (assigned[truth >= 0] == truth[truth >= 0]).mean() > 0.97


@pytest.mark.parametrize("seed", range(4))
def test_shaken_blocks_keep_their_order_through_drop_outs(seed):
    motion = drawn.pulled_blocks(80, 8, shake=1.0, seed=seed)
    spots, truth = scattered(motion, seed=seed, drop=0.05)
    assigned = link_chain(spots, [np.zeros(len(s), int) for s in spots], 0, truth[0],
                          sections=None, rigid=False, known=False)
    assert swaps(assigned, truth) == 0
    assert (assigned[truth >= 0] == truth[truth >= 0]).mean() > 0.95


def test_a_hand_over_half_the_ruler_loses_points_and_swaps_none():
    lengths = np.array([50.0, *[100.0] * 6, 50.0, 90.0])
    motion = drawn.pulled_ruler(60, lengths, folded=0.1)
    spots, truth = [], np.full(motion.shape[:2], -1)
    for t, points in enumerate(motion):
        seen = np.arange(len(points))
        if 20 <= t < 32:
            seen = seen[: len(seen) // 2]
        spots.append(points[seen])
        truth[t, seen] = np.arange(len(seen))
    assigned = link_chain(spots, [np.zeros(len(s), int) for s in spots], 0, truth[0],
                          sections=lengths, rigid=True, known=True)
    assert (assigned == truth).all()


def test_two_colours_are_never_mixed_up():
    lengths = np.array([50.0, *[100.0] * 4, 50.0, 90.0])
    motion = drawn.pulled_ruler(40, lengths)
    colour = np.arange(8) % 2
    spots, truth = scattered(motion, seed=5, drop=0.1)
    colours = []
    for where, here in zip(truth, spots, strict=True):
        own = np.zeros(len(here), int)
        own[where[where >= 0]] = colour[where >= 0]
        colours.append(own)
    assigned = link_chain(spots, colours, 0, truth[0], sections=lengths, rigid=True, known=True)
    for got, own in zip(assigned, colours, strict=True):
        assert (own[got[got >= 0]] == colour[got >= 0]).all()
    assert swaps(assigned, truth) == 0


@pytest.mark.parametrize("wrong", [(1, 0, 2, 3), (0, 2, 1, 3), (3, 1, 0, 2)])
def test_a_short_ruler_is_ordered_by_what_stays_rigid(wrong):
    joint = drawn.pulled_ruler(40, np.array([55.0, 110.0, 121.0]))
    joint += np.random.default_rng(1).normal(scale=0.1, size=joint.shape)
    assert most_rigid_order(joint, RIGHT) is None
    order = most_rigid_order(joint[:, wrong], RIGHT)
    assert np.array(wrong)[order].tolist() == [0, 1, 2, 3]
    assert most_rigid_order(np.repeat(joint[:1], 40, axis=0)[:, wrong], RIGHT) is None


def test_what_lies_beside_the_rail_is_left_out():
    rail = np.column_stack([np.linspace(0, 500, 7), np.linspace(0, 60, 7)])
    points = np.concatenate([[[90.0, 200.0], [300.0, -150.0]], rail, [[480.0, 220.0]]])
    assert on_one_line(points, 5.0).tolist() == list(range(2, 9))
