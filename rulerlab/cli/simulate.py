"""`rulerlab simulate`: pull a chain of blocks and springs, once or many times."""

from __future__ import annotations

from pathlib import Path

import click


class PerBlock(click.ParamType):
    """One number, or one per block (per spring) with commas between."""

    name = "number[,..]"

    def convert(self, value, param, ctx):
        if not isinstance(value, str):
            return value
        try:
            numbers = tuple(float(part) for part in value.split(","))
        except ValueError:
            self.fail(f"{value!r} is no number and no list 0.1,0.2", param, ctx)
        return numbers[0] if len(numbers) == 1 else numbers


def _drive(options: dict):
    """The pull that the options ask for."""
    from rulerlab.chain import drive
    from rulerlab.errors import UsageError

    if options["drive_csv"]:
        return drive.read(options["drive_csv"])
    if options["force"] is not None:
        return drive.force(options["force"])
    if options["jerk"]:
        if not options["speed"]:
            raise UsageError("--jerk needs --speed")
        return drive.jerky_ramp(
            options["pull"], options["speed"], options["jerk"], options["jerk_frequency"]
        )
    if options["speed"]:
        return drive.ramp(options["pull"], options["speed"])
    return drive.step(options["pull"])


def _model(options: dict):
    """The chain that the options describe."""
    from rulerlab.chain.model import ChainModel

    noise, common = options["noise"], 0.0
    if options["common_noise"] == "same":  # the flag alone: all of the noise is common
        noise, common = 0.0, noise
    elif options["common_noise"] is not None:
        try:
            common = float(options["common_noise"])
        except ValueError as error:
            raise click.BadParameter(
                f"{options['common_noise']!r} is no amplitude", param_hint="--common-noise"
            ) from error
    return ChainModel(
        blocks=options["blocks"], stiffness=options["stiffness"],
        friction_right=options["friction_right"], friction_left=options["friction_left"],
        noise=noise, common_noise=common, noise_decay=options["noise_decay"],
        noise_frequency=options["noise_frequency"], noise_bandwidth=options["noise_bandwidth"],
        static_ratio=options["static_ratio"], damping=options["damping"], dt=options["dt"],
        mass=options["mass"] if options["order"] == "2" else 0.0,
    )  # fmt: skip


def _warn(model, drive, steps: int) -> None:
    from rulerlab.chain.simulate import step_size_effect

    effect = step_size_effect(model, drive, steps)
    if effect > 0.01:
        click.echo(
            f"rulerlab: half the time step moves the quiet end state by {100 * effect:.1f} %; "
            f"--dt {model.dt / 4:g} with {4 * steps} steps is safer", err=True,
        )  # fmt: skip


@click.command()
@click.option("--blocks", default=7, show_default=True, help="Number of blocks.")
@click.option("--stiffness", type=PerBlock(), default=1.0, show_default=True,
              help="Of each spring.")
@click.option("--friction-right", type=PerBlock(), default=0.1, show_default=True,
              help="Force that holds a block against moving to the pulled end.")
@click.option("--friction-left", type=PerBlock(), default=0.1, show_default=True,
              help="The same, moving back.")
@click.option("--noise", type=PerBlock(), default=0.0, show_default=True,
              help="Kick of each step: a force (order 1), a velocity per root time (order 2).")
@click.option("--common-noise", is_flag=False, flag_value="same", default=None, metavar="[X]",
              help="All blocks get the same kick; with a number: added to the independent --noise.")
@click.option("--noise-decay", default=0.0, help="Rate at which the noise dies away.")
@click.option("--noise-frequency", default=0.0, help="Centre of a band of noise (a motor).")
@click.option("--noise-bandwidth", default=0.0, help="Width of that band; 0: white.")
@click.option("--static-ratio", default=1.0, show_default=True, help="Static/kinetic friction.")
@click.option("--order", type=click.Choice(["1", "2"]), default="1", show_default=True,
              help="1: overdamped, 2: with mass.")
@click.option("--mass", type=PerBlock(), default=1.0, show_default=True,
              help="Of each block (order 2).")
@click.option("--damping", default=1.0, show_default=True, help="Viscous friction of each block.")
@click.option("--dt", default=0.01, show_default=True, help="Time step.")
@click.option("--steps", default=10000, show_default=True, help="Number of time steps.")
@click.option("--pull", default=1.0, show_default=True, help="Where the pulled end goes.")
@click.option("--speed", default=0.0, help="Pulling speed; left out: at once.")
@click.option("--jerk", default=0.0, help="Amplitude of jerks on top of a steady pull.")
@click.option("--jerk-frequency", default=1.0, show_default=True, help="Jerks per time.")
@click.option("--force", type=float, default=None, help="Pull with this force instead.")
@click.option("--drive-csv", type=click.Path(exists=True, dir_okay=False), default=None,
              help="Pulled end from a table time,pull, or from the tracks.csv of a run folder.")
@click.option("--repeats", default=1, show_default=True, help="Number of independent runs.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0),
              help="Names the random numbers; the same seed gives the same runs.")
@click.option("--precision", type=click.Choice(["single", "double"]), default="double",
              show_default=True, help="Of the state.")
@click.option("--out", type=click.Path(dir_okay=False), default=None,
              help="Write the first run to this .csv: time, then the wall, blocks, pulled end.")
