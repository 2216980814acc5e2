"""`rulerlab track` by its user: what goes wrong is told in one line, and nothing is lost by it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import av
import drawn
import numpy as np
import pytest

from rulerlab.cli import main
from rulerlab.store import read_run

TRACK = [sys.executable, "-m", "rulerlab", "track"]


@pytest.fixture
def clip(ruler_clip, tmp_path):
    return shutil.copy(ruler_clip.path, tmp_path / "clip.mp4")


@pytest.fixture
def track(capsys):
    """Run `rulerlab track`: exit code, lines of stdout, lines of stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as stop:
            main(["track", *map(str, arguments), "--no-video"])
        said = capsys.readouterr()
        return stop.value.code, said.out.splitlines(), said.err.splitlines()

    return run


def left_in(folder):
    """Everything in a folder, hidden leftovers included."""
    return sorted(path.name for path in folder.iterdir())


def complaint(result, code):
    """The one line of a refusal that left with `code`."""
    assert result[0] == code, result
    assert result[1] == []
    lines = [line for line in result[2] if not line.startswith("rig: ")]
    assert len(lines) == 1, lines
    assert lines[0].startswith("rulerlab: ")
    assert "Traceback" not in lines[0]
    return lines[0]


# --- the good case ----------------------------------------------------------------------------

def test_one_video_becomes_one_run_folder_beside_it(track, clip, tmp_path):
    code, out, _ = track(clip)
    assert code == 0
    assert out[-1] == f"run folder: {tmp_path / 'clip.rulerlab'}"
    run = read_run(tmp_path / "clip.rulerlab")
    assert run.tracks.points == 8
    assert run.info["frames"] == 40
    for name in ("tracks.csv", "segments.csv", "load_curve.csv", "tracks.nc", "run.json"):
        assert (tmp_path / "clip.rulerlab" / name).stat().st_size > 0
    assert left_in(tmp_path) == ["clip.mp4", "clip.rulerlab"]


def test_json_is_one_object_alone_on_stdout(track, clip, tmp_path):
    code, out, _ = track(clip, "--json", "-o", tmp_path / "out")
    told = json.loads("\n".join(out))
    assert code == 0
    assert told["schema_version"] == 1
    assert told["points"] == 8
    assert len(told["load_curve"]["loads"]) == 6
    assert told["run"] == str(tmp_path / "out")


def test_the_load_is_read_at_the_time_that_is_asked_for(track, clip, tmp_path):
    totals = []
    for at in ("0.05", "0.7", "1.3"):
        _, out, _ = track(clip, "--json", "--at", at, "-o", tmp_path / at)
        totals.append(sum(json.loads("\n".join(out))["load_curve"]["loads"]))
    assert abs(totals[0]) < 1
    assert 5 < totals[1] < totals[2] - 5


@pytest.mark.parametrize("at", ["-1", "99", "nan"])
def test_a_time_outside_the_clip_is_refused(track, clip, at):
    line = complaint(track(clip, "--at", at), 2)
    assert "--at" in line and "1.3" in line


# --- files that are no videos ------------------------------------------------------------------

def test_a_file_that_is_not_there(track, tmp_path):
    assert "no such file" in complaint(track(tmp_path / "gone.mp4"), 3)
    assert left_in(tmp_path) == []


def test_an_empty_file(track, tmp_path):
    (tmp_path / "empty.mp4").touch()
    assert "0 bytes" in complaint(track(tmp_path / "empty.mp4"), 3)
    assert left_in(tmp_path) == ["empty.mp4"]


def test_a_text_that_is_called_mp4(track, tmp_path):
    (tmp_path / "notes.mp4").write_text("pulled at noon, table 3\n" * 50)
    assert "not a video" in complaint(track(tmp_path / "notes.mp4"), 3)
    assert left_in(tmp_path) == ["notes.mp4"]


def test_a_picture_that_is_called_mp4_is_one_frame_or_no_video(track, tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), drawn.paper().astype(np.uint8))
    (tmp_path / "a.png").rename(tmp_path / "a.mp4")
    complaint(track(tmp_path / "a.mp4"), 3)


def test_a_recording_with_sound_only(track, tmp_path):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100)
        for number in range(20):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 44_100, 1024 * number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "no pictures" in complaint(track(path), 3)
    assert left_in(tmp_path) == ["sound.mp4"]


