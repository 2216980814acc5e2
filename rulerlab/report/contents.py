"""A run folder as the sections of its report: what was filmed, what came out, how well."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from rulerlab import plots
from rulerlab.plots import quoted
from rulerlab.report.blocks import (
    Alert,
    Block,
    Facts,
    Lines,
    Picture,
    Section,
    Table,
    Text,
    Words,
)
from rulerlab.report.budget import error_budget
from rulerlab.report.findings import comparison_section, fit_alert, fit_section
from rulerlab.report.method import method
from rulerlab.store import Run, shape_numbers

SHAPES = {
    "c": ("first load minus last load, $c$", True),
    "v": ("spread of the loads, $v$", True),
    "c_normalised": ("$c$ as a share of the total, $\\tilde{c}$", False),
    "v_normalised": ("$v$ as a share of the total, $\\tilde{v}$", False),
    "r": ("correlation of the curve with depth, $r$", False),
}
MARKS = {"dots": "dots", "tags": "tags", "none": "bare sticks"}
BAD_FRAMES = {
    "duplicates": "shown twice (no new information)",
    "ghosts": "blend of two moments",
    "blurred": "badly blurred",
    "corrupt": "damaged in the file",
    "gaps": "followed by a gap (frames dropped by the camera)",
}
QUESTIONS = (
    ("Which shape has your load curve: concave, linear or convex? How sure are you?", 4),
    ("Compute c, v and their shares of the total, with error bars. Neighbouring loads share a "
     "joint: what does that do to the error of c?", 6),
    ("Find friction over stiffness from the steps between the loads that moved. Which loads "
     "did you leave out, and why?", 5),
    ("Which entry of the error budget is the largest? How would you film to halve it?", 4),
    ("Would more shaking, or less friction, make the load more even? Which of your numbers "
     "say so?", 5),
    ("Which network would share its load like your ruler, and what does the picture leave out?", 5),
)


def title_of(run: Run) -> str:
    """What was filmed (or simulated), by the name of its first input."""
    inputs = run.info.get("inputs") or [{"path": run.folder.resolve().name}]
    return Path(str(inputs[0]["path"])).name


def sections_of(run: Run, *, student: bool = False) -> list[Section]:
    """The whole report; for a `student` without answers, with room to write them."""
    found = [_opening(run, student), _result(run, student), _figures(run, student)]
    if not student:
        found += [fit_section(run.folder), comparison_section(run.folder)]
    found += [_calibration(run), _health(run), method(), _conclusions(student), _origin(run)]
    return [section for section in found if section is not None]


def _number(value: Any) -> float:
    """A number of run.json, where null stands for NaN."""
    return float("nan") if value is None else float(value)


def curve_numbers(run: Run) -> dict[str, Any]:
    """Loads and shape numbers as run.json tells them; of other runs, from load_curve.csv."""
    told = run.info.get("load_curve")
    if told or run.load_curve is None:
        return told or {}
    curve = run.load_curve
    return {"unit": curve.unit, "quantity": curve.quantity, "loads": curve.loads.tolist(),
            "sigma": np.sqrt(np.diag(curve.load_covariance)).tolist()} | shape_numbers(curve)


def _unit(curve: dict[str, Any]) -> str:
    """Unit of the loads, as quoted behind a number."""
    quantity = str(curve.get("quantity") or "")
    return "" if quantity in ("1", "share") else quantity


def _mean(shares: Sequence[float] | None) -> float:
    return sum(map(_number, shares)) / len(shares) if shares else float("nan")


def _opening(run: Run, student: bool) -> Section:
    """What was filmed and what came out, warnings, the numbers at a glance, the picture."""
    info, blocks = run.info, []
    if "points" in info:
        blocks.append(Text(f"{str(info.get('kind', 'chain')).capitalize()}, {info['points']} points"
                           f" ({MARKS.get(str(info.get('marks')), 'marks')}), "
                           f"{info.get('frames')} frames."))
    alerts = [*(info.get("quality") or []), *(info.get("warnings") or [])]
    told = [Alert(str(alert)) for alert in alerts]
    unfit = None if student else fit_alert(run.folder)
    told += [unfit] if unfit else []
    blocks += told or [Alert("No warnings.", fine=True)]
    if student:
        blocks.append(Lines("Names, group, date:", 1))
    blocks.append(Facts(tuple(_facts(run, student))))
    frame = Picture("The chain as it was tracked, in one frame. Colours give the status of each "
                    "point, ellipses its error (enlarged as stated).",
                    run.folder / "plots" / "frame.jpg", wide=True)
    return Section("", (*blocks, frame))


def _facts(run: Run, student: bool) -> list[tuple[str, str]]:
    """Ready-made answers come last, and not at all for a student."""
    info, facts = run.info, []
    pull = info.get("pull") or {}
    if pull.get("travel") is not None:
        unit = pull.get("unit") or info.get("unit") or ""
        facts.append(("travel of the pulled end", f"{pull['travel']:.1f} {unit}"))
    if info.get("share_detected"):
        facts.append(("points seen", f"{100 * _mean(info['share_detected']):.1f} %"))
    if info.get("sigma_px") is not None:
        facts.append(("typical error of a point", f"{info['sigma_px']:.2g} px"))
    curve = curve_numbers(run)
    if curve.get("regime") and not student:
        share = (curve.get("regime_probability") or {}).get(curve["regime"])
        sure = "" if share is None else f" ({_percent(share)} sure)"
        facts.append(("the load curve is", f"{curve['regime']}{sure}"))
        facts += [(Words(f"${sign}$"), quoted(curve[key], _number(curve.get(f"{key}_sigma"))))
                  for key, sign in (("c_normalised", "\\tilde{c}"), ("v_normalised", "\\tilde{v}"))
                  if curve.get(key) is not None]
    return facts


def _percent(share: float) -> str:
    """A probability that was counted in a few thousand draws: never quite 100 %."""
    return "> 99 %" if share > 0.99 else f"{100 * share:.0f} %"


def _result(run: Run, student: bool) -> Section:
    """The numbers with their standard deviations, in the digits these leave."""
    info, rows = run.info, []
    pull = info.get("pull") or {}
    unit = str(pull.get("unit") or info.get("unit") or "")
    if pull:
        rows += [("start of the pull", f"{_number(pull.get('onset_s')):.2f} s"),
                 ("end of the pull", f"{_number(pull.get('end_s')):.2f} s"),
                 ("travel of the pulled end", f"{_number(pull.get('travel')):.1f} {unit}")]
    curve = curve_numbers(run)
    for key, (name, has_unit) in SHAPES.items():
        if curve.get(key) is not None:
            value = quoted(curve[key], _number(curve.get(f"{key}_sigma")),
                           _unit(curve) if has_unit else "")
            rows.append((Words(name), "............ ± ............" if student else value))
    loads, sigmas = curve.get("loads") or [], curve.get("sigma") or []
    per = str(curve.get("unit") or "section")
    each = tuple((f"{per} {k}", quoted(_number(load), _number(sigma)))
                 for k, (load, sigma) in enumerate(zip(loads, sigmas, strict=False), 1))
    tables: list[Block] = [Table(tuple(rows))] if rows else []
    if each:
        tables.append(Table(each, (f"{per} (1 = held end)", f"load ± sigma ({_unit(curve)})")))
    return Section("Result", tuple(tables) or (Text("No load was read."),))


def _figures(run: Run, student: bool) -> Section | None:
    """The plots of the run folder; a student draws the load curve."""
    folder = run.folder / "plots"
    times = _times(run.info)
    name = "spring" if run.info.get("kind") == "blocks" else "section"
    motion, curve = run.motion, run.load_curve
    figures = [
        Picture("Extension of each segment against time. The bands are one standard deviation; "
                "they are often thinner than the line.", folder / "extensions.svg",
                motion and (lambda figure: plots.plot_extensions(
                    motion, figure.subplots(), times_s=times, name=name)), 3.8),
        Picture("When each segment opens.", folder / "heat_map.svg",
                motion and (lambda figure: plots.plot_heat_map(
                    motion, figure.subplots(), times_s=times, name=name)), 3.4),
    ]
    if student and curve is not None:
        figures.append(Picture("Draw your load curve with its error bars, and even sharing as a "
                               "dashed line.", draw=lambda figure: _graph_paper(run, figure),
                               wide=True))
    else:
        figures += [
            Picture("Load that is left to carry after each segment, from the held end (0) to the "
                    "pulled end. The dashed line is even sharing.", folder / "load_curve.svg",
                    curve and (lambda figure: plots.plot_load_curve(curve, figure.subplots())),
                    3.8),
            Picture("Load of each segment: its extension at the end of the pull beyond the rest "
                    "before.", folder / "loads.svg",
                    curve and (lambda figure: plots.plot_loads(curve, figure.subplots())), 3.2),
        ]
    kept = _shown(figures)
    return Section("Plots", tuple(kept)) if kept else None


def _shown(figures: list[Picture]) -> list[Picture]:
    """Those that can be drawn, or lie in the run folder."""
    return [figure for figure in figures if figure.draw or (figure.path and figure.path.exists())]


def _times(info: dict[str, Any]) -> dict[str, float]:
    pull = info.get("pull") or {}
    return {"onset": _number(pull.get("onset_s")), "end of pull": _number(pull.get("end_s"))}


def _graph_paper(run: Run, figure: Figure) -> None:
    """Empty axes that the load curve fits into, squared as the paper in the lab."""
    ax = figure.subplots()
    curve = run.load_curve
    assert curve is not None
    ax.set_xlim(0, len(curve.loads))
    ax.set_ylim(0, float(np.max(curve.remaining)) * 1.1 or 1.0)
    ax.set_xticks(range(len(curve.loads) + 1))
    ax.minorticks_on()
    ax.grid(True, which="both", color="#cfe0ee", lw=0.6)
    ax.set(xlabel=f"{curve.unit}s passed, $l$ (0 = held end)",
           ylabel=f"load left to carry $D_l$ ({curve.quantity})")


def _given(table: dict[str, Any], before: str = "") -> list[tuple[str, str]]:
    """What rig.toml says, key by key; what it leaves out is left out here."""
    rows = []
    for key, value in table.items():
        if isinstance(value, dict):
            rows += _given(value, f"{before}{key}.")
        elif value not in (None, [], ""):
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((before + key, words))
    return rows


def _calibration(run: Run) -> Section | None:
    """How pixels became millimetres, what was assumed, and what that leaves uncertain."""
    rig = run.info.get("rig") or {}
    if "rig" not in run.info and run.motion is None:
        return None
    blocks: list[Block] = [Text(_scale_words(rig, run.info)), Text(_lens_words(rig))]
    scale = (run.info.get("health") or {}).get("error_scale")
    if scale and scale != 1:
        blocks.append(Text(f"The errors of the points were multiplied by {scale:.2g}: compression "
                           "moves whole edges, and rigid parts of the rig show by how much."))
    if run.motion is not None and run.load_curve is not None:
        budget = error_budget(run.motion, run.load_curve)
        blocks += [budget] if budget is not None else []
    found = [Text(f"Found in the clip: {note}.") for note in run.info.get("found") or []]
    given = _given(rig)
    table = [Table(tuple(given), (Words("given with the rig"), ""), mono=True, long=True)]
    return Section("Calibration and error budget",
                   (*blocks, *found, *(table if given else [Text("No rig.toml was given.")])))


def _scale_words(rig: dict[str, Any], info: dict[str, Any]) -> str:
    reference = rig.get("reference") or {}
    if info.get("unit") == "px":
        return ("Nothing gave the scale: all lengths are in pixels, and perspective is not "
                "corrected. Shares of the total, and so the shape numbers, need no scale.")
    for key, words in (("crosses_mm", "printed crosses"), ("tags_mm", "reference tags")):
        if reference.get(key):
            return (f"Scale and perspective come from {len(reference[key])} {words} of known "
                    "places on the board.")
    if any("squared paper" in str(note) for note in info.get("found") or []):
        return f"Scale and perspective come from squared paper of {reference.get('grid_mm')} mm."
    if (rig.get("ruler") or {}).get("sections_mm"):
        return "The scale comes from the known lengths of the ruler's sections."
    return "The scale is that of the run's own units."


def _lens_words(rig: dict[str, Any]) -> str:
    camera = (rig.get("camera") or {}).get("calibration")
    heights = (rig.get("marks") or {}).get("height_mm") or []
    if not camera:
        return "The lens was not calibrated: its bend, and the parallax of high marks, remain."
    raised = f"; marks {max(heights):g} mm above the board: parallax corrected" if heights else ""
    return f"The lens is corrected with {Path(str(camera)).name}{raised}."


def _health(run: Run) -> Section | None:
    """Frames that are not what they seem, and points that were not seen."""
    health, tracks = run.info.get("health") or {}, run.tracks
    rows = []
    for key, meaning in BAD_FRAMES.items():
        frames = health.get(key) or []
        shown = ", ".join(map(str, frames[:12])) + (", ..." if len(frames) > 12 else "")
        if key in health:
            rows.append((f"{key}: {meaning}", str(len(frames)), shown))
    lost = run.info.get("share_lost") or []
    worst = sorted(range(len(lost)), key=lambda k: -_number(lost[k]))[:3]
    named = ", ".join(f"point {k} {100 * lost[k]:.1f} %" for k in worst if lost[k])
    blocks: list[Block] = []
    if rows:
        blocks.append(Table(tuple(rows), (Words("frames"), Words("number"), Words("which")),
                            long=True))
    if lost:
        blocks.append(Text(f"Lost most often: {named}." if named else "No point is ever lost."))
    picture = Picture("How each point was obtained in each frame, and the standard deviation of "
                      "its position.", run.folder / "plots" / "health.svg",
                      tracks and (lambda figure: plots.draw_health(figure, tracks)), 4.2)
    blocks += _shown([picture])
    return Section("Health of the recording", tuple(blocks)) if blocks else None


def _conclusions(student: bool) -> Section:
    if not student:
        return Section("Conclusions", (Lines("", 5),))
    return Section("Questions and conclusions",
                   (*(Lines(f"{number}. {question}", count) for number, (question, count)
                      in enumerate(QUESTIONS, 1)), Lines("Conclusion:", 8)))


def _origin(run: Run) -> Section:
    info = run.info
    rows = [("written", str(info.get("written", ""))),
            ("command", " ".join(map(str, info.get("command") or []))),
            ("versions", ", ".join(f"{name} {number}" for name, number
                                   in (info.get("versions") or {}).items()))]
    rows += [(Path(str(file["path"])).name, f"sha256 {file.get('sha256', '')}")
             for file in info.get("inputs") or []]
    return Section("How this was made", (
        Table(tuple(rows), mono=True, long=True),
        Text("The tables behind this page lie in the run folder: tracks.csv, segments.csv, "
             "load_curve.csv, run.json. sigma is one standard deviation (k=1).", quiet=True)))
