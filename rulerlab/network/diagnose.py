"""What a load curve says about a network: who carries too much, and which knob to turn."""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Any

import numpy as np
import torch
from torch import nn

from rulerlab.network.batches import Batches
from rulerlab.network.curve import How, Measured, measure_layers
from rulerlab.network.taps import evaluating, kind_of, run
from rulerlab.records import LoadCurve
from rulerlab.store.tables import shape_numbers

OVERLOADED, IDLE, FAIR = "overloaded", "idle", "fair"
MUCH, LITTLE = 1.5, 0.5  # fair shares
CHANCE = 0.05  # that any layer of an even network is called overloaded or idle
SURE = 0.95  # probability of a regime from which advice is given
NEAR = 0.12  # |c~| of the most accurate cells of the published diagrams
ADVICE = {
    "concave": "the load sits in the deep layers: more dropout, more noise on data or labels, a "
               "larger learning rate, a smaller batch, or less nonlinearity would spread it",
    "near": "near enough to even sharing: the most accurate networks of the published diagrams "
            "have |c~| up to 0.12; leave it",
    "convex": "the load sits in the shallow layers: less dropout, less noise on data or labels, a "
              "smaller learning rate, a larger batch, or more nonlinearity would spread it",
    "undecided": "within its error the load may be near enough to even sharing or not: leave it, "
                 "or measure on more samples",
    "no load": "the layers do not separate the classes: there is no load to share; train it, or "
               "check that data and labels belong to it",
}
LIMITS = (
    "Evidence: MLPs of depth 8 and one small CNN on 10 x 10 pictures, features of the training "
    "set, 10 seeds (Shi et al. 2025). That even sharing goes with accuracy is a correlation in "
    "these diagrams; for other networks the advice is an analogy to be tried, not a proof."
)


@dataclass(frozen=True)
class EqualSeparation:
    """The law of He & Su (2023): log tr(S_W S_B^+) falls by the same amount in each layer."""

    r: float  # Pearson correlation with depth; -1: the law holds
    r_sigma: float
    rho: float  # factor by which one layer reduces the fuzziness
    rho_sigma: float


@dataclass(frozen=True)
class Diagnosis:
    """A network's load curve, judged."""

    measured: Measured
    roles: tuple[str | None, ...]  # of each layer, (L,); None: there is no load to share
    law: EqualSeparation
    accuracy: float  # per cent, on the samples that were measured; NaN if it gives no logits
    batch_norm: bool
    regime: str | None  # None: no load, or undecided within the errors
    advice: str

    @property
    def curve(self) -> LoadCurve:
        return self.measured.curves["trace"]

    def summary(self) -> dict[str, Any]:
        """The result in plain values: what --json, run.json and the screen share."""
        curve, sigma = self.curve, np.sqrt(np.diagonal(self.curve.covariance))
        points: list[dict[str, Any]] = [
            {"name": name, "width": width, "D": value, "D_sigma": error,
             "load": None, "load_sigma": None, "share": None, "share_sigma": None, "role": None}
            for name, width, value, error in zip(
                self.measured.names, self.measured.widths, curve.remaining, sigma, strict=True)
        ]  # fmt: skip
        load_sigma = np.sqrt(np.diagonal(curve.load_covariance))
        for layer, (share, error) in enumerate(zip(*shares(curve), strict=True)):
            points[layer + 1] |= {
                "load": curve.loads[layer], "load_sigma": load_sigma[layer],
                "share": share, "share_sigma": error, "role": self.roles[layer],
            }  # fmt: skip
        shape = shape_numbers(curve) if has_load(curve) else {"c": curve.c, "v": curve.v}
        law = {"r": self.law.r, "r_sigma": self.law.r_sigma, "rho": self.law.rho,
               "rho_sigma": self.law.rho_sigma, "conditions": self.law_conditions}  # fmt: skip
        return {
            "samples": self.measured.samples, "classes": self.measured.classes,
            "accuracy_percent": self.accuracy, "layers": points, "law": law,
            **shape, "regime": self.regime, "advice": self.advice, "limits": LIMITS,
        }  # fmt: skip

    @property
    def law_conditions(self) -> str:
        """Under which the law was found, and what is known of them here."""
        norm = "yes" if self.batch_norm else "no"
        return ("found on training data, with BatchNorm, a nonlinear activation, some noise, and "
                f"training to the end; here: BatchNorm {norm}, accuracy {self.accuracy:.1f} %")