def test_a_clip_of_one_frame(track, ruler_clip, tmp_path):
    from conftest import draw_ruler

    path = drawn.write_clip(tmp_path / "one.mp4", [draw_ruler(ruler_clip.point_px[0])], [0.0])
    assert "one frame" in complaint(track(path), 3)
    assert left_in(tmp_path) == ["one.mp4"]


def test_a_clip_without_a_rig_in_view(track, tmp_path):
    path = drawn.write_clip(tmp_path / "table.mp4", [drawn.paper()] * 12, np.arange(12) / 30)
    assert "no rig in view" in complaint(track(path), 3)
    assert left_in(tmp_path) == ["table.mp4"]


def test_a_folder_without_videos(track, tmp_path):
    assert "holds no pictures or videos" in complaint(track(tmp_path), 3)


def test_a_clip_that_may_not_be_read(track, clip, tmp_path):
    if os.geteuid() == 0:
        pytest.skip("nothing is forbidden to root")
    os.chmod(clip, 0)
    assert "permission" in complaint(track(clip), 3)


# --- damaged videos ----------------------------------------------------------------------------

def test_a_clip_cut_off_before_its_index_says_so(track, clip, tmp_path):
    whole = clip.read_bytes()
    assert whole.rindex(b"moov") > whole.index(b"mdat")
    clip.write_bytes(whole[: len(whole) // 2])
    assert "cut off" in complaint(track(clip), 3)
    assert left_in(tmp_path) == ["clip.mp4"]


@pytest.mark.parametrize("flags", ["+faststart", "+frag_keyframe+empty_moov"])
def test_of_a_cut_off_clip_with_its_index_in_front_the_rest_is_tracked(
    track, ruler_clip, tmp_path, flags
):
    from conftest import draw_ruler

    path = drawn.write_clip(tmp_path / "cut.mp4", map(draw_ruler, ruler_clip.point_px),
                            ruler_clip.time_s, flags=flags, gop=8)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.7 * len(whole))])
    code, _, err = track(path)
    assert code in (0, 4)
    run = read_run(tmp_path / "cut.rulerlab")
    frames = run.info["frames"]
    assert 10 < frames < 40
    told = [line for line in err if "cut off" in line or "damaged" in line]
    assert told, err
    since = run.tracks.time_s - run.tracks.time_s[0]
    np.testing.assert_allclose(since, ruler_clip.time_s[:frames], atol=1e-4)


def test_a_hole_in_the_middle_of_a_clip_is_told_and_the_rest_keeps_its_times(
    track, ruler_clip, tmp_path
):
    from conftest import draw_ruler

    path = drawn.write_clip(tmp_path / "hole.mp4", map(draw_ruler, ruler_clip.point_px),
                            ruler_clip.time_s, flags="+faststart", gop=8)
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    middle = start + (len(data) - start) // 2
    data[middle : middle + 3000] = bytes(3000)
    path.write_bytes(bytes(data))
    code, _, err = track(path)
    assert code in (0, 4)
    info = read_run(tmp_path / "hole.rulerlab").info
    said = " ".join(err)
    assert info["health"]["corrupt"] or info["health"]["problems"]
    assert "damaged" in said or "missing" in said, err


# --- rig.toml ----------------------------------------------------------------------------------

def test_rig_toml_beside_the_clip_is_used_and_named(track, clip, tmp_path):
    (tmp_path / "clip.rig.toml").write_text('kind = "ruler"\npoints = 8\npull = "right"\n')
    code, _, err = track(clip)
    assert code == 0
    assert err[0] == f"rig: {tmp_path / 'clip.rig.toml'}"
    assert read_run(tmp_path / "clip.rulerlab").info["rig"]["points"] == 8


