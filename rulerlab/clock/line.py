"""Two clocks and the line between them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Exchange:
    """The same moment on this computer's clock and on the microcontroller's."""

    host_s: float
    mcu_s: float
    slack_s: float  # the moment may lie anywhere within +- half of this


@dataclass(frozen=True)
class ClockLine:
    """mcu_s = offset_s + (1 + drift) other_s, with the errors of both.

    `at_s` is where on the other clock the two are independent: the error is smallest there.
    """

    offset_s: float  # microcontroller time when the other clock shows `at_s`
    drift: float
    sigma_offset_s: float
    sigma_drift: float
    at_s: float = 0.0

    def to_mcu(self, other_s: np.ndarray | float) -> np.ndarray | float:
        """Microcontroller time of a reading of the other clock."""
        return self.offset_s + (1 + self.drift) * (other_s - self.at_s)

    def from_mcu(self, mcu_s: np.ndarray | float) -> np.ndarray | float:
        """Reading of the other clock at a microcontroller time."""
        return self.at_s + (mcu_s - self.offset_s) / (1 + self.drift)

    def sigma_s(self, other_s: np.ndarray | float) -> np.ndarray | float:
        """One standard deviation of `to_mcu`."""
        return np.hypot(self.sigma_offset_s, self.sigma_drift * (other_s - self.at_s))


def fit_exchanges(exchanges: list[Exchange], *, drift_before: float = 3e-3) -> ClockLine:
    """The line through the exchanges that left the least open (the quicker half).

    Over a short time the drift is only known to be within `drift_before`, that of a ceramic
    resonator. ValueError without exchanges.
    """
    if not exchanges:
        raise ValueError("a clock needs at least one exchange, got none")
    quick = sorted(exchanges, key=lambda e: e.slack_s)[: max(4, (len(exchanges) + 1) // 2)]
    host = np.array([e.host_s for e in quick])
    shift = np.array([e.mcu_s - e.host_s for e in quick])
    sigma = np.array([e.slack_s for e in quick]) / np.sqrt(12)  # anywhere within the slack
    weight = sigma**-2
    at = float((weight * host).sum() / weight.sum())
    precision = (weight * (host - at) ** 2).sum() + drift_before**-2
    drift = float((weight * (host - at) * shift).sum() / precision)
    offset = at + float((weight * shift).sum() / weight.sum())
    return ClockLine(
        offset, drift, float(weight.sum() ** -0.5), float(precision**-0.5), at
    )
