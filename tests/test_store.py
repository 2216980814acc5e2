"""The run folder: complete or not there, read back as written, clear about what is wrong."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from rulerlab import store
from rulerlab.errors import InputError, RulerlabError, UsageError
from rulerlab.records import DETECTED, EDITED, LOST, PREDICTED, LoadCurve, Motion, Tracks


def a_ruler(frames=6, points=4, *, seed=3):
    """Tracks and motion of a ruler that is pulled open, with one lost and one predicted point."""
    rng = np.random.default_rng(seed)
    time_s = np.cumsum(rng.uniform(0.02, 0.05, frames))
    x = np.linspace(0, 1, points) * np.linspace(20, 90, frames)[:, None]
    joint_mm = np.stack([x, 5 * (np.arange(points) % 2) + 0 * x], axis=-1)
    root = rng.normal(scale=0.05, size=(frames, points, 2, 2)) + 0.2 * np.eye(2)
    covariance = root @ np.swapaxes(root, -1, -2)
    status = np.full((frames, points), DETECTED, dtype="<U9")
    status[2, 1], status[3, 2] = PREDICTED, LOST
    position_px = 40 + 5 * joint_mm + rng.normal(scale=0.1, size=joint_mm.shape)
    lost = status == LOST
    position_px[lost], covariance[lost], joint_mm[lost] = np.nan, np.nan, np.nan
    shared = rng.normal(scale=0.02, size=(frames, points, 2, 3))
    tracks = Tracks(time_s, position_px, covariance, status)
    return tracks, Motion(time_s, joint_mm, covariance / 25, shared_mm=shared, status=status)


def a_curve():
    loads = np.array([2.0, 3.5, 6.25])
    covariance = np.array([[0.04, -0.02, 0], [-0.02, 0.05, -0.02], [0, -0.02, 0.04]])
    return LoadCurve.from_loads(loads, covariance, "ruler", unit="fold", label="slow pull")


def write_run(target, *, force=False, note="first"):
    tracks, motion = a_ruler()
    with store.open_run(target, force=force) as folder:
        store.write_tracks_csv(folder / "tracks.csv", tracks, motion.joint_mm,
                               np.sqrt(np.diagonal(motion.covariance_mm2, axis1=-2, axis2=-1)))
        store.write_segments_csv(folder / "segments.csv", motion)
        store.write_netcdf(folder / "tracks.nc", tracks, motion)
        store.write_load_curve(folder, a_curve())
        store.write_run_json(folder, {"note": note})
    return tracks, motion


def everything_in(folder):
    return sorted(path.name for path in folder.iterdir())


# --- the folder appears complete or not at all ----------------------------------------------

def test_a_run_comes_back_as_it_was_written(tmp_path):
    tracks, motion = write_run(tmp_path / "clip.rulerlab")
    run = store.read_run(tmp_path / "clip.rulerlab")
    for name in ("time_s", "position_px", "status"):
        assert_array_equal(getattr(run.tracks, name), getattr(tracks, name))
    for name in ("time_s", "joint_mm", "status"):
        assert_array_equal(getattr(run.motion, name), getattr(motion, name))
    assert_allclose(run.tracks.covariance_px, tracks.covariance_px, rtol=1e-6)
    for name in ("covariance_mm2", "shared_mm"):
        assert_allclose(getattr(run.motion, name), getattr(motion, name), rtol=1e-6)
    assert_allclose(run.load_curve.covariance, a_curve().covariance, atol=1e-9)
    assert (run.load_curve.unit, run.load_curve.label) == ("fold", "slow pull")
    assert run.info == {"schema_version": 1, "note": "first"}


def test_an_existing_run_is_kept_unless_replacing_it_is_asked_for(tmp_path):
    target = tmp_path / "clip.rulerlab"
    write_run(target)
    with pytest.raises(UsageError, match="--force"):
        write_run(target, note="second")
    assert store.read_run_json(target)["note"] == "first"
    write_run(target, force=True, note="second")
    assert store.read_run_json(target)["note"] == "second"
    assert everything_in(tmp_path) == ["clip.rulerlab"]


def test_force_never_replaces_a_folder_that_is_no_run(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("years of work")
    with pytest.raises(UsageError, match="no run.json"):
        write_run(tmp_path / "thesis", force=True)
    with pytest.raises(UsageError, match="is a file"):
        write_run(tmp_path / "thesis" / "chapter1.txt", force=True)
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "years of work"


@pytest.mark.parametrize("accident", [KeyboardInterrupt, ValueError, InputError])
def test_an_accident_leaves_the_old_run_and_nothing_else(tmp_path, accident):
    target = tmp_path / "clip.rulerlab"
    write_run(target)
    with pytest.raises(accident), store.open_run(target, force=True) as folder:
        (folder / "tracks.csv").write_text("half")
        raise accident("stop")
    assert everything_in(tmp_path) == ["clip.rulerlab"]
    assert store.read_run(target).tracks is not None


def test_a_killed_run_leaves_nothing_that_looks_finished_and_is_tidied_later(tmp_path):
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom rulerlab.store import open_run\n"
        "with open_run(Path(sys.argv[1])) as folder:\n"
        "    (folder / 'tracks.csv').write_text('half')\n"
        "    print('writing', flush=True)\n    time.sleep(60)\n"
    )
    target = tmp_path / "clip.rulerlab"
    process = subprocess.Popen([sys.executable, "-c", script, str(target)], text=True,
                               stdout=subprocess.PIPE)
    with process:
        assert process.stdout.readline() == "writing\n"
        left = everything_in(tmp_path)
        process.send_signal(signal.SIGKILL)
    assert left == [f".clip.rulerlab.partial-{process.pid}"]
    assert not target.exists()
    write_run(target)
    assert everything_in(tmp_path) == ["clip.rulerlab"]


def test_the_folder_of_a_run_that_is_still_going_is_left_alone(tmp_path):
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        theirs = tmp_path / f".clip.rulerlab.partial-{other.pid}"
        theirs.mkdir()
        write_run(tmp_path / "clip.rulerlab")
        assert theirs.exists()
        other.communicate(b"\n")


def test_a_replacement_killed_between_its_two_renames_gives_the_old_run_back(tmp_path):
    target = tmp_path / "clip.rulerlab"
    write_run(target)
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        gone.wait()
    target.rename(tmp_path / f".clip.rulerlab.replaced-{gone.pid}")
    with pytest.raises(UsageError, match="--force"):
        write_run(target)
    assert store.read_run_json(target)["note"] == "first"


def test_a_disk_without_room_is_one_line_and_keeps_the_old_run(tmp_path):
    write_run(tmp_path / "clip.rulerlab")
    script = (
        "import resource, sys\nfrom pathlib import Path\n"
        "from rulerlab.errors import RulerlabError\nfrom rulerlab.store import open_run\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    with open_run(Path(sys.argv[1]), force=True) as folder:\n"
        "        (folder / 'tracks.csv').write_text('x' * 100_000)\n"
        "except RulerlabError as error:\n    print(error)\n    sys.exit(error.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "clip.rulerlab")],
                          capture_output=True, text=True)
    assert done.returncode == 3, done.stderr
    assert done.stdout.count("\n") == 1 and "no room to write" in done.stdout
    assert everything_in(tmp_path) == ["clip.rulerlab"]
    assert store.read_run(tmp_path / "clip.rulerlab").tracks is not None


@pytest.mark.parametrize("place", ["/proc/clip.rulerlab", "file.txt/clip.rulerlab"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, place):
    (tmp_path / "file.txt").write_text("not a folder")
    with pytest.raises(InputError, match="can't be made") as caught:
        write_run(tmp_path / place)
    assert caught.value.exit_code == 3 and "\n" not in str(caught.value)


@pytest.mark.parametrize(("content", "complaint"), [
    (None, "not a run folder"), ("{", "can't be read"), ("[]", "no schema_version"),
    ('{"schema_version": 99}', "upgrade"),
])
def test_what_is_no_finished_run_is_said(tmp_path, content, complaint):
    if content is not None:
        (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match=complaint):
        store.read_run(tmp_path)


def test_run_json_is_strict_json_with_the_inputs_pinned(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"abc")
    store.write_run_json(tmp_path, store.provenance([tmp_path / "clip.mp4"]) | {
        "fps": np.float32(60), "lost": np.array([0.5, np.nan]), "rig": tmp_path})

    def refuse(word):
        raise AssertionError(word)

    info = json.loads((tmp_path / "run.json").read_text(), parse_constant=refuse)
    assert info["fps"] == 60 and info["lost"] == [0.5, None] and info["rig"] == str(tmp_path)
    assert info["inputs"][0]["bytes"] == 3
    assert info["inputs"][0]["sha256"].startswith("ba7816bf8f01cfea")  # FIPS 180-2, "abc"
    assert info["versions"]["numpy"] == np.__version__


# --- tracks.csv ------------------------------------------------------------------------------

def edit(path, change):
    """Rewrite a table after `change(header, rows)`."""
    header, *rows = (line.split(",") for line in path.read_text().splitlines())
    changed = change(header, rows)
    header, rows = changed if changed else (header, rows)
    path.write_text("\n".join(",".join(row) for row in [header, *rows]) + "\n")


@pytest.fixture
def tracks_csv(tmp_path):
    tracks, motion = a_ruler()
    path = tmp_path / "tracks.csv"
    store.write_tracks_csv(path, tracks, motion.joint_mm,
                           np.sqrt(np.diagonal(motion.covariance_mm2, axis1=-2, axis2=-1)))
    return path


def test_the_columns_are_the_documented_ones(tracks_csv):
    header = tracks_csv.read_text().splitlines()[0]
    assert header.startswith(
        "frame,time_s,p0_x_px,p0_y_px,p0_sigma_x_px,p0_sigma_y_px,"
        "p0_x_mm,p0_y_mm,p0_sigma_x_mm,p0_sigma_y_mm,p0_status,p1_x_px,")
    assert len(header.split(",")) == 2 + 4 * 9


def test_the_table_keeps_the_values_to_its_digits_and_says_nan_for_lost(tracks_csv):
    tracks, _ = a_ruler()
    table = store.read_tracks_csv(tracks_csv)
    assert_array_equal(table.status, tracks.status)
    assert_allclose(table.time_s, tracks.time_s, atol=5.1e-7)
    assert_allclose(table.position_px, tracks.position_px, atol=5.1e-5)
    assert_allclose(table.sigma_px(), tracks.sigma_px(), atol=5.1e-5)
    lost = tracks_csv.read_text().splitlines()[4].split(",")[2 + 2 * 9: 2 + 3 * 9]
    assert lost == ["nan"] * 8 + ["lost"]


def test_a_long_table_loses_no_row(tmp_path):
    tracks, motion = a_ruler(frames=2503, points=3)
    store.write_tracks_csv(tmp_path / "tracks.csv", tracks)
    store.write_segments_csv(tmp_path / "segments.csv", motion)
    assert_allclose(store.read_tracks_csv(tmp_path / "tracks.csv").time_s, tracks.time_s, atol=1e-6)
    assert len(store.read_segments_csv(tmp_path / "segments.csv").time_s) == 2503
    last = tmp_path.joinpath("tracks.csv").read_text().splitlines()[-1]
    assert last.startswith("2502,")


def test_without_a_scale_the_millimetre_cells_are_empty(tmp_path):
    tracks, _ = a_ruler()
    store.write_tracks_csv(tmp_path / "tracks.csv", tracks)
    assert tmp_path.joinpath("tracks.csv").read_text().splitlines()[1].split(",")[6:10] == [""] * 4
    assert_array_equal(store.read_tracks_csv(tmp_path / "tracks.csv").status, tracks.status)


def test_columns_may_be_moved_and_added(tracks_csv):
    before = store.read_tracks_csv(tracks_csv)

    def change(header, rows):
        order = list(range(len(header)))[::-1]
        return ([header[i] for i in order] + ["remark"],
                [[row[i] for i in order] + ["looks good"] for row in rows])

    edit(tracks_csv, change)
    assert_array_equal(store.read_tracks_csv(tracks_csv).position_px, before.position_px)


def test_a_spreadsheet_with_semicolons_and_decimal_commas_reads_the_same(tracks_csv):
    before = store.read_tracks_csv(tracks_csv)
    text = tracks_csv.read_text().replace(",", ";").replace(".", ",").replace("\n", "\r\n")
    tracks_csv.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert_array_equal(store.read_tracks_csv(tracks_csv).position_px, before.position_px)


def test_an_emptied_position_is_a_lost_point(tracks_csv):
    def change(header, rows):
        rows[0][header.index("p1_x_px")] = ""
        rows[1][header.index("p1_status")] = "lost"

    edit(tracks_csv, change)
    tracks = store.read_tracks_csv(tracks_csv)
    assert list(tracks.status[:2, 1]) == [LOST, LOST]
    assert np.isnan(tracks.position_px[:2, 1]).all() and np.isnan(tracks.covariance_px[0, 1]).all()


def replace_cell(row, column, word):
    def change(header, rows):
        rows[row][header.index(column)] = word
    return change


def drop_column(name):
    def change(header, rows):
        at = header.index(name)
        return header[:at] + header[at + 1:], [row[:at] + row[at + 1:] for row in rows]
    return change


@pytest.mark.parametrize(("change", "complaint"), [
    (replace_cell(1, "p2_y_px", "12,5"), "line 3 has 39 cells, the header has 38"),
    (replace_cell(1, "p2_y_px", "12.5px"), "line 3, column p2_y_px: '12.5px' is not a number"),
    (replace_cell(1, "p2_y_px", "inf"), "line 3, column p2_y_px: is infinite"),
    (replace_cell(2, "p0_status", "maybe"), "line 4, column p0_status: 'maybe' is none of"),
    (replace_cell(2, "p0_sigma_x_px", ""), "line 4, column p0_sigma_x_px: a position needs"),
    (replace_cell(2, "p0_sigma_y_px", "-1"), "line 4, column p0_sigma_y_px: a position needs"),
    (replace_cell(2, "time_s", ""), "line 4, column time_s: the cell is empty"),
    (replace_cell(2, "time_s", "0"), "line 4, column time_s: the time does not rise"),
    (drop_column("p2_y_px"), "has no column p2_y_px"),
    (drop_column("p0_x_px"), "has no column p0_x_px"),
    (drop_column("p3_status"), "has no column p3_status"),
    (lambda header, rows: ([*header[:-1], "p0_x_px"], rows), "has column p0_x_px twice"),
    (lambda header, rows: (header, []), "holds no rows"),
])
def test_a_damaged_table_names_the_line_and_the_column(tracks_csv, change, complaint):
    edit(tracks_csv, change)
    with pytest.raises(InputError) as caught:
        store.read_tracks_csv(tracks_csv)
    assert complaint in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x01", b"\x00\x00\n\x00"])
def test_bytes_that_are_no_table_are_one_line(tmp_path, content):
    (tmp_path / "tracks.csv").write_bytes(content)
    with pytest.raises(InputError) as caught:
        store.read_tracks_csv(tmp_path / "tracks.csv")
    assert "\n" not in str(caught.value)


def test_a_value_edited_by_hand_wins_and_the_rest_stays_exact(tmp_path):
    tracks, _ = write_run(tmp_path / "run")

    def change(header, rows):
        rows[0][header.index("p1_x_px")] = "77.25"
        rows[0][header.index("p1_status")] = "edited"

    edit(tmp_path / "run" / "tracks.csv", change)
    mended = store.read_run(tmp_path / "run").tracks
    assert mended.position_px[0, 1, 0] == 77.25 and mended.status[0, 1] == EDITED
    untouched = np.ones(tracks.status.shape, bool)
    untouched[0, 1] = False
    assert_array_equal(mended.position_px[untouched], tracks.position_px[untouched])
    assert_allclose(mended.covariance_px[untouched], tracks.covariance_px[untouched], rtol=1e-6)


# --- segments, load curve --------------------------------------------------------------------

def test_segments_come_back_with_the_error_that_neighbours_share(tmp_path):
    _, motion = a_ruler()
    angle = np.full((6, 3), 12.5)
    store.write_segments_csv(tmp_path / "segments.csv", motion, angle)
    table = store.read_segments_csv(tmp_path / "segments.csv")
    assert_allclose(table.extension_mm, motion.extension_mm(), atol=5.1e-5)
    assert_array_equal(table.angle_deg, angle)
    for frame in (0, 1, 4):
        whole = motion.extension_covariance_mm2(frame)
        assert_allclose(table.sigma_mm[frame], np.sqrt(np.diagonal(whole)), atol=5.1e-5)
    header = tmp_path.joinpath("segments.csv").read_text().splitlines()[0]
    assert header.startswith("frame,time_s,s1_extension_mm,s1_sigma_mm,s1_angle_deg,s2_")


def test_segments_in_pixels_leave_the_millimetres_empty(tmp_path):
    _, motion = a_ruler()
    pixels = Motion(motion.time_s, motion.joint_mm, motion.covariance_mm2, unit="px")
    store.write_segments_csv(tmp_path / "segments.csv", pixels)
    header, row, *_ = tmp_path.joinpath("segments.csv").read_text().splitlines()
    cells = dict(zip(header.split(","), row.split(","), strict=True))
    assert cells["s1_extension_mm"] == cells["s1_sigma_mm"] == ""
    assert float(cells["s1_extension_px"]) == pytest.approx(motion.extension_mm()[0, 0], abs=1e-4)
    assert np.isnan(store.read_segments_csv(tmp_path / "segments.csv").extension_mm).all()


def test_a_load_curve_keeps_covariance_and_meaning(tmp_path):
    store.write_load_curve(tmp_path, a_curve())
    assert tmp_path.joinpath("load_curve.csv").read_text().startswith("l,remaining,sigma\n0,11.75,")
    curve = store.read_load_curve(tmp_path)
    assert_allclose(curve.remaining, a_curve().remaining, rtol=1e-8)
    assert_allclose(curve.covariance, a_curve().covariance, atol=1e-9)
    shape = json.loads((tmp_path / "load_curve.json").read_text())
    assert shape["regime"] == "concave" and shape["c"] == pytest.approx(-4.25)
    assert sum(shape["regime_probability"].values()) == pytest.approx(1)


def test_a_curve_without_any_load_is_written_without_a_shape(tmp_path):
    flat = LoadCurve(np.zeros(4), 0.01 * np.eye(4), "blocks", unit="spring")
    store.write_load_curve(tmp_path, flat)
    assert json.loads((tmp_path / "load_curve.json").read_text())["regime"] is None
    assert_array_equal(store.read_load_curve(tmp_path).remaining, np.zeros(4))


def test_a_load_curve_typed_by_hand_needs_only_its_table(tmp_path):
    (tmp_path / "mine.csv").write_text("sigma,l,remaining\n0.5,0,10\n0.25,1,4\n0,2,0\n")
    curve = store.read_load_curve(tmp_path / "mine.csv", source="blocks", unit="spring")
    assert_array_equal(curve.loads, [6, 4])
    assert_array_equal(curve.covariance, np.diag([0.25, 0.0625, 0]))
    assert curve.source == "blocks"


@pytest.mark.parametrize(("text", "complaint"), [
    ("l,remaining,sigma\n0,1,0\n2,0,0\n", "must count 0, 1"),
    ("l,remaining,sigma\n0,1,0\n1,,0\n", "line 3, column remaining: the cell is empty"),
    ("l,remaining,sigma\n0,1,0\n1,0,-1\n", "line 3, column sigma: is negative"),
    ("l,remaining\n0,1\n1,0\n", "has no column sigma"),
    ("l,remaining,sigma\n0,1,0\n", "at least one segment"),
])
def test_a_damaged_load_curve_is_one_line(tmp_path, text, complaint):
    (tmp_path / "load_curve.csv").write_text(text)
    with pytest.raises(InputError, match=complaint):
        store.read_load_curve(tmp_path)


# --- tracks.nc -------------------------------------------------------------------------------

def test_xarray_opens_the_netcdf_in_the_layout_of_movement(tmp_path):
    xarray = pytest.importorskip("xarray")
    tracks, motion = a_ruler()
    store.write_netcdf(tmp_path / "tracks.nc", tracks, motion, source_file="clip.mp4")
    with xarray.open_dataset(tmp_path / "tracks.nc", engine="scipy") as data:
        data.load()
    assert data.position.dims == ("time", "space", "keypoint", "individual")
    assert data.confidence.dims == ("time", "keypoint", "individual")
    assert data.attrs["ds_type"] == "poses" and data.attrs["time_unit"] == "seconds"
    assert data.attrs["source_file"] == "clip.mp4"
    assert data.attrs["fps"] == pytest.approx(5 / np.ptp(tracks.time_s), rel=1e-12)
    second = data.sel(keypoint="p1", space="x", individual="ruler")
    assert_array_equal(second.position, tracks.position_px[:, 1, 0])
    assert_allclose(second.position_uncertainty, tracks.sigma_px()[:, 1, 0], rtol=1e-6)
    assert_allclose(data.position_covariance[4, :, :, 2, 0], tracks.covariance_px[4, 2], rtol=1e-6)
    assert_array_equal(data.segment_extension, motion.extension_mm())
    names = np.array(data.status.attrs["flag_meanings"].split())
    assert_array_equal(names[data.status.values[..., 0].astype(int)], tracks.status)
    assert_allclose(data.confidence[2:4, 1:3, 0], [[0.5, 1], [1, 0]])


def test_a_motion_in_pixels_comes_back_in_pixels(tmp_path):
    tracks, motion = a_ruler()
    pixels = Motion(motion.time_s, motion.joint_mm, motion.covariance_mm2, unit="px")
    store.write_netcdf(tmp_path / "tracks.nc", tracks, pixels)
    _, back = store.read_netcdf(tmp_path / "tracks.nc")
    assert back.unit == "px" and back.shared_mm is None


@pytest.mark.parametrize("keep", [0, 3, 200, 3000])
def test_a_damaged_netcdf_is_one_line(tmp_path, keep):
    tracks, motion = a_ruler()
    store.write_netcdf(tmp_path / "tracks.nc", tracks, motion)
    whole = (tmp_path / "tracks.nc").read_bytes()
    (tmp_path / "tracks.nc").write_bytes(whole[:keep])
    with pytest.raises(RulerlabError, match="can't be read"):
        store.read_netcdf(tmp_path / "tracks.nc")
