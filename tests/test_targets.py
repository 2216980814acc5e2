"""Printed sheets: rendered by another program, found again, and measured."""

import shutil
import subprocess
import tomllib
from pathlib import Path

import cv2
import numpy as np
import pytest

from rulerlab.calibrate import Board, find_corners
from rulerlab.calibrate.result import read_board
from rulerlab.cli import main
from rulerlab.errors import UsageError
from rulerlab.rig import read_rig
from rulerlab.targets import (
    CROSSES_MM,
    DEFAULT_BOARD,
    DEFAULT_CHESSBOARD,
    board_sheet,
    cross_sheet,
    dot_sheet,
    tag_sheet,
)

CALIBRATION = Path(__file__).parent.parent / "calibration"
needs_pdftoppm = pytest.mark.skipif(shutil.which("pdftoppm") is None, reason="needs poppler-utils")


def rendered(path, dpi):
    """The page of a PDF in grey, by pdftoppm."""
    out = path.parent / path.stem
    subprocess.run(["pdftoppm", "-r", str(dpi), "-gray", "-singlefile", str(path), str(out)],
                   check=True, timeout=120)
    return cv2.imread(f"{out}.pgm", cv2.IMREAD_GRAYSCALE)


def run(*arguments):
    with pytest.raises(SystemExit) as end:
        main(["print", *map(str, arguments)])
    return end.value.code or 0


@needs_pdftoppm
@pytest.mark.parametrize("board, paper", [
    (DEFAULT_BOARD, "a4"), (DEFAULT_CHESSBOARD, "letter"),
    (Board("charuco", (6, 4), 36.0, 27.0, "DICT_4X4_1000", inverted=True, legacy=True), "a4"),
], ids=["charuco", "chessboard", "inverted"])
def test_a_printed_board_is_found_whole_and_at_scale(board, paper, tmp_path):
    path = tmp_path / "board.pdf"
    board_sheet(board, paper=paper).write(path)
    ids, corners = find_corners(rendered(path, 600), board)
    assert len(ids) == len(board.corners_mm)
    true = board.corners_mm[ids, :2] * 600 / 25.4
    for axis in (0, 1):
        slope = np.polyfit(true[:, axis], corners[:, axis], 1)[0]
        assert abs(slope - 1) < 100e-6
    assert np.abs(corners - true - (corners - true).mean(axis=0)).max() < 1.0


@needs_pdftoppm
def test_the_bars_are_a_hundred_millimetres(tmp_path):
    path = tmp_path / "crosses.pdf"
    cross_sheet().write(path)
    dark = (rendered(path, 600) < 128).astype(np.uint8)
    _, _, stats, _ = cv2.connectedComponentsWithStats(dark)
    assert stats[1:, 2].max() == pytest.approx(100 / 25.4 * 600, abs=2)
    assert stats[1:, 3].max() == pytest.approx(100 / 25.4 * 600, abs=2)


@needs_pdftoppm
def test_printed_tags_are_read_and_the_crosses_lie_where_they_say(tmp_path):
    path = tmp_path / "tags.pdf"
    tag_sheet([0, 7, 40, 41], size_mm=10.0).write(path)
    detector = cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50))
    corners, ids, _ = detector.detectMarkers(rendered(path, 200))
    assert sorted(np.ravel(ids)) == [0, 7, 40, 41]
    side = np.linalg.norm(np.diff(np.reshape(corners[0], (4, 2)), axis=0), axis=1) / 200 * 25.4
    assert side == pytest.approx(10, abs=0.2)

    path = tmp_path / "crosses.pdf"
    sheet = cross_sheet()
    sheet.write(path)
    page = (rendered(path, 300) < 128).astype(np.uint8)
    _, _, stats, centres = cv2.connectedComponentsWithStats(page)
    square = np.abs(stats[:, 2] - stats[:, 3]) < 3
    large = square & (np.abs(stats[:, 2] / 300 * 25.4 - 16) < 0.5)
    found = centres[large] / 300 * 25.4 * [1, -1]
    found = found - found.mean(axis=0)
    for x, y in CROSSES_MM:
        assert np.linalg.norm(found - [x, y], axis=1).min() < 0.1


