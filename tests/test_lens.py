"""A strongly bending lens, filmed from the side: with and without its calibration."""

import json
from dataclasses import replace

import numpy as np
import pytest

from rulerlab.cli import main
from rulerlab.rig import CameraOfRig, read_rig
from rulerlab.segments import to_plane
from rulerlab.synthetic import Scene, film
from rulerlab.track import track
from rulerlab.video import Recording

SCENE = Scene(
    seconds=1.6, fps=20, tilt_deg=(17.0, -9.0), distortion=(-0.24, 0.07, 0.001, -0.001, 0), seed=4)


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
