"""The lens models in one parameter vector, with derivatives.

A parameter vector is fx, fy, cx, cy, then the distortion in OpenCV's order.
"""

from __future__ import annotations

import cv2
import numpy as np

from rulerlab.camera import Camera

STANDARD, RATIONAL, FISHEYE = "standard", "rational", "fisheye"
MODELS = (STANDARD, FISHEYE, RATIONAL)  # the first that fits is taken
_DISTORTION = {
    STANDARD: ("k1", "k2", "p1", "p2", "k3"),
    RATIONAL: ("k1", "k2", "p1", "p2", "k3", "k4", "k5", "k6"),
    FISHEYE: ("k1", "k2", "k3", "k4"),
}


def names(model: str) -> tuple[str, ...]:
    """Names of the parameters of a model, in their order."""
    return ("fx", "fy", "cx", "cy", *_DISTORTION[model])


def model_of(camera: Camera) -> str:
    """The lens model of a camera."""
    if camera.model == "fisheye":
        return FISHEYE
    return RATIONAL if len(camera.distortion) >= 8 else STANDARD


def pack(camera_matrix: np.ndarray, distortion: np.ndarray) -> np.ndarray:
    """The parameter vector of a camera matrix (3, 3) and its distortion."""
    k = camera_matrix
    return np.concatenate([[k[0, 0], k[1, 1], k[0, 2], k[1, 2]], np.ravel(distortion)])


def matrix(parameters: np.ndarray) -> np.ndarray:
    """The camera matrix (3, 3) in a parameter vector."""
    fx, fy, cx, cy = parameters[:4]
    return np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1.0]])


def project(
    model: str, parameters: np.ndarray, pose: np.ndarray, points_mm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels (n, 2) of board points, and their derivatives by parameters and by pose.

    `pose` is a Rodrigues vector and a shift in mm, (6,). The derivatives are (2n, p), (2n, 6),
    rows x, y of the first point, then of the next.
    """
    points = np.ascontiguousarray(points_mm, float).reshape(-1, 1, 3)
    k, distortion = matrix(parameters), np.ascontiguousarray(parameters[4:])
    if model == FISHEYE:
        pixels, jacobian = cv2.fisheye.projectPoints(points, pose[:3], pose[3:], k, distortion)
        return pixels.reshape(-1, 2), jacobian[:, :8], jacobian[:, 8:14]
    pixels, jacobian = cv2.projectPoints(points, pose[:3], pose[3:], k, distortion)
    columns = 10 + len(distortion)
    return pixels.reshape(-1, 2), jacobian[:, 6:columns], jacobian[:, :6]
