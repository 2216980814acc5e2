"""Files of other programs: what goes out comes back, and hostile input is refused in one line."""

import csv
import json

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rulerlab import exchange, store
from rulerlab.cli import main
from rulerlab.errors import InputError
from rulerlab.records import DETECTED, EDITED, LOST, PREDICTED, Motion, Tracks


def a_run(frames=7, points=3):
    time_s = 0.2 + np.arange(frames) / 25
    place = np.arange(frames * points * 2).reshape(frames, points, 2) * 1.25 + 3
    covariance = np.tile(0.09 * np.eye(2), (frames, points, 1, 1))
    status = np.full((frames, points), DETECTED, dtype="<U9")
    status[1, 1], status[2, 2] = PREDICTED, LOST
    place[status == LOST], covariance[status == LOST] = np.nan, np.nan
    motion = Motion(time_s, place / 2.5, covariance / 6.25, status=status)
    return Tracks(time_s, place, covariance, status), motion


def test_a_trk_project_comes_back_with_its_points_times_and_gaps(tmp_path):
    tracks, _ = a_run()
    exchange.write_trk(tmp_path / "a.trk", tracks, video="clip.mp4", scale_px_per_mm=2.5)
    back = exchange.read_trk(tmp_path / "a.trk", sigma_px=0.3)
    assert_allclose(back.position_px, tracks.position_px, atol=1e-4)
    assert_allclose(back.time_s, tracks.time_s, atol=1e-9)
    assert_array_equal(back.status, np.where(tracks.status == LOST, LOST, EDITED))
    assert back.sigma_px()[0, 0, 0] == pytest.approx(0.3)


def test_a_trk_project_has_trackers_pixels_and_scale(tmp_path):
    tracks, _ = a_run()
    exchange.write_trk(tmp_path / "a.trk", tracks, scale_px_per_mm=2.5)
    text = (tmp_path / "a.trk").read_text()
    assert '<property name="xorigin" type="double">3.5</property>' in text  # 3 px, corner at 0
    assert '<property name="xscale" type="double">2500.0</property>' in text  # px per metre
    assert text.count("tracker.PointMass\"") == 3


@pytest.mark.parametrize("text", [
    '<?xml version="1.0"?><!DOCTYPE o [<!ENTITY x SYSTEM "file:///etc/passwd">]><object>&x;</object>',
    '<!DOCTYPE lolz [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><object>&b;</object>',
])
def test_a_project_with_a_document_type_is_refused(tmp_path, text):
    for encoding in ("utf-8", "utf-16"):
        (tmp_path / "evil.trk").write_text(text, encoding=encoding)
        with pytest.raises(InputError, match="evil.trk"):
            exchange.read_trk(tmp_path / "evil.trk")
    (tmp_path / "evil.trk").write_text(text)
    with pytest.raises(InputError, match="DOCTYPE"):
        exchange.read_trk(tmp_path / "evil.trk")


@pytest.mark.parametrize("text", ["", "<object>", "not xml", "<object/>", "<?xml encoding='x'?>"])
def test_what_is_no_project_is_one_line(tmp_path, text):
    (tmp_path / "a.trk").write_text(text)
    with pytest.raises(InputError) as caught:
        exchange.read_trk(tmp_path / "a.trk")
    assert "\n" not in str(caught.value)


def test_tracker_text_is_one_table_per_point_in_millimetres(tmp_path):
    tracks, motion = a_run()
    written = exchange.write_tracker_text(tmp_path, tracks, motion)
    assert [path.name for path in written] == ["p0.txt", "p1.txt", "p2.txt"]
    assert written[0].read_text().startswith("p0\nt\tx\ty\n0.200000\t1.2000\t1.7000\n")
    back = exchange.read_tracker_text(written[2])
    assert back.name == "p2"
    assert_allclose(back.position, motion.joint_mm[:, 2], atol=1e-4)


def test_tracker_text_of_a_german_computer_is_understood(tmp_path):
    (tmp_path / "a.txt").write_text("Masse A\nt\tx\ty\n0,0\t1,5\t2,0E-1\n0,1\t\t\n")
    table = exchange.read_tracker_text(tmp_path / "a.txt")
    assert_array_equal(table.position[0], [1.5, 0.2])
    assert np.isnan(table.position[1]).all() and table.name == "Masse A"


