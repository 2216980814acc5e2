"""Tracks mended by hand: extensions and load curve follow, and nothing else changes."""

import csv
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rulerlab import store
from rulerlab.cli import main
from rulerlab.records import EDITED


def rulerlab(*arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code or 0


def change(run, frame, cells):
    """Replace cells of one row of tracks.csv."""
    with (run / "tracks.csv").open(newline="") as file:
        header, *rows = csv.reader(file)
    for name, add in cells.items():
        column = header.index(name)
        rows[frame][column] = f"{float(rows[frame][column]) + add:.4f}"
    with (run / "tracks.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])


def test_segments_of_tracks_that_nobody_touched_are_the_same(run):
    before = store.read_run(run)
    assert rulerlab("segments", run, "--no-video") == 0
    after = store.read_run(run)
    assert_array_equal(after.tracks.position_px, before.tracks.position_px)
    assert_allclose(after.motion.joint_mm, before.motion.joint_mm, atol=1e-9)
    assert_allclose(after.load_curve.loads, before.load_curve.loads, atol=1e-6)
    assert after.info["warnings"] == before.info["warnings"]
    assert after.info["inputs"] == before.info["inputs"]
    assert after.info["tracked"]["written"] == before.info["written"]


@pytest.mark.parametrize("unit", ["px", "mm"])
def test_a_point_moved_in_the_table_moves_its_two_extensions_and_is_called_edited(run, unit):
    before = store.read_run(run)
    change(run, 40, {f"p3_x_{unit}": 5.0})
    assert rulerlab("segments", run, "--no-video") == 0
    after = store.read_run(run)
    moved = after.motion.extension_mm() - before.motion.extension_mm()
    by = moved[40, 2]
    assert by == pytest.approx(5.0, abs=1e-3) if unit == "mm" else 1 < by < 5
    assert moved[40, 3] == pytest.approx(-by, abs=1e-6)
    moved[40, 2:4] = 0
    assert_allclose(moved, 0, atol=1e-4)
    assert after.tracks.status[40, 3] == EDITED
    assert (after.tracks.status == EDITED).sum() == 1


def test_what_was_found_in_the_old_tracks_goes(run):
    for name in ("fit.json", "comparison.json"):
        (run / name).write_text("{}")
    assert rulerlab("segments", run, "--no-video") == 0
    assert not (run / "fit.json").exists() and not (run / "comparison.json").exists()
    assert "blocks_tags.mp4" in (run / "report.html").read_text()


def test_without_the_recording_the_numbers_come_and_the_pictures_stay_away(run, capsys):
    (run.parent / "blocks_tags.mp4").unlink()
    told = json.loads((run / "run.json").read_text())
    told["inputs"][0]["path"] = "blocks_tags.mp4"
    (run / "run.json").write_text(json.dumps(told))
    assert rulerlab("segments", run, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert any("is not found" in warning for warning in said["warnings"])
    assert json.loads((run / "run.json").read_text())["noticed"] == told["noticed"]
    assert not (run / "annotated.mp4").exists() and (run / "plots" / "extensions.svg").exists()
    assert len(said["load_curve"]["loads"]) == store.read_run(run).motion.joint_mm.shape[1] - 1


@pytest.mark.parametrize(("spoil", "words"), [
    (lambda run: (run / "view.npz").unlink(), "make it again"),
    (lambda run: (run / "view.npz").write_bytes(b"no archive"), "can't be read"),
    (lambda run: (run / "run.json").unlink(), "no run.json"),
    (lambda run: (run / "tracks.csv").write_text("a,b\n1,2\n"), "no column"),
])
def test_a_folder_that_can_not_be_mended_says_why_and_stays(run, spoil, words, capsys):
    spoil(run)
    left = sorted(path.name for path in run.iterdir())
    assert rulerlab("segments", run) == 3
    assert words in capsys.readouterr().err
    assert sorted(path.name for path in run.iterdir()) == left


def test_every_frame_is_found_again_by_its_time(tracked):
    from rulerlab.video import Recording

    recording = Recording(tracked / "blocks_tags.mp4")
    frames = [(frame.index, frame.time_s, frame.luma.copy()) for frame in recording.frames()]
    for index, time_s, luma in frames[::-37]:
        again, = recording.frames_at({round(time_s, 6): index})
        assert again.index == index and np.array_equal(again.luma, luma)
