"""The networks of the paper as torch modules, and what each of their layers makes of the data."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn.utils import skip_init

from rulerlab.network.cnn import CNN
from rulerlab.network.recipe import Recipe


def hidden_block(inputs: int, recipe: Recipe) -> nn.Sequential:
    return nn.Sequential(
        skip_init(nn.Linear, inputs, recipe.width),
        nn.BatchNorm1d(recipe.width) if recipe.batch_norm else nn.Identity(),
        nn.LeakyReLU(recipe.alpha),
        nn.Dropout(recipe.dropout),
    )


class MLP(nn.Module):
    """Features (n, inputs) to logits (n, classes).

    BatchNorm on the input, depth - 1 blocks of linear layer, BatchNorm, LeakyReLU and dropout,
    one linear layer. Its `stages` are the normalised input, the activations of each block (before
    dropout) and the logits: depth + 1 points of a load curve.
    """

    def __init__(self, recipe: Recipe, inputs: int, classes: int):
        super().__init__()
        sizes = [inputs] + [recipe.width] * (recipe.depth - 1)
        self.norm = nn.BatchNorm1d(inputs) if recipe.batch_norm else nn.Identity()
        self.hidden = nn.ModuleList(hidden_block(size, recipe) for size in sizes[:-1])
        self.last = skip_init(nn.Linear, sizes[-1], classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        signal = self.norm(features)
        for block in self.hidden:
            signal = block(signal)
        return self.last(signal)

    def stages(self) -> list[nn.Module]:
        return [self.norm, *(block[2] for block in self.hidden), self.last]


def build(recipe: Recipe, inputs: int, classes: int) -> MLP | CNN:
    """The untrained network of a recipe, with the weights that PyTorch gives it for its seed.

    They are drawn from a generator of its own: other threads neither feel nor disturb it.
    """
    model = {"mlp": MLP, "cnn": CNN}[recipe.network](recipe, inputs, classes)
    generator = torch.Generator().manual_seed(recipe.seed)
    for part in model.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            reach = part.weight[0].numel() ** -0.5  # 1 / sqrt(fan in), for weights and biases alike
            for tensor in part.parameters():
                nn.init.uniform_(tensor, -reach, reach, generator=generator)
    return model


def layer_features(model: MLP | CNN, features: np.ndarray | torch.Tensor) -> list[np.ndarray]:
    """What each stage of a network makes of features (n, p), each (n, p_l), in eval mode.

    The stages are those of the paper's load curves: normalised input, hidden layers, logits.
    """
    found: list[np.ndarray] = []
    kind = next(model.parameters()).dtype
    hooks = [
        stage.register_forward_hook(lambda _m, _in, out: found.append(out.flatten(1).numpy()))
        for stage in model.stages()
    ]
    mode = model.training
    try:
        with torch.no_grad():
            model.eval()(torch.as_tensor(features, dtype=kind))
    finally:
        model.train(mode)
        for hook in hooks:
            hook.remove()
    return found
