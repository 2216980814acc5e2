"""Finding the shaker: serial ports, by what they are and then by what they answer."""

from __future__ import annotations

import contextlib
import errno
import os
from typing import Any

from rulerlab.errors import InputError

BAUD = 115200
# vendor and product of boards that may carry the firmware: Uno R3, its clones, Nanos with a CH340
BOARDS = {(0x2341, 0x0043), (0x2341, 0x0001), (0x2A03, 0x0043), (0x2341, 0x0243),
          (0x1A86, 0x7523), (0x0403, 0x6001), (0x10C4, 0xEA60)}  # fmt: skip


def list_ports() -> list[tuple[str, str]]:
    """The serial ports of this machine that may be a shaker, likely ones first: (port, what)."""
    from serial.tools import list_ports as pyserial_ports

    found = [
        ((port.vid, port.pid) not in BOARDS, port.device, port.description or "")
        for port in pyserial_ports.comports()
        if port.vid is not None
    ]
    return [(device, what) for _, device, what in sorted(found)]


def open_port(url: str) -> Any:
    """A serial port by name (`/dev/ttyACM0`, `COM3`) or pyserial URL; `simulated` needs no board.

    Raises InputError that holds the cure when the port is missing, forbidden or in use.
    """
    if url == "simulated":
        from rulerlab.shaker.simulated import SimulatedShaker

        return SimulatedShaker()
    import serial

    try:
        port = serial.serial_for_url(url, baudrate=BAUD, timeout=0.05)
        with contextlib.suppress(NotImplementedError):  # rfc2217 knows no such limit
            port.write_timeout = 1.0
        return port
    except (OSError, ValueError) as error:
        raise InputError(_cure(url, error)) from error


def _cure(url: str, error: Exception) -> str:
    text = str(error)
    code = getattr(error, "errno", None)
    if code is None:  # pyserial drops it on some systems
        code = next((c for c in (errno.EACCES, errno.ENOENT, errno.EBUSY)
                     if f"Errno {c}]" in text or os.strerror(c) in text), None)  # fmt: skip
    if code == errno.EACCES:
        return (
            f"no permission to use {url}: run `sudo usermod -aG dialout $USER` "
            "(Arch Linux: uucp), log out and in again"
        )
    if code == errno.ENOENT:
        here = ", ".join(port for port, _ in list_ports()) or "none"
        return f"there is no port {url}; serial ports here: {here}. Is the cable plugged in?"
    if code == errno.EBUSY:
        return f"{url} is in use; close the serial monitor or the other rulerlab"
    return f"{url} can't be opened: {text}"
