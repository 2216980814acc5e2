"""One HTML file that holds a whole run: to read on a phone, to print, to hand in.

Everything comes from the run folder (run.json, load_curve.json, plots/), nothing from outside.
"""

from __future__ import annotations

import base64
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import cv2
import numpy as np

from rulerlab.fit.stored import NAME as FIT
from rulerlab.fit.stored import read_fit
from rulerlab.plots import quoted, quoted_parameter
from rulerlab.store import read_run_json

FRAME = "frame.jpg"  # in plots/
WIDEST_PX = 1280
SHAPES = {
    "c": ("first load minus last load, c", True),
    "v": ("spread of the loads, v", True),
    "c_normalised": ("c as a share of the total, c~", False),
    "v_normalised": ("v as a share of the total, v~", False),
    "r": ("correlation of the curve with depth, r", False),
}
BAD_FRAMES = {
    "duplicates": "shown twice (no new information)",
    "ghosts": "blend of two moments",
    "blurred": "badly blurred",
    "corrupt": "damaged in the file",
    "gaps": "followed by a gap (frames dropped by the camera)",
}
PLOTS = {
    "extensions": "Extension of each segment against time. The bands are one standard deviation; "
                  "they are often thinner than the line.",
    "load_curve": "Load that is left to carry after each segment, from the held end (0) to the "
                  "pulled end. The dashed line is even sharing.",
    "loads": "Load of each segment: its extension at the end of the pull beyond the rest before.",
    "heat_map": "When each segment opens.",
}
FIT_PLOTS = {
    "force": "What holds the blocks back against their velocity, as the frames see it, and the "
             "fitted law at each moment.",
    "extensions": "Each block as measured, and the range of runs simulated with the fitted law.",
    "residuals": "Spectrum of what friction and damping leave over, measured and simulated.",
    "posterior": "What the motion leaves open: draws from the posterior.",
    "swings": "Amplitude of every swing and the fitted law.",
    "period": "How early or late each swing comes.",
}
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; margin: 0 auto;
       max-width: 62rem; padding: 1rem; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .5rem 0; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; border-bottom: 1px solid #ccc; }
.lead { font-size: 1.1rem; }
figure { margin: 1rem 0; break-inside: avoid; }
figure img { width: 100%; height: auto; display: block; }
figcaption, .quiet { color: #555; font-size: .9rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .5rem 0; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid #e4e4e4;
         vertical-align: top; }
td.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font-size: .85rem; overflow-wrap: anywhere; }
td:first-child code { overflow-wrap: normal; }
.warning { border-left: 4px solid #d55e00; background: #fdf1e8; padding: .4rem .8rem;
           margin: .4rem 0; }
