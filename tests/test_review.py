"""Looking through a run and mending it: the log, the bridge over gaps, the server, the page."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from http.cookiejar import CookieJar

import browser
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rulerlab import store
from rulerlab.cli import main
from rulerlab.errors import InputError, QualityError, UsageError
from rulerlab.records import DETECTED, EDITED, LOST, PREDICTED, Tracks
from rulerlab.review.bridge import bridge
from rulerlab.review.doubts import doubts
from rulerlab.review.mending import LOG, Change, Mending


def swinging(frames=240, points=3, sigma=0.05, seed=0):
    """Points that swing slowly, with detection errors."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(frames) / 30
    phase = np.arange(points)
    x = 100 * phase + 20 * np.sin(2 * np.pi * 0.7 * time_s[:, None] + phase)
    place = np.stack([x, 50 + 5 * np.cos(3 * time_s[:, None] + phase)], axis=-1)
    place += rng.normal(scale=sigma, size=place.shape)
    covariance = np.tile(sigma**2 * np.eye(2), (frames, points, 1, 1))
    return Tracks(time_s, place, covariance, np.full((frames, points), DETECTED))


def without(tracks, point, first, last):
    """The tracks with one point lost for a while."""
    position, covariance = tracks.position_px.copy(), tracks.covariance_px.copy()
    status = tracks.status.astype("<U9")
    gap = slice(first, last + 1), point
    position[gap], covariance[gap], status[gap] = np.nan, np.nan, LOST
    return Tracks(tracks.time_s, position, covariance, status)


# --- steps and their log ---------------------------------------------------------------------

def test_steps_can_be_undone_down_to_the_tracks_as_they_were(tmp_path):
    before = swinging()
    mending = Mending(before, tmp_path / LOG)
    assert mending.change([Change(3, 1, 10, 20, 0.5, EDITED)]) == [3]
    mending.change([Change(3, 1, 11, 21, 0.5, EDITED),
                    Change(4, 2, np.nan, np.nan, np.nan, LOST)])
    now = mending.tracks()
    assert_array_equal(now.position_px[3, 1], [11, 21])
    assert_allclose(now.covariance_px[3, 1], 0.25 * np.eye(2))
    assert now.status[3, 1] == EDITED and now.status[4, 2] == LOST
    assert mending.undo() == [3, 4]
    assert_array_equal(mending.tracks().position_px[3, 1], [10, 20])
    mending.undo()
    assert mending.undo() == []
    assert_array_equal(mending.tracks().position_px, before.position_px)
    assert_array_equal(mending.tracks().status, before.status)


def test_a_server_that_is_killed_loses_no_correction(tmp_path):
    before, log = swinging(), tmp_path / LOG
    mending = Mending(before, log)
    for frame in (3, 4, 5):
        mending.change([Change(frame, 1, 10, frame, 0.5, EDITED)])
    mending.undo()
    with log.open("a") as file:
        file.write('{"at": "2026-01-01T0')  # the machine died while this line was written
    again = Mending(before, log)
    assert again.steps == 2
    assert_array_equal(again.tracks().position_px, mending.tracks().position_px)


def test_what_was_saved_is_not_done_again_and_the_log_keeps_the_old_places(tmp_path):
    before, log = swinging(), tmp_path / LOG
    mending = Mending(before, log)
    mending.change([Change(3, 1, 10, 20, 0.5, EDITED)])
    mending.saved(mending.tracks())
    assert mending.steps == 0 and mending.undo() == []
    assert Mending(mending.tracks(), log).steps == 0
    first = json.loads(log.read_text().splitlines()[0])["changes"][0]
    assert first["old_x_px"] == before.position_px[3, 1, 0] and first["old_status"] == DETECTED


@pytest.mark.parametrize("change", [
    Change(-1, 0, 1, 1, 1, EDITED), Change(999, 0, 1, 1, 1, EDITED), Change(0, 9, 1, 1, 1, EDITED),
    Change(0, 0, 1, 1, 0, EDITED), Change(0, 0, np.nan, 1, 1, EDITED),
    Change(0, 0, 1, 1, 1, LOST), Change(0, 0, 1, 1, 1, "sure"),
])
def test_a_change_that_makes_no_sense_is_refused_whole(tmp_path, change):
    before = swinging()
    mending = Mending(before, tmp_path / LOG)
    with pytest.raises(UsageError):
        mending.change([Change(3, 1, 10, 20, 0.5, EDITED), change])
    assert_array_equal(mending.tracks().position_px, before.position_px)
    assert mending.steps == 0 and not (tmp_path / LOG).exists()


