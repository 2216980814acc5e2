"""The phase diagram: the reference tables, the tiers against each other, and the verb."""

import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rulerlab.chain import drive, phase, rest
from rulerlab.chain.mean import leap_profiles, mean_profiles
from rulerlab.chain.model import ChainModel
from rulerlab.chain.phase import PhaseGrid, phase_diagram
from rulerlab.chain.simulate import final_profiles
from rulerlab.cli import main
from rulerlab.errors import UsageError

# c of the 7-block chain, 20 repeats, averaged over the end of the run; rows are FRICTION
FRICTION = (0.12, 0.09, 0.06, 0.03, 0.01, 0.0)
EQUAL = {  # friction to the left follows
    0.0: (-0.310, -0.290, -0.257, -0.180, -0.060, 0.000),
    0.02: (-0.284, -0.251, -0.177, -0.023, 0.000, 0.000),
    0.05: (-0.201, -0.089, -0.011, -0.001, -0.001, -0.001),
    0.1: (-0.013, -0.002, -0.001, -0.001, -0.001, -0.001),
    0.2: (-0.002, -0.002, -0.003, -0.003, -0.003, -0.003),
    0.4: (-0.005, -0.006, -0.006, -0.006, -0.006, -0.006),
    0.8: (-0.011, -0.011, -0.012, -0.012, -0.012, -0.012),
}
FIXED = {  # friction to the left stays 0.1
    0.0: (-0.310, -0.290, -0.257, -0.180, -0.060, 0.000),
    0.02: (-0.284, -0.251, -0.177, -0.012, 0.105, 0.165),
    0.05: (-0.207, -0.084, 0.057, 0.187, 0.261, 0.295),
    0.1: (-0.066, 0.027, 0.118, 0.209, 0.269, 0.299),
    0.2: (-0.062, 0.028, 0.117, 0.207, 0.267, 0.297),
    0.8: (-0.071, 0.019, 0.108, 0.198, 0.258, 0.288),
}


@pytest.fixture(scope="module")
def fixed():
    grid = PhaseGrid(ChainModel(), column_values=tuple(FIXED), repeats=200, seed=3)
    return phase_diagram(grid)


def worst(runs, table):
    """Largest difference from a table of 20 repeats, in standard errors."""
    error = np.sqrt(runs.c_spread**2 * (1 / 20 + 1 / 200) + 0.0005**2 / 3)
    return np.abs((np.array(list(table.values())).T - runs.diagram.c) / error).max()


def test_the_reference_table_with_fixed_left_friction_is_reproduced(fixed):
    assert worst(fixed, FIXED) < 3


def test_the_reference_table_with_equal_friction_is_reproduced():
    grid = PhaseGrid(ChainModel(), column_values=tuple(EQUAL), symmetric=True, repeats=200, seed=4)
    assert worst(phase_diagram(grid), EQUAL) < 3


def test_t11_c_rises_with_noise_and_falls_with_friction_and_the_zero_line_is_diagonal(fixed):
    calm = fixed.diagram.c[:, :4]
    assert (np.diff(calm, axis=1) > -3 * fixed.diagram.c_sigma[:, :3] - 1e-6).all()
    assert (np.diff(calm, axis=0) > -3 * fixed.diagram.c_sigma[1:, :4] - 1e-6).all()
    line = fixed.diagram.zero_line()[1:5]  # more friction needs more noise
    assert np.isfinite(line).all() and (np.diff(line) < 0).all()


def test_the_mean_tier_agrees_with_the_leaps_and_the_leaps_with_the_truth():
    rng = np.random.default_rng(2)
    cells, repeats = 60, 32
    values = {"friction_right": rng.uniform(0, 0.12, cells), "noise": rng.uniform(0, 0.4, cells)}
    many = {name: np.repeat(value, repeats) for name, value in values.items()}
    knobs = {"chains": cells * repeats, "vary": many}
    shape = (cells, repeats, 7)
    truth = final_profiles(ChainModel(), drive.step(), 10000, precision="single", **knobs)
    leaps = leap_profiles(ChainModel(), drive.step(), 10000, seed=1, **knobs)[:, 0]
    truth, leaps = truth.reshape(shape), leaps.reshape(shape)
    flow = mean_profiles(ChainModel(), drive.step(), 100.0, chains=cells, vary=values)[:, 0]
    error = truth.std(axis=1, ddof=1) / np.sqrt(repeats)
    for name, other, width in (("leap", leaps.mean(axis=1), np.sqrt(2)), ("mean", flow, 1.0)):
        off = other - truth.mean(axis=1)
        assert np.sqrt((off**2).mean()) < 1.3 * width * np.sqrt((error**2).mean()), name
        assert np.abs(off).max() < 0.02, name
    ratio = leaps.std(axis=1).mean() / truth.std(axis=1).mean()
    assert ratio == pytest.approx(1, abs=0.05)


