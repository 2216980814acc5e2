"""Where the board is: a pose comes back from its own projection, with the errors it has."""

from dataclasses import replace

import cv2
import drawn
import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.camera import Camera
from rulerlab.errors import InputError
from rulerlab.track.crosses import centre_crosses, find_crosses
from rulerlab.track.register import REFERENCE_SIGMA_PX, CrossFollower, match_crosses, register
from rulerlab.track.shared import with_lens_errors, with_scale_error

CAMERA = Camera((1280, 720), np.array([[1150.0, 0, 640], [0, 1150, 360], [0, 0, 1]]),
                np.array([-0.12, 0.05, 0.0005, -0.0005, 0.0]))
CORNERS = np.array([[-180.0, -100], [180, -100], [180, 100], [-180, 100]])
POINTS = np.stack(np.meshgrid(np.linspace(-150, 150, 5), [-60.0, 0, 60]), -1).reshape(-1, 2)
HEIGHT = np.linspace(0, 20, len(POINTS))


def poses(frames, *, handheld):
    """Rodrigues vectors and shifts of a camera above the board, y up in the picture."""
    rng = np.random.default_rng(4)
    sway = np.cumsum(rng.normal(scale=0.002, size=(frames, 3)), axis=0) * handheld
    drift = np.cumsum(rng.normal(scale=0.6, size=(frames, 3)), axis=0) * handheld
    return np.array([np.pi, 0.03, 0.12]) + sway, np.array([5.0, -8, 520]) + drift


def seen_from(pose, points, height):
    world = np.c_[points, np.broadcast_to(height, len(points))]
    return np.array([CAMERA.project(world, turn, shift) for turn, shift in zip(*pose, strict=True)])


def observe(frames=30, *, handheld, sigma=0.0, seed=0):
    pose = poses(frames, handheld=handheld)
    rng = np.random.default_rng(seed)
    corners = seen_from(pose, CORNERS, 0.0)
    shake = rng.normal(scale=sigma or 1e-9, size=corners.shape if handheld else corners.shape[1:])
    covariance = np.zeros(corners.shape + (2,))
    return corners + shake, covariance, seen_from(pose, POINTS, HEIGHT)


@pytest.mark.parametrize("handheld", [False, True])
def test_a_pose_maps_pixels_to_the_millimetres_they_came_from_at_every_height(handheld):
    corners, covariance, pixels = observe(handheld=handheld)
    view = register(corners, covariance, CORNERS, CAMERA)
    assert view.moving == handheld
    frames = len(pixels)
    assert_allclose(view.to_mm(pixels, HEIGHT), np.broadcast_to(POINTS, (frames, *POINTS.shape)),
                    atol=2e-3)
    assert_allclose(view.to_px(view.to_mm(pixels, HEIGHT), HEIGHT), pixels, atol=5e-3)


def test_without_height_the_parallax_of_raised_marks_is_what_geometry_says():
    corners, covariance, pixels = observe(1, handheld=False)
    corners, covariance = np.repeat(corners, 3, 0), np.repeat(covariance, 3, 0)
    view = register(corners, covariance, CORNERS, CAMERA)
    flat = view.to_mm(pixels[:1], np.zeros(len(POINTS)))[0]
    turn, shift = poses(1, handheld=False)
    eye = -cv2.Rodrigues(turn[0])[0].T @ shift[0]
    outwards = (POINTS - eye[:2]) * (HEIGHT / (eye[2] - HEIGHT))[:, None]
    assert_allclose(flat - POINTS, outwards, atol=0.01)
    assert np.linalg.norm(outwards, axis=1).max() > 4


@pytest.mark.parametrize("handheld", [False, True])
def test_a_homography_needs_no_camera(handheld):
    rng = np.random.default_rng(2)
    matrix = np.array([[2.5, 0.1, 640], [0.05, -2.4, 360], [1e-4, 2e-4, 1]])
    frames = 20

    def seen(points):
        mapped = np.c_[points, np.ones(len(points))] @ matrix.T
        return mapped[:, :2] / mapped[:, 2:]

    shift = np.cumsum(rng.normal(size=(frames, 1, 2)), axis=0) * handheld
    view = register(seen(CORNERS) + shift, np.zeros((frames, 4, 2, 2)), CORNERS, None)
    mapped = view.to_mm(seen(POINTS) + shift, np.zeros(len(POINTS)))
    assert_allclose(mapped, np.broadcast_to(POINTS, mapped.shape), atol=1e-4)
    assert_allclose(view.to_px(mapped, np.zeros(len(POINTS))), seen(POINTS) + shift, atol=1e-4)
    assert view.moving == handheld


@pytest.mark.parametrize("camera", [CAMERA, None])
def test_the_errors_of_the_registration_cover_what_it_gets_wrong(camera):
    """Spread of the points of many registrations, in units of the errors that each one claims."""
    height = HEIGHT if camera is not None else np.zeros(len(HEIGHT))
    pose = poses(1, handheld=False)
    if camera is None:
        flat = Camera(CAMERA.image_size_px, CAMERA.camera_matrix, np.zeros(5))
        project = [np.array([flat.project(np.c_[p, 0 * p[:, 0]], pose[0][0], pose[1][0])])
                   for p in (CORNERS, POINTS)]
    else:
        project = [seen_from(pose, CORNERS, 0.0), seen_from(pose, POINTS, HEIGHT)]
    z = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        corners = project[0] + rng.normal(scale=REFERENCE_SIGMA_PX, size=project[0].shape)
        view = register(np.repeat(corners, 2, 0), np.zeros((2, 4, 2, 2)), CORNERS, camera)
        error = view.to_mm(project[1], height)[0] - POINTS
        sigma = np.sqrt((view.shared_mm(project[1], height)[0] ** 2).sum(-1))
        z.append(error / sigma)
    assert 0.8 < np.sqrt(np.mean(np.square(z))) < 1.25


