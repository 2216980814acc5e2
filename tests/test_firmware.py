"""The laws of the shaker, on the stand-in, on the firmware's core, and on the emulated board.

A law is a function of a bench, so that the mutants (firmware with one safety rule taken out) can be
shown to break it.
"""

import re
import subprocess

import numpy as np
import pytest
from shaker_benches import BENCHES, FIRMWARE, CoreBench, LockstepBench, build, emulator, require

from rulerlab.clock import word_chips
from rulerlab.shaker.protocol import Event, Samples, parse, seal
from rulerlab.shaker.simulated import ARGUMENTS
from rulerlab.shaker.waveform import WholeDrive, duty_series

ALL = [
    "simulated",
    "core",
    pytest.param("lockstep", marks=pytest.mark.avr),
]


@pytest.fixture(params=ALL)
def bench(request):
    bench = BENCHES[request.param]()
    yield bench
    bench.close()


@pytest.fixture
def uno():
    bench = LockstepBench()
    yield bench
    bench.close()


# laws


def motor_is_off_until_armed_and_asked(bench):
    assert not bench.ask("SHAKE 500 100 1000").ok
    assert bench.is_off(0.3)
    assert bench.ask("ARM").ok
    assert bench.is_off(0.1)


def motor_gets_the_duty_that_was_asked(bench):
    bench.start("SHAKE 100 100 9000")
    for permille in (100, 500, 900):
        assert bench.ask(f"SHAKE {permille} 100 5000").ok
        bench.live(0.16)
        assert bench.duty() == pytest.approx(permille / 1000, abs=0.005)


def motor_stops_when_the_host_falls_silent(bench):
    bench.start(lease_ms=200)
    bench.live(0.16)
    bench.ask("KEEP")
    silent_s = bench.time_s
    bench.keep(bench.run(0.4))
    assert bench.fall_s() <= silent_s + 0.2 + bench.reaction_s
    assert bench.is_off(0.1)
    assert "TRIP" in bench.event_names()
    assert bench.ask("KEEP").words == ("4", "disarmed")


def no_more_than_the_largest_duty_comes_out(bench):
    bench.start()
    assert bench.ask("SHAKE 1000 100 5000").field("duty") == "900"
    bench.live(0.16)
    assert bench.duty() == pytest.approx(0.9, abs=0.005)
    assert bench.ask("SINE 900 900 100 100 100 5000").ok
    highest = 0.0
    for _ in range(12):
        bench.live(0.08)
        highest = max(highest, bench.duty())
    assert highest <= 0.905


def motor_off_means_no_edge_at_all(bench):
    bench.start()
    bench.live(0.16)
    assert bench.duty() > 0.4
    assert bench.ask("STOP").ok
    bench.keep(bench.run(0.002))
    assert bench.is_off(0.15)


def hold_ends_by_itself(bench):
    bench.start("SHAKE 500 100 150")
    begun_s = bench.time_s
    bench.live(0.32)
    assert bench.fall_s() == pytest.approx(begun_s + 0.25, abs=0.008)
    assert "DONE" in bench.event_names()
    assert "TRIP" not in bench.event_names()


def duty_ramps_up_however_short_the_ramp_that_was_asked(bench):
    bench.start("SHAKE 800 0 3000")
    seen = []
    for _ in range(4):
        seen.append(bench.duty())
        bench.keep(bench.run(0.012))
    assert seen == sorted(seen)
    assert seen[0] < 0.25
    assert seen[1] < 0.5


def two_trips_latch(bench):
    for _ in range(2):
        bench.start(lease_ms=50)
        bench.keep(bench.run(0.08))
    assert bench.event_names().count("TRIP") == 2
    assert bench.ask("ARM").words == ("5", "tripped")
    assert bench.is_off(0.05)
    assert bench.ask("CLEAR").ok
    assert bench.ask("ARM").ok


