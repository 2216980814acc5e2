"""Data for networks: digits, files of the MNIST kind, Gaussian clouds."""

import gzip
import hashlib

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

pytest.importorskip("sklearn")

from rulerlab.errors import InputError, UsageError  # noqa: E402
from rulerlab.network import data  # noqa: E402
from rulerlab.network.data import (  # noqa: E402
    PARTS,
    DataSet,
    digits,
    gaussian_mixture,
    idx_folder,
    read_data,
    resized,
)


def idx(array: np.ndarray) -> bytes:
    """An array of bytes as an idx file."""
    head = bytes([0, 0, 8, array.ndim])
    return head + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def pictures():
    rng = np.random.default_rng(3)
    return [rng.integers(0, 256, (60, 28, 28)), rng.integers(0, 10, 60),
            rng.integers(0, 256, (20, 28, 28)), np.arange(20) % 10]  # fmt: skip


def write_folder(folder, arrays, *, packed=False):
    for name, array in zip(PARTS, arrays, strict=True):
        raw = idx(array)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(raw, mtime=0))
        else:
            (folder / name).write_bytes(raw)


def test_digits_are_split_without_overlap_and_the_same_every_time():
    found, again = digits(), digits()
    assert found.features.shape == (1280, 64) and found.test_features.shape == (517, 64)
    assert found.features.min() == 0 and found.features.max() == 1
    assert_array_equal(found.features, again.features)
    rows = {row.tobytes() for row in np.vstack([found.features, found.test_features])}
    assert len(rows) > 1790  # no picture was dropped for another
    assert set(found.labels) == set(range(10))


@pytest.mark.parametrize("packed", [False, True])
def test_idx_folders_are_read_raw_or_packed(tmp_path, pictures, packed):
    write_folder(tmp_path, pictures, packed=packed)
    found = idx_folder(tmp_path, samples=None, side=None)
    assert_allclose(found.features, pictures[0].reshape(60, -1) / 255, atol=1e-7)
    assert_array_equal(found.labels, pictures[1])
    assert_array_equal(found.test_labels, pictures[3])
    assert found.classes == 10 and "unknown origin" in found.name


def test_an_npz_gives_what_the_idx_files_give(tmp_path, pictures):
    raw, packed = tmp_path / "raw", tmp_path / "packed"
    raw.mkdir()
    packed.mkdir()
    write_folder(raw, pictures)
    np.savez(packed / "mnist.npz", x_train=pictures[0].astype(np.uint8), y_train=pictures[1],
             x_test=pictures[2].astype(np.uint8), y_test=pictures[3])  # fmt: skip
    one, other = idx_folder(raw, samples=30), idx_folder(packed, samples=30)
    assert_array_equal(one.features, other.features)
    assert_array_equal(one.labels, other.labels)
    assert one.features.shape == (30, 100) and one.test_features.shape == (20, 100)


def test_colour_pictures_lie_channel_after_channel(tmp_path, pictures):
    colour = np.stack([pictures[0], 0 * pictures[0], pictures[0] // 2], axis=-1)
    np.savez(tmp_path / "c.npz", x_train=colour.astype(np.uint8), y_train=pictures[1][:, None],
             x_test=colour[:20].astype(np.uint8), y_test=pictures[3])  # fmt: skip
    found = read_data(str(tmp_path), samples=60)
    assert found.features.shape == (60, 300)
    assert (found.features[:, 100:200] == 0).all() and (found.features[:, :100] > 0).any()


def test_pictures_are_resized_as_torch_resizes_them_antialiased():
    torch = pytest.importorskip("torch")
    picture = np.random.default_rng(1).random((3, 1, 28, 28)).astype(np.float32)
    for side in (10, 7, 28, 40):
        theirs = torch.nn.functional.interpolate(
            torch.from_numpy(picture), size=(side, side), mode="bilinear", antialias=True)
        assert_allclose(resized(picture, side), theirs.numpy(), atol=1e-5)


def test_published_files_are_known_by_their_sums(tmp_path, pictures, monkeypatch):
    write_folder(tmp_path, pictures, packed=True)
    sums = tuple(hashlib.md5((tmp_path / f"{name}.gz").read_bytes()).hexdigest()[:8]
                 for name in PARTS)  # fmt: skip
    monkeypatch.setitem(data.KNOWN, "Sparrows", sums)
    assert idx_folder(tmp_path, samples=20).name == "Sparrows (checksums agree)"


def test_what_is_missing_or_damaged_is_told_with_what_to_do(tmp_path, pictures):
    with pytest.raises(InputError, match="no data"):
        read_data(str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match=r"train-images-idx3-ubyte.*https://"):
        read_data(str(tmp_path))
    write_folder(tmp_path, pictures)
    (tmp_path / PARTS[2]).write_bytes(idx(pictures[2])[:-5])
    with pytest.raises(InputError, match="download it again"):
        idx_folder(tmp_path, samples=20)
    (tmp_path / PARTS[2]).write_bytes(b"GIF89a")
    with pytest.raises(InputError, match="no idx file"):
        idx_folder(tmp_path, samples=20)
    (tmp_path / f"{PARTS[2]}.gz").write_bytes(gzip.compress(idx(pictures[2]))[:-20])
    with pytest.raises(InputError, match="damaged"):
        idx_folder(tmp_path, samples=20)


def test_pictures_and_labels_that_do_not_go_together_are_told(tmp_path, pictures):
    write_folder(tmp_path, [pictures[0], pictures[1][:-1], *pictures[2:]])
    with pytest.raises(InputError, match="do not go with"):
        idx_folder(tmp_path, samples=20)


def test_more_samples_than_there_are_can_not_be_had(tmp_path, pictures):
    write_folder(tmp_path, pictures)
    for ask in (lambda: digits(samples=1797), lambda: idx_folder(tmp_path, samples=61)):
        with pytest.raises(UsageError, match="samples asked for"):
            ask()


def test_clouds_lie_at_their_distance_with_unit_spread():
    found = gaussian_mixture(samples=5000, features=30, classes=4, distance=6.0)
    for k in range(4):
        cloud = found.features[found.labels == k]
        centre = cloud.mean(axis=0)
        assert abs(np.linalg.norm(centre) - 6) < 0.2
        assert abs((cloud - centre).std() - 1) < 0.02
    with pytest.raises(UsageError, match="no mixture"):
        gaussian_mixture(classes=1)


def test_a_data_set_checks_itself():
    x, y = np.zeros((4, 3), np.float32), np.array([0, 1, 2, 3])
    with pytest.raises(InputError, match="labels run from 0 to 3"):
        DataSet(x, y, x, y, "toy", classes=3)
    with pytest.raises(ValueError, match="expected"):
        DataSet(x[:3], y, x, y, "toy", classes=4)
    broken = x.copy()
    broken[1, 1] = np.nan
    with pytest.raises(InputError, match="not finite"):
        DataSet(broken, y, x, y, "toy", classes=4)
