"""Coordinates in which chains that move alike lie side by side.

A motion says how hard a block is pulled when it slips at the speed of the hand, how much faster it
slips when it is pulled harder, then and on average from rest, and how far its path scatters; not
by which friction, noise and time scale. Along the axes of the prior, chains that agree in all that
lie on a curved needle whose thin end a search loses; here it is straight. With the mean slip h of
`chain.foretell` (g(u) = phi(u) + u Phi(u), kicks of standard deviation `noise`), and `force` such
that h(force) = SPEED tau:

    up, down = (force - friction_right)/noise, (-force - friction_left)/noise
    mobility = (Phi(up) + Phi(down)) / tau
    bend = mobility (force - (friction_right - friction_left)/2) / SPEED - 1
    scatter = kick variance of the slip / tau^2

The chain slips to neither side at the force (friction_right - friction_left)/2: `bend` is by how
much the mobility at that speed exceeds the mean one from rest, 0 for a linear law.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.special import ndtr, ndtri

from rulerlab.fit.sampling import Axis

SPEED = 0.5  # of a block in mid-chain, in units of the pull per duration
BENT = 0.05  # bend above which it is counted in the logarithm
HALVINGS = 60
FARTHEST = 40.0  # asinh of `up` and `down` beyond which no kick matters
SURE = 30.0  # `up` above which every kick makes a block slip
ROOT = 1 / math.sqrt(2 * math.pi)


def _slip(up: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, slope against force and variance of the slip, in units of the noise."""
    high, low = ROOT * np.exp(-0.5 * up**2), ROOT * np.exp(-0.5 * down**2)
    mean = high + up * ndtr(up) - low - down * ndtr(down)
    square = (1 + up**2) * ndtr(up) + up * high + (1 + down**2) * ndtr(down) + down * low
    variance = np.where(up > SURE, 1.0, square - mean**2)
    return mean, ndtr(up) + ndtr(down), variance


def _bend(up: np.ndarray, down: np.ndarray) -> np.ndarray:
    mean, slope, _ = _slip(up, down)
    return np.maximum((up - down) * slope / (2 * mean) - 1, 0.0)


class Rates:
    """Places in the cube of `axes` (friction right, left, noise, time scale, kick, wander) by
    force, log mobility, asinh up, asinh of the root of the bend, log scatter, and wander as a
    normal variable."""

    def __init__(self, axes: Sequence[Axis]):
        self.axes = tuple(axes)

    def along(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Coordinates (S, 6) of places, and log volume of the cube per volume of these."""
        right, left, noise, tau, kick = (
            axis.value(place[:, p]) for p, axis in enumerate(self.axes[:5])
        )
        force = _halved(
            lambda force: _slip((force - right) / noise, (-force - left) / noise)[0]
            < SPEED * tau / noise,
            (right - left) / 2, right + SPEED * tau + noise,
        )  # fmt: skip
        up, down = (force - right) / noise, (-force - left) / noise
        _, slope, variance = _slip(up, down)
        scatter = kick * noise**2 * variance / tau
        wander = ndtri(place[:, 5])
        along = np.column_stack([
            force, np.log(slope / tau), np.arcsinh(up), np.arcsinh(np.sqrt(_bend(up, down) / BENT)),
            np.log(scatter), wander,
        ])  # fmt: skip
        return along, self._volume(right, left, noise, tau, kick, up, down, wander)

    def back(self, along: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The inverse; the volume is 0 where there is no such chain in the cube."""
        wander, bend = along[:, 5], BENT * np.sinh(along[:, 3]) ** 2
        up = np.sinh(np.clip(along[:, 2], -FARTHEST, FARTHEST))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            down = np.sinh(_halved(
                lambda down: _bend(up, np.sinh(down)) > bend,
                np.full(len(up), -FARTHEST), -np.abs(along[:, 2]),
            ))  # fmt: skip
            mean, slope, variance = _slip(up, down)
            tau = slope / np.exp(along[:, 1])
            noise = SPEED * tau / mean
            kick = np.exp(along[:, 4]) * tau / (noise**2 * variance)
            values = along[:, 0] - noise * up, -along[:, 0] - noise * down, noise, tau, kick
            place = np.column_stack(
                [axis.place(value) for axis, value in zip(self.axes, values, strict=False)]
                + [ndtr(wander)])  # fmt: skip
            volume = self._volume(*values, up, down, wander)
        inside = (along[:, 3] > 0) & ((place > 0) & (place < 1)).all(axis=1) & np.isfinite(volume)
        return place, np.where(inside, volume, -np.inf)

    def _volume(self, right, left, noise, tau, kick, up, down, wander):
        """Log of the Jacobian: that of frictions, noise and time scale against force, log mobility,
        up and down is noise^3 slope / SPEED."""
        mean, slope, _ = _slip(up, down)
        volume = 3 * np.log(noise) + np.log(slope / SPEED) + np.log(kick)
        volume += 0.5 * np.log1p(up**2)
        bend = _bend(up, down)
        low = ROOT * np.exp(-0.5 * down**2)
        steep = (slope - (up - down) * (low + slope * ndtr(down) / mean)) / (2 * mean)
        volume += 0.5 * np.log(4 * bend * (BENT + bend)) - np.log(np.abs(steep))
        for axis, value in zip(self.axes, (right, left, noise, tau, kick), strict=False):
            volume += np.log(axis.density(value))
        return volume - 0.5 * wander**2 + math.log(ROOT)


def _halved(below, low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Where `below` turns from true to false between `low` and `high`."""
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        yes = below(middle)
        low, high = np.where(yes, middle, low), np.where(yes, high, middle)
    return (low + high) / 2
