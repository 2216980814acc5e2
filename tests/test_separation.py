"""Laws of data separation."""

import numpy as np
import pytest

from rulerlab.errors import InputError
from rulerlab.network.principal import PrincipalDirections
from rulerlab.network.separation import MEASURES, Separation, data_separation, joint_covariance


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


@pytest.mark.parametrize("measure", MEASURES)
def test_a_stream_in_uneven_blocks_gives_the_same_as_the_whole(measure):
    features, labels = clouds(each=400)
    order = np.random.default_rng(0).permutation(len(labels))
    found = Separation(measure)
    for _ in range(found.passes):
        for part in np.split(order, [3, 500, 501, 1200]):
            found.add(features[part], labels[part])
        found.end_pass()
    assert found.value == pytest.approx(data_separation(features, labels, measure=measure))


@pytest.mark.parametrize("measure", MEASURES)
def test_tight_classes_far_from_zero_lose_no_digits_in_single_precision(measure):
    rng = np.random.default_rng(2)
    labels = np.arange(3000) % 3
    centre = 10 * rng.normal(size=(3, 20))
    features = (100 + centre[labels] + 0.01 * rng.normal(size=(3000, 20))).astype(np.float32)
    exact = data_separation(features.astype(np.float64), labels, measure=measure)
    assert data_separation(features, labels, measure=measure) == pytest.approx(exact, abs=1e-4)


@pytest.mark.parametrize("measure", MEASURES)
def test_the_influence_of_a_sample_is_what_leaving_it_out_takes_away(measure):
    features, labels = clouds(seed=4, each=30)
    found = Separation(measure, errors=True)
    for _ in range(found.passes):
        found.add(features, labels)
        found.end_pass()
    assert found.influence.mean() == pytest.approx(0, abs=0.05 * found.influence.std())
    without = [data_separation(np.delete(features, i, 0), np.delete(labels, i), measure=measure)
               for i in range(len(labels))]  # fmt: skip
    left_out = (len(labels) - 1) * (found.value - np.array(without))
    assert np.corrcoef(left_out, found.influence)[0, 1] > 0.995
    assert left_out.std() / found.influence.std() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("measure", MEASURES)
def test_with_nearly_as_many_features_as_samples_errors_are_not_too_small(measure):
    rng, values, quoted = np.random.default_rng(1), [], []
    centre = rng.normal(size=(4, 40))
    for _ in range(60):
        labels = rng.integers(0, 4, 100)
        found = Separation(measure, errors=True)
        for _ in range(found.passes):
            found.add(centre[labels] + np.random.default_rng(len(values)).normal(size=(100, 40)),
                      labels)  # fmt: skip
            found.end_pass()
        values.append(found.value)
        quoted.append(np.sqrt(joint_covariance(found.influence[None])[0, 0]))
    assert np.std(values) < 1.2 * np.mean(quoted)


def layers_of(rng, samples):
    """Three layers of one draw: skewed clouds, a squashed copy, a mixture of both."""
    centre = np.random.default_rng(9).normal(size=(5, 8))
    labels = rng.integers(0, 5, samples)
    first = 1.5 * centre[labels] + rng.exponential(size=(samples, 8))
    second = np.tanh(first @ turn(8) / 2)
    return [first, second, np.concatenate([first, 3 * second], axis=1)], labels


@pytest.mark.parametrize("measure", MEASURES)
def test_the_quoted_covariance_is_that_of_repeated_draws(measure):
    rng, values, quoted = np.random.default_rng(0), [], []
    for _ in range(300):
        layers, labels = layers_of(rng, 400)
        found = [Separation(measure, errors=True) for _ in layers]
        for one, features in zip(found, layers, strict=True):
            for _ in range(one.passes):
                one.add(features, labels)
                one.end_pass()
        values.append([one.value for one in found])
        quoted.append(joint_covariance(np.stack([one.influence for one in found])))
    values, quoted = np.array(values), np.array(quoted)
    z = (values - values.mean(axis=0)) / np.sqrt(np.diagonal(quoted, axis1=1, axis2=2))
    assert (abs(z.std(axis=0) - 1) < 0.15).all()
    assert 0.92 < (abs(z) < 1.96).mean() < 0.98
    load, difference = values[:, 0] - values[:, 1], np.array([1.0, -1.0, 0.0])
    sigma = np.sqrt(np.einsum("i,nij,j->n", difference, quoted, difference))
    assert abs(((load - load.mean()) / sigma).std() - 1) < 0.15
    errors = np.sqrt(np.diag(np.cov(values.T)))
    correlation = quoted.mean(axis=0) / np.outer(errors, errors)
    assert np.abs(correlation - np.corrcoef(values.T)).max() < 0.3


def test_tokens_of_one_text_count_as_one_draw():
    rng = np.random.default_rng(3)
    influence = rng.normal(size=(2, 200))
    alone = joint_covariance(influence)
    copied, group = np.repeat(influence, 5, axis=1), np.repeat(np.arange(200), 5)
    assert np.allclose(joint_covariance(copied, group), alone)
    assert (np.diag(joint_covariance(copied)) < 0.3 * np.diag(alone)).all()


def test_streamed_principal_directions_span_those_of_the_whole():
    rng = np.random.default_rng(5)
    scale = np.exp(-np.arange(300) / 8)
    features = (rng.normal(size=(900, 300)) * scale) @ turn(300) + 5
    found = PrincipalDirections(10)
    for part in np.array_split(features, 13):
        found.add(part)
    axes = found.axes()
    assert np.allclose(axes.T @ axes, np.eye(10), atol=1e-8)
    exact = np.linalg.svd(features - features.mean(0), full_matrices=False)[2][:10]
    assert np.linalg.svd(exact @ axes, compute_uv=False).min() > 0.99
    assert np.allclose(found.mean, features.mean(0))
