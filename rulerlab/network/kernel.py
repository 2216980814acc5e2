"""A whole MLP in one compiled loop: forward, backward and optimiser on BLAS, without torch.

A batch goes through each layer in blocks of samples that stay in the cache from BatchNorm through
LeakyReLU and dropout to the next product; what dropout left is worked out anew on the way back,
which is cheaper than to keep it. BatchNorm of the input is folded into the first layer. A bias in
front of BatchNorm changes nothing and gets no slope; it is counted in the running mean only.

numba keeps machine code by the date of this file: after a change in `tiles`, `descent` or `chance`
touch it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401  np.dot of numba calls it; loaded to be limited
from torch import nn

from rulerlab.chain.kernels import compiled, inner
from rulerlab.network import chance, descent, tiles
from rulerlab.network.data import DataSet
from rulerlab.network.mlp import MLP
from rulerlab.network.recipe import Recipe
from rulerlab.network.steps import batch_ends, epoch_order
from rulerlab.network.workspace import adopt, law_of, room_for

FACTOR, OFFSET, MEAN, SUM, OTHER_SUM, SCALE, ALONG, LEVEL = range(8)


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
def shape_of(law, layer):
    """Units of a layer and of that below it; layer H gives the logits."""
    units = law.classes if layer == law.hidden else law.width
    return units, law.inputs if layer == 0 else law.width


@inner
def table(flat, first, last, units):
    """Rows first..last of a flat table with `units` columns."""
    return flat[first * units : last * units].reshape(last - first, units)


@inner
def words_of(net, law, purpose, step, first, count):
    """Random words `first`.. of a stream, drawn in whole groups."""
    group = first // chance.GROUP
    skip = first - group * chance.GROUP
    drawn = net.words[: -(-(skip + count) // chance.GROUP) * chance.GROUP]
    chance.fill(drawn, chance.key_of(law.seed, purpose, step), group)
    return drawn[skip : skip + count]


@inner
def shake(net, law, rows, step, first):
    """Add noise to a block of the input that starts at element `first`."""
    skip = first % chance.GROUP
    words_of(net, law, chance.INPUT, step, first - skip, skip + rows.size)
    normals = net.normals[: -(-(skip + rows.size) // chance.GROUP) * chance.GROUP]
    chance.to_normals(normals, net.words[: normals.size])
    kick = rows.dtype.type(law.kick)
    for i in range(rows.size):
        rows[i] += kick * normals[skip + i]


@inner
def load_batch(net, law, features, labels, chosen, step, fresh):
    """Gather a batch and add noise to input and labels; the input may be `fresh` or as before."""
    samples, p = chosen.size, law.inputs
    for i in range(samples):
        net.labels[i] = labels[chosen[i]]
        if fresh:
            tiles.copy(net.x[i * p : (i + 1) * p], features[chosen[i]])
    if law.kick > 0:
        for first in range(0, samples, law.block):
            rows = net.x[first * p : min(first + law.block, samples) * p]
            shake(net, law, rows, step, first * p)
    if law.label_noise > 0:
        words = words_of(net, law, chance.LABELS, step, 0, 2 * samples)
        chance.mix_labels(net.labels[:samples], words, law.label_noise, law.classes)


@inner
def turn_weights(net, law, layer):
    """Weights of a layer as (below, units), and its constants.

    The first layer takes the factors and offsets of the input's BatchNorm into its own.
    """
    units, fan = shape_of(law, layer)
    start = start_of(law, layer)
    weights = table(net.theta[start:], 0, units, fan)
    bias = net.theta[start + units * fan : start + units * (fan + 1)]
    turned, constant = table(net.turned, 0, fan, units), net.constant[:units]
    for j in range(fan):
        for k in range(units):
            turned[j, k] = weights[k, j]
    tiles.copy(constant, bias)
    if layer == 0 and law.norm:
        for j in range(fan):
            gamma, beta = net.theta[j], net.theta[fan + j]
            for k in range(units):
                constant[k] += turned[j, k] * beta
                turned[j, k] *= gamma
    return turned, constant


@inner
def finish_norm(net, law, layer, samples, fresh):
    """From the sums over a batch to factors and offsets of the units that enter a layer.

    Those of the input, at layer 0, are without BatchNorm's own, which the first layer takes in.
    """
    units, end = shape_of(law, layer)[1], start_of(law, layer)
    factor, offset = net.factor[layer, :units], net.offset[layer, :units]
    mean, constant = net.mean[layer, :units], net.constant[:units]
    tiles.fill(factor, 1)
    if law.norm:
        inverse, variance = net.inverse[layer, :units], net.variance[layer, :units]
        place = 0 if layer == 0 else law.inputs + (layer - 1) * units
        if fresh or layer > 0:
            tiles.fold(mean, net.tiles[SUM])
            tiles.fold(variance, net.tiles[OTHER_SUM])
            tiles.settle(mean, variance, inverse, net.tiles[MEAN], samples)
        tiles.follow(net.running_mean[place : place + units],
                     net.running_variance[place : place + units],
                     mean, variance, constant, samples)
        tiles.fill(offset, 0)
        if layer > 0:
            tiles.copy(factor, net.theta[end - 2 * units : end - units])
            tiles.copy(offset, net.theta[end - units : end])
        tiles.stretch(factor, offset, mean, inverse)
    else:
        tiles.fill(mean, 0)
        tiles.copy(offset, constant)
    tiles.tile(net.tiles[FACTOR], factor)
    tiles.tile(net.tiles[OFFSET], offset)


@inner
def gather_norm(net, rows, units, first):
    """Add a block to the sums that BatchNorm takes over the batch."""
    wide = tiles.TILE * units
    shift, total = net.tiles[MEAN, :wide], net.tiles[SUM, :wide]
    square = net.tiles[OTHER_SUM, :wide]
    if first == 0:
        tiles.guess_mean(shift, rows)
        tiles.fill(total, 0)
        tiles.fill(square, 0)
    tiles.gather_moments(total, square, rows, shift)


@inner
def signal_of(net, law, layer, first, last, step, fresh):
    """What enters a layer, for one block: the normalised input, or the activations below."""
    units, kind = shape_of(law, layer)[1], net.theta.dtype.type
    factor = net.tiles[FACTOR, : tiles.TILE * units]
    offset = net.tiles[OFFSET, : tiles.TILE * units]
    if layer == 0:
        rows = net.x[first * units : last * units]
        if law.norm and fresh:
            tiles.activate(rows, rows, factor, offset, kind(1))
        return rows.reshape(last - first, units)
    z = net.z[layer - 1, first * units : last * units]
    out = net.active[: z.size]
    if law.dropout > 0:
        words = words_of(net, law, chance.MASK + layer - 1, step, first * units, z.size)
        tiles.activate_some(out, z, factor, offset, kind(law.alpha), words, law.dropout)
    else:
        tiles.activate(out, z, factor, offset, kind(law.alpha))
    return out.reshape(last - first, units)


@inner
def forward(net, law, samples, step, fresh):
    """From the input to the logits; block by block, so that a block stays in the cache."""
    p = law.inputs
    tiles.fill(net.constant, 0)
    if law.norm and fresh:
        for first in range(0, samples, law.block):
            last = min(first + law.block, samples)
            gather_norm(net, net.x[first * p : last * p], p, first)
    for layer in range(law.hidden + 1):
        units = shape_of(law, layer)[0]
        finish_norm(net, law, layer, samples, fresh)
        weights, constant = turn_weights(net, law, layer)
        for first in range(0, samples, law.block):
            last = min(first + law.block, samples)
            signal = signal_of(net, law, layer, first, last, step, fresh)
            if layer == law.hidden:
                logits = table(net.logits, first, last, units)
                np.dot(signal, weights, logits)
                for i in range(last - first):
                    for k in range(units):
                        logits[i, k] += constant[k]
            else:
                np.dot(signal, weights, table(net.z[layer], first, last, units))
                if law.norm:
                    gather_norm(net, net.z[layer, first * units : last * units], units, first)


@inner
def lose(net, law, samples):
    """Loss of the batch, summed over its samples; the logits become its slopes."""
    logits = table(net.logits, 0, samples, law.classes)
    labels = net.labels[:samples]
    if law.mse:
        lost = descent.mean_square(logits, labels, samples)
    else:
        lost = descent.cross_entropy(logits, labels, samples)
    end = net.grad.size
    bias = net.grad[end - law.classes :]
    tiles.fill(bias, 0)
    for i in range(samples):
        for k in range(law.classes):
            bias[k] += logits[i, k]
    return lost


@inner
def start_back(net, law, layer, samples):
    """Slopes of a layer's BatchNorm, or of its bias, and what they make of slopes before it."""
    units, end = law.width, start_of(law, layer + 1)
    wide = tiles.TILE * units
    scale, along = net.tiles[SCALE, :wide], net.tiles[ALONG, :wide]
    level, beta = net.tiles[LEVEL, :wide], net.grad[end - units : end]
    tiles.fold(beta, net.tiles[SUM])
    if law.norm:
        gamma = net.grad[end - 2 * units : end - units]
        tiles.fold(gamma, net.tiles[OTHER_SUM])
        tiles.shrink(scale, along, level, net.theta[end - 2 * units : end - units],
                     net.mean[layer + 1], net.inverse[layer + 1], gamma, beta, samples)
    else:
        tiles.fill(scale, 1)
        tiles.fill(along, 0)
        tiles.fill(level, 0)