@pytest.mark.parametrize(("text", "complaint"), [
    ("a\n", "no table of Tracker"),
    ("a\nt\tx\n0\t1\n", "no column y"),
    ("a\nt\tx\ty\n0\t1\tup\n", "line 3: 'up' is not a number"),
    ("a\nt\tx\ty\n0\t1\n", "line 3 has 2 cells"),
    ("a\nt\tx\ty\n1\t1\t1\n0\t1\t1\n", "do not rise"),
])
def test_damaged_tracker_text_is_one_line(tmp_path, text, complaint):
    (tmp_path / "a.txt").write_text(text)
    with pytest.raises(InputError, match=complaint):
        exchange.read_tracker_text(tmp_path / "a.txt")


def test_deeplabcut_has_three_header_rows_and_comes_back(tmp_path):
    tracks, _ = a_run()
    exchange.write_deeplabcut(tmp_path / "a.csv", tracks)
    rows = list(csv.reader((tmp_path / "a.csv").read_text().splitlines()))
    assert rows[0][:2] == ["scorer", "rulerlab"] and rows[1][:4] == ["bodyparts", *["p0"] * 3]
    assert rows[2][:4] == ["coords", "x", "y", "likelihood"]
    back = exchange.read_deeplabcut(tmp_path / "a.csv", frames_per_s=25, threshold=0.4)
    assert_allclose(back.position_px, tracks.position_px, atol=1e-4)
    assert_array_equal(back.status == LOST, tracks.status == LOST)
    strict = exchange.read_deeplabcut(tmp_path / "a.csv", frames_per_s=25, threshold=0.6)
    assert strict.status[1, 1] == LOST
    pandas = pytest.importorskip("pandas")
    table = pandas.read_csv(tmp_path / "a.csv", header=[0, 1, 2], index_col=0)
    assert table["rulerlab"]["p1"]["x"][0] == pytest.approx(tracks.position_px[0, 1, 0])


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", "scorer,s\nbodyparts,p\ncoords,x\n0,1\n",
                                  "scorer,s,s,s\nbodyparts,p,p,p\ncoords,x,y,likelihood\n0,1\n"])
def test_what_is_no_deeplabcut_csv_is_one_line(tmp_path, text):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(InputError) as caught:
        exchange.read_deeplabcut(tmp_path / "a.csv", frames_per_s=25)
    assert "\n" not in str(caught.value)


def test_sleap_gets_one_row_per_frame_with_points_scores_and_gaps(tmp_path):
    tracks, _ = a_run()
    exchange.write_sleap(tmp_path / "a.csv", tracks)
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert list(rows[0])[:6] == ["track", "frame_idx", "instance.score", "p0.x", "p0.y", "p0.score"]
    assert len(rows) == 7 and rows[2]["frame_idx"] == "2"
    assert (rows[2]["p2.x"], rows[2]["p2.score"]) == ("", "0.000")
    assert float(rows[1]["p1.y"]) == pytest.approx(tracks.position_px[1, 1, 1])


@pytest.fixture
def run_folder(tmp_path):
    tracks, motion = a_run()
    with store.open_run(tmp_path / "clip.rulerlab") as folder:
        store.write_netcdf(folder / "tracks.nc", tracks, motion)
        store.write_run_json(folder, {"inputs": [{"path": "clip.mp4"}]})
    return tmp_path / "clip.rulerlab"


@pytest.mark.parametrize(("program", "name"), [
    ("tracker", "clip_tracker"), ("trk", "clip.trk"),
    ("dlc", "clip_dlc.csv"), ("sleap", "clip_sleap.csv"),
])
def test_the_verb_writes_beside_the_run_and_refuses_to_overwrite(run_folder, capsys, program, name):
    with pytest.raises(SystemExit) as stop:
        main(["export", str(run_folder), "--to", program, "--json"])
    assert stop.value.code == 0
    written = json.loads(capsys.readouterr().out)
    assert written["written"] == str(run_folder.parent / name) and written["points"] == 3
    for arguments, code in (([], 2), (["--force"], 0)):
        with pytest.raises(SystemExit) as stop:
            main(["export", str(run_folder), "--to", program, *arguments])
        assert stop.value.code == code


def test_the_verb_gives_tracker_the_scale_of_the_clip(run_folder):
    with pytest.raises(SystemExit):
        main(["export", str(run_folder), "--to", "trk"])
    text = (run_folder.parent / "clip.trk").read_text()
    scale = float(text.split('name="xscale" type="double">')[1].split("<")[0])
    assert scale == pytest.approx(2500, rel=1e-9)
    assert '<property name="path" type="string">clip.mp4</property>' in text


def test_a_folder_that_is_no_run_has_exit_code_3(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["export", str(tmp_path), "--to", "dlc"])
    assert stop.value.code == 3 and "not a run folder" in capsys.readouterr().err
