"""Recording from real streams on the loopback, with a shaker, to the end and not."""

import csv
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import namedtuple
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from shaker_benches import build, emulator, require
from test_shaker import motor_events, run, serve, wait_for

from rulerlab.capture import Recorder, recorder
from rulerlab.capture import run as capture_run
from rulerlab.capture.camera import Shot
from rulerlab.shaker import SimulatedShaker
from rulerlab.video import Recording

ROOT = str(Path(__file__).parent.parent)
RATE = 30


def picture(number, led=0):
    """A bar that moves, and a spot of light."""
    luma = np.full((120, 160), 60, np.uint8)
    luma[60:110, number % 160 :][:, :12] = 180
    luma[10:26, 120:144] += np.uint8(130 * led)
    return luma


SERVER = """
import sys, time
from fractions import Fraction
import av, numpy as np
port, frames, rate = map(int, sys.argv[1:])
with av.open(f"tcp://127.0.0.1:{port}?listen=1", "w", format="mpegts") as out:
    stream = out.add_stream("libx264", rate=rate)
    stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
    stream.options = {"preset": "ultrafast", "tune": "zerolatency", "g": "15"}
    begun_s = time.monotonic()
    for number in range(frames):
        luma = np.full((120, 160), 60, np.uint8)
        luma[60:110, number % 140 :][:, :12] = 180
        frame = av.VideoFrame.from_ndarray(luma, format="gray").reformat(format="yuv420p")
        frame.pts, frame.time_base = number, Fraction(1, rate)
        out.mux(stream.encode(frame))
        time.sleep(max(0.0, begun_s + number / rate - time.monotonic()))
"""


class TcpStream:
    """H.264 in MPEG-TS on a TCP port, as ffmpeg or a phone serves it.

    A process of its own: PyAV holds the interpreter while it waits for a client.
    """

    def __init__(self, *, frames=10_000):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVER, str(port), str(frames), str(RATE)],
            stderr=subprocess.DEVNULL,  # the client leaves in the middle
        )

    def close(self):
        self.process.kill()
        self.process.wait(5)


class JpegStream:
    """JPEGs in a multipart reply, as the webcam apps of phones serve them."""

    def __init__(self, led=lambda: 0):
        stream = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
                self.end_headers()
                begun_s, number = time.monotonic(), 0
                while not stream.stopped.is_set():
                    jpeg = cv2.imencode(".jpg", picture(number, led()))[1].tobytes()
                    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}"
                    try:
                        self.wfile.write(head.encode() + b"\r\n\r\n" + jpeg + b"\r\n")
                    except OSError:
                        return
                    number += 1
                    time.sleep(max(0.0, begun_s + number / RATE - time.monotonic()))

            def log_message(self, *_):
                pass

        self.stopped = threading.Event()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self.server.server_port}/video"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.stopped.set()
        self.server.shutdown()
        self.server.server_close()


STREAMS = {"mpegts": TcpStream, "mjpeg": JpegStream}


@pytest.fixture
def stream(request):
    stream = STREAMS[getattr(request, "param", "mpegts")]()
    yield stream
    stream.close()


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def film_times(folder):
    return np.array([frame.time_s for frame in Recording(folder / "video.mp4").frames()])


@pytest.mark.parametrize("stream", STREAMS, indirect=True)
def test_run_is_filmed_and_shaken(stream, tmp_path, capsys):
    folder = tmp_path / "run"
    assert run("record", "--camera", stream.address, "--port", "simulated", "--duty", "0.4",
               "--seconds", "1.5", "-o", folder, "--json") == 0  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    assert (result["schema_version"], result["status"], result["dropped"]) == (1, "complete", 0)
    times = film_times(folder)
    written = [row for row in rows(folder / "frames.csv") if row["status"] == "written"]
    assert len(times) == len(written) == result["frames"]
    assert times == pytest.approx([float(row["time_s"]) for row in written], abs=1e-4)
    assert np.median(np.diff(times)) == pytest.approx(1 / RATE, abs=2e-3)
    assert times[-1] > 1.2
    text = (folder / "shaker.csv").read_text()
    assert "SHAKE 400 500 1000" in text
    assert "!DONE" in text
    assert (folder / "timeline.csv").read_text().count("\n") > 3
    assert len(rows(folder / "acceleration_film.csv")) > 400
    assert json.loads((folder / "record.json").read_text())["status"] == "complete"


def test_times_of_a_stream_with_timestamps_are_its_own(stream, tmp_path):
    folder = tmp_path / "run"
    assert run("record", "--camera", stream.address, "--seconds", "1", "-o", folder) == 0
    assert np.diff(film_times(folder)) == pytest.approx(1 / RATE, abs=2e-5)


def test_led_in_the_picture_puts_the_log_on_film_time(tmp_path, capsys):
    board = SimulatedShaker()
    port, thread = serve(board, rfc2217=False)
    stream = JpegStream(led=lambda: board.led)
    folder = tmp_path / "run"
    assert run("record", "--camera", stream.address, "--port", f"socket://127.0.0.1:{port}",
               "--seconds", "8.5", "-o", folder, "--json") == 0  # fmt: skip
    stream.close()
    thread.join(5)
    result = json.loads(capsys.readouterr().out)
    assert result["clock"] == "led"
    assert result["words"] >= 3
    line = result["film_to_board"]
    written = [row for row in rows(folder / "frames.csv") if row["status"] == "written"]
    film_s, host_s = (np.array([float(row[name]) for row in written])
                      for name in ("time_s", "host_s"))  # fmt: skip
    by_led = line["offset_s"] + (1 + line["drift"]) * (film_s - line["at_s"])
    arrival = json.loads((folder / "record.json").read_text())["clock_by_arrival"]
    by_host = arrival["offset_s"] + (1 + arrival["drift"]) * (host_s - arrival["at_s"])
    # a loopback camera hardly lags, so both ways must agree
    assert np.median(by_host - by_led) == pytest.approx(0, abs=0.012)


