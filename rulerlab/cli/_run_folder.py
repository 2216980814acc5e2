"""The run folder as `rulerlab track` writes it, and as it is written anew when it is mended."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from rulerlab import segments, store
from rulerlab.errors import RulerlabError
from rulerlab.plots import write_plots
from rulerlab.records import Tracks
from rulerlab.report import write_frame, write_report
from rulerlab.review.mending import LOG
from rulerlab.rig import Rig, rig_of_run
from rulerlab.track import Tracked
from rulerlab.track.annotate import draw_track, enlargement
from rulerlab.track.kept import read_tracked, write_view
from rulerlab.track.still import Still, read_still, without_lens, write_png
from rulerlab.video import Recording, VideoWriter

GATE_LOST = 0.2  # share of frames in which a point may be lost before the run counts as poor


def write_run(folder: Path, recording: Recording | Still, rig: Rig, tracked: Tracked,
              at_s: float | None, no_video: bool) -> dict[str, Any]:
    """Fill a run folder with all that was found; the result in plain values."""
    info = store.provenance([recording.path, *(
        [Path(rig.camera.calibration)] if rig.camera.calibration else [])])
    info["noticed"] = list(tracked.warnings)
    return _write(folder, recording, rig, tracked, at_s, no_video, info)


def rewrite_run(run: Path, *, tracks: Tracks | None = None, at_s: float | None = None,
                no_video: bool = False) -> dict[str, Any]:
    """Write a run folder anew from its tracks, or from `tracks`; the result in plain values.

    Pictures need the recording (or still) that it was made of; without it they are left out, which
    a warning tells. What `fit` and `compare` had found in the old tracks goes. The old folder stays
    until the new one is complete.
    """
    before = store.read_run_json(run)
    tracked, rig = read_tracked(run), rig_of_run(before.get("rig") or {})
    tracked = tracked if tracks is None else replace(tracked, tracks=tracks)
    recording, noticed = recording_of(run), list(tracked.warnings)
    if recording is None:
        tracked.warnings.append(f"{before['inputs'][0]['path']} is not found: the pictures of the "
                                "run are left out")
    kept = ("inputs", "versions", "platform", "command", "written")
    info = store.provenance([]) | {"inputs": before["inputs"], "noticed": noticed, "tracked": {
        name: before[name] for name in kept if name in before} | (before.get("tracked") or {})}
    with store.open_run(run, force=True) as folder:
        summary = _write(folder, recording, rig, tracked, at_s, no_video, info)
        if (run / LOG).exists():
            shutil.copy2(run / LOG, folder / LOG)
    summary["run"] = str(run)
    return summary


def recording_of(run: Path) -> Recording | Still | None:
    """The recording (or picture) of a run: as it was named, or beside the run folder."""
    info = store.read_run_json(run)
    told = info["inputs"][0]
    name = Path(str(told["path"]))
    for path in (name, run.resolve().parent / name.name):
        if path.is_file() and path.stat().st_size == told["bytes"]:
            if info["frames"] > 1:
                return Recording(path)
            return without_lens(read_still(path), rig_of_run(info.get("rig") or {}))[0]
    return None


def _write(folder: Path, recording: Recording | Still | None, rig: Rig, tracked: Tracked,
           at_s: float | None, no_video: bool, info: dict[str, Any]) -> dict[str, Any]:
    tracks = tracked.tracks
    position_mm, covariance_mm, shared_mm = segments.to_plane(tracked)
    sigma_mm = segments.total_sigma(covariance_mm, shared_mm)
    motion = segments.motion_of(tracked)
    in_mm = motion.unit == "mm"
    store.write_tracks_csv(folder / "tracks.csv", tracks, *(
        (position_mm, sigma_mm) if in_mm else ()))
    angle = segments.angle_deg(motion) if tracked.kind == "ruler" else None
    store.write_segments_csv(folder / "segments.csv", motion, angle)
    store.write_netcdf(folder / "tracks.nc", tracks, motion, individual=tracked.kind,
                       source_file=Path(str(info["inputs"][0]["path"])).name)
    write_view(folder, tracked)
    warnings = list(tracked.warnings)
    pull, curves = _load_curves(motion, tracked.kind, rig, at_s, warnings)
    for unit, curve in curves.items():
        store.write_load_curve(folder, curve,
                               name="load_curve_folds" if unit == "fold" else "load_curve")
    first = next(iter(curves.values()), None)
    _draw(folder, recording, tracked, motion, first, pull, no_video)
    summary = _summary(tracked, motion, first, pull, warnings)
    store.write_run_json(folder, info | {"rig": rig.as_dict(), "found": tracked.notes} | summary
                         | {"health": tracked.health})
    write_report(folder)
    return summary


def _load_curves(motion, kind: str, rig: Rig, at_s: float | None, warnings: list[str]):
    """(pull, load curve by unit) of a motion; what speaks against them goes to `warnings`."""
    pull, curves = None, {}
    units = ("section", "fold") if kind == "ruler" else ("spring",)
    if len(motion.time_s) == 1:
        warnings.append("one picture shows no rest state: loads are counted from a ruler that is "
                        "folded flat")
        return None, {unit: segments.opened_curve(
            motion, pull_section=rig.ruler.pull_section, unit=unit) for unit in units}
    try:
        pull = segments.find_pull(motion)
        for unit in units:
            curves[unit] = segments.load_curve(
                motion, kind=kind, pull_section=rig.ruler.pull_section, unit=unit, at_s=at_s)
        if not pull.starts_at_rest:
            warnings.append("the clip starts in the middle of the pull: loads are counted from "
                            "its first frame; film a second of rest first")
    except RulerlabError as error:
        warnings.append(f"no load curve: {error}")
    return pull, curves


def _draw(folder, recording, tracked, motion, curve, pull, no_video) -> None:
    """annotated.mp4 and plots/; the picture shown in them is the last frame of the clip."""
    tracks = tracked.tracks
    times = {} if pull is None else {"onset": pull.onset_s, "end of pull": pull.end_s}
    name = "section" if tracked.kind == "ruler" else "spring"
    if recording is None:
        write_plots(folder / "plots", tracks, motion, curve, times_s=times, name=name)
        return
    enlarged = enlargement(tracks.covariance_px, recording.height)

    def annotate(picture, t: int) -> None:
        draw_track(
            picture, tracks.position_px[t], tracks.covariance_px[t], tracks.status[t],
            float(tracks.time_s[t]), note=recording.path.name, enlarged=enlarged,
        )

    if not no_video:
        with VideoWriter(folder / "annotated.mp4", recording.width, recording.height) as film:
            for t, frame in enumerate(recording.frames()):
                picture = frame.bgr()
                annotate(picture, t)
                film.write(picture, frame.time_s)
    last = recording.latest or recording.frames_at(
        {float(tracks.time_s[-1]): len(tracks.time_s) - 1})[0]
    plain = last.bgr()
    write_plots(folder / "plots", tracks, motion, curve, picture=plain[..., ::-1],
                frame=len(tracks.time_s) - 1, times_s=times, name=name)
    annotate(plain, len(tracks.time_s) - 1)
    write_frame(folder, plain)
    if len(tracks.time_s) == 1:
        write_png(folder / "annotated.png", plain)


def _summary(tracked, motion, curve, pull, warnings: list[str]) -> dict[str, Any]:
    """The result in plain values: what run.json, --json and the screen share."""
    tracks, health = tracked.tracks, tracked.health
    lost = tracks.share_lost()
    quality = [f"point {k} is lost in {100 * share:.0f} % of the frames"
               for k, share in enumerate(lost) if share > GATE_LOST]
    bad = len(set(health["ghosts"]) | set(health["duplicates"]) | set(health["blurred"]))
    if bad > 0.2 * health["frames"]:
        quality.append(f"{bad} of {health['frames']} frames are ghosts, duplicates or blurred")
    found = {
        "kind": tracked.kind, "marks": tracked.marks, "points": tracks.points,
        "frames": len(tracks.time_s),
        "unit": motion.unit,
        "share_detected": (tracks.status == "detected").mean(axis=0),
        "share_lost": lost,
        "sigma_px": float(np.nanmedian(tracks.sigma_px())),
        "seconds": health["seconds"], "frames_per_s": health["frames_per_s"],
        "warnings": warnings, "quality": quality,
    }
    if pull is not None:
        found["pull"] = {"onset_s": pull.onset_s, "end_s": pull.end_s,
                         "travel": pull.travel_mm, "unit": motion.unit}
    if curve is not None:
        found["load_curve"] = {
            "unit": curve.unit, "quantity": curve.quantity, "loads": curve.loads,
            "sigma": np.sqrt(np.diag(curve.load_covariance)),
        } | store.shape_numbers(curve)
    return found
