"""A whole MLP in one compiled loop: forward, backward and optimiser on BLAS, without torch.

Signals lie unit after unit, each a row of its samples, so that all which BatchNorm, LeakyReLU and
dropout do to a unit happens while its row is in the cache. BatchNorm of the input is folded
into the first layer. A bias in front of BatchNorm changes nothing and gets no slope; it is
counted in the running mean only.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot of numba calls it; loaded to be limited
import torch
from torch import nn

from rulerlab.chain.kernels import compiled, inner
from rulerlab.network import chance, rows
from rulerlab.network.data import DataSet
from rulerlab.network.mlp import MLP
from rulerlab.network.recipe import Recipe
from rulerlab.network.steps import batch_ends, epoch_order

EPSILON, NEWEST = 1e-5, 0.1  # of BatchNorm: added to the variance; share in the running mean


class Net(NamedTuple):
    """State of one network, and room for one step; H hidden layers of w units, N samples."""

    theta: np.ndarray  # every parameter, in torch's order
    grad: np.ndarray
    first: np.ndarray  # moments of the optimiser
    second: np.ndarray
    mean: np.ndarray  # running, of the input (p) and then of each hidden layer (w)
    variance: np.ndarray
    x: np.ndarray  # (p N,) normalised input
    z: np.ndarray  # (H, w N) before BatchNorm
    a: np.ndarray  # (H, w N) after dropout
    d: np.ndarray  # (2, w N) slopes
    logits: np.ndarray  # (classes N,)
    level: np.ndarray  # (H, 2, w) mean of z and 1 / its standard deviation
    spare: np.ndarray  # (2, N)
    folded: np.ndarray  # (2, w p) first layer with BatchNorm of the input in it, and its slope
    labels: np.ndarray  # (N,) of the batch
    words: np.ndarray  # (2 N + 2,) uint32
    normals: np.ndarray  # (N + 1,) float32


class Law(NamedTuple):
    """What stays the same for the whole training."""

    inputs: int
    width: int
    classes: int
    hidden: int
    seed: int
    norm: bool
    adam: bool
    mse: bool
    alpha: float
    dropout: float
    kick: float  # standard deviation of the noise on the input
    label_noise: float
    rate: float
    decay: float
    momentum: float


@inner
def start_of(law, layer):
    """Where the parameters of a layer begin: weights, biases, BatchNorm's factors and offsets."""
    per_unit = 3 if law.norm else 1
    place = 2 * law.inputs if law.norm else 0
    if layer > 0:
        place += law.width * (law.inputs + per_unit)
        place += (layer - 1) * law.width * (law.width + per_unit)
    return place


@inner
def matrix(flat, start, height, width):
    return flat[start : start + height * width].reshape(height, width)


@inner
def load_batch(net, law, features, labels, chosen, step):
    """Gather a batch, add noise to input and labels, normalise the input."""
    samples, kind = chosen.size, net.theta.dtype.type
    half = samples + samples % 2
    x = matrix(net.x, 0, law.inputs, samples)
    for j in range(law.inputs):
        row, source = x[j], features[j]
        for i in range(samples):
            row[i] = source[chosen[i]]
        if law.kick > 0:
            chance.draw_normals(net.normals[:half], chance.key_of(law.seed, chance.INPUT, step), j)
            for i in range(samples):
                row[i] += kind(law.kick) * net.normals[i]
        if law.norm:
            mean, variance = rows.moments(row)
            inverse = kind(1 / math.sqrt(variance + EPSILON))
            follow(net, j, mean, variance, samples)
            rows.stretch(row, row, inverse, -mean * inverse)
    batch = net.labels[:samples]
    for i in range(samples):
        batch[i] = labels[chosen[i]]
    if law.label_noise > 0:
        words = net.words[: 2 * samples]
        chance.draw_words(words, chance.key_of(law.seed, chance.LABELS, step), 0)
        chance.mix_labels(batch, words, law.label_noise, law.classes)
    return x, batch


@inner
def follow(net, place, mean, variance, samples):
    """Running mean and (unbiased) variance of BatchNorm."""
    kind = net.mean.dtype.type
    unbiased = variance * kind(samples / (samples - 1.0))
    net.mean[place] += kind(NEWEST) * (mean - net.mean[place])
    net.variance[place] += kind(NEWEST) * (unbiased - net.variance[place])


@inner
def fold(net, law, units):
    """Weights and constants of the first layer for the normalised input."""
    p, start = law.inputs, start_of(law, 0)
    weights = matrix(net.theta, start, units, p)
    bias = net.theta[start + units * p : start + units * (p + 1)]
    folded = matrix(net.folded[0], 0, units, p)
    constant = net.spare[0]
    for k in range(units):
        constant[k] = bias[k]
        for j in range(p):
            if law.norm:
                folded[k, j] = weights[k, j] * net.theta[j]
                constant[k] += weights[k, j] * net.theta[p + j]
            else:
                folded[k, j] = weights[k, j]
    return folded, constant


