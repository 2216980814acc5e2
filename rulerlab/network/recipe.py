"""How a network is made and trained; the defaults are those of Shi et al. (2025)."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields

from rulerlab.errors import InputError, UsageError

CHOICES = {
    "optimizer": ("adam", "sgd"),
    "loss": ("cross-entropy", "mse"),
    "network": ("mlp", "cnn"),
}


@dataclass(frozen=True)
class Recipe:
    """One training run: everything but the data.

    Nonlinearity falls as `alpha`, the slope of LeakyReLU below 0, rises: 0 is ReLU, 1 is a linear
    network. Noise enters by `dropout` (share of the units left out), `learning_rate`, `batch`
    (samples in a step; None: all), `label_noise` (share of the labels that a step replaces by
    random ones) and `input_noise` (in standard deviations of the features, fresh in every step).

    `depth` counts the linear layers, the last one included; `width` the units of a hidden layer
    (of a CNN: the channels). `momentum` is of SGD. With `stop` training ends early once it rests:
    when the mean loss of an epoch is below 1e-4, or changes by less than 1e-10.
    Raises UsageError for a value that can't be.
    """

    seed: int
    alpha: float = 0.0
    dropout: float = 0.0
    learning_rate: float = 1e-3
    batch: int | None = None
    epochs: int = 100
    label_noise: float = 0.0
    input_noise: float = 0.0
    optimizer: str = "adam"
    loss: str = "cross-entropy"
    width: int = 100
    depth: int = 8
    batch_norm: bool = True
    momentum: float = 0.0
    weight_decay: float = 0.0
    stop: bool = True
    network: str = "mlp"

    def __post_init__(self):
        for name, known in CHOICES.items():
            if getattr(self, name) not in known:
                raise UsageError(f"{name} is {getattr(self, name)!r}; choose {' or '.join(known)}")
        limits = {
            "seed": (0, 2**63 - 1), "alpha": (0, math.inf), "dropout": (0, 1),
            "learning_rate": (0, math.inf), "batch": (1, math.inf), "epochs": (0, math.inf),
            "label_noise": (0, 1), "input_noise": (0, math.inf), "width": (1, math.inf),
            "depth": (1, math.inf), "momentum": (0, 1), "weight_decay": (0, math.inf),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if value is not None and not (low <= value <= high and math.isfinite(value)):
                raise UsageError(f"{name} is {value:g}; it must lie in {low:g}..{high:g}")
        if self.dropout == 1:
            raise UsageError("dropout is 1, which leaves no unit to learn; take less")
        if self.batch == 1 and self.batch_norm:
            raise UsageError("BatchNorm can't normalise a batch of one sample; take 2 or more")

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=lambda number: number.item())  # numpy's numbers

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `to_json` wrote; InputError if it is none."""
        try:
            entries = json.loads(text)
            known = {field.name for field in fields(cls)}
            return cls(**{name: value for name, value in entries.items() if name in known})
        except (ValueError, TypeError, AttributeError) as error:
            raise InputError(f"the recipe can't be read: {error}") from error
