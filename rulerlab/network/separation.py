"""Data separation: how far the features of one layer still mix the classes; smaller is better.

All measures are natural logarithms of a ratio of the scatter within the classes to that between
them. The load of a layer is what it takes off (`LoadCurve`).

Features are streamed: a layer is never held at once, only class means (and, for the inverse form,
one matrix). With g_k the mean of class k less the mean of all, r a sample less its class mean:

* "trace": log(tr S_W / tr S_B), the measure of the load curves of Shi et al. (2025).
* "pseudo_inverse": log tr(S_W S_B^+), the separation fuzziness of He & Su (2023).
* "inverse": log tr(S_B S_W^-1) with the opposite sign, so that it falls with depth, too;
  the only one that no linear map of the features changes.
"""

from __future__ import annotations

import numpy as np

from rulerlab.errors import InputError

MEASURES = ("trace", "pseudo_inverse", "inverse")
BLOCK = 2**17  # numbers that are worked on at once: they stay in the cache
ROWS = 1024  # samples at once where a matrix of the width of the features is added up
LEAST = 0.1  # of 1 - leverage: a sample alone in its class says nothing of its class's scatter
WIDEST = 4096  # features of which the inverse form still builds a matrix


class Moments:
    """Counts, class means and scatter within the classes, in float64, block by block.

    Blocks are merged about their own means (Chan, Golub & LeVeque 1983): nothing cancels when the
    classes are tight and far from zero.
    """

    def __init__(self, *, squares: bool = True, matrix: bool = False):
        self.count = np.zeros(0)  # (K,)
        self.mean = np.zeros((0, 0))  # (K, p)
        self.squares = 0.0  # sum of |r|^2, if it is asked for
        self.matrix = np.zeros((0, 0))  # (p, p) sum of r r^T, if it is asked for
        self._with_squares, self._with_matrix = squares, matrix

    def add(self, features: np.ndarray, member: np.ndarray) -> None:
        """Features (b, p) and the class number (b,) of each sample."""
        width = features.shape[1]
        self._make_room(int(member.max()) + 1, width)
        one_hot = np.zeros((len(self.count), len(features)), features.dtype)
        one_hot[member, np.arange(len(features))] = 1
        count = np.bincount(member, minlength=len(self.count)).astype(float)
        mean = (one_hot @ features).astype(np.float64) / np.maximum(count, 1)[:, None]
        total = self.count + count
        gap = mean - self.mean
        weight = np.divide(self.count * count, total, out=np.zeros(len(count)), where=total > 0)
        if self._with_squares or self._with_matrix:
            residual = features - mean.astype(features.dtype)[member]
        if self._with_squares:
            self.squares += float(_squares(residual).sum(dtype=np.float64))
            self.squares += float(weight @ _squares(gap))
        if self._with_matrix:
            self.matrix += residual.T.astype(np.float64) @ residual.astype(np.float64)
            self.matrix += (gap * weight[:, None]).T @ gap
        self.mean += gap * (count / np.maximum(total, 1))[:, None]
        self.count = total

    def _make_room(self, classes: int, width: int) -> None:
        if not self.mean.size:
            self.mean = np.zeros((0, width))
            if self._with_matrix:
                self.matrix = np.zeros((width, width))
        elif width != self.mean.shape[1]:
            raise InputError(f"a layer has {self.mean.shape[1]} features in one batch and {width} "
                             "in another; pool what varies in length")
        more = classes - len(self.count)
        if more > 0:
            self.count = np.concatenate([self.count, np.zeros(more)])
            self.mean = np.concatenate([self.mean, np.zeros((more, width))])


def _squares(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows, rows)


