"""The convolutional network of the paper: every block halves the picture and doubles it again."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn.utils import skip_init

from rulerlab.errors import UsageError
from rulerlab.network.recipe import Recipe


def picture_shape(inputs: int) -> tuple[int, int, int]:
    """(channels, side, side) of a square grey or colour picture that was laid out flat."""
    for channels in (1, 3):
        side = math.isqrt(inputs // channels)
        if channels * side**2 == inputs and side % 2 == 0:
            return channels, side, side
    raise UsageError(f"{inputs} features are no square picture with an even side; a CNN needs one")


def convolution_block(channels: int, recipe: Recipe) -> nn.Sequential:
    return nn.Sequential(
        skip_init(nn.Conv2d, channels, recipe.width, kernel_size=3, padding=1),
        nn.BatchNorm2d(recipe.width) if recipe.batch_norm else nn.Identity(),
        nn.LeakyReLU(recipe.alpha),
        nn.MaxPool2d(2),
        nn.Upsample(scale_factor=2, mode="nearest"),
        nn.Dropout(recipe.dropout),
    )


class CNN(nn.Module):
    """Pictures laid out flat (n, channels x side x side) to logits (n, classes).

    BatchNorm on the picture, depth - 1 blocks of convolution 3 x 3, BatchNorm, LeakyReLU, MaxPool,
    upsampling and dropout, one linear layer. Its `stages` are the normalised picture, what each
    pool leaves (before it is blown up again) and the logits.
    """

    def __init__(self, recipe: Recipe, inputs: int, classes: int):
        super().__init__()
        shape = picture_shape(inputs)
        channels = [shape[0]] + [recipe.width] * (recipe.depth - 1)
        self.picture = nn.Unflatten(1, shape)
        self.norm = nn.BatchNorm2d(shape[0]) if recipe.batch_norm else nn.Identity()
        self.hidden = nn.ModuleList(convolution_block(count, recipe) for count in channels[:-1])
        self.last = skip_init(nn.Linear, channels[-1] * shape[1] * shape[2], classes)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        signal = self.norm(self.picture(features))
        for block in self.hidden:
            signal = block(signal)
        return self.last(signal.flatten(1))

    def stages(self) -> list[nn.Module]:
        return [self.norm, *(block[3] for block in self.hidden), self.last]
