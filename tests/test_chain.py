"""The chain obeys its laws; the numbers in the names of T1 to T22 are those of the method page."""

import json
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rulerlab.chain import drive, rest
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import (
    extensions,
    final_profiles,
    load_curve,
    pulled_end,
    simulate,
    step_size_effect,
    streams,
)
from rulerlab.cli import main
from rulerlab.errors import UsageError
from rulerlab.records import Motion

SCRIPT = """--json --blocks 7 --stiffness 1 --friction-right 0.1 --friction-left 0.1 --noise 0.1
 --dt 0.01 --steps 10000 --pull 1 --repeats 20 --seed 0"""
SECOND_ORDER = """--json --order 2 --mass 1 --damping 1 --stiffness 0.1 --friction-right 0.003
 --friction-left 0.004 --dt 0.05 --steps 14000 --repeats 40"""
LANGEVIN = {
    "stiffness": 0.1, "friction_right": 0.003, "friction_left": 0.004, "mass": 1.0, "dt": 0.05,
}  # fmt: skip


def loads(model, steps, pull=None, **knobs):
    """Extensions of all springs at the end, (chains, L+1)."""
    pull = pull or drive.step()
    profiles = final_profiles(model, pull, steps, **knobs)
    return extensions(profiles, pulled_end(model, pull, steps, profiles))


def c_of(springs):
    """First load minus that of the last block, averaged over the runs."""
    return float((springs[:, 0] - springs[:, -2]).mean())


def slide(force, friction_right, friction_left):
    """The dead zone, written once more as a reference."""
    return np.maximum(force - friction_right, 0) + np.minimum(force + friction_left, 0)


@pytest.mark.parametrize("blocks, pull, friction, stiffness",
                         [(7, 1.0, 0.1, 1.0), (7, 1.0, 0.03, 1.0), (5, 2.0, 0.4, 3.0),
                          (20, 1.0, 0.02, 1.0), (3, 1.0, 5.0, 1.0)])  # fmt: skip
def test_t1_quiet_loads_rise_to_the_hand_in_equal_steps(blocks, pull, friction, stiffness):
    model = ChainModel(blocks, stiffness, friction, friction, dt=0.1 / stiffness)
    found = loads(model, 40000, drive.step(pull))[0]
    moved = found > 1e-12
    assert (np.diff(found) > -1e-9).all()
    assert_allclose(found, rest.rest_extensions(blocks, pull, friction, stiffness), atol=1e-8)
    assert moved.sum() == rest.stretched_springs(blocks, pull, friction, stiffness)
    assert_allclose(np.diff(found[moved]), friction / stiffness, atol=1e-8)


def test_t2_the_published_notebook_quiet_and_shaken():
    quiet = final_profiles(ChainModel(), drive.step(), 10000)[0]
    assert_allclose(1 - quiet, [1, 1, 1, 1, 0.9, 0.7, 0.4], atol=1e-6)
    shaken = final_profiles(ChainModel(noise=0.1), drive.step(), 10000, chains=20)
    assert_allclose(1 - shaken, np.tile(1 - np.arange(1, 8) / 8, (20, 1)), atol=0.03)


def test_t3_left_friction_and_pulling_speed_do_not_matter_without_noise():
    reference = loads(ChainModel(friction_left=0.1), 30000)
    assert_array_equal(reference, loads(ChainModel(friction_left=0.7), 30000))
    ramped = loads(ChainModel(), 60000, drive.ramp(1.0, 1 / 300))
    assert_allclose(ramped, reference, atol=1e-8)


def test_t4_equal_friction_and_much_noise_share_the_load_evenly():
    for noise in (0.1, 0.2, 0.4):
        assert abs(c_of(loads(ChainModel(noise=noise), 10000, chains=20))) < 0.02
    falling = [abs(c_of(loads(ChainModel(noise=noise), 10000, chains=20)))
               for noise in (0.02, 0.05, 0.1)]  # fmt: skip
    assert falling == sorted(falling, reverse=True)


