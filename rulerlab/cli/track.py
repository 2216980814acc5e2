"""`rulerlab track`: videos in, run folders out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rulerlab.errors import InputError, RulerlabError, UsageError

if TYPE_CHECKING:
    from rulerlab.rig import Rig

GATE_LOST = 0.2  # share of frames in which a point may be lost before the run counts as poor


@click.command(short_help="Track the joints of a filmed rig, in millimetres, with error bars.")
@click.argument("videos", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--rig", "rig_path", type=click.Path(path_type=Path),
              help="What is known of the rig; default: VIDEO.rig.toml or rig.toml beside the "
                   "video. 'none': nothing is known.")
@click.option("--camera", type=click.Path(path_type=Path),
              help="camera.toml of the camera (instead of the one that rig.toml names).")
@click.option("-o", "--output", type=click.Path(path_type=Path),
              help="Run folder; default: VIDEO.rulerlab beside the video. For several videos: the "
                   "folder that holds one run folder each.")
@click.option("--force", is_flag=True, help="Replace an existing run folder.")
@click.option("--at", "at_s", type=float, metavar="SECONDS",
              help="Read the load curve at this time instead of the end of the pull.")
@click.option("--no-video", is_flag=True, help="Leave annotated.mp4 out (half the time).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
def command(videos, rig_path, camera, output, force, at_s, no_video, as_json, quiet) -> int:
    """Track the points of a folding ruler or a spring-block rig through VIDEOS (or folders).

    Writes a run folder for each: tracks.csv, segments.csv, load_curve.csv, tracks.nc,
    annotated.mp4, plots/, report.html and run.json.
    """
    files = _files(videos)
    options = {"rig_path": rig_path, "camera": camera, "force": force, "at_s": at_s,
               "no_video": no_video, "quiet": quiet}
    if len(files) == 1 and videos[0] == files[0]:
        target = output or files[0].with_name(files[0].stem + ".rulerlab")
        summary = _track_one(files[0], target, **options)
        _say(summary, as_json)
        return 4 if summary["quality"] else 0
    return _batch(files, output, as_json, options)


def _files(videos: tuple[Path, ...]) -> list[Path]:
    from rulerlab.video import VIDEO_SUFFIXES

    files = []
    for path in videos:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in VIDEO_SUFFIXES)
            if not inside:
                raise InputError(f"{path} holds no videos ({' '.join(VIDEO_SUFFIXES)})")
            files += inside
        else:
            files.append(path)
    return list(dict.fromkeys(files))


def _targets(files: list[Path], output: Path | None) -> list[Path]:
    """A run folder for each video; those that would share one carry more of the video's name."""
    names = [f"{video.stem}.rulerlab" for video in files]
    places = [(output or video.parent) / name for video, name in zip(files, names, strict=True)]
    for k, video in enumerate(files):
        if places.count(places[k]) > 1:
            names[k] = f"{video.absolute().parent.name}_{video.name}.rulerlab"
    targets = [(output or video.parent) / name for video, name in zip(files, names, strict=True)]
    twice = [str(target) for target in targets if targets.count(target) > 1]
    if twice:
        raise UsageError(f"several videos would be written to {twice[0]}; track them one by one")
    return targets


def _rig(video: Path, rig_path: Path | None, camera: Path | None, quiet: bool) -> Rig:
    from dataclasses import replace

    from rulerlab.rig import CameraOfRig, Rig, read_rig, rig_beside

    if rig_path is None:
        rig_path = rig_beside(video)
        if rig_path is not None and not quiet:
            click.echo(f"rig: {rig_path}", err=True)
    rig = Rig() if rig_path is None or str(rig_path) == "none" else read_rig(rig_path)
    if camera is not None:
        if not camera.is_file():
            raise InputError(f"{camera}: no such file")
        rig = replace(rig, camera=CameraOfRig(str(camera)))
    return rig


def _track_one(
    video: Path, target: Path, *, rig_path: Path | None, camera: Path | None, force: bool,
    at_s: float | None, no_video: bool, quiet: bool,
) -> dict[str, Any]:
    """Track one video into a run folder; what to say about it."""
    from rulerlab.store import open_run
    from rulerlab.track import track
    from rulerlab.video import Recording

    if not video.exists():
        raise InputError(f"{video}: no such file")
    rig = _rig(video, rig_path, camera, quiet)
    recording = Recording(video)
    if at_s is not None and not 0 <= at_s - recording.start_s <= recording.duration_s:
        raise UsageError(f"--at {at_s:g}: the clip runs from {recording.start_s:.2f} s to "
                         f"{recording.start_s + recording.duration_s:.2f} s")
    with open_run(target, force=force) as folder:
        with _Progress(recording.frames_declared, quiet) as progress:
            tracked = track(recording, rig, progress=progress)
        for note in () if quiet else tracked.notes:
            click.echo(f"found: {note}", err=True)
        summary = _write(folder, recording, rig, tracked, at_s, no_video)
    summary["run"] = str(target)
    return summary


def _write(folder, recording, rig, tracked, at_s, no_video) -> dict[str, Any]:

    from rulerlab import segments, store
    from rulerlab.report import write_report

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
    warnings, curves, pull = list(tracked.warnings), {}, None
    try:
        pull = segments.find_pull(motion)
        for unit in ("section", "fold") if tracked.kind == "ruler" else ("spring",):
            curves[unit] = segments.load_curve(
                motion, kind=tracked.kind, pull_section=rig.ruler.pull_section, unit=unit,
                at_s=at_s,
            )
        if not pull.starts_at_rest:
            warnings.append("the clip starts in the middle of the pull: loads are counted from "
                            "its first frame; film a second of rest first")
    except RulerlabError as error:
        warnings.append(f"no load curve: {error}")
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


