"""The blocks of a report as one HTML file without scripts, that asks for nothing from outside."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterable, Sequence
from html import escape
from itertools import groupby
from pathlib import Path
from string import Template
from urllib.parse import quote

from rulerlab.plots import svg_of
from rulerlab.report.blocks import (
    Alert,
    Block,
    Facts,
    Formula,
    Lines,
    Link,
    Picture,
    Section,
    Table,
    Text,
    Words,
)

MOST_BYTES = 900_000  # of all pictures: a report has to pass any mail server
KINDS = {".jpg": "image/jpeg", ".png": "image/png"}
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
:root { --ink: #1d2733; --quiet: #5b6673; --line: #dde2e8; --accent: #0072b2; }
* { box-sizing: border-box; }
body { font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
       color: var(--ink); background: #fff; margin: 0 auto; max-width: 76rem;
       padding: 1rem clamp(.9rem, 3vw, 2.5rem) 3rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .6rem 0 .3rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-bottom: .2rem;
     border-bottom: 2px solid var(--accent); }
p { margin: .5rem 0; max-width: 46rem; overflow-wrap: anywhere; }
header p { font-size: 1.1rem; }
figure { margin: 0; break-inside: avoid; }
figure img { width: 100%; height: auto; display: block; }
section > figure { max-width: 38rem; }
section > figure.all { max-width: none; overflow-x: auto; }
figcaption, .quiet { color: var(--quiet); font-size: .88rem; }
.row { display: grid; gap: 1.2rem 2rem; margin: 1rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0; }
th, td { text-align: left; padding: .25rem 1.1rem .25rem 0; vertical-align: top;
         border-bottom: 1px solid var(--line); }
th { font-weight: 600; border-bottom: 1.5px solid var(--ink); }
td + td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.long td + td { white-space: normal; overflow-wrap: anywhere; }
.row td + td { white-space: normal; }
.mono td:first-child { font: .85rem/1.8 ui-monospace, monospace; }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(10rem, 1fr));
         gap: .6rem; margin: 1rem 0; padding: 0; }
.facts div { border: 1px solid var(--line); border-top: 3px solid var(--accent);
             border-radius: 4px; padding: .45rem .7rem; break-inside: avoid; }
.facts dt { color: var(--quiet); font-size: .82rem; }
.facts dd { margin: 0; font-size: 1.02rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.alert { border-left: 5px solid #d55e00; background: #fdf1e8; padding: .45rem .9rem;
         max-width: none; }
.fine { border-color: #009e73; background: #eaf7f2; }
.formula { font: italic 1.05rem/1.9 Cambria, "STIX Two Text", Georgia, serif; margin-left: 1.5rem; }
.formula span { display: inline-block; margin-right: 2.5rem; }
.formula span span { display: inline; margin: 0; }
.formula sub, .formula sup { line-height: 0; }
.lines { break-inside: avoid; margin: 1rem 0; }
.lines hr { border: 0; border-bottom: 1px solid #9aa4af; margin: 0; height: 2.1rem; }
a { color: var(--accent); }
@media (min-width: 56rem) { .row { grid-template-columns: 1fr 1fr; }
                            .row > .all { grid-column: 1 / -1; max-width: 60rem; } }
@media (max-width: 40rem) { body { font-size: 15px; }
                            section > figure.all img { min-width: 46rem; }
                            th, td { padding-right: .7rem; } td + td { white-space: normal; } }
@media print { @page { margin: 15mm; }
               body { font-size: 10pt; max-width: none; padding: 0; }
               h2 { break-after: avoid; } tr, .alert { break-inside: avoid; }
               .wide { overflow: visible; } td + td { white-space: normal; }
               .row { grid-template-columns: 1fr 1fr; } .row > .all { grid-column: 1 / -1; } }
</style>
</head>
<body>
$body
</body>
</html>
""")


def html_page(title: str, sections: Sequence[Section]) -> str:
    """The whole page; the first section (without a title) stands in its header."""
    room = _Room(MOST_BYTES)
    first, *others = sections
    parts = [f"<header><h1>{escape(title)}</h1>{_rows(first.blocks, room)}</header>"]
    parts += [f"<section><h2>{escape(section.title)}</h2>{_rows(section.blocks, room)}</section>"
              for section in others]
    return PAGE.substitute(title=escape(f"{title}: rulerlab"), body="\n".join(parts))


def marked(words: str) -> str:
    """Text as HTML: literal, except for the mathematics in text of ours."""
    if isinstance(words, Link):
        return f'<a href="{escape(quote(words.address))}">{escape(words)}</a>'
    if not isinstance(words, Words):
        return escape(words)
    parts = re.split(r"\$([^$]+)\$", words)
    return "".join(f"<i>{_maths(part)}</i>" if number % 2 else escape(part)
                   for number, part in enumerate(parts))


