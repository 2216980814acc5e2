"""Load curves of networks that nobody edited for it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rulerlab.errors import InputError, UsageError
from rulerlab.network import load_curve
from rulerlab.network.curve import How, measure_layers
from rulerlab.network.separation import MEASURES, data_separation

CLASSES, SAMPLES = 4, 150


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    """More threads than free processors make torch wait for itself."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def samples(*shape, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, SAMPLES)
    centre = np.random.default_rng(99).normal(size=(CLASSES, *shape))
    return (centre[labels] + rng.normal(size=(SAMPLES, *shape))).astype(np.float32), labels


def multilayer(depth=4, width=12, inputs=10):
    torch.manual_seed(0)
    blocks = [part for layer in range(depth - 1) for part in (
        nn.Linear(width if layer else inputs, width), nn.BatchNorm1d(width), nn.LeakyReLU(0.1),
        nn.Dropout(0.3))]  # fmt: skip
    return nn.Sequential(nn.BatchNorm1d(inputs), *blocks, nn.Linear(width, CLASSES))


class Residual(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.short = nn.Conv2d(inputs, outputs, 1)

    def forward(self, maps):
        inner = self.second(torch.relu(self.norm(self.first(maps))))
        return torch.relu(inner + self.short(maps))


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, 4, 3, padding=1)
        self.layer1 = nn.Sequential(Residual(4, 4), Residual(4, 4))
        self.layer2 = nn.Sequential(Residual(4, 8), Residual(8, 8))
        self.head = nn.Linear(8, CLASSES)

    def forward(self, pictures):
        maps = self.layer1(torch.relu(self.stem(pictures)))
        maps = self.layer2(torch.max_pool2d(maps, 2))
        return self.head(maps.mean((2, 3)))


class Reader(nn.Module):
    """A transformer encoder over numbers, with a head; `mask` is true where there is no padding."""

    def __init__(self, *, batch_first=True):
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Linear(6, 16)
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(16, CLASSES)

    def forward(self, tokens, attention_mask=None):
        padding = None if attention_mask is None else ~attention_mask.bool()
        return self.head(self.encoder(self.embed(tokens), src_key_padding_mask=padding)[:, 0])


def test_an_mlp_is_tapped_behind_its_input_norm_and_its_activations_without_the_logits():
    features, labels = samples(10)
    network = multilayer()
    curve = load_curve(network, (features, labels))
    expected, signal = [], torch.as_tensor(features)
    network.eval()
    with torch.no_grad():
        for place, part in enumerate(network):
            signal = part(signal)
            if place == 0 or isinstance(part, nn.LeakyReLU):
                expected.append(data_separation(signal.numpy(), labels))
    assert_allclose(curve.remaining, expected, atol=1e-6)
    assert (curve.source, curve.unit, curve.quantity) == ("network", "layer", "1")
    sigma = np.sqrt(np.diag(curve.covariance))
    assert (sigma > 0.005).all() and (sigma < 0.3).all()
    assert (np.linalg.eigvalsh(curve.covariance) > -1e-12).all()


def test_activations_that_are_plain_functions_are_seen_as_well():
    class Functional(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.c = nn.Linear(10, 8), nn.Linear(8, 8), nn.Linear(8, CLASSES)

        def forward(self, signal):
            return self.c(torch.relu(self.b(torch.relu(self.a(signal)))))

    network, (features, labels) = Functional(), samples(10)
    hidden = torch.relu(network.a(torch.as_tensor(features))).detach().numpy()
    found = measure_layers(network, (features, labels), How())
    assert found.names == ("input", "input of b", "input of c")
    assert found.curves["trace"].remaining[1] == pytest.approx(data_separation(hidden, labels))


def test_layers_that_work_in_place_do_not_change_what_was_seen_before_them():
    class Block(nn.Module):
        def __init__(self, inplace):
            super().__init__()
            self.act, self.mix = nn.ReLU(inplace=inplace), nn.Linear(10, 10)

        def forward(self, signal):
            return self.mix(self.act(signal))

    found = []
    for inplace in (False, True):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(10, 10), *[Block(inplace) for _ in range(3)],
                                nn.Linear(10, CLASSES))  # fmt: skip
        found.append(load_curve(network, samples(10)).remaining)
    assert_allclose(found[1], found[0])


