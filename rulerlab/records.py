"""The values that pass from one stop of the path to the next: frozen, checked once, numpy only.

Index 0 is the held end (network input), the last index the pulled end (network output).
T frames, N points, L segments.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

DETECTED, PREDICTED, EDITED, LOST = "detected", "predicted", "edited", "lost"
STATUSES = (DETECTED, PREDICTED, EDITED, LOST)
SOURCES = ("ruler", "blocks", "chain", "network")


def _expect(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    if np.shape(array) != shape:
        raise ValueError(f"{name} has shape {np.shape(array)}, expected {shape}")


def _expect_rising(name: str, time_s: np.ndarray) -> None:
    if len(time_s) > 1 and not (np.diff(time_s) > 0).all():
        raise ValueError(f"{name} must rise from frame to frame")


@dataclass(frozen=True)
class Tracks:
    """Where each point of the chain was seen, frame by frame, in the pixels of the video."""

    time_s: np.ndarray  # (T,) the container's own timestamps
    position_px: np.ndarray  # (T, N, 2) OpenCV's convention; NaN where lost
    covariance_px: np.ndarray  # (T, N, 2, 2) calibrated; NaN where lost
    status: np.ndarray  # (T, N) one of STATUSES

    def __post_init__(self):
        frames, points = np.shape(self.status)
        _expect("time_s", self.time_s, (frames,))
        _expect("position_px", self.position_px, (frames, points, 2))
        _expect("covariance_px", self.covariance_px, (frames, points, 2, 2))
        _expect_rising("time_s", self.time_s)
        unknown = set(np.unique(self.status)) - set(STATUSES)
        if unknown:
            raise ValueError(f"status {sorted(unknown)} is none of {STATUSES}")

    @property
    def points(self) -> int:
        return self.status.shape[1]

    def share_lost(self) -> np.ndarray:
        """Share of the frames in which each point is lost, (N,)."""
        return (self.status == LOST).mean(axis=0)

    def sigma_px(self) -> np.ndarray:
        """One standard deviation of x and y, (T, N, 2)."""
        return np.sqrt(np.diagonal(self.covariance_px, axis1=-2, axis2=-1))


@dataclass(frozen=True)
class Motion:
    """Joints (or blocks) against time, held end first; from a video or from a simulation.

    The errors have two parts: `covariance_mm2` belongs to each point alone, and the columns of
    `shared_mm` are effects that move many points together by a known pattern (a wrong scale, a
    board that is registered a little off), each with unit variance.
    """

    time_s: np.ndarray  # (T,)
    joint_mm: np.ndarray  # (T, N, 2) x along the pull
    covariance_mm2: np.ndarray  # (T, N, 2, 2)
    shared_mm: np.ndarray | None = None  # (T, N, 2, S) shift of each point per unit of effect s
    status: np.ndarray | None = None  # (T, N)
    unit: str = "mm"  # "mm", or "px" when nothing gives the scale

    def __post_init__(self):
        frames, points = np.shape(self.joint_mm)[:2]
        _expect("time_s", self.time_s, (frames,))
        _expect("joint_mm", self.joint_mm, (frames, points, 2))
        _expect("covariance_mm2", self.covariance_mm2, (frames, points, 2, 2))
        if self.shared_mm is not None:
            _expect("shared_mm", self.shared_mm, (frames, points, 2, self.shared_mm.shape[-1]))
        if self.status is not None:
            _expect("status", self.status, (frames, points))
        _expect_rising("time_s", self.time_s)

    def extension_mm(self) -> np.ndarray:
        """Difference of neighbouring points along the pull, (T, L)."""
        return np.diff(self.joint_mm[..., 0], axis=1)

    def extension_sigma_mm(self) -> np.ndarray:
        """Standard deviation of every extension, shared effects included, (T, L)."""
        own = self.covariance_mm2[..., 0, 0]
        variance = own[:, 1:] + own[:, :-1]
        if self.shared_mm is not None:
            variance = variance + (np.diff(self.shared_mm[:, :, 0, :], axis=1) ** 2).sum(axis=-1)
        return np.sqrt(variance)

    def position_covariance_mm2(self, frame: int) -> np.ndarray:
        """Full covariance of the x positions of one frame, (N, N), shared effects included."""
        covariance = np.diag(self.covariance_mm2[frame, :, 0, 0])
        if self.shared_mm is not None:
            pattern = self.shared_mm[frame, :, 0, :]
            covariance = covariance + pattern @ pattern.T
        return covariance

    def extension_covariance_mm2(self, frame: int) -> np.ndarray:
        """Full covariance of the extensions of one frame, (L, L): neighbours share a joint."""
        difference = np.diff(np.eye(self.joint_mm.shape[1]), axis=0)
        return difference @ self.position_covariance_mm2(frame) @ difference.T


@dataclass(frozen=True)
class LoadCurve:
    """Load that is left to carry after segment l = 0..L (data separation D_l of a network).

    Segments without load may make the curve rise: real rulers and networks do that.
    """

    remaining: np.ndarray  # (L+1,) D_0 .. D_L
    covariance: np.ndarray  # (L+1, L+1)
    source: str  # one of SOURCES
    unit: str = "section"  # what a segment is: "section", "fold", "spring", "layer"
    quantity: str = "mm"  # unit of `remaining`: "mm", "px", "1" (log separation)
    label: str = field(default="", compare=False)

    def __post_init__(self):
        joints = len(self.remaining)
        if joints < 2:
            raise ValueError(f"a load curve needs at least one segment, got {joints - 1}")
        _expect("covariance", self.covariance, (joints, joints))
        if self.source not in SOURCES:
            raise ValueError(f"source is {self.source!r}, expected one of {SOURCES}")

    @classmethod
    def from_loads(
        cls, loads: np.ndarray, covariance: np.ndarray, source: str, **more: str
    ) -> LoadCurve:
        """The curve that falls by `loads` (L,) and ends at 0; `covariance` (L, L) is theirs."""
        total = np.triu(np.ones((len(loads) + 1, len(loads))))
        return cls(total @ loads, total @ covariance @ total.T, source, **more)

    @property
    def loads(self) -> np.ndarray:
        """Load d_l = D_(l-1) - D_l of each segment, (L,)."""
        return -np.diff(self.remaining)

    @property
    def load_covariance(self) -> np.ndarray:
        """Covariance of the loads, (L, L)."""
        difference = -np.diff(np.eye(len(self.remaining)), axis=0)
        return difference @ self.covariance @ difference.T

    @property
    def c(self) -> float:
        """First load minus last load: > 0 convex, < 0 concave (Shi et al. 2025)."""
        return float(self.loads[0] - self.loads[-1])

    @property
    def v(self) -> float:
        """Spread of the loads, population standard deviation (Shi et al. 2025)."""
        return float(np.std(self.loads))

    @property
    def total(self) -> float:
        return float(self.remaining[0] - self.remaining[-1])

    @property
    def c_normalised(self) -> float:
        """c as a share of the total load."""
        return self.c / self.total

    @property
    def v_normalised(self) -> float:
        """v as a share of the total load."""
        return self.v / self.total

    @property
    def r(self) -> float:
        """Pearson correlation of the curve with depth; -1 when the load is evenly shared."""
        if np.ptp(self.remaining) == 0:
            return float("nan")
        return float(np.corrcoef(np.arange(len(self.remaining)), self.remaining)[0, 1])

    @property
    def regime(self) -> str:
        """"concave" (near the pulled end), "linear" (even) or "convex" (near the held end)."""
        c = self.c_normalised
        return "concave" if c <= -0.06 else "convex" if c >= 0.06 else "linear"

    def sigma_of(self, quantity: str) -> float:
        """Standard deviation of a shape number ("c", "v_normalised", ...), to first order."""
        step = 1e-6 * max(abs(self.total), 1e-12)
        gradient = np.empty(len(self.remaining))
        for l in range(len(self.remaining)):  # noqa: E741 - l is the field's index
            shifted = []
            for sign in (1, -1):
                moved = self.remaining.copy()
                moved[l] += sign * step
                shifted.append(getattr(LoadCurve(moved, self.covariance, self.source), quantity))
            gradient[l] = (shifted[0] - shifted[1]) / (2 * step)
        return float(np.sqrt(max(gradient @ self.covariance @ gradient, 0.0)))

    def regime_probability(self, *, draws: int = 4000, seed: int = 0) -> dict[str, float]:
        """Probability of each regime under the covariance of the curve."""
        rng = np.random.default_rng(seed)
        sample = rng.multivariate_normal(self.remaining, self.covariance, size=draws, method="eigh")
        load = -np.diff(sample, axis=1)
        c = (load[:, 0] - load[:, -1]) / (sample[:, 0] - sample[:, -1])
        return {
            "concave": float((c <= -0.06).mean()),
            "linear": float((np.abs(c) < 0.06).mean()),
            "convex": float((c >= 0.06).mean()),
        }


@dataclass(frozen=True)
class Diagram:
    """How the load is shared over a grid of two parameters, by chains or by measured runs."""

    row: str
    row_values: np.ndarray  # (R,)
    column: str
    column_values: np.ndarray  # (C,)
    loads: np.ndarray  # (R, C, L) mean of the runs of a cell, held end first; NaN without any
    c_sigma: np.ndarray  # (R, C) standard error of c

    def __post_init__(self):
        shape = (len(self.row_values), len(self.column_values))
        _expect("loads", self.loads, (*shape, np.shape(self.loads)[-1]))
        _expect("c_sigma", self.c_sigma, shape)

    @property
    def c(self) -> np.ndarray:
        """First load minus last load, (R, C)."""
        return self.loads[..., 0] - self.loads[..., -1]

    @property
    def v(self) -> np.ndarray:
        """Spread of the loads, (R, C)."""
        return self.loads.std(axis=-1)

    def zero_line(self) -> np.ndarray:
        """Column value at which c crosses 0 upward in each row, (R,); NaN where it does not.

        Straight line between neighbouring columns. With equal friction c only comes near 0, so
        a crossing must be worth two standard errors on its far side.
        """
        order = np.argsort(self.column_values)
        value = np.array(self.column_values)[order]
        crossing = np.full(len(self.c), np.nan)
        for row, (c, sigma) in enumerate(zip(self.c[:, order], self.c_sigma[:, order],
                                             strict=True)):  # fmt: skip
            rises = (c[:-1] < 0) & (c[1:] > 2 * np.maximum(sigma[1:], 1e-9))
            if rises.any():
                at = int(rises.argmax())
                crossing[row] = np.interp(0, c[at : at + 2], value[at : at + 2])
        return crossing

    def zero_line_sigma(self) -> np.ndarray:
        """Standard deviation of the zero line from the errors of the two c beside it, (R,)."""
        order = np.argsort(self.column_values)
        value, c = np.array(self.column_values)[order], self.c[:, order]
        sigma, line = self.c_sigma[:, order], self.zero_line()
        spread = np.full(len(line), np.nan)
        for row in np.flatnonzero(np.isfinite(line)):
            at = min(int(np.searchsorted(value, line[row], side="right")), len(value) - 1)
            low, high = c[row, at - 1], c[row, at]
            pull = np.array([high * sigma[row, at - 1], low * sigma[row, at]])
            spread[row] = (value[at] - value[at - 1]) / (high - low) ** 2 * np.hypot(*pull)
        return spread


BOUNDS = ("", "upper", "lower", "ridge")


@dataclass(frozen=True)
class Parameter:
    """One fitted quantity: what it is, how well it is known, or only how it is bounded."""

    value: float
    sigma: float  # one standard deviation; inf where the data do not determine it
    low95: float
    high95: float
    unit: str  # "N", "N s/m", "1", ...
    bound: str = ""  # "upper"/"lower": only that limit holds; "ridge": only with another one

    def __post_init__(self):
        if self.bound not in BOUNDS:
            raise ValueError(f"bound is {self.bound!r}, expected one of {BOUNDS}")
        if not self.low95 <= self.high95:
            raise ValueError(f"interval runs from {self.low95} to {self.high95}")


@dataclass(frozen=True)
class FitResult:
    """A law of friction and noise fitted to a motion, with the evidence for and against it.

    `valid` is False, and `message` says why, when no law explains the motion.
    """

    law: str  # "none", "viscous", "coulomb", "coulomb+viscous", "stribeck", "cannot tell", ...
    parameters: dict[str, Parameter]
    valid: bool
    message: str
    correlation: np.ndarray | None = None  # (P, P) in the order of `parameters`
    samples: np.ndarray | None = None  # (S, P) draws from the posterior
    chi2: float = float("nan")
    degrees_of_freedom: float = float("nan")
    criterion: dict[str, float] = field(default_factory=dict)  # per law, above the best one
    tests: dict[str, float] = field(default_factory=dict)  # p-value of each test of the residuals
    noise_band_hz: tuple[float, float] | None = None  # over which the noise is an rms

    def __post_init__(self):
        count = len(self.parameters)
        if self.correlation is not None:
            _expect("correlation", self.correlation, (count, count))
        if self.samples is not None:
            _expect("samples", self.samples, (len(self.samples), count))

    def __getitem__(self, name: str) -> Parameter:
        """The parameter of this name.

        Raises KeyError naming the fitted ones if it is not among them.
        """
        if name not in self.parameters:
            raise KeyError(f"{name!r} was not fitted; fitted: {', '.join(self.parameters)}")
        return self.parameters[name]
