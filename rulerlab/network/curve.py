"""Load curves of networks: the data separation at every tap, with errors, in streamed passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from rulerlab.errors import InputError, UsageError
from rulerlab.network.batches import POOLS, Batch, Batches, Pool, features_of, rows_of
from rulerlab.network.principal import PrincipalDirections
from rulerlab.network.separation import MEASURES, Separation, joint_covariance
from rulerlab.network.taps import Tap, evaluating, find_taps, tapping
from rulerlab.records import LoadCurve

PROBE = 3  # samples of the pass in which the layers are found


@dataclass(frozen=True)
class How:
    """How a network is measured; see `load_curve`."""

    layers: str | Sequence[str] = "auto"
    measures: tuple[str, ...] = ("trace",)
    pool: Pool = "auto"
    pca: int | None = None
    errors: bool = True
    samples: int | None = None
    memory_mb: float = 512.0
    batch: int | None = None  # size of the batches into which arrays are cut

    def __post_init__(self):
        for measure in self.measures:
            if measure not in MEASURES:
                raise UsageError(f"measure is {measure!r}; choose {', '.join(MEASURES)}")
        if isinstance(self.pool, str) and self.pool not in POOLS:
            raise UsageError(f"pool is {self.pool!r}; choose {', '.join(POOLS)}, or a function")


@dataclass(frozen=True)
class Measured:
    """The load curves of one network, one for each measure, over the same points."""

    names: tuple[str, ...]  # of the points, (L+1,)
    widths: tuple[int, ...]  # features at each point
    curves: dict[str, LoadCurve]
    samples: int  # rows of features: samples, or tokens
    classes: int


def load_curve(
    model: nn.Module, loader: Any, layers: str | Sequence[str] = "auto", measure: str = "trace", *,
    pool: Pool = "auto", pca: int | None = None, errors: bool = True,
    samples: int | None = None, memory_mb: float = 512.0,
) -> LoadCurve:
    """Load curve of any network: data separation D at points along its depth, with covariance.

    The network is neither edited nor trained: its layers are watched in evaluation mode, and it
    is left as it was. `loader` gives batches (inputs, labels) or mappings with "labels", or is a
    pair of arrays.

    * `layers`: "auto" (into the first block and out of each, or into each layer with weights;
      logits left out) or names of modules.
    * `measure`: "trace", "pseudo_inverse" or "inverse" (`rulerlab.network.separation`).
    * `pool`: how tokens (b, t, d) become features: "auto" (mean), "flatten", "mean", "first",
      "last", "tokens" (each token a sample), or a function of the tensor. Maps of convolutions
      are laid out flat, "mean" averages over their places.
    * `pca`: wider layers are reduced to this many principal directions first (He & Su use 100).
    * `errors`: the covariance of all D under another draw of the samples; without, it is zero.
    * `samples`: use the first ones only. `memory_mb`: what features and class means may take; if
      they don't fit, the network is run several times, for some layers at a time.

    Raises UsageError, or InputError if there are fewer than two points or classes.
    """
    how = How(layers, (measure,), pool, pca, errors, samples, memory_mb)
    return measure_layers(model, loader, how).curves[measure]


def measure_layers(model: nn.Module, loader: Any, how: How) -> Measured:
    """Load curves in several measures at once, with the names of the points."""
    batches = Batches(loader, model, samples=how.samples, size=how.batch)
    head = next(iter(batches), None)
    if head is None:
        raise InputError("the loader gives no samples")
    probe = head if how.batch else head.first(PROBE)
    classes = int(head.labels.max()) + 1
    with evaluating(model):
        taps = find_taps(model, probe.inputs, len(probe.labels), layers=how.layers,
                         classes=classes)  # fmt: skip
        widths = _widths(model, taps, probe, how)
        ledger = _Ledger()
        points: list[_Point] = []
        for some in _groups(widths, classes, how):
            ledger.rewind()
            points += _measure([taps[i] for i in some], model, batches, ledger, how)
    rows = ledger.sample
    curves = {measure: _curve(points, measure, rows if how.errors else None)
              for measure in how.measures}  # fmt: skip
    return Measured(tuple(tap.name for tap in taps), tuple(widths), curves, len(rows),
                    len(ledger.number))  # fmt: skip


def _widths(model: nn.Module, taps: list[Tap], probe: Batch, how: How) -> list[int]:
    """Features at each tap once they are pooled."""
    width = [0] * len(taps)

    def take(i: int, tensor: torch.Tensor) -> None:
        width[i] = features_of(tensor, taps[i], probe, how.pool).shape[1]

    with tapping(model, taps, take) as forward:
        forward(probe.inputs)
    return width


def _groups(widths: list[int], classes: int, how: How) -> list[list[int]]:
    """Layers that are measured together: what they accumulate takes half of the memory."""
    matrix = "inverse" in how.measures
    groups, room = [[]], 0.0
    for i, width in enumerate(widths):
        rows = 8 * classes + 4 * (how.pca or 0) + (2 * width if matrix else 0)
        need = 8 * rows * width / 2**20
        if groups[-1] and room + need > how.memory_mb / 2:
            groups.append([])
            room = 0.0
        groups[-1].append(i)
        room += need
    return groups


class _Ledger:
    """Classes and samples in the order of the loader, which must stay the same."""

    def __init__(self):
        self.number: dict[int, int] = {}  # of each label
        self.samples = 0
        self._sample: list[np.ndarray] = []  # to which sample a row of features belongs
        self._labels: list[np.ndarray] = []
        self._batch = 0

    @property
    def sample(self) -> np.ndarray:
        """Number of the sample to which each row of features belongs, (n,)."""
        return np.concatenate(self._sample)

    def rewind(self) -> None:
        self._batch = 0

    def enter(self, labels: np.ndarray, sample: np.ndarray) -> np.ndarray:
        """Class number of each row of the next batch."""
        if self._batch == len(self._labels):
            self._labels.append(labels)
            self._sample.append(self.samples + sample)
            self.samples += int(sample[-1]) + 1
        elif not np.array_equal(self._labels[self._batch], labels):
            raise InputError("the loader gives its samples in another order each time; switch "
                             "shuffling off (shuffle=False)")
        self._batch += 1
        known, place = np.unique(labels, return_inverse=True)
        for label in known:
            self.number.setdefault(int(label), len(self.number))
        return np.array([self.number[int(label)] for label in known])[place]


class _Point:
    """The measurements at one tap."""

    def __init__(self, tap: Tap, how: How):
        self.name = tap.name
        self.separations = {
            measure: Separation(measure, errors=how.errors) for measure in how.measures
        }
        self.directions = PrincipalDirections(how.pca) if how.pca else None
        self.wide = how.pca or 0
        self._axes: np.ndarray | None = None

    @property
    def passes(self) -> int:
        first = 1 if self.directions is not None else 0
        return first + max(found.passes for found in self.separations.values())

    def add(self, number: int, features: np.ndarray, member: np.ndarray) -> None:
        """Features and classes of the rows of one batch in pass `number`."""
        if self.directions is not None:
            wide = features.shape[1] > self.wide
            if number == 0:
                if wide:
                    self.directions.add(features)
                return
            if wide:
                self._axes = self.directions.axes() if self._axes is None else self._axes
                features = (features - self.directions.mean) @ self._axes
            number -= 1
        for found in self.separations.values():
            if number < found.passes:
                found.add(features, member)

    def end_pass(self, number: int) -> None:
        number -= self.directions is not None
        for measure, found in self.separations.items():
            if 0 <= number < found.passes:
                found.end_pass()
                if number == 0 and found.value == -np.inf:
                    raise InputError(f"no scatter is left within the classes ({measure})")


def _measure(
    taps: list[Tap], model: nn.Module, batches: Batches, ledger: _Ledger, how: How
) -> list[_Point]:
    """Measure some layers in as many passes as it takes; features are kept if there is room."""
    points = [_Point(tap, how) for tap in taps]
    kept: list[tuple[list[np.ndarray], np.ndarray]] = []
    left, complete = how.memory_mb / 2 * 2**20, False
    for number in range(points[0].passes):
        if not complete:
            ledger.rewind()
        for rows, member in kept if complete else _pass(taps, model, batches, ledger, how):
            for point, features in zip(points, rows, strict=True):
                _blame(point, point.add, number, features, member)
            if number == 0 and left > 0:
                left -= sum(features.nbytes for features in rows)
                kept.append((rows, member))
        complete = left > 0
        if not complete:
            kept.clear()
        for point in points:
            _blame(point, point.end_pass, number)
    return points


def _blame(point: _Point, do, *arguments) -> None:
    """Do it; what fails is told with the name of the layer."""
    try:
        do(*arguments)
    except InputError as error:
        raise InputError(f"{point.name}: {error}") from error


def _pass(
    taps: list[Tap], model: nn.Module, batches: Batches, ledger: _Ledger, how: How
) -> Iterator[tuple[list[np.ndarray], np.ndarray]]:
    """Features of every tap, and the class of each row, batch by batch."""
    rows: dict[int, np.ndarray] = {}
    current: list[Batch] = []

    def take(i: int, tensor: torch.Tensor) -> None:
        rows[i] = features_of(tensor, taps[i], current[0], how.pool)

    with tapping(model, taps, take) as forward:
        for batch in batches:
            rows.clear()
            current[:] = [batch]
            forward(batch.inputs)
            missing = [tap.name for i, tap in enumerate(taps) if i not in rows]
            if missing or len({len(part) for part in rows.values()}) != 1:
                raise InputError(f"not every layer gives the same samples in every batch "
                                 f"({', '.join(missing) or 'rows differ'}); name other layers")
            labels, sample = rows_of(batch, len(rows[0]))
            counted = labels >= 0
            if not counted.any():
                continue
            member = ledger.enter(labels[counted], sample[counted])
            yield [rows[i] if counted.all() else rows[i][counted] for i in range(len(taps))], member


def _curve(points: list[_Point], measure: str, group: np.ndarray | None) -> LoadCurve:
    found = [point.separations[measure] for point in points]
    remaining = np.array([one.value for one in found])
    covariance = np.zeros((len(found), len(found)))
    if group is not None:
        covariance = joint_covariance(np.stack([one.influence for one in found]), group)
    return LoadCurve(remaining, covariance, "network", unit="layer", quantity="1")
