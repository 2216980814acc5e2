"""The host's side of the shaker: connect, ask, retry, drive, and leave the bench safe."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from shaker_benches import BENCHES, HARDWARE, build, emulator, require

from rulerlab.cli import main
from rulerlab.errors import InputError
from rulerlab.shaker import (
    Drive,
    Limits,
    Shaker,
    ShakerError,
    ShakerLog,
    SimulatedShaker,
    check_program,
    driver,
    ports,
    read_program,
)
from rulerlab.shaker.calibration import alias_of, strongest_tone
from rulerlab.shaker.log import Unwrap
from rulerlab.shaker.protocol import DamagedLine, crc16, parse, seal, unseal
from rulerlab.shaker.simulated import motor_acceleration_g, motor_frequency_hz


def run(*arguments):
    """`rulerlab ARGUMENTS` in this process; the exit code."""
    with pytest.raises(SystemExit) as stop:
        main(list(map(str, arguments)))
    return stop.value.code


# lines


def test_checksum_is_the_one_of_avr_libc():
    assert crc16(b"123456789") == 0x6F91


def test_line_that_was_changed_anywhere_is_refused():
    line = seal("17 SHAKE 500 100 2000")
    assert unseal(line) == "17 SHAKE 500 100 2000"
    for at in range(len(line) - 1):
        for bit in range(8):
            damaged = bytearray(line)
            damaged[at] ^= 1 << bit
            with pytest.raises(DamagedLine):
                parse(bytes(damaged))


@pytest.mark.parametrize(
    "name", ["simulated", "core", pytest.param("lockstep", marks=pytest.mark.avr)]
)
def test_every_board_holds_the_conversation_that_the_contract_shows(name):
    text = (HARDWARE / "protocol.md").read_text(encoding="utf-8")
    transcript = text.split("```transcript\n")[1].split("```")[0].splitlines()
    assert len(transcript) > 20
    with BENCHES[name]() as bench:
        bench.ask("UID 1362197118") if name != "simulated" else None
        heard = []
        for line in transcript:
            direction, _, said = line.partition(" ")
            if direction == ">":
                heard = [seal(unseal(one)).decode().strip() for one in bench.raw(
                    said.encode() + b"\n")]
                if not heard:
                    heard = [one.decode() for one in bench.run(0.02)]
            elif direction == "<":
                assert heard.pop(0) == said, f"after {line!r}"
            else:
                pytest.fail(f"the transcript holds {line!r}")


# programs


def test_program_that_the_board_would_stop_half_way_is_refused_before():
    long = Drive("constant", 0.4, seconds=20.0, ramp_s=0.5)
    with pytest.raises(InputError, match=r"step 2 ends after 41\.0 s.*rest of 11\.0 s"):
        check_program([long, long], Limits())
    check_program([long, Drive("rest", seconds=11.0), long], Limits())
    with pytest.raises(InputError, match="duty up to 0.95"):
        check_program([Drive("sine", 0.5, 0.45, 1, 2)], Limits())
    with pytest.raises(InputError, match="300 Hz"):
        check_program([Drive("sine", 0.5, 0.2, 1, 300)], Limits())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[[step]]\nduty = 2.0", "step 1: duty must lie in 0..1, got 2.0"),
        ("[[step]]\nduti = 0.2", "step 1: unknown duti"),
        ("[[step]]\nshape = 'square'", "'square' is none of"),
        ("[[step]]\nduty = 'fast'", "duty must be a number, got 'fast'"),
        ("[[step]]\nshape = 'noise'\nduty = 0.4\nfrom_hz = 9\nto_hz = 3", "upside down"),
        ("[[step]]\nduty = nan", "got nan"),
        ("steps = 3", "found steps"),
        ("", "must hold [[step]] tables"),
        ("[[step", "can't be read as a protocol"),
    ],
)
def test_faulty_protocol_file_is_told_in_one_line(tmp_path, text, problem):
    path = tmp_path / "sweep.toml"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_program(path)
    assert problem in str(error.value)
    assert "\n" not in str(error.value).removesuffix("\n") or "can't be read" in problem


def test_clock_of_the_board_goes_on_past_its_wrap():
    unwrap = Unwrap()
    seen = [unwrap(us % 2**32) for us in (4_294_000_000, 4_294_900_000, 4_295_000_000,
                                          4_294_960_000, 4_295_100_000, 8_589_000_000)]  # fmt: skip
    assert seen[:5] == [4294.0, 4294.9, 4295.0, 4294.96, 4295.1]


# the driver, on the stand-in


def test_motor_is_off_afterwards_even_when_the_run_is_cut_short():
    board = SimulatedShaker()
    with pytest.raises(KeyboardInterrupt), Shaker(board) as shaker:
        shaker.arm()
        shaker.drive(Drive("constant", 0.5, seconds=5.0))
        shaker.wait(0.2)
        assert board.duty > 0.4
        raise KeyboardInterrupt
    assert board.duty == 0


def test_hanging_program_loses_the_motor():
    board = SimulatedShaker()
    with Shaker(board, patience_s=0.3) as shaker:
        shaker.arm()
        shaker.drive(Drive("constant", 0.5, seconds=5.0))
        shaker.wait(0.2)
        time.sleep(0.9)  # no sign of life
        assert board.duty == 0
        with pytest.raises(ShakerError, match="stopped by itself|off"):
            shaker.armed or shaker.ask("KEEP")


class Unreliable:
    """A wire on which one line in six, to and from the board, is lost or damaged."""

    def __init__(self, board):
        self.board, self.is_open, self.timeout = board, True, 0.02
        self.rng = np.random.default_rng(3)
        self.carried_out = []
        execute = board._execute
        board._execute = lambda verb, words: self.carried_out.append(verb) or execute(verb, words)

    def harm(self, data):
        lines = data.splitlines(keepends=True)
        for number, fate in enumerate(self.rng.random(len(lines))):
            if fate < 1 / 12:
                lines[number] = b""
            elif fate < 1 / 6:
                lines[number] = lines[number][:-4] + b"zz\n"
        return b"".join(lines)

    @property
    def in_waiting(self):
        return self.board.in_waiting

    def write(self, data):
        return self.board.write(self.harm(data))

    def read(self, size):
        return self.harm(self.board.read(100_000))

    def close(self):
        self.board.close()


def test_requests_on_a_bad_wire_are_carried_out_once_each():
    wire = Unreliable(SimulatedShaker())
    with Shaker(wire) as shaker:
        wire.carried_out.clear()
        for _ in range(10):
            shaker.ask("STAT")
        assert wire.carried_out == ["STAT"] * 10
        assert shaker.damaged_lines > 0


def test_refusal_names_the_cure():
    with Shaker(SimulatedShaker()) as shaker:
        with pytest.raises(ShakerError, match="silent too long") as refused:
            shaker.drive(Drive("constant", 0.5))
        assert refused.value.word == "disarmed"
        with pytest.raises(ShakerError, match="outside what the firmware allows"):
            shaker.stream(1)


def test_port_that_is_no_shaker_is_left_alone(monkeypatch):
    monkeypatch.setattr(driver, "BOOT_WAIT_S", 0.6)
    before = threading.active_count()
    with pytest.raises(ShakerError, match="does not answer like a shaker"):
        Shaker.connect("loop://")
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("number", "cure"),
    [(13, "sudo usermod -aG dialout"), (2, "Is the cable plugged in"), (16, "is in use")],
)
def test_port_that_does_not_open_is_told_with_its_cure(monkeypatch, number, cure):
    import serial

    def refuse(url, **_):
        raise serial.SerialException(number, f"could not open {url}")

    monkeypatch.setattr(serial, "serial_for_url", refuse)
    with pytest.raises(InputError, match=cure):
        ports.open_port("/dev/ttyACM0")


def test_same_board_is_taken_up_again_and_another_is_not(monkeypatch):
    boards = [SimulatedShaker(uid=uid) for uid in (7, 7, 8)]
    monkeypatch.setattr(driver, "open_port", lambda url: boards.pop(0))
    with Shaker.connect("x") as shaker:
        shaker.arm()

        def vanish(*_):
            raise OSError("readiness to read but returned no data")

        shaker.port.read = vanish
        with pytest.raises(ShakerError, match="vanished|stopped by itself"):
            shaker.wait(2.0)
        shaker.replug("x")
        assert shaker.ask("STAT").field("state") == "safe"
        with pytest.raises(ShakerError, match="another shaker"):
            shaker.replug("x", wait_s=0.1)


def serve(board, *, rfc2217):
    """The stand-in behind a TCP port, as a network serial server shows it."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk():
        connection, _ = listener.accept()
        connection.settimeout(0.01)
        manager = None
        if rfc2217:
            import serial.rfc2217

            board.__dict__.update(baudrate=115200, bytesize=8, parity="N", stopbits=1, dtr=True,
                                  rts=True, cts=True, dsr=True, ri=False, cd=False, xonxoff=False,
                                  rtscts=False, break_condition=False,
                                  reset_input_buffer=int, reset_output_buffer=int)  # fmt: skip
            writer = type("Writer", (), {"write": lambda _, data: connection.sendall(data)})()
            manager = serial.rfc2217.PortManager(board, writer)
        board.timeout = 0
        with connection, listener, contextlib.suppress(ConnectionError):  # the client may hang up
            while True:
                try:
                    data = connection.recv(4096)
                    if not data:
                        return
                    board.write(b"".join(manager.filter(data)) if manager else data)
                except TimeoutError:
                    pass
                except OSError:
                    return
                answer = board.read(4096)
                if answer:
                    answer = b"".join(manager.escape(answer)) if manager else answer
                    connection.sendall(answer)

    thread = threading.Thread(target=talk, daemon=True)
    thread.start()
    return listener.getsockname()[1], thread