def test_a_convolutional_network_is_tapped_before_each_layer_with_weights():
    torch.manual_seed(0)
    part = (nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2), nn.Upsample(scale_factor=2))
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 5, 3, padding=1), *part,
                            nn.Conv2d(5, 5, 3, padding=1), *part, nn.Flatten(),
                            nn.Linear(5 * 36, CLASSES))  # fmt: skip
    found = measure_layers(network, samples(1, 6, 6), How())
    assert found.names == ("0", "5", "11") and found.widths == (36, 180, 180)


def test_a_resnet_is_tapped_at_its_blocks():
    found = measure_layers(ResNet(), samples(1, 8, 8), How())
    assert found.names == ("input of layer1.0", "layer1.0", "layer1.1", "layer2.0", "layer2.1")
    assert found.widths == (256, 256, 256, 128, 128)
    averaged = measure_layers(ResNet(), samples(1, 8, 8), How(pool="mean"))
    assert averaged.widths == (4, 4, 4, 8, 8)


@pytest.mark.parametrize("batch_first", [True, False])
def test_a_transformer_is_tapped_at_its_layers_with_the_tokens_of_one_sample_averaged(batch_first):
    class Swapped(Reader):
        def forward(self, tokens):
            return self.head(self.encoder(self.embed(tokens).transpose(0, 1))[0])

    tokens, labels = samples(7, 6)
    kind = Reader if batch_first else Swapped
    found = measure_layers(kind(batch_first=batch_first).eval(), (tokens, labels), How())
    assert len(found.names) == 4 and found.widths == (16,) * 4 and found.samples == SAMPLES
    network = kind(batch_first=batch_first)
    embedded = network.embed(torch.as_tensor(tokens)).mean(dim=1).detach().numpy()
    assert found.curves["trace"].remaining[0] == pytest.approx(
        data_separation(embedded, labels), abs=1e-5)


def test_padding_does_not_count():
    tokens, labels = samples(7, 6)
    length = np.random.default_rng(1).integers(3, 8, SAMPLES)
    mask = np.arange(7) < length[:, None]
    noise = np.where(mask[..., None], tokens, 1e3).astype(np.float32)

    def batches(values):
        return [{"tokens": torch.as_tensor(values[part]), "labels": torch.as_tensor(labels[part]),
                 "attention_mask": torch.as_tensor(mask[part])}
                for part in np.array_split(np.arange(SAMPLES), 4)]  # fmt: skip

    for pool in ("auto", "first", "last", "tokens"):
        pair = [measure_layers(Reader(), batches(values), How(pool=pool))
                for values in (tokens, noise)]  # fmt: skip
        assert_allclose(pair[0].curves["trace"].remaining, pair[1].curves["trace"].remaining,
                        atol=1e-4)  # fmt: skip
    assert pair[0].samples == mask.sum()


def test_every_token_may_have_its_own_label():
    tokens, _ = samples(7, 6)
    labels = (tokens[..., 0] > 0).astype(int)
    labels[:, -1] = -100
    found = measure_layers(Reader(), (tokens, labels), How())
    assert found.samples == SAMPLES * 6 and found.classes == 2


def test_the_network_is_left_as_it_was():
    network = multilayer()
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    network[0].weight.requires_grad_(False)
    load_curve(network, samples(10), measure="inverse")
    assert [module.training for module in network.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks
                   for module in network.modules())
    with pytest.raises(InputError):
        load_curve(network, (np.full((20, 10), np.nan, np.float32), np.arange(20) % 2))
    assert [module.training for module in network.modules()] == modes
    assert not any(module._forward_pre_hooks for module in network.modules())


