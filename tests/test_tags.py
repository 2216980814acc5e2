"""Tags that are not as rig.toml says: of another dictionary, seen in a mirror, under a glare."""

import drawn
import numpy as np
import pytest

from rulerlab.errors import InputError
from rulerlab.rig import Rig, rig_from_dict
from rulerlab.track import track
from rulerlab.track.tags import dictionary_in, find_tags
from rulerlab.video import Recording

PLACES = np.array([[60.0, 80.0], [150.0, 82.0], [240.0, 79.0], [330.0, 81.0]])


def picture(*, dictionary="DICT_4X4_50", size=40, shift=0.0):
    canvas = drawn.paper(400, 160)
    for number, centre in enumerate(PLACES + [shift, 0]):
        drawn.tag(canvas, number, centre, size, dictionary=dictionary)
    return canvas


@pytest.mark.parametrize("dictionary", ["DICT_5X5_100", "DICT_6X6_250", "DICT_APRILTAG_36h11"])
def test_the_dictionary_of_the_tags_is_found_when_it_is_not_the_usual_one(tmp_path, dictionary):
    clip = drawn.write_clip(tmp_path / "clip.mp4",
                            [picture(dictionary=dictionary, shift=t) for t in range(8)],
                            np.arange(8) / 30)
    tracked = track(Recording(clip), Rig())
    assert (tracked.marks, tracked.tracks.position_px.shape) == ("tags", (8, 4, 2))
    found = dictionary_in(drawn.frame(picture(dictionary=dictionary)).luma, "DICT_4X4_50")
    assert any(repr(found) in note for note in tracked.notes)


@pytest.mark.parametrize("rig", [{}, {"marks": {"kind": "tags", "ids": [0, 1, 2, 3]}}])
def test_a_mirrored_picture_of_tags_is_refused_as_such(tmp_path, rig):
    clip = drawn.write_clip(tmp_path / "clip.mp4",
                            [picture(shift=t)[:, ::-1] for t in range(3)], np.arange(3) / 30)
    with pytest.raises(InputError, match="the picture is mirrored"):
        track(Recording(clip), rig_from_dict(rig))


def test_a_tag_that_is_known_to_be_there_is_read_under_a_glare():
    canvas = picture(size=48)
    drawn.disc(canvas, PLACES[1] + [11.0, 10.0], 6.0, (250, 250, 250))
    luma = drawn.frame(canvas).luma
    assert sorted(find_tags(luma, "DICT_4X4_50").ids) == [0, 2, 3]
    tags = find_tags(luma, "DICT_4X4_50", wanted=range(6))
    assert sorted(tags.ids) == [0, 1, 2, 3]
    assert np.abs(tags.centre_px - PLACES[tags.ids]).max() < 0.1


def test_paper_shows_tags_of_no_dictionary():
    assert dictionary_in(drawn.frame(drawn.paper(400, 160)).luma, "DICT_4X4_50") is None


def test_tags_on_small_labels_are_found_on_a_dark_table():
    canvas = drawn.paper(400, 160) * 0.18
    for number, centre in enumerate(PLACES):
        drawn.tag(canvas, number, centre, 60)
    assert sorted(find_tags(drawn.frame(canvas).luma, "DICT_4X4_50").ids) == [0, 1, 2, 3]


def test_tags_in_the_corners_of_a_board_are_no_rail(tmp_path):
    def board(shift):
        canvas = drawn.paper(400, 300)
        for number, (x, y) in enumerate([(50, 50), (350, 52), (352, 250), (48, 251)]):
            drawn.tag(canvas, number, (x + shift, y), 40)
        return canvas

    clip = drawn.write_clip(tmp_path / "clip.mp4", [board(t) for t in range(4)], np.arange(4) / 30)
    with pytest.raises(InputError, match="no rail carries them"):
        track(Recording(clip), Rig())
