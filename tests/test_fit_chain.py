"""Friction and noise of rulers and unknown springs, from known truth."""

import json
import math

import numpy as np
import pytest

from rulerlab.chain import drive, rest
from rulerlab.chain.foretell import Law, Seen, foretell, free_run
from rulerlab.chain.mean import mean_profiles
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import extensions, final_profiles, load_curve, simulate
from rulerlab.cli import main
from rulerlab.errors import QualityError, UsageError
from rulerlab.fit import mixture, sampling
from rulerlab.fit.calibration import calibrate
from rulerlab.fit.dimensionless import (
    AXES,
    fit_chain,
    law_at,
    predict,
    predicted_curve,
    prepare,
    relative_length,
    travelled,
)
from rulerlab.fit.nearest import nearest_chain
from rulerlab.fit.profile import fit_profile
from rulerlab.fit.profile import predicted_curve as closed_form
from rulerlab.fit.rates import Rates
from rulerlab.fit.sampling import Axis
from rulerlab.fit.several import fit_chains
from rulerlab.fit.stored import as_dict, read_fit
from rulerlab.records import FitResult, LoadCurve, Motion, Parameter
from rulerlab.segments import load_curve as measured_curve
from rulerlab.store import json_text

PULL_MM, SECONDS = 200.0, 5.0


