"""Marks for the rig: tags to cut out, coloured dots, and four crosses that give the scale."""

from __future__ import annotations

from rulerlab.errors import UsageError
from rulerlab.targets.boards import marker_bits
from rulerlab.targets.sheet import Sheet, modules

DOT_COLOURS = {"green": "#00a050", "magenta": "#e0107f"}  # far apart, and far from wood and skin
CROSSES_MM = ((-115.0, -70.0), (115.0, -70.0), (115.0, 70.0), (-115.0, 70.0))
CROSS_LONG_MM, CROSS_WIDE_MM = 16.0, 1.6
LABEL_MM = 3.4  # room for the number of a tag, inside the cut
GAP_MM = 4.0  # between pieces, for the cut marks


def tag_sheet(
    ids: list[int], *, size_mm: float = 15.0, dictionary: str = "DICT_4X4_50", paper: str = "a4",
    code: str = "",
) -> Sheet:
    """Tags with a white rim of one module, cut marks, and their number below the rim."""
    if not ids:
        raise UsageError("no tag is asked for: --ids 0-23")
    sheet = Sheet(paper)
    count = len(marker_bits(dictionary, ids[0]))
    module = size_mm / count
    wide, high = size_mm + 2 * module, size_mm + 2 * module + LABEL_MM
    for tag, (left, bottom) in zip(ids, _grid(sheet, wide, high, len(ids)), strict=True):
        modules(sheet, marker_bits(dictionary, tag), left + module, bottom + high - module, module)
        sheet.text(left + module, bottom + 0.9, f"{tag}", size_mm=2.0)
        sheet.cut_marks(left, bottom, wide, high)
    sheet.bars_and_foot(f"{len(ids)} tags {dictionary}, {size_mm:g} mm", code)
    return sheet


def dot_sheet(
    *, diameter_mm: float = 8.0, colours: tuple[str, str] = ("green", "magenta"),
    paper: str = "a4", code: str = "",
) -> Sheet:
    """Dots in two colours, each in a white ring with a thin line to cut along.

    Odd rows hold the first colour, even rows the second: alternate them along a folded ruler, so
    that dots that touch never have the same colour.
    """
    for colour in colours:
        if colour not in DOT_COLOURS:
            raise UsageError(f"dots are {' or '.join(DOT_COLOURS)}, not {colour}")
    if not 2 <= diameter_mm <= 40:
        raise UsageError(f"dots of {diameter_mm:g} mm: 2 to 40 are possible")
    sheet = Sheet(paper)
    outer = 1.5 * diameter_mm
    _, _, room_x, room_y = sheet.free_mm
    across = min(int(room_x // (outer + GAP_MM)), 16)
    down = min(int(room_y // (outer + GAP_MM)) // 2 * 2, 8)
    if not across or not down:
        raise UsageError(f"dots of {diameter_mm:g} mm don't fit on {paper}")
    for n, (left, bottom) in enumerate(_grid(sheet, outer, outer, across * down, across=across)):
        x, y = left + outer / 2, bottom + outer / 2
        sheet.disc(x, y, diameter_mm, colour=DOT_COLOURS[colours[n // across % 2]])
        sheet.ring(x, y, outer, 0.12, colour="0.45")
    sheet.bars_and_foot(f"dots {diameter_mm:g} mm, {' and '.join(colours)}", code)
    return sheet


def cross_sheet(*, paper: str = "a4", code: str = "") -> Sheet:
    """Four crosses at CROSSES_MM round the middle of the sheet; x to the right, y up."""
    sheet = Sheet(paper)
    left, bottom, room_x, room_y = sheet.free_mm
    middle_x, middle_y = left + room_x / 2, bottom + room_y / 2
    long, wide = CROSS_LONG_MM, CROSS_WIDE_MM
    for x, y in CROSSES_MM:
        x, y = middle_x + x, middle_y + y
        sheet.rectangle(x - long / 2, y - wide / 2, long, wide)
        sheet.rectangle(x - wide / 2, y - long / 2, wide, long)
    sheet.bars_and_foot(
        f"crosses, centres {2 * CROSSES_MM[1][0]:g} x {2 * CROSSES_MM[2][1]:g} mm apart", code
    )
    return sheet


def _grid(
    sheet: Sheet, wide: float, high: float, count: int, *, across: int | None = None
) -> list[tuple[float, float]]:
    """Lower left corners of `count` equal pieces, row by row from the top."""
    left, bottom, room_x, room_y = sheet.free_mm
    columns = across or int((room_x + GAP_MM) // (wide + GAP_MM))
    rows = int((room_y + GAP_MM) // (high + GAP_MM))
    if count > columns * rows:
        raise UsageError(
            f"{count} pieces of {wide:.0f} x {high:.0f} mm don't fit on {sheet.paper}, "
            f"{columns * rows} do: print several sheets"
        )
    top = bottom + room_y
    return [
        (left + (n % columns) * (wide + GAP_MM), top - high - (n // columns) * (high + GAP_MM))
        for n in range(count)
    ]