@pytest.mark.parametrize("right, left", [(0.1, 0.1), (0.03, 0.1), (0.1, 0.05), (0.0, 0.06)])
def test_t5_after_long_shaking_the_loads_slope_by_half_the_difference_of_friction(right, left):
    model = ChainModel(friction_right=right, friction_left=left, noise=0.1, dt=0.05)
    found = loads(model, 8000, chains=1500, precision="single")
    expected = rest.stationary_extensions(7, 1.0, right, left)
    error = found.std(axis=0) / math.sqrt(len(found))
    assert (np.abs(found.mean(axis=0) - expected) < 4 * error + 4e-4).all()
    c = load_curve(found).c
    assert c == pytest.approx(-6 * rest.stationary_slope(right, left), abs=3e-3)
    assert (c > 0.05) == (left > right + 0.03)


def test_t6_little_noise_stays_concave_near_the_quiet_value():
    quiet = c_of(loads(ChainModel(), 10000))
    shaken = c_of(loads(ChainModel(noise=0.022), 10000, chains=40))
    assert 0.86 <= shaken / quiet <= 0.92


def test_t7_effective_friction_matches_draws_and_asymmetry_is_a_force():
    xi = np.random.default_rng(0).standard_normal(1_000_000)
    for force, noise, right, left in [(0.05, 0.1, 0.1, 0.1), (-0.2, 0.3, 0.05, 0.15)]:
        drawn = slide(force + noise * xi, right, left)
        error = drawn.std() / 1000
        assert rest.mean_slip(force, noise, right, left) == pytest.approx(
            drawn.mean(), abs=4 * error)  # fmt: skip
        assert rest.slip_variance(force, noise, right, left) == pytest.approx(
            drawn.var(), rel=0.02)  # fmt: skip
    for noise, share in [(0.03, 0.00086), (0.1, 0.317), (0.3, 0.739)]:
        slope = rest.mean_slip(1e-6, noise, 0.1, 0.1) / 1e-6
        assert slope == pytest.approx(rest.mobility(noise, 0.1), rel=1e-6)
        assert slope == pytest.approx(share, abs=5e-4)
    force = np.linspace(-1, 1, 101)
    shifted = slide(force - 0.03, 0.07, 0.07)
    assert_allclose(slide(force, 0.1, 0.04), shifted, atol=1e-15)
    assert_allclose(rest.mean_slip(force, 0, 0.1, 0.04), shifted, atol=1e-15)


@pytest.mark.parametrize("blocks", [1, 3, 7])
def test_t8_without_friction_and_noise_all_springs_are_equal(blocks):
    found = loads(ChainModel(blocks, 1.0, 0.0, 0.0, dt=0.2), 5000)
    assert_allclose(found, 1 / (blocks + 1), atol=1e-12)


def test_t9_the_langevin_chain_is_slightly_convex_and_sticks_without_noise():
    common = 0.003 * math.sqrt(7)  # `ones((7, 7)) dW` adds seven Wiener processes on each block
    found = loads(ChainModel(**LANGEVIN, common_noise=common, noise_decay=0.001), 14000, chains=400)
    mean = found.mean(axis=0)
    assert mean[0] == pytest.approx(0.142, abs=0.003)
    assert mean[-1] == pytest.approx(0.108, abs=0.003)
    c = found[:, 0] - found[:, -2]
    assert c.mean() == pytest.approx(0.029, abs=0.004)
    assert c.std() == pytest.approx(0.0145, rel=0.35)
    quiet = loads(ChainModel(**LANGEVIN), 14000)[0]
    assert_allclose(quiet, 0.02 + 0.03 * np.arange(8), atol=1e-3)


def test_t10_a_heavy_chain_overshoots_into_even_loads_only_when_pulled_at_once():
    heavy = {**LANGEVIN, "mass": 100.0, "friction_left": 0.003, "dt": 0.1}
    assert abs(c_of(loads(ChainModel(**heavy), 30000))) < 0.05
    slow = drive.ramp(1.0, 1 / 20000)
    assert c_of(loads(ChainModel(**heavy), 210_000, slow)) == pytest.approx(-0.18, abs=0.01)


