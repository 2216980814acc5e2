"""`rulerlab phase measured`: a batch of runs against the diagram they were drawn from."""

import csv
import json

import numpy as np
import pytest

from rulerlab.chain.model import ChainModel
from rulerlab.chain.phase import PhaseGrid, phase_diagram
from rulerlab.cli import main

FRICTIONS, NOISES = (0.09, 0.06, 0.03, 0.01), (0.01, 0.02, 0.035, 0.05, 0.1)


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Twenty simulated runs, one per friction and noise, and the table that lists them."""
    folder = tmp_path_factory.mktemp("batch")
    lines = [["run", "friction", "noise"]]
    for friction in FRICTIONS:
        for noise in NOISES:
            name = f"run_{friction}_{noise}"
            assert run("simulate", "--friction-right", friction, "--friction-left", 0.1,
                       "--noise", noise, "--seed", len(lines), "-o", folder / name) == 0
            lines.append([name, friction, noise])
    with (folder / "runs.csv").open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return folder


def test_twenty_runs_give_the_zero_line_of_the_simulated_diagram(batch, tmp_path, capsys):
    capsys.readouterr()
    out = tmp_path / "out"
    assert run("phase", "measured", "--table", batch / "runs.csv", "-o", out, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    truth = phase_diagram(PhaseGrid(
        ChainModel(), row_values=FRICTIONS, column_values=NOISES, repeats=200, seed=5)).diagram
    order = np.argsort(FRICTIONS)
    line, sigma = np.array(found["zero_line"], float), np.array(found["zero_line_sigma"], float)
    known = np.isfinite(line)
    assert known.sum() >= 3
    z = (line - truth.zero_line()[order])[known] / sigma[known]
    assert np.abs(z).max() < 4 and np.sqrt((z**2).mean()) < 2
    assert found["trend"]["c_normalised"]["slope"] > 0
    assert found["trend"]["c_normalised"]["p"] < 0.01
    assert "<svg" in (out / "phase.svg").read_text()
    with (out / "phase.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 20


def test_a_person_reads_the_trend_and_where_the_load_is_even(batch, tmp_path, capsys):
    capsys.readouterr()
    assert run("phase", "measured", "--table", batch / "runs.csv", "-o", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert "even at noise = " in said and "a trend" in said


def test_runs_without_a_log_need_a_table(batch, tmp_path, capsys):
    assert run("phase", "measured", batch / "run_0.09_0.1", batch / "run_0.06_0.1",
               "-o", tmp_path / "out") == 3
    assert "--table" in capsys.readouterr().err
    assert run("phase", "measured") == 2
