"""Figures: the same bytes each time, small for any length of clip, honest about digits."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest

from rulerlab import plots
from rulerlab.records import DETECTED, LOST, LoadCurve, Motion, Tracks


def a_run(frames=40, points=6):
    time_s = np.arange(frames) / 30
    rng = np.random.default_rng(1)
    walk = np.cumsum(rng.normal(scale=0.3, size=(frames, points, 2)), axis=0)
    joint = walk + 20 * np.arange(points)[:, None]
    status = np.full((frames, points), DETECTED, dtype="<U9")
    status[frames // 2, 2] = LOST
    covariance = np.tile(0.02 * np.eye(2), (frames, points, 1, 1))
    joint[status == LOST], covariance[status == LOST] = np.nan, np.nan
    tracks = Tracks(time_s, 4 * joint + 50, covariance, status)
    return tracks, Motion(time_s, joint, covariance, status=status)


def a_curve(loads=(1.0, 2.0, 4.0)):
    loads = np.array(loads)
    return LoadCurve.from_loads(loads, 0.01 * np.eye(len(loads)), "ruler")


@pytest.mark.parametrize(("value", "sigma", "unit", "text"), [
    (12.3456, 0.0123, "mm", "12.346 ± 0.012 mm"),
    (12.3456, 0.0354, "mm", "12.346 ± 0.035 mm"),
    (12.3456, 0.0356, "mm", "12.35 ± 0.04 mm"),
    (12.3456, 0.0964, "mm", "12.35 ± 0.10 mm"),
    (-0.268, 0.2, "", "-0.27 ± 0.20"),
    (0.0, 1.0, "px", "0.0 ± 1.0 px"),
    (1234567.0, 2100.0, "", "(1.2346 ± 0.0021)e6"),
    (1.5e-7, 2e-8, "m", "(1.50 ± 0.20)e-7 m"),
    (47.0, 40.0, "", "50 ± 40"),
    (3.14159, float("nan"), "", "3.142"),
    (3.14159, 0.0, "s", "3.142 s"),
    (float("nan"), 1.0, "s", "not known"),
])
def test_a_value_keeps_the_digits_that_its_error_leaves(value, sigma, unit, text):
    assert plots.quoted(value, sigma, unit) == text


def test_the_same_run_gives_the_same_bytes(tmp_path):
    tracks, motion = a_run()
    picture = np.random.default_rng(0).integers(0, 255, (90, 160, 3), dtype=np.uint8)
    texts = []
    for name in ("first", "second"):
        written = plots.write_plots(tmp_path / name, tracks, motion, a_curve(), picture=picture,
                                    times_s={"pull starts": 0.3})
        texts.append({path.name: path.read_bytes() for path in written})
    assert texts[0] == texts[1]
    assert sorted(texts[0]) == ["extensions.svg", "health.svg", "heat_map.svg", "load_curve.svg",
                                "loads.svg", "rig.svg"]
    for text in texts[0].values():
        assert ElementTree.fromstring(text).tag.endswith("svg")


def test_a_long_clip_makes_no_large_figure(tmp_path):
    tracks, motion = a_run(frames=9000, points=14)
    for path in plots.write_plots(tmp_path, tracks, motion, a_curve()):
        assert path.stat().st_size < 350_000, path.name


def test_a_thinned_line_keeps_its_spikes():
    values = np.zeros(9000)
    values[1234], values[7777] = 5.0, -3.0
    kept = plots._thinned(values)
    assert {1234, 7777, 0, 8999} <= set(kept) and len(kept) < 900


def test_a_map_averages_what_shares_a_column_and_leaves_gaps_empty():
    time_s = np.concatenate([np.arange(600), np.arange(900, 1500)]) / 30
    picture, (start, end) = plots._averaged(time_s, np.stack([time_s, 2 * time_s], axis=-1))
    columns = picture.shape[1]
    centre = start + (np.arange(columns) + 0.5) * (end - start) / columns
    seen = np.isfinite(picture[0])
    assert np.abs(picture[0] - centre)[seen].max() < (end - start) / columns
    assert not seen[(centre > 20.1) & (centre < 29.9)].any()


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_the_shortest_clips_can_be_drawn(tmp_path, frames):
    tracks, motion = a_run(frames=frames, points=3)
    assert len(plots.write_plots(tmp_path, tracks, motion, a_curve())) == 6


def test_a_clip_in_which_nothing_is_seen_can_be_drawn(tmp_path):
    tracks, motion = a_run(frames=5, points=3)
    nothing = Tracks(tracks.time_s, tracks.position_px * np.nan, tracks.covariance_px * np.nan,
                     np.full_like(tracks.status, LOST))
    blank = Motion(motion.time_s, motion.joint_mm * np.nan, motion.covariance_mm2 * np.nan)
    assert len(plots.write_plots(tmp_path, nothing, blank)) == 4


def test_a_curve_without_load_says_so(tmp_path):
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    plots.plot_load_curve(a_curve((0.0, 0.0)), ax)
    assert "no load" in ax.get_title(loc="left") + ax.get_title()


def test_the_load_curve_shows_the_data_and_the_line_of_even_sharing():
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    plots.plot_load_curve(a_curve(), ax)
    even, curve = ax.get_lines()[:2]
    np.testing.assert_allclose(even.get_xydata(), [[0, 7], [3, 0]])
    np.testing.assert_allclose(curve.get_ydata(), [7, 6, 4, 0])
    assert "concave" in ax.get_title(loc="left") + ax.get_title()
