"""Principal directions of features too wide for a matrix of their own, block by block."""

from __future__ import annotations

import numpy as np


class PrincipalDirections:
    """The directions of largest variance of streamed features.

    Each block is merged with the leading directions so far (Ross et al. 2008, as in incremental
    principal component analysis); twice as many as asked for are carried, so that little is lost.
    Memory is that of 2 `count` rows and one block.
    """

    def __init__(self, count: int):
        self.count = count
        self.samples = 0
        self.mean = np.zeros(0)  # (p,)
        self._rows = np.zeros((0, 0))  # (<= 2 count, p) directions times their spread

    def add(self, features: np.ndarray) -> None:
        """Features (b, p) of some samples."""
        features = features.astype(np.float64)
        mean = features.mean(axis=0)
        rows = features - mean
        if not self.samples:
            self.mean, self.samples = mean, len(features)
        else:
            total = self.samples + len(features)
            shift = np.sqrt(self.samples * len(features) / total) * (mean - self.mean)
            rows = np.concatenate([self._rows, rows, shift[None]])
            self.mean = self.mean + len(features) / total * (mean - self.mean)
            self.samples = total
        self._rows = _leading(rows, 2 * self.count)

    def axes(self) -> np.ndarray:
        """Orthonormal columns (p, <= count), the largest variance first."""
        rows = self._rows[: self.count]
        size = np.linalg.norm(rows, axis=1)
        kept = size > 1e-12 * size[0]
        return (rows[kept] / size[kept, None]).T


def _leading(rows: np.ndarray, count: int) -> np.ndarray:
    """At most `count` orthogonal rows with the leading part of rows^T rows."""
    value, vector = np.linalg.eigh(rows @ rows.T)
    order = np.argsort(value)[::-1][:count]
    order = order[value[order] > 1e-24 * max(value[-1], 0.0)]
    return vector[:, order].T @ rows