@pytest.mark.avr
@pytest.mark.parametrize("stream", STREAMS, indirect=True)
def test_killed_run_leaves_a_film_a_log_and_a_still_motor(stream, tmp_path):
    require("make", "avr-g++", "node")
    folder = tmp_path / "run"
    with emulator().PtyBoard(build()) as board:
        program = subprocess.Popen(
            [sys.executable, "-m", "rulerlab", "record", "--camera", stream.address, "--port",
             board.port, "--duty", "0.5", "--seconds", "20", "-o", str(folder)],
            cwd=ROOT, env=os.environ | {"PYTHONPATH": ROOT},
        )  # fmt: skip
        assert wait_for(lambda: motor_events(board) == ["motor on"], 20)
        time.sleep(3.0)
        program.send_signal(signal.SIGKILL)
        program.wait(5)
        killed_s = time.time()
        assert wait_for(lambda: motor_events(board) == ["motor on", "motor off"])
        stopped_s = board.events[-1]["wall_s"]
        # the computer's clock at the kill, as the log counts it
        started_s = (folder / "record.json").stat().st_mtime
    assert stopped_s < killed_s + 1.0 + 3.0  # the lease, and a loaded machine
    log = rows(folder / "shaker.csv")
    assert killed_s - started_s - float(log[-1]["host_s"]) < 1.0
    assert any(row["text"].startswith("!WORD") for row in log)
    acceleration = rows(folder / "acceleration.csv")
    assert len(acceleration) > 100  # ten times as many where the emulator runs in real time
    times = film_times(folder)
    frames = [row for row in rows(folder / "frames.csv") if row["status"] == "written"]
    assert len(times) > 3 * RATE * 0.6
    assert float(frames[-1]["time_s"]) - times[-1] < 1.1  # at most the fragment under way
    assert json.loads((folder / "record.json").read_text())["status"] == "recording"


def test_camera_that_dies_ends_the_run_and_keeps_what_there_is(tmp_path, capsys):
    stream, folder = TcpStream(frames=100), tmp_path / "run"
    assert run("record", "--camera", stream.address, "--port", "simulated", "--duty", "0.3",
               "--seconds", "20", "-o", folder) == 4  # fmt: skip
    message = capsys.readouterr().err
    assert "cut short" in message and str(folder) in message
    assert len(film_times(folder)) >= 40
    assert "\x18" not in (folder / "shaker.csv").read_text()
    stream.close()


def test_missing_camera_is_told_before_anything_moves(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rulerlab.capture.camera.OPEN_S", 0.5)
    for camera in ("clip.mp4", "tcp://127.0.0.1:9", "99"):
        folder = tmp_path / camera[:2]
        monkeypatch.setattr(capture_run, "open_camera", quick_open)
        assert run("record", "--camera", camera, "--port", "simulated", "--duty", "0.3",
                   "--seconds", "5", "-o", folder) == 3  # fmt: skip
        assert json.loads((folder / "record.json").read_text())["status"].startswith("not begun")
        assert "SHAKE" not in (folder / "shaker.csv").read_text()
    assert run("record", "--camera", "0", "--seconds", "5", "-o", tmp_path) == 2
    assert "nothing is overwritten" in capsys.readouterr().err


def quick_open(camera):
    from rulerlab.capture.camera import open_camera

    return open_camera(camera, wait_s=0.3)


def test_full_disk_ends_the_run_in_good_order(stream, tmp_path, capsys, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(1, 1, 5_000_000))
    folder = tmp_path / "run"
    assert run("record", "--camera", stream.address, "--seconds", "9", "-o", folder) == 4
    assert "only 5 MB are free" in capsys.readouterr().err
    assert len(film_times(folder)) >= 1


def shots(number, *, repeat_every=0, pause_s=0.0):
    for k in range(number):
        source_s = (k - (repeat_every > 0 and k % repeat_every == 1)) / RATE
        frame = av.VideoFrame.from_ndarray(picture(k), format="gray")
        yield Shot(frame, time.monotonic(), source_s)
        time.sleep(pause_s)


def test_frames_sent_twice_are_counted_and_filmed_once(tmp_path):
    film = Recorder(shots(30, repeat_every=10), tmp_path, start_s=time.monotonic())
    film.start()
    wait_for(lambda: not film.running)
    film.stop()
    assert film.health()["repeated"] == 3
    assert len(film_times(tmp_path)) == 27


def test_frames_that_the_encoder_can_not_follow_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "WAITING_FRAMES", 4)
    film = Recorder(shots(200), tmp_path, start_s=time.monotonic())
    monkeypatch.setattr(film, "_row", lambda *values: (time.sleep(0.002), write(*values)))
    write = Recorder._row.__get__(film)
    film.start()
    wait_for(lambda: not film.running)
    film.stop()
    health = film.health()
    assert health["dropped"] > 0
    assert health["frames"] + health["dropped"] == 200 == len(rows(tmp_path / "frames.csv"))
    assert len(film_times(tmp_path)) == health["frames"]


def test_file_serves_as_a_camera(tmp_path):
    film = Recorder(shots(30), tmp_path, start_s=time.monotonic())
    film.start()
    wait_for(lambda: not film.running)
    film.stop()
    folder = tmp_path / "again"
    assert run("record", "--camera", tmp_path / "video.mp4", "--seconds", "0.6", "-o", folder) == 0
    assert np.diff(film_times(folder)) == pytest.approx(1 / RATE, abs=1e-4)
