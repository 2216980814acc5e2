"""The rigid folding ruler."""

import json
import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.chain.opening import opening, opening_map, unevenness
from rulerlab.chain.ruler import Hand, RulerModel, jerky, pull, shaken, steady
from rulerlab.cli import main
from rulerlab.errors import QualityError, UsageError

# A ruler pulled slowly in an independent physics engine (MuJoCo): its parameters, and how far
# each section had opened at the end.
REFERENCE = RulerModel(
    sections_mm=(58.961, *[117.921] * 8, 58.961, 143.313),
    mass_kg=(0.002215, *[0.00443] * 8, 0.002215, 0.005384),
    hinge_friction_Nm=(0.000692, 0.001450, 0.001516, 0.001522, 0.001342, 0.001286, 0.001355,
                       0.001423, 0.001400, 0.001393, 0.001351),
    table_friction_N=(0.006015, *[0.012031] * 8, 0.006015, 0.014621),
    hinge_viscous_Nms=1.16e-6,
)  # fmt: skip
REFERENCE_ANGLES = (1.5174, -1.4979, 1.5153, -1.5006, 1.5074, -1.4974, 1.5111, -1.5176, 1.5087,
                    -1.4986, 0.0840)  # fmt: skip
REFERENCE_OPENED = (0.0, 0.0, 0.0, 0.0, 0.0, 0.3, 0.2, 43.5, 80.4, 22.6, -3.5)
REFERENCE_PULL = steady(143.6, 29.93)


def opened(motion):
    extension = motion.extension_mm()
    return extension[-1] - extension[0]


@pytest.mark.parametrize("inertia", [False, True])
def test_a_slow_pull_opens_the_ruler_as_an_independent_engine_says(inertia):
    run = pull(REFERENCE, np.array(REFERENCE_ANGLES), REFERENCE_PULL, inertia=inertia)
    total = sum(REFERENCE_OPENED)
    assert np.abs(opened(run) - REFERENCE_OPENED).max() < 0.08 * total


@pytest.mark.parametrize("inertia", [False, True])
def test_t21_a_slow_pull_opens_only_near_the_hand(inertia):
    model = RulerModel.of_wood()
    loads = opening(pull(model, model.folded(), steady(140, 40), inertia=inertia)).loads
    assert unevenness(loads, per="section") > 1.5
    assert unevenness(loads) > 1.2
    assert loads[:5].sum() < 0.02 * loads.sum()


def test_t21_shaking_the_board_opens_it_evenly():
    model = RulerModel.of_wood(hinge_Nm=0.0005, table_mu=0.1)
    found = [opening(pull(model, model.folded(), shaken(300, 40, 0.6, seed=seed))).loads
             for seed in range(3)]  # fmt: skip
    assert all(unevenness(loads) < 0.5 for loads in found)
    assert unevenness(np.mean(found, axis=0), per="section") < 0.5


def test_jerks_of_the_hand_alone_even_it_out_less_than_shaking_the_board():
    model = RulerModel.of_wood(hinge_Nm=0.0005, table_mu=0.1)
    jerked = opening(pull(model, model.folded(), jerky(300, 40, 30, 5))).loads
    shaking = opening(pull(model, model.folded(), shaken(300, 40, 0.6))).loads
    assert unevenness(shaking) < 0.5 < unevenness(jerked) < 1.2


def test_sections_keep_their_length_and_the_end_follows_the_hand():
    model = RulerModel.of_wood()
    hand = shaken(300, 150, 1.0, seed=3)
    run = pull(model, model.folded(), hand)
    length = np.hypot(*np.moveaxis(np.diff(run.joint_mm, axis=1), -1, 0))
    assert_allclose(length, np.tile(model.sections_mm, (len(run.time_s), 1)), rtol=1e-9)
    board = np.stack([np.interp(run.time_s, hand.time_s, b) for b in hand.board_mm.T], axis=1)
    wanted = run.joint_mm[0, -1] + np.stack([150 * run.time_s, 0 * run.time_s], axis=1)
    reached = run.joint_mm[:, -1] + board - board[0]
    assert_allclose(reached[1:-1], wanted[1:-1], atol=0.5)


