"""report.html: one file, complete, safe with any name, readable with little in the folder."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from rulerlab import plots, report, store
from rulerlab.errors import InputError
from rulerlab.records import DETECTED, LoadCurve, Motion, Tracks

INFO = {
    "kind": "ruler", "marks": "dots", "points": 5, "frames": 300, "unit": "mm",
    "share_detected": [1.0, 0.98], "share_lost": [0.0, 0.02], "sigma_px": 0.123,
    "inputs": [{"path": "clips/pull.mp4", "bytes": 7, "sha256": "ab" * 32}],
    "command": ["rulerlab", "track", "clips/pull.mp4"], "versions": {"numpy": "2.4"},
    "found": ["kind = ruler (marks swing)"], "warnings": ["point 3 is hidden often"],
    "quality": [], "rig": {"kind": None, "ruler": {"sections_mm": [50.0, 100.0]}},
    "pull": {"onset_s": 0.633, "end_s": 5.733, "travel": 186.2, "unit": "mm"},
    "load_curve": {"unit": "section", "quantity": "mm", "loads": [1.234, 40.5],
                   "sigma": [0.11, 0.2], "regime": "concave",
                   "regime_probability": {"concave": 0.97}, "c": -39.27, "c_sigma": 0.23},
    "health": {"duplicates": list(range(30)), "ghosts": []},
}


class Page(HTMLParser):
    """Collects text and every address that a page refers to; unclosed tags are an error."""

    EMPTY = {"meta", "img", "br", "hr"}

    def __init__(self, text):
        super().__init__()
        self.open, self.addresses, self.words, self.tags = [], [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.addresses += [value for name, value in attrs if name in ("src", "href")]
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


def a_report(folder, info=INFO):
    store.write_run_json(folder, info)
    return Page(report.write_report(folder).read_text(encoding="utf-8"))


def test_the_page_tells_result_assumptions_health_and_origin(tmp_path):
    text = a_report(tmp_path).text
    for words in ("pull.mp4", "concave", "97 % sure", "-39.27 ± 0.23 mm", "40.50 ± 0.20",
                  "1.23 ± 0.11", "186.2 mm", "0.12 px", "kind = ruler (marks swing)",
                  "ruler.sections_mm", "50.0, 100.0", "point 3 is hidden often", "ab" * 32,
                  "point 1 2.0 %", "0, 1, 2, 3", "Conclusions"):
        assert words in text, words


def test_the_page_needs_nothing_from_outside_and_stays_small(tmp_path):
    frames, points = 9000, 14
    time_s = np.arange(frames) / 30
    rng = np.random.default_rng(1)
    joint = np.cumsum(rng.normal(scale=0.3, size=(frames, points, 2)), axis=0)
    joint += 20 * np.arange(points)[:, None]
    covariance = np.tile(0.02 * np.eye(2), (frames, points, 1, 1))
    status = np.full((frames, points), DETECTED)
    curve = LoadCurve.from_loads(np.arange(1.0, 13), np.eye(12), "ruler")
    plots.write_plots(tmp_path / "plots", Tracks(time_s, joint, covariance, status),
                      Motion(time_s, joint, covariance), curve)
    noise = rng.integers(0, 60, (1080, 1920, 3), dtype=np.uint8) + 100
    report.write_frame(tmp_path, noise.astype(np.uint8))
    page = a_report(tmp_path)
    assert len(page.addresses) == page.tags.count("img") == 6
    assert all(address.startswith("data:image/") for address in page.addresses)
    assert (tmp_path / "report.html").stat().st_size < 2**20


def test_a_name_that_is_markup_stays_a_name(tmp_path):
    evil = "<script>alert(1)</script>"
    info = INFO | {"inputs": [{"path": f"{evil}.mp4"}], "warnings": [evil], "found": [evil],
                   "kind": evil, "rig": {evil: evil}, "command": [evil], "quality": [evil],
                   "health": {"ghosts": [evil]}, "load_curve": {"regime": evil}, "marks": evil}
    page = a_report(tmp_path, info)
    assert "script" not in page.tags
    assert "alert(1)" in page.text


@pytest.mark.parametrize("info", [{}, {"load_curve": {"c": None, "loads": [None], "sigma": [None]}},
                                  {"pull": {"onset_s": None, "end_s": None, "travel": None}}])
def test_a_run_with_little_in_it_still_gets_a_page(tmp_path, info):
    assert "Result" in a_report(tmp_path, info).text


def test_a_folder_that_is_no_run_gets_no_report(tmp_path):
    with pytest.raises(InputError, match="not a run folder"):
        report.write_report(tmp_path)
    assert not (tmp_path / "report.html").exists()
