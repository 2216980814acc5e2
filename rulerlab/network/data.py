"""What networks are trained on: digits, pictures in files of the MNIST kind, Gaussian clouds."""

from __future__ import annotations

import gzip
import hashlib
import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rulerlab.errors import InputError, MissingPartError, UsageError

SUBSET = 1  # seed of the choice of samples: the same for every network, as in the paper
PARTS = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte",
         "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")  # fmt: skip
ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# MD5 of the published .gz files (the first eight digits tell them apart), as torchvision has them
KNOWN = {
    "MNIST": ("f68b3c2d", "d53e105e", "9fb629c4", "ec29112d"),
    "Fashion-MNIST": ("8d4fb7e6", "25c81989", "bef4ecab", "bb300cfd"),
    "Kuzushiji-MNIST": ("bdb82020", "e144d726", "5c965bf0", "7320c461"),
}
WHERE = (
    "MNIST: https://ossci-datasets.s3.amazonaws.com/mnist/, Fashion-MNIST: "
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/; download "
    + ", ".join(f"{name}.gz" for name in PARTS)
    + " into one folder, or put an .npz with " + ", ".join(ARRAYS) + " there"
)


@dataclass(frozen=True)
class DataSet:
    """Samples to train on and samples to test with, each a row of features and a class number."""

    features: np.ndarray  # (n, p) float32
    labels: np.ndarray  # (n,) int64, 0..classes - 1
    test_features: np.ndarray  # (m, p) float32
    test_labels: np.ndarray  # (m,) int64
    name: str
    classes: int

    def __post_init__(self):
        width = self.features.shape[1:]
        for part in ("", "test_"):
            features, labels = getattr(self, f"{part}features"), getattr(self, f"{part}labels")
            if features.shape != (len(labels), *width) or len(width) != 1:
                raise ValueError(f"{part}features are {features.shape}, expected (n, p), "
                                 f"for {len(labels)} labels")
            if features.dtype != np.float32 or labels.dtype != np.int64:
                raise ValueError(f"{part}features and labels are {features.dtype} and "
                                 f"{labels.dtype}, expected float32 and int64")
            if not np.isfinite(features).all():
                raise InputError(f"{self.name}: some {part}features are not finite")
            if len(labels) and not 0 <= labels.min() <= labels.max() < self.classes:
                raise InputError(f"{self.name}: {part}labels run from {labels.min()} to "
                                 f"{labels.max()}, expected 0 to {self.classes - 1}")
        if len(self.labels) < 2:
            raise InputError(f"{self.name}: {len(self.labels)} samples to train on; 2 are needed")


