"""How far `rulerlab track` is from the truth, and how honest its error bars are.

    python benchmarks/accuracy.py               # marker x bit rate x blur: a few minutes
    python benchmarks/accuracy.py --stress      # what real films do to a tracker
    python benchmarks/accuracy.py --sticks      # bare rulers: bit rate x wood x how they move
    python benchmarks/accuracy.py --clip data/ruler_dots.mp4

Films synthetic rigs, tracks them as a user would, and prints one row per clip in Markdown:
found: share of the visible points that is reported; rms: of one axis, px; z: spread of
(reported - truth)/sigma over detected points, 1 when the error bars are right; ext: rms of the
extensions, mm; ext z: the same for the extensions and their own sigma; swaps: frames in which a
point sits on another point's place; honest: detected points within 3 px or 4 sigma.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path

import numpy as np

from rulerlab.synthetic import Scene, film

COLUMNS = ("frames", "found", "rms_px", "z", "ext_mm", "ext_z", "swaps", "honest")
MARKERS = {
    "ruler, dots": {"jerks": 4},
    "blocks, dots": {"rig": "blocks", "rattle_mm": 1.0, "opening": "even"},
    "blocks, tags": {"rig": "blocks", "rattle_mm": 1.0, "marks": "tags", "opening": "even"},
}
STICKS = {  # bare rulers, folded at first and open at last
    "pale wood": {}, "dark wood": {"wood": "dark"}, "yellow": {"wood": "yellow"},
    "grey": {"wood": "grey"}, "jerky": {"jerks": 4}, "handheld": {"handheld": 1.0},
    "dim and noisy": {"light": 0.45, "noise": 5.0},
    "jerky, exposed for 16 ms": {"jerks": 4, "exposure_s": 0.016},
    "jerky, every fourth frame a blend": {"jerks": 3, "ghosted": tuple(range(3, 60, 4))},
}  # fmt: skip
STRESS = {
    "two colours, board shaken": {
        "colours": ("blue", "green"), "references": "tags", "shaking_mm": 3.0, "jerks": 3},
    "handheld": {"handheld": 1.0},
    "strong lens, tilted": {
        "tilt_deg": (17.0, -9.0), "distortion": (-0.24, 0.07, 0.001, -0.001, 0)},
    "hand covers the pulled end": {"hand": "covers"},
    "hand passes over": {"passes": 1, "seconds": 3.0},
    "variable rate, drops, ghosts": {
        "variable_rate": True, "dropped": (20, 21), "duplicated": (30,), "ghosted": (40, 45)},
    "dim and noisy": {"light": 0.45, "noise": 5.0},
    "no hand, no reference": {"references": "none", "hand": "none"},
    "yellow dots": {"colours": ("yellow",)},
    "touching dots": {"fold_mm": 3.6},
    "tags on the sections, 1080p": {
        "marks": "tags", "references": "tags", "size_px": (1920, 1080), "bitrate_kbps": 6000},
    "rail shaken, tags": {
        "rig": "blocks", "marks": "tags", "references": "tags", "shaking_mm": 3.0,
        "opening": "even", "exposure_s": 0.008},
    "fast jerk, long exposure": {"jerks": 1, "exposure_s": 0.02, "seconds": 1.5},
}  # fmt: skip


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Columns of a csv by name; numbers where they are numbers, else text."""
    with open(path, newline="") as handle:
        rows = list(csv.DictReader(handle))
    table = {}
    for name in rows[0]:
        values = [row[name] for row in rows]
        if name.endswith("status"):
            table[name] = np.array(values)
        else:
            table[name] = np.array([float(value) if value else np.nan for value in values])
    return table


def stacked(table: dict[str, np.ndarray], letter: str, first: int, name: str) -> np.ndarray:
    """Columns `p0_name, p1_name, ...` side by side, (F, N)."""
    columns = []
    while f"{letter}{first + len(columns)}_{name}" in table:
        columns.append(table[f"{letter}{first + len(columns)}_{name}"])
    return np.stack(columns, axis=1)


def spread(z: np.ndarray) -> float:
    """Half the width that holds the middle 68 % of the values."""
    z = z[np.isfinite(z)]
    return float(np.diff(np.percentile(z, [15.87, 84.13]))[0] / 2) if z.size > 20 else np.nan


def score(run_folder: Path, truth: Path) -> dict[str, float | int | str]:
    """Compare a run folder with the truth of its clip; frames with a fault are left out."""
    table, known = read_table(Path(run_folder) / "tracks.csv"), np.load(truth)
    good = known["frame_fault"] == 0
    t, true_px = known["t_s"][good], known["point_px"][good]
    visible = known["point_visible"][good] == 1
    nearest = np.abs(t[:, None] - table["time_s"]).argmin(axis=1)
    gap_s = np.abs(t - table["time_s"][nearest])
    matched = gap_s < 0.4 * np.median(np.diff(t))
    result: dict[str, float | int | str] = {"frames": f"{matched.sum()}/{len(t)}"}
    result["time_ms"] = float(1e3 * gap_s[matched].max())

    def per_point(name: str) -> np.ndarray:
        return stacked(table, "p", 0, name)[nearest]

    px = np.stack([per_point("x_px"), per_point("y_px")], axis=-1)
    sigma = np.stack([per_point("sigma_x_px"), per_point("sigma_y_px")], axis=-1)
    if px.shape[1] != true_px.shape[1]:
        result["problem"] = f"{px.shape[1]} points, truth {true_px.shape[1]}"
        return result
    status = per_point("status")
    use = matched[:, None] & visible & np.isfinite(px).all(axis=-1) & (status != "lost")
    detected = use & (status == "detected")
    error = px - true_px
    distance = np.linalg.norm(error, axis=-1)
    between = np.linalg.norm(px[:, :, None] - true_px[:, None], axis=-1)
    other = np.where(np.eye(px.shape[1], dtype=bool), np.inf, between).min(axis=2)
    result["found"] = float(use.sum() / visible.sum())
    result["rms_px"] = float(np.sqrt((error[use] ** 2).mean()))
    result["max_px"] = float(distance[use].max())
    result["z"] = spread((error / sigma)[detected])
    result["swaps"] = int((use & (distance > 8) & (other < 0.5 * distance)).any(axis=1).sum())
    limit = np.maximum(3.0, 4 * sigma.max(axis=-1))
    result["honest"] = float((distance <= limit)[detected].mean())
    return result | _score_extensions(Path(run_folder), known["extension_x_mm"][good], use, nearest)


