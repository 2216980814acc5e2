"""The synthetic rig tells the truth: rigid sections, exact pixels, exact times."""

import hashlib
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.camera import read_camera
from rulerlab.cli import main
from rulerlab.errors import UsageError
from rulerlab.rig import read_rig
from rulerlab.synthetic import Scene, film, frame_times_s, pictures, truth
from rulerlab.synthetic.motion import Motion
from rulerlab.synthetic.render import Studio
from rulerlab.video import Recording

DATA = Path(__file__).parent.parent / "data"
BENT = (-0.2, 0.05, 0.001, -0.001, 0.0)
SMALL = {"size_px": (640, 360), "seconds": 0.5, "hand": "none"}
CLEAN = {"noise": 0.0, "unevenness": 0.0, "shadows": False, "hand": "none"}


def centroids(picture, expected_px, reach):
    """Centre of the redness around each expected place, the paper's level taken off."""
    red = picture[..., 2].astype(float) - picture[..., 1]
    found = []
    for x, y in expected_px:
        column, row = round(x), round(y)
        patch = red[row - reach : row + reach + 1, column - reach : column + reach + 1]
        weight = np.clip(patch - 40, 0, None)
        across = np.arange(column - reach, column + reach + 1)
        down = np.arange(row - reach, row + reach + 1)
        found.append([(weight * across).sum(), (weight * down[:, None]).sum()] / weight.sum())
    return np.array(found)


@pytest.mark.parametrize("distortion", [(0.0,) * 5, BENT], ids=["straight", "bent"])
def test_dots_lie_where_the_truth_says_to_a_hundredth_of_a_pixel(distortion):
    errors = []
    for tilt in ((5.0, 6.0), (-3.0, 1.0)):
        scene = Scene(rig="blocks", distortion=distortion, tilt_deg=tilt, seconds=1.0, **CLEAN)
        studio = Studio(scene)
        points, pose = studio.motion.points_mm(0.5), studio.motion.pose(0.5)
        true_px = studio.project(points[1:], pose)
        seen = centroids(studio.develop(studio.exposure(0.5), 0), true_px, 14)
        rim = points[1:, None] + 4.6 * np.array(  # a tilted disc's centroid is not its centre
            [[np.cos(a), np.sin(a), 0] for a in np.linspace(0, 2 * np.pi, 90, endpoint=False)]
        )
        outline = studio.project(rim, pose)
        ahead = np.roll(outline, -1, axis=1)
        cross = outline[..., 0] * ahead[..., 1] - ahead[..., 0] * outline[..., 1]
        area = cross.sum(axis=1)[:, None]
        centre = ((outline + ahead) * cross[..., None]).sum(axis=1) / (3 * area)
        errors.append(seen - centre)
    errors = np.concatenate(errors)
    assert np.abs(errors.mean(axis=0)).max() < 0.01
    assert np.sqrt((errors**2).mean()) < 0.03


def test_crosses_are_printed_where_the_truth_says():
    scene = Scene(rig="blocks", marks="tags", **CLEAN)
    studio = Studio(scene)
    reference = np.column_stack([scene.reference_mm, np.zeros(4)])
    ink = 222.0 - studio.exposure(0.0).mean(axis=-1)  # white around the cross is 222
    steps = np.arange(-18, 19)
    for x, y in studio.project(reference, studio.motion.pose(0.0)):
        column, row = round(x), round(y)
        patch = ink[row - 18 : row + 19, column - 18 : column + 19]
        found = np.array([(patch * steps).sum(), (patch * steps[:, None]).sum()]) / patch.sum()
        assert_allclose(found + [column, row], [x, y], atol=0.04)


@pytest.mark.parametrize("opening, jerks", [("pulled_end", 0), ("even", 6)])
def test_sections_stay_rigid_while_the_ruler_opens(opening, jerks):
    scene = Scene(opening=opening, jerks=jerks)
    motion = Motion(scene)
    for t in np.linspace(0, scene.seconds, 25):
        lengths = np.linalg.norm(np.diff(motion.points_mm(t)[:, :2], axis=0), axis=1)
        assert_allclose(lengths, scene.sections_mm, rtol=1e-9)