def digits(*, samples: int = 1280) -> DataSet:
    """The 1797 handwritten digits of scikit-learn, 8 x 8 pixels, 0..1; the rest is for testing.

    Raises MissingPartError without scikit-learn, UsageError if nothing is left to test with.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingPartError(
            "the digits need scikit-learn: pip install 'rulerlab[networks]'") from error
    pictures, labels = load_digits(return_X_y=True)
    if not 2 <= samples < len(labels):
        raise UsageError(f"{samples} samples asked for; digits has 2 to {len(labels) - 1} to train "
                         f"on, the rest is for testing")
    order = np.random.default_rng(SUBSET).permutation(len(labels))
    features = (pictures / 16).astype(np.float32)[order]
    labels = labels.astype(np.int64)[order]
    return DataSet(features[:samples], labels[:samples], features[samples:], labels[samples:],
                   "digits", 10)


def gaussian_mixture(
    *, samples: int = 2560, features: int = 100, classes: int = 10, distance: float = 4.0,
    seed: int = SUBSET,
) -> DataSet:
    """Round clouds of unit variance whose centres lie `distance` from the origin, in any direction.

    As many samples again are made for testing.
    """
    if samples < 2 or features < 1 or classes < 2:
        raise UsageError(f"{samples} samples of {features} features in {classes} classes make no "
                         "mixture; take 2 samples, 1 feature and 2 classes at least")
    rng = np.random.default_rng(seed)
    centre = rng.standard_normal((classes, features))
    centre *= distance / np.linalg.norm(centre, axis=1, keepdims=True)
    labels = rng.permutation(np.arange(2 * samples) % classes)
    cloud = (centre[labels] + rng.standard_normal((2 * samples, features))).astype(np.float32)
    return DataSet(cloud[:samples], labels[:samples], cloud[samples:], labels[samples:],
                   "gaussian", classes)


def idx_folder(folder: str | Path, *, samples: int | None = 2560, side: int | None = 10) -> DataSet:
    """Pictures of a folder with the four idx files of MNIST, raw or .gz, or with one .npz.

    Each picture is resized to `side` x `side` (None: left as it is), 0..1 and laid out flat,
    channels first. Training uses the same `samples` pictures in every run (None: all), testing
    all. The name tells whether the files are those that were published.
    Raises InputError if something is missing or damaged.
    """
    folder = Path(folder)
    archives = [folder] if folder.suffix == ".npz" else sorted(folder.glob("*.npz"))
    if len(archives) == 1:
        parts, name = _from_npz(archives[0]), archives[0].stem
    else:
        parts, name = _from_idx(folder)
    pictures, labels, test_pictures, test_labels = parts
    for images, numbers in ((pictures, labels), (test_pictures, test_labels)):
        if images.ndim not in (3, 4) or numbers.shape != images.shape[:1] or not len(numbers):
            raise InputError(f"{folder}: {images.shape} pictures do not go with {numbers.shape} "
                             "labels; expected (n, height, width) or (n, height, width, 3), (n,)")
    if samples is not None:
        if not 2 <= samples <= len(labels):
            raise UsageError(f"{samples} samples asked for; {folder} holds {len(labels)}")
        chosen = np.random.default_rng(SUBSET).permutation(len(labels))[:samples]
        pictures, labels = pictures[chosen], labels[chosen]
    classes = int(max(labels.max(), test_labels.max())) + 1
    return DataSet(_features(pictures, side), labels.astype(np.int64),
                   _features(test_pictures, side), test_labels.astype(np.int64), name, classes)


def read_data(text: str, *, samples: int | None = None) -> DataSet:
    """The data that a command line names: `digits`, `gaussian`, or a folder with picture files.

    `samples` to train on; None: 1280 of the digits, else 2560.
    """
    count = {} if samples is None else {"samples": samples}
    if text == "digits":
        return digits(**count)
    if text == "gaussian":
        return gaussian_mixture(**count)
    if not Path(text).exists():
        raise InputError(f"there is no data {text}; write digits, gaussian or a folder with "
                         f"pictures ({WHERE})")
    return idx_folder(text, **count)


def _features(pictures: np.ndarray, side: int | None) -> np.ndarray:
    """(n, H, W) or (n, H, W, C) of any whole numbers to (n, C x side x side) float32 in 0..1."""
    full = np.iinfo(pictures.dtype).max if pictures.dtype.kind in "ui" else 1
    scaled = pictures.reshape(*pictures.shape[:3], -1).transpose(0, 3, 1, 2)
    scaled = scaled.astype(np.float32) / np.float32(full)
    if side is not None:
        scaled = resized(scaled, side)
    return np.ascontiguousarray(scaled.reshape(len(scaled), -1))


def resized(pictures: np.ndarray, side: int) -> np.ndarray:
    """Pictures (..., H, W) at `side` x `side` pixels, antialiased as torchvision resizes them.

    Each new pixel is the mean of the old ones under a triangle as wide as two new pixels.
    """
    height, width = pictures.shape[-2:]
    rows, columns = _triangles(height, side), _triangles(width, side)
    return np.matmul(np.matmul(rows, pictures), columns.T)


def _triangles(old: int, new: int) -> np.ndarray:
    """Share (new, old) of each old pixel in each new one."""
    scale = old / new
    centre = (np.arange(new) + 0.5) * scale
    distance = np.abs(np.arange(old) + 0.5 - centre[:, None]) / max(scale, 1.0)
    share = np.maximum(1 - distance, 0)
    return (share / share.sum(axis=1, keepdims=True)).astype(np.float32)


def _from_npz(path: Path) -> list[np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            missing = [name for name in ARRAYS if name not in archive]
            if missing:
                raise InputError(f"{path} has no array {', '.join(missing)}; "
                                 f"expected {', '.join(ARRAYS)}")
            arrays = [archive[name] for name in ARRAYS]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read: {error}") from error
    return [array.reshape(len(array)) if name.startswith("y") else array
            for name, array in zip(ARRAYS, arrays, strict=True)]


def _from_idx(folder: Path) -> tuple[list[np.ndarray], str]:
    found, sums = [], []
    for part in PARTS:
        # some sites write the names with a dot: train-images.idx3-ubyte
        dotted = part.replace("-idx", ".idx")
        names = [f"{stem}{end}" for stem in (part, dotted) for end in (".gz", "")]
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            raise InputError(f"{folder} holds no {part}, raw or .gz. {WHERE}")
        raw = path.read_bytes()
        sums.append(hashlib.md5(raw, usedforsecurity=False).hexdigest()[:8])
        found.append(_idx_array(raw, path))
    name = next((name for name, known in KNOWN.items() if known == tuple(sums)), None)
    return found, f"{name} (checksums agree)" if name else f"{folder.name} (of unknown origin)"


def _idx_array(raw: bytes, path: Path) -> np.ndarray:
    """The array of an idx file: two zeros, type, number of axes, their lengths, the bytes."""
    try:
        raw = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
    except (OSError, EOFError) as error:
        raise InputError(f"{path} is damaged: {error}; download it again") from error
    if len(raw) < 4 or raw[:3] != b"\x00\x00\x08":
        raise InputError(f"{path} is no idx file of bytes; download it again")
    start = 4 + 4 * raw[3]
    shape = [int(length) for length in np.frombuffer(raw[4:start], ">u4")]
    if len(shape) != raw[3] or len(raw) - start != math.prod(shape):
        raise InputError(f"{path} has {len(raw) - start} bytes for a shape of {shape}; "
                         "download it again")
    return np.frombuffer(raw, np.uint8, offset=start).reshape(shape)
