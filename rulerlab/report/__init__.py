"""One HTML file that holds a whole run: to read on a phone, to print, to hand in.

Everything comes from the run folder (run.json, tables, plots/, fit.json, comparison.json),
nothing from outside.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from rulerlab.report.contents import sections_of, title_of
from rulerlab.report.page import html_page
from rulerlab.report.pdf import write_pages
from rulerlab.store import read_run

__all__ = ["write_frame", "write_pdf", "write_report"]

FRAME = "frame.jpg"  # in plots/
WIDEST_PX = 1280


def write_frame(folder: Path, picture_bgr: np.ndarray) -> Path:
    """Keep one annotated frame (H, W, 3) as plots/frame.jpg, at most 1280 pixels wide."""
    width = picture_bgr.shape[1]
    if width > WIDEST_PX:
        picture_bgr = cv2.resize(picture_bgr, None, fx=WIDEST_PX / width, fy=WIDEST_PX / width,
                                 interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])
    path = folder / "plots" / FRAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg.tobytes())
    return path


def write_report(folder: Path, path: Path | None = None, *, student: bool = False) -> Path:
    """Write the report of a run folder, to report.html in it or to `path`.

    A `student`'s copy has blanks for the answers (report_student.html). Raises InputError if the
    folder is no run folder or a table in it can't be read.
    """
    run = read_run(folder)
    if path is None:
        path = run.folder / ("report_student.html" if student else "report.html")
    text = html_page(title_of(run), sections_of(run, student=student))
    path.write_text(text, encoding="utf-8")
    return path


def write_pdf(folder: Path, path: Path, *, student: bool = False) -> Path:
    """Write the same report as a PDF of A4 pages; raises as `write_report` does."""
    run = read_run(folder)
    write_pages(path, title_of(run), sections_of(run, student=student))
    return path