@pytest.mark.parametrize(("text", "words"), [
    ("points = 11", ["points = 11", "8 marks"]),
    ("points = 5", ["points = 5", "chain of 8 marks"]),
    ("pints = 8", ["'pints'", "'points'"]),
    ('[marks]\ncolors = ["green"]', ["'colors'", "[marks]", "'colours'"]),
    ("[ruler]\nsection_mm = 5", ["'section_mm'", "'sections_mm'"]),
    ('kind = "rulr"', ["kind", "rulr", "ruler, blocks"]),
    ("points = 8\n[ruler]\nsections_mm = [60, 120]", ["sections_mm", "2 numbers", "needs 7"]),
    ("points = [", ["not a TOML file"]),
    ('[marks]\ncolours = ["gren"]', ["'gren'", "green"]),
    ('[marks]\nkind = "tags"', ["tags"]),
    ('[marks]\nkind = "tags"\ndictionary = "DICT_9X9"', ["DICT_9X9"]),
    ('[camera]\ncalibration = "gone.toml"', ["gone.toml", "does not exist"]),
    ("[reference]\ncrosses_mm = [[0, 0], [9, 0], [9, 9], [0, 9]]", ["crosses"]),
    ("[reference]\ncrosses_mm = [[0, 0], [9, 0]]", ["crosses", "4"]),
    ("[reference.tags_mm]\n40 = [0, 0]\n41 = [9, 0]", ["tags"]),
    ("[reference.tags_mm]\nforty = [0, 0]", ["tags_mm", "forty"]),
    ("kind = 'ruler'\n[blocks]\nmass_kg = [-1]", ["mass_kg", "above zero"]),
])
def test_what_is_wrong_in_rig_toml_is_named(track, clip, tmp_path, text, words):
    rig = tmp_path / "rig.toml"
    rig.write_text(text)
    line = complaint(track(clip), 3)
    for word in words:
        assert word in line, line
    assert left_in(tmp_path) == ["clip.mp4", "rig.toml"]


def test_a_rig_toml_that_is_not_there(track, clip, tmp_path):
    assert "gone.toml" in complaint(track(clip, "--rig", tmp_path / "gone.toml"), 3)


def test_a_camera_that_does_not_fit_the_clip(track, clip, tmp_path):
    camera = tmp_path / "camera.toml"
    camera.write_text("image_size_px = [640, 480]\ndistortion = [0, 0, 0, 0, 0]\n"
                      "camera_matrix = [[600, 0, 320], [0, 600, 240], [0, 0, 1]]\n")
    assert "640x480" in complaint(track(clip, "--camera", camera), 3)
    camera.write_text("image_size_px = [480, 270]\n")
    assert "camera_matrix" in complaint(track(clip, "--camera", camera), 3)


# --- where the run goes ------------------------------------------------------------------------

def test_an_existing_run_is_refused_before_any_work_and_kept(track, clip, tmp_path):
    track(clip)
    before = (tmp_path / "clip.rulerlab" / "run.json").read_bytes()
    began = time.perf_counter()
    assert "--force" in complaint(track(clip), 2)
    assert time.perf_counter() - began < 5
    assert (tmp_path / "clip.rulerlab" / "run.json").read_bytes() == before
    assert track(clip, "--force")[0] == 0
    assert (tmp_path / "clip.rulerlab" / "run.json").read_bytes() != before


def test_a_bad_clip_does_not_cost_the_run_that_it_should_have_replaced(track, clip, tmp_path):
    track(clip)
    before = left_in(tmp_path / "clip.rulerlab")
    clip.write_bytes(clip.read_bytes()[:5000])
    complaint(track(clip, "--force"), 3)
    assert left_in(tmp_path / "clip.rulerlab") == before


@pytest.mark.parametrize("place", ["/proc/here", "clip.mp4/inside", "clip.mp4"])
def test_a_place_that_can_not_be_written(track, clip, tmp_path, place):
    result = track(clip, "--force", "-o", tmp_path / place)
    line = complaint(result, result[0])
    assert result[0] in (2, 3)
    assert place in line
    assert left_in(tmp_path) == ["clip.mp4"]


def test_a_full_disk_is_one_line_and_leaves_nothing(clip, tmp_path):
    """A limit on the size of files stands for the disk: writing fails half way in a file."""
    import resource

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))

    done = subprocess.run([*TRACK, clip], capture_output=True, text=True, preexec_fn=limit)
    assert done.returncode == 3, done.stderr
    (line,) = [said for said in done.stderr.splitlines() if not said.startswith("found: ")]
    assert "no room" in line
    assert left_in(tmp_path) == ["clip.mp4"]


