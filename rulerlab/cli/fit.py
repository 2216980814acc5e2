"""`rulerlab fit`: from a motion to friction, damping and noise with honest intervals."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

if TYPE_CHECKING:
    from rulerlab.records import FitResult, Motion
    from rulerlab.rig import Rig


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

    filmed = [_film(run, rig_path) for run in runs]
    if len({film.kind for film in filmed}) > 1:
        kinds = "; ".join(f"{film.run.name}: {film.kind}" for film in filmed)
        raise UsageError(f"the runs are not of one rig ({kinds}); fit them one by one")
    fitted = [_fit(film, posterior=posterior, seed=seed, no_plots=no_plots,
                   folder=film.folder if output is None or len(runs) > 1 else output)
              for film in filmed]  # fmt: skip
    result = fitted[0]
    if len(runs) > 1:
        result, figures = _together(filmed, fitted, posterior=posterior, seed=seed)
        if output is not None:
            _write(output, result, [] if no_plots else figures)
    _say(result, list(runs), fitted, as_json)
    return 0 if result.valid else 4


class _Film(NamedTuple):
    """A run, and what is known of its rig."""

    run: Path
    motion: Motion
    rig: Rig
    kind: str

    @property
    def folder(self) -> Path | None:
        """Where the fit of a run is kept; that of a table is not."""
        return self.run if self.run.is_dir() else None

    @property
    def pull_section(self) -> bool:
        """Whether the last section lies in the hand and carries no load; points on one line are no
        ruler."""
        import numpy as np

        from rulerlab.track.order import is_straight

        seen = np.isfinite(self.motion.joint_mm).all(axis=(1, 2))
        straight = is_straight(self.motion.joint_mm[int(seen.argmax())]) if seen.any() else True
        kind = self.rig.kind or ("blocks" if straight else "ruler")
        return kind == "ruler" and self.rig.ruler.pull_section


POINT, BENCH, CHAIN = "a single point", "known masses and springs", "unknown springs"


def _film(run: Path, rig_path: Path | None) -> _Film:
    """Read a run with its rig, and say which fit suits it."""
    from rulerlab.fit.measured import read_measured

    motion, rig = read_measured(run), _rig_of(run, rig_path)
    known = rig.blocks.mass_kg and rig.blocks.stiffness_N_per_m
    kind = POINT if motion.joint_mm.shape[1] <= 2 else BENCH if known else CHAIN
    return _Film(run, motion, rig, kind)


def _together(filmed: list[_Film], fitted: list, *, posterior: bool, seed: int):
    """One result for several runs, and the figures of it."""
    if filmed[0].kind != CHAIN:
        from rulerlab.fit.together import together

        return together(fitted), []
    from rulerlab.fit import chain_figures
    from rulerlab.fit.several import fit_chains

    with _Bar("all runs") as bar:
        result = fit_chains([film.motion for film in filmed], pull_section=filmed[0].pull_section,
                            posterior=posterior, seed=seed, alone=fitted,
                            progress=bar.show)  # fmt: skip
    return result, chain_figures.of_posterior(result)


def fit_run(run: Path) -> FitResult:
    """Fit one run, and write what was found beside it."""
    film = _film(run, None)
    return _fit(film, posterior=False, seed=0, no_plots=False, folder=film.folder)


def _fit(
    film: _Film, *, posterior: bool, seed: int, no_plots: bool, folder: Path | None
) -> FitResult:
    with _Bar(film.run.name) as bar:
        result, figures = _result(film, posterior=posterior, seed=seed, progress=bar.show)
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


def _result(film: _Film, *, posterior: bool, seed: int, progress):
    """The fit that suits the rig, and the figures that show it."""
    if film.kind == POINT:
        from rulerlab.fit import figures
        from rulerlab.fit.oscillator import fit_oscillator

        result, swings = fit_oscillator(film.motion)
        return result, figures.of_oscillator(result, swings)
    if film.kind == BENCH:
        from rulerlab.fit import figures
        from rulerlab.fit.bench import bench_of
        from rulerlab.fit.blocks import gather
        from rulerlab.fit.verdict import THOROUGH, result_of

        evidence = gather(bench_of(film.motion, film.rig), seed=seed,
                          more=THOROUGH if posterior else 1, progress=progress)  # fmt: skip
        result = result_of(evidence)
        return result, figures.of_blocks(result, evidence)
    from rulerlab.fit import chain_figures
    from rulerlab.fit.dimensionless import fit_chain

    section = film.pull_section
    result = fit_chain(film.motion, pull_section=section, posterior=posterior, seed=seed,
                       progress=progress)  # fmt: skip
    return result, chain_figures.of_chain(result, film.motion, pull_section=section)


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
