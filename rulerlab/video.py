"""A recording: frames with the container's own timestamps, one at a time; and video out.

Luma and chroma planes are handed over as the decoder holds them: no colour conversion.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from rulerlab.errors import InputError

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".mts", ".mpg", ".mpeg", ".3gp")
HELD_BYTES = 300_000_000  # of the frames that are read from the last to the first


def files_in(paths: Iterable[Path], suffixes: tuple[str, ...] = VIDEO_SUFFIXES) -> list[Path]:
    """Files as they are, folders as the files in them that end in `suffixes`; each file once.

    Raises InputError for a folder that holds none.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes)
            if not inside:
                what = "videos" if suffixes == VIDEO_SUFFIXES else "pictures or videos"
                raise InputError(f"{path} holds no {what} ({' '.join(suffixes)})")
            files += inside
        else:
            files.append(path)
    return list(dict.fromkeys(files))


@dataclass(frozen=True)
class Frame:
    """One picture, upright. `chroma_u`, `chroma_v` have half the size of `luma` (4:2:0)."""

    index: int
    time_s: float
    luma: np.ndarray  # (H, W) uint8
    chroma_u: np.ndarray  # (H/2, W/2) uint8
    chroma_v: np.ndarray  # (H/2, W/2) uint8
    corrupt: bool = False
    turned: int = 0  # degrees against the clock, to be upright; the chroma samples turn with it

    def bgr(self) -> np.ndarray:
        """The picture in OpenCV's colours, (H, W, 3) uint8, for drawing on."""
        height, width = self.luma.shape
        picture = av.VideoFrame(width, height, "yuv420p")
        planes = (self.luma, self.chroma_u, self.chroma_v)
        for plane, values in zip(picture.planes, planes, strict=True):
            _fill(plane, values)
        return picture.to_ndarray(format="bgr24")


def _fill(plane: av.video.plane.VideoPlane, values: np.ndarray) -> None:
    room = np.zeros((plane.height, plane.line_size), np.uint8)
    room[:, : values.shape[1]] = values[: plane.height]
    plane.update(room)


def _view(plane: av.video.plane.VideoPlane) -> np.ndarray:
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: plane.height, : plane.width]


