"""Cameras of known truth: what is found, how sure, and when to refuse."""

import functools
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from rulerlab.calibrate import Board, View, Views, calibrate_camera, find_corners, lens
from rulerlab.calibrate.check import check_camera, combine, error_without_camera
from rulerlab.calibrate.straight import guessed_camera, plumb_line, straightness
from rulerlab.calibrate.views import blur_px, farthest
from rulerlab.camera import Camera, read_camera, write_camera
from rulerlab.cli import main
from rulerlab.errors import QualityError, UsageError
from rulerlab.synthetic import Scene
from rulerlab.synthetic.board import FlatStudio, board_texture, film_board, rays_to_board
from rulerlab.targets import DEFAULT_BOARD

CALIBRATION = Path(__file__).parent.parent / "calibration"
SIZE = (1280, 720)
TRUTH = np.array([1180.0, 1176.0, 655.0, 350.0, -0.21, 0.06, 0.0011, -0.0007, -0.01])
CHESSBOARD = Board("chessboard", (9, 6), 25.0)
CHARUCO = Board("charuco", (8, 6), 25.0, 18.75, "DICT_5X5_100")


def a_pose(rng, board, *, tilt_deg=(15, 40), distance_mm=(350, 700), reach=(0.2, 0.8)):
    """A pose that shows the board somewhere in the picture, tilted to any side."""
    tilt, azimuth = np.radians(rng.uniform(*tilt_deg)), rng.uniform(0, 2 * np.pi)
    turn = cv2.Rodrigues(np.array([np.cos(azimuth), np.sin(azimuth), 0]) * tilt)[0]
    turn = turn @ cv2.Rodrigues(np.array([0, 0, rng.uniform(-0.4, 0.4)]))[0]
    depth = rng.uniform(*distance_mm)
    place = (rng.uniform(*reach, 2) * SIZE - TRUTH[2:4]) / TRUTH[:2] * depth
    shift = np.array([*place, depth]) - turn @ board.corners_mm.mean(axis=0)
    return np.concatenate([cv2.Rodrigues(turn)[0].ravel(), shift])


def some_views(rng, *, count=14, noise_px=0.1, bend_mm=0.0, **pose):
    """Views of a chessboard as projected points with noise; the board may be bent."""
    points = CHESSBOARD.corners_mm.copy()
    across = (points[:, 0] - points[:, 0].mean()) / np.ptp(points[:, 0]) * 2
    points[:, 2] += bend_mm * across**2
    views = []
    while len(views) < count:
        pixels = lens.project("standard", TRUTH, a_pose(rng, CHESSBOARD, **pose), points)[0]
        if (pixels < 5).any() or (pixels > np.array(SIZE) - 5).any():
            continue
        seen = pixels + noise_px * rng.standard_normal(pixels.shape)
        views.append(
            View(f"view{len(views)}", np.arange(len(points)), CHESSBOARD.corners_mm, seen)
        )
    return Views(SIZE, tuple(views), {})


@functools.cache
def studio_of(truth=tuple(TRUTH)):
    """Where pictures are taken through the lens with these parameters."""
    return FlatStudio(Camera(SIZE, lens.matrix(np.array(truth)), np.array(truth[4:])))


