"""A shaker without a board: the same protocol, the same safety rules, and a motor that hums.

It is a stand-in for a serial port. Its time comes from a clock that is handed in, so that tests
run it as fast as they like; its rules are those of hardware/firmware/shaker, checked side by side.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import numpy as np

from rulerlab.clock import CHIPS, word_chips
from rulerlab.shaker.protocol import (
    IDENTITY,
    LONGEST_REQUEST,
    PROBLEMS,
    PROTOCOL,
    DamagedLine,
    seal,
    unseal,
)
from rulerlab.shaker.waveform import Waveform, WholeDrive

MAX_DUTY, MIN_RAMP_MS, MAX_RUN_MS, TRIPS_BEFORE_LATCH = 900, 100, 30_000, 2
MIN_LEASE_MS, MAX_LEASE_MS, DEFAULT_LEASE_MS = 50, 2000, 500
COUNTS_PER_G, BATCH = 4096, 3
ARGUMENTS = {
    "ID": 0, "CAPS": 0, "UID": 1, "ARM": 0, "DISARM": 0, "LEASE": 1, "KEEP": 0, "SHAKE": 3,
    "SINE": 6, "NOISE": 7, "STOP": 0, "STAT": 0, "T": 0, "LED": 1, "ACC": 0, "STREAM": 1,
    "CLEAR": 0,
}  # fmt: skip
QUIET = {"ID", "CAPS", "UID", "STAT", "T", "LED", "ACC", "STREAM"}  # an error leaves the motor be


class Refused(Exception):
    """The request is understood and refused, with the protocol's word for it."""

    def __init__(self, word: str, detail: str = ""):
        super().__init__(word)
        self.word, self.detail = word, detail


def motor_frequency_hz(duty: float) -> float:
    """An eccentric motor turns faster the longer it is switched on."""
    return 12.0 + 150.0 * duty


def motor_acceleration_g(duty: float) -> float:
    """The force of an eccentric mass grows as the square of its frequency."""
    return 4.0 * (motor_frequency_hz(duty) / motor_frequency_hz(0.9)) ** 2 if duty > 0.05 else 0.0