class Recording:
    """A video file, read once from front to back as often as wanted, in constant memory.

    After `frames()` has run to its end, `frames_read` and `problems` say what was lost.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self.problems: list[str] = []
        self.frames_read = 0
        self.latest: Frame | None = None  # the last frame that was read
        with self._open() as container:
            stream = container.streams.video[0]
            first = self._first_frame(container)
            self.rotation = _rotation(first)
            size = (first.width, first.height)
            self.width, self.height = size[::-1] if self.rotation % 180 else size
            self.codec = stream.codec_context.name
            rate = stream.average_rate or stream.guessed_rate
            self.frames_per_s = float(rate) if rate else float("nan")
            self.frames_declared = stream.frames
            self.bit_rate = container.bit_rate
            self.start_s = float(first.time or 0.0)
            self.duration_s = _duration_s(container, stream)
            if not self.frames_declared and stream.duration and rate:
                self.frames_declared = round(float(stream.duration * stream.time_base * rate))

    @contextlib.contextmanager
    def _open(self) -> Iterator[av.container.InputContainer]:
        if not self.path.exists():
            raise InputError(f"{self.path}: no such file")
        if self.path.is_dir():
            raise InputError(f"{self.path} is a folder, not a video")
        if self.path.stat().st_size == 0:
            raise InputError(f"{self.path} is empty (0 bytes): copy it again from the camera")
        try:
            container = av.open(str(self.path))
        except av.error.PermissionError:
            raise InputError(f"{self.path}: no permission to read it") from None
        except (av.error.FFmpegError, OSError, ValueError):
            raise InputError(
                f"{self.path} is not a video that can be read "
                "(not a video at all, or cut off before its index was written)"
            ) from None
        with container:
            if not container.streams.video:
                raise InputError(f"{self.path} holds no pictures, only sound or data")
            yield container

    def _first_frame(self, container: av.container.InputContainer) -> av.VideoFrame:
        try:
            return next(container.decode(video=0))
        except (av.error.FFmpegError, StopIteration):
            raise InputError(f"{self.path}: no frame of it can be decoded") from None

    def frames(self) -> Iterator[Frame]:
        """Every frame that can be decoded, in order of time; damage is noted in `problems`."""
        self.problems, self.frames_read, late = [], 0, 0
        last_s = -np.inf
        with self._open() as container:
            for picture in self._pictures(container):
                time_s = self._time_s(picture, container.streams.video[0], last_s)
                if time_s <= last_s:
                    late += 1
                    continue
                last_s = time_s
                self.latest = self._frame(picture, self.frames_read, time_s)
                yield self.latest
                self.frames_read += 1
        if late:
            self.problems.append(f"{late} frames left out: their time does not rise")
        missing = (self.frames_declared or 0) - self.frames_read - late
        if missing > max(1, 0.005 * self.frames_read):
            self.problems.append(
                f"{missing} of {self.frames_declared} frames are missing: "
                "the file is damaged or cut off"
            )

    def backwards(self, time_s: np.ndarray) -> Iterator[Frame]:
        """The frames that `frames()` gave, with times `time_s` (T,), from the last to the first.

        They are decoded once more, in blocks that take no more than HELD_BYTES.
        """
        block = max(HELD_BYTES // (3 * self.width * self.height // 2), 1)
        told = list(self.problems)
        for end in range(len(time_s), 0, -block):
            begin = max(end - block, 0)
            numbers = {float(time_s[k]): k for k in range(begin, end)}
            held = self._again(numbers, seek=begin > 0)
            if len(held) < end - begin and begin > 0:  # a file that can't be searched
                held = self._again(numbers, seek=False)
            self.problems = told[:]  # each was told when it was first read
            while held:
                yield held.pop()

    def frames_at(self, numbers: dict[float, int]) -> list[Frame]:
        """The frames that `frames()` gave with these times and numbers, without reading all.

        Raises InputError when one of them is no longer there.
        """
        held = self._again(numbers, seek=True)
        if len(held) < len(numbers):  # a file that can't be searched
            held = self._again(numbers, seek=False)
        if len(held) < len(numbers):
            raise InputError(f"{self.path} lacks frames between {min(numbers):.3f} s and "
                             f"{max(numbers):.3f} s: it is not the recording that was tracked, or "
                             "it is damaged")
        return held

    def _again(self, numbers: dict[float, int], *, seek: bool) -> list[Frame]:
        """The frames with the times and `numbers` given, in order of time.

        Times may come from a table that holds microseconds.
        """
        held, last_s, to_us = [], -np.inf, round(1e6 * max(numbers))
        wanted = {round(1e6 * time_s): number for time_s, number in numbers.items()}
        with self._open() as container:
            stream = container.streams.video[0]
            if seek and stream.time_base:
                with contextlib.suppress(av.error.FFmpegError):
                    container.seek(int(min(numbers) / stream.time_base), stream=stream)
            for picture in self._pictures(container):
                last_s = self._time_s(picture, stream, last_s)
                time_us = round(1e6 * last_s)
                if time_us in wanted:
                    held.append(self._frame(picture, wanted[time_us], last_s))
                if time_us >= to_us:
                    break
        return held

    def _pictures(self, container: av.container.InputContainer) -> Iterator[av.VideoFrame]:
        """All pictures from here to the end; damage is noted in `problems`."""
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        packets, broken = container.demux(stream), 0
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError as error:
                self.problems.append(f"reading stopped early: {error.strerror}")
                break
            try:
                decoded = packet.decode()
            except av.error.FFmpegError:
                broken += 1
                continue
            yield from decoded
        if broken:
            self.problems.append(f"{broken} damaged packets could not be decoded")

    def _time_s(self, picture: av.VideoFrame, stream: av.VideoStream, last_s: float) -> float:
        if picture.pts is not None:
            return float(picture.pts * (picture.time_base or stream.time_base))
        step = 1 / self.frames_per_s if self.frames_per_s > 0 else 1 / 30
        return last_s + step if np.isfinite(last_s) else 0.0

    def _frame(self, picture: av.VideoFrame, index: int, time_s: float) -> Frame:
        if picture.format.name not in ("yuv420p", "yuvj420p"):
            picture = picture.reformat(format="yuv420p")
        planes = [_view(plane) for plane in picture.planes[:3]]
        if self.rotation:
            planes = [np.rot90(plane, self.rotation // 90) for plane in planes]
            planes = [np.ascontiguousarray(plane) for plane in planes]
        return Frame(index, time_s, *planes, corrupt=bool(picture.is_corrupt),
                     turned=self.rotation)


def _duration_s(container: av.container.InputContainer, stream: av.VideoStream) -> float:
    """How long the pictures run, as the container says; without end when it does not."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else float("inf")


def _rotation(picture: av.VideoFrame) -> int:
    """Quarter turns, in degrees against the clock, that put a phone's picture upright."""
    return round(getattr(picture, "rotation", 0) / 90) * 90 % 360


class VideoWriter:
    """H.264 that a browser plays, with the timestamps of the frames it is given."""

    def __init__(
        self, path: Path, width: int, height: int, *, crf: int = 23, kbps: int | None = None
    ):
        self.path = Path(path)
        self._container = av.open(str(path), "w", options={"movflags": "+faststart"})
        self._stream = self._container.add_stream("libx264", rate=Fraction(30))
        self._stream.width, self._stream.height = width - width % 2, height - height % 2
        self._stream.pix_fmt = "yuv420p"
        self._stream.time_base = Fraction(1, 90_000)
        self._stream.codec_context.time_base = Fraction(1, 90_000)
        if kbps is None:
            self._stream.options = {"crf": str(crf), "preset": "veryfast"}
        else:  # a fixed rate, as cameras film
            self._stream.bit_rate = 1000 * kbps
            self._stream.options = {"preset": "veryfast"}
        self._last = -1

    def write(self, picture_bgr: np.ndarray, time_s: float) -> None:
        height, width = self._stream.height, self._stream.width
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(picture_bgr[:height, :width]), format="bgr24"
        )
        self._last = frame.pts = max(round(time_s * 90_000), self._last + 1)
        frame.time_base = Fraction(1, 90_000)
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        self._container.mux(self._stream.encode())
        self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind, *_) -> None:
        self.close()