def test_t13_c_telescopes_and_an_arithmetic_load_has_the_known_spread():
    springs = 0.05 + 0.02 * np.arange(8)[None]
    curve = load_curve(springs)
    assert curve.c == pytest.approx(springs[0, 0] - springs[0, 6])
    assert curve.c == pytest.approx(-6 * 0.02)
    assert curve.v == pytest.approx(0.02 * math.sqrt((7**2 - 1) / 12))
    assert curve.remaining[-1] == pytest.approx(springs[0, -1])


def test_t22_even_loads_store_the_least_energy():
    rng = np.random.default_rng(1)
    even = rest.elastic_energy(np.full(8, 1 / 8))
    assert even == pytest.approx(1 / 16)
    for load in rng.dirichlet(np.ones(8), size=50):
        assert rest.elastic_energy(load) > even


def test_all_blocks_move_below_the_largest_friction_only():
    edge = rest.largest_friction_that_moves_all(7, 1.0)
    assert edge == pytest.approx(2 / 56)
    assert rest.stretched_springs(7, 1.0, 0.999 * edge) == 8
    assert rest.stretched_springs(7, 1.0, 1.001 * edge) == 7


def test_a_force_on_the_end_loses_one_friction_per_block():
    found = loads(ChainModel(dt=0.1), 20000, drive.force(0.5))[0]
    assert_allclose(found, rest.rest_extensions_by_force(7, 0.5, 0.1), atol=1e-9)
    assert_allclose(found[:7], [0, 0, 0, 0.1, 0.2, 0.3, 0.4], atol=1e-9)


def test_shaking_evens_out_at_the_predicted_rate():
    model = ChainModel(5, 1.0, 0.05, 0.05, noise=0.3, dt=0.02)
    time = rest.equalisation_time(5, 0.3, 0.05)
    found = [
        c_of(loads(model, int(n * time / 0.02), chains=1500, precision="single")) for n in (2, 3)
    ]
    assert found[1] / found[0] == pytest.approx(math.exp(-1), abs=0.06)


def test_the_step_is_the_plain_equation_of_motion():
    rng = np.random.default_rng(3)
    model = ChainModel(5, tuple(rng.uniform(0.5, 2, 6)), tuple(rng.uniform(0, 0.1, 5)),
                       tuple(rng.uniform(0, 0.2, 5)), damping=1.7, dt=0.05)  # fmt: skip
    pull = drive.jerky_ramp(1.0, 0.05, 0.3, 0.2)
    hand, x = pull.sampled(0.05, 400), np.zeros(5)
    for y in hand[:-1]:
        stretch = np.diff(np.concatenate([[0.0], x, [y]]))
        force = np.diff(model.springs() * stretch)
        x = x + 0.05 / 1.7 * slide(force, *map(model.per_block, ("friction_right",
                                                                 "friction_left")))  # fmt: skip
    assert_allclose(final_profiles(model, pull, 400)[0], x, atol=1e-12)


def test_kicks_are_normal_and_independent_between_blocks_steps_and_chains():
    free = ChainModel(4, 0.0, 0.0, 0.0, noise=1.0, dt=1.0)
    paths = final_profiles(free, drive.step(), 50, chains=3000, snapshots=50)
    kicks = np.diff(paths, axis=1, prepend=0).reshape(3000, -1)
    assert abs(kicks.mean()) < 4 / math.sqrt(kicks.size)
    assert kicks.std() == pytest.approx(1, abs=4 / math.sqrt(2 * kicks.size))
    assert (kicks**4).mean() == pytest.approx(3, abs=0.06)
    for limit in (2, 3, 4):
        expected = math.erfc(limit / math.sqrt(2)) * kicks.size
        assert abs((np.abs(kicks) > limit).sum() - expected) < 4.5 * math.sqrt(expected)
    off = np.corrcoef(kicks.T)[np.triu_indices(200, 1)] * math.sqrt(3000)
    assert off.std() == pytest.approx(1, abs=0.05) and np.abs(off).max() < 5.5