@inner
def slopes_before(net, law, layer, first, last):
    """Slopes of a block of a layer's output, before BatchNorm."""
    units = shape_of(law, layer)[0]
    if layer == law.hidden:
        return table(net.logits, first, last, units)
    wide = tiles.TILE * units
    out = net.before[: (last - first) * units]
    tiles.pull_back_norm(
        out, net.d[first * units : last * units], net.z[layer, first * units : last * units],
        net.tiles[SCALE, :wide], net.tiles[ALONG, :wide], net.tiles[LEVEL, :wide],
    )  # fmt: skip
    return out.reshape(last - first, units)


@inner
def backward(net, law, samples, step):
    """Slopes of all parameters, from those of the logits, and the step that they ask for.

    A layer makes its step at once, while its slopes are in the cache.
    """
    kind, end = net.theta.dtype.type, net.theta.size
    for layer in range(law.hidden, -1, -1):
        units, fan = shape_of(law, layer)
        start, wide = start_of(law, layer), tiles.TILE * fan
        if layer < law.hidden:
            start_back(net, law, layer, samples)
        slope = net.part[0] if layer == 0 else net.grad[start:]
        mean, total = net.tiles[MEAN, :wide], net.tiles[SUM, :wide]
        other = net.tiles[OTHER_SUM, :wide]
        if layer > 0:
            tiles.tile(net.tiles[FACTOR], net.factor[layer, :fan])
            tiles.tile(net.tiles[OFFSET], net.offset[layer, :fan])
            tiles.tile(mean, net.mean[layer, :fan])
            tiles.fill(total, 0)
            tiles.fill(other, 0)
        for first in range(0, samples, law.block):
            last = min(first + law.block, samples)
            before = slopes_before(net, law, layer, first, last)
            signal = signal_of(net, law, layer, first, last, step, step < 0)
            target = slope if first == 0 else net.part[1]
            np.dot(before.T, signal, table(target, 0, units, fan))
            if first > 0:
                tiles.add_to(slope[: units * fan], net.part[1])
            if layer > 0:
                d, z = net.d[first * fan : last * fan], net.z[layer - 1, first * fan : last * fan]
                weights = table(net.theta[start:], 0, units, fan)
                np.dot(before, weights, table(d, 0, last - first, fan))
                tiles.pull_back(d, net.active[: d.size], z, mean, kind(law.alpha), law.dropout,
                                total, other)
        if layer == 0:
            unfold(net, law)
            start = 0
        improve(net, law, start, end, step)
        end = start


