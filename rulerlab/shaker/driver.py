"""The shaker as an instrument: connect, drive, stop, whatever happens."""

from __future__ import annotations

import atexit
import queue
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from rulerlab.clock import Exchange
from rulerlab.errors import InputError
from rulerlab.shaker.drive import Drive, Limits, check_program
from rulerlab.shaker.log import ShakerLog, Unwrap
from rulerlab.shaker.ports import BAUD, list_ports, open_port
from rulerlab.shaker.protocol import (
    IDENTITY,
    MOTOR_OFF,
    PROTOCOL,
    DamagedLine,
    Event,
    Reply,
    Samples,
    parse,
    seal,
)

LEASE_MS = 1000
KEEP_S = 0.25
USB_FRAME_S = 1e-3  # nothing on USB is timed better
BOOT_WAIT_S = 5.0  # a board resets when its port is opened; its bootloader takes two seconds
CURES = {
    "range": "it lies outside what the firmware allows (see `rulerlab shake --json` for limits)",
    "disarmed": "it had switched itself off: the host was silent too long, or the board restarted",
    "tripped": "it is locked after two trips or the stop button; check the bench, add --clear",
    "cooling": "the motor has to rest first",
    "sensor": "no accelerometer answers; check its four wires",
}


class ShakerError(InputError):
    """The shaker refused, fell silent or went away; `word` is the protocol's word for it."""

    def __init__(self, message: str, *, word: str = ""):
        super().__init__(message)
        self.word = word


