"""One recorded run: the film, the shaker's log, and a record of what was asked and what came."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rulerlab import __version__
from rulerlab.capture.camera import open_camera
from rulerlab.capture.recorder import Recorder
from rulerlab.clock import Exchange, fit_exchanges
from rulerlab.errors import InputError, QualityError, UsageError
from rulerlab.shaker import Drive, Shaker, ShakerError, ShakerLog, check_program

LEAST_FREE_BYTES = 200_000_000


class Ended(Exception):
    """The camera, or the room on the disk, came to its end before the run did."""


def chip_for(frames_per_s: float) -> int:
    """Milliseconds per chip of the LED's code that suit a frame rate: a good three frames each."""
    return 107 if frames_per_s < 45 else 53 if frames_per_s < 120 else 23


def record(
    folder: Path,
    *,
    camera: str,
    port: str | None = None,
    program: list[Drive] | None = None,
    seconds: float | None = None,
    on_tick: Callable[[dict[str, Any]], None] | None = None,
) -> dict[str, Any]:
    """Film into a new folder while the shaker plays its program; returns what `record.json` holds.

    Without a program the shaker stays still; without a port there is none. The run lasts for
    `seconds`, or as long as the program. QualityError when it ended early: what was filmed is kept.
    """
    if seconds is None and not program:
        raise UsageError("say how long: --seconds, or a protocol")
    if program and port is None:
        raise UsageError("a protocol needs a shaker: --port")
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{folder} exists; nothing is overwritten: name a new folder") from None
    start_s = time.monotonic()
    note = {
        "schema_version": 1, "rulerlab": __version__, "started": datetime.now(UTC).isoformat(),
        "camera": camera, "port": port, "video": "video.mp4", "status": "recording",
        "program": [asdict(drive) for drive in program or []],
    }  # fmt: skip
    write_note(folder, note)
    with contextlib.ExitStack() as stack:
        try:
            shaker = None
            if port is not None:
                log = stack.enter_context(contextlib.closing(ShakerLog(folder, start_s=start_s)))
                shaker = stack.enter_context(Shaker.connect(port, log=log))
                check_program(program or [], shaker.limits)
                note["shaker"] = {
                    "uid": shaker.uid, "firmware": shaker.firmware, "sensor": shaker.sensor,
                    "limits": vars(shaker.limits),
                }  # fmt: skip
            recorder = Recorder(open_camera(camera), folder, start_s=start_s)
            recorder.start()
        except InputError as error:
            note["status"] = f"not begun: {error}"
            write_note(folder, note)
            raise
        problem = film(recorder, shaker, program or [], seconds, note, on_tick)
    note |= recorder.health()
    note["status"] = problem or "complete"
    write_note(folder, note)
    if problem:
        raise QualityError(f"{problem}; {recorder.frames} frames are kept in {folder}")
    return note


def film(recorder: Recorder, shaker: Shaker | None, program: list[Drive], seconds: float | None,
         note: dict, on_tick: Callable | None) -> str | None:  # fmt: skip
    """The run itself, from the first frame on; what cut it short, or None."""
    begun_s, exchanges, next_exchange_s = time.monotonic(), [], 0.0

    def tick() -> None:
        nonlocal next_exchange_s
        now_s = time.monotonic() - begun_s
        free = shutil.disk_usage(recorder._folder).free
        if recorder.error or not recorder.running:
            raise Ended(str(recorder.error or "the camera sent no more frames"))
        if free < LEAST_FREE_BYTES:
            raise Ended(f"only {free / 1e6:.0f} MB are free on the disk")
        if shaker and now_s >= next_exchange_s:
            exchanges.append(shaker.exchange())
            next_exchange_s = now_s + 1.0
        if on_tick:
            on_tick({"seconds": now_s, "frames_per_s": recorder.frames_per_s,
                     "dropped": recorder.dropped, "duty": shaker.duty if shaker else None,
                     "free_bytes": free})  # fmt: skip

    problem = None
    try:
        if shaker:
            exchanges += [shaker.exchange() for _ in range(10)]
            while recorder.frames_per_s == 0 and recorder.running:
                time.sleep(0.05)
            note["chip_ms"] = chip_for(recorder.frames_per_s)
            shaker.blink(note["chip_ms"])
            if shaker.sensor != "none":
                shaker.stream(2)
            shaker.play(program, on_tick=tick)
        rest_s = (seconds or 0.0) - (time.monotonic() - begun_s)
        (shaker.wait if shaker else wait)(max(0.0, rest_s), on_tick=tick)
        if shaker:
            note["shaker"] |= shaker.status()
            exchanges += [shaker.exchange() for _ in range(10)]
    except (Ended, ShakerError) as error:
        problem = f"the run was cut short after {time.monotonic() - begun_s:.1f} s: {error}"
    finally:
        recorder.stop()
    if exchanges:
        note["clock_by_arrival"] = clock_note(exchanges, recorder.start_s)
    return problem


def wait(seconds: float, *, on_tick: Callable[[], None]) -> None:
    end_s = time.monotonic() + seconds
    while (left_s := end_s - time.monotonic()) > 0:
        on_tick()
        time.sleep(min(left_s, 0.05))


def clock_note(exchanges: list[Exchange], start_s: float) -> dict[str, float]:
    """Microcontroller time against `host_s` of the logs: good to about a millisecond.

    The camera's own delay is not in it: only the LED's code knows that.
    """
    counted = [Exchange(e.host_s - start_s, e.mcu_s, e.slack_s) for e in exchanges]
    return asdict(fit_exchanges(counted))


def write_note(folder: Path, note: dict) -> None:
    """`record.json`, whole at any moment."""
    partial = folder / "record.json.partial"
    partial.write_text(json.dumps(note, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, folder / "record.json")


def show(state: dict[str, Any]) -> None:
    """The live view: one line on the terminal, written over again and again."""
    duty = "" if state["duty"] is None else f"  duty {state['duty']:.2f}"
    sys.stderr.write(
        f"\r{state['seconds']:7.1f} s  {state['frames_per_s']:6.1f} frames/s  "
        f"{state['dropped']} dropped{duty}  {state['free_bytes'] / 1e9:.1f} GB free  "
    )
    sys.stderr.flush()