@needs_pdftoppm
def test_dots_have_two_colours_and_their_diameter(tmp_path):
    path = tmp_path / "dots.pdf"
    dot_sheet(diameter_mm=8.0).write(path)
    subprocess.run(["pdftoppm", "-r", "200", "-png", "-singlefile", str(path),
                    str(tmp_path / "dots")], check=True, timeout=60)
    picture = cv2.imread(str(tmp_path / "dots.png"))
    b, g, r = (picture[..., k].astype(int) for k in range(3))
    for mask in ((g - r > 80), (r - g > 80)):
        _, _, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
        assert len(stats) > 20
        assert np.median(stats[1:, 2]) / 200 * 25.4 == pytest.approx(8, abs=0.3)


def test_the_same_sheet_gives_the_same_bytes(tmp_path):
    for name in ("one.pdf", "two.pdf"):
        board_sheet(DEFAULT_BOARD).write(tmp_path / name)
    assert (tmp_path / "one.pdf").read_bytes() == (tmp_path / "two.pdf").read_bytes()


@needs_pdftoppm
@pytest.mark.parametrize("paper", ["a4", "letter"])
@pytest.mark.parametrize("name, command", [
    ("charuco", ["charuco"]), ("chessboard", ["chessboard"]), ("crosses", ["crosses"]),
    ("dots", ["dots"]), ("tags_15mm", ["tags", "--size-mm", 15]),
])
def test_the_sheets_that_are_handed_out_are_those_the_package_makes(name, command, paper, tmp_path):
    run(*command, "--paper", paper, "-o", tmp_path / "made.pdf")
    shutil.copy(CALIBRATION / f"{name}_{paper}.pdf", tmp_path / "kept.pdf")
    made, kept = (rendered(tmp_path / name, 100) for name in ("made.pdf", "kept.pdf"))
    foot = int(made.shape[0] * 0.9)  # the version of the package stands below
    assert np.array_equal(made[:foot], kept[:foot])


def test_the_places_and_the_error_of_measured_crosses_arrive_in_the_rig(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("crosses")
    run("--measured", 99.5, 99.7)
    (tmp_path / "rig.toml").write_text('[reference]\ntarget = "crosses_a4.toml"')
    reference = read_rig(tmp_path / "rig.toml").reference
    assert np.allclose(reference.crosses_mm, np.array(CROSSES_MM) * [0.995, 0.997])
    assert reference.scale_sigma == pytest.approx(0.1 / 100)  # the calipers


def test_measured_bars_are_stored_and_carried_into_the_board(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("charuco") == 0
    assert run("--measured", 99.5, 99.7) == 0
    data = tomllib.loads((tmp_path / "charuco_a4.toml").read_text())
    assert data["printed"]["scale_x"] == pytest.approx(0.995)
    assert data["plan"]["square_mm"] == 24
    assert read_board(tmp_path / "charuco_a4.toml").square_mm == pytest.approx(24 * 0.996)
    assert run("--measured", 100, 100) == 0
    assert read_board(tmp_path / "charuco_a4.toml").square_mm == 24


@pytest.mark.parametrize("bars, word", [((97.9, 97.9), "fit to page"), ((99.5, 100.2), "differ")])
def test_a_print_that_is_off_is_refused(bars, word, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run("--measured", *bars) == 4
    assert word in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_measured_bars_without_a_sheet_are_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("--measured", 99.9, 100.1) == 0
    assert tomllib.loads((tmp_path / "target.toml").read_text())["printed"]["bar_x_mm"] == 99.9


def test_what_does_not_fit_or_exists_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="does not fit"):
        board_sheet(Board("charuco", (9, 7), 40.0, 30.0))
    with pytest.raises(UsageError, match="print several sheets"):
        tag_sheet(list(range(50)) * 4, size_mm=20.0)
    assert run("dots") == 0
    assert run("dots") == 2
    assert run("dots", "--force") == 0