@click.option("--every", default=100, show_default=True, help="Steps between lines of --out.")
@click.option("--slips", type=click.Path(dir_okay=False), default=None,
              help="Write the slips of the first run to this .csv: onset, duration, size, blocks.")
@click.option("-o", "--run", "folder", type=click.Path(path_type=Path), default=None,
              help="Write a run folder with the load curve, for compare and phase measured.")
@click.option("--replace", is_flag=True, help="Replace an existing run folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool, repeats: int, out: str | None, slips: str | None,
            folder: Path | None, replace: bool, **options) -> None:
    """Simulate the chain of blocks and springs and print how it shares its load.

    c is the first load minus that of the last block, v their spread; the spring in the hand is
    left out of both, as the last layer of a network is.
    """
    import json

    import numpy as np

    from rulerlab.chain import simulate as chain

    model, drive, steps = _model(options), _drive(options), options["steps"]
    profiles = _watched(model, drive, steps, chains=repeats, seed=options["seed"],
                        precision=options["precision"])  # fmt: skip
    springs = chain.extensions(profiles, chain.pulled_end(model, drive, steps, profiles))
    curve = chain.load_curve(springs)
    mean = springs.mean(axis=0)
    sigma = springs.std(axis=0, ddof=1) / np.sqrt(repeats) if repeats > 1 else np.zeros(len(mean))
    if not np.isfinite(mean).all():
        from rulerlab.errors import QualityError

        raise QualityError(f"the chain flew apart; use a smaller --dt than {model.dt:g}")
    _warn(model, drive, steps)
    if folder:
        if repeats == 1:
            curve = _of_one_run(model, drive, options)
        _write_folder(folder, curve, options, replace)
    if out or slips:
        run = chain.simulate(model, drive, steps, every=options["every"], seed=options["seed"],
                             precision=options["precision"])  # fmt: skip
        if out:
            _write_run(out, run)
        if slips:
            _write_slips(slips, run)
    if as_json:
        click.echo(json.dumps({
            "schema_version": 1, "extensions": mean.tolist(), "sigma": sigma.tolist(),
            "c": curve.c, "v": curve.v, "sigma_c": curve.sigma_of("c"), "regime": curve.regime,
            "repeats": repeats, "seed": options["seed"], "steps": steps, "dt": model.dt,
        }))  # fmt: skip
        return
    click.echo("spring  extension  sigma")
    for spring, (value, error) in enumerate(zip(mean, sigma, strict=True), 1):
        click.echo(f"{spring:6d}  {value:9.5f}  {error:.5f}")
    click.echo(f"c = {curve.c:.4f}  v = {curve.v:.4f}  {curve.regime}")


def _of_one_run(model, drive, options: dict):
    """Load curve of one run, averaged over its last tenth, with the error of that average."""
    import numpy as np

    from rulerlab.chain.simulate import simulate
    from rulerlab.records import LoadCurve
    from rulerlab.segments import mean_place

    steps = options["steps"]
    motion = simulate(model, drive, steps, every=max(1, steps // 2000), seed=options["seed"],
                      precision=options["precision"])  # fmt: skip
    place, covariance, _ = mean_place(motion, slice(-max(len(motion.time_s) // 10, 1), None))
    left = np.eye(len(place))[:-1] * -1.0  # all but the spring in the hand
    left[:, -1] = 1.0
    return LoadCurve(left @ place, left @ covariance @ left.T, "chain", "spring", "1")


def _write_folder(folder: Path, curve, options: dict, replace: bool) -> None:
    """A run folder that holds the load curve and says how it was made."""
    from rulerlab import store

    with store.open_run(folder, force=replace) as partial:
        store.write_load_curve(partial, curve)
        store.write_run_json(partial, store.provenance([]) | {"kind": "chain", "chain": options})


def _watched(model, drive, steps: int, **knobs):
    """Run all chains, with a progress bar on a terminal only."""
    import sys

    from rulerlab.chain.simulate import final_profiles

    if not sys.stderr.isatty():
        return final_profiles(model, drive, steps, **knobs)
    with click.progressbar(length=1000, label="chains", file=sys.stderr) as bar:
        return final_profiles(model, drive, steps, **knobs,
                              progress=lambda share: bar.update(round(1000 * share) - bar.pos))


def _write_table(path: str, head: str, table) -> None:
    """A table, written whole or not at all."""
    import os

    import numpy as np

    from rulerlab.errors import InputError

    try:
        np.savetxt(path + ".partial", table, delimiter=",", header=head, comments="", fmt="%.9g")
        os.replace(path + ".partial", path)
    except OSError as error:
        raise InputError(f"{path} can't be written: {error.strerror}") from error


def _write_run(path: str, motion) -> None:
    """Wall, blocks and pulled end of one run."""
    import numpy as np

    head = "time," + ",".join(f"x{k}" for k in range(motion.joint_mm.shape[1]))
    _write_table(path, head, np.column_stack([motion.time_s, motion.joint_mm[..., 0]]))


def _write_slips(path: str, motion) -> None:
    """The slips of one run: when, how long, how much in all, and how far each block went."""
    import numpy as np

    from rulerlab.chain.events import slips

    found = slips(motion)
    head = "onset,duration,size,blocks," + ",".join(
        f"x{k}" for k in range(1, motion.joint_mm.shape[1] - 1))  # fmt: skip
    _write_table(path, head, np.column_stack(
        [found.onset_s, found.duration_s, found.size_mm, found.blocks, found.block_mm]))
