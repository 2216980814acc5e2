"""Frames as they come: from a camera of this computer, a stream on the network, or a file.

Every frame carries the moment of its arrival on this computer's monotonic clock. Where the source
has timestamps of its own that can be believed, they are kept too: a stream of JPEGs has none, and
what decoders show instead is invented.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import av.error

from rulerlab.errors import InputError

INVENTED = ("mpjpeg", "mjpeg", "image2", "jpeg_pipe")  # formats without timestamps
OPEN_S, READ_S = 10.0, 5.0


@dataclass(frozen=True)
class Shot:
    """One frame and its times."""

    picture: av.VideoFrame
    arrived_s: float  # this computer's monotonic clock
    source_s: float | None  # the source's own timestamp


def open_camera(camera: str, *, wait_s: float = OPEN_S) -> Iterator[Shot]:
    """Frames of a camera index (`0`), a stream address (rtsp, http, udp, tcp) or a file.

    The iterator ends with the stream; InputError when nothing can be opened within `wait_s`.
    Files are read at the speed at which they were filmed.
    """
    if re.fullmatch(r"\d+", camera):
        return _local_camera(int(camera))
    if "://" in camera:
        return _stream(_open_waiting(camera, wait_s), paced=False)
    if not Path(camera).is_file():
        raise InputError(f"{camera} is no camera index, no address with :// and no file")
    return _stream(_open_once(camera), paced=True)


def _open_once(address: str) -> av.container.InputContainer:
    options = {"fflags": "nobuffer", "flags": "low_delay"} if "://" in address else {}
    if address.startswith("rtsp"):
        options["rtsp_transport"] = "tcp"
    try:
        container = av.open(address, options=options, timeout=(OPEN_S, READ_S))
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(f"{address} can't be opened: {error}") from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{address} holds no picture")
    return container


def _open_waiting(address: str, wait_s: float) -> av.container.InputContainer:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return _open_once(address)
        except InputError as error:
            if time.monotonic() > deadline:
                raise InputError(
                    f"{error}; is the camera on, and its address right? (tried for {wait_s:g} s)"
                ) from error
            time.sleep(0.2)


def _stream(container: av.container.InputContainer, *, paced: bool) -> Iterator[Shot]:
    believable = not any(name in container.format.name.split(",") for name in INVENTED)
    begun_s = first_s = None
    with container:
        try:
            for picture in container.decode(video=0):
                arrived_s = time.monotonic()
                source_s = picture.time if believable else None
                if paced and source_s is not None:
                    begun_s = arrived_s if begun_s is None else begun_s
                    first_s = source_s if first_s is None else first_s
                    time.sleep(max(0.0, begun_s + source_s - first_s - arrived_s))
                    arrived_s = time.monotonic()
                yield Shot(picture, arrived_s, source_s)
        except (av.error.FFmpegError, OSError) as error:
            raise InputError(f"the stream broke off: {error}") from error


def _local_camera(index: int) -> Iterator[Shot]:
    import cv2

    device = cv2.VideoCapture(index)
    if not device.isOpened():
        device.release()
        raise InputError(
            f"camera {index} can't be opened: is it plugged in, and not used by another program?"
        )
    return _read_device(device)


def _read_device(device: Any) -> Iterator[Shot]:
    try:
        while True:
            ok, picture = device.read()
            arrived_s = time.monotonic()
            if not ok:
                return
            yield Shot(av.VideoFrame.from_ndarray(picture, format="bgr24"), arrived_s, None)
    finally:
        device.release()
