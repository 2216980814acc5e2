"""Where the chain comes to rest, and what noise does to dry friction, in closed form.

Unless said otherwise: `blocks` = L equal blocks, L+1 equal springs, held at 0, pulled end at
`pull`, all blocks at 0 before the pull, index 0 at the held end.
"""

from __future__ import annotations

import math

import numpy as np

from rulerlab.errors import UsageError


def stretched_springs(blocks: int, pull: float, friction: float, stiffness: float = 1.0) -> int:
    """Number n of springs that carry load after a quiet pull.

    Blocks that moved come to rest when the difference of their springs is m = friction/stiffness,
    so n springs from the hand carry a, a+m, .., a+(n-1)m with sum `pull`. n is the smallest number
    for which the next block toward the wall does not move, a <= m: n(n+1)/2 >= pull/m, so
    n = ceil((sqrt(1 + 8 pull/m) - 1)/2), at most L+1.
    """
    if friction == 0:
        return blocks + 1
    wanted = (math.sqrt(1 + 8 * pull * stiffness / friction) - 1) / 2
    return min(blocks + 1, max(1, math.ceil(wanted - 1e-12)))


def rest_extensions(
    blocks: int, pull: float, friction: float, stiffness: float = 1.0
) -> np.ndarray:
    """Extension of each spring after a quiet pull with an overdamped chain, (L+1,).

    Started from 0 and pulled to the right, no block ever moves left (comparison principle: the
    update is monotone in the positions), so the chain rests in the smallest profile with
    stiffness (e_(l+1) - e_l) <= friction, with equality where a block has moved. Only the friction
    against moving to the right enters, and a step and a slow ramp end in the same state. With
    n = `stretched_springs`, m = friction/stiffness: e = 0 near the wall, then a, a+m, ..,
    a = pull/n - m (n-1)/2.
    """
    if pull < 0 or friction < 0 or stiffness <= 0:
        raise UsageError("the rest state needs pull >= 0, friction >= 0 and stiffness > 0")
    stretched = stretched_springs(blocks, pull, friction, stiffness)
    difference = friction / stiffness
    first = pull / stretched - difference * (stretched - 1) / 2
    loads = np.zeros(blocks + 1)
    loads[blocks + 1 - stretched :] = first + difference * np.arange(stretched)
    return loads


def rest_extensions_by_force(
    blocks: int, force: float, friction: float, stiffness: float = 1.0
) -> np.ndarray:
    """Extension of each spring when the hand pulls the last one with `force`, (L+1,).

    Every block that moves takes its friction out of the force that goes on toward the wall:
    stiffness e_l = max(0, force - (L+1-l) friction), l = 1..L+1.
    """
    left = force - friction * np.arange(blocks, -1, -1)
    return np.maximum(left, 0) / stiffness


def largest_friction_that_moves_all(blocks: int, pull: float, stiffness: float = 1.0) -> float:
    """Friction below which the first block moves too: the case n = L+1, a > m, of the rest state.

    pull/(L+1) - m L/2 > 0 for the first spring to carry load gives 2 k pull/(L (L+1)).
    """
    return 2 * stiffness * pull / (blocks * (blocks + 1))