def _score_extensions(folder: Path, true_mm, use, nearest) -> dict[str, float]:
    """Only where both points of a segment were visible and reported, and millimetres are known."""
    table = read_table(folder / "segments.csv")
    if "s1_extension_mm" not in table:
        return {}
    extension = stacked(table, "s", 1, "extension_mm")[nearest]
    sigma = stacked(table, "s", 1, "sigma_mm")[nearest]
    both = use[:, 1:] & use[:, :-1] & np.isfinite(extension)
    if not both.any():
        return {}
    error = extension - true_mm
    return {
        "ext_mm": float(np.sqrt((error[both] ** 2).mean())),
        "ext_z": spread((error / sigma)[both]),
    }


def run(scene: Scene, folder: Path) -> dict[str, float | int | str]:
    """Film, track as a user would, and score one scene."""
    made = film(scene, folder / "clip.mp4")
    return track_and_score(made.video, made.truth, folder / "clip.rulerlab")


def track_and_score(video: Path, truth: Path, target: Path) -> dict[str, float | int | str]:
    done = subprocess.run(
        [sys.executable, "-m", "rulerlab", "track", str(video), "-o", str(target), "--force",
         "--no-video", "--quiet"], capture_output=True, text=True, timeout=3600,
    )  # fmt: skip
    if not (target / "tracks.csv").exists():
        said = done.stderr.strip().splitlines()[-1].replace(f"{video}: ", "")
        return {"problem": f"exit {done.returncode}: {said}"}
    return score(target, truth)


def print_row(labels: list[str], result: dict[str, float | int | str]) -> None:
    cells = list(labels)
    for name in COLUMNS:
        value = result.get(name, "")
        cells.append(f"{value:.3f}" if isinstance(value, float) else str(value))
    if "problem" in result:
        cells[-1] = str(result["problem"])
    print("| " + " | ".join(cells) + " |", flush=True)


def print_head(labels: list[str]) -> None:
    names = [*labels, *COLUMNS]
    print("| " + " | ".join(names) + " |\n|" + "---|" * len(names), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stress", nargs="*", metavar="NAME", help="only these, or all")
    parser.add_argument("--sticks", nargs="*", metavar="NAME", help="only these, or all")
    parser.add_argument("--clip", type=Path, help="score one clip that has NAME.truth.npz")
    parser.add_argument("--markers", nargs="*", choices=list(MARKERS), default=list(MARKERS))
    parser.add_argument("--contrast", nargs="*", type=float, default=[1.0])
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    if arguments.clip:
        truth = arguments.clip.with_suffix(".truth.npz")
        with tempfile.TemporaryDirectory() as folder:
            print_head(["clip"])
            result = track_and_score(arguments.clip, truth, Path(folder) / "run.rulerlab")
            print_row([arguments.clip.name], result)
    elif arguments.sticks is not None:
        print_head(["bare sticks", "kbit/s"])
        for (name, knobs), kbps in product(STICKS.items(), (4000, 1200)):
            if not arguments.sticks or name in arguments.sticks:
                scene = Scene(marks="none", references="none", bitrate_kbps=kbps,
                              seconds=arguments.seconds, seed=arguments.seed, **knobs)
                with tempfile.TemporaryDirectory() as folder:
                    print_row([name, f"{kbps}"], run(scene, Path(folder)))
    elif arguments.stress is not None:
        print_head(["stress"])
        for name, knobs in STRESS.items():
            if not arguments.stress or name in arguments.stress:
                with tempfile.TemporaryDirectory() as folder:
                    knobs = {"seconds": arguments.seconds, "seed": arguments.seed} | knobs
                    print_row([name], run(Scene(**knobs), Path(folder)))
    else:
        print_head(["marker", "contrast", "kbit/s", "exposure ms"])
        grid = product(arguments.markers, arguments.contrast, (4000, 800), (0.002, 0.016))
        for marker, contrast, kbps, exposure_s in grid:
            scene = Scene(
                contrast=contrast, bitrate_kbps=kbps, exposure_s=exposure_s,
                seconds=arguments.seconds, seed=arguments.seed, **MARKERS[marker],
            )  # fmt: skip
            with tempfile.TemporaryDirectory() as folder:
                labels = [marker, f"{contrast}", f"{kbps}", f"{1e3 * exposure_s:.0f}"]
                print_row(labels, run(scene, Path(folder)))


if __name__ == "__main__":
    main()
