"""Which trained networks share their load as this curve does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rulerlab.compare.scale import Distance, Scatter, distance, on_one_scale
from rulerlab.records import LoadCurve

PRIOR_NETWORKS = 10  # weight of the pooled scatter against that of a setting's own networks
ACCEPTED = 0.05  # a setting whose p is smaller is told apart from the curve


@dataclass(frozen=True)
class Setting:
    """Networks that were trained alike but for their seed."""

    data: str
    knob: str  # what makes the noise: "dropout", "learning-rate", ...
    value: float
    alpha: float  # slope of the leaky ReLU: 0 ReLU, 1 linear
    accuracy: float  # per cent on test data, mean over the networks
    curves: tuple[LoadCurve, ...]  # one per network


@dataclass(frozen=True)
class Neighbour:
    """A setting and how far its networks are from the curve."""

    setting: Setting
    distance: Distance

    @property
    def accepted(self) -> bool:
        """Whether the curve may be that of one more network of this setting."""
        return self.distance.p >= ACCEPTED


def scatter_of(settings: Sequence[Setting], parts: int) -> list[Scatter]:
    """How networks of one setting differ on one scale, for each setting.

    The covariance of each setting's own networks, drawn towards that of all settings as if it
    held PRIOR_NETWORKS more: a few networks alone determine no covariance.
    """
    sums, freedom = [], []
    for setting in settings:
        shares = np.array([on_one_scale(curve, parts).remaining[1:-1] for curve in setting.curves])
        deviation = shares - shares.mean(axis=0)
        sums.append(deviation.T @ deviation)
        freedom.append(len(shares) - 1)
    pooled = np.sum(sums, axis=0) / max(sum(freedom), 1)
    return [Scatter((own + PRIOR_NETWORKS * pooled) / (few + PRIOR_NETWORKS),
                    min(few + PRIOR_NETWORKS, sum(freedom)))
            for own, few in zip(sums, freedom, strict=True)]


def mean_curve(setting: Setting, parts: int) -> LoadCurve:
    """Mean of a setting's networks on one scale; without the error of the mean."""
    shares = np.mean([on_one_scale(curve, parts).remaining for curve in setting.curves], axis=0)
    return LoadCurve(shares, np.zeros((parts + 1,) * 2), "network", "layer", "share")


def neighbours(curve: LoadCurve, settings: Sequence[Setting]) -> list[Neighbour]:
    """Every setting with its distance from the curve, nearest first.

    The question asked of each: could the curve, with its own errors, be one more network of this
    setting? So the networks' scatter counts, once for the network and once for their mean.
    """
    layers = min(len(setting.curves[0].loads) for setting in settings)
    parts = min(len(curve.loads), layers)
    found = []
    for setting, scatter in zip(settings, scatter_of(settings, parts), strict=True):
        both = replace(scatter, covariance=scatter.covariance * (1 + 1 / len(setting.curves)))
        found.append(Neighbour(setting, distance(curve, mean_curve(setting, parts), scatter=both)))
    return sorted(found, key=lambda neighbour: neighbour.distance.chi2)
