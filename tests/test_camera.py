"""The camera: rays and pixels are each other's inverse, and files come back as written."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from rulerlab.camera import Camera, read_camera, write_camera
from rulerlab.errors import InputError

MATRIX = np.array([[900.0, 0, 321.5], [0, 905.0, 238.0], [0, 0, 1]])
LENSES = {
    "none": Camera((640, 480), MATRIX, np.zeros(5)),
    "phone": Camera((640, 480), MATRIX, np.array([0.12, -0.25, 0.001, -0.002, 0.05])),
    "barrel": Camera((640, 480), MATRIX, np.array([-0.32, 0.14, 0.0, 0.0, -0.03])),
    "rational": Camera((640, 480), MATRIX,
                       np.array([0.1, -0.2, 0.001, 0.0, 0.05, 0.08, -0.1, 0.02])),
    "fisheye": Camera((640, 480), MATRIX, np.array([0.05, -0.01, 0.003, 0.0]), "fisheye"),
}


@pytest.mark.parametrize("lens", LENSES)
def test_a_ray_goes_through_the_pixel_it_came_from(lens):
    camera = LENSES[lens]
    x, y = np.meshgrid(np.linspace(0, 639, 9), np.linspace(0, 479, 7))
    pixels = np.stack([x, y], -1)
    rays = camera.undistort(pixels)
    world = np.concatenate([rays, np.ones(rays.shape[:-1] + (1,))], -1) * 700
    assert_allclose(camera.project(world, np.zeros(3), np.zeros(3)), pixels, atol=2e-3)


def test_what_is_not_seen_has_no_ray():
    rays = LENSES["phone"].undistort(np.array([[100.0, 80.0], [np.nan, np.nan]]))
    assert np.isfinite(rays[0]).all() and np.isnan(rays[1]).all()
    assert LENSES["phone"].undistort(np.zeros((0, 2))).shape == (0, 2)


def test_the_same_lens_at_twice_the_resolution_sees_the_same_ray():
    camera = LENSES["phone"]
    large = camera.scaled_to(1280, 960)
    pixels = np.array([[10.0, 20.0], [600.0, 400.0]])
    assert_allclose(large.undistort(2 * pixels + 0.5), camera.undistort(pixels), atol=1e-7)
    assert camera.scaled_to(640, 480) is camera
    with pytest.raises(InputError, match="640x480.*640x360"):
        camera.scaled_to(640, 360)


def test_the_errors_of_a_camera_grow_with_the_resolution():
    sigma = np.array([1.2, 1.1, 0.8, 0.9, 0.01, 0.02, 0.001, 0.001, 0.03])
    camera = Camera((640, 480), MATRIX, LENSES["phone"].distortion, "standard", 0.2,
                    np.outer(sigma, sigma) * (0.5 + 0.5 * np.eye(9)), "charuco 8x6", "2026-05-01")
    large = camera.scaled_to(1280, 960)
    assert_allclose(np.sqrt(np.diag(large.parameter_covariance)) / sigma, [2.0] * 4 + [1.0] * 5)
    assert large.reprojection_error_px == pytest.approx(0.4)
    assert (large.board, large.date) == (camera.board, camera.date)
    patterns = large.error_patterns()
    assert_allclose(patterns.T @ patterns, large.parameter_covariance, atol=1e-9)


def test_a_camera_comes_back_as_it_was_written(tmp_path):
    camera = Camera((640, 480), MATRIX, LENSES["phone"].distortion, "standard", 0.123,
                    np.diag(np.arange(1.0, 10.0)), "charuco 8x6", "2026-05-01")
    write_camera(tmp_path / "camera.toml", camera)
    again = read_camera(tmp_path / "camera.toml")
    for name, value in vars(camera).items():
        np.testing.assert_array_equal(getattr(again, name), value)


@pytest.mark.parametrize(("text", "words"), [
    ("image_size_px = [640, 480]", "lacks camera_matrix, distortion"),
    ("image_size_px = [640, 480]\ncamera_matrix = [[1, 0], [0, 1]]\ndistortion = [0, 0, 0, 0]",
     "expected .3, 3."),
    ("image_size_px = [640, 480]\ncamera_matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n"
     "distortion = [0, 0, 0]", "3 numbers"),
    ("image_size_px = 640\ncamera_matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n"
     "distortion = [0, 0, 0, 0]", "int"),
    ("image_size_px = [640, 480]\ncamera_matrix = [[1, 0, 0], [0, 1, 0], [0, 0, nan]]\n"
     "distortion = [0, 0, 0, 0]", "finite"),
    ("image_size_px = [640]\ncamera_matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]\n"
     "distortion = [0, 0, 0, 0]", "image_size_px"),
    ("model = 'pinhole'\nimage_size_px = [640, 480]\ndistortion = [0, 0, 0, 0]\n"
     "camera_matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]", "pinhole"),
    ("parameter_covariance = [[1, 0], [0, 1]]\nimage_size_px = [640, 480]\n"
     "distortion = [0, 0, 0, 0]\ncamera_matrix = [[1, 0, 0], [0, 1, 0], [0, 0, 1]]",
     "parameter_covariance"),
    ("= 3", "not a TOML file"),
])
def test_what_is_no_camera_is_named(tmp_path, text, words):
    path = tmp_path / "camera.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=words) as told:
        read_camera(path)
    assert str(path) in str(told.value)


def test_a_camera_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_camera(tmp_path / "camera.toml")
