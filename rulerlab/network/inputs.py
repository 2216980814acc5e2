"""Labelled samples in the shape that a network takes."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path

import numpy as np

from rulerlab.errors import InputError, UsageError
from rulerlab.network.data import ARRAYS, idx_folder, read_data
from rulerlab.network.model_file import ModelFile

FEATURES = ("features", "x", "X", "inputs", "x_train", "data")
LABELS = ("labels", "y", "Y", "targets", "y_train", "target")


def read_samples(
    text: str, wanted: ModelFile, *, shape: tuple[int, ...] | None = None,
    samples: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, ...) and labels (n,) that `--data` names, as the network takes them.

    `text` is `digits`, `gaussian`, a folder with pictures in files of the MNIST kind (resized to
    what the network takes), or an .npz with features and labels; these are the samples to train
    on. `shape` is that of one sample, if the network does not tell. UsageError or InputError if
    the data do not fit the network.
    """
    shape = shape or wanted.shape
    path = Path(text)
    if path.suffix == ".npz":
        features, labels = _from_npz(path, whole=wanted.integers)
    elif path.is_dir():
        features, labels = _from_folder(path, shape, samples)
    else:
        data = read_data(text)
        features, labels = data.features, data.labels
    if samples is not None:
        features, labels = features[:samples], labels[:samples]
    if shape is not None:
        if math.prod(shape) != math.prod(features.shape[1:]):
            raise UsageError(f"the network takes {' x '.join(map(str, shape))} numbers a sample, "
                             f"{text} has {' x '.join(map(str, features.shape[1:]))}")
        features = features.reshape(len(features), *shape)
    if wanted.batch:
        count = len(labels) // wanted.batch * wanted.batch
        if not count:
            raise InputError(f"the exported program takes {wanted.batch} samples at once, {text} "
                             f"has {len(labels)}; export it with a dynamic batch")
        features, labels = features[:count], labels[:count]
    return features, labels


def _from_folder(
    folder: Path, shape: tuple[int, ...] | None, samples: int | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures at the size that the network takes: 10 x 10 as in the paper, if it does not tell."""
    side = 10
    if shape is not None:
        channels = shape[0] if len(shape) == 3 else 1
        side = math.isqrt(math.prod(shape) // channels)
    data = idx_folder(folder, side=side, **({"samples": samples} if samples else {}))
    return data.features, data.labels


def _from_npz(path: Path, *, whole: bool) -> tuple[np.ndarray, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = [next((name for name in known if name in archive), None)
                     for known in (FEATURES, LABELS)]  # fmt: skip
            if None in names:
                raise InputError(f"{path} holds {', '.join(archive) or 'nothing'}; expected arrays "
                                 f"features and labels (or {', '.join(ARRAYS[:2])})")
            features, labels = (archive[name] for name in names)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    labels = labels.reshape(len(labels)) if labels.size == len(labels) else labels
    if features.ndim < 1 or len(features) != len(labels):
        raise InputError(f"{path}: {len(features)} samples have {len(labels)} labels")
    if whole:
        return features.astype(np.int64), labels
    scale = np.float32(255) if features.dtype == np.uint8 else np.float32(1)  # pictures: 0..1
    return features.astype(np.float32) / scale, labels