def test_a_quiet_ruler_does_not_know_the_speed_and_a_slow_one_is_quiet():
    model = RulerModel.of_wood(4)
    slow = pull(model, model.folded(), steady(150, 20), inertia=False, dt_s=0.004)
    fast = pull(model, model.folded(), steady(150, 400), inertia=False, dt_s=0.0002)
    assert_allclose(slow.joint_mm[-1], fast.joint_mm[-1], atol=1e-3)
    heavy = pull(model, model.folded(), steady(150, 20), inertia=True)
    assert_allclose(heavy.joint_mm[-1], slow.joint_mm[-1], atol=0.08 * 150)
    quick = pull(model, model.folded(), steady(150, 2000), inertia=True, dt_s=0.0002)
    assert np.abs(quick.joint_mm[-1] - slow.joint_mm[-1]).max() > 0.1 * 150


def test_only_the_ratio_of_frictions_matters_without_inertia():
    light = RulerModel.of_wood(4, hinge_Nm=0.001, table_mu=0.2)
    strong = RulerModel.of_wood(4, hinge_Nm=0.003, table_mu=0.6)
    one = pull(light, light.folded(), steady(120, 30), inertia=False)
    two = pull(strong, strong.folded(), steady(120, 30), inertia=False)
    assert_allclose(one.joint_mm, two.joint_mm, atol=1e-3)


def test_a_free_swinging_ruler_keeps_its_energy_and_friction_takes_it():
    def kinetic(run, model):
        length = np.array(model.sections_mm) / 1000
        arm = np.diff(run.joint_mm, axis=1) / 1000
        rate = np.gradient(np.unwrap(np.arctan2(arm[..., 1], arm[..., 0]), axis=0),
                           run.time_s, axis=0)  # fmt: skip
        middle = (run.joint_mm[:, :-1] + run.joint_mm[:, 1:]) / 2000
        speed = np.gradient(middle, run.time_s, axis=0)
        mass = np.array(model.mass_kg)
        return (mass * ((speed**2).sum(-1) + (length * rate) ** 2 / 12) / 2).sum(-1)

    time = np.array([0.0, 0.05, 0.3])
    hand = Hand(time, np.array([[0.0, 0.0], [60.0, 0.0], [60.0, 0.0]]))
    free = RulerModel.of_wood(3, hinge_Nm=0.0, table_mu=0.0)
    energy = kinetic(pull(free, free.folded(40), hand, dt_s=2e-5, every=50), free)
    later = energy[70:-5]
    assert later.min() > 0 and later.std() / later.mean() < 0.05
    held = RulerModel.of_wood(3, hinge_Nm=0.01, table_mu=0.5)
    assert kinetic(pull(held, held.folded(40), hand, every=1), held)[-20:].max() < 1e-6


def test_a_pull_beyond_the_ruler_and_wrong_numbers_are_refused():
    model = RulerModel.of_wood()
    with pytest.raises(QualityError, match="reaches"):
        pull(model, model.folded(), steady(5000, 100))
    with pytest.raises(UsageError, match="values for"):
        RulerModel((1.0, 2.0), (1.0,), (0.0, 0.0), (0.0, 0.0))
    with pytest.raises(UsageError, match="too short"):
        shaken(1.0, 1000.0, 1.0)


def test_unevenness_of_known_openings():
    assert unevenness(np.full(6, 2.0)) == unevenness(np.full(6, 2.0), per="section") == 0
    assert unevenness(np.array([1.0, 3, 2, 2])) == 0
    assert unevenness(np.array([0.0, 0, 0, 4]), per="section") == pytest.approx(math.sqrt(3))


def test_the_map_finds_the_even_opening_between_stillness_and_wild_shaking():
    found = opening_map(RulerModel.of_wood(), shake_mm=(0.0, 0.6, 2.5), speed_mm_s=(60.0,),
                        friction=(0.5,), repeats=2)  # fmt: skip
    calm, right, wild = found.fold[0, 0]
    assert calm > 1 and right < 0.5 < wild
    assert found.even().tolist() == [[[False, True, False]]]


def test_phase_ruler_writes_its_map(tmp_path, capsys):
    out = tmp_path / "map"
    options = ["phase", "ruler", "-o", str(out), "--shake", "0,1", "--speed", "600",
               "--friction", "1", "--repeats", "1", "--json"]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        main(options)
    found = json.loads(capsys.readouterr().out)
    assert not stop.value.code and np.shape(found["fold"]) == (1, 1, 2)
    assert len((out / "ruler.csv").read_text().splitlines()) == 3
    assert "<svg" in (out / "ruler.svg").read_text()