def test_the_mean_tier_is_the_closed_mean_dynamics_in_double_precision():
    def rate(x, noise, right):
        force = np.diff(np.concatenate([[0.0], x, [1.0]]), 2)
        return rest.mean_slip(force, noise, right, 0.1)

    for noise, right in [(0.0, 0.1), (0.03, 0.05), (0.2, 0.02)]:
        x = np.zeros(7)
        for _ in range(1000):
            x = x + 0.1 * rate(x + 0.05 * rate(x, noise, right), noise, right)
        model = ChainModel(friction_right=right, noise=noise)
        assert_allclose(mean_profiles(model, drive.step(), 100.0)[0, 0], x, atol=2e-4)


def test_an_interrupted_diagram_goes_on_and_ends_up_the_same(tmp_path, monkeypatch):
    monkeypatch.setattr(phase, "CELLS_AT_ONCE", 5)
    grid = PhaseGrid(ChainModel(), steps=200, repeats=4)
    whole, kept, calls = phase_diagram(grid), tmp_path / "kept.npz", []
    moments = phase._moments

    def stopped(*given):
        calls.append(given)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return moments(*given)

    monkeypatch.setattr(phase, "_moments", stopped)
    with pytest.raises(KeyboardInterrupt):
        phase_diagram(grid, partial=kept)
    assert kept.exists()
    again = phase_diagram(grid, partial=kept)
    assert len(calls) == 4 + 9 - 3 and not kept.exists()
    assert_array_equal(again.extensions, whole.extensions)
    kept.write_bytes(b"not a zip file")
    assert_array_equal(phase_diagram(grid, partial=kept).extensions, whole.extensions)


def test_any_two_parameters_span_a_diagram():
    grid = PhaseGrid(ChainModel(mass=1.0, dt=0.05, stiffness=0.1, friction_right=0.003), row="mass",
                     row_values=(1.0, 100.0), column="noise", column_values=(0.0, 0.01),
                     steps=6000, repeats=16)  # fmt: skip
    diagram = phase_diagram(grid).diagram
    assert diagram.c.shape == (2, 2) and np.isfinite(diagram.c).all()
    assert diagram.c[0, 1] > diagram.c[0, 0] + 0.05
    with pytest.raises(UsageError, match="can't be varied"):
        PhaseGrid(ChainModel(), row="colour")
    with pytest.raises(UsageError, match="name two"):
        PhaseGrid(ChainModel(), row="noise")
    with pytest.raises(UsageError, match="brute"):
        phase_diagram(PhaseGrid(ChainModel(mass=1.0), tier="mean"))


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["phase", "chain", *arguments])
    return stop.value.code or 0


@pytest.mark.parametrize("tier", ["mean", "leap", "brute"])
def test_phase_chain_leaves_a_table_and_a_figure(tier, tmp_path, capsys):
    out = tmp_path / "diagram"
    options = ["--tier", tier, "-o", str(out), "--steps", "1000", "--repeats", "4",
               "--columns", "noise=0:0.2:3"]  # fmt: skip
    assert run(*options, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1 and np.shape(found["c"]) == (6, 3)
    table = np.genfromtxt(out / "phase.csv", delimiter=",", names=True)
    assert_allclose(table["c"], np.ravel(found["c"]), atol=1e-6)
    assert_allclose(sum(table[f"e{s}"] for s in range(1, 9)), 1, atol=1e-5)
    assert "<svg" in (out / "phase.svg").read_text()
    assert run(*options) == 2 and "--force" in capsys.readouterr().err
    assert run(*options, "--force") == 0 and "friction_right down" in capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"phase.csv", "phase.svg"}


def test_phase_chain_refuses_nonsense_in_one_line(tmp_path, capsys):
    assert run("-o", str(tmp_path / "x"), "--rows", "friction_right=a,b") == 2
    assert run("-o", str(tmp_path / "x"), "--rows", "colour=1,2") == 2
    (tmp_path / "file").touch()
    assert run("-o", str(tmp_path / "file" / "x")) == 3
    assert run("-o", str(tmp_path / "x"), "--tier", "mean", "--mass", "1") == 2
    assert capsys.readouterr().err.strip().endswith("use the brute tier")
