"""Train many small networks side by side; each is what plain torch would have made of it alone."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn

from rulerlab.errors import UsageError
from rulerlab.network.data import DataSet
from rulerlab.network.kernel import epochs_by_kernel
from rulerlab.network.mlp import build
from rulerlab.network.recipe import Recipe
from rulerlab.network.reference import epochs_by_torch
from rulerlab.network.steps import finished

METHODS = ("auto", "torch", "kernel")
GLANCE_S = 0.2  # between two looks at how far the networks are


@dataclass(frozen=True)
class Trained:
    """A network after training, in eval mode."""

    recipe: Recipe
    model: nn.Module
    losses: np.ndarray  # (epochs run,) mean training loss of each epoch
    accuracy: float  # per cent of the test samples that are classified rightly


def accuracy_percent(model: nn.Module, data: DataSet) -> float:
    """Share of the test samples that a network in eval mode classifies rightly, in per cent."""
    if not len(data.test_labels):
        return float("nan")
    kind = next(model.parameters()).dtype
    with torch.no_grad():
        guess = model(torch.as_tensor(data.test_features, dtype=kind)).argmax(dim=1)
    return 100.0 * float(np.mean(guess.numpy() == data.test_labels))


def method_for(recipe: Recipe, method: str = "auto") -> str:
    """How a recipe is trained, "kernel" or "torch"; UsageError if `method` can't do it."""
    if method not in METHODS:
        raise UsageError(f"method is {method!r}; choose {', '.join(METHODS)}")
    if method == "auto":
        return "kernel" if recipe.network == "mlp" else "torch"
    if method == "kernel" and recipe.network != "mlp":
        raise UsageError(f"the kernel trains MLPs only, not a {recipe.network}; use auto or torch")
    return method


class _Stopped(Exception):
    """Nobody waits for this network any more."""


class _Crew:
    """The networks in training: how many epochs are done, and whether to go on."""

    def __init__(self, recipes: list[Recipe]):
        self.total = sum(recipe.epochs for recipe in recipes)
        self.done, self.lock, self.stop = 0, threading.Lock(), threading.Event()

    def share(self) -> float:
        return self.done / self.total if self.total else 1.0

    def train_one(self, recipe: Recipe, data: DataSet, method: str) -> Trained:
        model = build(recipe, data.features.shape[1], data.classes)
        losses: list[float] = []
        epochs = epochs_by_torch if method == "torch" else epochs_by_kernel
        for loss in epochs(recipe, data, model):
            losses.append(loss)
            if self.stop.is_set():
                raise _Stopped
            with self.lock:
                self.done += 1
            if finished(recipe, losses):
                break
        with self.lock:
            self.done += recipe.epochs - len(losses)
        model.eval()
        return Trained(recipe, model, np.array(losses), accuracy_percent(model, data))


def train(
    recipes: Iterable[Recipe],
    data: DataSet,
    *,
    method: str = "auto",
    threads: int | None = None,
    progress: Callable[[float], None] | None = None,
) -> Iterator[Trained]:
    """Train one network per recipe, yielding them in the order of the recipes.

    Networks train side by side on `threads` threads (default: one per processor), each on one.
    `method` "torch" is the plain loop, "kernel" the compiled one for MLPs, "auto" the faster that
    can do it. `progress` is told the share of all epochs that is done. What a recipe gives does
    not depend on the others. When the iterator is closed early the rest is dropped.
    Raises UsageError for a method that can't train a recipe.
    """
    recipes = list(recipes)
    for recipe in recipes:
        method_for(recipe, method)
    return _side_by_side(recipes, data, method, threads or os.cpu_count() or 1, progress)


def _side_by_side(
    recipes: list[Recipe], data: DataSet, method: str, threads: int,
    progress: Callable[[float], None] | None,
) -> Iterator[Trained]:
    crew, before = _Crew(recipes), torch.get_num_threads()
    pool = ThreadPoolExecutor(threads)
    torch.set_num_threads(1)
    try:
        with threadpool_limits(1, user_api="blas"):
            jobs = [pool.submit(crew.train_one, recipe, data, method_for(recipe, method))
                    for recipe in recipes]
            for job in jobs:
                yield _watched(job, crew, progress)
    finally:
        crew.stop.set()
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(before)


def _watched(
    job: Future[Trained], crew: _Crew, progress: Callable[[float], None] | None
) -> Trained:
    while progress:
        done, _ = wait([job], GLANCE_S)
        progress(crew.share())
        if done:
            break
    return job.result()
