"""The command line: one file per verb, found by its name; a verb imports what it needs when run.

stdout carries the result only, stderr the log and the progress. Exit codes: 0 done; 1 a bug;
2 usage; 3 unreadable input; 4 done but a quality gate failed; 5 an optional part is missing;
6 part of a batch failed; 130 Ctrl-C.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys

import click

from rulerlab import __version__
from rulerlab.errors import RulerlabError


def _print_version(context: click.Context, _option: click.Parameter, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        parts = [f"rulerlab {__version__}"]
        for name in ("numpy", "scipy", "opencv-python", "av", "torch"):
            try:
                parts.append(f"{name} {version(name)}")
            except PackageNotFoundError:
                parts.append(f"{name} not installed")
        click.echo("\n".join(parts))
        context.exit()


class Verbs(click.Group):
    """Every module of this package that defines `command` is a verb, named after the module."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        names = {module.name for module in pkgutil.iter_modules(__path__)}
        return sorted(name for name in names if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        return importlib.import_module(f"{__name__}.{cmd_name}").command


@click.command(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_print_version,
    help="Print the versions of rulerlab and of the libraries it stands on.",
)
def rulerlab() -> None:
    """Film a ruler, measure how it shares its load, and find the network it behaves like."""


def main(argv: list[str] | None = None) -> None:
    """Run one verb and leave with its documented exit code."""
    try:
        code = rulerlab.main(argv, prog_name="rulerlab", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("rulerlab: stopped by Ctrl-C", err=True)
        sys.exit(130)
    except RulerlabError as error:
        click.echo(f"rulerlab: {error}", err=True)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # `rulerlab ... | head` is not a fault
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