def test_a_correction_that_can_not_be_logged_is_not_made(tmp_path):
    mending = Mending(swinging(), tmp_path / "gone" / LOG)
    with pytest.raises(InputError, match="was not made"):
        mending.change([Change(3, 1, 10, 20, 0.5, EDITED)])
    assert mending.steps == 0


# --- gaps and doubts -------------------------------------------------------------------------

@pytest.mark.parametrize("length", [1, 4, 9])
def test_the_stated_error_of_a_bridge_is_the_one_it_has(length):
    off = []
    for seed in range(12):
        truth = swinging(seed=seed)
        first = 60 + 7 * seed
        made = bridge(without(truth, 1, first, first + length - 1), 1, first)
        assert [one.frame for one in made] == list(range(first, first + length))
        assert all(one.status == PREDICTED for one in made)
        off += [(np.array([one.x_px, one.y_px]) - truth.position_px[one.frame, 1]) / one.sigma_px
                for one in made]
    assert 0.6 < np.std(off, axis=0).max() < 1.3


def test_a_gap_at_the_end_or_no_gap_is_refused():
    with pytest.raises(QualityError, match="both sides"):
        bridge(without(swinging(), 1, 230, 239), 1, 235)
    with pytest.raises(QualityError, match="no gap"):
        bridge(swinging(), 1, 20)


def test_a_jump_is_doubted_and_an_honest_motion_is_not():
    tracks = swinging()
    assert doubts(tracks) == []
    position = tracks.position_px.copy()
    position[77, 2] += [6.0, 0]
    jumped = Tracks(tracks.time_s, position, tracks.covariance_px, tracks.status)
    found, = doubts(jumped)
    assert (found.point, found.first, found.last) == (2, 77, 77)
    assert "jumps by 6" in found.why
    found, = doubts(without(tracks, 1, 5, 9))
    assert (found.point, found.first, found.last, found.why) == (1, 5, 9, "lost in 5 frames")


# --- the server ------------------------------------------------------------------------------

@contextlib.contextmanager
def reviewed(run):
    """The address of `rulerlab review` of this run, in a process of its own."""
    server = subprocess.Popen(
        [sys.executable, "-m", "rulerlab", "review", str(run), "--no-browser", "--no-video"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        assert address.startswith("http://127.0.0.1:"), server.stderr.read()
        yield address
    finally:
        server.send_signal(signal.SIGINT)
        server.communicate(timeout=20)


class Visitor:
    """Asks the server as a page does."""

    def __init__(self, address):
        self.base = address.split("?")[0]
        self.door = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))
        assert b"<canvas" in self.door.open(address).read()

    def get(self, path):
        return self.door.open(self.base + path).read()

    def post(self, path, body, **headers):
        told = urllib.request.Request(
            self.base + path, json.dumps(body).encode(),
            {"Content-Type": "application/json"} | headers)
        return json.loads(self.door.open(told).read())


def refused(ask):
    with pytest.raises(urllib.error.HTTPError) as caught:
        ask()
    with caught.value as answer:
        return answer.code, answer.read().decode()


def test_a_correction_reaches_the_load_curve(run):
    before = store.read_run(run)
    with reviewed(run) as address:
        page = Visitor(address)
        told = json.loads(page.get("run"))
        assert len(told["time_s"]) == 150 and told["title"] == "blocks_tags.rulerlab"
        rows = json.loads(page.get("tracks"))
        assert_allclose(rows["position_px"], before.tracks.position_px, atol=6e-4)
        x, y = rows["position_px"][70][2]
        change = {"frame": 70, "point": 2, "x_px": x + 9, "y_px": y, "sigma_px": 1.5,
                  "status": "edited"}
        answer = page.post("changes", {"changes": [change]})
        assert answer["frames"] == [70] and answer["steps"] == 1
        said = page.post("save", {})
        assert said["steps"] == 0 and len(said["load_curve"]["loads"]) > 3
    after = store.read_run(run)
    assert after.tracks.status[70, 2] == EDITED
    assert after.tracks.position_px[70, 2, 0] == pytest.approx(x + 9, abs=1e-3)
    assert after.motion.joint_mm[70, 2, 0] - before.motion.joint_mm[70, 2, 0] > 2
    assert json.loads((run / LOG).read_text().splitlines()[-1])["saved"] == 1


