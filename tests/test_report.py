"""report.html: one file, complete, safe with any name, readable with little in the folder."""

import csv
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import runs

from rulerlab import plots, report, store
from rulerlab.cli import main
from rulerlab.errors import InputError
from rulerlab.records import DETECTED, LoadCurve, Motion, Tracks
from rulerlab.report.batch import read_batch, robust_z

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


def page_of(folder, *, student=False):
    return Page(report.write_report(folder, student=student).read_text(encoding="utf-8"))


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


def test_a_fit_is_quoted_with_units_bounds_and_the_digits_its_error_leaves(tmp_path):
    text = page_of(runs.run_folder(tmp_path / "run", figures=False)).text
    assert "0.0856 ± 0.0008" in text and "0.0843 to 0.0873" in text
    assert "< 0.35 N s/m" in text and "upper bound at 95 %" in text
    assert "not known on its own" in text
    assert "43.2 / 40 (1.08 each)" in text and "law viscous" in text


def test_a_fit_that_is_not_valid_says_so_before_its_numbers(tmp_path):
    folder = runs.run_folder(tmp_path / "run", figures=False)
    told = runs.FIT | {"valid": False, "message": "no law explains it"}
    (folder / "fit.json").write_text(store.json_text(told))
    text = page_of(folder).text
    assert text.index("The fit is not valid") < text.index("Result") < text.index("0.0856")
    assert "not valid" not in page_of(folder, student=True).text


def test_the_comparison_tells_chain_network_and_whether_they_agree(tmp_path):
    text = page_of(runs.run_folder(tmp_path / "run", figures=False)).text
    assert "0.26 (0.13 to 0.51)" in text
    assert "agrees within the errors" in text and "0.15 ± 0.04; does not agree" in text


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"nearest_chain": null}',
                                     '{"why_none": "no load"}', '{"nearest_network": {}}'])
def test_a_strange_comparison_or_fit_costs_no_report(tmp_path, content):
    folder = runs.run_folder(tmp_path / "run", figures=False)
    (folder / "comparison.json").write_text(content)
    (folder / "fit.json").write_text(content)
    assert "Method" in page_of(folder).text


def test_the_error_budget_adds_up(tmp_path):
    from rulerlab.report.budget import error_budget

    run = store.read_run(runs.run_folder(tmp_path / "run", figures=False, sections=6))
    rows = error_budget(run.motion, run.load_curve).rows
    shares = [float(row[2].removesuffix(" %")) for row in rows[:-1]]
    assert 95 <= sum(shares) <= 130  # each is the median over the loads
    assert min(shares[:2]) > 20  # single marks and the scale


def test_a_students_copy_holds_the_data_and_none_of_the_answers(tmp_path):
    folder = runs.run_folder(tmp_path / "run")
    whole, blank = page_of(folder), page_of(folder, student=True)
    info = store.read_run_json(folder)["load_curve"]
    for answer in (plots.quoted(info["c_normalised"], info["c_normalised_sigma"]),
                   plots.quoted(info["v"], info["v_sigma"], "mm"), "0.0856", "0.26 (0.13"):
        assert answer in whole.text and answer not in blank.text, answer
    assert f"the load curve is {info['regime']}" in whole.text
    assert "the load curve is" not in blank.text
    assert plots.quoted(info["loads"][-1], info["sigma"][-1]) in blank.text
    assert blank.tags.count("hr") > 30 > whole.tags.count("hr")


def test_the_report_as_pdf_has_pages_and_survives_odd_names(tmp_path):
    folder = runs.run_folder(tmp_path / "run", name="$money_{$ & <b>.mp4",
                             warnings=["costs 5 $ and $x_{$ \\frac"], figures=False)
    path = report.write_pdf(folder, tmp_path / "run.pdf")
    data = path.read_bytes()
    assert data.startswith(b"%PDF") and 3 <= len(re.findall(rb"/Type /Page\b", data)) <= 9
    assert len(data) < 2**20


def test_figures_that_fit_and_compare_left_are_in_the_pdf(tmp_path):
    folder = runs.run_folder(tmp_path / "run", figures=False)
    bare = report.write_pdf(folder, tmp_path / "bare.pdf").read_bytes()
    (folder / "plots").mkdir()
    for name in ("fit_force", "comparison"):
        plots.write_figure(folder / "plots" / f"{name}.svg",
                           lambda figure: figure.subplots().plot([0, 1], [1, 0]))
    whole = report.write_pdf(folder, tmp_path / "whole.pdf").read_bytes()
    assert whole.count(b"/Subtype /Image") == bare.count(b"/Subtype /Image") + 2


def test_an_endless_word_is_cut_and_mathematics_is_not():
    from rulerlab.report.pdf import wrapped

    lines = wrapped("word " + "x" * 400 + " $a + b$ end", 9, 3.0)
    assert len(lines) > 5 and sum(map(len, lines)) > 400
    assert any("$a + b$" in line for line in lines)


