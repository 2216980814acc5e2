"""The four phase diagrams of Shi et al. (2025) on the digits of scikit-learn, and their laws.

    python benchmarks/phase_network.py --folder phase-digits [--seeds 5] [--write data/]

Width 64, as wide as the digits have pixels (the paper: width 100 for 100 pixels); 1280 samples;
everything else is the published recipe. An interrupted run goes on where it stopped. `--write`
puts the rows of all four into network_digits.csv, the reference curves that rulerlab ships.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from scipy.stats import spearmanr

from rulerlab.network.atlas import (
    SHIPPED,
    Cell,
    agreement,
    matched,
    noise_order,
    published_diagram,
)
from rulerlab.network.curve import load_curve
from rulerlab.network.data import digits
from rulerlab.network.diagnose import NEAR
from rulerlab.network.phase import ALPHAS, EPOCHS, TABLE, VALUES, PhaseGrid, network_phase
from rulerlab.network.recipe import Recipe
from rulerlab.network.train import train
from rulerlab.synthetic.samples import write_package

TOLERANCE = 0.02  # of c~, between neighbouring cells


def diagram(knob: str, seeds: int, folder: Path, threads: int) -> list[Cell]:
    grid = PhaseGrid(knob, VALUES[knob], ALPHAS, seeds,
                     Recipe(seed=1, width=64, epochs=EPOCHS.get(knob, 100)))  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    began = time.process_time()
    table = network_phase(grid, digits(), folder, threads=threads)
    print(f"{knob}: {len(table.value)} networks, {time.process_time() - began:.0f} s of processor "
          "time (what was there already costs nothing)", flush=True)
    return list(table.cells())


def c_map(cells: list[Cell]) -> np.ndarray:
    """c~ of every cell: rows from ReLU to linear, columns from the weakest noise on."""
    values = np.array(sorted({cell.value for cell in cells}))
    values = values[noise_order(cells[0].knob, values)][::-1]
    known = {(cell.alpha, cell.value): cell.c_normalised for cell in cells}
    return np.array([[known.get((alpha, value), np.nan) for value in values] for alpha in ALPHAS])


def say(law: str, holds: bool, found: str) -> bool:
    print(f"  {'holds' if holds else 'FAILS':5}  {law}: {found}")
    return holds


def rises(c: np.ndarray) -> tuple[int, int]:
    """Neighbours along the last axis that rise (up to the tolerance), and how many there are."""
    step = np.diff(c, axis=1)
    step = step[np.isfinite(step)]
    return int((step > -TOLERANCE).sum()), step.size


def neighbours(cells: list[Cell], what: str) -> np.ndarray:
    """T15: pairs of neighbours in which c~ rises, and all pairs."""
    c = c_map(cells)
    found = np.array([rises(c), rises(c.T)])
    print(f"  {what}: c~ rises with noise in {found[0, 0]} of {found[0, 1]} neighbours, with alpha "
          f"in {found[1, 0]} of {found[1, 1]}")
    return found


def laws(cells: list[Cell]) -> bool:
    """T14 and T17 on one diagram."""
    c = c_map(cells)
    good = True
    if cells[0].knob in ("dropout", "data-noise"):
        good &= say("T14 without noise ReLU is concave, c~ in -0.35..-0.15",
                    -0.35 <= c[0, 0] <= -0.15, f"{c[0, 0]:+.3f}")  # fmt: skip
    best = max(cells, key=lambda cell: cell.accuracy)
    even = max((cell for cell in cells if abs(cell.c_normalised) <= NEAR),
               key=lambda cell: cell.accuracy)
    good &= say(f"T17 best accuracy at |c~| <= {NEAR}", best is even,
                f"{best.accuracy:.2f} % at {best.c_normalised:+.3f} ({best.curve.label}), "
                f"{even.accuracy:.2f} % there")  # fmt: skip
    rank = spearmanr([cell.accuracy for cell in cells], [cell.v_normalised for cell in cells])
    good &= say("T17 Spearman(accuracy, v~) < -0.5", rank.statistic < -0.5,
                f"{rank.statistic:+.2f}")
    found = agreement(matched(cells, published_diagram()))
    print(f"  published (MNIST): {found.cells} cells, r of c~ {found.r:.3f}, mean difference "
          f"{found.difference:.3f}")
    return good


def linear_law(seeds: int, threads: int) -> bool:
    """T16: linear networks with dropout, by trace ratio and by pseudo-inverse."""
    data = digits()
    recipes = [Recipe(seed=seed, width=64, alpha=1.0, dropout=0.28) for seed in range(1, seeds + 1)]
    c, fall = [], []
    for trained in train(recipes, data, threads=threads):
        pair = (data.features, data.labels)
        c.append(load_curve(trained.model, pair, errors=False).c_normalised)
        curve = load_curve(trained.model, pair, measure="pseudo_inverse", errors=False)
        fall.append(curve.total)
    print("linear networks, dropout 0.28")
    good = say("T16 c~ near +0.45", abs(np.mean(c) - 0.45) < 0.1, f"{np.mean(c):+.3f}")
    return good & say("T16 pseudo-inverse form flat, |D_0 - D_L| < 0.3",
                      bool(abs(np.mean(fall)) < 0.3), f"{np.mean(fall):+.3f}")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("phase-digits"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path, metavar="DIR", help=f"write {SHIPPED} there")
    asked = parser.parse_args()
    good, lines, pairs = True, [], np.zeros((2, 2), int)
    for knob in VALUES:
        cells = diagram(knob, asked.seeds, asked.folder / knob, asked.threads)
        good &= laws(cells)
        pairs += neighbours(cells, "here")
        neighbours([cell for cell in published_diagram() if cell.knob == knob], "published")
        text = (asked.folder / knob / TABLE).read_text(encoding="utf-8").splitlines()
        lines += text if not lines else text[1:]
    print("all four diagrams")
    up, count = pairs.sum(axis=0)
    good &= say("T15 noise and alpha raise c~ in 95 % of neighbours", up >= 0.95 * count,
                f"{up} of {count} (noise {pairs[0, 0]} of {pairs[0, 1]})")  # fmt: skip
    good &= linear_law(asked.seeds, asked.threads)
    if asked.write:
        (asked.write / SHIPPED).write_text("\n".join(lines) + "\n", encoding="utf-8")
        write_package(asked.write)
    sys.exit(0 if good else 4)


if __name__ == "__main__":
    main()