# --- stopped half way --------------------------------------------------------------------------

def heed_ctrl_c():
    """A test run in the background of a shell hands down that SIGINT is to be ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def long_clip(ruler_clip, clips):
    """The ruler, held for a long time after the pull."""
    from conftest import draw_ruler

    still = draw_ruler(ruler_clip.point_px[-1])
    return drawn.write_clip(clips / "long.mp4", [still] * 400, np.arange(400) / 30)


def begin(path):
    """Start tracking in another process; returns once it has begun to write."""
    process = subprocess.Popen([*TRACK, path], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c)
    until = time.monotonic() + 60
    while not list(path.parent.glob(".*.partial-*")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    time.sleep(0.2)
    return process


def test_ctrl_c_leaves_with_130_and_nothing_that_looks_finished(long_clip, tmp_path):
    path = shutil.copy(long_clip, tmp_path / "clip.mp4")
    process = begin(path)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert err.split("\n") == ["", "rulerlab: stopped by Ctrl-C", ""]  # after the terminal's ^C
    assert left_in(tmp_path) == ["clip.mp4"]


def test_a_run_killed_half_way_leaves_nothing_that_looks_finished(long_clip, clip, tmp_path, track):
    path = shutil.copy(long_clip, tmp_path / "long.mp4")
    process = begin(path)
    process.kill()
    process.communicate(timeout=60)
    assert not (tmp_path / "long.rulerlab").exists()
    assert not [p for p in tmp_path.rglob("run.json")]
    shutil.copy(clip, path)
    assert track(path)[0] == 0  # and the next run cleans up behind the dead one
    assert left_in(tmp_path) == ["clip.mp4", "long.mp4", "long.rulerlab"]


# --- many videos -------------------------------------------------------------------------------

def test_a_batch_goes_on_past_a_bad_file_and_ends_with_a_table(track, clip, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    (tmp_path / "notes.txt").write_text("not looked at")
    code, out, err = track(tmp_path)
    assert code == 6
    assert out[0].split() == ["video", "points", "frames", "lost", "regime", "c~"]
    assert "bad.mp4" in out[1] and "FAILED" in out[1] and "not a video" in out[1]
    assert out[2].split()[:3] == ["clip.mp4", "8", "40"]
    assert len(out) == 3
    assert left_in(tmp_path) == ["bad.mp4", "clip.mp4", "clip.rulerlab", "notes.txt"]


def test_a_batch_says_json_too(track, clip, tmp_path):
    (tmp_path / "bad.mp4").write_text("no video")
    code, out, _ = track(tmp_path / "bad.mp4", clip, "--json", "-o", tmp_path / "runs")
    told = json.loads("\n".join(out))
    assert code == 6
    assert told["schema_version"] == 1
    assert [row["ok"] for row in told["runs"]] == [False, True]
    assert left_in(tmp_path / "runs") == ["clip.rulerlab"]


def test_a_folder_of_good_clips_is_done_with_0(track, clip, tmp_path):
    code, out, _ = track(tmp_path)
    assert code == 0
    assert len(out) == 2


def test_two_clips_of_one_name_do_not_take_each_others_folder(track, clip, tmp_path):
    (tmp_path / "b").mkdir()
    other = shutil.copy(clip, tmp_path / "b" / "clip.mp4")
    code, _, _ = track(clip, other, "-o", tmp_path / "runs")
    assert code == 0
    runs = [path for path in (tmp_path / "runs").rglob("run.json")]
    assert len(runs) == 2


def test_ctrl_c_in_a_batch_keeps_what_is_done_and_says_so(long_clip, clip, tmp_path):
    shutil.copy(long_clip, tmp_path / "later.mp4")
    process = subprocess.Popen([*TRACK, tmp_path], text=True, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, preexec_fn=heed_ctrl_c)
    until = time.monotonic() + 60
    while not (tmp_path / "clip.rulerlab").exists() or not list(tmp_path.glob(".later*")):
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "clip.mp4" in out and "Traceback" not in err
    assert left_in(tmp_path) == ["clip.mp4", "clip.rulerlab", "later.mp4"]


def test_a_usage_mistake_is_2(track, clip):
    assert track(clip, "--forse")[0] == 2
    assert track()[0] == 2
