"""Labelled samples in batches, in the same order each time, and what a layer makes of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler

from rulerlab.errors import InputError, UsageError
from rulerlab.network.taps import Tap

LABELS = ("labels", "label", "targets", "target", "y")  # names in batches that are mappings
AT_ONCE = 256  # samples in a batch when arrays are given
POOLS = ("auto", "flatten", "mean", "first", "last", "tokens")
Pool = str | Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Batch:
    """Inputs as the network takes them, and the class of each sample (or of each token)."""

    inputs: Any  # tensor, tuple or mapping
    labels: np.ndarray  # (b,) or (b, t); negative: not to be counted
    mask: torch.Tensor | None  # (b, t) true where a token is no padding

    def first(self, count: int) -> Batch:
        """The first samples only."""
        def cut(value):
            if isinstance(value, Mapping):
                return {name: cut(part) for name, part in value.items()}
            if isinstance(value, tuple | list):
                return tuple(cut(part) for part in value)
            whole = isinstance(value, torch.Tensor) and value.shape[:1] == self.labels.shape[:1]
            return value[:count] if whole else value

        return Batch(cut(self.inputs), self.labels[:count], cut(self.mask))


class Batches:
    """A loader, or a pair of arrays, as batches that can be run through again and again.

    A DataLoader that shuffles is read in the order of its data set. Inputs go to the device and
    (floating ones) to the precision of the network. At most `samples` are taken.
    """

    def __init__(
        self, loader: Any, model: nn.Module, *, samples: int | None = None, size: int | None = None
    ):
        if hasattr(loader, "features") and hasattr(loader, "labels"):
            loader = (loader.features, loader.labels)
        if _is_pair(loader):
            inputs, labels = (torch.as_tensor(part) for part in loader)
            loader = _Cut(inputs, labels, size or AT_ONCE)
        if iter(loader) is loader:
            raise UsageError("the loader can be read once only; give a DataLoader, a list of "
                             "batches, or a pair (features, labels)")
        self._loader = _in_order(loader)
        self._samples = samples
        floating = (weight for weight in model.parameters() if weight.is_floating_point())
        weight = next(floating, torch.zeros(()))
        self._device, self._precision = weight.device, weight.dtype

    def __iter__(self) -> Iterator[Batch]:
        left = self._samples
        for raw in self._loader:
            batch = self._read(raw)
            if left is not None and len(batch.labels) > left:
                batch = batch.first(left)
            if len(batch.labels):
                yield batch
            if left is not None:
                left -= len(batch.labels)
                if left <= 0:
                    return

    def _read(self, raw: Any) -> Batch:
        inputs, labels = _split(raw)
        mask = inputs.get("attention_mask") if isinstance(inputs, Mapping) else None
        mask = None if mask is None or mask.ndim != 2 else torch.as_tensor(mask).bool()
        return Batch(self._put(inputs), _class_numbers(labels), mask)

    def _put(self, value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: self._put(part) for name, part in value.items()}
        if isinstance(value, tuple | list):
            return tuple(self._put(part) for part in value)
        if isinstance(value, np.ndarray):
            value = torch.as_tensor(value)
        if isinstance(value, torch.Tensor):
            precision = self._precision if value.is_floating_point() else value.dtype
            return value.to(self._device, precision)
        return value


class _Cut:
    """Arrays cut into batches."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor, size: int):
        self.parts = [(inputs[i : i + size], labels[i : i + size])
                      for i in range(0, len(labels), size)]  # fmt: skip

    def __iter__(self):
        return iter(self.parts)


def _is_pair(loader: Any) -> bool:
    return (isinstance(loader, tuple | list) and len(loader) == 2
            and all(isinstance(part, np.ndarray | torch.Tensor) for part in loader)
            and len(loader[0]) == len(loader[1]))  # fmt: skip


def _in_order(loader: Any) -> Any:
    if not isinstance(loader, DataLoader) or not isinstance(loader.sampler, RandomSampler):
        return loader
    return DataLoader(
        loader.dataset, batch_size=loader.batch_size, sampler=SequentialSampler(loader.dataset),
        collate_fn=loader.collate_fn, num_workers=loader.num_workers,
    )


