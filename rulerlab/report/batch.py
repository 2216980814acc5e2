"""Many runs at once: one row of numbers for each, what is odd about it, and who filmed twice."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rulerlab.errors import RulerlabError
from rulerlab.fit.stored import NAME, read_fit
from rulerlab.records import EDITED
from rulerlab.report.contents import curve_numbers
from rulerlab.report.findings import read_comparison
from rulerlab.report.twins import find_twins
from rulerlab.store import Run, read_run

DEEPEST = 3  # folders below the one that is given
ENOUGH = 5  # runs of one kind, below which nothing is called odd
ODD = 3.5  # robust z beyond which a run is looked at first (Iglewicz and Hoaglin 1993)
LEAST = {  # differences below these are never odd, however alike the others are
    "c_normalised": 0.01, "v_normalised": 0.01, "sigma_px": 0.02, "share_lost": 0.005,
    "share_predicted": 0.02, "travel": 1.0, "bad_frames": 2.0,
}
COLUMNS = (
    "run", "odd", "twins", "fault", "warnings", "quality", "video", "sha256", "written", "kind",
    "marks", "points", "frames", "frames_per_s", "bad_frames", "share_lost", "share_predicted",
    "edited", "sigma_px", "unit", "travel", "c_normalised", "c_normalised_sigma", "v_normalised",
    "v_normalised_sigma", "r", "regime", "regime_probability", "fit_law", "fit_valid",
    "chain_friction_over_k", "chain_noise_over_k", "chain_accepted", "network_knob",
    "network_value", "network_alpha", "network_accepted",
)


@dataclass
class Entry:
    """One run folder of a batch, or what stands where one should be."""

    name: str
    folder: Path
    run: Run | None = None
    fault: str = ""  # why it can't be read
    numbers: dict[str, Any] = field(default_factory=dict)  # by the names in COLUMNS
    odd: list[str] = field(default_factory=list)
    twins: list[str] = field(default_factory=list)

    @property
    def alarm(self) -> tuple:
        """Sorts what an instructor should look at first to the front."""
        return (not self.twins, not self.fault, -len(self.odd), not self.numbers.get("quality"),
                not self.numbers.get("warnings"), self.name)


def find_runs(folder: Path) -> list[Path]:
    """Run folders below `folder`, and those that should be some: broken ones, empty groups."""
    found = list(_descend(folder, DEEPEST))
    groups = [path for path in sorted(folder.iterdir())
              if path.is_dir() and not path.name.startswith(".")]
    empty = [group for group in groups if not any(path.is_relative_to(group) for path in found)]
    return sorted([*found, *empty])


def _descend(folder: Path, levels: int) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not path.is_dir() or path.name.startswith("."):
            continue
        told = any((path / name).exists() for name in ("run.json", "tracks.csv", "tracks.nc"))
        if told or path.suffix == ".rulerlab":
            yield path
        elif levels > 1:
            yield from _descend(path, levels - 1)


def read_batch(folder: Path) -> list[Entry]:
    """Every run below `folder`, judged against the others; the odd ones come first.

    A folder that can't be read becomes an entry with its fault.
    """
    entries = [_entry(path, path.relative_to(folder).as_posix()) for path in find_runs(folder)]
    good = [entry for entry in entries if entry.run is not None]
    _mark_odd(good)
    for one, other, why in find_twins([entry.run for entry in good if entry.run is not None]):
        good[one].twins.append(f"{good[other].name} ({why})")
        good[other].twins.append(f"{good[one].name} ({why})")
    return sorted(entries, key=lambda entry: entry.alarm)


def _entry(path: Path, name: str) -> Entry:
    try:
        run = read_run(path)
        return Entry(name, path, run, numbers=_numbers(run))
    except RulerlabError as error:
        return Entry(name, path, fault=str(error))
    except Exception as error:  # one broken folder must not cost the others
        return Entry(name, path, fault=f"can't be understood: {error!r}")


def _numbers(run: Run) -> dict[str, Any]:
    """The row of one run, by the names in COLUMNS; what it does not hold is left out."""
    info = run.info
    curve, pull, health = curve_numbers(run), info.get("pull") or {}, info.get("health") or {}
    video = (info.get("inputs") or [{}])[0]
    row: dict[str, Any] = {
        "video": os.path.basename(str(video.get("path", ""))), "sha256": video.get("sha256"),
        "warnings": len(info.get("warnings") or []),
        "quality": "; ".join(map(str, info.get("quality") or [])),
        "bad_frames": sum(len(health.get(key) or []) for key in
                          ("duplicates", "ghosts", "blurred", "corrupt", "gaps")),
        "travel": pull.get("travel"),
    }
    row |= {key: info.get(key) for key in
            ("written", "kind", "marks", "points", "frames", "sigma_px", "unit")}
    row |= {key: curve.get(key) for key in
            ("c_normalised", "c_normalised_sigma", "v_normalised", "v_normalised_sigma", "r",
             "regime")}
    row["regime_probability"] = (curve.get("regime_probability") or {}).get(curve.get("regime"))
    if run.tracks is not None:
        status, time_s = run.tracks.status, run.tracks.time_s
        row |= {"share_lost": float(run.tracks.share_lost().mean()),
                "share_predicted": float((status == "predicted").mean()),
                "edited": int((status == EDITED).sum())}
        if len(time_s) > 1:
            row["frames_per_s"] = round(1 / float(np.median(np.diff(time_s))), 3)
    return {key: value for key, value in (row | _findings(run.folder)).items() if value is not None}


def _findings(folder: Path) -> dict[str, Any]:
    """Fit and comparison in columns; parameters of the fit under their own names."""
    row: dict[str, Any] = {}
    if (folder / NAME).exists():
        fit = read_fit(folder)
        row |= {"fit_law": fit.law, "fit_valid": fit.valid}
        for name, p in fit.parameters.items():
            row |= {f"fit_{name}": p.value, f"fit_{name}_low95": p.low95,
                    f"fit_{name}_high95": p.high95, f"fit_{name}_unit": p.unit,
                    f"fit_{name}_bound": p.bound}
    told = read_comparison(folder) or {}
    for part, keys in (("chain", ("friction_over_k", "noise_over_k", "accepted")),
                       ("network", ("knob", "value", "alpha", "accepted"))):
        found = told.get(f"nearest_{part}")
        if isinstance(found, dict):
            row |= {f"{part}_{key}": found.get(key) for key in keys}
    return row


def _mark_odd(entries: list[Entry]) -> None:
    """Say of each run which of its numbers stand far off those of the other runs of its kind."""
    def sort(entry: Entry) -> tuple:
        return entry.numbers.get("kind"), entry.numbers.get("unit")

    for kind in {sort(entry) for entry in entries}:
        alike = [entry for entry in entries if sort(entry) == kind]
        for name, least in LEAST.items():
            known = [entry for entry in alike if entry.numbers.get(name) is not None]
            values = np.array([float(entry.numbers[name]) for entry in known])
            for entry, z in zip(known, robust_z(values, least), strict=True):
                if abs(z) > ODD:
                    shown = f"{float(entry.numbers[name]):.3g}"
                    entry.odd.append(f"{name} = {shown} (robust z {z:+.1f})")


def robust_z(values: np.ndarray, least: float) -> np.ndarray:
    """Distance from the median in units of the spread that the middle half suggests, (K,).

    `least` is added to the spread in squares; fewer than five values are all zero.
    """
    if len(values) < ENOUGH:
        return np.zeros(len(values))
    off = values - np.median(values)
    return off / np.hypot(1.4826 * np.median(np.abs(off)), least)


def write_summary(entries: list[Entry], path: Path) -> None:
    """summary.csv: one row per run, unknown cells empty, fitted parameters in columns behind."""
    fitted = sorted({name for entry in entries for name in entry.numbers} - set(COLUMNS))
    with path.open("w", newline="", encoding="utf-8") as handle:
        table = csv.DictWriter(handle, [*COLUMNS, *fitted], restval="")
        table.writeheader()
        for entry in entries:
            table.writerow(entry.numbers | {
                "run": entry.name, "odd": "; ".join(entry.odd), "twins": "; ".join(entry.twins),
                "fault": entry.fault})