def test_a_slow_pull_opens_the_pulled_end_and_an_even_one_all_sections():
    for opening, share_at_held_end in (("pulled_end", 0.0), ("even", 0.5)):
        motion = Motion(Scene(opening=opening))
        gained = motion.openings_mm(4.0) - motion.openings_mm(0.0)
        held = gained[: len(gained) // 2].sum() / gained.sum()
        assert held == pytest.approx(share_at_held_end, abs=0.05)
        assert gained.sum() == pytest.approx(150.0, rel=1e-6)


def test_rattling_blocks_keep_their_order():
    motion = Motion(Scene(rig="blocks", rattle_mm=12.0))
    gaps = [np.diff(motion.points_mm(t)[:, 0]).min() for t in np.linspace(0, 4, 200)]
    assert min(gaps) > 26.0


@pytest.mark.parametrize("rig, marks", [("ruler", "dots"), ("ruler", "tags"), ("ruler", "none"),
                                        ("blocks", "dots"), ("blocks", "tags")])  # fmt: skip
def test_a_film_holds_the_times_and_points_of_its_truth(tmp_path, rig, marks):
    scene = Scene(rig=rig, marks=marks, references="tags", variable_rate=True, **SMALL)
    made = film(scene, tmp_path / "clip.mp4")
    known = np.load(made.truth)
    times = [frame.time_s for frame in Recording(made.video).frames()]
    assert_allclose(times, known["t_s"], atol=1e-6)
    described = read_rig(made.rig)
    assert (described.kind, described.marks.kind) == (rig, marks)
    assert described.points == known["point_px"].shape[1] == scene.points
    camera = read_camera(made.camera)
    assert camera.image_size_px == scene.size_px
    motion = Motion(scene)
    again = camera.project(known["point_world_mm"][3], *motion.pose(known["t_s"][3]))
    assert_allclose(again, known["point_px"][3], atol=1e-9)
    assert_allclose(known["extension_x_mm"], np.diff(known["point_world_mm"][..., 0], axis=1))


def test_the_same_seed_gives_the_same_pictures_and_another_seed_other_ones():
    scene = Scene(**{**SMALL, "seconds": 0.1})
    first, again = ([p for _, p in pictures(scene)] for _ in range(2))
    other = [p for _, p in pictures(replace(scene, seed=1))]
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert all((a != b).any() for a, b in zip(first, other, strict=True))


def test_dropped_frames_leave_a_gap_and_duplicates_repeat_the_picture():
    scene = Scene(dropped=(3,), duplicated=(5,), ghosted=(7,), **SMALL)
    number, time = frame_times_s(scene)
    assert 3 not in number and np.diff(time).max() == pytest.approx(2 / 30, abs=1e-4)
    shown = dict(zip(number, (picture for _, picture in pictures(scene)), strict=True))
    assert (shown[5] == shown[4]).all() and (shown[6] != shown[5]).any()
    assert truth(scene)["frame_fault"][number == 7] == 2


def test_a_hand_that_covers_the_pulled_end_hides_it_and_nothing_else():
    visible = truth(Scene(hand="covers", size_px=(640, 360)))["point_visible"]
    assert 0.15 < (visible[:, -1] == 0).mean() < 0.6
    assert (visible[:, :-2] == 1).all()
    assert (truth(Scene(size_px=(640, 360)))["point_visible"] == 1).all()


def test_a_hand_that_passes_over_hides_the_chain_for_a_while():
    visible = truth(Scene(passes=1, size_px=(640, 360)))["point_visible"]
    assert (visible[0] == 1).all() and (visible[-1] == 1).all()
    assert (visible[:, :8] == 0).any()


def test_a_longer_exposure_smears_what_moves():
    moving = {"rig": "blocks", "shaking_mm": 9.0, "size_px": (640, 360), "psf_px": 0.5, **CLEAN}
    sharpness = []
    for exposure in (0.001, 0.03):
        studio = Studio(Scene(exposure_s=exposure, **moving))
        picture = studio.exposure(1.0)[..., 1].astype(float)
        sharpness.append(np.abs(np.diff(picture, axis=1)).max())
    assert sharpness[1] < 0.8 * sharpness[0]


@pytest.mark.parametrize("wrong", [{"rig": "boat"}, {"full_sections": 3}, {"colours": ("pale",)},
                                   {"rig": "blocks", "marks": "none"}, {"dropped": (0,)},
                                   {"seconds": 0.01}, {"size_px": (641, 360)}])  # fmt: skip
def test_an_impossible_scene_is_refused_in_one_line(wrong):
    with pytest.raises(UsageError) as caught:
        Scene(**wrong)
    assert "\n" not in str(caught.value)


def test_demo_writes_a_clip_with_its_truth_and_does_not_overwrite_it(tmp_path, capsys):
    arguments = ["demo", "-o", str(tmp_path), "--rig", "blocks", "--seconds", "0.2"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--json"])
    assert not stop.value.code
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema_version"] == 1
    assert all(Path(answer["clips"][0][key]).stat().st_size for key in ("video", "rig", "truth"))
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "--force" in capsys.readouterr().err


def test_the_sample_recordings_are_those_that_their_list_names():
    package = json.loads((DATA / "datapackage.json").read_text())
    assert len({resource["name"] for resource in package["resources"]}) == 10
    for resource in package["resources"]:
        content = (DATA / resource["path"]).read_bytes()
        assert resource["bytes"] == len(content) < 3_000_000
        assert resource["hash"] == "sha256:" + hashlib.sha256(content).hexdigest()
    for name in ("ruler_dots", "blocks_tags"):
        rig = tomllib.loads((DATA / f"{name}.rig.toml").read_text())
        assert np.load(DATA / f"{name}.truth.npz")["point_px"].shape[1] == rig["points"]


def test_demo_films_bare_sticks_of_the_wood_asked_for(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["demo", "-o", str(tmp_path), "--marks", "none", "--wood", "yellow",
              "--seconds", "0.2", "--json"])
    assert not stop.value.code
    (clip,) = json.loads(capsys.readouterr().out)["clips"]
    assert 'kind = "none"' in Path(clip["rig"]).read_text()
    frame = next(Recording(Path(clip["video"])).frames())
    joints = np.load(clip["truth"])["point_px"][0]
    middle = np.rint((joints[1:-2] + joints[2:-1]) / 4).astype(int)
    on_sticks = np.median(frame.chroma_u[middle[:, 1], middle[:, 0]])
    assert on_sticks < np.median(frame.chroma_u) - 30  # yellow: little blue