def test_pictures_come_by_number_in_any_order(run):
    import cv2

    from rulerlab.video import Recording

    frames = [frame.bgr() for frame in Recording(run.parent / "blocks_tags.mp4").frames()]
    with reviewed(run) as address:
        page = Visitor(address)
        for index in (149, 0, 75, 74, 76):
            jpeg = np.frombuffer(page.get(f"frames/{index}.jpg"), np.uint8)
            shown = cv2.imdecode(jpeg, cv2.IMREAD_COLOR).astype(float)
            off = [np.abs(shown - frames[k]).mean() for k in (index, (index + 15) % 150)]
            assert off[0] < 3 and off[0] < off[1]
        assert refused(lambda: page.get("frames/150.jpg"))[0] == 400


def test_only_the_browser_with_the_token_is_answered(run):
    with reviewed(run) as address:
        page, base = Visitor(address), address.split("?")[0]
        assert refused(lambda: urllib.request.urlopen(base + "tracks"))[0] == 403
        assert refused(lambda: urllib.request.urlopen(base + "?token=guess"))[0] == 403
        for headers in ({"Origin": "http://elsewhere.example"}, {"Host": "elsewhere.example"}):
            assert refused(lambda h=headers: page.post("undo", {}, **h))[0] == 403
        assert refused(lambda: page.post("undo", {}, **{"Content-Type": "text/plain"}))[0] == 415
        assert refused(lambda: page.get("..%2f..%2frun.json"))[0] == 404
        code, words = refused(lambda: page.post("changes", {"changes": [{"frame": 1}]}))
        assert code == 400 and "no change of a point" in words
        code, words = refused(lambda: page.post("bridge", {"frame": 3, "point": 1}))
        assert code == 400 and "no gap" in words


@pytest.mark.parametrize(("spoil", "code", "words"), [
    (lambda run: (run.parent / "blocks_tags.mp4").unlink(), 3, "put it there"),
    (lambda run: (run / "view.npz").unlink(), 3, "make it again"),
    (lambda run: (run / LOG).write_text("nonsense\n{}\n"), 3, "line 1 can't be read"),
])
def test_a_run_that_can_not_be_reviewed_says_why(run, spoil, code, words, capsys, monkeypatch):
    monkeypatch.chdir(run)
    told = json.loads((run / "run.json").read_text())
    told["inputs"][0]["path"] = "blocks_tags.mp4"
    (run / "run.json").write_text(json.dumps(told))
    spoil(run)
    with pytest.raises(SystemExit) as stop:
        main(["review", str(run), "--no-browser"])
    assert stop.value.code == code and words in capsys.readouterr().err


# --- the page --------------------------------------------------------------------------------

@pytest.mark.browser
def test_a_point_dragged_in_the_browser_is_moved_in_the_run_folder(run, tmp_path):
    if browser.chromium() is None:
        assert not os.environ.get("RULERLAB_REQUIRE_BROWSER"), "no chromium, although it must be"
        pytest.skip("chromium is not installed (apt install chromium)")
    before = store.read_run(run).tracks
    with reviewed(run) as address, browser.Browser(tmp_path / "profile") as page:
        page.open(address, width=1200, height=800)
        page.wait("document.body.dataset.ready")
        first = int(page.run("document.getElementById('where').textContent").split()[1])
        page.press("ArrowRight")
        page.wait(f"document.getElementById('where').textContent.startsWith('frame {first + 1} ')")
        left, top, width, height = page.run(
            "(box => [box.left, box.top, box.width, box.height])"
            "(document.getElementById('picture').getBoundingClientRect())")
        scale = min(width / 1280, height / 720)
        x, y = before.position_px[first + 1, 2]
        at = (left + (width - 1280 * scale) / 2 + (x + 0.5) * scale,
              top + (height - 720 * scale) / 2 + (y + 0.5) * scale)
        page.drag(at, (at[0] + 30, at[1] - 12))
        page.wait("!document.getElementById('save').disabled")
        page.screenshot(tmp_path / "page.png")
        moved = page.run("document.getElementById('place').textContent")
        assert "edited" in moved
        page.press("z")
        page.wait("document.getElementById('save').disabled")
        page.drag(at, (at[0] + 30, at[1] - 12))
        page.wait("!document.getElementById('save').disabled")
        page.run("document.getElementById('save').click()")
        page.wait("document.getElementById('news').textContent.startsWith('saved')")
        assert page.complaints() == []
        for width in (1200, 420):
            page.open(address.split("?")[0], width=width, phone=width < 600)
            page.wait("document.body.dataset.ready")
            assert page.run("document.documentElement.scrollWidth") <= width
    after = store.read_run(run).tracks
    assert after.status[first + 1, 2] == EDITED
    assert_allclose(after.position_px[first + 1, 2], [x + 30 / scale, y - 12 / scale], atol=0.6)
    assert (after.status == EDITED).sum() == 1