def test_common_noise_moves_all_blocks_alike_and_its_amplitude_is_per_block():
    free = ChainModel(3, 0.0, 0.0, 0.0, common_noise=(1.0, 2.0, 0.5), dt=1.0)
    end = final_profiles(free, drive.step(), 1, chains=500)
    assert end[:, 0].std() == pytest.approx(1, abs=0.12)
    assert_allclose(end, end[:, :1] * [1, 2, 0.5], atol=1e-6)
    heavy = ChainModel(3, 0.0, 0.0, 0.0, noise=0.3, common_noise=0.4, mass=2.0, dt=0.25)
    kick = np.diff(final_profiles(heavy, drive.step(), 1, chains=4000, snapshots=1)[:, 0], axis=1)
    velocity = kick[:, 0] / 0.25 * (1 + 0.25 / 2)
    assert velocity.std() == pytest.approx(0.3 * math.sqrt(2 * 0.25), rel=0.05)


def test_common_and_independent_noise_have_the_same_mean_and_other_fluctuations():
    plain = {"friction_right": 0.1, "friction_left": 0.1}
    own = final_profiles(ChainModel(**plain, noise=0.1), drive.step(), 10000, chains=400)
    same = final_profiles(ChainModel(**plain, common_noise=0.1), drive.step(), 10000, chains=400)
    assert_allclose(own.mean(axis=0), same.mean(axis=0), atol=0.004)
    assert same.mean(axis=1).std() / own.mean(axis=1).std() > 1.7


def test_banded_noise_shakes_at_its_frequency_with_unchanged_strength():
    shaken = ChainModel(2, 0.0, 0.0, 0.0, noise=1.0, noise_frequency=5.0, noise_bandwidth=0.5,
                        dt=0.01)  # fmt: skip
    path = final_profiles(shaken, drive.step(), 4000, chains=64, snapshots=4000)
    kicks = np.diff(path, axis=1)[:, 1000:] / 0.01
    power = (np.abs(np.fft.rfft(kicks, axis=1)) ** 2).mean(axis=(0, 2))
    frequency = np.fft.rfftfreq(kicks.shape[1], 0.01)
    assert frequency[power.argmax()] == pytest.approx(5, abs=0.3)
    assert kicks.std() == pytest.approx(1, abs=0.05)
    near = power[np.abs(frequency - 5) < 2].sum() / power.sum()
    assert near > 0.8


@pytest.mark.parametrize("mass", [0.0, 1.0])
def test_a_path_depends_on_seed_and_chain_alone(mass, monkeypatch):
    model = ChainModel(noise=0.1, common_noise=0.05, mass=mass)
    many = final_profiles(model, drive.step(), 301, chains=130, seed=5)
    assert_array_equal(
        many, final_profiles(model, drive.step(), 301, chains=130, seed=5, threads=1))
    few = final_profiles(model, drive.step(), 301, chains=7, first_chain=60, seed=5)
    assert_array_equal(many[60:67], few)
    monkeypatch.setattr("rulerlab.chain.simulate.LANE_STEPS", 3000)  # many short pieces
    assert_array_equal(few, final_profiles(model, drive.step(), 301, chains=7, first_chain=60,
                                           seed=5))  # fmt: skip
    replay = simulate(model, drive.step(), 301, every=7, seed=5, chain=66)
    assert_array_equal(replay.joint_mm[-1, 1:-1, 0], many[66])
    assert not np.allclose(many, final_profiles(model, drive.step(), 301, chains=130, seed=6))


