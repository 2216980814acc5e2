"""`rulerlab train`: networks by the recipe of the paper, for `rulerlab diagnose`."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command(short_help="Train networks and keep them with their loss curves.")
@click.option("--data", default="digits", show_default=True,
              help="digits, gaussian, or a folder with four files of the MNIST kind or an .npz.")
@click.option("--samples", type=click.IntRange(min=2),
              help="To train on; left out: 2560, of the digits 1280.")
@click.option("--seeds", default=1, show_default=True, type=click.IntRange(min=1),
              help="How many networks, with seeds that follow --seed.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(min=0),
              help="Of the first network.")
@click.option("--alpha", default=0.0, show_default=True, help="Slope below 0: 0 ReLU, 1 linear.")
@click.option("--dropout", default=0.0, show_default=True, help="Share of the units left out.")
@click.option("--label-noise", default=0.0, show_default=True,
              help="Share of the labels replaced by random ones, fresh in every step.")
@click.option("--input-noise", default=0.0, show_default=True,
              help="Added to the features, in their standard deviations, fresh in every step.")
@click.option("--learning-rate", default=1e-3, show_default=True, help="Of the optimiser.")
@click.option("--batch", type=click.IntRange(min=1), help="Samples in a step; left out: all.")
@click.option("--epochs", default=100, show_default=True, type=click.IntRange(min=1),
              help="Times that training goes through the data.")
@click.option("--optimizer", type=click.Choice(["adam", "sgd"]), default="adam", show_default=True,
              help="How the weights move.")
@click.option("--momentum", default=0.0, show_default=True, help="Of sgd.")
@click.option("--weight-decay", default=0.0, show_default=True, help="Pull of weights towards 0.")
@click.option("--loss", type=click.Choice(["cross-entropy", "mse"]), default="cross-entropy",
              show_default=True, help="What training makes small.")
@click.option("--network", type=click.Choice(["mlp", "cnn"]), default="mlp", show_default=True,
              help="cnn takes square pictures and wants --width 20 as in the paper.")
@click.option("--width", default=100, show_default=True, type=click.IntRange(min=1),
              help="Units (channels) of a hidden layer.")
@click.option("--depth", default=8, show_default=True, type=click.IntRange(min=1),
              help="Layers, the last linear one included.")
@click.option("--batch-norm/--no-batch-norm", default=True, show_default=True,
              help="With or without BatchNorm.")
@click.option("--stop/--no-stop", default=True, show_default=True,
              help="End early once the loss rests.")
@click.option("--threads", type=click.IntRange(min=1),
              help="Networks trained side by side; left out: one per processor.")
@click.option("-o", "--out", default=Path("networks"), show_default=True,
              type=click.Path(file_okay=False, path_type=Path), help="Folder for the networks.")
@click.option("--force", is_flag=True, help="Replace a finished folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(data: str, samples: int | None, seeds: int, seed: int, threads: int | None, out: Path,
            force: bool, as_json: bool, **recipe) -> None:
    """Train networks and keep them with their loss curves.

    The recipe left alone is that of Shi et al. (2025). The folder gets net_SEED.safetensors (for
    `rulerlab diagnose`), run.json with recipe and accuracies, losses.csv and losses.svg.
    """
    from rulerlab import store
    from rulerlab.network import need_torch

    need_torch()
    from rulerlab.network import saved
    from rulerlab.network.data import read_data
    from rulerlab.network.losses import loss_table, plot_losses
    from rulerlab.network.recipe import Recipe
    from rulerlab.plots import svg_of

    recipes = [Recipe(seed=number, **recipe) for number in range(seed, seed + seeds)]
    with store.open_run(out, force=force) as folder:
        samples_read = read_data(data, samples=samples)
        nets = _watched(recipes, samples_read, threads)
        for net in nets:
            saved.write(net, folder / f"net_{net.recipe.seed}.safetensors",
                        inputs=samples_read.features.shape[1], classes=samples_read.classes,
                        data=samples_read.name)  # fmt: skip
        (folder / "losses.csv").write_text(loss_table(nets), encoding="utf-8")
        (folder / "losses.svg").write_text(
            svg_of(lambda figure: plot_losses(nets, figure.subplots())), encoding="utf-8")
        found = _summary(nets, samples_read, recipe)
        store.write_run_json(folder, store.provenance([]) | {"kind": "training"} | found)
    if as_json:
        click.echo(store.json_text(found | {"folder": str(out)}))
    else:
        _say(found, out)
    _judge(nets)


def _watched(recipes: list, data, threads: int | None) -> list:
    """Train, with a progress bar and the time left on a terminal only."""
    from rulerlab.network.train import train

    if not sys.stderr.isatty():
        return list(train(recipes, data, threads=threads))
    with click.progressbar(length=1000, label="epochs", file=sys.stderr) as bar:
        return list(train(recipes, data, threads=threads,
                          progress=lambda share: bar.update(round(1000 * share) - bar.pos)))


def _summary(nets: list, data, recipe: dict) -> dict:
    return {
        "data": data.name, "samples": len(data.labels), "test_samples": len(data.test_labels),
        "recipe": recipe,
        "networks": [
            {"file": f"net_{net.recipe.seed}.safetensors", "seed": net.recipe.seed,
             "epochs": len(net.losses), "loss": float(net.losses[-1]),
             "accuracy_percent": net.accuracy}
            for net in nets
        ],
    }  # fmt: skip


def _judge(nets: list) -> None:
    """QualityError if the loss of a network has blown up."""
    from math import isfinite

    from rulerlab.errors import QualityError

    blown = [str(net.recipe.seed) for net in nets if not isfinite(net.losses[-1])]
    if blown:
        raise QualityError(f"the loss blew up with seed {', '.join(blown)}; take a learning rate "
                           f"below {nets[0].recipe.learning_rate:g}")


def _say(found: dict, out: Path) -> None:
    """One line for each network, and their mean."""
    from statistics import mean, stdev

    click.echo(f"{found['data']}: {found['samples']} samples to train on, "
               f"{found['test_samples']} to test with")
    for net in found["networks"]:
        click.echo(f"{out}/{net['file']}  {net['epochs']:4d} epochs  loss {net['loss']:.4g}  "
                   f"accuracy {net['accuracy_percent']:.2f} %")
    right = [net["accuracy_percent"] for net in found["networks"]]
    if len(right) > 1:
        click.echo(f"accuracy {mean(right):.2f} %, spread between seeds {stdev(right):.2f} %")