@inner
def improve(net, law, start, end, step):
    """Let the optimiser move some of the parameters."""
    theta, grad = net.theta[start:end], net.grad[start:end]
    first, second = net.first[start:end], net.second[start:end]
    if law.adam:
        descent.adam(theta, grad, first, second, law.rate, law.decay, step + 1)
    else:
        descent.descend(theta, grad, first, law.rate, law.decay, law.momentum)


@inner
def unfold(net, law):
    """Slopes of the first layer and of the input's BatchNorm, which it had taken in."""
    units, p = shape_of(law, 0)
    start = start_of(law, 0)
    weights, slope = table(net.theta[start:], 0, units, p), table(net.part[0], 0, units, p)
    grad = table(net.grad[start:], 0, units, p)
    if not law.norm:
        tiles.copy(net.grad[start:], net.part[0, : units * p])
        return
    gamma, beta = net.theta[:p], net.theta[p : 2 * p]
    tiles.fill(net.grad[: 2 * p], 0)
    for k in range(units):
        # behind BatchNorm a layer feels no constant
        bias = net.grad[start + units * p + k] if law.hidden == 0 else net.theta.dtype.type(0)
        for j in range(p):
            net.grad[j] += weights[k, j] * slope[k, j]
            net.grad[p + j] += weights[k, j] * bias
            grad[k, j] = slope[k, j] * gamma[j] + bias * beta[j]


@compiled
def train_epoch(net, law, features, labels, order, ends, step):
    """One epoch from step number `step`; the loss summed over all samples."""
    lost = 0.0
    for b in range(len(ends)):
        chosen = order[ends[b, 0] : ends[b, 1]]
        fresh = step + b == 0 or law.kick > 0 or chosen.size < len(labels)
        load_batch(net, law, features, labels, chosen, step + b, fresh)
        forward(net, law, chosen.size, step + b, fresh)
        lost += lose(net, law, chosen.size)
        backward(net, law, chosen.size, step + b)
    return lost


def epochs_by_kernel(recipe: Recipe, data: DataSet, model: MLP) -> Iterator[float]:
    """Train `model` in place, yielding the mean loss of each epoch; the dtype is the model's."""
    kind = next(model.parameters()).detach().numpy().dtype.type
    samples = len(data.labels)
    law, ends = law_of(recipe, data), np.array(batch_ends(recipe, samples))
    net = room_for(law, int((ends[:, 1] - ends[:, 0]).max()), kind)
    adopt(net, model)
    features = data.features.astype(kind)
    tracked = [part.num_batches_tracked for part in model.modules()
               if isinstance(part, nn.BatchNorm1d)]  # fmt: skip
    for epoch in range(recipe.epochs):
        order = epoch_order(recipe, epoch, samples)
        lost = train_epoch(net, law, features, data.labels, order, ends, epoch * len(ends))
        for count in tracked:
            count += len(ends)
        yield lost / ends[-1, 1]
