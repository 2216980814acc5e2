"""The loss at the end of a network and the step that its slope asks for, compiled."""

from __future__ import annotations

import math

from rulerlab.network.tiles import loop


@loop
def cross_entropy(logits, labels, samples):
    """Sum over a block of -log softmax at the label; logits (n, classes) become its slope.

    `samples` is the size of the batch over which the loss is averaged.
    """
    kind = logits.dtype.type
    lost, share = 0.0, kind(1) / kind(samples)
    for i in range(len(logits)):
        row = logits[i]
        top = row[0]
        for k in range(1, row.size):
            top = max(top, row[k])
        total, wanted = kind(0), row[labels[i]] - top
        for k in range(row.size):
            row[k] = math.exp(row[k] - top)
            total += row[k]
        lost += math.log(total) - wanted
        scale = share / total
        for k in range(row.size):
            row[k] *= scale
        row[labels[i]] -= share
    return lost


@loop
def mean_square(logits, labels, samples):
    """The same for the mean over classes of the square of what is missing to one-hot."""
    kind = logits.dtype.type
    lost, classes = 0.0, logits.shape[1]
    factor = kind(2) / (kind(classes) * kind(samples))
    for i in range(len(logits)):
        logits[i, labels[i]] -= kind(1)
        for k in range(classes):
            lost += logits[i, k] * logits[i, k]
            logits[i, k] *= factor
    return lost / classes


@loop
def adam(theta, grad, first, second, rate, decay, step):
    """One step of Adam (Kingma & Ba 2015) with torch's constants; step counts from 1."""
    kind = theta.dtype.type
    keep1, keep2 = kind(0.9), kind(0.999)
    new1, new2 = kind(1 - 0.9), kind(1 - 0.999)
    size = kind(rate / (1 - 0.9**step))
    unbias, small = kind(1 / math.sqrt(1 - 0.999**step)), kind(1e-8)
    pull = kind(decay)
    for i in range(theta.size):
        slope = grad[i] + pull * theta[i]
        first[i] = keep1 * first[i] + new1 * slope
        second[i] = keep2 * second[i] + new2 * slope * slope
        theta[i] -= size * first[i] / (math.sqrt(second[i]) * unbias + small)


@loop
def descend(theta, grad, first, rate, decay, momentum):
    """One step of gradient descent with momentum."""
    kind = theta.dtype.type
    size, pull, keep = kind(rate), kind(decay), kind(momentum)
    for i in range(theta.size):
        first[i] = keep * first[i] + (grad[i] + pull * theta[i])
        theta[i] -= size * first[i]
