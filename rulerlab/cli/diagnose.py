"""`rulerlab diagnose`: which layers of a network carry the load, and which knob to turn."""

from __future__ import annotations

from pathlib import Path

import click


def _shape(_context, _option, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(size) for size in text.replace("x", ",").split(","))
    except ValueError as error:
        raise click.BadParameter(f"{text!r}: write sizes, 1,28,28") from error


@click.command(short_help="Which layers of a network carry the load, and which knob to turn.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--data", default="digits", show_default=True,
              help="What it was trained on: digits, gaussian, a folder with files of the MNIST "
                   "kind, or an .npz with features and labels.")
@click.option("--layers", help="Names of layers with commas between; left out: found.")
@click.option("--pool", type=click.Choice(["auto", "flatten", "mean", "first", "last", "tokens"]),
              default="auto", show_default=True, help="How tokens and maps become features.")
@click.option("--pca", type=click.IntRange(min=1),
              help="Reduce wider layers to this many principal directions first.")
@click.option("--samples", type=click.IntRange(min=2), help="Use the first samples only.")
@click.option("--shape", callback=_shape, help="Of one sample (1,28,28), if MODEL does not tell.")
@click.option("--memory", "memory_mb", default=512.0, show_default=True,
              help="MB for features and class means; layers that don't fit take turns.")
@click.option("--trust-pickle", is_flag=True,
              help="Open a pickled module; it can run any program, so only if you made it.")
@click.option("-o", "--out", type=click.Path(path_type=Path),
              help="Folder for load_curve.csv, layers.csv and stress_map.svg.")
@click.option("--force", is_flag=True, help="Replace a finished folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(model: Path, data: str, layers: str | None, shape, trust_pickle: bool,
            out: Path | None, force: bool, as_json: bool, **knobs) -> None:
    """Diagnose MODEL: a .safetensors of `rulerlab train`, or a .pt2 of torch.export.

    Prints how far each layer separates the classes, its share of the load, the regime, and what
    the spring-block picture suggests.
    """
    from rulerlab.network import need_torch

    need_torch()
    from rulerlab.network.curve import How
    from rulerlab.network.diagnose import diagnose
    from rulerlab.network.inputs import read_samples
    from rulerlab.network.model_file import read_model

    file = read_model(model, trust_pickle=trust_pickle)
    pair = read_samples(data, file, shape=shape, samples=knobs["samples"])
    how = How(layers.split(",") if layers else "auto", batch=file.batch, **knobs)
    found = diagnose(file.model, pair, how)
    summary = {"model": str(model), "data": data} | found.summary()
    if out is not None:
        _write(out, found, summary, model, force)
    if as_json:
        from rulerlab.store import json_text

        click.echo(json_text(summary))
    else:
        _say(summary)
    if out is not None:
        click.echo(f"{out}/stress_map.svg {out}/load_curve.csv", err=as_json)


def _write(out: Path, found, summary: dict, model: Path, force: bool) -> None:
    """A run folder: load curve, table of the layers, figure, provenance."""
    from rulerlab import store
    from rulerlab.network.figures import draw_diagnosis
    from rulerlab.plots import plot_load_curve, svg_of

    with store.open_run(out, force=force) as folder:
        store.write_load_curve(folder, found.curve)
        rows = [",".join("" if value is None else str(value) for value in layer.values())
                for layer in summary["layers"]]
        head = ",".join(summary["layers"][0])
        (folder / "layers.csv").write_text("\n".join([head, *rows]) + "\n", encoding="utf-8")
        height = max(3.8, 1.2 + 0.24 * len(rows))
        (folder / "stress_map.svg").write_text(svg_of(
            lambda figure: draw_diagnosis(found, figure, plot_load_curve), width=11,
            height=height), encoding="utf-8")  # fmt: skip
        store.write_run_json(folder, store.provenance([model]) | {"kind": "network"} | summary)


def _say(summary: dict) -> None:
    """The result on one screen."""
    from rulerlab.plots import quoted

    points, law = summary["layers"], summary["law"]
    accuracy = summary["accuracy_percent"]
    right = "" if accuracy != accuracy else f", {accuracy:.1f} % of them classified rightly"
    click.echo(f"{len(points) - 1} layers on {summary['samples']} samples of "
               f"{summary['classes']} classes{right}")
    wide = max(len(point["name"]) for point in points)
    click.echo(f"  l  {'point':{wide}}  {'D':>16}  {'load':>16}  fair shares")
    for number, point in enumerate(points):
        line = f"{number:3d}  {point['name']:{wide}}  {quoted(point['D'], point['D_sigma']):>16}"
        if number:
            line += f"  {quoted(point['load'], point['load_sigma']):>16}"
        if point["role"]:
            line += f"  {quoted(point['share'], point['share_sigma']):>13}  {point['role']}"
        click.echo(line)
    if "c_normalised" in summary:
        chance = ", ".join(f"{name} {value:.2f}"
                           for name, value in summary["regime_probability"].items())
        numbers = ", ".join(f"{short} = {quoted(summary[long], summary[f'{long}_sigma'])}"
                            for short, long in (("c~", "c_normalised"), ("v~", "v_normalised")))
        click.echo(f"{numbers}; probability: {chance}")
    click.echo(f"equal separation (He & Su): r = {quoted(law['r'], law['r_sigma'])}, "
               f"rho = {quoted(law['rho'], law['rho_sigma'])}; {law['conditions']}")
    click.echo(f"{summary['regime'] or 'undecided'}: {summary['advice']}")
    click.echo(summary["limits"], err=True)
