"""Which trained networks share their load as a curve does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rulerlab.compare.scale import Distance, Scatter, distance, has_load, on_one_scale
from rulerlab.errors import InputError, UsageError
from rulerlab.network.atlas import Cell
from rulerlab.records import Diagram, LoadCurve

ACCEPTED = 0.05  # a setting whose p is smaller is told apart from the curve


@dataclass(frozen=True)
class Neighbour:
    """Networks of one setting and how far they are from the curve."""

    cell: Cell
    distance: Distance

    @property
    def accepted(self) -> bool:
        """Whether the curve may be that of one more network of this setting."""
        return self.distance.p >= ACCEPTED


def scatter_of(cell: Cell, parts: int) -> Scatter:
    """How the networks of one setting differ on one scale.

    The cell's covariance is its own networks' drawn towards that of its knob, which counts as
    much as one network per point.
    """
    inner = slice(1, parts)
    return Scatter(on_one_scale(cell.curve, parts).covariance[inner, inner],
                   cell.seeds - 1 + len(cell.curve.remaining))


def neighbours(
    curve: LoadCurve, cells: Sequence[Cell], *, like: Sequence[Cell] | None = None
) -> list[Neighbour]:
    """Every setting with its distance from the curve, nearest first.

    The question asked of each: could the curve, with its own errors, be one more network of this
    setting? So the networks' scatter counts, once for the network and once for their mean. Cells
    that tell no scatter (a published diagram of means) take the mean scatter of `like`. Settings
    whose networks separate nothing for sure have no shape and are left out; InputError if that is
    all of them.
    """
    cells = [cell for cell in cells if has_load(cell.curve)]
    if not cells:
        raise InputError("no network of the table separates its classes: there is nothing to "
                         "compare with; train longer, or leave --networks out")
    layers = min(len(cell.curve.loads) for cell in cells)
    parts = min(len(curve.loads), layers)
    lent = None if like is None else _mean_scatter(like, parts)
    found = []
    for cell in cells:
        scatter = scatter_of(cell, parts) if lent is None else lent
        both = Scatter(scatter.covariance * (1 + 1 / cell.seeds), scatter.degrees_of_freedom)
        exact = LoadCurve(cell.curve.remaining, np.zeros_like(cell.curve.covariance), "network")
        found.append(Neighbour(cell, distance(curve, exact, scatter=both, parts=parts)))
    return sorted(found, key=_remoteness)


def _remoteness(found: Neighbour) -> tuple[bool, float]:
    """Those that may be the same by chi2; the others by how far they look."""
    return not found.accepted, found.distance.chi2 if found.accepted else found.distance.rms


def _mean_scatter(cells: Sequence[Cell], parts: int) -> Scatter:
    every = [scatter_of(cell, parts) for cell in cells if has_load(cell.curve)]
    return Scatter(np.mean([one.covariance for one in every], axis=0),
                   float(np.median([one.degrees_of_freedom for one in every])))


def diagram_of(cells: Sequence[Cell], knob: str) -> Diagram:
    """The networks of one knob as a diagram: nonlinearity 1 - alpha down, the knob across.

    Loads are shares of all. Raises UsageError if no cell has the knob.
    """
    own = [cell for cell in cells if cell.knob == knob and has_load(cell.curve)]
    if not own:
        known = ", ".join(sorted({cell.knob for cell in cells}))
        raise UsageError(f"no network of the table was trained over {knob!r}; there are: {known}")
    rows = np.unique([1 - cell.alpha for cell in own])
    columns = np.unique([cell.value for cell in own])
    parts = len(own[0].curve.loads)
    loads = np.full((len(rows), len(columns), parts), np.nan)
    sigma = np.full(loads.shape[:2], np.nan)
    for cell in own:
        place = np.searchsorted(rows, 1 - cell.alpha), np.searchsorted(columns, cell.value)
        loads[place] = on_one_scale(cell.curve).loads
        sigma[place] = cell.curve.sigma_of("c_normalised") / np.sqrt(cell.seeds)
    return Diagram("nonlinearity, 1 - alpha", rows, knob, columns, loads, sigma)
