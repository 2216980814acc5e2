"""How fast networks train and features are measured, against plain torch in the same run.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python benchmarks/network.py

The network is that of the paper (8 x 100, 2560 samples of 100 features, Adam). Unit: processor
seconds of one core. Both ways take turns; a ratio is the median over the rounds. "Plain torch" is
one network at a time on one thread with the data in memory; "DataLoader" the same with torch's
DataLoader, as the paper's code has it. Networks per minute are for 100 epochs on one core.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from rulerlab.network.data import DataSet, digits, resized
from rulerlab.network.kernel import epochs_by_kernel
from rulerlab.network.mlp import build
from rulerlab.network.recipe import Recipe
from rulerlab.network.separation import data_separation

EPOCHS = {2560: 6, 100: 2, 20: 1}  # timed in a round, after a first one
GOALS = {2560: 1.9, 100: 7.0, 20: 12.0, "D": 9.0}
FLOP = 3 * 2 * (7 * 100 * 100 + 100 * 10)  # of a sample and step: forward, slopes of both factors


def pictures() -> DataSet:
    """2560 digits at 10 x 10, some twice, each with a little noise of its own."""
    every = digits(samples=1796)
    chosen = np.arange(2560) % 1796
    wide = resized(every.features.reshape(-1, 8, 8), 10).reshape(-1, 100)[chosen]
    noisy = wide + np.random.default_rng(0).normal(0, 0.05, wide.shape).astype(np.float32)
    return DataSet(noisy, every.labels[chosen], noisy[:100], every.labels[:100], "digits", 10)


def epochs_in_memory(recipe: Recipe, data: DataSet, model: nn.Module):
    features, labels = torch.from_numpy(data.features), torch.from_numpy(data.labels)
    size = recipe.batch or len(labels)

    def batches():
        order = torch.randperm(len(labels))
        for first in range(0, len(labels), size):
            chosen = order[first : first + size]
            yield features[chosen], labels[chosen]

    yield from _plain_loop(recipe, model, batches)


def epochs_by_loader(recipe: Recipe, data: DataSet, model: nn.Module):
    pairs = TensorDataset(torch.from_numpy(data.features), torch.from_numpy(data.labels))
    loader = DataLoader(pairs, batch_size=recipe.batch or len(pairs), shuffle=True)
    yield from _plain_loop(recipe, model, lambda: loader)


def _plain_loop(recipe: Recipe, model: nn.Module, batches: Callable):
    """A training loop as every tutorial has it."""
    criterion, total = nn.CrossEntropyLoss(), 0.0
    optimizer = torch.optim.Adam(model.parameters(), lr=recipe.learning_rate)
    model.train()
    for _ in range(recipe.epochs):
        for features, labels in batches():
            optimizer.zero_grad()
            loss = criterion(model(features), labels)
            loss.backward()
            optimizer.step()
            total += loss.item()
        yield total


WAYS = {"plain torch": epochs_in_memory, "DataLoader": epochs_by_loader, "ours": epochs_by_kernel}


def core_seconds_an_epoch(way: Callable, recipe: Recipe, data: DataSet) -> float:
    epochs = way(recipe, data, build(recipe, 100, 10))
    next(epochs)
    start, count = time.process_time(), 0
    for _ in epochs:
        count += 1
    return (time.process_time() - start) / count


def training(data: DataSet, dropout: float, rounds: int) -> dict[int, dict[str, list[float]]]:
    """Core-seconds an epoch of each way, round by round, for each size of the batch."""
    found: dict[int, dict[str, list[float]]] = {}
    for batch, epochs in EPOCHS.items():
        recipe = Recipe(seed=1, batch=batch, epochs=epochs + 1, dropout=dropout, stop=False)
        found[batch] = {name: [] for name in WAYS}
        for _ in range(rounds):
            for name, way in WAYS.items():
                found[batch][name].append(core_seconds_an_epoch(way, recipe, data))
    return found


def gemm_peak() -> float:
    """Best rate of a product of matrices in single precision seen on one core, flop/s."""
    best = 0.0
    for rows, times in ((1024, 3), (512, 12), (100, 1000)):
        a, out = np.ones((rows, rows), np.float32), np.empty((rows, rows), np.float32)
        tensor = torch.from_numpy(a)
        for multiply in (lambda a=a, out=out: np.dot(a, a, out=out),
                         lambda a=tensor: torch.mm(a, a)):  # fmt: skip
            for _ in range(8):
                start = time.process_time()
                for _ in range(times):
                    multiply()
                best = max(best, times * 2 * rows**3 / (time.process_time() - start))
    return best


def separation_by_loop(features: torch.Tensor, labels: torch.Tensor) -> float:
    """log tr(S_W S_B^+) as one writes it down: a loop over the classes, then the pseudo-inverse."""
    width, mean = features.shape[1], features.mean(0)
    within, between = torch.zeros(width, width), torch.zeros(width, width)
    for label in labels.unique():
        members = features[labels == label]
        centre = members.mean(0)
        within += (members - centre).T @ (members - centre)
        between += len(members) * torch.outer(centre - mean, centre - mean)
    return float(torch.log(torch.trace(within @ torch.linalg.pinv(between))))


def separation(rounds: int) -> dict[str, float]:
    """Core-seconds for D of 10 000 x 768 features in 10 classes, and how far the values agree."""
    rng = np.random.default_rng(0)
    labels = np.arange(10_000) % 10
    centre = rng.normal(0, 0.3, (10, 768))
    features = (centre[labels] + rng.normal(size=(10_000, 768))).astype(np.float32)
    tensor, numbers = torch.from_numpy(features), torch.from_numpy(labels)
    spent: dict[str, list[float]] = {"loop": [], "ours": [], "trace ratio": []}
    for _ in range(rounds + 1):
        start = time.process_time()
        loop = separation_by_loop(tensor, numbers)
        spent["loop"].append(time.process_time() - start)
        for name, measure in (("trace ratio", "trace"), ("ours", "pseudo_inverse")):
            start = time.process_time()
            ours = data_separation(features, labels, measure=measure)
            spent[name].append(time.process_time() - start)
    found = {name: statistics.median(times[1:]) for name, times in spent.items()}
    return found | {"ratio": found["loop"] / found["ours"], "difference": abs(ours - loop)}


def disturbance(data: DataSet) -> float:
    """How much slower torch is after the kernel has run in the same process; 1: not at all."""
    recipe = Recipe(seed=1, batch=100, epochs=3)
    before = core_seconds_an_epoch(epochs_in_memory, recipe, data)
    core_seconds_an_epoch(epochs_by_kernel, recipe, data)
    return core_seconds_an_epoch(epochs_in_memory, recipe, data) / before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    data = pictures()
    torch.set_num_threads(1)
    with threadpool_limits(1, user_api="blas"):
        warm = Recipe(seed=1, epochs=2, batch=100, dropout=0.1)
        for way in WAYS.values():
            core_seconds_an_epoch(way, warm, data)
        slower = disturbance(data)
        peak = gemm_peak()
        times = {dropout: training(data, dropout, arguments.rounds) for dropout in (0.0, 0.1)}
        measured = separation(arguments.rounds)
    report(times, peak, measured, slower, arguments.json)


def report(times: dict, peak: float, measured: dict, slower: float, as_json: bool) -> None:
    rows = []
    for dropout, by_batch in times.items():
        for batch, spent in by_batch.items():
            middle = {name: statistics.median(each) for name, each in spent.items()}
            ratios = {name: statistics.median(np.divide(spent[name], spent["ours"]))
                      for name in ("plain torch", "DataLoader")}  # fmt: skip
            rows.append({
                "dropout": dropout, "batch": batch, "core_s_an_epoch": middle,
                "networks_a_minute_and_core": {k: 0.6 / v for k, v in middle.items()},
                "ratio": ratios, "goal": GOALS[batch],
                "share_of_gemm_peak": FLOP * 2560 / middle["ours"] / peak,
            })  # fmt: skip
    found = {"schema_version": 1, "training": rows, "gemm_peak_gflops": peak / 1e9,
             "separation_10000x768": measured | {"goal": GOALS["D"]},
             "torch_slower_after_kernel": slower}  # fmt: skip
    if as_json:
        print(json.dumps(found))
        return
    print(f"networks a minute and core (100 epochs); sgemm peak {peak / 1e9:.0f} GFLOP/s")
    print(f"{'batch':>5} {'dropout':>7} {'torch':>7} {'loader':>7} {'ours':>7} "
          f"{'ratio':>6} {'loader':>6} {'goal':>5} {'of peak':>8}")
    for row in rows:
        rate = row["networks_a_minute_and_core"]
        print(f"{row['batch']:5d} {row['dropout']:7.2f} {rate['plain torch']:7.2f} "
              f"{rate['DataLoader']:7.2f} {rate['ours']:7.2f} {row['ratio']['plain torch']:6.2f} "
              f"{row['ratio']['DataLoader']:6.2f} {row['goal']:5.1f} "
              f"{100 * row['share_of_gemm_peak']:6.0f} %")
    print(f"D of 10 000 x 768: loop {1e3 * measured['loop']:.0f} ms, ours "
          f"{1e3 * measured['ours']:.0f} ms, ratio {measured['ratio']:.1f} (goal {GOALS['D']:g}); "
          f"log D differs by {measured['difference']:.1e}; the trace ratio alone "
          f"{1e3 * measured['trace ratio']:.0f} ms")
    print(f"torch after the kernel has run: {slower:.2f} of its time before", file=sys.stderr)


if __name__ == "__main__":
    main()
