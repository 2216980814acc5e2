"""The shaker's firmware on an emulated Arduino Uno, for tests and for trying things without one.

`LockstepBoard` runs for as many cycles as it is told, so that what it does never depends on the
load of this machine. `PtyBoard` runs in real time and is reached like a real board, through the
serial port whose name it gives. Run as a program it prints that name and waits:

    python hardware/emulator/emulator.py
"""

from __future__ import annotations

import contextlib
import json
import os
import pty
import subprocess
import threading
import tty
from pathlib import Path

HERE = Path(__file__).parent
FIRMWARE = HERE.parent / "firmware" / "build" / "shaker.hex"
HZ = 16_000_000


class LockstepBoard:
    """A board whose time stands still between two calls."""

    def __init__(self, firmware: Path = FIRMWARE, *, sensor: str = "mpu6050", lose_bytes=False):
        self.process = subprocess.Popen(
            ["node", str(HERE / "lockstep.mjs"), str(firmware), sensor],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=os.environ | {"EMULATOR_LOSE_BYTES": "1" if lose_bytes else "0"},
        )
        self.received = ""
        self.state = self.ask()

    def ask(self, **request) -> dict:
        """One request to the emulator, one answer; see lockstep.mjs."""
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        self.state = json.loads(self.process.stdout.readline())
        self.received += self.state["rx"]
        return self.state

    @property
    def time_s(self) -> float:
        return self.state["cycle"] / HZ

    def run(self, seconds: float, **request) -> dict:
        return self.ask(run=round(seconds * HZ), **request)

    def lines(self) -> list[str]:
        """The whole lines that the board has sent since the last call."""
        *whole, self.received = self.received.split("\n")
        return [line.rstrip("\r") for line in whole]

    def duty(self, seconds: float) -> float:
        """Share of the next `seconds` during which the motor's pin is high."""
        before = self.state
        after = self.run(seconds)
        return (after["motor"]["high"] - before["motor"]["high"]) / (
            after["cycle"] - before["cycle"]
        )

    def close(self) -> None:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.close()
        self.process.wait(10)
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class PtyBoard:
    """A board in real time; `port` is the name of its serial port."""

    def __init__(self, firmware: Path = FIRMWARE, *, sensor: str = "mpu6050"):
        self.master, slave = pty.openpty()
        tty.setraw(slave)
        self.port = os.ttyname(slave)
        self.slave: int | None = slave  # held open: a pty without a client reads as unplugged
        os.set_blocking(self.master, False)
        os.set_inheritable(self.master, True)
        commands, self.commands = os.pipe()
        os.set_blocking(commands, False)
        self.process = subprocess.Popen(
            ["node", str(HERE / "realtime.mjs"), str(firmware), sensor, str(self.master)],
            stdin=commands, stderr=subprocess.PIPE, text=True, pass_fds=[self.master],
        )
        os.close(commands)
        os.close(self.master)  # the emulator alone holds it: when it ends, the board is unplugged
        self.events: list[dict] = []
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.events.append(json.loads(line) if line.startswith("{") else {"event": line})

    def tell(self, command: str) -> None:
        os.write(self.commands, (command + "\n").encode())

    def reset(self) -> None:
        """Press the button on the board (opening a real port does the same)."""
        self.tell("reset")

    def set_accelerometer(self, **state) -> None:
        self.tell(f"accelerometer {json.dumps(state)}")

    def close(self) -> None:
        """Pull the plug."""
        with contextlib.suppress(OSError):
            os.close(self.commands)
        self.process.wait(10)
        self.listener.join(10)
        assert self.process.stderr
        self.process.stderr.close()
        if self.slave is not None:
            os.close(self.slave)
            self.slave = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


if __name__ == "__main__":
    with PtyBoard() as board, contextlib.suppress(KeyboardInterrupt):
        print(board.port, flush=True)
        board.process.wait()
