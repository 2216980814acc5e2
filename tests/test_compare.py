"""One scale for rulers, chains and networks: laws of the scale, and honest distances on it."""

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.compare.measured import Conditions, diagram_of, read_conditions, trend
from rulerlab.compare.networks import neighbours
from rulerlab.compare.scale import distance, on_one_scale
from rulerlab.errors import InputError, QualityError, UsageError
from rulerlab.network.atlas import PhaseTable
from rulerlab.records import LoadCurve


def curve_of(loads, *, sigma=0.0, source="chain"):
    loads = np.asarray(loads, float)
    return LoadCurve.from_loads(loads, sigma**2 * np.eye(len(loads)), source)


CONCAVE = np.array([0.2, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0])


# --- one scale ---------------------------------------------------------------------------------

@pytest.mark.parametrize("parts", [None, 3, 7, 12])
def test_every_curve_falls_from_one_to_zero(parts):
    scaled = on_one_scale(curve_of(CONCAVE, sigma=0.1), parts)
    assert scaled.remaining[0] == pytest.approx(1) and abs(scaled.remaining[-1]) < 1e-12
    assert_allclose(np.diag(scaled.covariance)[[0, -1]], 0, atol=1e-15)
    assert len(scaled.loads) == (parts or 7)


@pytest.mark.parametrize("factor", [0.01, 250.0])
def test_the_unit_of_the_load_does_not_matter(factor):
    one, other = (on_one_scale(curve_of(f * CONCAVE, sigma=f * 0.1), 5) for f in (1.0, factor))
    assert_allclose(one.remaining, other.remaining)
    assert_allclose(one.covariance, other.covariance, atol=1e-15)


def test_an_even_load_stays_even_at_any_number_of_parts():
    for parts in (2, 5, 11):
        assert_allclose(on_one_scale(curve_of(np.ones(7)), parts).loads, 1 / parts)


def test_twice_as_many_parts_carry_half_the_load_each():
    assert_allclose(on_one_scale(curve_of(CONCAVE), 14).loads,
                    np.repeat(CONCAVE, 2) / 2 / CONCAVE.sum())


def test_the_covariance_on_the_scale_is_that_of_many_repeated_measurements():
    rng, sigma = np.random.default_rng(5), 0.1
    shares = [on_one_scale(curve_of(CONCAVE + sigma * rng.standard_normal(7), sigma=sigma), 5)
              .remaining for _ in range(4000)]
    told = on_one_scale(curve_of(CONCAVE, sigma=sigma), 5).covariance
    assert_allclose(np.cov(np.array(shares).T), told, atol=0.05 * told.max())


def test_a_curve_without_load_has_no_shape():
    with pytest.raises(QualityError, match="nothing was pulled open"):
        on_one_scale(curve_of([0.1, -0.05, 0.02], sigma=0.1))


# --- distances ---------------------------------------------------------------------------------

def test_the_distance_of_two_measurements_of_one_curve_is_a_chi_square():
    rng, sigma, truth = np.random.default_rng(2), 0.15, CONCAVE
    found = []
    for _ in range(600):
        a, b = (curve_of(truth + sigma * rng.standard_normal(7), sigma=sigma) for _ in range(2))
        found.append(distance(a, b))
    p = np.array([d.p for d in found])
    assert found[0].degrees_of_freedom == 6
    assert abs((p < 0.1).mean() - 0.1) < 0.04 and abs((p < 0.5).mean() - 0.5) < 0.07


def test_different_curves_are_told_apart_and_their_distance_has_an_error():
    rng, sigma = np.random.default_rng(4), 0.1
    even = curve_of(np.full(5, 3.0))
    apart = [distance(curve_of(CONCAVE + sigma * rng.standard_normal(7), sigma=sigma), even)
             for _ in range(300)]
    assert max(d.p for d in apart) < 1e-6
    rms = np.array([d.rms for d in apart])
    assert 0.8 < rms.std() / np.mean([d.rms_sigma for d in apart]) < 1.25


def test_exact_curves_that_differ_are_not_called_alike():
    assert distance(curve_of(CONCAVE), curve_of(CONCAVE)).p == 1
    assert distance(curve_of(CONCAVE), curve_of(CONCAVE[::-1])).p == 0


# --- networks ----------------------------------------------------------------------------------

def cells_of(rng, *, seeds=5, scatter=0.15):
    """Three settings from concave to convex, each with networks that scatter."""
    shapes = {0.0: CONCAVE, 0.1: np.full(7, 2.2), 0.2: CONCAVE[::-1]}
    value = np.repeat(list(shapes), seeds)
    loads = np.repeat(list(shapes.values()), seeds, axis=0)
    loads = loads + scatter * rng.standard_normal(loads.shape)
    remaining = np.array([curve_of(load).remaining for load in loads])
    full = np.ones(len(value))
    return list(PhaseTable(np.full(len(value), "dropout"), value, 0 * full, 90 * full, 0 * full,
                           0 * full, remaining).cells())


