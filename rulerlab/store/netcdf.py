"""tracks.nc: everything in one NetCDF-3 file that xarray opens, in the layout of `movement`.

movement keeps poses in `position` (time, space, keypoint, individual) with a `confidence`; here
stand besides the standard deviation, the full covariances and, where a scale is known, the
joints in millimetres with the effects that move them together.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.io import netcdf_file

from rulerlab import __version__
from rulerlab.errors import InputError
from rulerlab.records import DETECTED, EDITED, LOST, PREDICTED, STATUSES, Motion, Tracks

TRUST = {DETECTED: 1.0, EDITED: 1.0, PREDICTED: 0.5, LOST: 0.0}
EXACT = {"time", "position", "joint", "segment_extension"}
POINTS = ("time", "space", "keypoint", "individual")
PAIRS = ("time", "space", "space_pair", "keypoint", "individual")


def _put(file: netcdf_file, name: str, dims: tuple[str, ...], values: np.ndarray, **attrs: str):
    """A variable; positions and times are doubles, errors floats (half the size)."""
    if values.dtype == float and name not in EXACT:
        values = values.astype(np.float32)
    variable = file.createVariable(name, values.dtype.newbyteorder(">"), dims)
    variable[:] = values
    for key, value in attrs.items():
        setattr(variable, key, value)
    return variable


def _put_words(file: netcdf_file, name: str, words: list[str]) -> None:
    """A coordinate of text: characters, marked so that xarray reads them as strings."""
    encoded = [word.encode() for word in words]
    length = max(map(len, encoded))
    file.createDimension(name, len(words))
    file.createDimension(f"{name}_letters", length)
    letters = np.array([list(word.ljust(length, b"\0")) for word in encoded], dtype=np.uint8)
    variable = file.createVariable(name, "c", (name, f"{name}_letters"))
    variable[:] = letters.view("S1")
    variable._Encoding = "utf-8"


def _points_last(values: np.ndarray) -> np.ndarray:
    """(T, N, 2) as (time, space, keypoint, individual)."""
    return np.moveaxis(values, 1, -1)[..., None]


def write_netcdf(
    path: Path,
    tracks: Tracks,
    motion: Motion | None = None,
    *,
    source_file: str = "",
    individual: str = "ruler",
) -> None:
    """Write tracks (pixels) and motion (millimetres) with full covariances."""
    frames, points = tracks.status.shape
    with netcdf_file(str(path), "w", version=2) as file:
        for name, size in (("time", frames), ("space_pair", 2)):
            file.createDimension(name, size)
        _put_words(file, "space", ["x", "y"])
        _put_words(file, "keypoint", [f"p{k}" for k in range(points)])
        _put_words(file, "individual", [individual])
        _put(file, "time", ("time",), tracks.time_s.astype(float), units="seconds",
             long_name="the container's own timestamp")
        _put_tracks(file, tracks)
        if motion is not None:
            _put_motion(file, motion)
        file.ds_type = "poses"
        file.time_unit = "seconds"
        file.source_software = f"rulerlab {__version__}"
        file.source_file = str(source_file)
        file.ancillary_variables = "position_uncertainty position_covariance status"
        if frames > 1:
            file.fps = np.float64((frames - 1) / (tracks.time_s[-1] - tracks.time_s[0]))


def _put_tracks(file: netcdf_file, tracks: Tracks) -> None:
    code = np.searchsorted(sorted(STATUSES), tracks.status)
    code = np.array([STATUSES.index(name) for name in sorted(STATUSES)], dtype=np.int8)[code]
    trust = np.array([TRUST[name] for name in STATUSES])[code]
    _put(file, "position", POINTS, _points_last(tracks.position_px), units="px",
         long_name="position, centre of the top-left pixel at 0,0",
         ancillary_variables="position_uncertainty position_covariance status")
    _put(file, "confidence", ("time", "keypoint", "individual"), trust[..., None],
         long_name="1 detected or edited, 0.5 predicted from the chain, 0 lost")
    _put(file, "position_uncertainty", POINTS, _points_last(tracks.sigma_px()), units="px",
         long_name="standard uncertainty (k=1) of position")
    _put(file, "position_covariance", PAIRS,
         np.moveaxis(tracks.covariance_px, 1, -1)[..., None], units="px2")
    status = _put(file, "status", ("time", "keypoint", "individual"), code[..., None],
                  flag_meanings=" ".join(STATUSES))
    status.flag_values = np.arange(len(STATUSES), dtype=np.int8)


def _put_motion(file: netcdf_file, motion: Motion) -> None:
    """Joints along the pull; their names tell the unit, which may be px when no scale is known."""
    unit, segments = motion.unit, motion.joint_mm.shape[1] - 1
    if motion.joint_mm.shape[1] != file.dimensions["keypoint"]:
        file.createDimension("joint", motion.joint_mm.shape[1])
    point = "joint" if "joint" in file.dimensions else "keypoint"
    file.createDimension("segment", segments)
    _put(file, "joint", ("time", "space", point, "individual"), _points_last(motion.joint_mm),
         units=unit, long_name="joints, x along the pull")
    _put(file, "joint_covariance", ("time", "space", "space_pair", point, "individual"),
         np.moveaxis(motion.covariance_mm2, 1, -1)[..., None], units=f"{unit}2")
    if motion.shared_mm is not None:
        file.createDimension("effect", motion.shared_mm.shape[-1])
        _put(file, "joint_shared", ("time", "space", point, "individual", "effect"),
             np.moveaxis(motion.shared_mm, 1, 2)[:, :, :, None], units=unit,
             long_name="shift of each joint per standard deviation of a common effect")
    _put(file, "segment_extension", ("time", "segment"), motion.extension_mm(), units=unit,
         ancillary_variables="segment_extension_uncertainty")
    _put(file, "segment_extension_uncertainty", ("time", "segment"), motion.extension_sigma_mm(),
         units=unit, long_name="standard uncertainty (k=1) of segment_extension")


def _native(values: np.ndarray) -> np.ndarray:
    """The numbers in this machine's byte order, floats as doubles."""
    return values.astype(float if values.dtype.kind == "f" else values.dtype.newbyteorder("="))


def read_netcdf(path: Path) -> tuple[Tracks, Motion | None]:
    """Tracks and motion back: positions to the last digit, covariances to seven."""
    try:
        with netcdf_file(str(path), "r", mmap=False) as file:
            data = {name: _native(variable.data) for name, variable in file.variables.items()}
            unit = file.variables["joint"].units.decode() if "joint" in data else "mm"
        status = np.array(STATUSES)[data["status"][..., 0]]
        tracks = Tracks(
            data["time"],
            np.moveaxis(data["position"][..., 0], -1, 1),
            np.moveaxis(data["position_covariance"][..., 0], -1, 1),
            status,
        )
        if "joint" not in data:
            return tracks, None
        joint = np.moveaxis(data["joint"][..., 0], -1, 1)
        shared = data.get("joint_shared")
        return tracks, Motion(
            data["time"],
            joint,
            np.moveaxis(data["joint_covariance"][..., 0], -1, 1),
            shared_mm=None if shared is None else np.moveaxis(shared[:, :, :, 0], 1, 2),
            status=status if status.shape == joint.shape[:2] else None,
            unit=unit,
        )
    except (OSError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InputError(f"{path} can't be read as a tracks.nc of rulerlab: {error}") from error