.fine { border-left: 4px solid #009e73; background: #eaf7f2; padding: .4rem .8rem; }
.write { border: 1px dashed #999; min-height: 8rem; }
@media (min-width: 50rem) { .pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; } }
@media print { body { font-size: 11pt; max-width: none; padding: 0; }
               h2 { break-after: avoid; } tr { break-inside: avoid; } }
</style>
</head>
<body>
$body
</body>
</html>
""")


def write_frame(folder: Path, picture_bgr: np.ndarray) -> Path:
    """Keep one annotated frame (H, W, 3) as plots/frame.jpg, at most 1280 pixels wide."""
    width = picture_bgr.shape[1]
    if width > WIDEST_PX:
        picture_bgr = cv2.resize(picture_bgr, None, fx=WIDEST_PX / width, fy=WIDEST_PX / width,
                                 interpolation=cv2.INTER_AREA)
    _, jpeg = cv2.imencode(".jpg", picture_bgr, [cv2.IMWRITE_JPEG_QUALITY, 80])
    path = folder / "plots" / FRAME
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(jpeg.tobytes())
    return path


def write_report(folder: Path) -> Path:
    """Write report.html from what the run folder holds; InputError if it is no run folder."""
    folder = Path(folder)
    info = read_run_json(folder)
    inputs = info.get("inputs") or [{"path": "run"}]
    title = Path(str(inputs[0]["path"])).name
    parts = [
        f"<h1>{escape(title)}</h1>", _lead(info), _alerts(info),
        _picture(folder / "plots" / FRAME, "The chain as it was tracked, in one frame. Colours "
                 "give the status of each point, ellipses its error (enlarged as stated)."),
        _result(info), _plots(folder), _fit(folder), _assumed(info), _health(folder, info),
        "<h2>Conclusions</h2><div class=\"write\"></div>", _provenance(info),
    ]
    path = folder / "report.html"
    path.write_text(PAGE.substitute(title=escape(f"{title}: rulerlab"), body="\n".join(parts)),
                    encoding="utf-8")
    return path


def _table(rows: list[tuple[str, ...]], heads: tuple[str, ...] = ()) -> str:
    """A table of cells that are already HTML."""
    head = "<tr>" + "".join(f"<th>{name}</th>" for name in heads) + "</tr>" if heads else ""
    lines = "".join(
        "<tr>" + f"<td>{row[0]}</td>" + "".join(f'<td class="number">{c}</td>' for c in row[1:])
        + "</tr>" for row in rows)
    return f'<div class="wide"><table>{head}{lines}</table></div>' if rows else ""


def _number(value: Any) -> float:
    """A number of run.json, where null stands for NaN."""
    return float("nan") if value is None else float(value)


def _picture(path: Path, caption: str) -> str:
    if not path.exists():
        return ""
    kind = "image/svg+xml" if path.suffix == ".svg" else "image/jpeg"
    data = base64.b64encode(path.read_bytes()).decode()
    return (f'<figure><img src="data:{kind};base64,{data}" alt="{escape(caption)}">'
            f"<figcaption>{escape(caption)}</figcaption></figure>")


def _mean(shares: list[float] | None) -> float:
    return sum(map(_number, shares)) / len(shares) if shares else float("nan")


def _lead(info: dict[str, Any]) -> str:
    """What was filmed and what came out, in two sentences."""
    words = []
    if "points" in info:
        words.append(f"{escape(str(info.get('kind', 'chain')).capitalize())}, {info['points']} "
                     f"points ({escape(str(info.get('marks', 'marks')))}), {info.get('frames')} "
                     f"frames, {100 * _mean(info.get('share_detected')):.1f} % of the points seen.")
    curve = info.get("load_curve") or {}
    if curve.get("regime"):
        share = (curve.get("regime_probability") or {}).get(curve["regime"])
        sure = f" (probability {share:.2f})" if share is not None else ""
        words.append(f"The load curve is <strong>{escape(str(curve['regime']))}</strong>{sure}.")
    return f'<p class="lead">{" ".join(words)}</p>'


def _alerts(info: dict[str, Any]) -> str:
    alerts = [*(info.get("quality") or []), *(info.get("warnings") or [])]
    if not alerts:
        return '<p class="fine">No warnings.</p>'
    return "".join(f'<p class="warning">{escape(str(alert))}</p>' for alert in alerts)


def _result(info: dict[str, Any]) -> str:
    """The numbers with their standard deviations, in the digits these leave."""
    rows: list[tuple[str, ...]] = []
    pull = info.get("pull") or {}
    unit = escape(str(pull.get("unit") or info.get("unit") or ""))
    if pull:
        rows += [("start of the pull", f"{_number(pull.get('onset_s')):.2f} s"),
                 ("end of the pull", f"{_number(pull.get('end_s')):.2f} s"),
                 ("travel of the pulled end", f"{_number(pull.get('travel')):.1f} {unit}")]
    if info.get("sigma_px") is not None:
        rows.append(("typical error of a point (k=1)", f"{info['sigma_px']:.2g} px"))
    curve = info.get("load_curve") or {}
    for key, (name, has_unit) in SHAPES.items():
        if curve.get(key) is not None:
            quantity = str(curve.get("quantity") or "") if has_unit else ""
            rows.append((escape(name), quoted(curve[key], _number(curve.get(f"{key}_sigma")),
                                              "" if quantity == "1" else escape(quantity))))
    loads, sigmas = curve.get("loads") or [], curve.get("sigma") or []
    quantity = escape(str(curve.get("quantity") or ""))
    per = escape(str(curve.get("unit") or "section"))
    load_rows = [(f"{per} {k}", quoted(_number(load), _number(sigma)))
                 for k, (load, sigma) in enumerate(zip(loads, sigmas, strict=False), 1)]
    left = _table(rows)
    right = _table(load_rows, (f"{per} (1 = held end)", f"load ± sigma ({quantity})"))
    return f'<h2>Result</h2><div class="pair"><div>{left}</div><div>{right}</div></div>'


def _plots(folder: Path) -> str:
    drawn = [_picture(folder / "plots" / f"{stem}.svg", caption) for stem, caption in PLOTS.items()]
    return "<h2>Plots</h2>" + "".join(drawn) if any(drawn) else ""


def _fit(folder: Path) -> str:
    """Friction and noise, when `rulerlab fit` has been there."""
    if not (folder / FIT).exists():
        return ""
    fit = read_fit(folder)
    rows = [(f"<code>{escape(name)}</code>", escape(quoted_parameter(p)))
            for name, p in fit.parameters.items()]
    kind = "quiet" if fit.valid else "warning"
    drawn = [_picture(folder / "plots" / f"fit_{stem}.svg", caption)
             for stem, caption in FIT_PLOTS.items()]
    return (f"<h2>Friction and noise</h2><p>Law: <strong>{escape(fit.law)}</strong></p>"
            f'<p class="{kind}">{escape(fit.message)}</p>{_table(rows)}{"".join(drawn)}')


def _given(table: dict[str, Any], before: str = "") -> list[tuple[str, ...]]:
    """What rig.toml says, key by key; what it leaves out is left out here."""
    rows = []
    for key, value in table.items():
        if isinstance(value, dict):
            rows += _given(value, f"{before}{key}.")
        elif value not in (None, [], ""):
            words = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            rows.append((f"<code>{escape(before + key)}</code>", escape(words)))
    return rows


def _assumed(info: dict[str, Any]) -> str:
    found = "".join(f"<li>{escape(str(note))}</li>" for note in info.get("found") or [])
    rows = [(name, f'<span style="white-space: normal">{value}</span>')
            for name, value in _given(info.get("rig") or {})]
    given = f"<p>Given with the rig:</p>{_table(rows)}" if rows else "<p>No rig.toml was given.</p>"
    told = f"<p>Found in the clip:</p><ul>{found}</ul>" if found else ""
    return f"<h2>What was assumed</h2>{told}{given}"


def _health(folder: Path, info: dict[str, Any]) -> str:
    health = info.get("health") or {}
    rows: list[tuple[str, ...]] = []
    for key, meaning in BAD_FRAMES.items():
        frames = health.get(key) or []
        shown = ", ".join(map(str, frames[:12])) + (", ..." if len(frames) > 12 else "")
        if key in health:
            rows.append((escape(f"{key}: {meaning}"), str(len(frames)),
                         f'<span style="white-space: normal">{escape(shown)}</span>'))
    lost = info.get("share_lost") or []
    worst = sorted(range(len(lost)), key=lambda k: -_number(lost[k]))[:3]
    named = ", ".join(f"point {k} {100 * lost[k]:.1f} %" for k in worst if lost[k])
    said = f"<p>Lost most often: {named}.</p>" if named else "<p>No point is ever lost.</p>"
    picture = _picture(folder / "plots" / "health.svg", "How each point was obtained in each "
                       "frame, and the standard deviation of its position.")
    return (f"<h2>Health of the recording</h2>{_table(rows, ('frames', 'number', 'which'))}"
            f"{said if lost else ''}{picture}")


def _provenance(info: dict[str, Any]) -> str:
    rows = [("written", escape(str(info.get("written", "")))),
            ("command", f"<code>{escape(' '.join(map(str, info.get('command') or [])))}</code>"),
            ("versions", escape(", ".join(f"{name} {number}" for name, number
                                          in (info.get("versions") or {}).items())))]
    rows += [(escape(Path(str(file["path"])).name),
              f"<code>sha256 {escape(str(file.get('sha256', '')))}</code>")
             for file in info.get("inputs") or []]
    rows = [(name, f'<span style="white-space: normal">{value}</span>') for name, value in rows]
    return ("<h2>How this was made</h2>" + _table(rows) + '<p class="quiet">The tables behind this '
            "page lie beside it: tracks.csv, segments.csv, load_curve.csv, run.json. sigma is one "
            "standard deviation (k=1).</p>")