def test_a_module_used_twice_and_tuples_of_outputs_are_understood():
    class Cell(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(10, 10)

        def forward(self, signal, *, extra=None):
            return torch.tanh(self.mix(signal)), {"extra": extra}

    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.cell, self.head = Cell(), nn.Linear(10, CLASSES)

        def forward(self, signal):
            for _ in range(3):
                signal, _ = self.cell(signal, extra=1)
            return self.head(signal)

    found = measure_layers(Tied(), samples(10), How())
    assert found.names == ("input", "cell", "cell (call 2)", "cell (call 3)")
    named = measure_layers(Tied(), samples(10), How(layers=["input", "cell"]))
    assert_allclose(named.curves["trace"].remaining, found.curves["trace"].remaining)


@pytest.mark.parametrize("precision", [torch.float64, torch.bfloat16, torch.float16])
def test_networks_of_any_precision_are_measured(precision):
    single = load_curve(multilayer(), samples(10)).remaining
    other = load_curve(multilayer().to(precision), samples(10)).remaining
    assert_allclose(other, single, atol=1e-6 if precision == torch.float64 else 0.05)


def test_a_loader_that_shuffles_is_read_in_the_order_of_its_data():
    features, labels = samples(10)
    data = TensorDataset(torch.as_tensor(features), torch.as_tensor(labels))
    whole = load_curve(multilayer(), (features, labels))
    shuffled = load_curve(multilayer(), DataLoader(data, 16, shuffle=True), memory_mb=1e-3)
    assert_allclose(shuffled.remaining, whole.remaining, atol=1e-6)
    assert_allclose(shuffled.covariance, whole.covariance, atol=1e-8)


@pytest.mark.parametrize("measure", MEASURES)
def test_without_room_layers_are_measured_one_after_the_other_with_the_same_result(measure):
    pair = samples(10)
    whole = load_curve(multilayer(), pair, measure=measure)
    little = load_curve(multilayer(), pair, measure=measure, memory_mb=1e-4)
    assert_allclose(little.remaining, whole.remaining, atol=1e-9)
    assert_allclose(little.covariance, whole.covariance, atol=1e-12)


def test_wide_layers_may_be_reduced_to_principal_directions_first():
    features, labels = samples(60)
    network = nn.Sequential(nn.Identity(), nn.Linear(60, 5), nn.ReLU(), nn.Linear(5, CLASSES))
    curve = load_curve(network, (features, labels), measure="inverse", pca=20)
    centred = features - features.mean(axis=0, dtype=np.float64)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:20].T
    exact = data_separation(centred @ axes, labels, measure="inverse")
    assert curve.remaining[0] == pytest.approx(exact, abs=0.02)


@pytest.mark.parametrize("ask, said", [
    ({"layers": ["nothing"]}, "no layer 'nothing'; some of its layers: 0, 1"),
    ({"layers": "some"}, "give \"auto\""), ({"measure": "mean"}, "choose trace"),
    ({"pool": "sum"}, "choose auto"),
])  # fmt: skip
def test_what_is_not_there_can_not_be_measured(ask, said):
    with pytest.raises(UsageError, match=said):
        load_curve(multilayer(), samples(10), **ask)


@pytest.mark.parametrize("loader, said", [
    ([], "no samples"), ([torch.zeros(3, 10)], "must be"), ([{"x": torch.zeros(3, 10)}], "labels"),
    ((np.zeros((9, 10), np.float32), np.linspace(0, 1, 9)), "class numbers"),
    ((np.ones((9, 10), np.float32), np.zeros(9, int)), "two classes"),
])  # fmt: skip
def test_what_is_no_labelled_data_is_said(loader, said):
    with pytest.raises(InputError, match=said):
        load_curve(multilayer(), loader)


def test_a_loader_that_can_be_read_once_only_is_refused():
    with pytest.raises(UsageError, match="once only"):
        load_curve(multilayer(), iter([samples(10)]))


MEMORY = """
import sys
from pathlib import Path
import torch
from torch import nn
from rulerlab.network import load_curve


def peak_mb():  # of this process alone: ru_maxrss starts with that of its parent
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    return int(status.split()[0]) / 1024


torch.set_num_threads(1)
torch.manual_seed(0)
part = lambda inputs: (nn.Conv2d(inputs, 8, 1), nn.ReLU())
network = nn.Sequential(*part(1), *part(8), *part(8), nn.Flatten(), nn.Linear(8 * 64 * 64, 4))


class Stream:  # of 400 pictures, made when they are asked for
    def __iter__(self):
        made = torch.Generator().manual_seed(0)
        for _ in range(40):
            yield torch.randn(10, 1, 64, 64, generator=made), torch.arange(10) % 4


load_curve(network, [next(iter(Stream()))])  # what torch itself takes
before = peak_mb()
curve = load_curve(network, Stream(), memory_mb=float(sys.argv[1]))
print(peak_mb() - before, *curve.remaining)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_stays_within_what_was_allowed():
    def taken(memory_mb):
        done = subprocess.run([sys.executable, "-c", MEMORY, str(memory_mb)], capture_output=True,
                              text=True, check=True)  # fmt: skip
        used, *remaining = map(float, done.stdout.split())
        return used, remaining

    (little, one), (much, other) = taken(30), taken(1000)
    assert much > 130, "the features of all layers are 164 MB"
    assert little < 65
    assert_allclose(one, other)
