"""Mixtures of Student's t: proposals that follow weighted draws, with tails wider than theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

FREEDOM = 4.0  # degrees of freedom of every part
WIDER = 1.3  # than the draws it was fitted to, in variance
ROUNDS = 10  # of expectation and maximisation
MOST = 1200  # draws of largest weight that are looked at
TWINS, LONGER = 0.2, 3.0  # share of twins that are so many times as long as the draws
KNOWN = 0.5  # draws per axis that a part needs to stay


@dataclass(frozen=True)
class Mixture:
    """K parts over P axes."""

    share: np.ndarray  # (K,) summing to 1
    mean: np.ndarray  # (K, P)
    root: np.ndarray  # (K, P, P) lower Cholesky factors of the scale matrices

    def distance(self, place: np.ndarray) -> np.ndarray:
        """Squared Mahalanobis distances of places (S, P) from every part, (S, K)."""
        inverse = np.linalg.inv(self.root)
        total = np.empty((len(place), len(self.share)))
        for k, turn in enumerate(inverse):
            total[:, k] = (((place - self.mean[k]) @ turn.T) ** 2).sum(axis=1)
        return total

    def parts(self, distance: np.ndarray) -> np.ndarray:
        """Log densities of the parts, with their shares, at such distances."""
        axes = self.mean.shape[1]
        scale = np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(axis=1)
        level = math.lgamma((FREEDOM + axes) / 2) - math.lgamma(FREEDOM / 2)
        level -= axes / 2 * math.log(FREEDOM * math.pi)
        return (level - scale + np.log(self.share)
                - (FREEDOM + axes) / 2 * np.log1p(distance / FREEDOM))  # fmt: skip

    def log_density(self, place: np.ndarray) -> np.ndarray:
        """Log density at places (S, P), (S,)."""
        return np.logaddexp.reduce(self.parts(self.distance(place)), axis=1)

    def draw(self, count: int, rng: np.random.Generator) -> np.ndarray:
        """Places (count, P)."""
        part = rng.choice(len(self.share), count, p=self.share)
        normal = rng.standard_normal((count, self.mean.shape[1]))
        stretch = np.sqrt(FREEDOM / rng.chisquare(FREEDOM, count))
        return self.mean[part] + stretch[:, None] * np.einsum("nij,nj->ni", self.root[part], normal)


def fitted(
    place: np.ndarray, weight: np.ndarray, parts: int, rng: np.random.Generator
) -> Mixture:
    """At most so many parts that follow weighted places (S, P), by expectation-maximisation
    (Peel & McLachlan 2000); parts of too few draws are given up."""
    top = np.argsort(-weight)[:MOST]
    place, weight = place[top], weight[top] / weight[top].sum()
    axes = place.shape[1]
    whole = np.cov(place, rowvar=False, aweights=weight, ddof=0).reshape(axes, axes)
    whole = whole + 1e-12 * np.eye(axes)
    mixture = _spread_out(place, weight, parts, whole, rng)
    for _ in range(ROUNDS):
        distance = mixture.distance(place)
        level = mixture.parts(distance)
        belongs = np.exp(level - np.logaddexp.reduce(level, axis=1)[:, None]) * weight[:, None]
        share = belongs.sum(axis=0)
        count = share**2 / np.maximum((belongs**2).sum(axis=0), 1e-300)
        stays = count > KNOWN * axes
        stays |= ~stays.any() & (share == share.max())
        belongs, distance = belongs[:, stays], distance[:, stays]
        share, count = share[stays], count[stays]
        inner = belongs * (FREEDOM + axes) / (FREEDOM + distance)
        mean = (inner.T @ place) / inner.sum(axis=0)[:, None]
        root = np.empty((len(share), axes, axes))
        for k in range(len(share)):
            off = place - mean[k]
            scale = (off * inner[:, k, None]).T @ off / share[k]
            little = 0.3 * axes / (0.3 * axes + count[k])  # what few draws do not know
            scale = (1 - little) * scale + little * 0.05 * whole + 1e-12 * np.eye(axes)
            root[k] = np.linalg.cholesky(scale)
        mixture = Mixture(share / share.sum(), mean, root)
    return _lengthened(mixture)


def _lengthened(mixture: Mixture) -> Mixture:
    """The mixture with a longer twin for each part: few draws show the end of a needle, and what
    lies beyond it lies in the direction in which the draws at its end are spread most."""
    scale = mixture.root @ mixture.root.transpose(0, 2, 1)
    size, axes = np.linalg.eigh(scale)
    along = axes[:, :, -1] * np.sqrt(size[:, -1:])
    twin = WIDER * scale + (LONGER**2 - WIDER) * along[:, :, None] * along[:, None, :]
    return Mixture(
        np.concatenate([(1 - TWINS) * mixture.share, TWINS * mixture.share]),
        np.concatenate([mixture.mean, mixture.mean]),
        np.concatenate([math.sqrt(WIDER) * mixture.root, np.linalg.cholesky(twin)]),
    )


def _spread_out(place, weight, parts: int, whole: np.ndarray, rng: np.random.Generator) -> Mixture:
    """Equal parts around draws that lie far from each other (k-means++)."""
    root = np.linalg.cholesky(whole)
    even = np.linalg.solve(root, place.T).T
    chosen = [int(rng.choice(len(place), p=weight))]
    nearest = np.full(len(place), np.inf)
    for _ in range(parts - 1):
        nearest = np.minimum(nearest, ((even - even[chosen[-1]]) ** 2).sum(axis=1))
        chance = nearest * weight
        if not chance.sum() > 0:
            break
        chosen.append(int(rng.choice(len(place), p=chance / chance.sum())))
    count = len(chosen)
    size = count ** (-1 / place.shape[1])
    return Mixture(np.full(count, 1 / count), place[chosen], np.repeat(size * root[None], count, 0))
