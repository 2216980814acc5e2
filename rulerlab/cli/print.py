"""`rulerlab print`: boards, tags, dots and crosses as PDF at exact scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rulerlab.errors import InputError, UsageError

if TYPE_CHECKING:
    from rulerlab.targets.sheet import Sheet


def sheet_options(function):
    """The options that every sheet has."""
    for option in reversed((
        click.option("--paper", default="a4", show_default=True,
                     type=click.Choice(["a4", "letter"]), help="Paper in the printer."),
        click.option("-o", "--output", type=click.Path(path_type=Path),
                     help="PDF to be written [default: named after the sheet]."),
        click.option("--force", is_flag=True, help="Replace an existing file."),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
    )):
        function = option(function)
    return function


@click.group(invoke_without_command=True)
@click.option("--measured", nargs=2, type=float, metavar="X Y",
              help="Measured lengths, mm, of the bars across and up the sheet.")
@click.option("--target", type=click.Path(path_type=Path),
              help="The .toml beside the sheet [default: the only one in this folder].")
@click.pass_context
def command(context: click.Context, measured, target) -> None:
    """Draw calibration boards, tags, dots and crosses at exact scale.

    \b
    rulerlab print charuco --paper a4
    rulerlab print --measured 99.8 99.9        after printing: the lengths of the two bars

    Print at 100 %, never "fit to page".
    """
    if context.invoked_subcommand is not None:
        if measured:
            raise UsageError("--measured stands alone: first print, then measure the bars")
        return
    if not measured:
        click.echo(context.get_help())
        return
    from rulerlab.targets.measured import read_plan, scales, write_target

    scale_x, scale_y = scales(*measured)
    target = target or _only_target()
    write_target(target, read_plan(target) if target.exists() else {}, measured)
    click.echo(f"the print is {100 * (scale_x - 1):+.2f} % off across, {100 * (scale_y - 1):+.2f} %"
               f" up; stored in {target}")


@command.command()
@click.option("--squares", metavar="9x7", help="Squares across and down.")
@click.option("--square-mm", type=float, help="Side of a square.")
@click.option("--marker-mm", type=float, help="Side of a marker [default: 3/4 of a square].")
@click.option("--dictionary", help="Marker dictionary [default: DICT_5X5_100].")
@click.option("--inverted", is_flag=True, help="Exchange light and dark.")
@click.option("--legacy", is_flag=True, help="Pattern of OpenCV before 4.6.")
@sheet_options
def charuco(squares, square_mm, marker_mm, dictionary, inverted, legacy, **sheet) -> None:
    """A chessboard with markers in its white squares: best for calibration."""
    from rulerlab.calibrate import Board
    from rulerlab.targets import DEFAULT_BOARD

    square = square_mm or DEFAULT_BOARD.square_mm
    board = Board(
        "charuco", _size(squares) or DEFAULT_BOARD.size, square, marker_mm or 0.75 * square,
        dictionary or DEFAULT_BOARD.dictionary, inverted, legacy,
    )
    _print_board(board, **sheet)


@command.command()
@click.option("--corners", metavar="9x6", help="Inner corners across and down.")
@click.option("--square-mm", type=float, help="Side of a square.")
@sheet_options
def chessboard(corners, square_mm, **sheet) -> None:
    """A plain chessboard."""
    from rulerlab.calibrate import Board
    from rulerlab.targets import DEFAULT_CHESSBOARD

    _print_board(Board("chessboard", _size(corners) or DEFAULT_CHESSBOARD.size,
                       square_mm or DEFAULT_CHESSBOARD.square_mm), **sheet)


@command.command()
@click.option("--ids", default="0-23", show_default=True, help="Numbers of the tags: 0-7,40-43.")
@click.option("--size-mm", default="15", show_default=True, type=click.Choice(["10", "15", "20"]),
              help="Side of a tag.")
@click.option("--dictionary", default="DICT_4X4_50", show_default=True, help="Tag dictionary.")
@sheet_options
def tags(ids, size_mm, dictionary, **sheet) -> None:
    """Tags to cut out, with a white rim and their numbers."""
    from rulerlab.targets import sheet_code, tag_sheet

    numbers, size = _numbers(ids), float(size_mm)
    plan = {"kind": "tags", "paper": sheet["paper"], "ids": numbers, "tag_size_mm": size,
            "dictionary": dictionary}
    drawn = tag_sheet(numbers, size_mm=size, dictionary=dictionary, paper=sheet["paper"],
                      code=sheet_code(plan))
    _write(drawn, plan, f"tags_{size_mm}mm", **sheet)


@command.command()
@click.option("--diameter-mm", default=8.0, show_default=True, help="Diameter of a dot.")
@sheet_options
def dots(diameter_mm, **sheet) -> None:
    """Dots in two colours, each in a white ring."""
    from rulerlab.targets import dot_sheet, sheet_code

    plan = {"kind": "dots", "paper": sheet["paper"], "diameter_mm": diameter_mm}
    drawn = dot_sheet(diameter_mm=diameter_mm, paper=sheet["paper"], code=sheet_code(plan))
    _write(drawn, plan, "dots", **sheet)


@command.command()
@sheet_options
def crosses(**sheet) -> None:
    """Four crosses that give scale and perspective; their places go into rig.toml."""
    from rulerlab.targets import CROSSES_MM, cross_sheet, sheet_code

    plan = {"kind": "crosses", "paper": sheet["paper"], "crosses_mm": [list(p) for p in CROSSES_MM]}
    drawn = cross_sheet(paper=sheet["paper"], code=sheet_code(plan))
    _write(drawn, plan, "crosses", **sheet)


def _print_board(board, *, paper, **sheet) -> None:
    from rulerlab.targets import board_sheet, sheet_code

    plan = {"kind": board.kind, "paper": paper,
            "corners" if board.kind == "chessboard" else "squares": list(board.size),
            "square_mm": board.square_mm}
    if board.kind == "charuco":
        plan |= {"marker_mm": board.marker_mm, "dictionary": board.dictionary}
    plan |= {key: True for key in ("inverted", "legacy") if getattr(board, key)}
    drawn = board_sheet(board, paper=paper, code=sheet_code(plan))
    _write(drawn, plan, board.kind, paper=paper, **sheet)


def _write(
    drawn: Sheet, plan: dict[str, Any], name: str, *, paper, output, force, as_json
) -> None:
    from rulerlab.targets import sheet_code, write_target

    output = output or Path(f"{name}_{paper}.pdf")
    if output.suffix.lower() != ".pdf":
        raise UsageError(f"{output}: sheets are written as .pdf")
    target = output.with_suffix(".toml")
    for path in (output, target):
        if path.exists() and not force:
            raise UsageError(f"{path} exists; --force replaces it, -o writes elsewhere")
    try:
        drawn.write(output)
        write_target(target, plan, None)
    except OSError as error:
        raise InputError(f"{output}: {error.strerror}") from None
    if as_json:
        click.echo(json.dumps({"schema_version": 1, "pdf": str(output), "target": str(target),
                               "code": sheet_code(plan), "plan": plan}, indent=1))
    else:
        click.echo(f"wrote {output} and {target}: print at 100 %, measure the two bars, then\n"
                   f"rulerlab print --target {target} --measured X Y")


def _only_target() -> Path:
    """The .toml of the only sheet in this folder, or target.toml when there is none."""
    found = [path for path in sorted(Path().glob("*.toml")) if "[sheet]" in path.read_text()]
    if len(found) > 1:
        raise UsageError(
            f"which sheet? --target {' or --target '.join(str(path) for path in found[:3])}"
        )
    return found[0] if found else Path("target.toml")


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    across, _, down = text.lower().partition("x")
    if not (across.isdigit() and down.isdigit()):
        raise UsageError(f"{text!r} is not of the form 9x7")
    return int(across), int(down)


def _numbers(text: str) -> list[int]:
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.strip().partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            raise UsageError(f"--ids {text!r} is not of the form 0-7,40-43")
        numbers += range(int(first), int(last or first) + 1)
    return numbers
