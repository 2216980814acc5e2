"""rig.toml: what is known is taken as written, what is wrong is named."""

import json

import pytest

from rulerlab.errors import InputError
from rulerlab.rig import Rig, read_rig, rig_from_dict, rig_of_run

EXAMPLE = """
kind = "ruler"
points = 4
pull = "right"
[marks]
kind = "dots"
colours = "green"
height_mm = 3.4
along_mm = [29.4, 72.9, 72.9]
[reference]
crosses_mm = [[-186, -104], [186, -104], [186, 104], [-186, 104]]
tags_mm = { 40 = [-186, -104], 41 = [186, -104] }
tag_size_mm = 28
[ruler]
sections_mm = [58.4, 116.8, 58.4]
[blocks]
mass_kg = 0.045
"""


def test_every_key_of_the_example_arrives_in_its_place(tmp_path):
    path = tmp_path / "rig.toml"
    path.write_text(EXAMPLE)
    rig = read_rig(path)
    assert (rig.kind, rig.points, rig.pull) == ("ruler", 4, "right")
    assert rig.marks.colours == ("green",)
    assert rig.marks.height_mm == (3.4,)
    assert rig.marks.along_mm == (29.4, 72.9, 72.9)
    assert rig.reference.tags_mm == {40: (-186.0, -104.0), 41: (186.0, -104.0)}
    assert rig.reference.tag_size_mm == 28.0
    assert rig.ruler.sections_mm == (58.4, 116.8, 58.4)
    assert rig.ruler.pull_section is True
    assert rig.blocks.mass_kg == (0.045,)
    assert rig.as_dict()["reference"]["crosses_mm"][2] == (186.0, 104.0)


def test_an_empty_file_knows_nothing(tmp_path):
    (tmp_path / "rig.toml").touch()
    assert read_rig(tmp_path / "rig.toml") == Rig()


def test_the_camera_is_looked_for_beside_the_rig(tmp_path):
    (tmp_path / "lens").mkdir()
    (tmp_path / "lens" / "camera.toml").touch()
    (tmp_path / "rig.toml").write_text('[camera]\ncalibration = "lens/camera.toml"')
    assert read_rig(tmp_path / "rig.toml").camera.calibration == str(
        tmp_path / "lens" / "camera.toml")


SHEET = """
[sheet]
bar_mm = 100.0
[printed]
scale_sigma = 0.001
[reference]
kind = "crosses"
crosses_mm = [[-114.4, -69.8], [114.4, -69.8], [114.4, 69.8], [-114.4, 69.8]]
"""


def test_a_measured_print_gives_the_places_of_its_crosses_and_their_common_error(tmp_path):
    (tmp_path / "crosses.toml").write_text(SHEET)
    (tmp_path / "rig.toml").write_text('[reference]\ntarget = "crosses.toml"')
    reference = read_rig(tmp_path / "rig.toml").reference
    assert reference.crosses_mm[0] == (-114.4, -69.8)
    assert reference.scale_sigma == 0.001
    (tmp_path / "rig.toml").write_text(
        '[reference]\ntarget = "crosses.toml"\nscale_sigma = 0.002\n'
        "crosses_mm = [[0, 0], [9, 0], [9, 9], [0, 9]]")
    reference = read_rig(tmp_path / "rig.toml").reference
    assert reference.crosses_mm[1] == (9.0, 0.0) and reference.scale_sigma == 0.002


def test_a_print_whose_bars_nobody_measured_is_sent_back_to_the_calipers(tmp_path):
    (tmp_path / "crosses.toml").write_text(SHEET.replace("[printed]", "[other]"))
    (tmp_path / "rig.toml").write_text('[reference]\ntarget = "crosses.toml"')
    with pytest.raises(InputError, match="rulerlab print --target .*crosses.toml --measured"):
        read_rig(tmp_path / "rig.toml")
    (tmp_path / "crosses.toml").unlink()
    with pytest.raises(InputError, match="rig.toml: reference.target: .*crosses.toml"):
        read_rig(tmp_path / "rig.toml")


@pytest.mark.parametrize(("data", "words"), [
    ({"pints": 3}, ["'pints'", "'points'"]),
    ({"colour_of_the_hand": 3}, ["known are", "kind"]),
    ({"marks": {"hight_mm": 3}}, ["[marks]", "'height_mm'"]),
    ({"ruler": {"section_mm": 3}}, ["[ruler]", "'sections_mm'"]),
    ({"marks": "dots"}, ["table", "[marks]"]),
    ({"points": 1}, ["points", "at least 2"]),
    ({"points": True}, ["points", "whole number"]),
    ({"points": 3.5}, ["points", "whole number"]),
    ({"pull": "forwards"}, ["pull", "right, left, up, down"]),
    ({"marks": {"on": "sticks"}}, ["marks.on", "points, sections"]),
    ({"ruler": {"sections_mm": [60, -1]}}, ["sections_mm", "above zero"]),
    ({"ruler": {"sections_mm": []}}, ["sections_mm", "must hold a number"]),
    ({"ruler": {"sections_mm": [60, float("nan")]}}, ["sections_mm", "finite"]),
    ({"ruler": {"sections_mm": ["a"]}}, ["sections_mm", "'a'"]),
    ({"ruler": {"pull_section": 1}}, ["pull_section", "true or false"]),
    ({"reference": {"tag_size_mm": 0}}, ["tag_size_mm", "above zero"]),
    ({"reference": {"tag_size_mm": float("inf")}}, ["tag_size_mm"]),
    ({"reference": {"crosses_mm": [[0, 0], [1, 0], [1, 1]]}}, ["3 crosses", "4 or more"]),
    ({"reference": {"crosses_mm": [1, 2, 3, 4]}}, ["crosses_mm"]),
    ({"reference": {"tags_mm": {"a": [0, 0]}}}, ["tags_mm"]),
    ({"reference": {"tags_mm": [1, 2]}}, ["tags_mm"]),
    ({"marks": {"ids": "one"}}, ["ids"]),
    ({"marks": {"ids": 4}}, ["ids"]),
    ({"points": 8, "marks": {"height_mm": [1, 2, 3]}}, ["height_mm", "3 numbers", "needs 8"]),
    ({"points": 8, "marks": {"along_mm": [1, 2, 3]}}, ["along_mm", "needs 7"]),
    ({"points": 8, "ruler": {"sections_mm": [9] * 8}}, ["sections_mm", "needs 7"]),
    ({"points": 8, "blocks": {"mass_kg": [9] * 8}}, ["mass_kg", "needs 7"]),
])
def test_what_is_wrong_is_named(data, words):
    with pytest.raises(InputError) as told:
        rig_from_dict(data)
    for word in words:
        assert word in str(told.value), told.value
    assert "\n" not in str(told.value)


def test_what_can_not_be_read_names_the_file(tmp_path):
    (tmp_path / "rig.toml").write_bytes(b"\xff\xfe\x00k\x00")
    for path in (tmp_path / "rig.toml", tmp_path / "none.toml", tmp_path):
        with pytest.raises(InputError, match=str(path)):
            read_rig(path)


@pytest.mark.parametrize("text", [
    "", "[ruler]\npull_section = false\n", "[reference]\ngrid_mm = 5.0\n",
    "[blocks]\nmass_kg = [0.045]\nstiffness_N_per_m = [22.9]\n",
])
def test_the_rig_that_a_run_remembers_is_the_rig_it_was_tracked_with(tmp_path, text):
    path = tmp_path / "rig.toml"
    path.write_text(text)
    rig = read_rig(path)
    assert rig_of_run(json.loads(json.dumps(rig.as_dict()))) == rig
