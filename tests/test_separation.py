"""Laws of data separation."""

import numpy as np
import pytest

from rulerlab.errors import InputError
from rulerlab.network.separation import MEASURES, data_separation


def clouds(seed=0, classes=4, each=60, width=6):
    rng = np.random.default_rng(seed)
    centre = 2.0 * rng.normal(size=(classes, width))
    labels = np.repeat(np.arange(classes), each)
    return centre[labels] + rng.normal(size=(len(labels), width)), labels


def turn(width, seed=3):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(width, width)))[0]


@pytest.mark.parametrize("measure", MEASURES)
def test_t12_in_one_dimension_with_two_classes_it_is_the_ratio_of_scatters(measure):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(-1, 0.7, 40), rng.normal(2, 0.4, 60)])
    labels = np.repeat([0, 1], [40, 60])
    parts = x[:40], x[40:]
    within = sum(len(p) * p.var() for p in parts) / 100
    between = sum(len(p) * (p.mean() - x.mean()) ** 2 for p in parts) / 100
    expected = np.log(within / between)
    assert data_separation(x[:, None], labels, measure=measure) == pytest.approx(expected)


@pytest.mark.parametrize("measure", MEASURES)
def test_t12_shifting_scaling_and_turning_all_features_change_nothing(measure):
    features, labels = clouds()
    moved = 3.7 * (features @ turn(6)) + np.arange(6)
    assert data_separation(moved, labels, measure=measure) == pytest.approx(
        data_separation(features, labels, measure=measure), abs=1e-9)


def test_t12_a_linear_map_changes_the_trace_ratio_but_not_the_inverse_form():
    features, labels = clouds()
    mapped = features @ np.diag([10.0, 3.0, 1.0, 0.3, 0.1, 0.03]) @ turn(6)
    same = [data_separation(x, labels, measure="inverse") for x in (features, mapped)]
    assert same[0] == pytest.approx(same[1], abs=1e-8)
    other = [data_separation(x, labels, measure="trace") for x in (features, mapped)]
    assert abs(other[0] - other[1]) > 0.1


def test_the_pseudo_inverse_form_is_the_trace_of_the_product_of_matrices():
    features, labels = clouds(seed=5)
    mean = features.mean(0)
    within, between = np.zeros((6, 6)), np.zeros((6, 6))
    for k in range(4):
        part = features[labels == k]
        within += (part - part.mean(0)).T @ (part - part.mean(0)) / len(features)
        gap = part.mean(0) - mean
        between += len(part) / len(features) * np.outer(gap, gap)
    expected = np.log(np.trace(within @ np.linalg.pinv(between, rcond=1e-10)))
    assert data_separation(features, labels, measure="pseudo_inverse") == pytest.approx(expected)


def test_classes_of_unequal_size_are_weighted_and_empty_ones_do_not_count():
    features, labels = clouds()
    keep = np.r_[0:20, 60:240]
    relabelled = np.where(labels == 3, 9, labels)
    assert data_separation(features[keep], labels[keep]) == pytest.approx(
        data_separation(features[keep], relabelled[keep]))


@pytest.mark.parametrize(
    "labels, said", [([0, 0, 0, 0], "two classes"), ([0, 1, 0, 1], "mean")])
def test_what_can_not_be_separated_is_said(labels, said):
    with pytest.raises(InputError, match=said):
        data_separation(np.array([[1.0], [1.0], [1.0], [1.0]]), np.array(labels))