@pytest.mark.filterwarnings("ignore:set(Daemon|Name):DeprecationWarning")  # pyserial 3.5 itself
@pytest.mark.parametrize("scheme", ["socket", "rfc2217"])
def test_network_port_works_like_a_local_one(scheme, capsys):
    board = SimulatedShaker()
    port, thread = serve(board, rfc2217=scheme == "rfc2217")
    url = f"{scheme}://127.0.0.1:{port}"
    assert run("shake", "--port", url, "--duty", "0.3", "--seconds", "0.3", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["port"], result["state"], result["trips"]) == (url, "safe", 0)
    assert 300 <= board._heat <= 900  # 0.5 s of ramp, 0.3 s of hold, minus the rest since
    thread.join(5)


# the verb


def test_shake_writes_a_log_of_every_line(tmp_path, capsys):
    folder = tmp_path / "log"
    protocol = tmp_path / "sweep.toml"
    protocol.write_text(
        "[[step]]\nduty = 0.4\nseconds = 0.3\n[[step]]\nshape = 'rest'\nseconds = 0.1\n"
        "[[step]]\nshape = 'sine'\nduty = 0.4\namplitude = 0.2\nfrom_hz = 1\nto_hz = 5\n"
        "seconds = 0.3\n"
    )
    assert run("shake", "--port", "simulated", "--protocol", protocol, "--log", folder,
               "--stream", 2, "--blink", 23, "--json") == 0  # fmt: skip
    result = json.loads(capsys.readouterr().out)
    assert result["schema_version"] == 1
    assert result["steps"] == 3
    text = (folder / "shaker.csv").read_text()
    for said in ("SHAKE 400 100 300", "STOP", "SINE 400 200 100 500 100 300", "!WORD 0", "!DONE"):
        assert said in text
    table = np.loadtxt(folder / "acceleration.csv", delimiter=",", skiprows=1)
    assert np.allclose(np.diff(table[:, 1]), 0.002)
    assert np.ptp(table[:, 2]) > 0.5
    assert run("shake", "--port", "simulated", "--log", folder) == 2
    assert "name a new folder" in capsys.readouterr().err


