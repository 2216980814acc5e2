"""A calibrated camera: pixels to rays, and rays to a plane that lies above the paper.

World frame: millimetres, z = 0 is the paper, z points to the camera, x and y span the paper.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from rulerlab.errors import InputError
from rulerlab.rig import read_toml

DISTORTION_SIZES = {"standard": (4, 5, 8, 12, 14), "fisheye": (4,)}


@dataclass(frozen=True)
class Camera:
    """Intrinsics and distortion in OpenCV's conventions; what camera.toml holds."""

    image_size_px: tuple[int, int]  # width, height
    camera_matrix: np.ndarray  # (3, 3)
    distortion: np.ndarray  # k1, k2, p1, p2, k3, ... in OpenCV's order
    model: str = "standard"  # "standard" or "fisheye"
    reprojection_error_px: float | None = None
    parameter_covariance: np.ndarray | None = None  # (P, P) of fx, fy, cx, cy, distortion ...
    board: str | None = None
    date: str | None = None

    def __post_init__(self):
        if len(self.image_size_px) != 2 or min(self.image_size_px) < 1:
            raise ValueError(f"image_size_px is {self.image_size_px}, expected width and height")
        if np.shape(self.camera_matrix) != (3, 3):
            raise ValueError(f"camera_matrix is {np.shape(self.camera_matrix)}, expected (3, 3)")
        if not (np.isfinite(self.camera_matrix).all() and np.isfinite(self.distortion).all()):
            raise ValueError("camera_matrix and distortion must be finite numbers")
        if self.model not in DISTORTION_SIZES:
            raise ValueError(f"model is {self.model!r}, expected one of {list(DISTORTION_SIZES)}")
        if len(self.distortion) not in DISTORTION_SIZES[self.model]:
            raise ValueError(
                f"distortion has {len(self.distortion)} numbers, a {self.model} model takes "
                f"{' or '.join(map(str, DISTORTION_SIZES[self.model]))}"
            )
        covariance = self.parameter_covariance
        if covariance is not None:
            rows, size = np.shape(covariance)[:1], 4 + len(self.distortion)
            if np.shape(covariance) != rows * 2 or not 4 <= len(covariance) <= size:
                raise ValueError(
                    f"parameter_covariance is {np.shape(covariance)}, expected {(size, size)} for "
                    "fx, fy, cx, cy and the distortion"
                )
            if not np.isfinite(covariance).all():
                raise ValueError("parameter_covariance must be finite numbers")

    def undistort(self, points_px: np.ndarray) -> np.ndarray:
        """Normalised ray coordinates (x/z, y/z) of pixels, (..., 2) to (..., 2); NaN stays NaN."""
        points = np.ascontiguousarray(points_px, float).reshape(-1, 1, 2)
        if not len(points):
            return np.zeros(np.shape(points_px))
        if self.model == "fisheye":
            rays = cv2.fisheye.undistortPoints(points, self.camera_matrix, self.distortion)
        else:
            criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_MAX_ITER, 40, 1e-10)
            lens = points, self.camera_matrix, self.distortion
            if hasattr(cv2, "undistortPointsIter"):  # OpenCV 4
                rays = cv2.undistortPointsIter(*lens, None, None, criteria)
            else:
                rays = cv2.undistortPoints(*lens, criteria=criteria)
        rays = rays.reshape(np.shape(points_px))
        return np.where(np.isfinite(points_px), rays, np.nan)

    def project(self, points_mm: np.ndarray, rotation: np.ndarray, shift_mm: np.ndarray):
        """Pixels of world points, (..., 3) to (..., 2), for the pose x_cam = R x + t.

        `rotation` is a Rodrigues vector (3,), `shift_mm` is t (3,).
        """
        points = np.ascontiguousarray(points_mm, float).reshape(-1, 1, 3)
        if self.model == "fisheye":
            pixels, _ = cv2.fisheye.projectPoints(
                points, rotation, shift_mm, self.camera_matrix, self.distortion
            )
        else:
            pixels, _ = cv2.projectPoints(
                points, rotation, shift_mm, self.camera_matrix, self.distortion
            )
        return pixels.reshape(np.shape(points_mm)[:-1] + (2,))

    def scaled_to(self, width: int, height: int) -> Camera:
        """The same lens at another resolution of the same picture (4K calibrated, 1080p filmed).

        Focal lengths, centre, their errors and the reprojection error count in the new pixels.
        Raises InputError when the aspect ratios differ: the sensor was cropped, calibrate again.
        """
        own_width, own_height = self.image_size_px
        if (width, height) == (own_width, own_height):
            return self
        factor = width / own_width
        if abs(height / own_height / factor - 1) > 0.005:
            raise InputError(
                f"the camera was calibrated at {own_width}x{own_height}, the video is "
                f"{width}x{height}: another shape of picture; calibrate in the video's mode"
            )
        matrix = self.camera_matrix.copy()
        matrix[:2, 2] = (matrix[:2, 2] + 0.5) * factor - 0.5
        matrix[[0, 1], [0, 1]] *= factor
        covariance, error = self.parameter_covariance, self.reprojection_error_px
        if covariance is not None:
            in_px = np.ones(len(covariance))
            in_px[:4] = factor
            covariance = covariance * np.outer(in_px, in_px)
        return replace(
            self, image_size_px=(width, height), camera_matrix=matrix,
            parameter_covariance=covariance,
            reprojection_error_px=None if error is None else error * factor,
        )

    def shifted(self, change: np.ndarray) -> Camera:
        """The camera whose fx, fy, cx, cy, distortion ... are larger by `change` (P,)."""
        matrix, distortion = self.camera_matrix.copy(), np.array(self.distortion, float)
        matrix[[0, 1, 0, 1], [0, 1, 2, 2]] += change[:4]
        distortion[: len(change) - 4] += change[4:]
        return replace(self, camera_matrix=matrix, distortion=distortion)

    def error_patterns(self) -> np.ndarray:
        """Changes of fx, fy, cx, cy, distortion ... by one sigma each, independent, (E, P).

        Their outer products add up to `parameter_covariance`; empty when that is not known.
        """
        if self.parameter_covariance is None:
            return np.zeros((0, 4 + len(self.distortion)))
        sigma = np.sqrt(np.maximum(np.diag(self.parameter_covariance), 0))
        unit = np.where(sigma > 0, sigma, 1.0)
        value, way = np.linalg.eigh(self.parameter_covariance / np.outer(unit, unit))
        return (way * np.sqrt(np.maximum(value, 0)) * unit[:, None]).T


