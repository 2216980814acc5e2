"""Stick and slip, and the friction that shaking leaves."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.chain import drive, rest
from rulerlab.chain.events import lubrication, slips
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import final_profiles, simulate
from rulerlab.errors import QualityError, UsageError
from rulerlab.records import Motion


def staircase(sigma=0.0, seed=0):
    """Two blocks that jump at known moments, seen with errors."""
    time = np.arange(200) * 0.1
    joint = np.zeros((200, 4, 2))
    joint[50:53, 2, 0], joint[53:, 2, 0] = [0.5, 1.0, 1.5], 2.0
    joint[120:, 1, 0] = 1.0
    joint[120:, 2, 0] = 3.0
    joint[..., 3, 0] = time
    joint[..., 0] += sigma * np.random.default_rng(seed).standard_normal((200, 4))
    covariance = np.tile(sigma**2 * np.eye(2), (200, 4, 1, 1))
    return Motion(time, joint, covariance)


@pytest.mark.parametrize("sigma", [0.0, 0.02])
def test_known_jumps_are_listed_with_onset_size_and_blocks(sigma):
    found = slips(staircase(sigma))
    assert len(found) == 2
    assert_allclose(found.onset_s, [4.9, 11.9])
    assert_allclose(found.duration_s, [0.4, 0.1], atol=1e-9)
    assert_allclose(found.size_mm, [2.0, 2.0], atol=6 * sigma + 1e-12)
    assert found.moved.tolist() == [[False, True], [True, True]]
    assert found.blocks.tolist() == [1, 2]
    assert_allclose(found.waiting_s, [6.6], atol=1e-9)
    assert len(slips(staircase(sigma), quiet_frames=100)) == 1


def test_a_slow_pull_against_static_friction_slips_in_jumps():
    model = ChainModel(1, 1.0, 0.1, 0.1, static_ratio=2.0, mass=0.05, damping=0.2, dt=0.01)
    run = simulate(model, drive.ramp(4.0, 0.01), 40_000, every=5)
    found = slips(run, quiet_frames=3)
    assert len(found) > 8 and (found.block_mm > 0).all()
    settled = found.block_mm[2:, 0]
    assert settled.std() < 0.1 * settled.mean()
    assert found.burstiness() < -0.8  # clockwork
    smooth = slips(simulate(ChainModel(1, 1.0, 0.1, 0.1, mass=0.05, damping=0.2, dt=0.01),
                            drive.ramp(4.0, 0.01), 40_000, every=5), quiet_frames=3)  # fmt: skip
    assert len(smooth) < len(found) / 3  # equal static and kinetic friction: creeping along


def test_slips_of_a_quiet_chain_start_at_the_hand_and_reach_further_each_time():
    run = simulate(ChainModel(dt=0.05), drive.ramp(1.0, 0.001), 20_000, every=20)
    first = [run.time_s[np.flatnonzero(run.joint_mm[:, block, 0] > 0)[0]] for block in (7, 6, 5)]
    assert first == sorted(first)
    assert not slips(run).moved[:, :3].any()


def test_statistics_of_known_sizes():
    rng = np.random.default_rng(1)
    gaps, size = rng.exponential(1, 4000), (1 - rng.random(4000)) ** (-1 / 1.5)
    onset = np.cumsum(gaps)
    one = np.ones((4000, 1))
    from rulerlab.chain.events import Slips

    found = Slips(onset, np.zeros(4000), size, one > 0, one * size[:, None])
    exponent, error = found.size_exponent(1.0)
    assert abs(exponent - 2.5) < 4 * error
    assert error == pytest.approx(1.5 / math.sqrt(4000), rel=0.1)
    assert abs(found.burstiness()) < 0.05
    sizes, share = found.survival()
    assert share[0] == 1 and (np.diff(sizes) >= 0).all()
    with pytest.raises(QualityError):
        found.size_exponent(1e9)


def test_a_run_without_slips_gives_an_empty_list():
    still = Motion(np.arange(5.0), np.zeros((5, 4, 2)), np.zeros((5, 4, 2, 2)))
    found = slips(still)
    assert len(found) == 0 and found.moved.shape == (0, 2)
    with pytest.raises(QualityError):
        found.burstiness()
    with pytest.raises(UsageError):
        slips(Motion(np.zeros(1), np.zeros((1, 3, 2)), np.zeros((1, 3, 2, 2))))


def test_shaking_lubricates_as_the_closed_form_says():
    found = lubrication(np.array([0.0, 0.03, 0.1, 0.3, 1.0]), force=0.05)
    z = (found.friction - found.closed_form) / np.maximum(found.sigma, 1e-12)
    assert np.abs(z[1:]).max() < 4
    assert found.friction[0] == 0.05  # at rest friction is just the force
    assert (np.diff(found.closed_form) < 0).all() and found.friction[-1] < 0.01
    moving = lubrication(np.array([0.0]), force=0.3)
    assert moving.friction[0] == pytest.approx(0.1, abs=1e-9)


def test_friction_in_motion_falls_with_the_spread_of_velocities():
    force, model = 0.01, ChainModel(1, (0.0, 1.0), 0.02, 0.02, noise=0.2, mass=1.0, dt=0.01)
    looks = np.arange(2000, 12_001)
    path = final_profiles(model, drive.force(force), 12_000, chains=64, snapshots=looks)[..., 0]
    velocity = np.diff(path, axis=1) / 0.01
    measured = force - velocity.mean()  # damping is 1
    expected = -rest.mean_friction_in_motion(velocity.mean(), velocity.std(), 0.02, 0.02)
    error = velocity.mean(axis=1).std() / 8
    assert measured == pytest.approx(float(expected), abs=4 * error)
    assert measured < 0.5 * 0.02


def test_slips_and_lubrication_can_be_drawn(tmp_path):
    from matplotlib.figure import Figure

    from rulerlab.chain.figures import plot_lubrication, plot_slips

    figure = Figure()
    left, right = figure.subplots(1, 2)
    plot_slips(slips(staircase()), left)
    plot_lubrication(lubrication(np.array([0.0, 0.1]), force=0.05, repeats=5, steps=50), right)
    figure.savefig(tmp_path / "events.svg")
    assert len(left.lines) == 3  # two slips, one of them of two blocks
    assert "<svg" in (tmp_path / "events.svg").read_text()