class SimulatedShaker:
    """A serial port with a simulated board at its far end."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, *, uid: int = 0x51317A7E):
        self._clock, self._uid = clock, uid
        self._start_s = clock()
        self._lock = threading.RLock()
        self._sent = bytearray()
        self._now_ms = 0
        self.is_open = True
        self.timeout = 0.05
        self.name = "simulated"
        self._power_up(1)

    def _power_up(self, cause: int) -> None:
        self._line, self._long, self._odd = bytearray(), False, False
        self._last: tuple[int, bytes, bytes] | None = None
        self._state, self._duty, self._trips, self._heat = "safe", 0, 0, 0
        self._lease, self._lease_from = DEFAULT_LEASE_MS, self._now_ms
        self._drive = WholeDrive()
        self._wave = Waveform(self._drive)
        self._start_duty = self._ran = 0
        self._chip = self._word = self._word_ms = 0
        self._period, self._batches, self._held = 0, 0, []
        self._turn = 0.0
        self._send(f"!BOOT {IDENTITY} 1.0.0 {PROTOCOL} {self._uid:08X} {cause:02X}")

    # the serial port

    @property
    def in_waiting(self) -> int:
        with self._lock:
            self._catch_up()
            return len(self._sent)

    def write(self, data: bytes) -> int:
        with self._lock:
            self._catch_up()
            for byte in data:
                self._receive(byte)
            return len(data)

    def read(self, size: int = 1) -> bytes:
        deadline = time.monotonic() + self.timeout
        while not self.in_waiting and self.is_open and time.monotonic() < deadline:
            time.sleep(0.002)
        with self._lock:
            taken = bytes(self._sent[:size])
            del self._sent[:size]
            return taken

    def close(self) -> None:
        self.is_open = False

    @property
    def duty(self) -> float:
        """What the motor gets now, 0..1."""
        with self._lock:
            self._catch_up()
            return self._duty / 1000

    @property
    def led(self) -> int:
        """1 while the LED shines."""
        with self._lock:
            self._catch_up()
            if not self._word:
                return 0
            into_word_ms = self._now_ms - self._word_ms - (self._word - 1) * CHIPS * self._chip
            return int(word_chips(self._word - 1 & 0xFFF)[into_word_ms // self._chip])

    # the board

    def _micros(self) -> int:
        return int((self._clock() - self._start_s) * 1e6) & 0xFFFFFFFF

    def _send(self, text: str) -> None:
        self._sent += seal(text)

    def _event(self, name: str, detail: str = "") -> None:
        self._send(" ".join(filter(None, [f"!{name}", detail, str(self._now_ms * 1000)])))

    def _catch_up(self) -> None:
        now_ms = int((self._clock() - self._start_s) * 1000 + 1e-6)
        while self._now_ms < now_ms:
            self._now_ms += 1
            self._every_ms()

    def _every_ms(self) -> None:
        if self._state == "running":
            self._run_one_ms()
        elif self._heat:
            self._heat -= 1
        if self._state in ("armed", "running") and self._now_ms - self._lease_from >= self._lease:
            self._trip("lease")
        self._turn += motor_frequency_hz(self._duty / 1000) / 1000 if self._duty else 0.0
        if self._chip and (self._now_ms - self._word_ms) % (CHIPS * self._chip) == 0:
            self._send(f"!WORD {self._word & 0xFFF} {self._now_ms * 1000 & 0xFFFFFFFF}")
            self._word += 1
        if self._period and self._now_ms % self._period == 0:
            self._sample()

    def _sample(self) -> None:
        self._held.append(self._counts())
        if len(self._held) < BATCH:
            return
        first_us = (self._now_ms - (BATCH - 1) * self._period) * 1000 & 0xFFFFFFFF
        values = np.array(self._held, ">i2").tobytes().hex().upper()
        self._send(f"#{self._batches & 0xFFFF} {first_us} {self._period * 1000} {values}")
        self._batches += 1
        self._held = []

    def _counts(self) -> list[int]:
        g = motor_acceleration_g(self._duty / 1000) * math.sin(2 * math.pi * self._turn)
        return [round(COUNTS_PER_G * value) for value in (g, 0.05 * g, 1.0)]

    def _run_one_ms(self) -> None:
        if self._ran >= self._drive.ramp_ms + self._drive.hold_ms:
            self._stop()
            self._event("DONE")
            return
        target = self._wave.step()
        if self._ran < self._drive.ramp_ms:
            change = (target - self._start_duty) * self._ran
            target = self._start_duty + int(change / self._drive.ramp_ms)
        self._duty = min(max(target, 0), MAX_DUTY)
        self._ran += 1
        self._heat += 1

    def _stop(self) -> None:
        self._duty = 0
        if self._state == "running":
            self._state = "armed"

    def _disarm(self) -> None:
        self._duty = 0
        if self._state != "tripped":
            self._state = "safe"

    def _trip(self, reason: str) -> None:
        self._disarm()
        self._trips += 1
        if self._trips >= TRIPS_BEFORE_LATCH:
            self._state = "tripped"
        self._event("TRIP", reason)

    # the protocol

    def _receive(self, byte: int) -> None:
        if byte == 0x18:
            self._disarm()
            self._line, self._long, self._odd = bytearray(), False, False
            self._event("OFF")
        elif byte == 0x0A:
            line, too_long, odd = bytes(self._line), self._long, self._odd
            self._line, self._long, self._odd = bytearray(), False, False
            if line or too_long or odd:
                self._answer(line, "long" if too_long else "crc" if odd else "")
        elif byte != 0x0D:
            if not 0x20 <= byte <= 0x7E:
                self._odd = True
            elif len(self._line) == LONGEST_REQUEST:
                self._long = True
            else:
                self._line.append(byte)

    def _answer(self, line: bytes, problem: str) -> None:
        try:
            if problem:
                raise DamagedLine(problem)
            words = unseal(line).split(" ")
            if not words[0].isdecimal() or int(words[0]) > 65535 or len(words) < 2:
                raise DamagedLine("seq")
        except DamagedLine as damaged:
            self._send(f"=? ERR {damaged.why}")
            return
        seq = int(words[0])
        if self._last and self._last[:2] == (seq, line):
            self._sent += self._last[2]
            return
        try:
            text = f"={seq} OK{self._execute(words[1], words[2:])}"
        except Refused as refused:
            if words[1] not in QUIET and refused.word != "verb":
                self._disarm()
            text = f"={seq} ERR {PROBLEMS.index(refused.word)} {refused.word}{refused.detail}"
        self._last = (seq, line, seal(text))
        self._sent += self._last[2]

    def _execute(self, verb: str, arguments: list[str]) -> str:
        if verb not in ARGUMENTS:
            raise Refused("verb")
        plain = all(a.isascii() and a.isdecimal() and int(a) < 2**32 for a in arguments)
        if len(arguments) != ARGUMENTS[verb] or not plain:
            raise Refused("args")
        return getattr(self, f"_do_{verb.lower()}")(*map(int, arguments)) or ""

    def _do_id(self) -> str:
        return f" {IDENTITY} 1.0.0 {PROTOCOL} {self._uid:08X}"

    def _do_caps(self) -> str:
        return (
            f" duty={MAX_DUTY} ramp={MIN_RAMP_MS} run={MAX_RUN_MS} lease={MAX_LEASE_MS}"
            f" sensor=mpu6050 per_g={COUNTS_PER_G}"
        )

    def _do_uid(self, uid: int) -> None:
        if self._uid != 0xFFFFFFFF:
            raise Refused("uid")
        if uid in (0, 0xFFFFFFFF):
            raise Refused("range")
        self._uid = uid

    def _do_arm(self) -> None:
        if self._state == "tripped":
            raise Refused("tripped")
        if self._state == "safe":
            self._state = "armed"
        self._lease_from = self._now_ms

    def _do_disarm(self) -> None:
        self._disarm()

    def _do_lease(self, ms: int) -> None:
        if not MIN_LEASE_MS <= ms <= MAX_LEASE_MS:
            raise Refused("range")
        self._lease, self._lease_from = ms, self._now_ms

    def _do_keep(self) -> None:
        if self._state in ("tripped", "safe"):
            raise Refused("tripped" if self._state == "tripped" else "disarmed")
        self._lease_from = self._now_ms

    def _do_shake(self, duty: int, ramp: int, hold: int) -> str:
        return self._begin(WholeDrive("constant", duty, ramp_ms=ramp, hold_ms=hold))

    def _do_sine(self, mean: int, amplitude: int, f0: int, f1: int, ramp: int, hold: int) -> str:
        return self._begin(WholeDrive("sine", mean, amplitude, f0, f1, 0, ramp, hold))

    def _do_noise(self, *numbers: int) -> str:
        return self._begin(WholeDrive("noise", *numbers))

    def _begin(self, drive: WholeDrive) -> str:
        if not drive.is_allowed(MAX_RUN_MS):
            raise Refused("range")
        if self._state in ("tripped", "safe"):
            raise Refused("tripped" if self._state == "tripped" else "disarmed")
        drive = drive.within(MIN_RAMP_MS, MAX_DUTY)
        if drive.ramp_ms + drive.hold_ms > MAX_RUN_MS:
            raise Refused("range")
        wait = self._heat + drive.ramp_ms + drive.hold_ms - MAX_RUN_MS
        if wait > 0:
            raise Refused("cooling", f" wait={wait}")
        self._drive, self._wave = drive, Waveform(drive)
        self._start_duty, self._ran, self._state = self._duty, 0, "running"
        self._lease_from = self._now_ms
        return f" duty={drive.mean} ramp={drive.ramp_ms} hold={drive.hold_ms} t={self._micros()}"

    def _do_stop(self) -> None:
        self._stop()

    def _do_stat(self) -> str:
        return (
            f" state={self._state} duty={self._duty} trips={self._trips} heat={self._heat}"
            " dropped=0"
        )

    def _do_t(self) -> str:
        return f" {self._micros()} {self._micros()}"

    def _do_led(self, chip_ms: int) -> None:
        if chip_ms and not 5 <= chip_ms <= 250:
            raise Refused("range")
        self._chip, self._word, self._word_ms = chip_ms, 0, self._now_ms + 1

    def _do_acc(self) -> str:
        return f" {self._micros()} " + " ".join(map(str, self._counts()))

    def _do_stream(self, period_ms: int) -> None:
        if period_ms and not 2 <= period_ms <= 250:
            raise Refused("range")
        self._period, self._batches, self._held = period_ms, 0, []

    def _do_clear(self) -> None:
        self._disarm()
        self._state, self._trips = "safe", 0
