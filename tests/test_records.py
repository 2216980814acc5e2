"""The records and the laws of the load curve: shape numbers, sums, shared errors."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.records import FitResult, LoadCurve, Motion, Parameter, Tracks


def curve_of(loads, covariance=None):
    covariance = np.eye(len(loads)) if covariance is None else covariance
    return LoadCurve.from_loads(np.array(loads, float), covariance, "chain")


def a_covariance(count, *, seed=0, size=0.05):
    root = np.random.default_rng(seed).normal(scale=size, size=(count, count))
    return root @ root.T


# --- the load curve ----------------------------------------------------------------------------

@pytest.mark.parametrize("step", [-0.4, 0.0, 0.25])
@pytest.mark.parametrize("count", [2, 7, 12])
def test_loads_that_rise_in_equal_steps_have_the_published_shape_numbers(count, step):
    curve = curve_of(5.0 + step * np.arange(count))
    assert_allclose(curve.v, abs(step) * np.sqrt((count**2 - 1) / 12), atol=1e-12)
    assert_allclose(curve.c, -(count - 1) * step, atol=1e-12)


def test_a_curve_gives_back_the_loads_it_was_made_of():
    loads, covariance = np.array([0.3, 1.0, -0.2, 2.0]), a_covariance(4)
    curve = curve_of(loads, covariance)
    assert_allclose(curve.loads, loads)
    assert_allclose(curve.load_covariance, covariance, atol=1e-12)
    assert curve.remaining[-1] == 0
    assert_allclose(curve.total, loads.sum())


def test_the_held_end_carries_all_and_the_pulled_end_nothing():
    curve = curve_of([1.0, 2.0, 3.0])
    assert_allclose(curve.remaining, [6, 5, 3, 0])


@pytest.mark.parametrize(("loads", "regime"), [
    ([1, 2, 3, 4], "concave"), ([4, 3, 2, 1], "convex"), ([1, 1.02, 1.01, 1], "linear"),
    ([1, 3, 3, 1], "linear"),
])
def test_the_regime_follows_the_end_loads(loads, regime):
    assert curve_of(loads).regime == regime


def test_shape_numbers_do_not_depend_on_the_scale_of_the_load():
    small, large = curve_of([1, 2, 4]), curve_of([10, 20, 40])
    for name in ("c_normalised", "v_normalised", "r", "regime"):
        assert getattr(small, name) == pytest.approx(getattr(large, name))


def test_equal_loads_fall_in_a_straight_line_and_turned_loads_mirror_the_shape():
    assert curve_of([2.0] * 6).r == pytest.approx(-1)
    loads = np.array([1, 1.5, 2.5, 4])
    assert_allclose(curve_of(loads).c, -curve_of(loads[::-1]).c)
    assert_allclose(curve_of(loads).v, curve_of(loads[::-1]).v)


@pytest.mark.parametrize("name", ["c", "v", "total", "c_normalised", "v_normalised", "r"])
def test_the_error_of_a_shape_number_is_that_of_many_repeated_pulls(name):
    rng = np.random.default_rng(1)
    loads, covariance = np.array([3.0, 4.0, 4.5, 6.0, 7.5]), a_covariance(5, size=0.04)
    values = [getattr(curve_of(sample, covariance), name)
              for sample in rng.multivariate_normal(loads, covariance, size=1500)]
    assert curve_of(loads, covariance).sigma_of(name) == pytest.approx(np.std(values), rel=0.08)


def test_the_probabilities_of_the_regimes_are_those_of_the_spread_of_c():
    sure = curve_of([1, 2, 3, 4], 1e-6 * np.eye(4)).regime_probability()
    assert sure == {"concave": 1.0, "linear": 0.0, "convex": 0.0}
    torn = curve_of([1, 1, 1, 1], 0.2 * np.eye(4)).regime_probability()
    assert sum(torn.values()) == pytest.approx(1)
    assert torn["concave"] == pytest.approx(torn["convex"], abs=0.05)


def test_a_curve_of_wrong_shape_or_origin_is_refused():
    with pytest.raises(ValueError, match=r"covariance has shape \(2, 2\), expected \(3, 3\)"):
        LoadCurve(np.array([2.0, 1.0, 0.0]), np.eye(2), "ruler")
    with pytest.raises(ValueError, match="at least one segment"):
        LoadCurve(np.array([1.0]), np.eye(1), "ruler")
    with pytest.raises(ValueError, match="'rope'"):
        LoadCurve(np.array([1.0, 0.0]), np.eye(2), "rope")


# --- motion ------------------------------------------------------------------------------------

def a_motion(shared=None, frames=3, points=5, sigma=0.1):
    joint = np.zeros((frames, points, 2))
    joint[..., 0] = 10.0 * np.arange(points)
    own = np.broadcast_to(sigma**2 * np.eye(2), (frames, points, 2, 2))
    return Motion(np.arange(frames) / 30, joint, own, shared)


def test_neighbouring_extensions_share_a_joint_and_so_an_error_of_opposite_sign():
    covariance = a_motion().extension_covariance_mm2(1)
    assert_allclose(np.diag(covariance), 0.02)
    assert_allclose(np.diag(covariance, 1), -0.01)
    assert_allclose(np.diag(covariance, 2), 0)
    assert_allclose(covariance.sum(), 0.02)  # the whole length knows only of its two ends


def test_a_common_shift_does_not_touch_extensions_and_a_wrong_scale_stretches_them_all():
    shift, scale = np.zeros((2, 3, 5, 2, 1))
    shift[..., 0, 0] = 0.7
    scale[..., 0, 0] = 0.01 * 10 * np.arange(5)
    own = a_motion().extension_covariance_mm2(0)
    assert_allclose(a_motion(shift).extension_covariance_mm2(0), own, atol=1e-12)
    assert_allclose(a_motion(scale).extension_covariance_mm2(0), own + 0.01, atol=1e-12)
    for motion in (a_motion(), a_motion(scale)):
        assert_allclose(motion.extension_sigma_mm()[0],
                        np.sqrt(np.diag(motion.extension_covariance_mm2(0))))


def test_time_that_does_not_rise_is_refused():
    good = a_motion()
    with pytest.raises(ValueError, match="time_s must rise"):
        Motion(good.time_s[::-1], good.joint_mm, good.covariance_mm2)


def test_tracks_count_what_is_lost_and_refuse_what_is_unknown():
    status = np.array([["detected", "lost"], ["predicted", "lost"], ["edited", "detected"]])
    shape = status.shape
    tracks = Tracks(np.arange(3.0), np.zeros((*shape, 2)), np.zeros((*shape, 2, 2)), status)
    assert_allclose(tracks.share_lost(), [0, 2 / 3])
    with pytest.raises(ValueError, match="'guessed'"):
        Tracks(np.arange(3.0), tracks.position_px, tracks.covariance_px,
               np.where(status == "lost", "guessed", status))


# --- the fit -----------------------------------------------------------------------------------

def a_fit():
    friction = Parameter(0.11, 0.01, 0.09, 0.13, "N")
    return FitResult("coulomb", {"friction_force_N": friction}, True, "")


def test_a_fit_is_asked_by_name_and_names_what_it_has():
    assert a_fit()["friction_force_N"].value == 0.11
    with pytest.raises(KeyError, match="friction_force_N"):
        a_fit()["viscous_N_s_per_m"]


def test_a_fit_checks_the_shape_of_its_correlations():
    with pytest.raises(ValueError, match=r"correlation has shape \(2, 2\), expected \(1, 1\)"):
        FitResult("coulomb", a_fit().parameters, True, "", correlation=np.eye(2))


def test_an_interval_runs_from_low_to_high():
    with pytest.raises(ValueError, match="interval"):
        Parameter(1.0, 0.1, 1.2, 0.8, "N")
