"""A bare ruler in one picture: found without a person, or refused; run folder and fallbacks."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from rulerlab.camera import Camera, write_camera
from rulerlab.cli import main
from rulerlab.errors import InputError
from rulerlab.rig import CameraOfRig, Rig
from rulerlab.track.sticks.find import Doubtful, find_chain
from rulerlab.track.still import Still, read_joints, track_still, without_lens

WIDTH, OVERHANG = 20.0, 11.0
PAPER, WOOD, GREY = (232, 236, 238), (120, 175, 215), (110, 112, 115)
DESK, WHITE, SKIN = (60, 85, 120), (245, 245, 243), (120, 140, 205)


def run(*arguments):
    """Exit code of `rulerlab ...`."""
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    return stop.value.code


def zig_zag(openings, lengths, *, start=(140.0, 420.0)):
    """Joints (N, 2) of sections that stand half of `openings` degrees off the vertical."""
    joints, way = [np.array(start)], -1
    for opening, length in zip(openings, lengths, strict=True):
        angle = np.radians(opening / 2)
        joints.append(joints[-1] + length * np.array([np.sin(angle), way * np.cos(angle)]))
        way = -way
    return np.array(joints)


def draw(joints, *, stick=WOOD, ground=PAPER, size=(1280, 720), seed=0):
    """A photograph of sticks: every second lies on top; shadow, grain, squared paper, noise."""
    rng = np.random.default_rng(seed)
    picture = np.full((size[1], size[0], 3), ground, np.float32)
    picture[:, ::14] -= 18
    picture[::14] -= 18
    for k in sorted(range(len(joints) - 1), key=lambda k: k % 2):
        way = joints[k + 1] - joints[k]
        unit = way / np.linalg.norm(way)
        ends = joints[k] - (OVERHANG - WIDTH / 2) * unit, joints[k + 1] + (
            OVERHANG - WIDTH / 2) * unit
        shadow = cv2.GaussianBlur(capsule(size, [end + (2, 3) for end in ends]), (0, 0), 3)
        picture *= 1 - 0.35 * shadow[..., None]
        mask = cv2.GaussianBlur(capsule(size, ends), (0, 0), 0.7)[..., None]
        tone = np.array(stick) * rng.uniform(0.95, 1.05)
        picture = picture * (1 - mask) + mask * tone
    return np.clip(picture + rng.normal(0, 2.5, picture.shape), 0, 255).astype(np.uint8)


def capsule(size, ends):
    """A straight strip with round ends, 0..1."""
    mask = np.zeros(size[::-1], np.uint8)
    first, last = (tuple(np.round(np.array(end) * 16).astype(int).tolist()) for end in ends)
    cv2.line(mask, first, last, 255, round(WIDTH), cv2.LINE_AA, 4)
    return mask.astype(np.float32) / 255


def open_ruler():
    return zig_zag([60, 55, 70, 50, 65, 130], [110, 220, 220, 220, 220, 160])


def half_folded_ruler():
    return zig_zag([16, 14, 16, 15, 14, 70, 80, 150], [110] + [220] * 6 + [230])


@pytest.mark.parametrize(("stick", "ground"), [(WOOD, PAPER), (GREY, PAPER), (WHITE, DESK)])
def test_an_open_ruler_of_any_colour_is_found_to_a_few_pixels(stick, ground):
    truth = open_ruler()
    found = find_chain(draw(truth, stick=stick, ground=ground))
    assert found.joints_px.shape == truth.shape
    assert np.abs(found.joints_px[1:-1] - truth[1:-1]).max() < 3
    assert np.abs(found.joints_px - truth).max() < 8


def test_a_half_folded_ruler_is_counted_and_its_errors_are_what_sigma_says():
    truth = half_folded_ruler()
    found = find_chain(draw(truth))
    assert found.joints_px.shape == truth.shape
    off = np.abs(found.joints_px - truth)
    assert off.max() < 10
    assert (off / found.sigma_px).max() < 5


def test_the_pull_says_which_end_is_held():
    picture, truth = draw(open_ruler()), open_ruler()
    right = find_chain(picture, pull=(1, 0)).joints_px
    left = find_chain(picture, pull=(-1, 0)).joints_px
    assert np.abs(right[0] - truth[0]).max() < 8
    assert np.allclose(left[::-1], right, atol=1.0)


def test_the_half_section_is_at_the_held_end_when_nothing_else_is_known():
    truth = open_ruler()[:-1]
    mirrored = [1279, 0] + truth * [-1, 1]
    found = find_chain(draw(mirrored))
    assert found.joints_px[0, 0] > found.joints_px[-1, 0]
    assert any("half section" in note for note in found.notes)


def test_a_picture_upside_down_shows_the_same_chain():
    picture = draw(half_folded_ruler())
    upright, turned = find_chain(picture), find_chain(np.ascontiguousarray(picture[::-1]))
    assert np.abs([0, 719] + turned.joints_px * [1, -1] - upright.joints_px).max() < 1.5


def test_a_white_ruler_on_paper_is_found_where_the_light_falls_off():
    truth = open_ruler()
    light = 1 - 0.35 * np.mgrid[:720, :1280][1] / 1280
    picture = draw(truth, stick=WHITE, ground=(205, 208, 210)) * light[..., None]
    found = find_chain(picture.astype(np.uint8))
    assert found.joints_px.shape == truth.shape
    assert np.abs(found.joints_px[1:-1] - truth[1:-1]).max() < 4


def test_a_ruler_that_leaves_the_picture_at_both_ends_is_doubted():
    truth = zig_zag([60, 55, 70, 50, 65, 60], [220] * 6, start=(-30.0, 420.0))
    right = int(truth[-1, 0]) - 30
    with pytest.raises(Doubtful, match="both of its ends"):
        find_chain(np.ascontiguousarray(draw(truth)[:, :right]))


def test_a_section_that_the_rim_cuts_short_is_counted():
    truth = zig_zag([60, 55, 70, 50, 65, 130], [110, 220, 220, 220, 220, 220])
    picture = draw(truth)[:, : int(truth[-2, 0]) + 70]
    found = find_chain(np.ascontiguousarray(picture))
    assert found.joints_px.shape == truth.shape
    assert np.abs(found.joints_px[1:-1] - truth[1:-1]).max() < 3
    off = np.abs(found.joints_px[-1] - truth[-1])
    assert (off < 3 * found.sigma_px[-1] + 4).all()


def hand():
    picture = draw(np.zeros((1, 2)))
    for y in (300, 360, 420):
        cv2.line(picture, (700, y), (1100, 360), SKIN, 44, cv2.LINE_AA)
    cv2.circle(picture, (1120, 370), 130, SKIN, -1, cv2.LINE_AA)
    return picture


def desk():
    grain = np.random.default_rng(1).normal(0, 1, (720, 40)).astype(np.float32)
    grain = cv2.GaussianBlur(cv2.resize(grain, (1280, 720)), (0, 0), 3)[..., None]
    return np.clip(np.array(DESK) + 60 * grain, 0, 255).astype(np.uint8)


def fence():
    picture = np.full((480, 640, 3), 230, np.uint8)
    for k in range(8):
        cv2.rectangle(picture, (60 + 60 * k, 50), (85 + 60 * k, 420), WOOD, -1)
    return picture


@pytest.mark.parametrize("picture", [draw(np.zeros((1, 2))), hand(), desk(), fence()],
                         ids=["paper", "hand", "desk", "fence"])
def test_a_picture_without_a_ruler_is_refused_and_the_fallbacks_are_named(picture):
    with pytest.raises(InputError, match="--joints FILE"):
        find_chain(picture)


def test_another_number_of_joints_than_the_rig_has_is_refused():
    with pytest.raises(InputError, match="points = 9"):
        find_chain(draw(open_ruler()), points=9)


def test_a_picture_becomes_a_run_folder_with_its_load_curve(tmp_path, capsys):
    truth = open_ruler()
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), draw(truth))
    assert run("track", photo, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    folder = tmp_path / "photo.rulerlab"
    for name in ("tracks.csv", "segments.csv", "load_curve.csv", "annotated.png", "report.html"):
        assert (folder / name).is_file()
    assert said["points"] == len(truth)
    reach = np.diff(truth[:, 0])[:-1]
    assert np.allclose(said["load_curve"]["loads"], reach, atol=6)
    assert any("folded flat" in warning for warning in said["warnings"])


def test_joints_given_by_hand_replace_the_search(tmp_path, capsys):
    photo, joints = tmp_path / "photo.png", tmp_path / "joints.csv"
    cv2.imwrite(str(photo), desk())
    joints.write_text("x_px,y_px\n100,200\n150,300\n210,190\n400,195\n")
    assert run("track", photo, "--joints", joints, "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["points"] == 4
    assert np.allclose(said["load_curve"]["loads"], [50, 60])


def test_a_bad_joints_file_is_told_by_its_row(tmp_path):
    path = tmp_path / "joints.csv"
    path.write_text("x,y\n1,2\n3;4\n5,6\n")
    with pytest.raises(InputError, match="row 3"):
        read_joints(path)


def test_without_a_screen_picking_writes_a_grid_to_read_from(tmp_path, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), desk())
    assert run("track", photo, "--pick") == 3
    assert "--joints" in capsys.readouterr().err
    assert cv2.imread(str(tmp_path / "photo.pick.png")) is not None


def test_a_text_file_named_png_is_no_picture(tmp_path, capsys):
    photo = tmp_path / "photo.png"
    photo.write_text("not a picture")
    assert run("track", photo) == 3
    assert "not a picture" in capsys.readouterr().err


def test_a_half_section_behind_another_is_found_by_the_sliver_that_shows():
    truth = zig_zag([5, 5, 60, 70, 130], [110, 220, 220, 220, 220])
    found = find_chain(draw(truth))
    assert found.joints_px.shape == truth.shape
    off, sigma = np.abs(found.joints_px - truth), found.sigma_px
    assert (off[0] < 3 * sigma[0]).all()
    assert off[2:].max() < 4


def test_a_chain_beside_which_more_of_its_sticks_lie_is_doubted():
    picture = draw(open_ruler())
    strips = draw(np.array([[1000.0, 150.0], [1000.0, 370.0]]))
    for x in (0, 80, 160):
        picture[100:420, 940 + x : 1020 + x] = strips[100:420, 960:1040]
    with pytest.raises(Doubtful, match="more"):
        find_chain(picture)


def test_a_folder_of_pictures_becomes_a_run_folder_each_and_a_table(tmp_path, capsys):
    for name, picture in (("a.png", draw(open_ruler())), ("b.jpg", desk())):
        cv2.imwrite(str(tmp_path / name), picture)
    assert run("track", tmp_path, "--json", "-q") == 6
    first, second = json.loads(capsys.readouterr().out)["runs"]
    assert first["ok"] and first["points"] == len(open_ruler())
    assert not second["ok"] and "no folding ruler" in second["message"]
    assert (tmp_path / "a.rulerlab" / "tracks.csv").is_file()
    assert not (tmp_path / "b.rulerlab").exists()


def test_a_bent_lens_is_taken_out_before_the_sticks_are_looked_for(tmp_path):
    lens = Camera((1280, 720), np.array([[1100.0, 0, 640], [0, 1100, 360], [0, 0, 1]]),
                  np.array([-0.25, 0.06, 0.0, 0.0, 0.0]))
    truth, picture = open_ruler(), draw(open_ruler())
    focal, centre = 1100.0, [640.0, 360.0]
    pixels = np.stack(np.meshgrid(np.arange(1280.0), np.arange(720.0)), -1)
    source = (lens.undistort(pixels) * focal + centre).astype(np.float32)
    bent = cv2.remap(picture, source[..., 0], source[..., 1], cv2.INTER_CUBIC)
    rays = np.c_[(truth - centre) / focal, np.ones(len(truth))]
    seen = lens.project(rays, np.zeros(3), np.zeros(3))
    write_camera(tmp_path / "camera.toml", lens)
    rig = Rig(camera=CameraOfRig(str(tmp_path / "camera.toml")))
    straight, joints = without_lens(Still(Path("bent.png"), bent), rig, seen)
    assert np.allclose(joints, truth, atol=0.01)
    assert np.abs(seen - truth).max() > 5
    found = find_chain(straight.bgr).joints_px
    assert np.abs(found[1:-1] - truth[1:-1]).max() < 3


def test_blocks_are_no_rig_that_a_picture_is_read_of():
    with pytest.raises(InputError, match="film the rig"):
        track_still(Still(Path("blocks.png"), desk()), Rig(kind="blocks"))