def running_has_to_be_paid_for_by_resting(bench):
    bench.start("SHAKE 300 100 20000", lease_ms=2000)
    bench.live(20.2, keep=0.5)
    refused = bench.ask("SHAKE 300 100 15000")
    assert refused.words[:2] == ("6", "cooling")
    assert 4000 < int(refused.field("wait")) < 5200
    bench.keep(bench.run(6))
    assert bench.ask("ARM").ok
    assert bench.ask("SHAKE 300 100 15000").ok
    assert not bench.ask("SHAKE 300 100 30000").ok  # longer than any run may be


def damaged_requests_move_nothing(bench):
    bench.start("SHAKE 100 100 5000")
    assert bench.ask("STOP").ok
    line = bench.request("SHAKE 900 100 5000")
    for at in range(len(line) - 1):
        damaged = bytearray(line)
        damaged[at] ^= 0x01
        lines = bench.raw(bytes(damaged))
        assert lines and parse(lines[-1]).ok is False
    assert bench.raw(line[: len(line) // 2] + b"\n")[-1].startswith(b"=? ERR")
    assert bench.is_off(0.02)


def repeated_request_gets_its_reply_again_and_is_not_done_again(bench):
    line = bench.request("T")
    first = bench.send(line)
    bench.keep(bench.run(0.05))
    assert bench.send(line) == first
    assert bench.ask("T").words != first.words


def motor_off_byte_works_inside_a_line(bench):
    bench.start()
    bench.live(0.16)
    bench.keep(bench.raw(b"77 SHA\x18"))
    bench.keep(bench.run(0.004))
    assert bench.is_off(0.1)
    assert "OFF" in bench.event_names()
    assert bench.ask("STAT").field("state") == "safe"


def refused_motor_request_switches_off(bench):
    bench.start()
    bench.live(0.16)
    assert not bench.ask("SHAKE 500 100 31000").ok
    bench.keep(bench.run(0.004))
    assert bench.is_off(0.05)
    bench.start()
    assert not bench.ask("JUMP").ok  # not a motor request
    bench.live(0.12)
    assert bench.duty() > 0.3


def unreadable_lines_are_named(bench):
    for line, why in (
        (b"x" * 200 + b"\n", "long"),
        (b"1 ID\n", "nocrc"),
        (b"1 ID*0000\n", "crc"),
        (b"\x00\xff\xff1 ID*0000\n", "crc"),
        (seal("70000 ID"), "seq"),
    ):
        assert b"=? ERR " + why.encode() in bench.raw(line)[0], line
    assert bench.raw(b"\r\n\n") == []
    assert bench.ask("ID").ok


LAWS = [
    motor_is_off_until_armed_and_asked,
    motor_gets_the_duty_that_was_asked,
    motor_stops_when_the_host_falls_silent,
    no_more_than_the_largest_duty_comes_out,
    motor_off_means_no_edge_at_all,
    hold_ends_by_itself,
    duty_ramps_up_however_short_the_ramp_that_was_asked,
    two_trips_latch,
    damaged_requests_move_nothing,
    repeated_request_gets_its_reply_again_and_is_not_done_again,
    motor_off_byte_works_inside_a_line,
    refused_motor_request_switches_off,
    unreadable_lines_are_named,
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_law(bench, law):
    law(bench)


@pytest.mark.parametrize("name", ["simulated", "core"])
def test_running_has_to_be_paid_for_by_resting(name):
    with BENCHES[name]() as bench:
        running_has_to_be_paid_for_by_resting(bench)


MUTANTS = {
    "NO_LEASE": motor_stops_when_the_host_falls_silent,
    "NO_CLAMP": no_more_than_the_largest_duty_comes_out,
    "NO_CRC": damaged_requests_move_nothing,
    "NO_RAMP": duty_ramps_up_however_short_the_ramp_that_was_asked,
    "NO_LATCH": two_trips_latch,
    "NO_ARMING": motor_is_off_until_armed_and_asked,
    "NO_REPLAY": repeated_request_gets_its_reply_again_and_is_not_done_again,
    "NO_COOLING": running_has_to_be_paid_for_by_resting,
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_law_notices_when_the_core_loses_its_rule(mutant):
    with CoreBench(f"-DMUTATE_{mutant}") as bench, pytest.raises(AssertionError):
        MUTANTS[mutant](bench)


# the drive is known from its seed


@pytest.mark.parametrize(
    "drive",
    [
        WholeDrive("sine", 400, 300, 200, 1500, 0, 200, 2000),
        WholeDrive("noise", 450, 400, 500, 4000, 42, 100, 3000),
        WholeDrive("noise", 100, 100, 1, 25000, 4294967295, 300, 1000),
    ],
    ids=lambda drive: f"{drive.shape} {drive.seed}",
)
def test_core_drives_exactly_what_python_predicts(drive):
    with CoreBench() as bench:
        numbers = [drive.mean, drive.amplitude, drive.from_chz, drive.to_chz]
        numbers += [drive.seed] * (drive.shape == "noise") + [drive.ramp_ms, drive.hold_ms]
        bench.start(f"{drive.shape.upper()} {' '.join(map(str, numbers))}", lease_ms=2000)
        begun_us = round(bench.time_s * 1e6)
        bench.live((drive.ramp_ms + drive.hold_ms) / 1000 - 0.1, keep=0.5)
        expected = np.clip(duty_series(drive), 0, 0.9)
        times, values = np.array(bench.motor[1:]).T
        when = begun_us + 1000 * np.arange(1, len(expected) + 1)
        seen = values[np.searchsorted(times, when, side="right") - 1] / 1000
        steady = slice(drive.ramp_ms, len(expected) - 200)
        assert np.array_equal(seen[steady], expected[steady])


def test_noise_stays_in_its_band_and_has_the_rms_that_is_promised():
    duty = duty_series(WholeDrive("noise", 450, 400, 1000, 3000, 7, 0, 30_000)) - 0.45
    power = np.abs(np.fft.rfft(duty * np.hanning(len(duty)))) ** 2
    hertz = np.fft.rfftfreq(len(duty), 1e-3)
    inside = (hertz > 9) & (hertz < 31)
    assert power[inside].sum() > 0.98 * power.sum()
    assert duty.std() == pytest.approx(0.4 / 4, rel=0.15)
    octaves = [power[(hertz >= low) & (hertz < low + 5)].sum() for low in (10, 15, 20, 25)]
    assert max(octaves) < 2 * min(octaves)  # flat, not a few lines


# fuzz


def random_lines(rng, seqs):
    """Requests of every kind, most of them damaged; the second value tells the undamaged ones."""
    verbs = [*ARGUMENTS, "FOO"]
    for seq in seqs:
        verb = verbs[rng.integers(len(verbs))]
        arguments = rng.choice([0, 1, 50, 300, 900, 1001, 30000, 2**31, 2**32 - 1, 2**33], 8)
        text = " ".join([str(seq), verb, *map(str, arguments[: rng.integers(0, 8)])])
        line = bytearray(seal(text)[:-1])
        kind = rng.integers(6)
        if kind == 0:
            yield bytes(line) + b"\n", True
            continue
        if kind == 1:  # some bits turned over
            for at in rng.integers(len(line), size=rng.integers(1, 4)):
                line[at] ^= 1 << rng.integers(8)
        elif kind == 2:  # a part lost
            first = rng.integers(len(line))
            del line[first : first + rng.integers(1, 6)]
        elif kind == 3:  # noise put in
            first = rng.integers(len(line))
            line[first:first] = rng.bytes(rng.integers(1, 90))
        elif kind == 4:  # cut off, the next one joined on
            line = line[: rng.integers(len(line))] + seal("9 SHAKE 800 0 9000")[3:-1]
        else:
            line = bytearray(rng.bytes(rng.integers(1, 120)))
        yield bytes(line).replace(b"\n", b"").replace(b"\x18", b"") + b"\n", False


def test_ten_thousand_random_and_damaged_lines_crash_nothing_and_move_nothing():
    rng, moved, damaged = np.random.default_rng(9), 0, 0
    with CoreBench() as bench:
        for line, is_whole in random_lines(rng, range(10_000)):
            armed = is_whole and rng.random() < 0.5
            if not is_whole:  # ready to run: nothing but the checksum stands between line and motor
                bench.tell(f"rx {seal('65535 CLEAR').hex()}")
                bench.tell(f"rx {seal('65534 ARM').hex()}")
            before = len(bench.motor)
            replies = [parse(one) for one in bench.raw(line)]
            moves = bench.run(0.002), any(permille for _, permille in bench.motor[before:])
            if is_whole:
                moved += moves[1]
            elif not any(getattr(reply, "seq", None) is not None for reply in replies):
                damaged += 1
                assert not moves[1], line
            if armed:
                bench.raw(seal(f"{65000 + before % 500} ARM"))
        assert damaged > 8000


# the hex file on the emulated board


@pytest.mark.avr
def test_firmware_builds_from_nothing(tmp_path):
    require("make", "avr-g++")
    hex_file = build()
    assert hex_file == FIRMWARE / "build" / "shaker.hex"
    assert hex_file.read_text().startswith(":")


def crash_stops_the_motor(uno):
    uno.start("SHAKE 500 100 9000", lease_ms=2000)
    uno.live(0.15)
    crashed_s = uno.time_s
    uno.board.ask(hang=True)
    uno.keep(uno.run(0.5))
    assert uno.fall_s() < crashed_s + 0.3
    boot = [event for event in uno.events if isinstance(event, Event)][-1]
    assert (boot.name, boot.words[-1]) == ("BOOT", "08")
    assert uno.ask("STAT").field("state") == "safe"
    assert uno.is_off(0.1)


AVR_MUTANTS = {
    "NO_WDT": crash_stops_the_motor,
    "NO_LEASE": motor_stops_when_the_host_falls_silent,
    "NO_CLAMP": no_more_than_the_largest_duty_comes_out,
    "NO_DISCONNECT": motor_off_means_no_edge_at_all,
}


@pytest.mark.avr
def test_crash_stops_the_motor(uno):
    crash_stops_the_motor(uno)


@pytest.mark.avr
@pytest.mark.parametrize("mutant", AVR_MUTANTS)
def test_law_notices_when_the_board_loses_its_rule(mutant):
    with LockstepBench(f"-DMUTATE_{mutant}") as bench, pytest.raises(AssertionError):
        AVR_MUTANTS[mutant](bench)


@pytest.mark.avr
def test_reset_leaves_the_motor_low_and_disarmed(uno):
    uno.start()
    uno.live(0.15)
    reset_s = uno.time_s
    uno.board.ask(reset=True)
    uno.keep(uno.run(0.05))
    assert uno.fall_s() <= reset_s + 0.001
    assert uno.ask("STAT").field("state") == "safe"
    assert uno.is_off(0.1)


@pytest.mark.avr
def test_stop_button_latches(uno):
    uno.start()
    uno.live(0.15)
    pressed_s = uno.time_s
    uno.board.ask(stop=True)
    uno.keep(uno.run(0.05))
    assert uno.fall_s() < pressed_s + 0.005
    assert uno.ask("ARM").words == ("5", "tripped")


@pytest.mark.avr
def test_motor_is_switched_four_thousand_times_a_second(uno):
    uno.start()
    uno.live(0.15)
    before = uno.board.state
    after = uno.board.run(0.1)
    edges = after["motor"]["edges"] - before["motor"]["edges"]
    assert edges == pytest.approx(2 * 4000 * 0.1, abs=2)


@pytest.mark.avr
def test_flood_of_four_hundred_requests_loses_nothing(uno):
    uno.start("SHAKE 500 100 9000", lease_ms=2000)
    flood = b"".join(uno.request("KEEP") for _ in range(400))
    replies = [parse(line) for line in [*uno.raw(flood), *uno.run(1.0)]]
    assert [reply.seq for reply in replies] == list(range(uno.seq - 399, uno.seq + 1))
    assert all(reply.ok for reply in replies)
    assert uno.duty() == pytest.approx(0.5, abs=0.005)
    assert "BOOT" not in uno.event_names()[1:]


@pytest.mark.avr
def test_emulator_without_its_cure_loses_bytes_of_the_flood():
    with LockstepBench(lose_bytes=True) as uno:
        flood = b"".join(uno.request("ID") for _ in range(400))
        lines = [*uno.raw(flood), *uno.run(2.0)]
        assert sum(b"ERR" in line for line in lines) > 5


@pytest.mark.avr
@pytest.mark.parametrize("fault", ["nack", "stuck"])
def test_faulty_sensor_bus_is_told_within_fifteen_milliseconds(uno, fault):
    assert uno.ask("ACC").ok
    uno.board.ask(accelerometer={"fault": fault})
    asked_s = uno.time_s
    assert uno.ask("ACC").words == ("7", "sensor")
    on_the_wire_s = 30 * 10 / 115200
    assert uno.time_s - asked_s < 0.015 + on_the_wire_s
    uno.board.ask(accelerometer={"fault": "none"})
    assert uno.ask("ACC").ok
    assert uno.ask("STREAM 5").ok
    uno.board.ask(accelerometer={"fault": fault})
    uno.keep(uno.run(0.15))
    assert "FAULT" in uno.event_names()


@pytest.mark.avr
@pytest.mark.parametrize(("sensor", "per_g"), [("mpu6050", 4096), ("adxl345", 256)])
def test_accelerometer_stream_holds_the_shaking_that_was_there(sensor, per_g):
    with LockstepBench(sensor=sensor) as uno:
        assert uno.ask("CAPS").field("sensor") == sensor
        uno.board.ask(accelerometer={"hertz": 83.0, "amplitudeG": 1.5})
        assert uno.ask("STREAM 2").ok
        uno.keep(uno.run(1.0))
        batches = [event for event in uno.events if isinstance(event, Samples)]
        assert [batch.number for batch in batches] == list(range(len(batches)))
        time_s = np.concatenate(
            [(b.first_us + b.period_us * np.arange(len(b.counts))) / 1e6 for b in batches]
        )
        assert len(time_s) >= 490
        g = np.concatenate([batch.counts for batch in batches]) / per_g
        assert g[:, 2] == pytest.approx(1.0, abs=0.01)
        score = [abs(np.exp(-2j * np.pi * f * time_s) @ g[:, 0]) for f in np.arange(70, 95, 0.1)]
        assert np.arange(70, 95, 0.1)[np.argmax(score)] == pytest.approx(83.0, abs=0.11)
        assert 2 * max(score) / len(time_s) == pytest.approx(1.5, rel=0.03)


@pytest.mark.avr
def test_without_a_sensor_the_board_says_so_and_shakes_all_the_same():
    with LockstepBench(sensor="none") as uno:
        assert uno.ask("CAPS").field("sensor") == "none"
        assert uno.ask("STREAM 5").words == ("7", "sensor")
        uno.start()
        uno.live(0.16)
        assert uno.duty() == pytest.approx(0.5, abs=0.005)


@pytest.mark.avr
def test_led_sends_the_words_whose_times_are_told(uno):
    uno.board.ask(trace="led")
    assert uno.ask("LED 10").ok
    changes = []
    for _ in range(8):
        uno.keep(uno.run(0.1))
        changes += uno.board.state["led"]["changes"]
    words = [event for event in uno.events if isinstance(event, Event) and event.name == "WORD"]
    assert [int(word.words[0]) for word in words] == [0, 1, 2, 3, 4]
    cycles, levels = np.array(changes).T
    offset_s = uno.board.time_s - micros_now(uno)
    for word in words[:4]:
        middles_s = int(word.words[1]) / 1e6 + offset_s + (np.arange(18) + 0.5) * 0.010
        seen = levels[np.searchsorted(cycles, middles_s * emulator().HZ) - 1]
        assert np.array_equal(seen, word_chips(int(word.words[0])))
    edges_ms = np.diff(cycles) / emulator().HZ * 1000
    assert np.abs(edges_ms - np.round(edges_ms, -1)).max() < 0.05  # no jitter worth the name


def micros_now(uno):
    """The board's own time at this cycle, to the time a byte takes."""
    reply = uno.ask("T")
    return int(reply.words[1]) / 1e6 + len("=99 OK 1234567 1234567*ABCD\n") * 10 / 115200


@pytest.mark.avr
def test_identity_is_kept_through_a_reset_and_can_be_given_once(uno):
    assert uno.ask("ID").words[-1] == "FFFFFFFF"
    assert uno.ask(f"UID {0xCAFE1234}").ok
    assert uno.ask("UID 7").words == ("8", "uid")
    uno.board.ask(reset=True)
    uno.keep(uno.run(0.05))
    assert uno.ask("ID").words[-1] == "CAFE1234"


def symbol(name):
    """Address of a variable in the memory of the board."""
    table = subprocess.run(
        ["avr-nm", str(FIRMWARE / "build" / "shaker.elf")], capture_output=True, text=True
    ).stdout
    return int(re.search(rf"0080([0-9a-f]{{4}}) \w {name}$", table, re.M)[1], 16)


@pytest.mark.avr
def test_wrap_of_the_microsecond_clock_changes_nothing(uno):
    overflows = 2**22 - 400  # of 1024 us each: 0.41 s before the wrap
    board = uno.board
    board.ask(reset=True)
    board.run(0.0006)  # memory is cleared, the core has not looked at its clock yet
    poke = list(overflows.to_bytes(4, "little"))
    board.ask(poke={"address": symbol("timer0_overflow_count"), "bytes": poke})
    uno.keep(uno.run(0.03))
    assert int(uno.ask("T").words[0]) > 2**32 - 410_000
    uno.start("SHAKE 500 100 9000", lease_ms=200)
    uno.live(0.5)
    assert uno.duty() == pytest.approx(0.5, abs=0.005)
    assert int(uno.ask("T").words[0]) < 1_000_000
    assert "TRIP" not in uno.event_names()


@pytest.mark.avr
def test_stack_never_comes_near_the_data(uno):
    first = symbol("_end")
    board = uno.board
    board.ask(poke={"address": first, "bytes": [0xC5] * (0x8FF - first - 180)})
    uno.start("NOISE 450 400 100 2000 7 100 9000", lease_ms=2000)
    assert uno.ask("LED 5").ok
    assert uno.ask("STREAM 2").ok
    uno.keep(uno.raw(b"".join(uno.request("STAT") for _ in range(30))))
    uno.keep(uno.run(0.4))
    memory = board.ask(peek=[first, 0x900])["bytes"]
    untouched = next(i for i, byte in enumerate(memory) if byte != 0xC5)
    assert untouched > 64, f"{untouched} bytes left"


@pytest.mark.avr
def test_pin_follows_the_noise_that_python_predicts(uno):
    drive = WholeDrive("noise", 450, 400, 100, 1000, 11, 100, 2000)
    uno.board.ask(trace="motor")
    uno.start("NOISE 450 400 100 1000 11 100 2000", lease_ms=2000)
    changes = list(uno.board.state["motor"]["changes"])
    begun_s = uno.time_s
    for _ in range(5):
        uno.keep(uno.run(0.1))
        changes += uno.board.state["motor"]["changes"]
    cycles, levels = np.array(changes).T
    rises = np.flatnonzero(levels[:-2] == 1)
    duty = (cycles[rises + 1] - cycles[rises]) / (cycles[rises + 2] - cycles[rises])
    after_ms = (cycles[rises] / emulator().HZ - begun_s) * 1000
    steady = after_ms > 120
    assert steady.sum() > 1000
    expected = duty_series(drive)

    def largest_error(lag_ms):
        return np.abs(duty - np.interp(after_ms - lag_ms, np.arange(2100), expected))[steady].max()

    assert min(map(largest_error, np.arange(-12, 3, 0.25))) < 0.02  # steps of a millisecond
    assert duty[steady].std() > 0.05
