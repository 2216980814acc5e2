"""Laws of trained networks on the digits, and phase diagrams that survive a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import spearmanr

from rulerlab.cli import main
from rulerlab.errors import UsageError
from rulerlab.network import phase
from rulerlab.network.atlas import (
    Cell,
    agreement,
    matched,
    noise_order,
    published_diagram,
    read_phase_csv,
    reference_curves,
)
from rulerlab.network.curve import How, measure_layers
from rulerlab.network.data import digits, gaussian_mixture
from rulerlab.network.phase import PhaseGrid, network_phase
from rulerlab.network.recipe import Recipe
from rulerlab.network.train import train
from rulerlab.records import LoadCurve

NARROW = Recipe(seed=1, width=64)  # as wide as the digits have pixels; else the published recipe
KNOBS = {"dropout": (0.0, 0.14, 0.28), "data-noise": (0.0, 0.5), "learning-rate": (1e-3, 2e-2),
         "batch": (20.0, 1280.0)}  # fmt: skip


@pytest.fixture(scope="module")
def maps(tmp_path_factory):
    """c~ by knob, alpha and value on small grids of one seed."""
    found = {}
    for knob, values in KNOBS.items():
        alphas = (0.0, 0.4, 1.0) if knob == "dropout" else (0.0, 1.0)
        table = network_phase(PhaseGrid(knob, values, alphas, 1, NARROW), digits(),
                              tmp_path_factory.mktemp(knob))  # fmt: skip
        found[knob] = {(cell.alpha, cell.value): cell.c_normalised for cell in table.cells()}
    return found


def test_t14_relu_networks_trained_without_noise_are_concave(maps):
    assert -0.35 <= maps["dropout"][0.0, 0.0] <= -0.15
    assert -0.35 <= maps["batch"][0.0, 1280.0] <= -0.15


@pytest.mark.parametrize("knob", KNOBS)
def test_t15_every_kind_of_noise_bends_the_curve_toward_convex(maps, knob):
    for alpha in sorted({alpha for alpha, _ in maps[knob]}):
        values = np.array(KNOBS[knob])
        c = np.array([maps[knob][alpha, value] for value in values[noise_order(knob, values)]])
        assert (np.diff(c) < 0.02).all(), f"alpha {alpha}: {c}, strongest noise first"


@pytest.mark.parametrize("knob", KNOBS)
def test_t15_less_nonlinearity_bends_the_curve_toward_convex(maps, knob):
    for value in KNOBS[knob]:
        alphas = sorted({alpha for alpha, _ in maps[knob]})
        c = np.array([maps[knob][alpha, value] for alpha in alphas])
        assert (np.diff(c) > -0.02).all(), f"{knob} {value}: {c}, ReLU first"


def curves(recipe, *, seeds=2):
    data = digits()
    how = How(measures=("trace", "pseudo_inverse"), errors=False)
    recipes = [replace(recipe, seed=seed) for seed in range(1, seeds + 1)]
    return [measure_layers(trained.model, (data.features, data.labels), how).curves
            for trained in train(recipes, data)]  # fmt: skip


def test_t16_linear_networks_with_dropout_are_convex_by_trace_and_flat_by_pseudo_inverse():
    found = curves(replace(NARROW, alpha=1.0, dropout=0.28))
    assert np.mean([one["trace"].c_normalised for one in found]) == pytest.approx(0.45, abs=0.1)
    assert all(abs(one["pseudo_inverse"].total) < 0.3 for one in found)


def test_t18_each_layer_reduces_the_fuzziness_by_the_same_factor():
    for one in curves(replace(NARROW, dropout=0.1)):
        assert one["pseudo_inverse"].r <= -0.99 and one["pseudo_inverse"].total > 3


def test_t19_the_law_fails_without_batch_norm_and_for_linear_networks():
    plain = curves(replace(NARROW, batch_norm=False))
    assert all(one["pseudo_inverse"].r > 0 for one in plain)  # the fuzziness even rises
    linear = curves(replace(NARROW, alpha=1.0))
    assert all(one["pseudo_inverse"].r > -0.97 for one in linear)
    assert all(abs(one["pseudo_inverse"].total) < 0.5 for one in linear)


def small(**changes):
    grid = {"knob": "dropout", "values": (0.0, 0.2), "alphas": (0.0, 1.0), "seeds": 2,
            "recipe": Recipe(seed=1, width=12, depth=4, epochs=5)} | changes  # fmt: skip
    return PhaseGrid(**grid)


CLOUDS = gaussian_mixture(samples=300, features=10)


def test_a_larger_grid_keeps_the_networks_that_are_there(tmp_path, monkeypatch):
    network_phase(small(), CLOUDS, tmp_path)
    asked = []

    def counted(recipes, *args, **kwargs):
        asked.extend(recipes)
        return train(recipes, *args, **kwargs)

    monkeypatch.setattr(phase, "train", counted)
    table = network_phase(small(values=(0.0, 0.1, 0.2), seeds=3), CLOUDS, tmp_path)
    assert len(table.value) == 18 and len(asked) == 10
    assert {recipe.dropout for recipe in asked if recipe.seed < 3} == {0.1}
    once = tmp_path / "once"
    once.mkdir()
    network_phase(small(values=(0.0, 0.1, 0.2), seeds=3), CLOUDS, once)
    assert (once / "phase.csv").read_text() == (tmp_path / "phase.csv").read_text()


def test_a_row_that_was_cut_short_is_trained_again(tmp_path):
    network_phase(small(), CLOUDS, tmp_path)
    whole = (tmp_path / "phase.csv").read_text()
    for cut in (len(whole) - 30, len(whole) - 1, whole.index("\n") + 3, 4):
        (tmp_path / "phase.csv").write_text(whole[:cut])
        network_phase(small(), CLOUDS, tmp_path)
        assert (tmp_path / "phase.csv").read_text() == whole


def test_answers_to_different_questions_are_not_mixed(tmp_path):
    network_phase(small(), CLOUDS, tmp_path)
    for other in (small(knob="data-noise"), small(recipe=Recipe(seed=1, width=9, depth=4))):
        with pytest.raises(UsageError, match="another recipe or other data"):
            network_phase(other, CLOUDS, tmp_path)
    with pytest.raises(UsageError, match="other data"):
        network_phase(small(), gaussian_mixture(samples=300, features=10, seed=2), tmp_path)


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["phase", "network", *arguments])
    return stop.value.code or 0


ASKED = ["--knob", "dropout", "--values", "0,0.1,0.2,0.3", "--alphas", "0,1", "--seeds", "2",
         "--data", "digits", "--width", "32", "--depth", "4", "--epochs", "60",
         "--threads", "1"]  # fmt: skip


def rows(path):
    return path.read_text().count("\n") - 1 if path.exists() else 0


def test_a_run_killed_at_half_computes_only_what_is_missing_and_ends_as_the_same_file(
    tmp_path, capsys, monkeypatch
):
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = subprocess.Popen(
        [sys.executable, "-m", "rulerlab", "phase", "network", *ASKED, "-o", str(killed)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 120
    while rows(killed / "phase.csv") < 8 and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    there = rows(killed / "phase.csv")
    assert 8 <= there < 16
    before = (killed / "phase.csv").read_text().splitlines()[1 : there + 1]
    asked = []

    def counted(recipes, *args, **kwargs):
        asked.extend(recipes)
        return train(recipes, *args, **kwargs)

    monkeypatch.setattr(phase, "train", counted)
    assert run(*ASKED, "-o", str(killed)) == 0
    assert len(asked) == 16 - there
    assert run(*ASKED, "-o", str(whole)) == 0
    assert len(asked) == 32 - there
    assert (killed / "phase.csv").read_text() == (whole / "phase.csv").read_text()
    assert set(before) <= set((killed / "phase.csv").read_text().splitlines())
    capsys.readouterr()


def test_phase_network_leaves_a_table_and_a_figure_and_says_how_it_compares(tmp_path, capsys):
    asked = [*ASKED[:2], "--values", "0,0.28", *ASKED[4:], "-o", str(tmp_path / "map")]
    assert run(*asked, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema_version"] == 1 and len(said["cells"]) == 4
    assert said["published"]["cells"] == 4 and 0 < said["published"]["r"] <= 1
    head, *lines = (tmp_path / "map" / "phase.csv").read_text().splitlines()
    assert head == "knob,value,alpha,seed,accuracy,c_normalised,v_normalised,D_0,D_1,D_2,D_3"
    first = dict(zip(head.split(","), lines[0].split(","), strict=True))
    assert (first["knob"], first["value"], first["alpha"], first["seed"]) == ("dropout", "0", "0",
                                                                              "1")  # fmt: skip
    assert 60 < float(first["accuracy"]) <= 100
    remaining = np.array([float(first[f"D_{place}"]) for place in range(4)])
    share = -np.diff(remaining) / (remaining[0] - remaining[-1])
    assert float(first["c_normalised"]) == pytest.approx(share[0] - share[-1], abs=1e-4)
    assert float(first["v_normalised"]) == pytest.approx(share.std(), abs=1e-4)
    assert "<svg" in (tmp_path / "map" / "phase.svg").read_text()
    beside = np.genfromtxt(tmp_path / "map" / "published.csv", delimiter=",", names=True)
    assert_allclose(beside["c_normalised_published"], [-0.24, 0.14, 0.19, 0.49], atol=0.02)
    assert run(*asked) == 0 and "alpha down, dropout across" in capsys.readouterr().out
    assert run(*asked, "--width", "9") == 2 and "--force" in capsys.readouterr().err


@pytest.mark.parametrize("wrong, code", [
    (["--knob", "colour"], 2), (["--knob", "dropout", "--values", "a"], 2),
    (["--knob", "dropout", "--values", "1.5"], 2), (["--knob", "batch", "--values", "20.5"], 2),
    (["--knob", "dropout", "--data", "nowhere"], 3),
])  # fmt: skip
def test_phase_network_refuses_nonsense_in_one_line(tmp_path, capsys, wrong, code):
    assert run(*wrong, "-o", str(tmp_path / "map")) == code
    assert capsys.readouterr().err.strip()


@pytest.mark.parametrize("knob", KNOBS)
def test_t17_in_the_shipped_diagrams_accuracy_follows_the_evenness_of_the_load(knob):
    for cells in (reference_curves(), published_diagram()):
        own = [cell for cell in cells if cell.knob == knob]
        assert len(own) == 48
        numbers = np.array([[cell.accuracy, cell.v_normalised] for cell in own])
        assert spearmanr(*numbers.T).statistic < -0.6
        best = own[int(numbers[:, 0].argmax())]
        even = max(cell.accuracy for cell in own if abs(cell.c_normalised) <= 0.12)
        assert even >= best.accuracy - 0.1  # per cent: half a picture of the digits


@pytest.mark.parametrize("knob", KNOBS)
def test_the_shipped_diagrams_agree_with_the_published_ones(knob):
    own = [cell for cell in reference_curves() if cell.knob == knob]
    found = agreement(matched(own, published_diagram()))
    assert found.cells == 48 and found.r > 0.88 and found.difference < 0.08


def test_a_network_of_the_shipped_table_comes_out_again():
    (trained,) = train([replace(NARROW, seed=2, alpha=0.4, dropout=0.2)], digits())
    c = phase.load_curve(trained.model, (digits().features, digits().labels), errors=False)
    cell = next(cell for cell in reference_curves()
                if (cell.knob, cell.value, cell.alpha) == ("dropout", 0.2, 0.4))
    assert_allclose(c.remaining, cell.networks[1], atol=0.1)


def test_noise_is_strongest_for_the_smallest_batch():
    assert_allclose(noise_order("batch", np.array([20, 5, 80])), [1, 0, 2])
    assert_allclose(noise_order("dropout", np.array([0.1, 0.3, 0.2])), [1, 2, 0])


def test_the_covariance_of_a_cell_is_that_between_its_seeds(tmp_path):
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(5, 5)) * 0.1
    lines = ["knob,value,alpha,seed,accuracy,c_normalised,v_normalised,D_0,D_1,D_2,D_3,D_4"]
    for value in range(30):
        for seed in range(4):
            curve = np.array([4.0, 3, 2, 1, 0]) + value + shape @ rng.normal(size=5)
            lines.append(",".join(map(str, ["dropout", value, 0, seed, 90, 0.1, 0.1, *curve])))
    lines.append("dropout,99,0,1,10,nan,nan,nan,nan,nan,nan,nan")  # training diverged
    (tmp_path / "phase.csv").write_text("\n".join(lines) + "\n")
    cells = list(read_phase_csv(tmp_path / "phase.csv").cells())
    assert len(cells) == 30 and all(cell.seeds == 4 for cell in cells)
    mean = np.mean([cell.curve.covariance for cell in cells], axis=0)
    assert_allclose(mean, shape @ shape.T, atol=0.25 * np.trace(shape @ shape.T))
    assert all(np.linalg.eigvalsh(cell.curve.covariance)[0] > 0 for cell in cells)


def test_agreement_counts_only_settings_that_both_hold():
    def cell(value, c):
        curve = LoadCurve(np.array([1.0, 0.0]), np.zeros((2, 2)), "network")
        return Cell("dropout", value, 0.0, 90.0, c, 0.1, np.ones((1, 2)), curve)

    found = agreement(matched([cell(0.0, 0.1), cell(0.1, 0.3), cell(0.7, 9.0)],
                              [cell(0.0, 0.2), cell(0.1, 0.4), cell(0.2, 0.5)]))  # fmt: skip
    assert (found.cells, round(found.r, 9), round(found.difference, 9)) == (2, 1.0, 0.1)
    assert np.isnan(agreement(matched([cell(0.0, 0.1)], [cell(0.5, 0.1)])).r)
