"""Memory and time of load curves of larger networks, and what watching a training costs.

    python benchmarks/diagnose.py

Each case runs in its own process. "Features" is what all tapped layers hold together, "memory"
how much the process grew beyond one plain pass over the same batches; "time" is processor time as
a multiple of that plain pass.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import torch
from torch import nn

from rulerlab.network import How, Watch, measure_layers
from rulerlab.network.data import gaussian_mixture
from rulerlab.network.mlp import build
from rulerlab.network.recipe import Recipe

CASES = [("resnet", 1000.0), ("resnet", 100.0), ("resnet", 10.0),
         ("transformer", 1000.0), ("transformer", 100.0)]  # fmt: skip
SAMPLES, BATCH, CLASSES = 640, 16, 10


class Residual(nn.Module):
    """Two convolutions and a short cut; halves the picture when it widens."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        stride = 1 if inputs == outputs else 2
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, 1, 1), nn.BatchNorm2d(outputs),
        )  # fmt: skip
        self.short = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, maps: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(maps) + self.short(maps))


def network_of(kind: str) -> nn.Module:
    torch.manual_seed(0)
    if kind == "resnet":
        widths = [16, 16, 16, 32, 32, 64, 64]
        blocks = [Residual(a, b) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        return nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), *blocks, nn.AdaptiveAvgPool2d(1),
                             nn.Flatten(), nn.Linear(64, CLASSES))  # fmt: skip
    layer = nn.TransformerEncoderLayer(192, 3, 768, batch_first=True)
    encoder = nn.TransformerEncoder(layer, 12, enable_nested_tensor=False)
    return nn.Sequential(nn.Linear(48, 192), encoder)


class Stream:
    """Batches that are made when they are asked for."""

    def __init__(self, kind: str):
        self.shape = (3, 64, 64) if kind == "resnet" else (64, 48)

    def __iter__(self):
        made = torch.Generator().manual_seed(0)
        for _ in range(SAMPLES // BATCH):
            labels = torch.randint(CLASSES, (BATCH,), generator=made)
            noise = torch.randn(BATCH, *self.shape, generator=made)
            yield noise + labels.view(-1, *[1] * len(self.shape)) / 5, labels


def peak_mb() -> float:
    """Largest memory of this process so far (Linux; ru_maxrss would start with the parent's)."""
    status = Path("/proc/self/status").read_text().split("VmHWM:")[1]
    return int(status.split()[0]) / 1024


def case(kind: str, memory_mb: float) -> None:
    """Measure one case in this process and print a row."""
    torch.set_num_threads(1)
    network, data = network_of(kind).eval(), Stream(kind)
    # tokens one by one: a layer of the encoder is then as large as it can be
    how = How(pool="flatten", memory_mb=memory_mb)
    with torch.no_grad():
        network(next(iter(data))[0])
        began = time.process_time()
        for pictures, _ in data:
            network(pictures)
        plain = time.process_time() - began
    measure_layers(network, [next(iter(data))], how)
    before, began = peak_mb(), time.process_time()
    found = measure_layers(network, data, how)
    taken = time.process_time() - began
    features = 4 * sum(found.widths) * found.samples / 2**20
    print(f"{kind:12} {len(found.names):6d} {features:11.0f} {memory_mb:8.0f} "
          f"{peak_mb() - before:10.0f} {taken / plain:6.1f}", flush=True)


def watching() -> None:
    """Cost of one look at an MLP of the paper beside one training step."""
    torch.set_num_threads(1)
    data = gaussian_mixture()
    features, labels = torch.as_tensor(data.features), torch.as_tensor(data.labels)
    network = build(Recipe(seed=1), 100, 10)
    optimizer = torch.optim.Adam(network.parameters())
    began = time.process_time()
    for _ in range(30):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(features), labels).backward()
        optimizer.step()
    step = (time.process_time() - began) / 30
    for samples in (256, 2560):
        watch = Watch(network, data, every=1, how=How(errors=False, samples=samples))
        began = time.process_time()
        for _ in range(20):
            watch()
        look = (time.process_time() - began) / 20
        print(f"watching: a step of 2560 samples {1e3 * step:.1f} ms, a look at {samples} samples "
              f"{1e3 * look:.1f} ms; every 50 steps: {2 * look / step:.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--case", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.case:
        case(asked.case[0], float(asked.case[1]))
        return
    print("network      points features MB  allowed  memory MB   time")
    for kind, memory_mb in CASES:
        subprocess.run([sys.executable, __file__, "--case", kind, str(memory_mb)], check=True)
    watching()


if __name__ == "__main__":
    main()
