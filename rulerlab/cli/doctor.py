"""`rulerlab doctor`: what works on this machine, and the command that mends what does not."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

SYSTEM_LIBRARIES = "sudo apt install libgl1 libglib2.0-0"
MARKS = {"ok": "ok     ", "broken": "BROKEN ", "missing": "missing", "none": "none   "}
OPTIONAL = {
    "torch": ("training networks", 'pip install -c constraints.txt ".[networks]"'),
    "starlette": ("the review page", 'pip install -c constraints.txt ".[review]"'),
}
PROGRAMS = {
    "avr-gcc": ("testing the firmware", "sudo apt install gcc-avr avr-libc arduino-core-avr"),
    "node": ("the board emulator", "sudo apt install nodejs"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    name: str
    state: str  # "ok", "broken" (a core part), "missing" (an optional part), "none" (no device)
    detail: str
    remedy: str = ""


@click.command(short_help="Check what works on this machine and how to mend the rest.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def command(as_json: bool) -> int:
    """Check codecs, OpenCV, cameras, serial ports and optional parts.

    Exit code 5 if a part that every run needs is broken.
    """
    findings = [check() for check in (_libraries, _opencv, _video, _cameras, _ports)]
    findings += [_package(name, *about) for name, about in OPTIONAL.items()]
    findings += [_program(name, *about) for name, about in PROGRAMS.items()]
    broken = any(finding.state == "broken" for finding in findings)
    if as_json:
        parts = [asdict(finding) for finding in findings]
        click.echo(json.dumps({"schema_version": 1, "ok": not broken, "parts": parts}, indent=2))
    else:
        for finding in findings:
            click.echo(f"{MARKS[finding.state]}  {finding.name}: {finding.detail}")
            if finding.remedy:
                click.echo(f"         -> {finding.remedy}")
    return 5 if broken else 0


def _guarded(name: str, look: Callable[[], str], remedy: Callable[[Exception], str]) -> Finding:
    """Run one check of a core part; whatever it raises is its finding."""
    try:
        return Finding(name, "ok", look())
    except Exception as error:  # a broken installation may raise anything
        first = (str(error).splitlines() or [""])[0]
        return Finding(name, "broken", f"{type(error).__name__}: {first}", remedy(error))


def _libraries() -> Finding:
    def look() -> str:
        names = ("numpy", "scipy.optimize", "scipy.io", "matplotlib", "numba", "click")
        for name in names:
            importlib.import_module(name)
        shown = ("numpy", "scipy", "matplotlib", "numba")
        return f"python {sys.version.split()[0]}, " + ", ".join(f"{n} {version(n)}" for n in shown)

    return _guarded("libraries", look, lambda _: "pip install -c constraints.txt .")


def opencv_remedy(error: Exception) -> str:
    """What to do about an import of OpenCV that failed."""
    if ".so" in str(error):
        return f"{SYSTEM_LIBRARIES}   (or: pip install opencv-python-headless, after "\
               "pip uninstall opencv-python)"
    return "pip install --force-reinstall -c constraints.txt opencv-python"


def _opencv() -> Finding:
    def look() -> str:
        import cv2
        import numpy as np

        dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_4X4_50)
        picture = np.full((120, 120), 255, np.uint8)
        picture[20:100, 20:100] = cv2.aruco.generateImageMarker(dictionary, 7, 80)
        ids = cv2.aruco.ArucoDetector(dictionary).detectMarkers(picture)[1]
        if ids is None or np.ravel(ids).tolist() != [7]:
            raise RuntimeError("the tag detector does not find a perfect tag")
        return f"{cv2.__version__}, finds tags"

    return _guarded("OpenCV", look, opencv_remedy)


def _video() -> Finding:
    """Encode a few frames as H.264 in memory and decode them again."""

    def look() -> str:
        import io

        import av
        import numpy as np

        room = io.BytesIO()
        with av.open(room, "w", format="mp4") as film:
            stream = film.add_stream("libx264", rate=30)
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
            for level in (16, 128, 235):
                picture = np.full((48, 64, 3), level, np.uint8)
                film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            film.mux(stream.encode())
        room.seek(0)
        with av.open(room) as film:
            levels = [frame.to_ndarray(format="gray").mean() for frame in film.decode(video=0)]
        if len(levels) != 3 or not levels[0] < levels[1] < levels[2]:
            raise RuntimeError(f"3 frames went in, {len(levels)} came back")
        also = [name for name in ("hevc", "vp9", "av1", "mjpeg") if name in av.codecs_available]
        return f"PyAV {av.__version__}: H.264 in and out, reads {', '.join(also)} too"

    return _guarded("video", look,
                    lambda _: "pip install --force-reinstall -c constraints.txt av")


def _cameras() -> Finding:
    """Cameras that Linux lists; they are not opened."""
    devices = sorted(Path("/dev").glob("video*")) if Path("/dev").is_dir() else []
    if not devices:
        return Finding("cameras", "none", "no /dev/video* (needed for `rulerlab record` only)")
    closed = [str(path) for path in devices if not os.access(path, os.R_OK | os.W_OK)]
    shown = ", ".join(_camera_name(path) for path in devices)
    if closed:
        return Finding("cameras", "missing", f"{shown}; no permission for {', '.join(closed)}",
                       "sudo usermod -aG video $USER   (then log in again)")
    return Finding("cameras", "ok", shown)


def _camera_name(path: Path) -> str:
    try:
        name = Path(f"/sys/class/video4linux/{path.name}/name").read_text().strip()
    except OSError:
        return str(path)
    return f"{path} ({name})"


def _ports() -> Finding:
    """Serial ports with something on them; they are not opened."""
    try:
        from serial.tools.list_ports import comports
    except ImportError as error:
        return Finding("serial ports", "broken", str(error), "pip install pyserial")
    ports = [port for port in comports() if port.vid is not None or "ttyS" not in port.device]
    if not ports:
        return Finding("serial ports", "none", "no board on USB (needed for the shaker only)")
    shown = ", ".join(f"{port.device} ({port.description})" for port in ports)
    closed = [port.device for port in ports if sys.platform.startswith("linux")
              and not os.access(port.device, os.R_OK | os.W_OK)]
    if closed:
        return Finding("serial ports", "missing", f"{shown}; no permission for {', '.join(closed)}",
                       "sudo usermod -aG dialout $USER   (then log in again)")
    return Finding("serial ports", "ok", shown)


def _package(name: str, use: str, remedy: str) -> Finding:
    try:
        return Finding(name, "ok", f"{version(name)}, for {use}")
    except PackageNotFoundError:
        return Finding(name, "missing", f"optional, for {use}", remedy)


def _program(name: str, use: str, remedy: str) -> Finding:
    place = shutil.which(name)
    if place:
        return Finding(name, "ok", f"{place}, for {use}")
    return Finding(name, "missing", f"optional, for {use}", remedy)
