"""`rulerlab run`: the whole path, from the sample clip to the report, and what happens half-way."""

import json
import os
import shutil
from pathlib import Path

import pytest

from rulerlab.cli import main
from rulerlab.errors import QualityError

DATA = Path(__file__).parent.parent / "data"


def run(*arguments):
    with pytest.raises(SystemExit) as stop:
        main(["run", *map(str, arguments)])
    return stop.value.code or 0


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A folder with the sample recording and its rig, and the run made of it."""
    folder = tmp_path_factory.mktemp("bench")
    for name in ("ruler_dots.mp4", "ruler_dots.rig.toml", "ruler_dots.camera.toml"):
        shutil.copy(DATA / name, folder)
    code = run(folder / "ruler_dots.mp4", "--no-video", "-q")
    return folder, code


def test_the_sample_ends_with_a_report_that_calls_the_slow_ruler_concave(bench):
    folder, code = bench
    made = folder / "ruler_dots.rulerlab"
    assert code == 0
    for name in ("run.json", "fit.json", "comparison.json", "report.html"):
        assert (made / name).exists(), name
    found = json.loads((made / "comparison.json").read_text())
    assert found["regime"] == "concave" and found["zero_line"]["side"] == "concave"


def test_the_report_shows_every_figure_and_stays_below_a_megabyte(bench):
    folder, _ = bench
    made = folder / "ruler_dots.rulerlab"
    page = (made / "report.html").read_text()
    figures = [path for path in (made / "plots").glob("*.*")
               if path.stem != "rig" and path.suffix != ".png"]
    assert len(figures) > 9 and page.count("<img") == len(figures)
    assert "Too large" not in page and len(page.encode()) < 1_000_000


def test_the_same_command_keeps_what_is_up_to_date_and_redoes_what_is_not(bench, capsys):
    folder, _ = bench
    made = folder / "ruler_dots.rulerlab"
    (made / "comparison.json").unlink()
    tracked = (made / "run.json").stat().st_mtime_ns
    capsys.readouterr()
    assert run(folder / "ruler_dots.mp4", "--no-video", "-q", "--json") == 0
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert stages["track"] == stages["fit"] == "kept"
    assert stages["compare"] != "kept" and stages["report"] != "kept"
    assert (made / "run.json").stat().st_mtime_ns == tracked


def test_a_fit_that_can_not_be_had_does_not_cost_the_report(bench, capsys, monkeypatch):
    def refused(folder):
        raise QualityError("no law explains this motion")

    folder, _ = bench
    made = folder / "ruler_dots.rulerlab"
    os.utime(made / "run.json")
    monkeypatch.setattr("rulerlab.cli.fit.fit_run", refused)
    assert run(folder / "ruler_dots.mp4", "--no-video", "-q", "--json") == 4
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == {"fit": "no law explains this motion"}
    assert found["stages"]["compare"] != "kept" and found["stages"]["report"] != "kept"


def test_one_bad_clip_of_several_is_told_and_the_others_go_on(bench, tmp_path, capsys):
    folder, _ = bench
    (tmp_path / "empty.mp4").touch()
    for name in ("ruler_dots.mp4", "ruler_dots.rig.toml", "ruler_dots.camera.toml"):
        shutil.copy2(folder / name, tmp_path)
    shutil.copytree(folder / "ruler_dots.rulerlab", tmp_path / "ruler_dots.rulerlab")
    for name in ("run.json", "fit.json", "comparison.json", "report.html"):
        os.utime(tmp_path / "ruler_dots.rulerlab" / name)
    assert run(tmp_path, "-q") == 6
    said = capsys.readouterr().out
    assert "is empty" in said and "concave" in said
