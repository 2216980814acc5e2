"""Recordings: the container's own times, upright pictures, and what damage cost."""

import av
import drawn
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab import video
from rulerlab.errors import InputError
from rulerlab.video import Recording, VideoWriter

STEADY = np.arange(12) / 30


def moving_disc(frames=12, *, width=160, height=90):
    for t in range(frames):
        canvas = drawn.paper(width, height)
        drawn.disc(canvas, (30 + 5 * t, 40), 8, drawn.RED)
        yield canvas


def dark_centre(frame, *, below=160):
    """Middle of what is dark in a frame, (x, y)."""
    rows, columns = np.nonzero(frame.luma < below)
    return columns.mean(), rows.mean()


def test_times_are_the_containers_own(tmp_path):
    rng = np.random.default_rng(0)
    time_s = np.cumsum(rng.uniform(0.005, 0.09, 12))
    time_s -= time_s[0]
    path = drawn.write_clip(tmp_path / "a.mp4", moving_disc(), time_s)
    recording = Recording(path)
    seen = [frame.time_s for frame in recording.frames()]
    assert_allclose(seen, time_s, atol=1e-5)
    assert recording.problems == []
    assert recording.frames_read == 12


def test_reading_twice_gives_the_same_pictures(tmp_path):
    recording = Recording(drawn.write_clip(tmp_path / "a.mp4", moving_disc(), STEADY))
    first = [frame.luma.copy() for frame in recording.frames()]
    for once, again in zip(first, recording.frames(), strict=True):
        assert (once == again.luma).all()