def picture_of(board, pose, *, seed=0):
    """A photo-like picture of a board, (H, W) uint8."""
    texture, to_texture = board_texture(board, 8.0)
    studio = studio_of()
    exposed = studio.expose(texture, to_texture @ rays_to_board(pose))
    return studio.develop(exposed, np.random.default_rng(seed), 3.0)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """A folder of pictures of the ChArUco board."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(5)
    for k in range(9):
        pose = a_pose(rng, CHARUCO, distance_mm=(280, 420), reach=(0.3, 0.7))
        cv2.imwrite(str(folder / f"board{k}.png"), picture_of(CHARUCO, pose, seed=k))
    return folder


def test_intervals_of_ninety_percent_hold_the_true_camera_nine_times_in_ten():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(40):
        done = calibrate_camera(some_views(rng, count=12), model="standard")
        sigma = np.sqrt(np.diag(done.spread.covariance))
        inside.append(np.abs(done.fit.parameters - TRUTH) < 1.645 * sigma)
    assert 0.83 <= np.mean(inside) <= 0.96


def test_a_bent_board_is_noticed_and_its_error_is_inside_the_sigma():
    rng = np.random.default_rng(1)
    flat = calibrate_camera(some_views(rng), model="standard")
    bent = calibrate_camera(some_views(rng, bend_mm=0.5), model="standard")
    assert flat.spread.bend_mm == 0
    assert 0.1 < bent.spread.bend_mm < 0.6
    z = (bent.fit.parameters - TRUTH) / np.sqrt(np.diag(bent.spread.covariance))
    assert np.abs(z).max() < 3
    assert bent.spread.covariance[0, 0] > 2 * flat.spread.covariance[0, 0]


def test_a_view_that_does_not_belong_is_dropped_with_its_reason():
    rng = np.random.default_rng(2)
    found = some_views(rng)
    shaken = found.views[3].corners_px + 4 * rng.standard_normal((54, 2))
    views = (*found.views[:3], replace(found.views[3], corners_px=shaken), *found.views[4:])
    done = calibrate_camera(replace(found, views=views), model="standard")
    assert list(done.dropped) == ["view3"] and "residual" in done.dropped["view3"]
    assert abs(done.fit.parameters[0] - TRUTH[0]) < 4 * done.spread.covariance[0, 0] ** 0.5


@pytest.mark.parametrize("change, word", [
    ({"count": 3}, "at least 4"),
    ({"tilt_deg": (0, 0.5)}, "parallel"),
    ({"distance_mm": (1500, 1510), "reach": (0.45, 0.55)}, "picture"),
])
def test_views_that_cannot_determine_the_camera_are_refused_with_advice(change, word):
    with pytest.raises(QualityError, match=word) as refusal:
        calibrate_camera(some_views(np.random.default_rng(3), **change), model="standard")
    assert "film" in str(refusal.value)


def test_a_fisheye_picture_gets_a_fisheye_lens():
    truth = np.array([420.0, 420.0, 640.0, 360.0, 0.03, -0.01, 0.002, 0.0])
    rng, views = np.random.default_rng(4), []
    while len(views) < 14:
        pose = a_pose(rng, CHESSBOARD, distance_mm=(90, 220), reach=(0.0, 1.0))
        pixels = lens.project("fisheye", truth, pose, CHESSBOARD.corners_mm)[0]
        if (pixels < 5).any() or (pixels > np.array(SIZE) - 5).any():
            continue
        seen = pixels + 0.1 * rng.standard_normal(pixels.shape)
        views.append(View(f"{len(views)}", np.arange(54), CHESSBOARD.corners_mm, seen))
    done = calibrate_camera(Views(SIZE, tuple(views), {}), model="fisheye")
    z = (done.fit.parameters - truth) / np.sqrt(np.diag(done.spread.covariance))
    assert np.abs(z).max() < 4 and done.camera.model == "fisheye"


def test_a_plain_lens_stays_standard_when_the_model_is_free():
    done = calibrate_camera(some_views(np.random.default_rng(6)))
    assert done.fit.model == "standard"


@pytest.mark.parametrize("board", [
    CHESSBOARD, CHARUCO, replace(CHARUCO, inverted=True), replace(CHARUCO, legacy=True),
    replace(CHESSBOARD, inverted=True),
    Board("charuco", (5, 4), 54.0, 40.5, "DICT_4X4_1000", inverted=True, legacy=True),
], ids=lambda board: board.description)
def test_corners_are_found_where_they_are(board):
    distance = 450 * board.square_mm * board.size[0] / 225
    pose = a_pose(np.random.default_rng(7), board, distance_mm=(distance, distance),
                  reach=(0.45, 0.55))
    ids, corners = find_corners(picture_of(board, pose), board)
    true = lens.project("standard", TRUTH, pose, board.corners_mm)[0][ids]
    assert len(ids) == len(board.corners_mm)
    assert np.abs((corners - true).mean(axis=0)).max() < 0.06
    assert (corners - true).std() < 0.2


def test_pictures_to_camera_file_by_the_command_line(photographs, tmp_path, capsys):
    out = tmp_path / "camera.toml"
    arguments = ["calibrate", "camera", str(photographs), "--board", "charuco", "--squares",
                 "8x6", "--square-mm", "25", "--marker-mm", "18.75", "--dictionary",
                 "DICT_5X5_100", "-o", str(out), "--json"]
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert not end.value.code
    found = json.loads(capsys.readouterr().out)
    assert found["schema_version"] == 1 and len(found["views_used"]) >= 8
    assert found["reprojection_error_px"] < 0.25
    sigma = np.array([found["sigma"][name] for name in ("fx", "fy", "cx", "cy")])
    camera = read_camera(out)
    estimate = lens.pack(camera.camera_matrix, camera.distortion)
    assert np.all(np.abs(estimate[:4] - TRUTH[:4]) < 4 * sigma)
    assert camera.parameter_covariance.shape == (9, 9)
    assert tomllib.loads(out.read_text())["made"]["board"]["squares"] == [8, 6]
    assert out.with_suffix(".png").stat().st_size > 10_000
    with pytest.raises(SystemExit) as again:
        main(arguments)
    assert again.value.code == 2


def deviation(camera, true):
    """(found - true) / sigma of each parameter of a camera."""
    found, known = (lens.pack(c.camera_matrix, c.distortion) for c in (camera, true))
    return (found - known) / np.sqrt(np.diag(camera.parameter_covariance))


def test_a_film_of_a_printed_board_gives_the_camera_that_took_it(tmp_path, capsys):
    film = tmp_path / "board.mp4"
    truth = film_board(Scene(size_px=(640, 360)).camera, DEFAULT_BOARD, film, seconds=10, fps=4,
                       seed=1, kbps=1500)
    target, out = CALIBRATION / "charuco_a4.toml", tmp_path / "camera.toml"
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "camera", str(film), "--target", str(target), "-o", str(out), "--json"])
    assert not end.value.code
    found = json.loads(capsys.readouterr().out)
    frames = [int(name.removeprefix("board.mp4#")) for name in found["views_used"]]
    assert 12 <= len(set(frames)) <= 30 and max(frames) < 40
    assert found["reprojection_error_px"] < 0.2
    assert np.abs(deviation(read_camera(out), read_camera(truth))).max() < 3.5


@pytest.mark.parametrize("sample", ["ruler_dots", "blocks_tags"])
def test_the_calibration_that_is_handed_out_is_the_camera_of_the_samples(sample):
    camera = read_camera(CALIBRATION / "samples.camera.toml")
    true = read_camera(CALIBRATION.parent / "data" / f"{sample}.camera.toml")
    assert camera.image_size_px == true.image_size_px
    assert np.abs(deviation(camera, true)).max() < 3.5
    sigma = np.sqrt(np.diag(camera.parameter_covariance))
    assert sigma[0] < 1e-3 * true.camera_matrix[0, 0]


def test_the_wrong_switch_is_named(photographs, capsys):
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "camera", str(photographs), "--board", "charuco", "--squares", "8x6",
              "--square-mm", "25", "--marker-mm", "18.75", "--dictionary", "DICT_5X5_100",
              "--legacy", "-o", str(photographs / "never.toml")])
    assert end.value.code == 4 and "--legacy" in capsys.readouterr().err


def test_a_text_file_named_jpg_is_one_clear_line(tmp_path, capsys):
    path = tmp_path / "board.jpg"
    path.write_text("not a picture")
    with pytest.raises(SystemExit) as end:
        main(["calibrate", "camera", str(path), "--board", "chessboard", "--corners", "9x6",
              "--square-mm", "25", "-o", str(tmp_path / "camera.toml")])
    error = capsys.readouterr().err
    assert end.value.code == 3 and "board.jpg" in error and error.count("\n") == 1


def test_a_board_that_cannot_be_is_refused():
    with pytest.raises(UsageError, match="don't fit"):
        Board("charuco", (5, 4), 20.0, 21.0)
    with pytest.raises(UsageError, match="unknown dictionary"):
        Board("charuco", (5, 4), 20.0, 15.0, "DICT_9X9")


@functools.cache
def ruled_paper(k1):
    """Squared paper through a lens with this k1, and the camera that took it."""
    flat = np.full((1600, 2400), 255, np.uint8)
    flat[::160] = flat[1::160] = flat[2::160] = flat[3::160] = 60
    flat[:, ::160] = flat[:, 1::160] = flat[:, 2::160] = flat[:, 3::160] = 60
    tilt = np.array([[1950, 0, 1200], [60, 1900, 800], [0.0, 0.08, 1.0]])
    studio = studio_of((*TRUTH[:4], k1, 0, 0, 0, 0))
    exposed = studio.expose(flat, tilt)
    return studio.develop(exposed, np.random.default_rng(0), 3.0), studio.camera


def test_straight_lines_confirm_the_right_lens_and_measure_a_wrong_one():
    picture, camera = ruled_paper(-0.2)
    right = straightness(picture, camera)
    assert right.lines >= 5 and abs(right.k1_shift) < 3 * right.k1_sigma < 0.03
    wrong = replace(camera, distortion=camera.distortion + np.array([0.03, 0, 0, 0, 0]))
    found = straightness(picture, wrong)
    assert found.k1_shift == pytest.approx(-0.03, abs=0.012)  # one step of the way


def test_a_single_bent_line_is_the_grain_of_wood_and_no_lens():
    column = np.arange(1280)
    row = 300 + 12 * np.cos(np.pi * (column - 640) / 900)
    picture = np.where(np.arange(720)[:, None] > row, 180, 90).astype(np.uint8)
    found = straightness(picture, guessed_camera(1280, 720))
    assert 1 <= found.lines <= 2 and np.isinf(found.k1_sigma)
    assert not np.isfinite(combine([found, found]).k1_sigma)


def test_an_unknown_lens_is_read_from_the_lines_and_its_harm_is_foretold():
    picture, camera = ruled_paper(-0.2)
    bare = replace(camera, distortion=np.zeros(5))
    lens_found, found = plumb_line(picture, bare)
    assert found.k1_shift == pytest.approx(-0.2, abs=0.02)
    marks = np.array([[80.0, 60], [1200, 60], [1200, 660], [80, 660]])
    points = np.column_stack([np.linspace(200, 1080, 8), np.full(8, 350.0)])
    harm = error_without_camera(picture, marks, points)
    assert 0.01 < harm < 0.2
    assert error_without_camera(np.full((720, 1280), 128, np.uint8), marks, points) is None


def test_check_says_whether_a_calibration_holds(tmp_path, capsys):
    picture, camera = ruled_paper(-0.2)
    cv2.imwrite(str(tmp_path / "table.png"), picture)
    write_camera(tmp_path / "camera.toml", camera)
    write_camera(tmp_path / "other.toml", replace(camera, distortion=np.zeros(5)))
    codes = []
    for name in ("camera.toml", "other.toml"):
        with pytest.raises(SystemExit) as end:
            main(["calibrate", "check", str(tmp_path / "table.png"), "--camera",
                  str(tmp_path / name), "--json"])
        codes.append((end.value.code, json.loads(capsys.readouterr().out)["verdict"]))
    assert codes == [(0, "holds"), (4, "fails")]


def test_check_notices_a_zoom_by_the_known_board(photographs):
    camera = Camera(SIZE, lens.matrix(TRUTH), TRUTH[4:])
    path = photographs / "board0.png"
    assert check_camera(path, camera, CHARUCO).verdict == "holds"
    zoomed = TRUTH * np.array([1.08, 1.08, 1, 1, 1, 1, 1, 1, 1])
    found = check_camera(path, Camera(SIZE, lens.matrix(zoomed), TRUTH[4:]), CHARUCO)
    assert found.verdict == "fails"
    assert found.board.focal_shift == pytest.approx(-0.074, abs=0.03)


def test_chosen_frames_are_far_apart_and_blur_is_measured():
    poses = np.concatenate([np.zeros((50, 2)), [[5, 0], [0, 5], [-5, 0], [0, -5]]])
    assert set(farthest(poses, 5)[1:]) == {50, 51, 52, 53}
    pose = a_pose(np.random.default_rng(8), CHESSBOARD, reach=(0.45, 0.55))
    picture = picture_of(CHESSBOARD, pose)
    corners = lens.project("standard", TRUTH, pose, CHESSBOARD.corners_mm)[0]
    assert blur_px(cv2.blur(picture, (1, 9)), corners) > blur_px(picture, corners)
