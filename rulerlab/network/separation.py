"""Data separation: how far the features of one layer still mix the classes; smaller is better.

All measures are natural logarithms of a ratio of the scatter within the classes to that between
them. The load of a layer is what it takes off (`LoadCurve`).
"""

from __future__ import annotations

import numpy as np

from rulerlab.errors import InputError

MEASURES = ("trace", "pseudo_inverse", "inverse")


def data_separation(
    features: np.ndarray, labels: np.ndarray, *, measure: str = "trace", rtol: float = 1e-10
) -> float:
    """Data separation D of features (n, p) with integer labels (n,).

    S_W and S_B are the scatter matrices within and between classes, weighted by the size of the
    classes; empty classes do not count.

    * "trace": log(tr S_W / tr S_B), the measure of the load curves of Shi et al. (2025).
    * "pseudo_inverse": log tr(S_W S_B^+), the separation fuzziness of He & Su (2023).
    * "inverse": log tr(S_B S_W^-1) with the opposite sign, so that it falls with depth, too;
      the only one that no linear map of the features changes.

    Sums are taken in float64. Singular directions below `rtol` of the largest are left out.
    Raises InputError for fewer than two classes, or classes that can't be told apart at all.
    """
    if measure not in MEASURES:
        raise ValueError(f"measure is {measure!r}, expected one of {', '.join(MEASURES)}")
    features = np.asarray(features, np.float64).reshape(len(labels), -1)
    if not np.isfinite(features).all():
        raise InputError("the features hold values that are not finite")
    classes, member, count = np.unique(labels, return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise InputError(f"data separation needs two classes or more, got {len(classes)}")
    total = np.zeros((len(classes), features.shape[1]))
    np.add.at(total, member, features)
    mean = total / count[:, None]
    share = count / count.sum()
    spread = np.sqrt(share)[:, None] * (mean - share @ mean)  # S_B = spread^T spread
    residual = features - mean[member]  # S_W = residual^T residual / n
    between = float((spread**2).sum())
    within = float((residual**2).sum()) / len(features)
    if between <= 0:
        raise InputError("all classes have the same mean: their separation is infinite")
    if measure == "trace":
        return float(np.log(within) - np.log(between))
    if measure == "pseudo_inverse":
        # the directions of S_B number classes - 1 at most: no p x p matrix is needed
        _, size, direction = np.linalg.svd(spread, full_matrices=False)
        keep = size > rtol * size[0]
        along = residual @ direction[keep].T
        return float(np.log((along**2 / size[keep] ** 2).sum() / len(features)))
    scatter = residual.T @ residual / len(features)
    value, axis = np.linalg.eigh(scatter)
    keep = value > rtol * value[-1]
    across = spread @ axis[:, keep]
    return float(-np.log((across**2 / value[keep]).sum()))