def read_camera(path: Path) -> Camera:
    """Read camera.toml. Raises InputError when it is missing or does not hold a camera."""
    data = read_toml(path)
    missing = {"image_size_px", "camera_matrix", "distortion"} - set(data)
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}")
    covariance = data.get("parameter_covariance")
    try:
        return Camera(
            tuple(int(size) for size in data["image_size_px"]),
            np.array(data["camera_matrix"], float),
            np.array(data["distortion"], float),
            data.get("model", "standard"),
            data.get("reprojection_error_px"),
            None if covariance is None else np.array(covariance, float),
            data.get("board"),
            None if data.get("date") is None else str(data["date"]),
        )
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: {error}") from None


def write_camera(path: Path, camera: Camera) -> None:
    """Write camera.toml with every digit that the calibration found."""

    def numbers(array: np.ndarray) -> str:
        array = np.asarray(array)
        if array.ndim == 1:
            return "[" + ", ".join(repr(float(value)) for value in array) + "]"
        return "[" + ", ".join(numbers(row) for row in array) + "]"

    width, height = camera.image_size_px
    lines = [
        f"image_size_px = [{width}, {height}]",
        f"camera_matrix = {numbers(camera.camera_matrix)}",
        f"distortion = {numbers(camera.distortion)}",
        f'model = "{camera.model}"',
    ]
    if camera.reprojection_error_px is not None:
        lines.append(f"reprojection_error_px = {float(camera.reprojection_error_px)!r}")
    if camera.parameter_covariance is not None:
        lines.append(f"parameter_covariance = {numbers(camera.parameter_covariance)}")
    lines += [
        f'{name} = "{value}"'
        for name, value in (("board", camera.board), ("date", camera.date))
        if value is not None
    ]
    Path(path).write_text("\n".join(lines) + "\n")
