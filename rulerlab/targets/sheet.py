"""A sheet of paper at exact scale: shapes in millimetres, written as a vector PDF.

All shapes of one colour are one path, so that no renderer leaves hairlines between modules.
Origin: lower left corner of the paper, x to the right, y up.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_pdf import FigureCanvasPdf
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Outline

from rulerlab import __version__
from rulerlab.errors import UsageError

PAPERS_MM = {"a4": (297.0, 210.0), "letter": (279.4, 215.9)}  # long side across
BAR_MM = 100.0
BAR_WIDE_MM = 2.0
MARGIN_MM = 8.0  # most printers leave so much white
BAR_ROOM_MM = 8.0  # between the margin and the drawing, for the bars
FOOT_MM = 9.0  # for two lines of text
MM_PER_INCH = 25.4


@dataclass
class Sheet:
    """One sheet of paper that is being drawn."""

    paper: str
    paths: dict[str, list[Outline]] = field(default_factory=dict)  # colour -> shapes
    texts: list[tuple[float, float, str, float]] = field(default_factory=list)  # x, y, text, size

    def __post_init__(self):
        if self.paper not in PAPERS_MM:
            raise UsageError(f"paper {self.paper!r} is none of {', '.join(PAPERS_MM)}")

    @property
    def size_mm(self) -> tuple[float, float]:
        return PAPERS_MM[self.paper]

    @property
    def free_mm(self) -> tuple[float, float, float, float]:
        """Left, bottom, width, height of the room for a drawing."""
        width, height = self.size_mm
        left, bottom = MARGIN_MM + BAR_ROOM_MM, MARGIN_MM + FOOT_MM + BAR_ROOM_MM
        return left, bottom, width - left - MARGIN_MM, height - bottom - MARGIN_MM

    def rectangle(self, left: float, bottom: float, width: float, height: float,
                  *, colour: str = "black") -> None:
        """Add a filled rectangle, mm."""
        right, top = left + width, bottom + height
        corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
        self.shape(Outline(corners, closed=True), colour=colour)

    def disc(self, x: float, y: float, diameter: float, *, colour: str) -> None:
        """Add a filled disc, mm."""
        self.shape(Outline.circle((x, y), diameter / 2), colour=colour)

    def ring(self, x: float, y: float, diameter: float, wide: float, *, colour: str) -> None:
        """Add a ring whose outer diameter is `diameter`, mm."""
        inner = Outline.circle((x, y), diameter / 2 - wide)
        hole = Outline(inner.vertices[:-1][::-1], inner.codes[:-1])  # other way round: a hole
        self.shape(Outline.circle((x, y), diameter / 2), colour=colour)
        self.shape(hole, colour=colour)

    def shape(self, outline: Outline, *, colour: str) -> None:
        """Add any closed outline, mm."""
        self.paths.setdefault(colour, []).append(outline)

    def text(self, x: float, y: float, text: str, *, size_mm: float = 2.6) -> None:
        """Add a line of text that begins at x, y."""
        self.texts.append((x, y, text, size_mm))

    def cut_marks(self, left: float, bottom: float, width: float, height: float) -> None:
        """Add thin ticks that point at the four corners of a piece to be cut out."""
        long, wide = 1.6, 0.15
        for x in (left, left + width):
            for y in (bottom, bottom + height):
                outwards_x = -1 if x == left else 1
                outwards_y = -1 if y == bottom else 1
                start = x + (outwards_x - 1) / 2 * long
                self.rectangle(start, y - wide / 2, long, wide, colour="0.45")
                start = y + (outwards_y - 1) / 2 * long
                self.rectangle(x - wide / 2, start, wide, long, colour="0.45")

    def bars_and_foot(self, title: str, code: str) -> None:
        """Add the 100 mm bars along both axes and the two lines at the foot of the sheet."""
        left, bottom, _, _ = self.free_mm
        low = MARGIN_MM + FOOT_MM
        self.rectangle(left, low, BAR_MM, BAR_WIDE_MM)
        self.text(left + BAR_MM + 2, low + 0.2,
                  "both bars are 100.0 mm long, end to end: measure them with calipers")
        self.rectangle(MARGIN_MM, bottom, BAR_WIDE_MM, BAR_MM)
        self.text(left, MARGIN_MM + 4.2, f"{title} · rulerlab {__version__} · {code}")
        self.text(left, MARGIN_MM, f"{self.paper.capitalize()} · print at 100 %, never \"fit to "
                  "page\"; then: rulerlab print --measured X Y (lengths of the bars across and up)")

    def write(self, path: Path) -> None:
        """Write the sheet as a PDF; the same sheet gives the same bytes."""
        width, height = self.size_mm
        figure = Figure(figsize=(width / MM_PER_INCH, height / MM_PER_INCH))
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set(xlim=(0, width), ylim=(0, height))
        axes.set_axis_off()
        for colour, shapes in self.paths.items():
            axes.add_patch(PathPatch(
                Outline.make_compound_path(*shapes), facecolor=colour, edgecolor="none",
                linewidth=0, antialiased=False, snap=False,
            ))
        for x, y, text, size_mm in self.texts:
            points = size_mm / 0.72 / MM_PER_INCH * 72  # of the font, for capitals of size_mm
            axes.text(x, y, text, fontsize=points, va="baseline", ha="left", color="0.25")
        with rc_context({"pdf.fonttype": 42, "pdf.compression": 6, "path.simplify": False}):
            FigureCanvasPdf(figure).print_pdf(
                path, metadata={"CreationDate": None, "Creator": f"rulerlab {__version__}"}
            )


def modules(sheet: Sheet, bits: np.ndarray, left: float, top: float, module: float) -> None:
    """Add the dark modules of a marker: `bits` (n, n), True is dark, first row on top."""
    for row, line in enumerate(bits):
        padded = np.concatenate([[0], line.astype(int), [0]])
        starts, ends = np.flatnonzero(np.diff(padded) == 1), np.flatnonzero(np.diff(padded) == -1)
        for start, end in zip(starts, ends, strict=True):
            sheet.rectangle(left + start * module, top - (row + 1) * module,
                            (end - start) * module, module)
