"""A strongly bending lens, filmed 25 degrees from the side: with and without its calibration."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rulerlab.camera import read_camera, write_camera
from rulerlab.cli import main
from rulerlab.rig import CameraOfRig, Rig, read_rig
from rulerlab.segments import to_plane
from rulerlab.synthetic import Scene, film
from rulerlab.track import track
from rulerlab.track.lens import camera_of, lens_warnings
from rulerlab.track.measure import measure, references
from rulerlab.track.register import register
from rulerlab.video import Recording

SCENE = Scene(
    seconds=1.6, fps=20, tilt_deg=(22.0, -12.0), distortion=(-0.24, 0.07, 0.001, -0.001, 0), seed=4)


@pytest.fixture(scope="module")
def bent(tmp_path_factory):
    path = tmp_path_factory.mktemp("bent") / "bent.mp4"
    film(SCENE, path)
    return path


def test_with_its_calibration_lengths_are_true(bent):
    tracked = track(Recording(bent), read_rig(bent.with_suffix(".rig.toml")))
    truth = np.load(bent.with_suffix(".truth.npz"))
    position, _, _ = to_plane(tracked)
    error = np.diff(position[..., 0], axis=1) - truth["extension_x_mm"]
    assert np.sqrt(np.nanmean(error**2)) < 0.25


def test_without_its_calibration_no_point_is_lost(bent):
    rig = replace(read_rig(bent.with_suffix(".rig.toml")), camera=CameraOfRig())
    tracked = track(Recording(bent), rig)
    truth = np.load(bent.with_suffix(".truth.npz"))
    seen = tracked.tracks.status == "detected"
    assert seen[truth["point_visible"] == 1].mean() > 0.95
    error = tracked.tracks.position_px - truth["point_px"]
    assert np.nanmax(np.abs(error[seen])) < 3


def test_without_its_calibration_the_expected_error_is_named(bent, capsys):
    text = bent.with_suffix(".rig.toml").read_text().split("[camera]")[0]
    rig = bent.with_name("uncalibrated.rig.toml")
    rig.write_text(text)
    with pytest.raises(SystemExit):
        main(["track", str(bent), "--rig", str(rig), "--no-video", "--json", "-q"])
    warnings = " ".join(json.loads(capsys.readouterr().out)["warnings"])
    assert "lens is not calibrated" in warnings
    assert "%" in warnings


def another_camera(bent, name, change):
    """The clip's camera, changed in fx, fy, cx, cy, k1, in a file of its own."""
    path = bent.with_name(f"{name}.toml")
    write_camera(path, read_camera(bent.with_suffix(".camera.toml")).shifted(np.array(change)))
    return path


ZOOMED, REFOCUSED = (150.0, 150, 0, 0, 0), (0.0, 0, 0, 0, 0.05)


@pytest.mark.parametrize(("change", "told"), [
    ((0.0,) * 5, False), (ZOOMED, True), (REFOCUSED, True),
], ids=["same", "zoom", "focus"])
def test_track_warns_of_a_zoom_or_focus_that_is_not_the_calibration_s(bent, change, told):
    camera = another_camera(bent, "changed", change)
    rig = replace(read_rig(bent.with_suffix(".rig.toml")), camera=CameraOfRig(str(camera)))
    warnings = track(Recording(bent), rig).warnings
    assert any("not that of the calibration" in warning for warning in warnings) == told
    assert not any("scaled" in warning for warning in warnings)


def test_track_warns_of_another_resolution(bent):
    camera = bent.with_name("large.toml")
    write_camera(camera, read_camera(bent.with_suffix(".camera.toml")).scaled_to(1920, 1080))
    recording = Recording(bent)
    read, doubts = camera_of(recording, Rig(camera=CameraOfRig(str(camera))))
    assert read.image_size_px == (1280, 720)
    assert "1920x1080, the clip is 1280x720" in doubts[0]


def test_sections_of_the_wrong_length_are_told(bent):
    rig = read_rig(bent.with_suffix(".rig.toml"))
    view = register(*references(measure(Recording(bent), rig), rig), SCENE.camera)
    known = np.array(rig.ruler.sections_mm)
    height = np.full(len(known) + 1, 3.4)
    zigzag = np.cumsum(np.concatenate([[0.0], known * 0.1])) - 120
    across = np.concatenate([[0.0], known * 0.99**0.5 * (-1) ** np.arange(len(known))]).cumsum()
    place = np.column_stack([zigzag, across])
    grey = np.full((720, 1280), 128, np.uint8)
    for factor, told in ((1.0, False), (1.03, True)):
        pixels = view.part(slice(0, 1)).to_px(factor * place[None], height)[0]
        assert bool(lens_warnings(grey, view, rig, pixels, height)) == told


@pytest.mark.parametrize(("change", "code", "word"), [
    ((0.0,) * 5, 0, "lengths of the reference marks are right"),
    (ZOOMED, 4, "by the reference marks the focal length is off"),
], ids=["same", "zoom"])
def test_check_knows_the_crosses_of_the_rig_beside_the_clip(bent, change, code, word, capsys):
    camera = another_camera(bent, "checked", change)
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "check", str(bent), "--camera", str(camera)])
    assert (end.value.code or 0) == code
    assert word in capsys.readouterr().out
