"""`rulerlab fit`: from a motion to friction, damping and noise with honest intervals."""

from __future__ import annotations

import sys
from pathlib import Path

import click


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rig", "rig_path", type=click.Path(path_type=Path), default=None,
              help="rig.toml with masses and springs; left out: the one the run was tracked with, "
              "or NAME.rig.toml beside a table.")
@click.option("--posterior", is_flag=True, help="Many more trials: minutes, not seconds.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0),
              help="Names the random numbers of the trials.")
@click.option("-o", "--output", type=click.Path(path_type=Path), default=None,
              help="Folder for fit.json and plots; left out: the run folder, none for a table.")
@click.option("--no-plots", is_flag=True, help="Write fit.json only.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(
    runs: tuple[Path, ...], rig_path: Path | None, posterior: bool, seed: int,
    output: Path | None, no_plots: bool, as_json: bool,
) -> int:
    """Fit friction and noise to run folders, or to tables time_s,p0_x_mm,p1_x_mm,...

    Blocks whose masses and springs rig.toml gives are fitted in newtons; rulers and unknown
    springs without units; a single point as an oscillator. Several runs of the same rig are
    fitted together, and their differences are tested.
    """
    from rulerlab.errors import UsageError

    fitted = [fit_run(run, rig_path=rig_path, posterior=posterior, seed=seed,
                      output=output if len(runs) == 1 else None, no_plots=no_plots)
              for run in runs]  # fmt: skip
    result = fitted[0]
    if len(runs) > 1:
        if len({one.law == "chain" for one in fitted}) > 1:
            raise UsageError("some of the runs have known masses and springs or a single point, "
                             "others do not; fit runs of one rig together")  # fmt: skip
        result, figures = _together(runs, fitted, rig_path=rig_path, posterior=posterior, seed=seed)
        if output is not None:
            _write(output, result, [] if no_plots else figures)
    _say(result, list(runs), fitted, as_json)
    return 0 if result.valid else 4


def _together(runs, fitted, *, rig_path: Path | None, posterior: bool, seed: int):
    """One result for several runs, and the figures of it."""
    if fitted[0].law != "chain":
        from rulerlab.fit.together import together

        return together(fitted), []
    from rulerlab.fit import chain_figures
    from rulerlab.fit.measured import read_measured
    from rulerlab.fit.several import fit_chains

    motions = [read_measured(run) for run in runs]
    section = _pull_section(_rig_of(runs[0], rig_path), motions[0])
    with _Bar("all runs") as bar:
        result = fit_chains(motions, pull_section=section, posterior=posterior, seed=seed,
                            alone=fitted, progress=bar.show)
    return result, chain_figures.of_posterior(result)


def fit_run(
    run: Path, *, rig_path: Path | None = None, posterior: bool = False, seed: int = 0,
    output: Path | None = None, no_plots: bool = False,
):
    """Fit one run, and write what was found beside it."""
    from rulerlab.fit.measured import read_measured

    motion = read_measured(run)
    rig = _rig_of(run, rig_path)
    with _Bar(run.name) as bar:
        result, figures = _result(motion, rig, posterior=posterior, seed=seed, progress=bar.show)
    folder = output or (run if run.is_dir() else None)
    if folder is not None:
        _write(folder, result, [] if no_plots else figures)
    return result


def _rig_of(run: Path, rig_path: Path | None):
    """The rig: as given, as the run remembers it, as it lies beside the table, or unknown."""
    from rulerlab.rig import Rig, read_rig, rig_of_run

    beside = run.with_suffix(".rig.toml")
    if rig_path is not None:
        return read_rig(rig_path)
    if run.is_dir():
        from rulerlab.store import read_run_json

        return rig_of_run(read_run_json(run).get("rig") or {})
    return read_rig(beside) if beside.exists() else Rig()


def _result(motion, rig, *, posterior: bool, seed: int, progress):
    """The fit that suits the rig, and the figures that show it."""
    if motion.joint_mm.shape[1] <= 2:
        from rulerlab.fit import figures
        from rulerlab.fit.oscillator import fit_oscillator

        result, swings = fit_oscillator(motion)
        return result, figures.of_oscillator(result, swings)
    if rig.blocks.mass_kg and rig.blocks.stiffness_N_per_m:
        from rulerlab.fit import figures
        from rulerlab.fit.bench import bench_of
        from rulerlab.fit.blocks import gather
        from rulerlab.fit.verdict import THOROUGH, result_of

        evidence = gather(bench_of(motion, rig), seed=seed, more=THOROUGH if posterior else 1,
                          progress=progress)  # fmt: skip
        result = result_of(evidence)
        return result, figures.of_blocks(result, evidence)
    from rulerlab.fit import chain_figures
    from rulerlab.fit.dimensionless import fit_chain

    section = _pull_section(rig, motion)
    result = fit_chain(motion, pull_section=section, posterior=posterior, seed=seed,
                       progress=progress)  # fmt: skip
    return result, chain_figures.of_chain(result, motion, pull_section=section)


def _pull_section(rig, motion) -> bool:
    """Whether the last section lies in the hand and carries no load; points on one line are no
    ruler."""
    import numpy as np

    from rulerlab.track.order import is_straight

    seen = np.isfinite(motion.joint_mm).all(axis=(1, 2))
    straight = is_straight(motion.joint_mm[int(seen.argmax())]) if seen.any() else True
    kind = rig.kind or ("blocks" if straight else "ruler")
    return kind == "ruler" and rig.ruler.pull_section


def _write(folder: Path, result, figures) -> None:
    """fit.json and plots/fit_NAME.svg."""
    from rulerlab.errors import InputError
    from rulerlab.fit.stored import NAME, with_samples
    from rulerlab.plots import write_figure
    from rulerlab.store import json_text

    try:
        (folder / "plots").mkdir(parents=True, exist_ok=True)
        (folder / NAME).write_text(json_text(with_samples(result)) + "\n", encoding="utf-8")
        for name, draw, width, height in figures:
            write_figure(folder / "plots" / f"fit_{name}.svg", draw, width=width, height=height)
    except OSError as error:
        raise InputError(f"{folder} can't be written: {error.strerror}") from error


def _say(result, runs: list[Path], fitted: list, as_json: bool) -> None:
    """The result on stdout."""
    from rulerlab.fit.stored import as_dict
    from rulerlab.store import json_text

    if as_json:
        content = as_dict(result)
        if len(runs) > 1:
            content["runs"] = [{"run": str(run)} | as_dict(one)
                               for run, one in zip(runs, fitted, strict=True)]  # fmt: skip
        click.echo(json_text(content))
        return
    from rulerlab.cli._fit_text import fit_text

    click.echo(fit_text(result))


class _Bar:
    """A progress bar, on a terminal only."""

    def __init__(self, name: str):
        self.name, self.done, self.bar = name, 0, None

    def __enter__(self) -> _Bar:
        if sys.stderr.isatty():
            self.bar = click.progressbar(length=100, label=f"fitting {self.name}", file=sys.stderr)
            self.bar.__enter__()
        return self

    def show(self, share: float) -> None:
        if self.bar is not None and round(100 * share) > self.done:
            self.bar.update(round(100 * share) - self.done)
            self.done = round(100 * share)

    def __exit__(self, *about) -> None:
        if self.bar is not None:
            self.bar.__exit__(*about)
