"""Three boards under one roof, so that one law is tested on all of them.

`simulated`: the Python stand-in. `core`: the firmware's own code on this PC, under ASan and UBSan.
`lockstep`: the hex file on an emulated Uno. Time passes only when a bench is told to run.
"""

import importlib.util
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from rulerlab.shaker.protocol import Event, Reply, parse, seal

HARDWARE = Path(__file__).parent.parent / "hardware"
FIRMWARE = HARDWARE / "firmware"
BUILD = FIRMWARE / "build"
CORE_AVR = Path("/usr/share/arduino/hardware/arduino/avr")


def missing_parts(names):
    """What this machine lacks of the tools `names`, each with the way to get it."""
    cures = {
        "g++": "apt-get install g++",
        "make": "apt-get install make",
        "avr-g++": "apt-get install gcc-avr avr-libc",
        "node": "apt-get install nodejs",
    }
    missing = [f"{name} ({cures[name]})" for name in names if not shutil.which(name)]
    if "avr-g++" in names and not CORE_AVR.is_dir():
        missing.append("the Arduino core (apt-get install arduino-core-avr)")
    if "node" in names and not (HARDWARE / "emulator" / "node_modules" / "avr8js").is_dir():
        missing.append("avr8js (cd hardware/emulator && npm ci)")
    return missing


def require(*names):
    """Skip with a reason, or fail where RULERLAB_REQUIRE_AVR=1 promises that all is there."""
    if missing := missing_parts(names):
        tell = pytest.fail if os.environ.get("RULERLAB_REQUIRE_AVR") == "1" else pytest.skip
        tell("needs " + ", ".join(missing))


@cache
def build(target="all", *, variant="shaker", defines=""):
    """Build the firmware (or the core for this PC) and return the file."""
    done = subprocess.run(
        ["make", "-C", str(FIRMWARE), target, f"VARIANT={variant}", f"DEFINES={defines}"],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    if target == "core":
        return BUILD / ("core" if variant == "shaker" else f"core_{variant}")
    return BUILD / f"{variant}.hex"


@cache
def emulator():
    """hardware/emulator/emulator.py as a module."""
    path = HARDWARE / "emulator" / "emulator.py"
    spec = importlib.util.spec_from_file_location("emulator", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Bench:
    """What the laws need of a board; `raw`, `run`, `duty`, `is_off`, `fall_s` differ."""

    reaction_s = 0.005

    def __init__(self):
        self.seq = 0
        self.events = []

    def request(self, text):
        self.seq += 1
        return seal(f"{self.seq} {text}")

    def ask(self, text):
        return self.send(self.request(text))

    def send(self, line):
        """Send a line and wait for its reply; events that come with it are kept."""
        lines = self.raw(line)
        for _ in range(20):
            for number, one in enumerate(lines):
                if isinstance(parse(one), Reply):
                    self.keep(lines[number + 1 :])
                    return parse(one)
                self.keep([one])
            lines = self.run(0.005)
        raise AssertionError(f"no reply to {line!r}")

    def keep(self, lines):
        self.events += [parse(line) for line in lines]

    def live(self, seconds, *, keep=0.04):
        """Time passes while the host stays in touch."""
        while seconds > 0:
            self.keep(self.run(min(keep, seconds)))
            self.ask("KEEP")
            seconds -= keep

    def event_names(self):
        return [event.name for event in self.events if isinstance(event, Event)]

    def start(self, request="SHAKE 500 100 5000", *, lease_ms=200):
        for text in (f"LEASE {lease_ms}", "ARM", request):
            assert self.ask(text).ok, text

    def close(self):
        pass

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class SimulatedBench(Bench):
    def __init__(self):
        from rulerlab.shaker import SimulatedShaker

        super().__init__()
        self.time_s = 0.0
        self.board = SimulatedShaker(lambda: self.time_s)
        self.board.timeout = 0
        self.last_fall = 0.0
        self.keep(self.run(0.01))

    def taken(self):
        return self.board.read(100_000).split(b"\n")[:-1]

    def raw(self, data):
        self.board.write(data)
        return self.taken()

    def run(self, seconds):
        before = self.board.duty
        for _ in range(round(seconds * 1000)):
            self.time_s = round(self.time_s + 0.001, 6)
            now = self.board.duty
            if before and not now:
                self.last_fall = self.time_s
            before = now
        return self.taken()

    def duty(self):
        return self.board.duty

    def is_off(self, seconds):
        self.keep(self.run(seconds))
        return self.board.duty == 0

    def fall_s(self):
        return self.last_fall


class CoreBench(Bench):
    def __init__(self, defines=""):
        super().__init__()
        require("make", "g++")
        variant = defines.replace("-D", "").replace("=", "_").lower() or "shaker"
        program = build("core", variant=variant, defines=defines)
        self.process = subprocess.Popen(
            [program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.time_s, self.motor = 0.0, [(0.0, 0)]
        self.keep(self.answer())

    def answer(self):
        lines = []
        for line in self.process.stdout:
            word, _, rest = line.rstrip("\n").partition(" ")
            if word == ".":
                return lines
            if word == "tx":
                lines.append(rest.encode())
            elif word == "motor":
                self.motor.append(tuple(map(int, rest.split())))
        raise AssertionError(f"the core stopped with code {self.process.wait(5)}")

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        return self.answer()

    def raw(self, data):
        return self.tell(f"rx {data.hex()}")

    def run(self, seconds):
        self.time_s += round(seconds * 1000) / 1000
        return self.tell(f"run {round(seconds * 1000) * 1000}")

    def duty(self):
        return self.motor[-1][1] / 1000

    def is_off(self, seconds):
        self.keep(self.run(seconds))
        return self.motor[-1][1] == 0

    def fall_s(self):
        return self.motor[-1][0] / 1e6 if self.motor[-1][1] == 0 else float("inf")

    def close(self):
        self.process.stdin.close()
        code = self.process.wait(10)
        self.process.stdout.close()
        assert code == 0, "a sanitizer has found something"


class LockstepBench(Bench):
    def __init__(self, defines="", *, sensor="mpu6050", lose_bytes=False):
        super().__init__()
        require("make", "avr-g++", "node")
        variant = defines.replace("-D", "").replace("=", "_").lower() or "shaker"
        firmware = build(variant=variant, defines=defines)
        self.board = emulator().LockstepBoard(firmware, sensor=sensor, lose_bytes=lose_bytes)
        self.keep(self.run(0.03))

    @property
    def time_s(self):
        return self.board.time_s

    def taken(self):
        return [line.encode() for line in self.board.lines()]

    def raw(self, data):
        self.board.run(0.02, tx=data.decode("latin-1"), until="\n")
        return self.taken()

    def run(self, seconds):
        self.board.run(seconds)
        return self.taken()

    def duty(self):
        share = self.board.duty(0.01)  # 40 periods of the PWM
        self.keep(self.taken())
        return share

    def is_off(self, seconds):
        before = self.board.state["motor"]
        self.keep(self.run(seconds))
        after = self.board.state["motor"]
        return after["level"] == 0 and after["edges"] == before["edges"]

    def fall_s(self):
        motor = self.board.state["motor"]
        return float("inf") if motor["level"] else motor["fall"] / emulator().HZ

    def close(self):
        self.board.close()


BENCHES = {"simulated": SimulatedBench, "core": CoreBench, "lockstep": LockstepBench}
