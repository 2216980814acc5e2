"""What is drawn onto the video: points where they are, in the colours of their status."""

import numpy as np
import pytest

from rulerlab.errors import InputError
from rulerlab.palette import STATUS_RGB
from rulerlab.records import DETECTED, LOST, PREDICTED, Tracks
from rulerlab.track.annotate import draw_track, first_shown, write_annotated
from rulerlab.video import Recording, VideoWriter


def drawn(status, position, variance=0.04, *, height=720, note=""):
    picture = np.full((height, height * 16 // 9, 3), 200, np.uint8)
    position = np.array(position, float)
    covariance = np.tile(np.eye(2) * variance, (len(position), 1, 1))
    draw_track(picture, position, covariance, np.array(status), 1.5, note=note)
    return picture


@pytest.mark.parametrize("status", [DETECTED, PREDICTED])
def test_a_point_has_the_colour_of_its_status(status):
    picture = drawn([status, status], [[300, 400], [700.0, 500.0]])
    assert tuple(picture[400, 300]) == STATUS_RGB[status][::-1]
    assert tuple(picture[500, 700]) == STATUS_RGB[status][::-1]


def test_a_section_is_drawn_between_two_points_that_are_seen():
    picture = drawn([DETECTED, DETECTED], [[300, 400], [700, 400]])
    assert picture[400, 500].max() < 100


def test_a_lost_point_draws_nothing_below_the_legend():
    picture = drawn([LOST, LOST], [[np.nan, np.nan]] * 2)
    assert (picture[40:] == 200).all() and not (picture[:30] == 200).all()


def test_a_point_outside_the_picture_does_no_harm():
    picture = drawn([DETECTED, DETECTED], [[-5000.0, 1e6], [300, 400]])
    assert tuple(picture[400, 300]) == STATUS_RGB[DETECTED][::-1]


@pytest.mark.parametrize("variance", [0.0, 1e-4, 4.0, 1e9, np.nan])
def test_any_size_of_error_can_be_drawn(variance):
    picture = drawn([DETECTED, DETECTED], [[300, 400], [700, 400]], variance)
    assert tuple(picture[400, 300]) == STATUS_RGB[DETECTED][::-1]


@pytest.mark.parametrize("height", [144, 2160])
def test_small_and_large_pictures_are_drawn_in_proportion(height):
    picture = drawn([DETECTED, DETECTED], [[20, 90], [60, 90]], height=height, note="frame 7")
    assert tuple(picture[90, 20]) == STATUS_RGB[DETECTED][::-1]


@pytest.fixture
def clip(tmp_path):
    """Twelve grey frames at uneven times, and tracks of two points of which one is lost at last."""
    time_s = np.cumsum([0.0, *([0.03, 0.05] * 5), 0.04])
    with VideoWriter(tmp_path / "clip.mp4", 320, 180) as film:
        for t in time_s:
            film.write(np.full((180, 320, 3), 200, np.uint8), t)
    position = np.tile([[60.0, 90.0], [200.0, 90.0]], (12, 1, 1))
    covariance = np.tile(0.04 * np.eye(2), (12, 2, 1, 1))
    status = np.full((12, 2), DETECTED, dtype="<U9")
    status[-2:, 1] = status[0, 0] = LOST
    position[status == LOST], covariance[status == LOST] = np.nan, np.nan
    return Recording(tmp_path / "clip.mp4"), Tracks(time_s, position, covariance, status)


def test_the_annotated_video_keeps_frames_and_times_and_shows_the_chain(clip, tmp_path):
    recording, tracks = clip
    seen = []
    shown = write_annotated(tmp_path / "annotated.mp4", recording, tracks,
                            progress=lambda done, time_s: seen.append(done))
    again = Recording(tmp_path / "annotated.mp4")
    frames = list(again.frames())
    np.testing.assert_allclose([frame.time_s for frame in frames], tracks.time_s, atol=1e-4)
    assert again.codec == "h264" and seen == list(range(1, 13))
    assert frames[5].luma[90, 130] < 120 < frames[-1].luma[90, 130]  # the section, then lost
    assert shown.row == 9
    assert shown.plain_bgr[90, 130].min() > 180 and shown.drawn_bgr[90, 130].max() < 120


def test_one_frame_stands_for_the_clip_without_a_video(clip):
    recording, tracks = clip
    shown = first_shown(recording, tracks)
    assert shown.row == 1 and shown.drawn_bgr[90, 130].max() < 120


def test_a_recording_that_vanished_is_one_line(clip):
    recording, tracks = clip
    recording.path.unlink()
    with pytest.raises(InputError, match="no such file"):
        first_shown(recording, tracks)