@inner
def activate_layer(net, law, layer, z, constant, step):
    """BatchNorm, LeakyReLU and dropout of a hidden layer; z lacks its `constant`."""
    kind = z.dtype.type
    units, samples = z.shape
    start = start_of(law, layer + 1) - 2 * units
    half = samples + samples % 2
    a = matrix(net.a[layer], 0, units, samples)
    key, alpha = chance.key_of(law.seed, chance.MASK + layer, step), kind(law.alpha)
    for k in range(units):
        if law.norm:
            mean, variance = rows.moments(z[k])
            inverse = kind(1 / math.sqrt(variance + EPSILON))
            net.level[layer, 0, k], net.level[layer, 1, k] = mean, inverse
            place = law.inputs + layer * units + k
            follow(net, place, mean + constant[k], variance, samples)
            factor = net.theta[start + k] * inverse
            offset = net.theta[start + units + k] - mean * factor
        else:
            factor, offset = kind(1), kind(constant[k])
        if law.dropout > 0:
            chance.draw_words(net.words[:half], key, k)
            rows.activate_some(a[k], z[k], factor, offset, alpha, net.words, law.dropout)
        else:
            rows.activate(a[k], z[k], factor, offset, alpha)
    return a


@inner
def pull_back_layer(net, law, layer, d):
    """Slopes before the BatchNorm of a hidden layer from those after its dropout, in place."""
    kind = d.dtype.type
    units, samples = d.shape
    after = start_of(law, layer + 1)
    z = matrix(net.z[layer], 0, units, samples)
    a = matrix(net.a[layer], 0, units, samples)
    for k in range(units):
        rows.pull_back(d[k], a[k], kind(law.alpha), law.dropout)
        if law.norm:
            mean, inverse = net.level[layer, 0, k], net.level[layer, 1, k]
            offset, factor = rows.slopes(d[k], z[k], mean, inverse)
            net.grad[after - 2 * units + k] = factor
            net.grad[after - units + k] = offset
            gamma = net.theta[after - 2 * units + k]
            rows.pull_back_norm(d[k], z[k], mean, inverse, gamma, offset, factor)
        else:
            net.grad[after - units + k] = rows.total(d[k])


@inner
def first_slopes(net, law, d, x, hidden):
    """Slopes of the first layer and of the BatchNorm of the input, from those of its output."""
    units, p = d.shape[0], law.inputs
    start = start_of(law, 0)
    weights = matrix(net.theta, start, units, p)
    grad = matrix(net.grad, start, units, p)
    if not law.norm:
        np.dot(d, x.T, grad)
        return
    slope = matrix(net.folded[1], 0, units, p)
    np.dot(d, x.T, slope)
    for j in range(2 * p):
        net.grad[j] = 0
    for k in range(units):
        # behind BatchNorm a layer feels no constant
        constant = net.theta.dtype.type(0) if hidden else net.grad[start + units * p + k]
        for j in range(p):
            net.grad[j] += weights[k, j] * slope[k, j]
            net.grad[p + j] += weights[k, j] * constant
            grad[k, j] = slope[k, j] * net.theta[j] + constant * net.theta[p + j]


@inner
def slopes_of_batch(net, law, features, labels, chosen, step):
    """Loss of one batch, summed over its samples, and the slopes of its mean."""
    samples, width = chosen.size, law.width
    x, batch = load_batch(net, law, features, labels, chosen, step)
    signal, fan = x, law.inputs
    for layer in range(law.hidden):
        z = matrix(net.z[layer], 0, width, samples)
        start = start_of(law, layer)
        if layer == 0:
            folded, constant = fold(net, law, width)
            np.dot(folded, x, z)
        else:
            np.dot(matrix(net.theta, start, width, fan), signal, z)
            constant = net.theta[start + width * fan : start + width * (fan + 1)]
        signal, fan = activate_layer(net, law, layer, z, constant, step), width
    start = start_of(law, law.hidden)
    logits = matrix(net.logits, 0, law.classes, samples)
    if law.hidden == 0:
        weights, constant = fold(net, law, law.classes)
    else:
        weights = matrix(net.theta, start, law.classes, fan)
        constant = net.theta[start + law.classes * fan : start + law.classes * (fan + 1)]
    np.dot(weights, signal, logits)
    for k in range(law.classes):
        rows.stretch(logits[k], logits[k], logits.dtype.type(1), constant[k])
    if law.mse:
        lost = rows.mean_square(logits, batch)
    else:
        lost = rows.cross_entropy(logits, batch, net.spare)
    for k in range(law.classes):
        net.grad[start + law.classes * fan + k] = rows.total(logits[k])
    if law.hidden == 0:
        first_slopes(net, law, logits, x, False)
        return lost
    np.dot(logits, signal.T, matrix(net.grad, start, law.classes, fan))
    d = matrix(net.d[0], 0, width, samples)
    np.dot(weights.T, logits, d)
    for layer in range(law.hidden - 1, -1, -1):
        pull_back_layer(net, law, layer, d)
        if layer == 0:
            first_slopes(net, law, d, x, law.norm)
        else:
            start = start_of(law, layer)
            below = matrix(net.a[layer - 1], 0, width, samples)
            np.dot(d, below.T, matrix(net.grad, start, width, width))
            weights = matrix(net.theta, start, width, width)
            other = matrix(net.d[(law.hidden - layer) % 2], 0, width, samples)
            np.dot(weights.T, d, other)
            d = other
    return lost