class Separation:
    """D of one layer from streamed features: the same blocks are given in each of `passes` passes.

    Call `add` for every block and `end_pass` after the last; then read `value` (D) and, with
    `errors`, `influence` (n,): what each sample does to D. Their sum of squares over n^2 is the
    variance of D that jackknife and bootstrap over samples find, and the products of two layers
    give their covariance, since both see the same samples.

    Singular directions below `rtol` of the largest are left out. Raises InputError for fewer than
    two classes, classes of one and the same mean, and features that are not finite.
    """

    def __init__(self, measure: str = "trace", *, errors: bool = False, rtol: float = 1e-10):
        if measure not in MEASURES:
            raise ValueError(f"measure is {measure!r}, expected one of {', '.join(MEASURES)}")
        self.measure, self.rtol = measure, rtol
        self.value = float("nan")
        stages = [self._gather]
        if measure == "pseudo_inverse":
            stages.append(self._project)
        if errors:
            stages.append(self._weigh)
        self.passes = len(stages)
        self._stages = stages
        self._moments = Moments(squares=measure == "trace", matrix=measure == "inverse")
        self._kept: list[np.ndarray] = []
        self._pass = 0

    @property
    def influence(self) -> np.ndarray:
        return np.concatenate(self._kept)

    def add(self, features: np.ndarray, member: np.ndarray) -> None:
        """Features (b, p), any float type, and the class number (b,) of each sample, 0, 1, .."""
        if features.dtype not in (np.float32, np.float64):
            features = features.astype(np.float32 if features.itemsize < 4 else np.float64)
        if self.measure == "inverse" and features.shape[1] > WIDEST:
            raise InputError(f"the inverse form of {features.shape[1]} features needs a matrix too "
                             f"large; reduce them to principal directions first (pca=100)")
        stage = self._stages[self._pass]
        rows = ROWS if self.measure == "inverse" else max(64, BLOCK // features.shape[1])
        for start in range(0, len(features), rows):
            stage(features[start : start + rows], member[start : start + rows])

    def end_pass(self) -> None:
        """All samples were given: work out what the next pass needs, or the result."""
        if self._pass == 0:
            self._solve()
        elif self._stages[self._pass] == self._project:
            self._finish_projection()
        self._pass += 1

    def _gather(self, features: np.ndarray, member: np.ndarray) -> None:
        self._moments.add(features, member)

    def _residual(self, features: np.ndarray, member: np.ndarray) -> np.ndarray:
        return features - self._mean.astype(features.dtype)[member]

    def _solve(self) -> None:
        moments = self._moments
        present = moments.count > 0
        if present.sum() < 2:
            raise InputError(f"data separation needs two classes or more, got {present.sum()}")
        self.samples = float(moments.count.sum())
        self._share = moments.count / self.samples
        self._offset = np.where(present[:, None], moments.mean - self._share @ moments.mean, 0.0)
        self._within = moments.squares / self.samples
        self._between = float(self._share @ _squares(self._offset))
        if not np.isfinite(self._within + self._between + np.trace(moments.matrix)):
            raise InputError("the features hold values that are not finite")
        scale = float(self._share @ _squares(moments.mean))
        if self._between <= 1e-28 * scale:
            raise InputError("all classes have the same mean: their separation is infinite")
        self._mean = moments.mean
        if self.measure == "trace":
            self.value = _log(self._within) - _log(self._between)
        elif self.measure == "inverse":
            self._invert()
        else:
            # the directions of S_B number classes - 1 at most: no p x p matrix is needed
            spread = np.sqrt(self._share)[:, None] * self._offset  # S_B = spread^T spread
            _, size, direction = np.linalg.svd(spread, full_matrices=False)
            keep = size > self.rtol * size[0]
            self._size, self._direction = size[keep], direction[keep]
            self._along = np.zeros((keep.sum(), keep.sum()))
            self._shadow = np.zeros((self._offset.shape[1], keep.sum()))

    def _invert(self) -> None:
        from scipy.linalg import LinAlgError, cholesky, solve_triangular

        scatter = self._moments.matrix / self.samples
        try:
            factor = cholesky(scatter, lower=True)
            pivot = np.diagonal(factor)
            if (pivot.min() / pivot.max()) ** 2 < self.rtol:
                raise LinAlgError
            root = solve_triangular(factor, np.eye(len(scatter)), lower=True).T
        except LinAlgError:  # some directions carry no scatter: leave them out
            value, axis = np.linalg.eigh(scatter)
            keep = value > self.rtol * max(value[-1], 0.0)
            root = axis[:, keep] / np.sqrt(value[keep])
        self._root = root  # S_W^-1 = root root^T
        self._dual = root @ (root.T @ self._offset.T)  # (p, K) S_W^-1 g_k
        self._total = float(np.einsum("k,kp,pk->", self._share, self._offset, self._dual))
        self.value = -_log(self._total)

    def _project(self, features: np.ndarray, member: np.ndarray) -> None:
        residual = self._residual(features, member)
        along = residual @ (self._direction.T / self._size).astype(residual.dtype)
        self._along += along.T.astype(np.float64) @ along
        if self.passes == 3:
            self._shadow += residual.T @ along

    def _finish_projection(self) -> None:
        self._along /= self.samples
        self._total = float(np.trace(self._along))
        self.value = _log(self._total)
        shadow = self._shadow / self.samples  # S_W seen from the directions of S_B ..
        shadow -= self._direction.T @ (self._direction @ shadow)  # .. and outside of them
        inside = (self._direction @ self._offset.T) / self._size[:, None]  # (q, K)
        self._inside = inside
        self._outside = shadow @ (inside / self._size[:, None] ** 2)  # (p, K)

    def _weigh(self, features: np.ndarray, member: np.ndarray) -> None:
        """What leaving out each sample takes from D, times n.

        That is the derivative of D with its weight, and more for a sample that has drawn the
        means (and S_W) toward itself: the leverage of the jackknife.
        """
        residual = self._residual(features, member).astype(np.float64)
        leverage = 1 / self._moments.count[member]
        if self.measure == "trace":
            toward = np.einsum("ij,ij->i", residual, self._offset[member])
            between = _squares(self._offset)[member] + 2 * toward
            found = _squares(residual) / self._within - between / self._between
        elif self.measure == "inverse":
            seen = residual @ self._dual  # (b, K)
            own = np.einsum("kp,pk->k", self._offset, self._dual)[member]
            own = own + 2 * seen[np.arange(len(member)), member]
            found = (seen**2 @ self._share - own) / self._total
            leverage = leverage + _squares(residual @ self._root) / self.samples
        else:
            along = residual @ (self._direction.T / self._size)
            inside = self._inside.T[member]
            turned = inside @ self._along
            outside = np.einsum("ij,ij->i", residual, self._outside.T[member])
            found = (_squares(along) - np.einsum("ij,ij->i", turned, inside + 2 * along)
                     + 2 * outside) / self._total
        self._kept.append(found / np.maximum(1 - leverage, LEAST))


def _log(value: float) -> float:
    return float(np.log(value)) if value > 0 else float("-inf")


def data_separation(
    features: np.ndarray, labels: np.ndarray, *, measure: str = "trace", rtol: float = 1e-10
) -> float:
    """Data separation D of features (n, p) with integer labels (n,), see `Separation`.

    S_W and S_B are the scatter matrices within and between classes, weighted by the size of the
    classes; empty classes do not count. Sums are taken in float64, residuals in the precision of
    the features.
    """
    features = np.asarray(features).reshape(len(labels), -1)
    member = np.unique(labels, return_inverse=True)[1]
    found = Separation(measure, rtol=rtol)
    for _ in range(found.passes):
        found.add(features, member)
        found.end_pass()
    return found.value


def joint_covariance(influence: np.ndarray, group: np.ndarray | None = None) -> np.ndarray:
    """Covariance (L, L) of the D of L layers from the influences (L, n) of the same samples.

    With `group` (n,), a number for each sample, those of one group (tokens of one text) count as
    one draw.
    """
    samples = influence.shape[1]
    if group is not None:
        order = np.argsort(group, kind="stable")
        first = np.flatnonzero(np.diff(group[order], prepend=-1))
        influence = np.add.reduceat(influence[:, order], first, axis=1)
    draws = influence.shape[1]
    centred = influence - influence.mean(axis=1, keepdims=True)
    return centred @ centred.T / samples**2 * (draws / max(draws - 1, 1))
