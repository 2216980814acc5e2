"""What `rulerlab track` writes about one recording or picture: the run folder and its summary."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from rulerlab import segments, store
from rulerlab.errors import RulerlabError
from rulerlab.plots import write_plots
from rulerlab.report import write_frame, write_report
from rulerlab.rig import Rig
from rulerlab.track import Tracked
from rulerlab.track.annotate import draw_track, enlargement
from rulerlab.track.still import Still, write_png
from rulerlab.video import Recording, VideoWriter

GATE_LOST = 0.2  # share of frames in which a point may be lost before the run counts as poor


def write_run(folder: Path, recording: Recording | Still, rig: Rig, tracked: Tracked,
              at_s: float | None, no_video: bool) -> dict[str, Any]:
    """Fill a run folder with all that was found; the result in plain values."""
    tracks = tracked.tracks
    position_mm, covariance_mm, shared_mm = segments.to_plane(tracked)
    sigma_mm = segments.total_sigma(covariance_mm, shared_mm)
    motion = segments.motion_of(tracked)
    in_mm = motion.unit == "mm"
    store.write_tracks_csv(folder / "tracks.csv", tracks, *(
        (position_mm, sigma_mm) if in_mm else ()))
    angle = segments.angle_deg(motion) if tracked.kind == "ruler" else None
    store.write_segments_csv(folder / "segments.csv", motion, angle)
    store.write_netcdf(folder / "tracks.nc", tracks, motion, source_file=recording.path.name,
                       individual=tracked.kind)
    warnings = list(tracked.warnings)
    pull, curves = _load_curves(motion, tracked.kind, rig, at_s, warnings)
    for unit, curve in curves.items():
        store.write_load_curve(folder, curve,
                               name="load_curve_folds" if unit == "fold" else "load_curve")
    first = next(iter(curves.values()), None)
    _draw(folder, recording, tracked, motion, first, pull, no_video)
    summary = _summary(tracked, motion, first, pull, warnings)
    info = store.provenance([recording.path, *(
        [Path(rig.camera.calibration)] if rig.camera.calibration else [])])
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
    last = recording.latest
    plain = last.bgr()

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
    times = {} if pull is None else {"onset": pull.onset_s, "end of pull": pull.end_s}
    write_plots(folder / "plots", tracks, motion, curve, picture=plain[..., ::-1],
                frame=len(tracks.time_s) - 1, times_s=times,
                name="section" if tracked.kind == "ruler" else "spring")
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