def test_streams_of_different_keys_differ():
    chain, block = np.meshgrid(np.arange(300), np.arange(30))
    state = streams(0, chain.ravel(), block.ravel())
    assert len(np.unique(state.T, axis=0)) == chain.size
    assert (streams(1, chain.ravel(), block.ravel()) != state).any(axis=0).all()


def test_static_friction_holds_a_block_that_kinetic_friction_would_not():
    common = {"blocks": 1, "stiffness": 1.0, "friction_right": 0.1, "friction_left": 0.1}
    for mass in (0.0, 0.01):
        held = ChainModel(**common, static_ratio=3.0, mass=mass)
        assert loads(held, 4000, drive.step(0.29))[0, 0] == 0
        assert loads(held, 4000, drive.step(0.31))[0, 0] == pytest.approx(0.105, abs=0.01)
        assert loads(ChainModel(**common, mass=mass), 4000, drive.step(0.29))[0, 0] > 0.09


def test_a_table_that_moves_steadily_changes_nothing_and_one_that_jerks_does():
    model, time = ChainModel(**LANGEVIN), np.linspace(0, 700, 7001)
    still = drive.Drive(np.array([0.0, 300.0]), np.array([0.0, 1.0]))
    steady = drive.Drive(time, np.interp(time, still.time, still.pull) + 0.01 * time)
    moved = drive.on_moving_table(steady, time, 0.01 * time)
    assert_allclose(loads(model, 14000, moved), loads(model, 14000, still), atol=1e-6)
    shaking = drive.on_moving_table(still, time, 0.2 * np.sin(time))
    assert np.abs(loads(model, 14000, shaking) - loads(model, 14000, still)).max() > 0.01


def test_a_recorded_pull_drives_the_chain(tmp_path):
    time = np.linspace(2, 40, 60)
    joint = np.zeros((60, 3, 2))
    joint[:, 1, 0], joint[:, 2, 0] = 30, 80 + np.linspace(0, 1, 60)
    joint[20, 2] = np.nan
    pull = drive.recorded(Motion(time, joint, np.zeros((60, 3, 2, 2))))
    assert_allclose(pull.sampled(0.5, 100)[[0, 76, 100]], [0, 1, 1], atol=1e-9)
    table = tmp_path / "tracks.csv"
    table.write_text("frame,time_s,p0_x_mm,p0_sigma_x_mm,p1_x_mm\n0,0,1,.1,5\n1,1,1,.1,5.5\n")
    assert_allclose(drive.read(table).pull, [0, 0.5])


def test_jerks_even_out_the_end_less_than_shaking_all_blocks():
    quiet = {**LANGEVIN, "friction_left": 0.003}
    steady = c_of(loads(ChainModel(**quiet), 30000, drive.ramp(1.0, 1 / 1000)))
    jerked = c_of(loads(ChainModel(**quiet), 30000, drive.jerky_ramp(1.0, 1 / 1000, 0.3, 0.02)))
    shaken = c_of(loads(ChainModel(**quiet, noise=0.003), 30000, drive.ramp(1.0, 1 / 1000),
                        chains=50))  # fmt: skip
    assert steady == pytest.approx(-0.18, abs=0.01)
    assert abs(shaken) < abs(jerked) < 0.75 * abs(steady)


def test_a_long_chain_and_many_chains_need_little_memory():
    import tracemalloc

    long = ChainModel(10_000, noise=0.1, dt=0.1)
    final_profiles(long, drive.step(), 1)
    tracemalloc.start()
    final_profiles(long, drive.step(), 300, precision="single")
    long_chain = tracemalloc.get_traced_memory()[1]
    final_profiles(ChainModel(noise=0.1), drive.step(), 100, chains=100_000, precision="single")
    many_chains = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert long_chain < 10e6
    assert many_chains < 100_000 * 7 * 8 + 10e6


def test_single_and_double_precision_agree_with_the_same_kicks():
    model = ChainModel(noise=0.1)
    double = final_profiles(model, drive.step(), 5000, chains=8)
    single = final_profiles(model, drive.step(), 5000, chains=8, precision="single")
    assert_allclose(single, double, atol=2e-5)