def batch_of(folder, count, **more):
    for seed in range(count):
        runs.run_folder(folder / f"g{seed:02d}/pull.rulerlab", seed=seed, fitted=False,
                        figures=False, **more)


def test_honest_takes_are_no_twins_but_a_file_sent_twice_and_a_copy_are(tmp_path):
    batch_of(tmp_path, 12)
    assert not any(entry.twins for entry in read_batch(tmp_path))
    runs.run_folder(tmp_path / "copy/x.rulerlab", seed=3, seen_again=1, fitted=False,
                    figures=False)  # the same motion, seen with other errors
    runs.run_folder(tmp_path / "late/x.rulerlab", name="other.mp4", seed=11, digest="d" * 64,
                    fitted=False, figures=False, sections=5)
    runs.run_folder(tmp_path / "sent/x.rulerlab", name="again.mp4", seed=12, digest="d" * 64,
                    fitted=False, figures=False)
    twins = {entry.name.split("/")[0]: entry.twins for entry in read_batch(tmp_path)
             if entry.twins}
    assert set(twins) == {"g03", "copy", "late", "sent"}
    assert "same motion" in twins["copy"][0] and "same file" in twins["sent"][0]


def test_a_copy_that_was_cut_and_shown_at_another_rate_is_found():
    from rulerlab.report.twins import difference, find_twins

    time_s, x = runs.pulled(seed=5, frames=240)
    _, other = runs.pulled(seed=6, frames=240)

    def run(x, time_s):
        joint = np.stack([x, 0 * x], axis=-1)
        return store.Run(None, {}, None, Motion(
            time_s, joint, np.tile(0.05**2 * np.eye(2), (*x.shape, 1, 1))), None)

    cut = run(2.5 * x[30::3], time_s[30::3] - 1.0)  # in px, a third of the frames
    assert [pair[:2] for pair in find_twins([run(x, time_s), cut, run(other, time_s)])] == [(0, 1)]
    assert difference(None, x) is None and difference(x, x[:, :-1]) is None


def test_a_run_that_stands_far_off_is_odd_and_comes_before_the_others(tmp_path):
    batch_of(tmp_path, 8)
    runs.run_folder(tmp_path / "z/pull.rulerlab", seed=9, friction=-6.0, fitted=False,
                    figures=False)
    entries = read_batch(tmp_path)
    assert entries[0].name == "z/pull.rulerlab"
    assert any(why.startswith("c_normalised") for why in entries[0].odd)
    assert not any(entry.odd for entry in entries[1:])


def test_few_runs_are_never_called_odd():
    assert not robust_z(np.array([1.0, 1.0, 1.0, 99.0]), 0.1).any()
    z = robust_z(np.array([1.0, 1.1, 0.9, 1.05, 0.95, 99.0]), 0.0)
    assert abs(z[-1]) > 100 and np.abs(z[:-1]).max() < 3


def test_a_batch_lists_broken_folders_and_ends_with_six(tmp_path, capsys):
    groups, out = tmp_path / "groups", tmp_path / "out"
    batch_of(groups, 3)
    (groups / "g07/half.rulerlab").mkdir(parents=True)
    (groups / "g08").mkdir()
    (groups / "g09/bad.rulerlab").mkdir(parents=True)
    (groups / "g09/bad.rulerlab/run.json").write_text("{")
    with pytest.raises(SystemExit) as stop:
        main(["report", str(groups), "-o", str(out), "--json"])
    assert stop.value.code == 6
    told = json.loads(capsys.readouterr().out)
    assert told["runs"] == 6
    assert set(told["broken"]) == {"g07/half.rulerlab", "g08", "g09/bad.rulerlab"}
    rows = list(csv.DictReader((out / "summary.csv").read_text().splitlines()))
    assert len(rows) == 6 and {row["run"] for row in rows if row["fault"]} == set(told["broken"])
    page = Page((out / "index.html").read_text())
    assert [name for name in page.addresses if name.endswith(".html")] == [
        "g00_pull.html", "g01_pull.html", "g02_pull.html"]
    assert all((out / name).exists() for name in page.addresses if name.endswith(".html"))
    assert not list(groups.rglob("report.html"))  # nothing is written among the groups' files


def test_reports_of_simulated_runs_need_no_video(tmp_path):
    for arguments in (["simulate", "--steps", "500", "-o", str(tmp_path / "c.rulerlab")],
                      ["report", str(tmp_path / "c.rulerlab"), "--pdf"]):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == 0
    assert "load ± sigma" in Page((tmp_path / "c.rulerlab/report.html").read_text()).text


@pytest.mark.parametrize(("make", "code"), [
    (lambda folder: ["nowhere"], 3),
    (lambda folder: [str(folder)], 3),  # empty
    (lambda folder: [str(runs.run_folder(folder / "g/r.rulerlab", figures=False).parent)], 2),
])
def test_a_report_that_can_not_be_written_says_why(tmp_path, make, code, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["report", *make(tmp_path)])
    assert stop.value.code == code
    assert capsys.readouterr().err.count("\n") == 1