def _normal(u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Density and distribution function of the standard normal."""
    from scipy.special import ndtr

    return np.exp(-(u**2) / 2) / math.sqrt(2 * math.pi), ndtr(u)


def mean_slip(
    force: np.ndarray, noise: float, friction_right: float, friction_left: float
) -> np.ndarray:
    """Mean of the dead zone S(force + noise xi), the velocity of a shaken block at damping 1.

    S cuts off [-friction_left, friction_right]. With g(u) = phi(u) + u Phi(u), the mean of
    max(u + xi, 0), the two sides give noise (g((force - friction_right)/noise)
    - g((-force - friction_left)/noise)). Without noise it is S itself.
    """
    force = np.asarray(force, float)
    if noise == 0:
        return np.maximum(force - friction_right, 0) + np.minimum(force + friction_left, 0)
    up, down = (force - friction_right) / noise, (-force - friction_left) / noise
    (phi_up, cdf_up), (phi_down, cdf_down) = _normal(up), _normal(down)
    return noise * ((phi_up + up * cdf_up) - (phi_down + down * cdf_down))


def slip_variance(
    force: np.ndarray, noise: float, friction_right: float, friction_left: float
) -> np.ndarray:
    """Variance of S(force + noise xi), from the mean of max(u + xi, 0)^2:
    (1 + u^2) Phi(u) + u phi(u) on either side."""
    force = np.asarray(force, float)
    if noise == 0:
        return np.zeros_like(force)
    square = 0.0
    for u in ((force - friction_right) / noise, (-force - friction_left) / noise):
        phi, cdf = _normal(u)
        square = square + (1 + u**2) * cdf + u * phi
    mean = mean_slip(force, noise, friction_right, friction_left)
    return noise**2 * square - mean**2


def effective_friction(
    force: np.ndarray, noise: float, friction_right: float, friction_left: float
) -> np.ndarray:
    """Friction force that is left of dry friction under noise: force minus mean slip."""
    return np.asarray(force) - mean_slip(force, noise, friction_right, friction_left)


def mobility(noise: float, friction: float) -> float:
    """Share of a small force that gets through equal dry friction, erfc(friction/(sqrt2 noise)).

    The slope of `mean_slip` at force 0: 2 Phi(-friction/noise). Shaking turns dry friction into a
    viscous one.
    """
    if noise == 0:
        return 1.0 if friction == 0 else 0.0
    return math.erfc(friction / (noise * math.sqrt(2)))


def stationary_slope(
    friction_right: float, friction_left: float, stiffness: float = 1.0
) -> float:
    """Difference of neighbouring extensions after a long shaking, whatever the noise (> 0).

    The dead zone [-mu_l, mu_r] is a symmetric one of half width (mu_r + mu_l)/2 around
    delta = (mu_r - mu_l)/2. The mean slip vanishes for Gaussian kicks where the force equals its
    centre, stiffness (e_(l+1) - e_l) = delta.
    """
    return (friction_right - friction_left) / (2 * stiffness)


def stationary_extensions(
    blocks: int, pull: float, friction_right: float, friction_left: float, stiffness: float = 1.0
) -> np.ndarray:
    """Mean extensions after a long shaking, (L+1,): slope `stationary_slope`, sum `pull`."""
    place = np.arange(blocks + 1) - blocks / 2
    return pull / (blocks + 1) + stationary_slope(friction_right, friction_left, stiffness) * place


def equalisation_time(
    blocks: int, noise: float, friction: float, stiffness: float = 1.0, damping: float = 1.0
) -> float:
    """Time in which shaking evens out the slowest difference of loads by a factor e.

    For small forces the mean chain is linear with mobility m = `mobility`: dx/dt = (k m/damping)
    times the discrete Laplacian, whose slowest mode between two fixed ends decays at
    4 sin^2(pi/(2(L+1))). Infinite without noise.
    """
    rate = 4 * math.sin(math.pi / (2 * (blocks + 1))) ** 2
    rate *= stiffness * mobility(noise, friction) / damping
    return 1 / rate if rate else math.inf


def elastic_energy(extensions: np.ndarray, stiffness: float = 1.0) -> float:
    """k/2 sum e^2; at a fixed sum it is smallest when all loads are equal (convexity)."""
    return float(stiffness / 2 * np.sum(np.square(extensions)))


def mean_friction_in_motion(
    velocity: np.ndarray, spread: float, friction_right: float, friction_left: float
) -> np.ndarray:
    """Mean force of dry friction on a block whose velocity is normal with `spread` > 0.

    -mu_r with probability Phi(v/s), +mu_l otherwise: -delta - mubar erf(v/(sqrt2 s)). Shaking
    lowers the friction that a slow motion feels to mubar sqrt(2/pi) v/s ("acoustic lubrication").
    """
    middle, half = (friction_right - friction_left) / 2, (friction_right + friction_left) / 2
    from scipy.special import erf

    return -middle - half * erf(np.asarray(velocity, float) / (math.sqrt(2) * spread))
