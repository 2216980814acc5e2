"""Motion to load curve: when the hand pulled, and what every section took of it."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.signal import lfilter

from rulerlab.errors import QualityError
from rulerlab.records import LOST, Motion
from rulerlab.segments import angle_deg, find_pull, load_curve, motion_of, share_lost
from rulerlab.track import Tracked


def a_motion(loads, *, frames=60, start=15, end=45, sigma=0.05, noise=True, seed=0, shared=None):
    """Points 20 mm apart that open by `loads` (L,) between two frames."""
    rng = np.random.default_rng(seed)
    ramp = np.clip((np.arange(frames) - start) / (end - start), 0, 1)
    x = np.cumsum(np.concatenate([[0.0], np.full(len(loads), 20.0)]))
    x = x + ramp[:, None] * np.concatenate([[0.0], np.cumsum(loads)])
    joint = np.stack([x, np.zeros_like(x)], -1)
    joint = joint + noise * sigma * rng.standard_normal(joint.shape)
    own = np.broadcast_to(sigma**2 * np.eye(2), joint.shape + (2,))
    status = np.full(x.shape, "detected", dtype="<U9")
    return Motion(np.arange(frames) / 30, joint, own, shared, status)


LOADS = np.array([0.5, 1.0, 2.0, 4.0, 8.0])


def test_the_pull_is_found_between_rest_and_rest():
    pull = find_pull(a_motion(LOADS))
    assert pull.onset_s == pytest.approx(15 / 30, abs=0.05)
    assert pull.end_s == pytest.approx(45 / 30, abs=0.05)
    assert pull.travel_mm == pytest.approx(LOADS.sum(), abs=0.2)
    assert pull.starts_at_rest
    assert not find_pull(a_motion(LOADS, start=0)).starts_at_rest


def test_a_pulled_end_that_is_never_seen_is_told():
    motion = a_motion(LOADS)
    motion.joint_mm[2:, -1] = np.nan
    with pytest.raises(QualityError, match="fewer than three frames"):
        find_pull(motion)


@pytest.mark.parametrize(("kind", "pull_section", "unit", "expected"), [
    ("blocks", True, "spring", LOADS),
    ("ruler", False, "section", LOADS),
    ("ruler", True, "section", LOADS[:-1]),
    ("ruler", True, "fold", [1.5, 6.0]),
    ("ruler", False, "fold", [1.5, 6.0, 8.0]),
])
def test_the_load_is_what_opened_beyond_rest(kind, pull_section, unit, expected):
    curve = load_curve(a_motion(LOADS), kind=kind, pull_section=pull_section, unit=unit)
    assert_allclose(curve.loads, expected, atol=0.1)
    assert (curve.source, curve.unit, curve.quantity) == (kind, unit, "mm")
    assert curve.remaining[-1] == 0


def test_the_load_at_a_chosen_time_grows_with_the_pull():
    motion = a_motion(LOADS, noise=False)
    for share in (0.2, 0.5, 1.0):
        curve = load_curve(motion, kind="blocks", at_s=(15 + 30 * share) / 30)
        assert_allclose(curve.loads, share * LOADS, atol=1e-9)


def test_the_errors_of_the_loads_are_those_of_many_pulls():
    z = []
    for seed in range(150):
        motion = a_motion(LOADS, seed=seed, frames=60)
        curve = load_curve(motion, kind="blocks", at_s=1.0)
        z.append((curve.loads - 0.5 * LOADS) / np.sqrt(np.diag(curve.load_covariance)))
    # the rest state counts as one frame, though it is a mean of many: errors that stay with a
    # mark do not average out
    assert 0.6 < np.std(z) < 1.05
    covariance = curve.load_covariance
    assert (np.diag(covariance, 1) < 0).all()


def test_a_wrong_scale_moves_all_loads_together():
    motion = a_motion(LOADS, noise=False)
    shared = 0.01 * motion.joint_mm[..., None]
    plain = load_curve(motion, kind="blocks")
    scaled = load_curve(Motion(motion.time_s, motion.joint_mm, motion.covariance_mm2, shared),
                        kind="blocks")
    extra = scaled.load_covariance - plain.load_covariance
    assert_allclose(extra, np.outer(0.01 * LOADS, 0.01 * LOADS), atol=1e-9)


def test_a_point_lost_at_the_end_is_named():
    motion = a_motion(LOADS)
    motion.joint_mm[40:, 2], motion.status[40:, 2] = np.nan, LOST
    with pytest.raises(QualityError, match="point 2 is lost"):
        load_curve(motion, kind="blocks")
    assert share_lost(motion) == pytest.approx(20 / 60 / 6)


def test_angles_are_those_of_the_sections_against_the_pull():
    joint = np.array([[[0.0, 0], [1, 1], [2, 1], [2, 0]]])
    motion = Motion(np.zeros(1), joint, np.zeros((1, 4, 2, 2)))
    assert_allclose(angle_deg(motion)[0], [45, 0, -90])


@pytest.mark.parametrize("way", [(1, 0), (-1, 0), (0, -1), (0.8, 0.6)])
def test_without_a_scale_x_runs_along_the_pull_whichever_way_it_goes(way):
    from rulerlab.records import Tracks

    motion = a_motion(LOADS, noise=False)
    along = np.array(way) / np.hypot(*way)
    px = 300 + motion.joint_mm[..., :1] * along  # y down
    status = motion.status
    tracks = Tracks(motion.time_s, px, motion.covariance_mm2, status)
    tracked = Tracked(tracks, None, np.zeros(6), "blocks", "dots", [], [], {})
    turned = motion_of(tracked)
    assert turned.unit == "px"
    assert_allclose(turned.extension_mm(), motion.extension_mm(), atol=1e-9)
    assert_allclose(turned.joint_mm[..., 1], 0, atol=1e-9)


def test_a_shaken_chain_is_averaged_over_independent_moments_only():
    """Each block wanders about its place and remembers it for some frames."""
    rng, replicas, frames = np.random.default_rng(3), 150, 120
    z = []
    for _ in range(replicas):
        mix = np.array([[1, 0.6, 0.2], [0, 1, 0.6], [0, 0, 1]])
        kick = rng.normal(size=(frames + 200, 3)) @ mix
        wander = lfilter([1], [1, -0.8], kick, axis=0)[200:] * 0.3
        x = np.array([0.0, 10.0, 20.0, 30.0]) * np.ones((2 * frames, 1))
        x[frames:] += [0.0, 20.0, 40.0, 60.0]
        x[frames:, 1:-1] += wander[:, :-1]
        joint = np.stack([x, np.zeros_like(x)], -1)
        motion = Motion(np.arange(2 * frames) / 60, joint,
                        np.broadcast_to(np.eye(2) * 1e-4, (*x.shape, 2, 2)))
        curve = load_curve(motion, kind="blocks")
        z.append((curve.loads - 20.0) / np.sqrt(np.diag(curve.load_covariance)))
    assert 0.8 < np.std(z) < 1.35


def test_a_pulled_end_that_nobody_sees_leaves_the_pull_to_the_last_hinge():
    motion = a_motion(LOADS)
    rng = np.random.default_rng(1)
    joint, own = motion.joint_mm.copy(), motion.covariance_mm2.copy()
    joint[:, -1, 0] += rng.normal(scale=30, size=len(joint))
    own[:, -1] = 900 * np.eye(2)
    pull = find_pull(Motion(motion.time_s, joint, own, None, motion.status))
    assert pull.onset_s == pytest.approx(15 / 30, abs=0.1)
    assert pull.travel_mm == pytest.approx(LOADS[:-1].sum(), abs=0.3)