@compiled
def train_epoch(net, law, features, labels, order, ends, step):
    """One epoch from step number `step`; the loss summed over all samples."""
    lost = 0.0
    for b in range(len(ends)):
        chosen = order[ends[b, 0] : ends[b, 1]]
        lost += slopes_of_batch(net, law, features, labels, chosen, step + b)
        if law.adam:
            rows.adam(net.theta, net.grad, net.first, net.second, law.rate, law.decay,
                      step + b + 1)
        else:
            rows.descend(net.theta, net.grad, net.first, law.rate, law.decay, law.momentum)
    return lost


def law_of(recipe: Recipe, data: DataSet) -> Law:
    kick = recipe.input_noise * float(np.std(data.features, dtype=np.float64))
    return Law(
        data.features.shape[1], recipe.width, data.classes, recipe.depth - 1, recipe.seed,
        recipe.batch_norm, recipe.optimizer == "adam", recipe.loss == "mse", float(recipe.alpha),
        float(recipe.dropout), kick, float(recipe.label_noise), float(recipe.learning_rate),
        float(recipe.weight_decay), float(recipe.momentum),
    )  # fmt: skip


def room_for(law: Law, samples: int, kind: type) -> Net:
    """Zeros for a network that takes batches of up to `samples`."""
    p, w, hidden = law.inputs, law.width, law.hidden
    units = w if hidden else law.classes
    per_unit = 3 if law.norm else 1
    sizes = [2 * p if law.norm else 0] + [w * (fan + per_unit) for fan in [p] + [w] * (hidden - 1)]
    count = sum(sizes[: hidden + 1]) + law.classes * ((w if hidden else p) + 1)
    norms = p + hidden * w if law.norm else 0
    return Net(
        *(np.zeros(count, kind) for _ in range(4)),
        np.zeros(norms, kind), np.zeros(norms, kind), np.empty(p * samples, kind),
        np.empty((hidden, w * samples), kind), np.empty((hidden, w * samples), kind),
        np.empty((2, w * samples), kind), np.empty(law.classes * samples, kind),
        np.empty((hidden, 2, w), kind), np.empty((2, max(samples, units)), kind),
        np.empty((2, units * p), kind), np.empty(samples, np.int64),
        np.empty(2 * samples + 2, np.uint32), np.empty(samples + 1, np.float32),
    )  # fmt: skip


def adopt(net: Net, model: MLP) -> None:
    """Make the parameters and running statistics of a module views of those of the net."""

    def share(flat: np.ndarray, tensors: list[torch.Tensor]) -> None:
        parts = torch.from_numpy(flat).split([tensor.numel() for tensor in tensors])
        for tensor, part in zip(tensors, parts, strict=True):
            part.copy_(tensor.detach().reshape(-1))
            tensor.data = part.view_as(tensor)

    share(net.theta, list(model.parameters()))
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm1d)]
    if norms:
        share(net.mean, [norm.running_mean for norm in norms])
        share(net.variance, [norm.running_var for norm in norms])


def epochs_by_kernel(recipe: Recipe, data: DataSet, model: MLP) -> Iterator[float]:
    """Train `model` in place, yielding the mean loss of each epoch; the dtype is the model's."""
    kind = next(model.parameters()).detach().numpy().dtype.type
    samples = len(data.labels)
    law, ends = law_of(recipe, data), np.array(batch_ends(recipe, samples))
    net = room_for(law, int((ends[:, 1] - ends[:, 0]).max()), kind)
    adopt(net, model)
    features = np.ascontiguousarray(data.features.T.astype(kind))
    tracked = [part.num_batches_tracked for part in model.modules()
               if isinstance(part, nn.BatchNorm1d)]  # fmt: skip
    for epoch in range(recipe.epochs):
        order = epoch_order(recipe, epoch, samples)
        lost = train_epoch(net, law, features, data.labels, order, ends, epoch * len(ends))
        for count in tracked:
            count += len(ends)
        yield lost / ends[-1, 1]
