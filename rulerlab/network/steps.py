"""What both ways of training share: which samples make a step, and when training is over."""

from __future__ import annotations

import math

import numpy as np

from rulerlab.network import chance
from rulerlab.network.recipe import Recipe

SMALL_LOSS, SMALL_CHANGE = 1e-4, 1e-10  # as published


def batch_ends(recipe: Recipe, samples: int) -> list[tuple[int, int]]:
    """First and last + 1 place in the order of an epoch of each batch.

    The last batch holds what is left, as torch's DataLoader does it; a single sample, which
    BatchNorm can't normalise, sits the epoch out.
    """
    size = min(recipe.batch or samples, samples)
    ends = [(first, min(first + size, samples)) for first in range(0, samples, size)]
    if recipe.batch_norm and ends[-1][1] - ends[-1][0] == 1:
        ends.pop()
    return ends


def epoch_order(recipe: Recipe, epoch: int, samples: int) -> np.ndarray:
    """Places of the samples in the order of one epoch; a full batch keeps them as they are."""
    if (recipe.batch or samples) >= samples:
        return np.arange(samples)
    return chance.order(recipe.seed, epoch, samples)


def finished(recipe: Recipe, losses: list[float]) -> bool:
    """Whether training rests, or has blown up."""
    if len(losses) >= recipe.epochs or (losses and not math.isfinite(losses[-1])):
        return True
    if not recipe.stop or not losses:
        return False
    change = abs(losses[-1] - losses[-2]) if len(losses) > 1 else math.inf
    return losses[-1] < SMALL_LOSS or change < SMALL_CHANGE
