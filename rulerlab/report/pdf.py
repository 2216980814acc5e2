"""The blocks of a report on A4 paper: a PDF by matplotlib, for those who hand in files."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure, SubFigure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath

from rulerlab.palette import ACCENT, INK, MUTED
from rulerlab.plots import LOOK
from rulerlab.report.blocks import (
    Alert,
    Block,
    Facts,
    Formula,
    Lines,
    Picture,
    Section,
    Table,
    Text,
    Words,
)

PAPER = (8.27, 11.69)  # A4, inches
MARGIN, GAP = 0.75, 0.12
WIDTH = PAPER[0] - 2 * MARGIN
FIGURE = 5.6  # inches, the width for which figures are drawn
BODY, SMALL, HEAD, TITLE = 9.0, 7.5, 12.0, 17.0  # points
WARNS, FINE = "#d55e00", "#009e73"


def write_pages(path: Path, title: str, sections: Sequence[Section]) -> None:
    """Set the sections on as many pages as they need."""
    with mpl.rc_context(LOOK | {"mathtext.fontset": "dejavusans"}):
        paper = _Paper(title)
        paper.line(title, TITLE, weight="bold")
        for section in sections:
            if section.title:
                paper.heading(section.title)
            for block in section.blocks:
                _set(block, paper)
        with PdfPages(path, metadata={"Title": title, "CreationDate": None}) as pages:
            for number, figure in enumerate(paper.pages, 1):
                figure.text(0.5, 0.4 / PAPER[1], f"{number} of {len(paper.pages)}", ha="center",
                            fontsize=SMALL, color=MUTED)
                pages.savefig(figure)


def plain(words: str) -> str:
    """Text as matplotlib takes it: literal, except for the mathematics in text of ours."""
    if not isinstance(words, Words):
        return words.replace("$", r"\$")
    return re.sub(r"\$([^$]+)\$", lambda part: f"${_maths(part[1])}$", words)


def _maths(text: str) -> str:
    """Blanks mean nothing in mathematics: words in it keep theirs."""
    return re.sub(r"\\mathrm\{([^{}]*)\}", r"\\ \\mathrm{\1}\\ ", text)


@cache
def _width(text: str, size: float, weight: str = "normal") -> float:
    """Inches that a line takes."""
    font = FontProperties(size=size, weight=weight)
    maths = text.count("$") - text.count(r"\$") > 1
    shown = text if maths else text.replace(r"\$", "$")
    return TextToPath().get_text_width_height_descent(shown, font, ismath=maths)[0] / 72


def wrapped(text: str, size: float, width: float) -> list[str]:
    """Lines of at most `width` inches; mathematics stays whole, endless words are cut."""
    lines, line = [], ""
    for word in re.findall(r"(?:\$[^$]+\$|\\\$|\S)+", text):
        while _width(word, size) > width and len(word) > 8 and "$" not in word:
            part = max(4, int(len(word) * width / _width(word, size)) - 1)
            lines += [line] if line else []
            lines.append(word[:part])
            line, word = "", word[part:]
        longer = f"{line} {word}" if line else word
        if line and _width(longer, size) > width:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line] if line or not lines else lines


class _Paper:
    """Pages that fill from the top; `y` is how many inches are left above the lower margin."""

    def __init__(self, title: str):
        self.title, self.pages = title, []
        self.turn()

    def turn(self) -> None:
        self.pages.append(Figure(figsize=PAPER, layout="none"))
        self.y = PAPER[1] - 2 * MARGIN
        if len(self.pages) > 1:
            self.text(0, self.y + 0.25, plain(self.title), size=SMALL, color=MUTED)

    def need(self, inches: float) -> None:
        """Turn the page if less than this is left."""
        if self.y < min(inches, PAPER[1] - 2 * MARGIN):
            self.turn()

    def text(self, x: float, y: float, words: str, *, size: float = BODY, color: str = INK,
             weight: str = "normal") -> None:
        """Words with their baseline at y, x inches from the left margin."""
        self.pages[-1].text((MARGIN + x) / PAPER[0], (MARGIN + y) / PAPER[1], words,
                            fontsize=size, color=color, weight=weight, va="baseline",
                            parse_math=True)

    def rule(self, x: float, y: float, width: float, color: str, thick: float = 0.6) -> None:
        line = mpl.lines.Line2D(
            [(MARGIN + x) / PAPER[0], (MARGIN + x + width) / PAPER[0]],
            [(MARGIN + y) / PAPER[1]] * 2, color=color, lw=thick)
        self.pages[-1].add_artist(line)

    def line(self, words: str, size: float = BODY, *, color: str = INK, x: float = 0.0,
             weight: str = "normal") -> None:
        """A paragraph, wrapped, down from the current place."""
        step = 1.45 * size / 72
        for part in wrapped(plain(words), size, WIDTH - x):
            self.need(step)
            self.y -= step
            self.text(x, self.y + 0.3 * size / 72, part, size=size, color=color, weight=weight)

    def heading(self, words: str) -> None:
        self.need(1.6)
        self.y -= 0.2
        self.line(words, HEAD, weight="bold")
        self.rule(0, self.y - 0.01, WIDTH, ACCENT, 1.2)
        self.y -= GAP

    def place(self, width: float, height: float) -> list[float]:
        """Make room; left, bottom, width and height of it as shares of the page."""
        self.need(height)
        self.y -= height
        return [MARGIN / PAPER[0], (MARGIN + self.y) / PAPER[1], width / PAPER[0],
                height / PAPER[1]]


def _set(block: Block, paper: _Paper) -> None:
    setters: dict[type, Callable] = {
        Text: _text, Formula: _formula, Alert: _alert, Facts: _facts, Table: _table,
        Picture: _picture, Lines: _lines,
    }
    setters[type(block)](block, paper)
    paper.y -= GAP


def _text(block: Text, paper: _Paper) -> None:
    size, colour = (SMALL, MUTED) if block.quiet else (BODY, INK)
    paper.line(block.words, size, color=colour)


def _formula(block: Formula, paper: _Paper) -> None:
    for part in block.parts:
        paper.line(Words(f"${part}$"), BODY + 1, x=0.3)


def _alert(block: Alert, paper: _Paper) -> None:
    paper.line(block.words, x=0.15, color=FINE if block.fine else WARNS)


def _facts(block: Facts, paper: _Paper) -> None:
    """Up to four in a row."""
    each = WIDTH / 4
    for first in range(0, len(block.numbers), 4):
        paper.need(0.5)
        paper.y -= 0.5
        for column, (name, value) in enumerate(block.numbers[first : first + 4]):
            paper.text(column * each, paper.y + 0.27, plain(name), size=SMALL, color=MUTED)
            paper.text(column * each, paper.y + 0.08, plain(value), size=BODY + 1, weight="bold")


def _columns(rows: Sequence[Sequence[str]]) -> list[float]:
    """Widths in inches: what each column needs, the widest ones giving way."""
    count = max(map(len, rows))
    widths = [max((_width(plain(row[k]), BODY) for row in rows if k < len(row)), default=0.0) + 0.2
              for k in range(count)]
    while sum(widths) > WIDTH:
        widest = widths.index(max(widths))
        others = sum(widths) - widths[widest]
        second = max([w for k, w in enumerate(widths) if k != widest], default=0.0)
        widths[widest] = max(WIDTH - others, second * 0.9)
    return widths


def _table(block: Table, paper: _Paper) -> None:
    rows = [*([block.heads] if block.heads else []), *block.rows]
    if not rows:
        return
    widths = _columns(rows)
    step = 1.45 * BODY / 72
    for number, row in enumerate(rows):
        cells = [wrapped(plain(cell), BODY, width - 0.15)
                 for cell, width in zip(row, widths, strict=False)]
        height = step * max(map(len, cells)) + 0.05
        paper.need(height + (2 * step if number == 0 else 0))
        x, head = 0.0, bool(block.heads) and number == 0
        for lines, width in zip(cells, widths, strict=False):
            for k, line in enumerate(lines):
                paper.text(x, paper.y - step * (k + 0.75), line,
                           weight="bold" if head else "normal")
            x += width
        paper.y -= height
        paper.rule(0, paper.y, sum(widths), INK if head else "#dddddd")


def _picture(block: Picture, paper: _Paper) -> None:
    """Drawn anew from the records, or laid in as a photograph or the .png beside an .svg."""
    scale = WIDTH / FIGURE if block.wide else 0.9
    if block.draw is not None:
        height = block.height * scale
        paper.need(height + 0.5)
        part = _part(paper, FIGURE * scale, height)
        block.draw(part)
        part.subplots_adjust(bottom=0.17, top=0.9)
    elif block.path is not None and (picture := _pixels(block.path)) is not None:
        shape = picture.shape
        width = min(WIDTH, 0.42 * PAPER[1] * shape[1] / shape[0])
        paper.need(width * shape[0] / shape[1] + 0.5)
        ax = paper.pages[-1].add_axes(paper.place(width, width * shape[0] / shape[1]))
        ax.imshow(picture[..., ::-1], aspect="auto", interpolation="antialiased")
        ax.set_axis_off()
    elif block.path is not None and block.path.exists():
        paper.line(f"Figure: plots/{block.path.name} in the run folder, and on the web page.",
                   SMALL, color=MUTED)
    else:
        return
    paper.line(block.caption, SMALL, color=MUTED)


def _pixels(path: Path) -> np.ndarray | None:
    """The picture in a file (H, W, 3), of an .svg the .png beside it; None when there is none."""
    path = path.with_suffix(".png") if path.suffix == ".svg" else path
    return cv2.imread(str(path)) if path.exists() else None


def _part(paper: _Paper, width: float, height: float) -> SubFigure:
    """A piece of the page that takes drawings as a figure of its own does."""
    left, bottom, wide, high = paper.place(width, height)
    grid = paper.pages[-1].add_gridspec(
        3, 3, wspace=0, hspace=0, width_ratios=(left, wide, 1 - left - wide),
        height_ratios=(1 - bottom - high, high, bottom))
    return paper.pages[-1].add_subfigure(grid[1, 1])


def _lines(block: Lines, paper: _Paper) -> None:
    paper.need(0.4 + 0.33 * min(block.count, 6))
    if block.question:
        paper.line(block.question)
    for _ in range(block.count):
        paper.need(0.33)
        paper.y -= 0.33
        paper.rule(0, paper.y, WIDTH, MUTED)
