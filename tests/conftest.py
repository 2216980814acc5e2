"""Clips with known truth that several tests look at; each is drawn once per test run."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import drawn
import numpy as np
import pytest

from rulerlab.cli import main

SECTIONS = (60.0, 120.0, 120.0, 120.0, 120.0, 60.0, 110.0)


def ruler_pixels(joints, *, scale=1.0, origin=(40.0, 200.0)):
    """Pixels of joints in mm: y runs up in the rig and down in the picture."""
    return np.asarray(origin) + scale * joints * [1, -1]


def draw_ruler(points_px, *, colours=(drawn.GREEN,), radius=6.3, canvas=None, crosses=()):
    canvas = drawn.paper() if canvas is None else canvas
    for centre in crosses:
        drawn.cross(canvas, np.asarray(centre, float), 22)
    for a, b in zip(points_px, points_px[1:], strict=False):
        drawn.bar(canvas, a, b, 9, drawn.WOOD)
    for k, centre in enumerate(points_px):
        drawn.disc(canvas, centre, radius, colours[k % len(colours)])
    return canvas


@pytest.fixture(scope="session")
def clips(tmp_path_factory):
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="session")
def ruler_clip(clips):
    """40 frames of a ruler of seven sections, pulled open to the right: path, points, times."""
    joints = drawn.pulled_ruler(40, SECTIONS)
    points, time_s = ruler_pixels(joints), np.arange(40) / 30
    path = drawn.write_clip(clips / "ruler.mp4", map(draw_ruler, points), time_s)
    return SimpleNamespace(path=path, point_px=points, joint_mm=joints, time_s=time_s)


@pytest.fixture(scope="session")
def tracked(tmp_path_factory):
    """The sample recording of blocks beside its run folder."""
    folder = tmp_path_factory.mktemp("tracked")
    for path in (Path(__file__).parent.parent / "data").glob("blocks_tags.*"):
        shutil.copy(path, folder)
    with pytest.raises(SystemExit) as stop:
        main(["track", str(folder / "blocks_tags.mp4"), "--no-video", "-q"])
    assert not stop.value.code
    return folder


@pytest.fixture
def run(tracked, tmp_path):
    """A copy of that run folder beside its recording, to be changed."""
    shutil.copytree(tracked, tmp_path / "bench")
    return tmp_path / "bench" / "blocks_tags.rulerlab"
