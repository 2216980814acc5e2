"""What the compiled training of one network works on: its numbers, laid out for the loops."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from rulerlab.chain.simulate import apart
from rulerlab.network import chance, tiles
from rulerlab.network.data import DataSet
from rulerlab.network.mlp import MLP
from rulerlab.network.recipe import Recipe

SMALL_PRODUCT, IN_CACHE = 1_000_000, 16_384


class Net(NamedTuple):
    """State of one network, and room for one step of N samples in blocks of n.

    p features, H hidden layers of w units, u units at most in a layer, c classes.
    """

    theta: np.ndarray  # every parameter, in torch's order
    grad: np.ndarray
    first: np.ndarray  # moments of the optimiser
    second: np.ndarray
    running_mean: np.ndarray  # of the input (p) and then of each hidden layer (w)
    running_variance: np.ndarray
    x: np.ndarray  # (N p,) normalised input
    z: np.ndarray  # (H, N w) before BatchNorm
    d: np.ndarray  # (N w,) slopes after dropout
    active: np.ndarray  # (n w,) of a block after dropout
    before: np.ndarray  # (n w,) slopes of a block before BatchNorm
    logits: np.ndarray  # (N c,)
    mean: np.ndarray  # (H + 1, u) of the batch, the input first
    variance: np.ndarray  # (H + 1, u)
    inverse: np.ndarray  # (H + 1, u) 1 / standard deviation
    factor: np.ndarray  # (H + 1, u) what BatchNorm comes to: factor z + offset
    offset: np.ndarray  # (H + 1, u)
    constant: np.ndarray  # (u,) of the layer at hand
    tiles: np.ndarray  # (8, TILE u) coefficients and sums, see `kernel`
    turned: np.ndarray  # (u u,) weights of a layer, transposed
    part: np.ndarray  # (2, u u) slopes of weights
    labels: np.ndarray  # (N,) of the batch
    words: np.ndarray  # uint32, for a block or the labels
    normals: np.ndarray  # float32, for a block


class Law(NamedTuple):
    """What stays the same for the whole training."""

    inputs: int
    width: int
    classes: int
    hidden: int
    block: int
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


def block_of(inputs: int, width: int) -> int:
    """Samples in a block: OpenBLAS is fastest where it need not repack a product, up to 1e6
    multiplications, and the blocks of a layer should fit the cache.
    """
    widest = max(inputs, width)
    small = SMALL_PRODUCT // (width * widest)
    return max(min(small, IN_CACHE // widest), 1) if small >= 32 else 256


def law_of(recipe: Recipe, data: DataSet) -> Law:
    kick = recipe.input_noise * float(np.std(data.features, dtype=np.float64))
    inputs = data.features.shape[1]
    return Law(
        inputs, recipe.width, data.classes, recipe.depth - 1, block_of(inputs, recipe.width),
        recipe.seed, recipe.batch_norm, recipe.optimizer == "adam", recipe.loss == "mse",
        float(recipe.alpha), float(recipe.dropout), kick, float(recipe.label_noise),
        float(recipe.learning_rate), float(recipe.weight_decay), float(recipe.momentum),
    )  # fmt: skip


def room_for(law: Law, samples: int, kind: type) -> Net:
    """Zeros for a network that takes batches of up to `samples`."""
    p, w, hidden = law.inputs, law.width, law.hidden
    shapes = [(w, p if layer == 0 else w) for layer in range(hidden)]
    per_unit, last = 3 if law.norm else 1, law.classes * ((w if hidden else p) + 1)
    count = (2 * p if law.norm else 0) + last + sum(u * (fan + per_unit) for u, fan in shapes)
    norms = p + hidden * w if law.norm else 0
    widest, rows = max(p, w, law.classes), min(law.block, samples)
    stream = chance.whole_groups(rows * max(p, w) + chance.GROUP)

    def room(*shape: int) -> np.ndarray:
        return np.zeros(shape, kind)

    theta, grad, first, second = apart((count,) * 4, kind)
    z, d, before, active, x = apart(
        (hidden * samples * w, samples * w, rows * w, rows * w, samples * p), kind)
    return Net(
        theta=theta, grad=grad, first=first, second=second, running_mean=room(norms),
        running_variance=room(norms), x=x, z=z.reshape(hidden, samples * w), d=d, active=active,
        before=before, logits=room(samples * law.classes), mean=room(hidden + 1, widest),
        variance=room(hidden + 1, widest), inverse=room(hidden + 1, widest),
        factor=room(hidden + 1, widest), offset=room(hidden + 1, widest), constant=room(widest),
        tiles=room(8, tiles.TILE * widest), turned=room(widest**2), part=room(2, widest**2),
        labels=np.zeros(samples, np.int64),
        words=np.zeros(max(stream, chance.whole_groups(2 * samples)), np.uint32),
        normals=np.zeros(stream, np.float32),
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
        share(net.running_mean, [norm.running_mean for norm in norms])
        share(net.running_variance, [norm.running_var for norm in norms])