def test_a_coarse_step_is_noticed():
    assert step_size_effect(ChainModel(**LANGEVIN), drive.step(), 4000) < 0.01
    rough = ChainModel(7, 1.0, 0.1, 0.1, mass=1.0, damping=0.05, dt=0.9)
    assert step_size_effect(rough, drive.step(), 400) > 0.01


@pytest.mark.parametrize("wrong", [
    {"blocks": 0}, {"friction_right": -1.0}, {"dt": 0.0}, {"dt": 3.0}, {"noise": (1.0, 2.0)},
    {"mass": (1.0, 0.0, 0, 0, 0, 0, 0)}, {"static_ratio": 0.5}, {"noise_frequency": 3.0},
    {"friction_left": float("nan")},
])  # fmt: skip
def test_an_impossible_chain_is_refused(wrong):
    with pytest.raises(UsageError):
        ChainModel(**wrong)


def run(capsys, *arguments):
    """Exit code and what went to stdout."""
    with pytest.raises(SystemExit) as stop:
        main(["simulate", *arguments])
    return stop.value.code or 0, capsys.readouterr()


def test_simulate_prints_one_object_for_scripts(capsys):
    code, said = run(capsys, *SCRIPT.split())
    found = json.loads(said.out)
    assert code == 0 and found["schema_version"] == 1
    assert len(found["extensions"]) == len(found["sigma"]) == 8
    assert sum(found["extensions"]) == pytest.approx(1)
    z = (np.array(found["extensions"]) - 1 / 8) / found["sigma"]
    assert np.abs(z).max() < 5 and found["regime"] == "linear"
    assert found["c"] == pytest.approx(found["extensions"][0] - found["extensions"][6])
    assert found["v"] == pytest.approx(np.std(found["extensions"][:7]))


def test_simulate_second_order_with_common_noise_on_the_command_line(capsys):
    for noise in (["--common-noise", "--noise", "0.008"], ["--common-noise", "0.008"]):
        found = json.loads(run(capsys, *SECOND_ORDER.split(), *noise)[1].out)
        assert found["extensions"][0] > found["extensions"][-1]
        assert found["sigma"][0] > 1.5 * found["sigma"][3]


def test_simulate_writes_the_run_and_says_what_is_wrong(capsys, tmp_path):
    out = tmp_path / "run.csv"
    code, said = run(capsys, "--steps", "200", "--out", str(out), "--every", "50")
    table = np.loadtxt(out, delimiter=",", skiprows=1)
    assert code == 0 and "concave" in said.out and table.shape == (5, 10)
    slipped = tmp_path / "slips.csv"
    jumping = """--order 2 --blocks 1 --mass 0.05 --damping 0.2 --static-ratio 2 --steps 30000
     --speed 0.01 --pull 4 --every 10 --friction-right 0.1"""
    code, _ = run(capsys, *jumping.split(), "--slips", str(slipped))
    listed = np.genfromtxt(slipped, delimiter=",", names=True)
    assert code == 0 and len(listed) > 2 and (listed["blocks"] >= 1).all()
    assert run(capsys, "--friction-right", "0.1,0.2")[0] == 2
    code, said = run(capsys, "--dt", "3")
    assert code == 2 and said.err.count("\n") == 1 and "largest stable" in said.err
    bad = tmp_path / "bad.csv"
    bad.write_text("no,table\nat,all\n")
    assert run(capsys, "--drive-csv", str(bad))[0] == 3
    assert run(capsys, "--common-noise", "loud")[0] == 2


def test_a_place_that_can_not_be_written_costs_speed_but_no_result(monkeypatch):
    from rulerlab.chain import kernels

    def njit(function, **knobs):
        if knobs.get("cache"):
            raise RuntimeError("cannot cache function: no locator available")
        return function

    monkeypatch.setattr(kernels, "njit", njit)
    assert kernels.compiled(math.hypot) is math.hypot
