"""Cost of `rulerlab track --no-video` against bare decoding of the same clips, all in one run.

    python benchmarks/speed.py [--json] [--rounds 3] [--keep FOLDER]

The clips show the synthetic rig, to and fro: a short one and a long one of the same pictures. What
the long one costs more is the cost per frame; the rest is start-up. Every number is processor
time (user and system) or peak memory of a process of its own. The baseline decodes all frames with
PyAV and touches the luma plane without copying it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
from pathlib import Path

import av

from rulerlab.synthetic import Scene, film

FRAMES = 60  # filmed, and shown forwards; then backwards and forwards so many times more
SHORT, LONG = 0, 4
SIZES = {"720p": (1280, 720, 2500), "1080p": (1920, 1080, 5000)}
RIGS = {
    "dots": {"rig": "ruler", "marks": "dots"},
    "tags": {"rig": "blocks", "marks": "tags", "references": "tags"},
}
GOALS = {"dots": 1.5, "tags": 2.5}  # times bare decoding, at 1080p

DECODE = """
import sys, av, numpy
with av.open(sys.argv[1]) as container:
    container.streams.video[0].thread_type = "AUTO"
    for frame in container.decode(video=0):
        luma = numpy.frombuffer(frame.planes[0], numpy.uint8)
"""
FOLLOW = """
import sys
from rulerlab.rig import read_rig
from rulerlab.track import track
from rulerlab.video import Recording
track(Recording(sys.argv[1]), read_rig(sys.argv[2]))
"""


def make_clips(folder: Path, marks: str, size: str) -> tuple[Path, Path, Path]:
    """The short clip, the long one, and rig.toml."""
    width, height, kbps = SIZES[size]
    paths = [folder / f"{marks}_{size}_{again}.mp4" for again in (SHORT, LONG)]
    base = folder / f"{marks}_{size}.mp4"
    rig = folder / f"{marks}_{size}.rig.toml"
    if not all(path.exists() for path in paths):
        scene = Scene(**RIGS[marks], size_px=(width, height), bitrate_kbps=kbps,
                      seconds=FRAMES / 30, pull_mm=60.0)  # fmt: skip
        film(scene, base)
        with av.open(str(base)) as container:
            frames = list(container.decode(video=0))
        for path, again in zip(paths, (SHORT, LONG), strict=True):
            _write(path, frames + (frames[::-1] + frames) * again, kbps)
    return paths[0], paths[1], rig


def _write(path: Path, frames: list[av.VideoFrame], kbps: int) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        stream.bit_rate = 1000 * kbps
        stream.options = {"preset": "veryfast"}
        for number, frame in enumerate(frames):
            frame.pts, frame.time_base = number, 1 / stream.average_rate
            frame.pict_type = av.video.frame.PictureType.NONE
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def run(*command: str) -> tuple[float, float]:
    """Processor seconds and peak memory (MB) of one process; SystemExit when it fails."""
    quiet = os.open(os.devnull, os.O_WRONLY)
    process = os.posix_spawn(
        sys.executable, [sys.executable, *command], os.environ,
        file_actions=[(os.POSIX_SPAWN_DUP2, quiet, 1)],
    )  # fmt: skip
    os.close(quiet)
    _, status, used = os.wait4(process, 0)
    if status:
        sys.exit(f"failed: {' '.join(command)}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return used.ru_utime + used.ru_stime, used.ru_maxrss / unit


def measure(marks: str, size: str, folder: Path, rounds: int) -> dict[str, float]:
    short, long, rig = make_clips(folder, marks, size)
    extra = 2 * FRAMES * (LONG - SHORT)
    out = folder / "run"

    def commands(clip: Path) -> dict[str, list[str]]:
        verb = ["-m", "rulerlab", "track", str(clip), "--rig", str(rig), "--no-video", "-q",
                "--force", "-o", str(out)]  # fmt: skip
        return {"decode": ["-c", DECODE, str(clip)], "follow": ["-c", FOLLOW, str(clip), str(rig)],
                "verb": verb}  # fmt: skip

    run(*commands(short)["verb"])  # compiles once
    cost: dict[str, list[float]] = {"decode": [], "follow": [], "verb": []}
    start: dict[str, list[float]] = {"decode": [], "follow": [], "verb": []}
    grown = []
    for _ in range(rounds):
        for name in cost:
            brief, little = run(*commands(short)[name])
            full, much = run(*commands(long)[name])
            cost[name].append(1000 * (full - brief) / extra)
            start[name].append(brief - cost[name][-1] * FRAMES / 1000)
            if name == "verb":
                grown.append((much - little) * 1024 / extra)
    ms = {name: statistics.median(values) for name, values in cost.items()}
    return {
        "decode_ms": ms["decode"], "follow_ms": ms["follow"], "verb_ms": ms["verb"],
        "follow_ratio": ms["follow"] / ms["decode"], "verb_ratio": ms["verb"] / ms["decode"],
        "start_s": statistics.median(start["verb"]), "kB_per_frame": statistics.median(grown),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keep", type=Path, help="folder for the clips, used again when there")
    options = parser.parse_args()
    rows = {}
    with tempfile.TemporaryDirectory() as place:
        folder = options.keep or Path(place)
        folder.mkdir(parents=True, exist_ok=True)
        if not options.json:
            print("clip         decode   follow     verb   follow    verb  start-up  memory")
            print("              ms/frame of processor    / decode         s        kB/frame")
        for marks in RIGS:
            for size in SIZES:
                row = rows[f"{marks} {size}"] = measure(marks, size, folder, options.rounds)
                if not options.json:
                    print("{:11s} {:7.2f} {:8.2f} {:8.2f} {:7.2f}x {:6.2f}x {:8.1f} {:9.1f}".format(
                        f"{marks} {size}", *row.values()), flush=True)  # fmt: skip
    if options.json:
        print(json.dumps({"schema_version": 1, "goals": GOALS} | rows))
    else:
        print("goals at 1080p: " + ", ".join(f"{m} {g:g}x" for m, g in GOALS.items()))


if __name__ == "__main__":
    main()
