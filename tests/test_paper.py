"""Squared paper as the only reference of a clip."""

import cv2
import numpy as np
import pytest

from rulerlab.track.paper import PaperFollower

FRAMES, SIZE = 8, (640, 400)


def plane_at(t):
    """mm to px of frame t: 2.5 px per mm, a tilted camera that turns and drifts a little."""
    turn = np.radians(1.5 + 0.1 * t)
    c, s = 2.5 * np.cos(turn), 2.5 * np.sin(turn)
    matrix = np.array([[c, s, 40 + 0.7 * t], [s, -c, 380 - 0.4 * t], [0, 0, 1]])
    tilt = np.eye(3)
    tilt[2, :2] = 1.2e-4, -0.6e-4
    return tilt @ matrix


def a_picture(t, *, spacing_mm=5.0, lines=True):
    """Paper with thin grey lines, photographed."""
    fine = 8  # px of the drawing per mm
    paper = np.full((190 * fine, 300 * fine), 225, np.uint8)
    if lines:
        for k in np.arange(0, 300, spacing_mm):
            cv2.line(paper, (int(k * fine), 0), (int(k * fine), paper.shape[0]), 185, 2)
            cv2.line(paper, (0, int(k * fine)), (paper.shape[1], int(k * fine)), 185, 2)
    mapping = plane_at(t) @ np.diag([1 / fine, 1 / fine, 1])
    seen = cv2.warpPerspective(cv2.GaussianBlur(paper, (0, 0), 2.0), mapping, SIZE,
                               flags=cv2.INTER_AREA, borderValue=200)
    noise = np.random.default_rng(t).normal(0, 1.5, seen.shape)
    return np.clip(seen + noise, 0, 255).astype(np.uint8)


def followed(**drawn):
    paper = PaperFollower(FRAMES)
    for t in range(FRAMES):
        paper.observe(t, a_picture(t, **drawn))
    return paper


def test_lengths_on_a_tilted_moving_board_come_out_within_half_a_percent():
    rig_mm = np.array([[60.0, 40], [200, 50], [190, 120], [70, 110]])
    seen = np.array([cv2.perspectiveTransform(rig_mm[None], plane_at(t))[0]
                     for t in range(FRAMES)])
    seen[3, 0] = np.nan
    view = followed().view(5.0, seen[:, 0])
    found = view.to_mm(seen, np.zeros(4))
    assert np.abs(found[[0, 1, 2, 4], 0]).max() < 1e-9
    gaps = np.linalg.norm(np.diff(found[:, 1:], axis=1), axis=-1)
    truth = np.linalg.norm(np.diff(rig_mm[1:], axis=0), axis=-1)
    assert np.abs(gaps / truth - 1).max() < 0.005


def test_squares_of_twice_the_size_give_twice_the_lengths():
    places = np.broadcast_to([[100.0, 200.0], [400.0, 210.0]], (FRAMES, 2, 2))
    paper = followed()
    length = [np.linalg.norm(np.diff(paper.view(mm, places[:, 0]).to_mm(places, np.zeros(2)),
                                     axis=1), axis=-1).mean() for mm in (5.0, 10.0)]
    assert length[1] == pytest.approx(2 * length[0], rel=1e-6)


def test_plain_paper_gives_no_plane():
    assert followed(lines=False).view(5.0, np.zeros((FRAMES, 2))) is None