def _draw(folder, recording, tracked, motion, curve, pull, no_video) -> None:
    """annotated.mp4 and plots/; the picture shown in them is the last frame of the clip."""
    from rulerlab.plots import write_plots
    from rulerlab.report import write_frame
    from rulerlab.track.annotate import draw_track, enlargement
    from rulerlab.video import VideoWriter

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


def _summary(tracked, motion, curve, pull, warnings: list[str]) -> dict[str, Any]:
    """The result in plain values: what run.json, --json and the screen share."""
    import numpy as np

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
        names = ("c", "v", "c_normalised", "v_normalised", "r")
        found["load_curve"] = {
            "unit": curve.unit, "quantity": curve.quantity, "loads": curve.loads,
            "sigma": np.sqrt(np.diag(curve.load_covariance)), "regime": curve.regime,
            "regime_probability": curve.regime_probability(),
        } | {name: getattr(curve, name) for name in names} | {
            f"{name}_sigma": curve.sigma_of(name) for name in names
        }
    return found


def _say(summary: dict[str, Any], as_json: bool) -> None:
    """The result on stdout, on one screen."""
    if as_json:
        from rulerlab.store import json_text

        click.echo(json_text(summary))
        return
    for warning in summary["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    for fault in summary["quality"]:
        click.echo(f"quality: {fault}", err=True)
    detected = 100 * summary["share_detected"].mean()
    lines = [
        f"{summary['kind']} with {summary['points']} points ({summary['marks']}), "
        f"{summary['frames']} frames, {detected:.1f} % seen, "
        f"{100 * summary['share_lost'].mean():.1f} % lost, "
        f"typical error {summary['sigma_px']:.2f} px",
    ]
    if "pull" in summary:
        pull = summary["pull"]
        lines.append(f"pull from {pull['onset_s']:.2f} s to {pull['end_s']:.2f} s, "
                     f"{pull['travel']:.1f} {pull['unit']}")
    if "load_curve" in summary:
        lines += _load_lines(summary["load_curve"])
    lines.append(f"run folder: {summary['run']}")
    click.echo("\n".join(lines))


def _load_lines(curve: dict[str, Any]) -> list[str]:
    lines = [f"load per {curve['unit']}, held end first ({curve['quantity']}):"]
    largest = max(abs(curve["loads"]).max(), 1e-12)
    for number, (load, sigma) in enumerate(zip(curve["loads"], curve["sigma"], strict=True), 1):
        bar = "#" * round(40 * max(load, 0) / largest)
        lines.append(f"  {number:3d} {load:9.2f} +- {sigma:.2f}  {bar}")
    share = max(curve["regime_probability"].values())
    lines.append(
        f"  {curve['regime']} (probability {share:.2f}): "
        f"c~ = {curve['c_normalised']:+.3f} +- {curve['c_normalised_sigma']:.3f}, "
        f"v~ = {curve['v_normalised']:.3f} +- {curve['v_normalised_sigma']:.3f}, "
        f"r = {curve['r']:.3f}"
    )
    return lines


def _batch(files: list[Path], output: Path | None, as_json: bool, options: dict) -> int:
    """Track all files, keep going past bad ones, and end with a table."""
    rows = []
    for number, (video, target) in enumerate(zip(files, _targets(files, output), strict=True), 1):
        if not options["quiet"]:
            click.echo(f"[{number}/{len(files)}] {video}", err=True)
        try:
            summary = _track_one(video, target, **options)
            fault = "; ".join(summary["quality"])
            rows.append({"video": str(video), "ok": not fault, "message": fault} | summary)
        except RulerlabError as error:
            rows.append({"video": str(video), "ok": False, "message": str(error)})
        except KeyboardInterrupt:
            _table(rows, as_json)
            raise
        except Exception as error:  # one broken clip must not cost the others
            rows.append({"video": str(video), "ok": False, "message": f"bug: {error!r}"})
    _table(rows, as_json)
    return 0 if all(row["ok"] for row in rows) else 6


def _table(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        from rulerlab.store import json_text

        click.echo(json_text({"runs": rows}))
        return
    width = max((len(Path(row["video"]).name) for row in rows), default=5)
    click.echo(f"{'video':{width}}  points  frames   lost  regime    c~")
    for row in rows:
        name = Path(row["video"]).name
        if "points" not in row:
            click.echo(f"{name:{width}}  FAILED: {row['message']}")
            continue
        curve = row.get("load_curve")
        shape = f"{curve['regime']:8s}  {curve['c_normalised']:+.3f}" if curve else "-"
        poor = "" if row["ok"] else f"  POOR: {row['message']}"
        click.echo(f"{name:{width}}  {row['points']:6d}  {row['frames']:6d}  "
                   f"{100 * row['share_lost'].mean():4.1f}%  {shape}{poor}")


class _Progress:
    """A bar with frames per second and time left, on a terminal only."""

    def __init__(self, frames: int, quiet: bool):
        self.frames, self.shown = frames, sys.stderr.isatty() and not quiet

    def __enter__(self) -> _Progress:
        import time

        self.began, self.last = time.perf_counter(), 0.0
        self.clock = time.perf_counter
        return self

    def __call__(self, done: int, time_s: float) -> None:
        now = self.clock()
        if not self.shown or now - self.last < 0.2:
            return
        self.last = now
        rate = done / max(now - self.began, 1e-9)
        left = f", {max(self.frames - done, 0) / rate:.0f} s left" if self.frames else ""
        total = f"/{self.frames}" if self.frames else ""
        click.echo(f"\r{done}{total} frames, {rate:.0f} frames/s{left}   ", nl=False, err=True)

    def __exit__(self, *_) -> None:
        if self.shown:
            click.echo("\r" + " " * 60 + "\r", nl=False, err=True)
