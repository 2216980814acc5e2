"""Training by a plain torch loop: any module, and what the compiled way is measured against."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from rulerlab.network import chance
from rulerlab.network.data import DataSet
from rulerlab.network.recipe import Recipe
from rulerlab.network.steps import batch_ends, epoch_order


def loss_of(recipe: Recipe, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, or the mean square of what is missing to the one-hot labels."""
    if recipe.loss == "mse":
        wanted = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
        return functional.mse_loss(logits, wanted)
    return functional.cross_entropy(logits, labels)


def optimizer_of(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    knobs = {"lr": recipe.learning_rate, "weight_decay": recipe.weight_decay}
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(model.parameters(), momentum=recipe.momentum, **knobs)
    return torch.optim.Adam(model.parameters(), **knobs)


class KeyedDropout:
    """Stands in for the dropout layers of a model with masks keyed by seed, layer and step."""

    def __init__(self, recipe: Recipe, model: nn.Module):
        self.recipe, self.step = recipe, 0
        self.layers = [part for part in model.modules() if isinstance(part, nn.Dropout)]
        self.hooks = [part.register_forward_hook(self._drop) for part in self.layers]

    def _drop(self, layer: nn.Module, inputs: tuple[torch.Tensor], _out: torch.Tensor):
        signal, share = inputs[0], self.recipe.dropout
        kept = chance.kept(self.recipe.seed, self.layers.index(layer), self.step,
                           len(signal), signal[0].numel(), share)
        mask = torch.from_numpy(kept).reshape(signal.shape)
        return signal * mask.to(signal.dtype) / (1 - share)

    def __enter__(self) -> KeyedDropout:
        for layer in self.layers:
            layer.eval()  # torch's own dropout is the identity then
        return self

    def __exit__(self, *_) -> None:
        for hook in self.hooks:
            hook.remove()


def epochs_by_torch(recipe: Recipe, data: DataSet, model: nn.Module) -> Iterator[float]:
    """Train `model` in place, yielding the mean loss of each epoch; the dtype is the model's."""
    kind = next(model.parameters()).dtype
    features = torch.as_tensor(data.features, dtype=kind)
    labels, samples = torch.from_numpy(data.labels), len(data.labels)
    kick = recipe.input_noise * float(np.std(data.features, dtype=np.float64))
    optimizer, ends = optimizer_of(recipe, model), batch_ends(recipe, samples)
    model.train()
    with KeyedDropout(recipe, model) as dropout:
        for epoch in range(recipe.epochs):
            order = torch.from_numpy(epoch_order(recipe, epoch, samples))
            total = 0.0
            for first, last in ends:
                chosen = order[first:last]
                signal, wanted = features[chosen], labels[chosen]
                if kick:
                    normals = chance.input_kick(
                        recipe.seed, dropout.step, len(chosen), features.shape[1])
                    signal = signal + kick * torch.from_numpy(normals).to(kind)
                if recipe.label_noise:
                    wanted = torch.from_numpy(chance.mixed_labels(
                        wanted.numpy(), recipe.seed, dropout.step, recipe.label_noise,
                        data.classes))
                optimizer.zero_grad()
                loss = loss_of(recipe, model(signal), wanted)
                loss.backward()
                optimizer.step()
                total += float(loss.detach()) * len(chosen)
                dropout.step += 1
            yield total / ends[-1][1]