def test_shake_tells_faults_in_one_line_with_the_documented_code(tmp_path, capsys):
    assert run("shake", "--port", tmp_path / "nothing", "--duty", "0.2") == 3
    assert capsys.readouterr().err.count("\n") == 1
    assert run("shake", "--port", "simulated", "--duty", "0.2", "--seconds", "60") == 3
    assert "the board allows 30 s" in capsys.readouterr().err
    assert run("shake", "--port", "simulated", "--duty", "-0.2") == 3
    assert run("shake", "--port", "simulated", "--sine", 1, 2, "--noise", 1, 2) == 2
    assert run("shake", "--list", "--json") == 0
    assert "ports" in json.loads(capsys.readouterr().out.splitlines()[-1])


# the driver, on the emulated board in real time


@pytest.fixture
def uno():
    require("make", "avr-g++", "node")
    with emulator().PtyBoard(build()) as board:
        yield board


def motor_events(board):
    return [event["event"] for event in board.events if event["event"].startswith("motor")]


def wait_for(condition, seconds=8.0):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


@pytest.mark.avr
def test_board_is_found_driven_and_left_off(uno, capsys):
    assert run("shake", "--port", uno.port, "--duty", "0.4", "--seconds", "0.5", "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["state"], result["boots"] <= 1, result["trips"]) == ("safe", True, 0)
    assert wait_for(lambda: motor_events(uno) == ["motor on", "motor off"])


@pytest.mark.avr
def test_board_that_restarts_while_running_is_noticed(uno):
    with Shaker.connect(uno.port) as shaker:
        uid = shaker.uid
        shaker.arm()
        shaker.drive(Drive("constant", 0.5, seconds=5.0))
        shaker.wait(0.3)
        uno.reset()
        with pytest.raises(ShakerError, match="stopped by itself: boot"):
            shaker.wait(5.0)
    with Shaker.connect(uno.port) as shaker:
        assert shaker.uid == uid != "FFFFFFFF"


@pytest.mark.avr
def test_unplugged_board_is_told_and_the_log_is_whole(uno, tmp_path):
    log = ShakerLog(tmp_path)
    with Shaker.connect(uno.port, log=log) as shaker:
        shaker.arm()
        shaker.drive(Drive("constant", 0.5, seconds=5.0))
        shaker.wait(0.2)
        uno.close()
        with pytest.raises(ShakerError, match="stopped by itself|vanished"):
            shaker.wait(5.0)
    log.close()
    assert "lost:" in (tmp_path / "shaker.csv").read_text()


@pytest.mark.avr
def test_board_stops_the_motor_when_the_program_is_killed(uno):
    script = [sys.executable, "-m", "rulerlab", "shake", "--port", uno.port, "--duty", "0.5",
              "--seconds", "20"]  # fmt: skip
    root = str(Path(__file__).parent.parent)
    program = subprocess.Popen(script, cwd=root, env=os.environ | {"PYTHONPATH": root})
    assert wait_for(lambda: motor_events(uno) == ["motor on"])
    time.sleep(0.5)
    program.send_signal(signal.SIGKILL)
    program.wait(5)
    killed_s = time.time()
    assert wait_for(lambda: motor_events(uno) == ["motor on", "motor off"])
    assert uno.events[-1]["wall_s"] < killed_s + 1.0 + 3.0  # the lease, and a loaded machine


# calibration


def test_curve_of_the_motor_is_measured(tmp_path, capsys):
    folder = tmp_path / "curve"
    assert run("calibrate", "shaker", "--port", "simulated", "--duties", "0.3,0.5,0.7",
               "--seconds", "1.3", "-o", folder, "--json") == 0  # fmt: skip
    points = json.loads(capsys.readouterr().out)["points"]
    for point, duty in zip(points, (0.3, 0.5, 0.7), strict=True):
        assert point["duty"] == duty
        assert point["frequency_hz"] == pytest.approx(motor_frequency_hz(duty), rel=2e-3)
        assert point["acceleration_g"] == pytest.approx(motor_acceleration_g(duty), rel=1e-2)
        assert not point["aliased"]
    assert "<svg" in (folder / "curve.svg").read_text()
    assert (folder / "curve.csv").read_text().count("\n") == 4
    assert run("calibrate", "shaker", "--port", "simulated", "-o", folder) == 2


def test_errors_of_a_tone_are_honest():
    z = []
    for trial in range(40):
        rng = np.random.default_rng(trial)
        time_s = np.sort(rng.uniform(0, 1.5, 400))
        frequency, amplitude = rng.uniform(20, 90), rng.uniform(0.5, 2)
        swing = amplitude * np.sin(2 * np.pi * frequency * time_s + rng.uniform(0, 6))
        reading = swing[:, None] * [0.6, 0.8, 0.0] + rng.normal(0, 0.2, (400, 3))
        tone = strongest_tone(time_s, reading)
        z.append([(tone.frequency_hz - frequency) / tone.sigma_hz,
                  (tone.amplitude - amplitude) / tone.sigma_amplitude])  # fmt: skip
    assert (np.std(z, axis=0) < 1.35).all()
    assert (np.std(z, axis=0) > 0.75).all()


def tracked_run(folder, duties, frames_per_s):
    """A run as `record` and `track` leave it: a mark that shakes as the motor does."""
    folder.mkdir()
    events, tracks, begun_s = ["time_s,sigma_s,event"], ["frame,time_s,p0_x_mm,p0_y_mm"], 0.0
    time_s = np.arange(0, 4 * len(duties), 1 / frames_per_s)
    x_mm = np.zeros_like(time_s)
    for duty in duties:
        events.append(f"{begun_s:.6f},0.0001,drive duty={round(1000 * duty)} ramp=500 hold=3000")
        inside = (time_s >= begun_s) & (time_s < begun_s + 3.5)
        turn = 2 * np.pi * motor_frequency_hz(duty)
        amplitude_mm = 9806.65 * motor_acceleration_g(duty) / turn**2
        x_mm[inside] = amplitude_mm * np.sin(turn * time_s[inside])
        begun_s += 4.0
    tracks += [f"{k},{t:.6f},{x:.5f},0" for k, (t, x) in enumerate(zip(time_s, x_mm, strict=True))]
    (folder / "timeline.csv").write_text("\n".join(events) + "\n")
    (folder / "tracks.csv").write_text("\n".join(tracks) + "\n")


def test_motion_of_a_mark_gives_the_curve_when_the_camera_is_fast_enough(tmp_path, capsys):
    tracked_run(tmp_path / "fast", (0.1, 0.2, 0.3), 240)
    assert run("calibrate", "shaker", "--from", tmp_path / "fast", "--point", 0, "--json") == 0
    for point in json.loads(capsys.readouterr().out)["points"]:
        duty = point["duty"]
        assert point["frequency_hz"] == pytest.approx(motor_frequency_hz(duty), rel=1e-3)
        assert point["acceleration_g"] == pytest.approx(motor_acceleration_g(duty), rel=1e-2)


def test_camera_that_is_too_slow_for_the_motor_is_noticed(tmp_path, capsys):
    tracked_run(tmp_path / "slow", (0.1, 0.2, 0.3, 0.4), 60)
    assert run("calibrate", "shaker", "--from", tmp_path / "slow", "--point", 0, "--json") == 4
    out = capsys.readouterr()
    assert "may be aliases" in out.err
    marked = [point["aliased"] for point in json.loads(out.out)["points"]]
    assert marked == [True, True, True, True] or marked[1:] == [True, True, True]
    assert alias_of(72.0, 60.0) == 12.0