def _split(raw: Any) -> tuple[Any, Any]:
    """Inputs and labels of one batch."""
    if isinstance(raw, Mapping):
        name = next((name for name in LABELS if name in raw), None)
        if name is None:
            raise InputError(f"a batch holds {', '.join(map(str, raw))}, but no labels; "
                             f"name them {LABELS[0]!r}")
        return {key: part for key, part in raw.items() if key != name}, raw[name]
    if isinstance(raw, tuple | list) and len(raw) > 1:
        return (raw[0] if len(raw) == 2 else tuple(raw[:-1])), raw[-1]
    raise InputError("a batch of the loader must be (inputs, labels) or a mapping with labels")


def _class_numbers(labels: Any) -> np.ndarray:
    labels = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
    if labels.dtype.kind == "f":
        if labels.ndim == 2 and (labels.sum(axis=1) == 1).all() and (labels.max(axis=1) == 1).all():
            return labels.argmax(axis=1)  # one column per class
        if (labels != np.round(labels)).any():
            raise InputError("the labels are no class numbers; data separation needs classes")
    elif labels.dtype.kind not in "iub":
        raise InputError(f"the labels are {labels.dtype}, expected class numbers")
    return labels.astype(np.int64).reshape(labels.shape if labels.ndim == 2 else -1)


def features_of(tensor: torch.Tensor, tap: Tap, batch: Batch, pool: Pool) -> np.ndarray:
    """What one tap saw of a batch, as rows of features: one per sample, or one per token.

    Maps (channels, height, width) are laid out flat ("mean": averaged over their places); tokens
    (t, d) are averaged without padding, or "first", "last", or each "tokens" its own row.
    """
    pool = "tokens" if pool == "auto" and batch.labels.ndim == 2 else pool
    if tensor.is_nested and isinstance(pool, str):
        return _rows(torch.cat([_pooled(part[None], None, pool) for part in tensor.unbind()]))
    tensor = tensor.movedim(tap.axis, 0)
    if len(tensor) != len(batch.labels):
        raise InputError(f"{tap.name} gives {tuple(tensor.shape)} for {len(batch.labels)} samples; "
                         "name layers that keep the samples apart (layers=[...])")
    if not isinstance(pool, str):
        tensor = pool(tensor)
    elif tensor.ndim == 3 and not tap.spatial and pool != "flatten":
        fits = batch.mask is not None and batch.mask.shape == tensor.shape[:2]
        tensor = _pooled(tensor, batch.mask if fits else None, pool)
    elif tensor.ndim > 2 and pool == "mean":
        tensor = tensor.flatten(2).mean(dim=2)
    return _rows(tensor)


def _pooled(tokens: torch.Tensor, mask: torch.Tensor | None, pool: str) -> torch.Tensor:
    """Tokens (b, t, d), those that the mask (b, t) counts, as rows."""
    every = torch.ones(tokens.shape[:2], dtype=torch.bool)
    counted = (every if mask is None else mask).to(tokens.device)
    if pool == "tokens":
        return tokens[counted]
    if pool in ("first", "last"):
        first = counted.int().argmax(dim=1)
        last = counted.shape[1] - 1 - counted.flip(1).int().argmax(dim=1)
        return tokens[torch.arange(len(tokens)), first if pool == "first" else last]
    share = counted[..., None] / counted.sum(dim=1).clamp(min=1)[:, None, None]
    return (tokens.float() * share).sum(dim=1)


def _rows(tensor: torch.Tensor) -> np.ndarray:
    kept = tensor.dtype in (torch.float32, torch.float64)
    rows = tensor if kept else tensor.float()  # numpy has no bfloat16
    return rows.reshape(len(rows), -1).cpu().numpy().copy()  # the next layer may work in place


def rows_of(batch: Batch, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Label of each row of features, (rows,), and the number of its sample within the batch."""
    samples, labels = np.arange(len(batch.labels)), batch.labels
    if rows == len(labels) and labels.ndim == 1:
        return labels, samples
    each = np.full(len(labels), rows // len(labels))
    if batch.mask is not None and int(batch.mask.sum()) == rows:
        mask = batch.mask.cpu().numpy()
        each = mask.sum(axis=1)
        labels = labels[mask] if labels.ndim == 2 else labels
    if batch.labels.ndim == 1:
        labels = np.repeat(labels, each)
    if each.sum() != rows or labels.size != rows:
        raise InputError(f"a layer gives {rows} rows of features for labels of shape "
                         f"{batch.labels.shape}; choose another pool")
    return labels.ravel(), np.repeat(samples, each)