@pytest.mark.parametrize("searchable", [True, False])
def test_read_from_its_end_a_clip_gives_the_same_frames(tmp_path, monkeypatch, searchable):
    path = drawn.write_clip(tmp_path / "a.mp4", moving_disc(), STEADY, gop=3)
    recording = Recording(path)
    forwards = [(f.index, f.time_s, dark_centre(f)) for f in recording.frames()]
    monkeypatch.setattr(video, "HELD_BYTES", 5 * 160 * 90 * 3 // 2)  # five frames at a time
    if not searchable:
        seek = av.container.InputContainer.seek
        monkeypatch.setattr(av.container.InputContainer, "seek",
                            lambda container, _, **how: seek(container, 10**9, **how))
    time_s = np.array([t for _, t, _ in forwards])
    back = [(f.index, f.time_s, dark_centre(f)) for f in recording.backwards(time_s)]
    assert back == forwards[::-1]
    assert recording.problems == []


def test_the_centre_of_the_top_left_pixel_is_the_origin(tmp_path):
    path = drawn.write_clip(tmp_path / "a.mp4", moving_disc(), STEADY, noise=0)
    for frame in Recording(path).frames():
        assert_allclose(dark_centre(frame), (30 + 5 * frame.index, 40), atol=0.3)
        assert frame.luma.shape == (90, 160)
        assert frame.chroma_u.shape == frame.chroma_v.shape == (45, 80)


@pytest.mark.parametrize(("quarter", "place"), [
    (1, lambda x, y: (90 - 1 - y, x)),  # turned clockwise to be upright
    (2, lambda x, y: (160 - 1 - x, 90 - 1 - y)),
    (3, lambda x, y: (y, 160 - 1 - x)),
])
def test_a_phone_held_upright_gives_upright_pictures(tmp_path, quarter, place):
    path = drawn.write_clip(tmp_path / "a.mp4", moving_disc(), STEADY, noise=0)
    recording = Recording(drawn.turned_upright_by(path, quarter))
    size = (160, 90) if quarter == 2 else (90, 160)
    assert (recording.width, recording.height) == size
    for frame in recording.frames():
        assert frame.luma.shape == size[::-1]
        assert_allclose(dark_centre(frame), place(30 + 5 * frame.index, 40), atol=0.3)


@pytest.mark.parametrize(("codec", "pixels", "suffix"), [
    ("libx264", "yuv422p", ".mp4"), ("libx264", "yuv444p", ".mp4"), ("libx264", "gray", ".mp4"),
    ("libx264", "yuv420p10le", ".mp4"), ("mjpeg", "yuvj420p", ".avi"), ("ffv1", "yuv420p", ".mkv"),
    ("mpeg4", "yuv420p", ".mov"),
])
def test_other_pixels_and_codecs_are_read_as_the_same_planes(tmp_path, codec, pixels, suffix):
    path = drawn.write_clip(tmp_path / f"a{suffix}", moving_disc(), STEADY, noise=0, codec=codec,
                            pixels=pixels)
    frames = list(Recording(path).frames())
    assert len(frames) == 12
    for frame in frames:
        assert frame.luma.dtype == frame.chroma_u.dtype == np.uint8
        assert frame.chroma_u.shape == (45, 80)
        assert_allclose(dark_centre(frame), (30 + 5 * frame.index, 40), atol=0.4)
    assert_allclose([frame.time_s for frame in frames], STEADY, atol=2e-3)


@pytest.mark.parametrize("size", [(161, 91), (160, 91), (161, 90)])
def test_odd_sizes_are_read(tmp_path, size):
    path = drawn.write_clip(tmp_path / "a.mkv", moving_disc(width=size[0], height=size[1]),
                            STEADY, noise=0, codec="ffv1")
    for frame in Recording(path).frames():
        assert frame.luma.shape == size[::-1]
        assert frame.bgr().shape == (*size[::-1], 3)
        assert_allclose(dark_centre(frame), (30 + 5 * frame.index, 40), atol=0.3)


def test_a_picture_comes_back_in_its_colours(tmp_path):
    path = drawn.write_clip(tmp_path / "a.mp4", moving_disc(), STEADY, noise=0, crf=8)
    frame = next(Recording(path).frames())
    red, paper = frame.bgr()[40, 30, ::-1].astype(int), frame.bgr()[10, 140, ::-1].astype(int)
    assert np.abs(red - drawn.RED).max() < 25
    assert np.abs(paper - drawn.paper(160, 90)[10, 140]).max() < 12


def test_a_clip_that_lost_its_end_says_how_much(tmp_path):
    path = drawn.write_clip(tmp_path / "a.mp4", moving_disc(40), np.arange(40) / 30,
                            flags="+faststart", gop=5)
    path.write_bytes(path.read_bytes()[: int(0.6 * path.stat().st_size)])
    recording = Recording(path)
    read = len(list(recording.frames()))
    assert 5 < read < 40
    assert any(f"of {recording.frames_declared} frames are missing" in p
               for p in recording.problems)


def test_times_that_do_not_rise_are_left_out_and_counted(tmp_path):
    path = tmp_path / "a.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 160, 90, "yuvj420p"
        for canvas in moving_disc():
            picture = av.VideoFrame.from_ndarray(canvas.astype(np.uint8), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    recording = Recording(path)
    times = iter([0.0, 0.1, 0.1, 0.05, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    recording._time_s = lambda *_: next(times)
    seen = [frame.time_s for frame in recording.frames()]
    assert (np.diff(seen) > 0).all() and len(seen) == 10
    assert recording.problems == ["2 frames left out: their time does not rise"]


@pytest.mark.parametrize(("content", "words"), [
    (None, "no such file"), (b"", "0 bytes"), (b"a text\n" * 100, "not a video"),
    (bytes(5000), "not a video"),
])
def test_what_is_no_video_is_told_in_one_line(tmp_path, content, words):
    path = tmp_path / "a.mp4"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=words) as told:
        Recording(path)
    assert str(path) in str(told.value) and "\n" not in str(told.value)
    with pytest.raises(InputError, match="is a folder"):
        Recording(tmp_path)


def test_what_is_written_comes_back_with_its_times(tmp_path):
    time_s = np.array([0.0, 0.02, 0.1, 0.5, 0.51])
    with VideoWriter(tmp_path / "out.mp4", 161, 91) as writer:
        for canvas, at in zip(moving_disc(5, width=161, height=91), time_s, strict=True):
            writer.write(canvas[..., ::-1].astype(np.uint8), at)
    recording = Recording(tmp_path / "out.mp4")
    frames = list(recording.frames())
    assert_allclose([frame.time_s for frame in frames], time_s, atol=1e-4)
    assert (recording.codec, recording.width, recording.height) == ("h264", 160, 90)
    assert_allclose(dark_centre(frames[4]), (50, 40), atol=0.4)
