"""`rulerlab compare` on run folders: contract, pictures, refusals."""

import json

import numpy as np
import pytest

from rulerlab.cli import main
from rulerlab.records import LoadCurve
from rulerlab.store import write_load_curve, write_run_json


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["compare", *map(str, arguments)])
    return stop.value.code or 0


def a_run(folder, loads, *, sigma=0.2, source="blocks", unit="spring"):
    folder.mkdir()
    loads = np.array(loads, float)
    write_load_curve(folder, LoadCurve.from_loads(
        loads, sigma**2 * np.eye(len(loads)), source, unit=unit))
    write_run_json(folder, {})
    return folder


def compared(capsys, *arguments):
    capsys.readouterr()
    assert run(*arguments, "--json") == 0
    return json.loads(capsys.readouterr().out)


def test_a_slow_chain_is_concave_and_finds_its_own_friction(tmp_path, capsys):
    loads = 10.0 * np.arange(1, 8)  # rises by 10 from spring to spring
    found = compared(capsys, a_run(tmp_path / "slow", loads))
    assert found["schema_version"] == 1 and found["regime"] == "concave"
    assert found["c_normalised"] == pytest.approx(-60 / 280)
    assert found["zero_line"]["side"] == "concave"
    chain = found["nearest_chain"]
    assert chain["accepted"]
    low, high = chain["region"]["friction_over_k"]
    assert low <= 10 / 280 <= high and low < chain["friction_over_k"] < 3 * high


def test_an_even_load_is_like_many_networks_and_says_so(tmp_path, capsys):
    found = compared(capsys, a_run(tmp_path / "even", np.full(7, 25.0)))
    assert found["regime"] == "linear" and found["regime_probability"]["linear"] > 0.95
    network = found["nearest_network"]
    assert network["accepted"] and len(network["region"]) > 3
    assert {"alpha", "knob", "value", "distance"} <= set(network)
    assert "does not name one" in network["message"]
    assert "<svg" in (tmp_path / "even" / "plots" / "comparison.svg").read_text()
    assert json.loads((tmp_path / "even" / "comparison.json").read_text()) == found


def test_a_curve_like_no_network_says_why(tmp_path, capsys):
    found = compared(capsys, a_run(tmp_path / "end", [0, 0, 0, 0, 0, 0, 140.0]))
    assert not found["nearest_network"]["accepted"] and not found["nearest_network"]["region"]
    assert "no network of the table" in found["nearest_network"]["message"]


def test_several_runs_are_told_apart_or_not(tmp_path, capsys):
    runs = [a_run(tmp_path / "a", np.full(7, 25.0)), a_run(tmp_path / "b", np.full(7, 25.1)),
            a_run(tmp_path / "c", np.linspace(10, 40, 7))]
    found = compared(capsys, *runs)
    p = [pair["p"] for pair in found["distances"]]
    assert p[0] > 0.05 and max(p[1:]) < 1e-6
    assert run(*runs) == 0
    assert "shares differ by" in capsys.readouterr().out


def test_a_ruler_is_compared_by_its_folds(tmp_path, capsys):
    folder = a_run(tmp_path / "ruler", [-5, 9, -5, 9, -5, 9, -5, 9], source="ruler", unit="section")
    write_load_curve(folder, LoadCurve.from_loads(
        np.full(4, 4.0), 0.04 * np.eye(4), "ruler", unit="fold"), name="load_curve_folds")
    found = compared(capsys, folder)
    assert found["compared_as"]["unit"] == "fold" and found["compared_as"]["parts"] == 4
    assert found["zero_line"]["side"] == "undecided"


def test_a_run_without_a_load_is_refused_in_one_line(tmp_path, capsys):
    assert run(a_run(tmp_path / "still", [0.01, -0.02, 0.01])) == 4
    assert "add up to 0 mm" in capsys.readouterr().err
    assert run(tmp_path / "nowhere") == 3