def _maths(text: str) -> str:
    """The little of TeX that is used here (sub- and superscripts, tildes, bars) as HTML."""
    text = escape(text)
    for name, mark in (("tilde", "\u0303"), ("bar", "\u0304"), ("dot", "\u0307")):
        text = re.sub(rf"\\{name}\{{(.)\}}", rf"\1{mark}", text)
    text = re.sub(r"\\mathrm\{([^{}]*)\}", r'<span style="font-style: normal">\1</span>', text)
    for sign, tag in (("_", "sub"), ("^", "sup")):
        text = re.sub(rf"\{sign}\{{([^{{}}]*)\}}", rf"<{tag}>\1</{tag}>", text)
        text = re.sub(rf"\{sign}([^\s<])", rf"<{tag}>\1</{tag}>", text)
    return text


class _Room:
    """Bytes that pictures may still take."""

    def __init__(self, left: int):
        self.left = left

    def takes(self, data: str) -> bool:
        if len(data) > self.left:
            return False
        self.left -= len(data)
        return True


def _rows(blocks: Iterable[Block], room: _Room) -> str:
    """Neighbouring pictures, and neighbouring tables, stand side by side on a wide screen."""
    parts = []
    for kind, some in groupby(blocks, type):
        shown = [_block(block, room) for block in some]
        together = kind in (Picture, Table) and len(shown) > 1
        parts.append(f'<div class="row">{"".join(shown)}</div>' if together else "".join(shown))
    return "".join(parts)


def _block(block: Block, room: _Room) -> str:
    if isinstance(block, Text):
        return f'<p{" class=quiet" if block.quiet else ""}>{marked(block.words)}</p>'
    if isinstance(block, Formula):
        each = "".join(f"<span>{_maths(part)}</span> " for part in block.parts)
        return f'<p class="formula">{each}</p>'
    if isinstance(block, Alert):
        return f'<p class="alert{" fine" if block.fine else ""}">{marked(block.words)}</p>'
    if isinstance(block, Facts):
        return '<dl class="facts">' + "".join(
            f"<div><dt>{marked(name)}</dt><dd>{marked(value)}</dd></div>"
            for name, value in block.numbers) + "</dl>"
    if isinstance(block, Lines):
        return f'<div class="lines"><p>{marked(block.question)}</p>{"<hr>" * block.count}</div>'
    return _table(block) if isinstance(block, Table) else _picture(block, room)


def _table(table: Table) -> str:
    head = "".join(f"<th>{marked(name)}</th>" for name in table.heads)
    rows = "".join("<tr>" + "".join(f"<td>{_cell(cell)}</td>" for cell in row) + "</tr>"
                   for row in table.rows)
    style = " ".join(["wide", *(["mono"] if table.mono else []), *(["long"] if table.long else [])])
    return (f'<div class="{style}"><table>{f"<tr>{head}</tr>" if head else ""}{rows}</table></div>')


def _cell(words: str) -> str:
    """A cell of a table, in which a number stays with its error."""
    return marked(words).replace(" ± ", "\u00a0±\u00a0")


def _picture(picture: Picture, room: _Room) -> str:
    """The file of the run folder if it is there, else the figure as it is drawn now."""
    caption = marked(picture.caption)
    if picture.path is not None and picture.path.is_file():
        address = _address(picture.path)
    elif picture.draw is not None:
        address = _svg_address(svg_of(picture.draw, height=picture.height))
    else:
        return ""
    plain = escape(re.sub(r"[$\\{}]", "", picture.caption))
    shown = f'<img src="{address}" alt="{plain}">' if room.takes(address) else (
        f"<p>Too large for this page: see plots/{escape(picture.path.name)}.</p>"
        if picture.path else "")
    return (f'<figure{" class=all" if picture.wide else ""}>{shown}'
            f"<figcaption>{caption}</figcaption></figure>")


def _address(path: Path) -> str:
    """A picture's file as a data: address."""
    if path.suffix == ".svg":
        return _svg_address(path.read_text(encoding="utf-8"))
    return f"data:{KINDS[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _svg_address(svg: str) -> str:
    """SVG as a data: address, readable and a quarter smaller than in base64."""
    bare = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>|<[?!][^>]*>", "", svg, flags=re.DOTALL)
    text = re.sub(r"\s+", " ", bare).replace("> <", "><").replace("'", "%27").replace('"', "'")
    return "data:image/svg+xml," + quote(text, safe=" '/:;=,+()<>[]@!$&*?|{}").replace("&", "&amp;")