def filmed(
    noise: float = 0.0, *, right: float = 0.05, left: float = 0.07, tau: float = 0.08,
    blocks: int = 5, seed: int = 1, pull: float = 1.0, sigma_mm: float = 0.1, frames: int = 75,
) -> Motion:
    """A chain that rests, is pulled and held, as a camera sees it."""
    model = ChainModel(blocks, 1.0, right, left, noise=noise, damping=tau, dt=tau / 50)
    steps = math.ceil(1.5 / model.dt)
    hand = drive.Drive(np.array([0.15, 1.15]), np.array([0.0, pull]))
    true = simulate(model, hand, steps, every=max(1, steps // frames), seed=seed)
    rng = np.random.default_rng(seed)
    joint = PULL_MM * true.joint_mm
    joint = joint + sigma_mm * rng.standard_normal(joint.shape)
    error = np.broadcast_to(sigma_mm**2 * np.eye(2), (*joint.shape, 2)).copy()
    return Motion(SECONDS * true.time_s, joint, error)


@pytest.fixture(scope="module")
def quiet():
    return filmed()


@pytest.fixture(scope="module")
def quiet_fit(quiet):
    return fit_chain(quiet)


@pytest.fixture(scope="module")
def shaken_fit():
    return fit_chain(filmed(0.06))


def seen_of(motion: Motion, scale: float = PULL_MM) -> Seen:
    """The motion of `filmed` in units of the pull, without the help of the fit."""
    x = motion.joint_mm[..., 0] / scale
    frames, points = x.shape
    variance = motion.covariance_mm2[..., 0, 0] / scale**2 + 1e-8
    return Seen(motion.time_s / SECONDS, x[:, 0], x[:, -1], np.zeros(frames),
                np.abs(np.diff(x[:, -1], prepend=0.0)).cumsum(), x[:, 1:-1].copy(),
                variance[:, 1:-1].copy(), np.zeros((frames, points, 0)), np.ones(points - 1),
                np.zeros(points - 2), np.zeros((0, points - 2)), np.zeros(points - 2))  # fmt: skip


def test_the_free_run_is_the_mean_chain_of_the_phase_diagram():
    motion = filmed(sigma_mm=0.0)
    law = Law(0.05, 0.07, 0.1, 0.08, 0.001, 0.0)
    model = ChainModel(5, 1.0, 0.05, 0.07, noise=0.1, damping=0.08, dt=0.001)
    time = float(motion.time_s[-1] / SECONDS)
    hand = drive.Drive(np.array([0.15, 1.15]), np.array([0.0, 1.0]))
    mean = mean_profiles(model, hand, time, dt=0.002)[0, 0]
    assert free_run(seen_of(motion), law)[-1] == pytest.approx(mean, abs=5e-4)


def test_without_noise_the_free_run_ends_in_the_closed_form():
    law = Law(0.05, 0.07, 0.0, 0.01, 0.001, 0.0)
    end = free_run(seen_of(filmed(sigma_mm=0.0)), law)[-1]
    loads = np.diff(np.concatenate([[0.0], end, [1.0]]))
    assert loads == pytest.approx(rest.rest_extensions(5, 1.0, 0.05), abs=1e-3)


@pytest.mark.parametrize("noise", [0.0, 0.03, 0.1])
def test_surprises_of_the_true_law_are_standard_normal(noise):
    found = foretell(seen_of(filmed(noise, sigma_mm=0.1)), Law(0.05, 0.07, noise, 0.08, 0.0016, 0))
    assert 0.8 < np.nanstd(found.score) < 1.2
    assert abs(np.nanmean(found.score)) < 0.15


def test_a_wrong_law_is_less_likely_than_the_true_one():
    seen, true = seen_of(filmed(0.05)), Law(0.05, 0.07, 0.05, 0.08, 0.0016, 0.0)
    likely = foretell(seen, true).log_likelihood
    for name in ("friction_right", "noise", "tau", "kick"):
        wrong = true._replace(**{name: 2.5 * getattr(true, name)})
        assert foretell(seen, wrong).log_likelihood < likely - 2, name


def test_a_lost_point_is_left_out_and_nothing_else_changes():
    seen, law = seen_of(filmed(0.03)), Law(0.05, 0.07, 0.03, 0.08, 0.0016, 0.0)
    seen.place[10:20, 2] = np.nan
    found = foretell(seen, law)
    assert np.isnan(found.score[10:20, 2]).all()
    assert np.isfinite(found.log_likelihood)
    assert 0.8 < np.nanstd(found.score) < 1.2


def test_a_quiet_chain_gives_its_friction_and_bounds_its_noise(quiet_fit):
    friction, noise = quiet_fit["friction_right_over_k"], quiet_fit["noise_over_k"]
    assert quiet_fit.valid
    assert friction.bound == "" and friction.low95 <= 0.05 <= friction.high95
    assert friction.sigma < 0.001
    assert noise.bound == "upper" and noise.high95 < 0.01


def test_friction_to_the_left_of_a_chain_that_only_moved_right_is_no_number(quiet_fit):
    left = quiet_fit["friction_left_over_k"]
    assert left.bound and math.isinf(left.sigma)
    assert left.low95 <= 0.07 <= left.high95


def test_a_shaken_chain_gives_friction_noise_and_time_scale(shaken_fit):
    assert shaken_fit.valid
    for name, true in [("friction_right_over_k", 0.05), ("friction_left_over_k", 0.07),
                       ("noise_over_k", 0.06)]:  # fmt: skip
        assert shaken_fit[name].low95 <= true <= shaken_fit[name].high95, name
    assert shaken_fit["noise_over_k"].low95 > 0.01


def test_two_parameters_that_move_only_together_are_a_ridge():
    rng = np.random.default_rng(0)
    along = rng.uniform(0.3, 0.7, 500)
    place = np.column_stack([along, 1 - along + 0.001 * rng.standard_normal(500),
                             0.5 + 0.01 * rng.standard_normal(500)])  # fmt: skip
    axes = tuple(Axis(name, "1", 0.01, 1.0) for name in "abc")
    found = sampling.parameters(axes, place, place[0])
    assert [found[name].bound for name in "abc"] == ["ridge", "ridge", ""]
    assert math.isinf(found["a"].sigma) and math.isfinite(found["c"].sigma)


def test_an_axis_returns_the_place_of_its_value():
    for axis in (Axis("a", "1", 0.01, 1.0), Axis("b", "1", 0.01, 1.0, zero=False)):
        for place in (0.1, 0.5, 0.9):
            assert axis.place(float(axis.value(place))) == pytest.approx(place)
    assert Axis("a", "1", 0.01, 1.0).value(0.0) == 0


def test_coordinates_of_rates_lead_back_to_the_chain_and_their_volume_is_the_jacobian():
    rates, place = Rates(AXES), np.random.default_rng(0).uniform(0.02, 0.98, (200, 6))
    along, volume = rates.along(place)
    back, same = rates.back(along)
    assert back == pytest.approx(place, abs=1e-6)
    assert same == pytest.approx(volume, abs=1e-4)
    step = 1e-6 * np.maximum(np.abs(along), 1)
    slopes = np.stack([
        (rates.back(along + move)[0] - rates.back(along - move)[0]) / (2 * step[:, [k]])
        for k in range(6) for move in [step * np.eye(6)[k]]
    ], axis=2)  # fmt: skip
    assert np.linalg.slogdet(slopes)[1] == pytest.approx(volume, abs=1e-3)
    beyond = along + [0, 3, 0, 0, 0, 0]  # more mobile than any time scale of the prior allows
    assert np.isneginf(rates.back(beyond)[1]).any()


def test_chains_of_equal_rates_move_alike_whatever_their_friction():
    seen, rates = seen_of(filmed()), Rates(AXES)
    creeps = np.array([[axis.place(value) for axis, value in
                        zip(AXES, (0.2, 0.15, 0.1, 0.03, 0.01, 0.001), strict=True)]])  # fmt: skip
    along = rates.along(creeps)[0]
    along[0, 2] -= 0.4
    other = rates.back(along)[0]
    one, two = law_at(creeps[0]), law_at(other[0])
    assert two.friction_right > 1.4 * one.friction_right
    assert two.tau < 0.6 * one.tau
    assert free_run(seen, two) == pytest.approx(free_run(seen, one), abs=0.01)
    assert np.abs(free_run(seen, one._replace(tau=two.tau)) - free_run(seen, one)).max() > 0.03


def test_a_search_finds_the_thin_end_of_a_curved_needle():
    """A banana of which one end is bent and ten times thinner than the other."""
    def density(place):
        x, y = 6 * place - 3
        return -0.5 * ((y - 0.25 * x**2) / (0.02 * 3.2 ** ((x + 3) / 3))) ** 2

    draws = sampling.sample(density, 2, np.random.default_rng(1), wanted=2000, enough=400)
    x = 6 * draws.place[:, 0] - 3
    width = 3.2 ** ((np.linspace(-3, 3, 600) + 3) / 3)
    thin = width[:100].sum() / width.sum()
    assert draws.enough
    assert (x < -2).mean() == pytest.approx(thin, rel=0.35)


def test_draws_follow_a_known_density_with_two_maxima():
    def density(place):
        one = -0.5 * ((place - [0.2, 0.5]) ** 2 / [0.02**2, 0.1**2]).sum()
        two = -0.5 * ((place - [0.8, 0.5]) ** 2 / [0.02**2, 0.1**2]).sum()
        return np.logaddexp(one, two + math.log(3))

    draws = sampling.sample(density, 2, np.random.default_rng(3), wanted=1000)
    assert draws.enough
    right = draws.place[:, 0] > 0.5
    assert right.mean() == pytest.approx(0.75, abs=0.08)
    assert draws.place[right, 0].std() == pytest.approx(0.02, rel=0.15)
    assert draws.place[:, 1].std() == pytest.approx(0.1, rel=0.1)
    evidence = math.log(4 * 2 * math.pi * 0.02 * 0.1)
    assert draws.log_evidence == pytest.approx(evidence, abs=0.4)


def test_a_search_that_is_cut_short_says_so():
    def narrow(place):
        return -0.5 * float((((place - 0.3) / 1e-4) ** 2).sum())

    short = sampling.sample(narrow, 4, np.random.default_rng(0), most=700)
    assert not short.enough
    whole = sampling.sample(narrow, 4, np.random.default_rng(0))
    assert whole.enough
    assert whole.place.std(axis=0) == pytest.approx(1e-4, rel=0.2)


def test_the_tail_of_the_weights_gives_its_pareto_shape():
    for shape in (0.2, 0.9):
        weight = np.random.default_rng(1).pareto(1 / shape, 20_000) + 1
        assert sampling.tail_shape(weight) == pytest.approx(shape, abs=0.15)


def test_a_mixture_follows_the_draws_and_has_wider_tails():
    rng = np.random.default_rng(2)
    place = rng.standard_normal((1000, 3)) * [1.0, 0.1, 0.01] + [0, 1, 2]
    found = mixture.fitted(place, np.full(1000, 1e-3), 4, rng)
    drawn = found.draw(4000, rng)
    assert np.median(drawn, axis=0) == pytest.approx([0, 1, 2], abs=0.15)
    assert (drawn.std(axis=0) > place.std(axis=0)).all()
    assert (drawn.std(axis=0) < 3 * place.std(axis=0)).all()
    grid = np.linspace(-40, 40, 8001)[:, None]
    alone = mixture.fitted(place[:, :1], np.full(1000, 1e-3), 2, rng)
    assert np.exp(alone.log_density(grid)).sum() * 0.01 == pytest.approx(1, abs=0.01)


def test_a_hand_at_rest_has_no_path_whatever_its_errors():
    rng = np.random.default_rng(0)
    hand = np.concatenate([np.zeros(200), np.linspace(0, 1, 100), np.ones(200)])
    path = travelled(hand + 0.002 * rng.standard_normal(500), 0.002)
    assert path[-1] == pytest.approx(1, abs=0.05)
    assert path[190] < 0.01 and path[-1] - path[310] < 0.01
    there_and_back = np.concatenate([np.linspace(0, 1, 50), np.linspace(1, 0, 50)])
    assert travelled(there_and_back, 0.0)[-1] == pytest.approx(2)


def test_a_chain_that_drifts_before_the_pull_began_without_tension():
    still = filmed(0.0, sigma_mm=0.01)
    drift = still.joint_mm.copy()
    before = int((still.time_s < 0.15 * SECONDS).sum())
    drift[:before, 1:-1, 0] += np.linspace(0, 8, before)[:, None]
    drift[before:, 1:-1, 0] += 8
    moved = Motion(still.time_s, drift, still.covariance_mm2)
    assert prepare(moved).rest[2] == pytest.approx(0, abs=1.2)
    assert prepare(still).rest[2] == pytest.approx(0, abs=0.02)
    stirred = [np.abs(prepare(one).seen.stirred).max() for one in (moved, still)]
    assert stirred[0] > 10 * stirred[1]


def test_a_chain_that_is_shaken_from_the_first_frame_on_is_foretold_as_well_then_as_later():
    motion = filmed(0.1, right=0.3, left=0.001, tau=0.007, blocks=7, frames=110)
    score = foretell(prepare(motion).seen, Law(0.3, 0.001, 0.1, 0.007, 0.00014, 0.0)).score
    assert np.abs(motion.joint_mm[1, 1:-1, 0] - motion.joint_mm[0, 1:-1, 0]).min() > 5
    assert np.nanmean(score[:8] ** 2) < 2
    assert 0.7 < np.nanmean(score[8:] ** 2) < 1.3


def test_a_long_film_costs_no_more_frames_than_a_hundred_and_these_span_it():
    compared = np.isfinite(prepare(filmed(frames=250)).seen.place).any(axis=1)
    assert compared.sum() == 100
    assert compared[0] and compared[-1]
    assert np.ptp(np.diff(np.flatnonzero(compared))) <= 1


def test_the_fitted_chain_runs_through_the_measurement(quiet, quiet_fit):
    off = predict(quiet_fit, quiet) - quiet.extension_mm()
    assert off.shape == quiet.extension_mm().shape
    assert np.nanstd(off) < 0.2
    curve = predicted_curve(quiet_fit, quiet)
    assert curve.loads == pytest.approx(measured_curve(quiet, kind="blocks").loads, abs=0.5)
    assert (np.diagonal(curve.covariance) >= 0).all()


@pytest.mark.slow
def test_lengths_and_times_have_no_say_in_the_result(quiet, quiet_fit):
    larger = Motion(3 * quiet.time_s, 10 * quiet.joint_mm, 100 * quiet.covariance_mm2)
    other = fit_chain(larger)
    for name, one in quiet_fit.parameters.items():
        if not one.bound:
            assert other[name].value == pytest.approx(one.value, abs=3 * one.sigma), name


def test_blocks_that_swing_are_no_overdamped_chain_and_the_message_says_how_far_off():
    model = ChainModel(4, 1.0, 0.01, 0.01, mass=0.02, damping=0.002, dt=0.002)
    true = simulate(model, drive.ramp(1.0, 1.0), 900, every=12)
    error = np.broadcast_to(1e-2 * np.eye(2), (*true.joint_mm.shape, 2)).copy()
    rng = np.random.default_rng(0)
    joint = PULL_MM * true.joint_mm + 0.1 * rng.standard_normal(true.joint_mm.shape)
    found = fit_chain(Motion(SECONDS * true.time_s, joint, error))
    assert not found.valid
    assert "swing" in found.message or "times as far" in found.message


def test_half_sections_count_as_springs_twice_as_stiff():
    length, angle = np.array([0.5, 1, 1, 0.5]), np.radians([80, -80, 80, -80])
    opened = np.linspace(0, 1, 30)[:, None] * np.array([0, 0, 0.5, 1.0])
    steps = length[None, :, None] * np.stack([np.cos(angle - np.sign(angle) * opened),
                                              np.sin(angle - np.sign(angle) * opened)], -1)
    joint = np.concatenate([np.zeros((30, 1, 2)), np.cumsum(steps, axis=1)], axis=1)
    found = relative_length(Motion(np.arange(30.0), 100 * joint, np.zeros((30, 5, 2, 2))))
    assert found / found.max() == pytest.approx(length)


def test_a_motion_without_a_pull_is_refused():
    still = filmed(pull=0.0)
    with pytest.raises(QualityError, match="no pull"):
        fit_chain(still)


def test_no_runs_are_no_rig():
    with pytest.raises(UsageError):
        fit_chains([])


def table(path, motion: Motion) -> str:
    names = [f"p{k}_x_mm" for k in range(motion.joint_mm.shape[1])]
    np.savetxt(path, np.column_stack([motion.time_s, motion.joint_mm[..., 0]]), delimiter=",",
               header=",".join(["time_s", *names]), comments="")  # fmt: skip
    return str(path)


def run(capsys, *words: str) -> tuple[int, dict]:
    """Exit code of `rulerlab fit WORDS --json`, and what it prints, as strict JSON."""
    with pytest.raises(SystemExit) as stop:
        main(["fit", *words, "--json"])

    def refused(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return stop.value.code, json.loads(capsys.readouterr().out, parse_constant=refused)


def test_a_table_of_unknown_springs_gives_numbers_bounds_and_figures(tmp_path, capsys):
    motion = filmed(blocks=3, frames=40)
    code, said = run(capsys, table(tmp_path / "quiet.csv", motion), "-o", str(tmp_path / "out"))
    assert code == 0 and said["schema_version"] == 1 and said["law"] == "chain" and said["valid"]
    right, noise = (said["parameters"][f"{n}_over_k"] for n in ("friction_right", "noise"))
    assert right["low95"] <= 0.05 <= right["high95"] and right["unit"] == "1"
    assert noise["bound"] == "upper" and noise["sigma"] is None and noise["low95"] == 0
    left = said["parameters"]["friction_left_over_k"]
    assert left["bound"] and left["sigma"] is None
    drawn = {path.name for path in (tmp_path / "out" / "plots").iterdir()}
    assert drawn == {f"fit_{name}.{kind}" for kind in ("svg", "png")
                     for name in ("extensions", "residuals", "plane", "posterior")}
    text = (tmp_path / "out" / "fit.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    back = read_fit(tmp_path / "out")
    stored = json.loads(json_text(as_dict(back)))
    assert stored == said
    assert math.isinf(back["noise_over_k"].sigma) and back.samples.shape[1] == 6


def test_several_tables_are_fitted_as_one_chain_and_another_rig_is_told(tmp_path, capsys):
    one, two, other = (
        table(tmp_path / f"{name}.csv", filmed(blocks=2, frames=30, seed=seed, **more))
        for name, seed, more in [("one", 1, {}), ("two", 2, {"pull": 1.4}),
                                 ("other", 3, {"right": 0.08})]
    )  # fmt: skip
    code, said = run(capsys, one, two, "-o", str(tmp_path / "out"))
    assert code == 0 and said["tests"]["runs differ"] > 0.01
    assert [row["run"] for row in said["runs"]] == [one, two]
    together, alone = said["parameters"], said["runs"][0]["parameters"]
    name = "friction_right_over_k"
    assert together[name]["low95"] <= 0.05 <= together[name]["high95"]
    assert together[name]["sigma"] < alone[name]["sigma"]
    assert read_fit(tmp_path / "out").tests["runs differ"] == said["tests"]["runs differ"]
    code, said = run(capsys, one, other)
    assert code == 4 and not said["valid"] and "differ" in said["message"]


def test_runs_of_different_rigs_are_refused_before_any_is_fitted(tmp_path, capsys, monkeypatch):
    chain = table(tmp_path / "chain.csv", filmed(blocks=2, frames=30))
    swing = filmed(blocks=2, frames=30)
    point = table(tmp_path / "point.csv", Motion(swing.time_s, swing.joint_mm[:, 1:2],
                                                 swing.covariance_mm2[:, 1:2]))  # fmt: skip
    monkeypatch.setattr("rulerlab.fit.dimensionless.fit_chain", None)
    with pytest.raises(SystemExit) as stop:
        main(["fit", chain, point])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "point.csv: a single point" in said and "chain.csv: unknown springs" in said


def profile(loads, sigma: float = 0.3, seed: int = 0, **more) -> LoadCurve:
    """Loads measured with independent errors of the joints."""
    joints = len(loads) + 1
    step = np.diff(np.eye(joints), axis=0)
    noise = sigma * np.random.default_rng(seed).standard_normal(joints)
    covariance = sigma**2 * step @ step.T
    return LoadCurve.from_loads(loads + step @ noise, covariance, "blocks", **more)


@pytest.mark.parametrize("friction", [0.02, 0.05, 0.15])
def test_a_known_quiet_profile_gives_its_friction_whatever_part_of_it_moved(friction):
    loads = 200 * rest.rest_extensions(7, 1.0, friction)
    found = fit_profile(profile(loads), quiet=True, discrepancy=0.02)
    one = found["friction_right_over_k"]
    assert found.valid and one.bound == ""
    assert one.low95 <= friction <= one.high95


def test_a_profile_that_may_have_been_shaken_bounds_friction_from_below_only():
    found = fit_profile(profile(200 * rest.rest_extensions(7, 1.0, 0.03)))
    one = found["friction_right_over_k"]
    assert one.bound == "lower" and one.low95 <= 0.03 and math.isinf(one.high95)
    assert found["noise_over_k"].bound == "ridge"


def test_a_convex_profile_needs_friction_to_the_left():
    loads = 200 * rest.stationary_extensions(6, 1.0, 0.01, 0.06)
    found = fit_profile(profile(loads))
    left = found["friction_left_over_k"]
    assert found.valid and left.bound == "lower"
    assert 0 < left.low95 <= 0.06
    assert found["friction_right_over_k"].low95 == 0


def test_a_profile_up_and_down_is_none_of_a_chain_and_the_worst_segment_is_named():
    found = fit_profile(profile(np.array([5, 60, 5, 60, 5, 60.0])))
    assert not found.valid
    assert "segment" in found.message and "rise and fall" in found.message


def test_the_interval_of_the_step_holds_the_truth_as_often_as_it_says():
    inside = 0
    for seed in range(100):
        curve = profile(200 * rest.rest_extensions(6, 1.0, 0.04), sigma=1.0, seed=seed)
        one = fit_profile(curve, quiet=True, discrepancy=0.0)["friction_right_over_k"]
        inside += one.low95 <= 0.04 <= one.high95
    assert 89 <= inside <= 99


def test_half_sections_of_a_ruler_open_half_as_far_and_give_the_same_friction():
    lengths = np.array([0.5, 1, 1, 1, 0.5])
    loads = np.array([0, 12, 24, 36, 24.0])
    found = fit_profile(profile(loads), quiet=True, lengths=lengths)
    assert found.valid
    assert found["friction_right_over_k"].value == pytest.approx(12 / loads.sum(), rel=0.03)
    drawn = closed_form(found, profile(loads), lengths)
    assert drawn.loads == pytest.approx(loads, abs=1.0)
    with pytest.raises(UsageError, match="lengths"):
        fit_profile(profile(loads), lengths=np.ones(3))


def test_nothing_pulled_is_no_profile():
    with pytest.raises(QualityError, match="no profile"):
        fit_profile(LoadCurve.from_loads(np.zeros(4), np.eye(4), "blocks"))


@pytest.mark.parametrize(("friction", "noise"), [(0.1, 0.0), (0.06, 0.03), (0.02, 0.1)])
def test_the_region_of_the_phase_diagram_holds_the_chain_that_made_the_curve(friction, noise):
    model = ChainModel(7, 1.0, friction, 0.1, noise=noise)
    ends = final_profiles(model, drive.step(), 10_000, chains=20, seed=3)
    found = nearest_chain(load_curve(extensions(ends, np.ones(20))))
    row = np.abs(found.friction - friction).argmin()
    column = np.abs(found.noise - noise).argmin()
    near = found.region[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]
    assert found.valid and near.any()
    assert found.curve.total == pytest.approx(1 - found.curve.remaining[-1], abs=0.02)


def test_an_even_curve_lies_on_a_ridge_from_weak_noise_and_friction_to_strong():
    found = nearest_chain(profile(np.full(8, 25.0)), symmetric=True)
    assert found.valid and found.noise_range[1] == found.noise[-1]
    assert found.region.sum() > 0.3 * found.region.size
    assert "no upper limit" in found.message


def test_a_curve_unlike_any_chain_is_placed_with_a_warning_and_a_wide_region():
    found = nearest_chain(profile(np.array([5, 60, 5, 60, 5, 60.0])))
    assert not found.valid and "no chain" in found.message
    assert found.region.mean() > 0.3


def told(value: float, scatter: float, rng: np.random.Generator) -> FitResult:
    draws = value + scatter * rng.standard_normal((200, 1))
    low, high = np.quantile(draws, [0.025, 0.975])
    return FitResult("x", {"a": Parameter(value, scatter, low, high, "1")}, True, "", samples=draws)


def test_calibration_passes_honest_intervals_and_fails_proud_ones():
    def trial(share):
        def one(rng):
            truth = rng.standard_normal()
            return {"a": truth}, told(truth + rng.standard_normal(), share, rng)
        return one

    honest, proud = calibrate(trial(1.0), 300), calibrate(trial(0.5), 300)
    assert honest.flatness()[0] > 0.01 and 0.85 < honest.coverage()[0] < 0.95
    assert proud.flatness()[0] < 0.01 and proud.coverage()[0] < 0.85
    assert "| `a` |" in honest.table()


def test_calibration_counts_refused_runs_and_wants_draws():
    def refuses(rng):
        if rng.random() < 0.5:
            raise QualityError("no pull")
        return {"a": 0.0}, told(0.0, 1.0, rng)

    found = calibrate(refuses, 40)
    assert found.refused + len(found.rank) == 40 and found.refused > 5
    bare = FitResult("x", {"a": Parameter(0, 1, -2, 2, "1")}, True, "")
    with pytest.raises(UsageError, match="draws"):
        calibrate(lambda rng: ({"a": 0.0}, bare), 3)