def test_a_network_of_a_setting_is_accepted_by_it_as_often_as_promised():
    rng, accepted, wrong = np.random.default_rng(9), 0, 0
    for _ in range(200):
        cells = cells_of(rng, seeds=8)
        one_more = curve_of(CONCAVE + 0.15 * rng.standard_normal(7), source="network")
        first, *others = neighbours(one_more, cells)
        accepted += first.cell.value == 0.0 and first.accepted
        wrong += any(other.accepted for other in others)
    assert 170 <= accepted <= 200 and wrong == 0


def test_a_curve_like_no_network_is_accepted_by_none():
    odd = curve_of([5.0, 0.1, 0.1, 5.0, 0.1, 0.1, 5.0], sigma=0.05, source="ruler")
    assert not any(found.accepted for found in neighbours(odd, cells_of(
        np.random.default_rng(1))))


def test_a_ruler_of_fewer_folds_is_compared_at_its_own_depth():
    few = on_one_scale(curve_of(CONCAVE), 4)
    first = neighbours(few, cells_of(np.random.default_rng(1)))[0]
    assert first.cell.value == 0.0 and first.distance.degrees_of_freedom == 3


# --- measured diagrams -------------------------------------------------------------------------

def a_batch(rng, *, repeats=2, effect=0.2, between=0.03):
    """Runs on two surfaces at three shakings; shaking evens a concave load."""
    row, column, curves = [], [], []
    for surface in (0.0, 1.0):
        for shaking in (0.0, 0.5, 1.0):
            for _ in range(repeats):
                tilt = -0.3 - 0.1 * surface + effect * shaking + between * rng.standard_normal()
                loads = 1 / 7 - tilt * np.linspace(-0.5, 0.5, 7)
                curves.append(curve_of(loads + 0.002 * rng.standard_normal(7), sigma=0.002))
                row.append(surface)
                column.append(shaking)
    return curves, Conditions("surface", "shaking_g", (), np.array(row), np.array(column))


def test_error_bars_of_a_measured_diagram_hold_what_runs_differ_by():
    rng, z = np.random.default_rng(6), []
    for _ in range(100):
        curves, conditions = a_batch(rng, repeats=4)
        found = diagram_of(curves, conditions)
        truth = -0.3 + 0.2 * found.column_values - 0.1 * found.row_values[:, None]
        z.append((found.c - truth) / found.c_sigma)
    assert 0.85 < np.std(z) < 1.25


def test_shaking_that_evens_the_load_is_found_and_one_that_does_nothing_is_not():
    rng, sure, slopes = np.random.default_rng(7), [], []
    for _ in range(40):
        curves, conditions = a_batch(rng)
        c = np.array([curve.c_normalised for curve in curves])
        found = trend(c, conditions)
        sure.append(found.p)
        slopes.append((found.slope - 0.2) / found.sigma)
    assert max(sure) < 0.01 and 0.7 < np.std(slopes) < 1.5
    idle = [trend(rng.standard_normal(len(c)), conditions).p for _ in range(60)]
    assert np.mean(np.array(idle) < 0.1) < 0.25 and np.median(idle) > 0.25


def test_a_trend_needs_a_condition_that_varies():
    curves, conditions = a_batch(np.random.default_rng(0))
    still = Conditions("surface", "shaking_g", (), conditions.row_values,
                       np.zeros(len(conditions.column_values)))
    with pytest.raises(UsageError, match="must vary"):
        trend(np.arange(len(curves)), still)


def test_a_table_of_conditions_may_name_surfaces_in_words(tmp_path):
    table = tmp_path / "runs.csv"
    table.write_text("run,surface,shaking_g\na,felt,0\nb,paper,0.4\nc,felt,0.4\n")
    found = read_conditions(table)
    assert found.row == "surface (0 felt, 1 paper)" and found.column == "shaking_g"
    assert_allclose(found.row_values, [0, 1, 0])
    assert found.runs[1] == tmp_path / "b"


@pytest.mark.parametrize(("text", "said"), [
    ("surface,shaking\na,1\n", "must begin with the line run,ROW,COLUMN"),
    ("run,surface,shaking\na,felt\n", "line 2"),
    ("run,surface,shaking\na,felt,1\n", "at least two"),
    ("run,surface,shaking\na,felt,nan\nb,felt,1\n", "finite"),
])
def test_a_table_that_can_not_be_used_is_refused_by_its_line(tmp_path, text, said):
    (tmp_path / "runs.csv").write_text(text)
    with pytest.raises(InputError, match=said):
        read_conditions(tmp_path / "runs.csv")


def test_networks_that_separate_nothing_are_no_neighbours():
    cells = cells_of(np.random.default_rng(1))
    idle = cells_of(np.random.default_rng(2), scatter=8.0)
    curve = curve_of(CONCAVE, sigma=0.1)
    assert len(neighbours(curve, [*cells, *idle])) < len(cells) + len(idle)
    assert neighbours(curve, [*cells, *idle])[0].cell.value == 0.0


def test_a_table_of_networks_that_separate_nothing_is_refused():
    idle = [replace(cell, curve=replace(cell.curve, remaining=np.zeros(8)))
            for cell in cells_of(np.random.default_rng(1))]
    with pytest.raises(InputError, match="nothing to compare with"):
        neighbours(curve_of(CONCAVE, sigma=0.1), idle)
