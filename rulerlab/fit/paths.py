"""What drives the chain between the frames: the hand, and the rail under it when it is shaken."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

SPREAD = 1.15  # the basis repeats after this many lengths of the clip, so its ends are free
HIGHEST = 0.98  # of half the frame rate: there a wave and its mirror image are alike
PIECE = 1500  # most frames whose spectrum is found at once
SMOOTH_HZ = 0.6  # over which a spectrum is averaged
FAINT = 3e-4  # of the strongest acceleration: below it a frequency is left out


@dataclass(frozen=True)
class Rail:
    """Motion of the rail as waves under a Gaussian posterior, given the frames."""

    frequency_hz: np.ndarray  # (J,) of the waves; none when the rail rests
    mean_mm: np.ndarray  # (2J,) amplitudes of cosines, then sines
    root_mm: np.ndarray  # (2J, 2J) square root of their covariance
    band_hz: tuple[float, float]  # with 95 % of the acceleration's power
    seconds: float

    @property
    def shaken(self) -> bool:
        return len(self.frequency_hz) > 0

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """One set of amplitudes from the posterior, (2J,)."""
        return self.mean_mm + self.root_mm @ rng.standard_normal(len(self.mean_mm))

    def waves(self, time_s: np.ndarray, *, derivative: int = 0) -> np.ndarray:
        """What turns amplitudes into positions (or, twice derived, accelerations), (T, 2J)."""
        omega = 2 * np.pi * np.tile(self.frequency_hz, 2)
        return _waves(self.frequency_hz, time_s) * (1.0 if derivative == 0 else -(omega**2))

    def acceleration_rms(self, rng: np.random.Generator, draws: int) -> np.ndarray:
        """Root mean square of the acceleration where the shaking lasts, mm/s^2, (draws,).

        It is the strength of the shaking, of which the clip is one sample: a band of width b seen
        for a time t holds 2 b t independent numbers. Tenths of the clip with less than a quarter
        of the usual power (starting, stopping) are left out. A rail at rest gives 0.
        """
        if not self.shaken:
            return np.zeros(draws)
        time_s = np.linspace(0, self.seconds, 40 * max(10, round(self.band_hz[1] * self.seconds)))
        amplitude = self.mean_mm[:, None] + self.root_mm @ rng.standard_normal(
            (len(self.mean_mm), draws))  # fmt: skip
        power = (self.waves(time_s, derivative=2) @ amplitude) ** 2
        tenths = np.array([part.mean(axis=0) for part in np.array_split(power, 10)])
        lasting = tenths.mean(axis=1) > 0.25 * np.median(tenths)
        width = max(self.band_hz[1] - self.band_hz[0], 1 / self.seconds)
        numbers = max(2 * width * self.seconds * lasting.mean(), 2.0)
        return np.sqrt(tenths[lasting].mean(axis=0) * numbers / rng.chisquare(numbers, draws))


def _waves(frequency_hz: np.ndarray, time_s: np.ndarray) -> np.ndarray:
    phase = 2 * np.pi * np.outer(time_s, frequency_hz)
    return np.concatenate([np.cos(phase), np.sin(phase)], axis=1)


def rail_of(time_s: np.ndarray, held_mm: np.ndarray, sigma_mm: float) -> Rail:
    """The motion of the held end, freed of measurement noise (Wiener's filter on its spectrum).

    Below half the frame rate the waves are determined by the frames; faster shaking is folded
    back and can't be told from slower. The rail rests when no wave stands out of the noise.
    """
    x, seconds = held_mm - held_mm.mean(), float(time_s[-1] - time_s[0])
    nothing = Rail(np.zeros(0), np.zeros(0), np.zeros((0, 0)), (0.0, 0.0), seconds)
    coarse, density = _spectrum(time_s, x)
    spacing = 1 / (SPREAD * seconds)
    frequency = np.arange(1, int(coarse[-1] / spacing) + 1) * spacing
    power = np.interp(frequency, coarse, density) * spacing  # squared amplitude of each wave
    floor = np.quantile(power[frequency > 1.0], 0.1)
    signal = np.maximum(power - 2 * floor, 0)
    acceleration = signal * frequency**4
    strong = (acceleration > FAINT * acceleration.max(initial=0)) & (signal > 8 * floor)
    if not strong.any() or 2 * signal[strong].sum() < 16 * sigma_mm**2:
        return nothing
    used, prior = frequency[strong], np.tile(np.sqrt(signal[strong]), 2)
    noise = max(np.sqrt(floor * len(frequency)), 1e-4)
    scaled = _waves(used, time_s) * prior / noise
    information = scaled.T @ scaled + np.eye(len(prior))
    factor = np.linalg.cholesky(np.linalg.inv(information))
    mean = factor @ (factor.T @ (scaled.T @ (x / noise)))
    share = np.cumsum(acceleration[strong]) / acceleration[strong].sum()
    low, high = (float(np.interp(level, share, used)) for level in (0.025, 0.975))
    return Rail(used, prior * mean, prior[:, None] * factor, (low, high), seconds)


def _spectrum(time_s: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squared amplitude of waves per Hz up to half the frame rate, for any times of the frames.

    Waves are fitted to pieces of the clip by ridge regression, and their squares averaged over
    SMOOTH_HZ and over the pieces.
    """
    frame_s = float(np.median(np.diff(time_s)))
    pieces = np.array_split(np.arange(len(time_s)), -(-len(time_s) // PIECE))
    length = SPREAD * float(max(time_s[piece[-1]] - time_s[piece[0]] for piece in pieces))
    frequency = np.arange(1, int(HIGHEST * 0.5 / frame_s * length)) / length
    window = np.ones(max(1, round(SMOOTH_HZ * length)))
    density = np.zeros(len(frequency))
    for piece in pieces:
        basis = _waves(frequency, time_s[piece])
        inner = basis @ basis.T + 1e-3 * len(piece) * np.eye(len(piece))
        amplitude = basis.T @ np.linalg.solve(inner, x[piece])
        power = (amplitude.reshape(2, -1) ** 2).mean(axis=0)
        density += length * np.convolve(power, window / window.size, mode="same") / len(pieces)
    return frequency, density


def hand_path(
    time_s: np.ndarray, hand_mm: np.ndarray, sigma_mm: np.ndarray, rng: np.random.Generator,
    moments_s: np.ndarray,
) -> np.ndarray:
    """The pulled end in the picture at other moments: a spline, redrawn within its errors."""
    redrawn = hand_mm + sigma_mm * rng.standard_normal(len(hand_mm))
    return CubicSpline(time_s, redrawn)(moments_s)