def has_load(curve: LoadCurve) -> bool:
    """Whether the layers separate the classes at all, by more than two standard errors."""
    ends = np.zeros(len(curve.remaining))
    ends[[0, -1]] = 1, -1
    return curve.total > 2 * float(np.sqrt(ends @ curve.covariance @ ends))


def shares(curve: LoadCurve) -> tuple[np.ndarray, np.ndarray]:
    """Load of each layer in fair shares (1: even) and its standard deviation, to first order.

    NaN where there is no load to share.
    """
    layers = len(curve.loads)
    if not has_load(curve):
        return np.full(layers, np.nan), np.full(layers, np.nan)
    share = curve.loads * layers / curve.total
    slope = (np.eye(layers) * layers - share[:, None]) / curve.total
    return share, np.sqrt(np.diagonal(slope @ curve.load_covariance @ slope.T))


def roles(curve: LoadCurve) -> tuple[str | None, ...]:
    """Overloaded, idle or fair: which layers carry surely more than 1.5, less than 0.5 fair shares.

    Surely: by so many standard deviations that chance alone calls any layer so in 5 % of cases.
    """
    layers = len(curve.loads)
    if not has_load(curve):
        return (None,) * layers
    limit = NormalDist().inv_cdf(1 - CHANCE / (2 * layers))
    found: list[str | None] = []
    for layer, load in enumerate(curve.loads):
        role = FAIR
        for name, share, sign in ((OVERLOADED, MUCH, 1), (IDLE, LITTLE, -1)):
            weight = np.eye(layers)[layer] - share / layers
            excess = sign * (load - share * curve.total / layers)
            if excess > limit * np.sqrt(weight @ curve.load_covariance @ weight):
                role = name
        found.append(role)
    return tuple(found)


def equal_separation(curve: LoadCurve) -> EqualSeparation:
    """r and rho of a straight line through the D (pseudo-inverse form) against depth."""
    depth = np.arange(len(curve.remaining)) - (len(curve.remaining) - 1) / 2
    weight = depth / (depth @ depth)
    rho = float(np.exp(weight @ curve.remaining))
    sigma = rho * float(np.sqrt(weight @ curve.covariance @ weight))
    return EqualSeparation(curve.r, curve.sigma_of("r"), rho, sigma)


def _regime(curve: LoadCurve) -> tuple[str | None, str]:
    """The regime, where it is sure enough, and the advice."""
    if not has_load(curve):
        return None, ADVICE["no load"]
    probability = curve.regime_probability()
    likely = max(probability, key=lambda name: probability[name])
    c = NormalDist(curve.c_normalised, max(curve.sigma_of("c_normalised"), 1e-12))
    below, above = c.cdf(-NEAR), 1 - c.cdf(NEAR)
    chances = {"concave": below, "near": 1 - below - above, "convex": above}
    advice = next((name for name, chance in chances.items() if chance >= SURE), "undecided")
    return likely if probability[likely] >= SURE else None, ADVICE[advice]


def _accuracy_percent(model: nn.Module, batches: Batches) -> float:
    """Share of samples whose largest output is their class; NaN for outputs that are no logits."""
    right = total = 0
    with evaluating(model):
        for batch in batches:
            output = run(model, batch.inputs)
            enough = (isinstance(output, torch.Tensor) and output.ndim == 2
                      and batch.labels.ndim == 1 and output.shape[1] > batch.labels.max())
            if not enough:
                return float("nan")
            right += int((output.argmax(dim=1).cpu().numpy() == batch.labels).sum())
            total += len(batch.labels)
    return 100.0 * right / total


def diagnose(model: nn.Module, loader: Any, how: How | None = None) -> Diagnosis:
    """Load curve, roles of the layers, regime, law of equal separation and advice for a network.

    `loader` gives the samples it was trained on, see `load_curve`. Both measures are taken, with
    errors, whatever `how` says: the load curve is the trace ratio, the law takes the
    pseudo-inverse form.
    """
    how = how or How()
    both = replace(how, measures=("trace", "pseudo_inverse"), errors=True)
    measured = measure_layers(model, loader, both)
    regime, advice = _regime(measured.curves["trace"])
    return Diagnosis(
        measured, roles(measured.curves["trace"]),
        equal_separation(measured.curves["pseudo_inverse"]),
        _accuracy_percent(model, Batches(loader, model, samples=how.samples, size=how.batch)),
        any("BatchNorm" in kind_of(module) for module in model.modules()), regime, advice,
    )  # fmt: skip