LENS_SIGMA = np.array([8.0, 8, 3, 3, 0.01, 0.02, 0.001, 0.001, 0.01])


def test_the_errors_of_the_lens_cover_what_a_wrong_calibration_does_to_the_board():
    """Filmed by cameras that scatter as the covariance says, measured with the one in the file."""
    rng = np.random.default_rng(8)
    mix = np.linalg.qr(rng.normal(size=(9, 9)))[0] * LENS_SIGMA[:, None]
    camera = replace(CAMERA, parameter_covariance=mix @ mix.T)
    pose, errors = poses(1, handheld=False), []
    for _ in range(80):
        true = camera.shifted(mix @ rng.normal(size=9))
        seen = [np.array([true.project(np.c_[points, np.broadcast_to(height, len(points))],
                                       pose[0][0], pose[1][0])])
                for points, height in ((CORNERS, 0.0), (POINTS, HEIGHT))]
        view = register(np.repeat(seen[0], 2, 0), np.zeros((2, 4, 2, 2)), CORNERS, camera)
        view = with_lens_errors(view, CORNERS)
        errors.append(view.to_mm(seen[1], HEIGHT)[0] - POINTS)
    lens = view.shared_mm(seen[1], HEIGHT)[0, ..., 6:]
    assert lens.shape[-1] == 9
    spread = np.std(errors, axis=0) / np.sqrt((lens**2).sum(-1))
    assert 0.8 < np.sqrt(np.mean(spread**2)) < 1.25
    joint = np.cov(np.diff(np.array(errors)[..., 0], axis=1).T)
    claimed = np.diff(lens[:, 0], axis=0)
    assert np.trace(joint) == pytest.approx((claimed**2).sum(), rel=0.4)


def test_a_camera_without_covariance_adds_no_error():
    corners, covariance, _ = observe(3, handheld=False)
    view = register(corners, covariance, CORNERS, CAMERA)
    assert with_lens_errors(view, CORNERS).effects.shape == view.effects.shape


@pytest.mark.parametrize("camera", [CAMERA, None])
def test_a_print_of_uncertain_scale_makes_every_length_uncertain_alike(camera):
    corners, covariance, pixels = observe(3, handheld=False)
    view = with_scale_error(register(corners, covariance, CORNERS, camera), 0.001)
    height = np.zeros(len(POINTS))
    shift = view.shared_mm(pixels, height)[..., 0]
    assert_allclose(shift, 0.001 * view.to_mm(pixels, height), rtol=2e-3, atol=1e-5)


def test_a_hidden_reference_leans_on_the_frame_before():
    corners, covariance, pixels = observe(20, handheld=True)
    corners[8:11, 0] = np.nan
    view = register(corners, covariance, CORNERS, CAMERA)
    error = view.to_mm(pixels, HEIGHT) - POINTS
    assert np.abs(error[11:]).max() < 0.01
    assert np.abs(error[8:11]).max() < 1.0


def test_three_references_are_too_few():
    corners, covariance, _ = observe(10, handheld=False)
    corners[:, 3] = np.nan
    with pytest.raises(InputError, match="3 references.*4 are needed"):
        register(corners, covariance, CORNERS, CAMERA)


@pytest.mark.parametrize("seed", range(6))
def test_crosses_are_told_apart_in_any_order(seed):
    corners = seen_from(poses(1, handheld=False), CORNERS, 0.0)[0]
    rng = np.random.default_rng(seed)
    mixed = rng.permutation(4)
    stray = rng.uniform([100, 100], [1100, 600], (1, 2))
    candidates = np.concatenate([corners[mixed], stray, [[np.nan, np.nan]]])
    pick = match_crosses(candidates, CORNERS)
    assert mixed[pick].tolist() == [0, 1, 2, 3]


def test_crosses_that_lie_otherwise_are_refused():
    with pytest.raises(InputError, match="do not lie as"):
        match_crosses(np.array([[0.0, 0], [10, 0], [20, 0], [300, 0]]), CORNERS)
    with pytest.raises(InputError, match="3 reference crosses are in view, rig.toml lists 4"):
        match_crosses(CORNERS[:3], CORNERS)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (0.3, -0.4), (0.5, 0.5)])
def test_a_cross_is_centred_to_a_few_hundredths_of_a_pixel(shift):
    centre = np.array([60.0, 45.0]) + shift
    canvas = drawn.paper(240, 160)
    drawn.cross(canvas, centre, 26)
    luma = drawn.frame(canvas, noise=1.5, rng=np.random.default_rng(0)).luma
    found = find_crosses(luma)
    assert len(found) == 1
    refined, _ = centre_crosses(luma, found)
    assert np.abs(refined[0] - centre).max() < 0.05


def test_crosses_are_followed_when_the_board_jumps():
    follower = CrossFollower(2)
    for shift in (0.0, 0.4, 6.0, 6.4):
        canvas = drawn.paper(240, 160)
        truth = np.array([[60.0, 50.0], [180.0, 60.0]]) + shift
        for centre in truth:
            drawn.cross(canvas, centre, 26)
        found, _ = follower.observe(drawn.frame(canvas).luma)
        found = found[np.argsort(found[:, 0])]
        assert np.abs(found - truth).max() < 0.1
