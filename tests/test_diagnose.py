"""Diagnosis of networks from files: what is read, what is refused, and what is said."""

import io
import json
import pickle
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn

from rulerlab.cli import main
from rulerlab.errors import InputError, UsageError
from rulerlab.network import Watch, saved
from rulerlab.network.curve import How, load_curve
from rulerlab.network.data import digits
from rulerlab.network.diagnose import ADVICE, diagnose, roles, shares
from rulerlab.network.inputs import read_samples
from rulerlab.network.model_file import ModelFile, read_model
from rulerlab.network.recipe import Recipe
from rulerlab.network.train import train
from rulerlab.records import LoadCurve
from rulerlab.store import read_load_curve


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """More threads than free processors make torch wait for itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["diagnose", *map(str, arguments)])
    return stop.value.code or 0


def export(model, example, path, **more):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(model.eval(), (example,), **more), path)
    return path


ANY_BATCH = {"dynamic_shapes": ({0: torch.export.Dim.AUTO},)}


class Pictures(nn.Module):
    """Two residual blocks on pictures of 8 x 8, and a head."""

    class Block(nn.Module):
        def __init__(self, inputs, outputs):
            super().__init__()
            self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
            self.norm = nn.BatchNorm2d(outputs)

        def forward(self, maps):
            return torch.relu(self.norm(self.first(maps)))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([self.Block(1, 4), self.Block(4, 4)])
        self.head = nn.Linear(256, 10)

    def forward(self, maps):
        for block in self.blocks:
            maps = block(maps)
        return self.head(maps.flatten(1))


@pytest.fixture(scope="module")
def lazy(tmp_path_factory):
    """A ReLU network trained without noise, as a file."""
    path = tmp_path_factory.mktemp("net") / "lazy.safetensors"
    (trained,) = train([Recipe(seed=1, width=64)], digits())
    saved.write(trained, path, inputs=64, classes=10, data="digits")
    return path


def curve_of(loads, sigma):
    remaining = np.concatenate([[0.0], -np.cumsum(loads)])
    return LoadCurve(remaining, sigma**2 * np.eye(len(remaining)), "network", "layer", "1")


def test_layers_are_called_overloaded_or_idle_only_when_that_is_sure():
    loads = np.array([0.1, 1.0, 1.0, 1.9])
    assert roles(curve_of(loads, 0.01)) == ("idle", "fair", "fair", "overloaded")
    assert set(roles(curve_of(loads, 0.5))) == {"fair"}
    assert set(roles(curve_of(np.ones(5), 0.01))) == {"fair"}


def test_chance_alone_calls_layers_of_an_even_network_uneven_in_few_cases():
    rng, false = np.random.default_rng(0), 0
    for _ in range(300):
        curve = curve_of(np.array([1.5, 0.5, 1.0, 1.0]), 0.05)  # on the very limits
        drawn = LoadCurve(rng.multivariate_normal(curve.remaining, curve.covariance),
                          curve.covariance, "network", "layer", "1")
        false += set(roles(drawn)) != {"fair"}
    assert false / 300 < 0.08


def test_shares_sum_to_the_number_of_layers_and_their_errors_are_those_of_repeated_draws():
    curve = curve_of(np.array([0.5, 1.0, 2.0]), 0.05)
    share, sigma = shares(curve)
    assert share.sum() == pytest.approx(3)
    rng = np.random.default_rng(1)
    drawn = rng.multivariate_normal(curve.remaining, curve.covariance, size=4000)
    load = -np.diff(drawn, axis=1)
    spread = (3 * load / load.sum(axis=1, keepdims=True)).std(axis=0)
    assert_allclose(sigma, spread, rtol=0.06)


@pytest.mark.parametrize("loads, advice", [
    ([0.1, 1, 1, 1.9], "concave"), ([1.9, 1, 1, 0.1], "convex"), ([1, 1, 1, 1], "near"),
    ([1, -1, 1, -1.0001], "no load"),
])  # fmt: skip
def test_advice_follows_the_shape_of_the_curve(loads, advice):
    from rulerlab.network.diagnose import _regime

    assert _regime(curve_of(np.array(loads, float), 0.003))[1] == ADVICE[advice]


def test_a_network_that_separates_nothing_has_no_layer_to_blame(tmp_path, capsys):
    torch.manual_seed(0)
    mixing = nn.Sequential(*[part for _ in range(3) for part in (nn.Linear(64, 64), nn.ReLU())],
                           nn.Linear(64, 10))  # fmt: skip
    data = digits()
    found = diagnose(mixing, (data.features, data.labels))
    assert found.curve.total < 0 and found.regime is None and found.advice == ADVICE["no load"]
    assert set(found.roles) == {None} and np.isnan(shares(found.curve)[0]).all()
    path = export(mixing, torch.zeros(3, 64), tmp_path / "net.pt2", **ANY_BATCH)
    assert run(path, "-o", tmp_path / "out") == 0
    assert "no load to share" in capsys.readouterr().out
    assert "no load to share" in (tmp_path / "out" / "stress_map.svg").read_text()


def test_within_the_errors_no_knob_is_named():
    from rulerlab.network.diagnose import _regime

    assert _regime(curve_of(np.array([0.7, 1, 1, 1.3]), 0.3)) == (None, ADVICE["undecided"])


def test_a_network_trained_by_rulerlab_is_diagnosed_from_its_file(lazy, tmp_path, capsys):
    out = tmp_path / "lazy"
    assert run(lazy, "--data", "digits", "-o", out, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["schema_version"] == 1 and said["regime"] == "concave"
    assert -0.35 < said["c_normalised"] < -0.15 and said["advice"] == ADVICE["concave"]
    assert [layer["name"] for layer in said["layers"]] == ["norm"] + [f"hidden.{k}"
                                                                    for k in range(7)]
    assert said["layers"][7]["role"] == "overloaded" and said["layers"][0]["role"] is None
    assert sum(layer["share"] for layer in said["layers"][1:]) == pytest.approx(7)
    assert said["accuracy_percent"] > 99
    assert said["law"]["r"] < -0.95 and 0 < said["law"]["rho"] < 1
    assert "BatchNorm yes" in said["law"]["conditions"] and "correlation" in said["limits"]
    curve, data = read_load_curve(out), digits()
    direct = load_curve(read_model(lazy).model, (data.features, data.labels))
    assert_allclose(curve.remaining, direct.remaining, atol=1e-6)
    assert_allclose(curve.covariance, direct.covariance, rtol=1e-5)
    assert (curve.source, curve.unit, curve.quantity) == ("network", "layer", "1")
    assert "<svg" in (out / "stress_map.svg").read_text()
    table = (out / "layers.csv").read_text().splitlines()
    assert len(table) == 9 and table[0].startswith("name,width,D,D_sigma,load")
    assert json.loads((out / "run.json").read_text())["inputs"][0]["sha256"]
    assert run(lazy, "-o", out) == 2 and "--force" in capsys.readouterr().err
    assert run(lazy) == 0
    told = capsys.readouterr()
    assert "hidden.6" in told.out and "overloaded" in told.out and "10 seeds" in told.err


def test_an_exported_program_gives_the_curve_of_its_module(tmp_path, capsys):
    network, data = Pictures(), digits()
    path = export(network, torch.zeros(3, 1, 8, 8), tmp_path / "net.pt2", **ANY_BATCH)
    assert run(path, "--data", "digits", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [layer["name"] for layer in said["layers"]] == ["input", "blocks.0", "blocks.1"]
    pictures = data.features.reshape(-1, 1, 8, 8)
    expected = load_curve(network, (pictures, data.labels))
    assert_allclose([layer["D"] for layer in said["layers"]], expected.remaining, atol=1e-5)


def test_a_program_for_one_size_of_batch_is_given_batches_of_that_size(tmp_path):
    file = read_model(export(Pictures(), torch.zeros(50, 1, 8, 8), tmp_path / "net.pt2"))
    assert (file.shape, file.batch, file.integers) == ((1, 8, 8), 50, False)
    features, labels = read_samples("digits", file)
    assert features.shape == (1250, 1, 8, 8)
    found = diagnose(file.model, (features, labels), How(batch=file.batch))
    assert found.measured.samples == 1250


def test_networks_of_tokens_take_whole_numbers(tmp_path, capsys):
    class Words(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.embed = nn.Embedding(20, 16)
            layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
            self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

        def forward(self, words):
            return self.encoder(self.embed(words))

    path = export(Words(), torch.zeros((3, 6), dtype=torch.int64), tmp_path / "words.pt2",
                  **ANY_BATCH)  # fmt: skip
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 90)
    words = rng.integers(0, 10, (90, 6)) + 10 * labels[:, None]
    np.savez(tmp_path / "text.npz", features=words, labels=labels)
    assert run(path, "--data", tmp_path / "text.npz", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert len(said["layers"]) == 3 and said["accuracy_percent"] is None


def test_pickles_are_not_opened_unless_trusted(tmp_path, capsys):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    bomb = tmp_path / "bomb.pt"
    bomb.write_bytes(pickle.dumps(Bomb()))
    assert run(bomb) == 2 and "--trust-pickle" in capsys.readouterr().err
    assert not (tmp_path / "harm").exists()
    torch.save(Pictures(), tmp_path / "net.pt")
    assert run(tmp_path / "net.pt") == 2
    capsys.readouterr()
    assert run(tmp_path / "net.pt", "--trust-pickle", "--shape", "1,8,8") == 0
    torch.save(Pictures().state_dict(), tmp_path / "weights.pt")
    assert run(tmp_path / "weights.pt", "--trust-pickle") == 3
    assert "weights alone" in capsys.readouterr().err


@pytest.mark.parametrize("place", ["sample_inputs", "weights"])
def test_a_pickle_hidden_in_an_exported_program_is_not_opened(tmp_path, capsys, place):
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "harm"), "w"))

    whole = export(Pictures(), torch.zeros(3, 1, 8, 8), tmp_path / "net.pt2")
    room = io.BytesIO()
    torch.save(Bomb(), room)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(tmp_path / "bad.pt2", "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if place == "sample_inputs" and "sample_inputs" in name:
                content = room.getvalue()
            if place == "weights" and name.endswith("weights_config.json"):
                told = json.loads(content)
                next(iter(told["config"].values()))["use_pickle"] = True
                content = json.dumps(told).encode()
            new.writestr(name, content)
    assert run(tmp_path / "bad.pt2") == 2
    assert "holds a pickle" in capsys.readouterr().err
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("name, content", [
    ("none.safetensors", None), ("net.safetensors", b"nothing"), ("net.pt2", b"nothing"),
])  # fmt: skip
def test_what_is_no_network_is_said_in_one_line(tmp_path, capsys, name, content):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert run(tmp_path / name) == 3
    assert capsys.readouterr().err.count("\n") == 1


def test_data_that_do_not_fit_the_network_are_refused(tmp_path):
    file = ModelFile(nn.Identity(), (3, 4, 4))
    with pytest.raises(UsageError, match="takes 3 x 4 x 4 numbers a sample, digits has 64"):
        read_samples("digits", file)
    with pytest.raises(InputError, match="no such file"):
        read_samples(str(tmp_path / "none.npz"), file)
    np.savez(tmp_path / "bad.npz", features=np.zeros((5, 2)), other=np.zeros(5))
    with pytest.raises(InputError, match="expected arrays"):
        read_samples(str(tmp_path / "bad.npz"), file)
    np.savez(tmp_path / "odd.npz", features=np.zeros((5, 2)), labels=np.zeros(4))
    with pytest.raises(InputError, match="5 samples have 4 labels"):
        read_samples(str(tmp_path / "odd.npz"), file)
    pictures = np.full((6, 4, 4), 255, np.uint8)
    np.savez(tmp_path / "pictures.npz", x_train=pictures, y_train=np.arange(6))
    features, _ = read_samples(str(tmp_path / "pictures.npz"), ModelFile(nn.Identity(), (1, 4, 4)))
    assert features.shape == (6, 1, 4, 4) and features.max() == 1


def trained_a_little(watch=None, steps=30):
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm1d(64), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(),
                            nn.Dropout(0.2), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10))
    data = digits()
    features, labels = torch.as_tensor(data.features), torch.as_tensor(data.labels)
    optimizer = torch.optim.Adam(network.parameters(), 0.01)
    watcher = watch(network, data) if watch else None
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(features), labels).backward()
        optimizer.step()
        if watcher is not None:
            watcher()
    return network, watcher


def test_watching_follows_the_curve_and_changes_nothing_of_the_training(tmp_path):
    alone, _ = trained_a_little()
    watched, watch = trained_a_little(
        lambda network, data: Watch(network, data, every=10, how=How(samples=200, errors=False)))
    assert watch.steps == [10, 20, 30] and watch.seconds > 0
    assert all(torch.equal(a, b) for a, b in zip(alone.state_dict().values(),
                                                 watched.state_dict().values(), strict=True))
    assert watch.curves[-1].remaining[-1] < watch.curves[0].remaining[-1]  # it learns
    watch.write(tmp_path / "watch.csv")
    table = np.genfromtxt(tmp_path / "watch.csv", delimiter=",", names=True)
    assert_allclose(table["D_2"], [curve.remaining[2] for curve in watch.curves], atol=1e-6)
    with pytest.raises(UsageError):
        Watch(alone, digits(), every=0)


def test_reference_curves_and_the_separation_need_no_torch():
    script = ("import sys\nsys.modules['torch'] = None\nimport rulerlab.network\n"
              "from rulerlab.network import data_separation, published_diagram\n"
              "assert len(published_diagram()) == 192\n"
              "try:\n    rulerlab.network.load_curve\n"
              "except rulerlab.errors.MissingPartError as error:\n    print(error)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install 'rulerlab[networks]'" in done.stdout, done.stderr