class Shaker:
    """The motor under the table, at the far end of anything with `read` and `write`.

    Use it in a `with` block: whatever happens inside, the motor is off afterwards. While it is
    armed a thread renews the board's lease, as long as the program gives signs of life: every call
    is one. After `patience_s` without, the thread switches the motor off.
    """

    def __init__(self, port: Any, *, log: ShakerLog | None = None, patience_s: float = 2.0,
                 name: str = "the shaker"):  # fmt: skip
        self.name, self.log, self.patience_s = name, log, patience_s
        self.boots = 0
        self.damaged_lines = 0
        self.events: list[tuple[float | None, Event]] = []
        self.duty = 0.0  # what was asked for last
        self._unwrap = Unwrap()
        self._seq = secrets.randbelow(65000)
        self._talking = threading.RLock()
        self._touched_s = time.monotonic()
        self._counts_per_g = 1.0
        self._samples_seen = 0
        self.armed = False
        atexit.register(self._off)
        self._plug_in(port)

    @classmethod
    def connect(cls, url: str = "auto", *, log: ShakerLog | None = None) -> Shaker:
        """The shaker at a port, or the first port that answers like one (`auto`)."""
        if url != "auto":
            return cls(open_port(url), log=log, name=url)
        tried = []
        for device, what in list_ports():
            try:
                return cls(open_port(device), log=log, name=device)
            except InputError as error:
                tried.append(f"{device} ({what}): {error}")
        raise ShakerError("no shaker found; " + ("; ".join(tried) or "no serial port is there"))

    # the connection

    def _plug_in(self, port: Any) -> None:
        self.port = port
        self.lost: str | None = None
        self._replies: queue.Queue[tuple[Reply, float, int]] = queue.Queue()
        self._closing = threading.Event()
        self._unwrap.forget()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()
        try:
            self._handshake()
        except BaseException:
            self._unplug()
            raise
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._keeper.start()

    def _handshake(self) -> None:
        deadline = time.monotonic() + BOOT_WAIT_S
        reply = None
        while reply is None and not self.lost and time.monotonic() < deadline:
            reply = self._try("ID", attempts=1, wait_s=0.25)
        if reply is None:
            raise ShakerError(
                f"{self.name} does not answer like a shaker within {BOOT_WAIT_S:g} s; is it the "
                "right port, and is the firmware on it (make -C hardware/firmware flash)?"
            )
        if len(reply.words) != 4 or reply.words[0] != IDENTITY or reply.words[2] != PROTOCOL:
            raise ShakerError(f"{self.name} speaks {' '.join(reply.words)!r}, not {PROTOCOL}")
        self.firmware, self.uid = reply.words[1], reply.words[3]
        if self.uid == "FFFFFFFF":
            self.ask(f"UID {secrets.randbelow(2**32 - 2) + 1}")
            self.uid = self.ask("ID").words[3]
        caps = self.ask("CAPS")
        self.limits = Limits(
            duty=int(caps.field("duty") or 0) / 1000,
            ramp_s=int(caps.field("ramp") or 0) / 1000,
            run_s=int(caps.field("run") or 0) / 1000,
        )
        self.sensor = caps.field("sensor") or "none"
        self._counts_per_g = float(caps.field("per_g") or 1) or 1.0

    def replug(self, url: str, *, wait_s: float = 10.0) -> None:
        """Take up the same board again after its cable was out; the motor stays off."""
        uid = self.uid
        self._unplug()
        deadline = time.monotonic() + wait_s
        while True:
            try:
                self._plug_in(open_port(url))
                break
            except InputError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.25)
        if self.uid != uid:
            self.close()
            raise ShakerError(f"{url} is another shaker ({self.uid}), expected {uid}")
        self._note("plugged in again")

    def _listen(self) -> None:
        pending = b""
        while not self._closing.is_set():
            try:
                pending += self.port.read(max(1, self.port.in_waiting))
            except (OSError, TypeError, ValueError) as error:
                if not self._closing.is_set():
                    self._lose(str(error))
                return
            arrived_s = time.monotonic()
            *lines, pending = pending.split(b"\n")
            for line in lines:
                self._take(line, arrived_s)

    def _take(self, line: bytes, arrived_s: float) -> None:
        try:
            message = parse(line)
        except DamagedLine as damaged:
            if line.strip():
                self.damaged_lines += 1
                self._write_log("<", f"damaged ({damaged.why}): {line!r}", arrived_s)
            return
        if isinstance(message, Samples):
            self._samples_seen += len(message.counts)
            if self.log:
                first_s = self._unwrap(message.first_us)
                self.log.samples(
                    message, first_s=first_s, boot=self.boots, counts_per_g=self._counts_per_g
                )
            return
        mcu_s = None
        if isinstance(message, Event):
            if message.name == "BOOT":
                self.boots += 1
                self._unwrap.forget()
            elif message.words and message.words[-1].isdecimal():
                mcu_s = self._unwrap(int(message.words[-1]))
            if message.name in ("BOOT", "TRIP", "OFF"):
                self.armed, self.duty = False, 0.0
            self.events.append((mcu_s, message))
        self._write_log("<", line.decode("ascii", "replace").strip(), arrived_s, mcu_s)
        if isinstance(message, Reply):
            self._replies.put((message, arrived_s, len(line) + 1))

    def _lose(self, why: str) -> None:
        self.lost, self.armed, self.duty = why or "gone", False, 0.0
        self._note(f"lost: {why}")

    def _write_log(self, direction: str, text: str, at_s: float, mcu_s: float | None = None):
        if self.log:
            self.log.line(direction, text, at_s=at_s, boot=self.boots, mcu_s=mcu_s)

    def _note(self, text: str) -> None:
        self._write_log("!", text, time.monotonic())

    # requests

    def _send(self, data: bytes) -> float:
        sent_s = time.monotonic()
        try:
            self.port.write(data)
        except (OSError, TypeError, ValueError) as error:
            self._lose(str(error))
        return sent_s

    def _try(self, text: str, *, attempts: int = 5, wait_s: float = 0.4) -> Reply | None:
        """The reply, or None; a request that is sent again is never carried out twice."""
        with self._talking:
            self._seq = self._seq % 65535 + 1
            line = seal(f"{self._seq} {text}")
            for attempt in range(attempts):
                if self.lost:
                    return None
                if attempt or attempts == 1:
                    self._send(b"\n")  # ends whatever half line the board may hold
                sent_s = self._send(line)
                self._write_log(">", line.decode().strip(), sent_s)
                if reply := self._await(sent_s, wait_s, len(line)):
                    return reply
        return None

    def _await(self, sent_s: float, wait_s: float, length: int) -> Reply | None:
        deadline = time.monotonic() + wait_s
        while (left_s := deadline - time.monotonic()) > 0 and not self.lost:
            try:
                reply, arrived_s, reply_length = self._replies.get(timeout=min(left_s, 0.05))
            except queue.Empty:
                continue
            if reply.seq == self._seq:
                self._round = (sent_s, arrived_s, length, reply_length)
                return reply
            if reply.seq is None:  # it could not read a line, perhaps this one: say it again soon
                deadline = min(deadline, time.monotonic() + 0.05)
        return None

    def ask(self, text: str) -> Reply:
        """One request, one reply; ShakerError when it is refused or never comes."""
        self.touch()
        reply = self._try(text)
        if reply is None:
            if self.lost:
                raise ShakerError(
                    f"{self.name} has vanished ({self.lost}); the board stops the motor by itself. "
                    "Plug it in again and repeat"
                )
            raise ShakerError(f"{self.name} does not answer {text!r}; check cable and power")
        if not reply.ok:
            word = reply.words[1] if len(reply.words) > 1 else "?"
            cure = CURES.get(word, "see hardware/protocol.md")
            wait = f" for {int(reply.field('wait') or 0) / 1000:.1f} s" if word == "cooling" else ""
            raise ShakerError(f"the shaker refused {text!r} ({word}): {cure}{wait}", word=word)
        return reply

    def touch(self) -> None:
        """A sign of life of this program: without one the motor is switched off."""
        self._touched_s = time.monotonic()

    def _keep(self) -> None:
        while not self._closing.wait(KEEP_S):
            if not self.armed:
                continue
            if time.monotonic() - self._touched_s > self.patience_s:
                self._note(f"no sign of life for {self.patience_s:g} s: motor off")
                self._off()
            else:
                reply = self._try("KEEP", attempts=2, wait_s=0.2)
                if reply and not reply.ok:
                    self.armed, self.duty = False, 0.0

    # the motor

    def arm(self) -> None:
        self.ask(f"LEASE {LEASE_MS}")
        self.ask("ARM")
        self.armed = True

    def drive(self, drive: Drive) -> None:
        """Start a drive; it ends by itself after ramp and hold."""
        self.ask(drive.request())
        self.duty = 0.0 if drive.shape == "rest" else min(drive.duty, self.limits.duty)

    def stop(self) -> None:
        self.ask("STOP")
        self.duty = 0.0

    def clear(self) -> None:
        """Unlock after trips; only after a look at the bench."""
        self.ask("CLEAR")

    def play(self, program: list[Drive], *, on_tick: Callable[[], None] | None = None) -> None:
        """Drive after drive, in real time; ShakerError when the board stops in between."""
        check_program(program, self.limits)
        self.arm()
        for drive in program:
            self.drive(drive)
            self.wait(drive.total_s, on_tick=on_tick)
        self.ask("DISARM")
        self.armed, self.duty = False, 0.0

    def wait(self, seconds: float, *, on_tick: Callable[[], None] | None = None) -> None:
        """Let the time pass while the motor runs; ShakerError when it has stopped by itself."""
        was_armed, end_s = self.armed, time.monotonic() + seconds
        while True:
            self.touch()
            if self.lost or (was_armed and not self.armed):
                reason = self.lost or self._last_stop()
                raise ShakerError(f"the shaker stopped by itself: {reason}")
            left_s = end_s - time.monotonic()
            if left_s <= 0:
                return
            if on_tick:
                on_tick()
            time.sleep(min(left_s, 0.05))

    def _last_stop(self) -> str:
        for _, event in reversed(self.events):
            if event.name in ("BOOT", "TRIP", "OFF"):
                return f"{event.name.lower()} {' '.join(event.words[:1])}".strip()
        return "the lease ended"

    def _off(self) -> None:
        self.armed, self.duty = False, 0.0
        if not self.lost and getattr(self.port, "is_open", True):
            self._send(MOTOR_OFF)

    # time, light, acceleration

    def exchange(self) -> Exchange:
        """What this computer's and the board's clocks say, with what the wire leaves open."""
        with self._talking:
            reply = self.ask("T")
            sent_s, arrived_s, length, reply_length = self._round
        received_s, replied_s = (self._unwrap(int(word)) for word in reply.words)
        there_s, back_s = 10 * length / BAUD, 10 * reply_length / BAUD
        earliest, latest = sent_s + there_s, arrived_s - back_s
        return Exchange(
            host_s=(earliest + latest) / 2,
            mcu_s=(received_s + replied_s) / 2,
            slack_s=max(latest - earliest - (replied_s - received_s), USB_FRAME_S),
        )

    def blink(self, chip_ms: int) -> None:
        """Start the LED's time code; 0 ends it."""
        self.ask(f"LED {chip_ms}")

    def stream(self, period_ms: int) -> None:
        """Send the accelerometer's readings to the log; 0 ends it."""
        self.ask(f"STREAM {period_ms}")

    def status(self) -> dict[str, Any]:
        """State, duty, trips and missed samples as the board tells them."""
        reply = self.ask("STAT")
        pairs = dict(word.split("=", 1) for word in reply.words)
        return {
            "state": pairs["state"], "duty": int(pairs["duty"]) / 1000,
            "trips": int(pairs["trips"]), "samples_missed_by_the_board": int(pairs["dropped"]),
            "samples": self._samples_seen, "damaged_lines": self.damaged_lines,
            "boots": self.boots,
        }  # fmt: skip

    # the end

    def _unplug(self) -> None:
        self._closing.set()
        for thread in (self._listener, getattr(self, "_keeper", None)):
            if thread and thread is not threading.current_thread() and thread.is_alive():
                thread.join(2)
        try:
            self.port.close()
        except (OSError, TypeError, ValueError) as error:
            self._note(f"closing: {error}")

    def close(self) -> None:
        """Motor off, port free."""
        self._off()
        self._unplug()
        atexit.unregister(self._off)

    def __enter__(self) -> Shaker:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
