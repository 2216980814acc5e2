"""`rulerlab track`: videos and pictures in, run folders out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from rulerlab.errors import InputError, RulerlabError, UsageError

if TYPE_CHECKING:
    from rulerlab.rig import Rig
    from rulerlab.track.still import Still


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
@click.option("--joints", "joints_path", type=click.Path(path_type=Path), metavar="FILE",
              help="Joints of a bare ruler where they are not found by themselves, in a picture or "
                   "the first frame of a video: a csv file with x,y in pixels, held end first.")
@click.option("--pick", is_flag=True,
              help="Pick those joints with the mouse; without a screen: write the picture with a "
                   "grid of coordinates, from which to write a --joints file.")
@click.option("--no-video", is_flag=True, help="Leave annotated.mp4 out (half the time).")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("-q", "--quiet", is_flag=True, help="No progress and no notes.")
def command(videos, rig_path, camera, output, force, at_s, joints_path, pick, no_video, as_json,
            quiet) -> int:
    """Track the points of a folding ruler or a spring-block rig through VIDEOS (or folders).

    Writes a run folder for each: tracks.csv, segments.csv, load_curve.csv, tracks.nc,
    annotated.mp4, plots/, report.html and run.json. Single pictures (png, jpg, ...) of a bare
    ruler are read likewise; they give annotated.png.
    """
    files = _files(videos)
    if (joints_path or pick) and len(files) != 1:
        raise UsageError("--joints and --pick are for one picture or video at a time")
    joints = _joints(files[0], joints_path, pick)
    options = {"rig_path": rig_path, "camera": camera, "force": force, "at_s": at_s,
               "joints": joints, "no_video": no_video, "quiet": quiet}
    if len(files) == 1 and videos[0] == files[0]:
        target = output or files[0].with_name(files[0].stem + ".rulerlab")
        summary = track_one(files[0], target, **options)
        say(summary, as_json)
        return 4 if summary["quality"] else 0
    return _batch(files, output, as_json, options)


def _files(paths: tuple[Path, ...]) -> list[Path]:
    """Files as they are, folders as the videos in them, or where they hold none, the pictures."""
    from rulerlab.track.still import PICTURE_SUFFIXES
    from rulerlab.video import VIDEO_SUFFIXES, files_in

    files: list[Path] = []
    for path in paths:
        try:
            files += files_in([path])
        except InputError:
            found = files_in([path], VIDEO_SUFFIXES + PICTURE_SUFFIXES)
            files += [file for file in found if not file.stem.endswith(".pick")]
    return list(dict.fromkeys(files))


def _is_picture(path: Path) -> bool:
    from rulerlab.track.still import PICTURE_SUFFIXES

    return path.suffix.lower() in PICTURE_SUFFIXES


def _joints(file: Path, joints_path: Path | None, pick: bool) -> Any:
    """Joints (N, 2) that a person gives for a picture or a video; None to look for them."""
    if joints_path is not None:
        from rulerlab.track.still import read_joints

        return read_joints(joints_path)
    if pick:
        from rulerlab.cli._pick import pick_joints

        return pick_joints(_still(file))
    return None


def _still(file: Path) -> Still:
    """A picture file, or the first frame of a video."""
    from rulerlab.track.still import Still, read_still
    from rulerlab.video import Recording

    if _is_picture(file):
        return read_still(file)
    if not file.exists():
        raise InputError(f"{file}: no such file")
    frame = next(Recording(file).frames(), None)
    if frame is None:
        raise InputError(f"{file}: no frame of it can be decoded")
    return Still(file, frame.bgr())


def run_folders(files: list[Path], output: Path | None) -> list[Path]:
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


def track_one(
    video: Path, target: Path, *, rig_path: Path | None, camera: Path | None, force: bool,
    at_s: float | None, joints: Any, no_video: bool, quiet: bool,
) -> dict[str, Any]:
    """Track one video or picture into a run folder; what to say about it."""
    from rulerlab.cli._run_folder import write_run
    from rulerlab.store import open_run
    from rulerlab.track import track
    from rulerlab.video import Recording

    if not video.exists():
        raise InputError(f"{video}: no such file")
    rig = _rig(video, rig_path, camera, quiet)
    if _is_picture(video):
        return _track_picture(video, target, rig, joints, force=force, quiet=quiet)
    recording = Recording(video)
    if at_s is not None and not 0 <= at_s - recording.start_s <= recording.duration_s:
        raise UsageError(f"--at {at_s:g}: the clip runs from {recording.start_s:.2f} s to "
                         f"{recording.start_s + recording.duration_s:.2f} s")
    with open_run(target, force=force) as folder:
        with _Progress(recording.frames_declared, quiet) as progress:
            tracked = track(recording, rig, joints_px=joints, progress=progress)
        for note in () if quiet else tracked.notes:
            click.echo(f"found: {note}", err=True)
        summary = write_run(folder, recording, rig, tracked, at_s, no_video)
    summary["run"] = str(target)
    return summary


def _track_picture(path: Path, target: Path, rig: Rig, joints: Any, *, force: bool,
                   quiet: bool) -> dict[str, Any]:
    """Read one picture of a bare ruler into a run folder; what to say about it."""
    from rulerlab.cli._run_folder import write_run
    from rulerlab.store import open_run
    from rulerlab.track.still import read_still, track_still, without_lens

    still, joints = without_lens(read_still(path), rig, joints)
    tracked = track_still(still, rig, joints_px=joints)
    for note in () if quiet else tracked.notes:
        click.echo(f"found: {note}", err=True)
    with open_run(target, force=force) as folder:
        summary = write_run(folder, still, rig, tracked, None, True)
    summary["run"] = str(target)
    return summary


def say(summary: dict[str, Any], as_json: bool) -> None:
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
        lines.append(f"  {number:3d} {load:9.2f} ± {sigma:.2f}  {bar}")
    share = max(curve["regime_probability"].values())
    lines.append(
        f"  {curve['regime']} (probability {share:.2f}): "
        f"c~ = {curve['c_normalised']:+.3f} ± {curve['c_normalised_sigma']:.3f}, "
        f"v~ = {curve['v_normalised']:.3f} ± {curve['v_normalised_sigma']:.3f}, "
        f"r = {curve['r']:.3f}"
    )
    return lines


def _batch(files: list[Path], output: Path | None, as_json: bool, options: dict) -> int:
    """Track all files, keep going past bad ones, and end with a table."""
    rows = []
    targets = run_folders(files, output)
    for number, (video, target) in enumerate(zip(files, targets, strict=True), 1):
        if not options["quiet"]:
            click.echo(f"[{number}/{len(files)}] {video}", err=True)
        try:
            summary = track_one(video, target, **options)
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
