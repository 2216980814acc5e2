"""What a report is made of, whatever it is printed on: sections of text, tables and pictures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure


class Words(str):
    """Text of ours, in which $...$ is mathematics; a plain str is shown as it stands."""


class Link(str):
    """Words that lead to another page."""

    address: str

    def __new__(cls, words: str, address: str) -> Link:
        link = super().__new__(cls, words)
        link.address = address
        return link


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str
    quiet: bool = False  # small print


@dataclass(frozen=True)
class Formula:
    """Equations on a line of their own, without the dollars."""

    parts: tuple[str, ...]


@dataclass(frozen=True)
class Alert:
    """Something to know before reading on; `fine`: that there is nothing to worry about."""

    words: str
    fine: bool = False


@dataclass(frozen=True)
class Facts:
    """The few numbers that come first, each under its name."""

    numbers: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """Cells in rows; `mono`: the first column is set as in a file, `long`: cells may break."""

    rows: tuple[tuple[str, ...], ...]
    heads: tuple[str, ...] = ()
    mono: bool = False
    long: bool = False


@dataclass(frozen=True)
class Picture:
    """A figure: the file of the run folder for the screen, and how it is drawn for paper."""

    caption: str
    path: Path | None = None
    draw: Callable[[Figure], None] | None = None
    height: float = 3.6  # inches, of a figure 5.6 wide
    wide: bool = False  # takes the whole width of a large screen


@dataclass(frozen=True)
class Lines:
    """Room to write: a question (or nothing) and empty lines."""

    question: str
    count: int = 3


Block = Text | Formula | Alert | Facts | Table | Picture | Lines


@dataclass(frozen=True)
class Section:
    """Blocks under one heading; the first section of a report has none."""

    title: str
    blocks: tuple[Block, ...]
