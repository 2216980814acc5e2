"""RL1, the lines that host and shaker exchange: numbered, checksummed, one reply to one request.

The contract, with a transcript, is hardware/protocol.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LONGEST_REQUEST = 60
MOTOR_OFF = b"\x18"
IDENTITY = "rulerlab-shaker"
PROTOCOL = "RL1"
PROBLEMS = ("", "verb", "args", "range", "disarmed", "tripped", "cooling", "sensor", "uid")


class DamagedLine(ValueError):
    """A line whose checksum is missing or wrong; `why` is the protocol's own word for it."""

    def __init__(self, why: str):
        super().__init__(why)
        self.why = why


def crc16(text: bytes) -> int:
    """CRC-16/MCRF4XX: "123456789" gives 0x6F91."""
    crc = 0xFFFF
    for byte in text:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ 0x8408 if crc & 1 else crc >> 1
    return crc


def seal(text: str) -> bytes:
    """The line as it goes over the wire: text, checksum, newline."""
    return f"{text}*{crc16(text.encode('ascii')):04X}\n".encode("ascii")


def unseal(line: bytes) -> str:
    """The text of a line whose checksum is right; DamagedLine otherwise."""
    text, star, crc = line.rstrip(b"\r\n").rpartition(b"*")
    if not star or len(crc) != 4 or any(c not in b"0123456789ABCDEF" for c in crc):
        raise DamagedLine("nocrc")
    if int(crc, 16) != crc16(text):
        raise DamagedLine("crc")
    return text.decode("ascii", "replace")


@dataclass(frozen=True)
class Reply:
    """What the board answered to request `seq`; `seq` is None when it could not read one."""

    seq: int | None
    ok: bool
    words: tuple[str, ...]

    def field(self, name: str) -> str | None:
        """The value of `name=value`."""
        return next((w[len(name) + 1 :] for w in self.words if w.startswith(name + "=")), None)


@dataclass(frozen=True)
class Event:
    """Something the board tells unasked: BOOT, DONE, TRIP, OFF, WORD, FAULT."""

    name: str
    words: tuple[str, ...]


@dataclass(frozen=True)
class Samples:
    """A few evenly spaced readings of the accelerometer."""

    number: int  # of the line, 0..65535
    first_us: int  # microcontroller time of the first reading, modulo 2^32
    period_us: int
    counts: np.ndarray  # (n, 3)


def parse(line: bytes) -> Reply | Event | Samples:
    """One line of the board; DamagedLine when it can't be trusted."""
    text = unseal(line)
    words = tuple(text[1:].split())
    try:
        if text.startswith("="):
            seq = None if words[0] == "?" else int(words[0])
            return Reply(seq, {"OK": True, "ERR": False}[words[1]], words[2:])
        if text.startswith("!"):
            return Event(words[0], words[1:])
        if text.startswith("#"):
            counts = np.frombuffer(bytes.fromhex(words[3]), ">i2").reshape(-1, 3)
            return Samples(int(words[0]), int(words[1]), int(words[2]), counts.astype(int))
    except (ValueError, IndexError, KeyError) as error:
        raise DamagedLine("form") from error
    raise DamagedLine("form")
