"""From the camera to the disk: one thread takes frames, one writes them, nobody waits for either.

The film is a fragmented mp4: whatever was written half a second before a power cut can be played.
"""

from __future__ import annotations

import csv
import queue
import threading
import time
from collections import deque
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import av.error
import numpy as np

from rulerlab.capture.camera import Shot
from rulerlab.errors import InputError

TICKS_PER_S = 90_000
FRAGMENT_S = 0.5
WAITING_FRAMES = 60  # what the encoder may lag behind before frames are dropped


class Recorder:
    """`video.mp4` and `frames.csv` in a folder, filled while the program does other things.

    `frames.csv` has a row for every frame that came: its number in the film (none if dropped), its
    time in the film, its arrival counted from `start_s`, and what became of it.
    """

    def __init__(self, shots: Iterator[Shot], folder: Path, *, start_s: float):
        self.start_s = start_s
        self.frames = self.dropped = self.repeated = 0
        self.first_shot = threading.Event()
        self.error: InputError | None = None
        self._shots, self._folder = shots, folder
        self._recent: deque[float] = deque(maxlen=60)
        self._film_times: list[float] = []
        self._waiting: queue.Queue[Shot | None] = queue.Queue(WAITING_FRAMES)
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._table = (folder / "frames.csv").open("x", newline="", encoding="utf-8")
        self._rows = csv.writer(self._table)
        self._rows.writerow(["frame", "time_s", "host_s", "status"])
        self._taker = threading.Thread(target=self._take, daemon=True)
        self._writer = threading.Thread(target=self._write, daemon=True)

    def start(self, *, wait_s: float = 10.0) -> None:
        """Begin to film; returns when the first frame is there, InputError if none comes."""
        self._writer.start()
        self._taker.start()
        deadline = time.monotonic() + wait_s
        while not self.first_shot.wait(0.05):
            if self.error or not self._taker.is_alive() or time.monotonic() > deadline:
                self.stop()
                raise self.error or InputError(f"the camera sent no frame within {wait_s:g} s")

    @property
    def running(self) -> bool:
        """Whether frames may still come."""
        return self._taker.is_alive() and self._writer.is_alive()

    @property
    def frames_per_s(self) -> float:
        """Rate at which frames have been coming lately; 0 before there are ten."""
        times = list(self._recent)
        return 1 / max(float(np.median(np.diff(times))), 1e-4) if len(times) >= 10 else 0.0

    def stop(self) -> None:
        """End the film; everything that came so far is in it."""
        self._stop.set()
        for thread in (self._taker, self._writer):
            if thread.is_alive():
                thread.join(15)
        self._table.close()

    def _row(self, *values: object) -> None:
        with self._lock:
            self._rows.writerow(values)
            self._table.flush()

    def _take(self) -> None:
        try:
            for shot in self._shots:
                self._recent.append(shot.arrived_s)
                try:
                    self._waiting.put_nowait(shot)
                except queue.Full:
                    self.dropped += 1
                    self._row("", "", f"{shot.arrived_s - self.start_s:.6f}", "dropped")
                self.first_shot.set()
                if self._stop.is_set() or not self._writer.is_alive():
                    break
        except InputError as error:
            self.error = error
        finally:
            close = getattr(self._shots, "close", None)
            if close:
                close()
            self._waiting.put(None)

    def _write(self) -> None:
        try:
            self._write_film()
        except (av.error.FFmpegError, OSError) as error:
            self.error = InputError(f"the film can't be written any further: {error}")
            while self._waiting.get() is not None:  # let the taker come to its end
                pass

    def _write_film(self) -> None:
        shot = self._waiting.get()
        if shot is None:
            return
        width, height = shot.picture.width // 2 * 2, shot.picture.height // 2 * 2
        options = {
            "movflags": "frag_keyframe+empty_moov+default_base_moof", "flush_packets": "1",
        }  # fmt: skip
        with av.open(str(self._folder / "video.mp4"), "w", options=options) as film:
            stream = film.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            stream.time_base = stream.codec_context.time_base = Fraction(1, TICKS_PER_S)
            stream.codec_context.gop_size = 10_000  # key frames are asked for by time, below
            stream.options = {"preset": "superfast", "crf": "18", "tune": "zerolatency"}
            self._encode(film, stream, shot)

    def _encode(self, film: av.container.OutputContainer, stream: av.VideoStream, first: Shot):
        shot: Shot | None = first
        last_tick, key_s = -1, -FRAGMENT_S
        while shot is not None:
            if first.source_s is not None and shot.source_s is not None:
                film_s = shot.source_s - first.source_s
            else:
                film_s = shot.arrived_s - first.arrived_s
            tick, host_s = round(film_s * TICKS_PER_S), shot.arrived_s - self.start_s
            if tick <= last_tick:  # sent twice, or out of order
                self.repeated += 1
                self._row("", "", f"{host_s:.6f}", "repeated")
            else:
                picture = shot.picture.reformat(stream.width, stream.height, "yuv420p")
                picture.pts, picture.time_base = tick, Fraction(1, TICKS_PER_S)
                is_key = film_s - key_s >= FRAGMENT_S - 1e-6
                picture.pict_type = (av.video.frame.PictureType.I if is_key
                                     else av.video.frame.PictureType.NONE)  # fmt: skip
                key_s = film_s if is_key else key_s
                film.mux(stream.encode(picture))
                self._film_times.append(tick / TICKS_PER_S)
                self._row(self.frames, f"{tick / TICKS_PER_S:.6f}", f"{host_s:.6f}", "written")
                self.frames += 1
                last_tick = tick
            shot = self._waiting.get()
        film.mux(stream.encode(None))

    def health(self) -> dict:
        """What came, what was lost: counts, rate, and gaps in the source's own times."""
        step = np.diff(self._film_times)
        usual = float(np.median(step)) if len(step) else float("nan")
        missing = int(np.round(step / usual - 1).clip(0).sum()) if len(step) else 0
        return {
            "frames": self.frames,
            "dropped": self.dropped,
            "repeated": self.repeated,
            "missing_in_stream": missing,
            "seconds": round(self._film_times[-1], 6) if self._film_times else 0.0,
            "frames_per_s": round(1 / usual, 3) if usual > 0 else None,
        }
