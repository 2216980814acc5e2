"""What `fit` and `compare` left in the run folder, as sections of a report."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from rulerlab.errors import InputError
from rulerlab.fit.stored import NAME, read_fit
from rulerlab.plots import quoted
from rulerlab.records import FitResult, Parameter
from rulerlab.report.blocks import Alert, Block, Picture, Section, Table, Text, Words

SYMBOLS = {
    "friction_right_over_k": "$μ_→/k$, friction to the pulled end over stiffness",
    "friction_left_over_k": "$μ_←/k$, friction to the held end over stiffness",
    "noise_over_k": "$ε/k$, shaking over stiffness",
}


def fit_section(folder: Path) -> Section | None:
    """Law, verdict, parameters with their intervals, evidence; None when nothing was fitted."""
    fit = _fit_of(folder)
    if fit is None:
        return None
    if isinstance(fit, Alert):
        return Section("Fit", (fit,))
    blocks: list[Block] = [_verdict(fit)]
    heads = (Words("parameter"), Words("value ± sigma"), Words("95 % interval"))
    blocks.append(Table(tuple(_row(name, p) for name, p in fit.parameters.items()), heads))
    evidence = _evidence(fit)
    if evidence:
        blocks.append(Table(tuple(evidence)))
    return Section("Fit", (*blocks, *_pictures(folder, "fit")))


def fit_alert(folder: Path) -> Alert | None:
    """What the first lines of a report have to say of a fit that can't be used."""
    fit = _fit_of(folder)
    if fit is None or isinstance(fit, Alert):
        return fit
    return None if fit.valid else Alert(f"The fit is {_verdict(fit).words}")


def _fit_of(folder: Path) -> FitResult | Alert | None:
    """The fit of a run folder, or why it can't be read; None when there is none."""
    if not (folder / NAME).exists():
        return None
    try:
        return read_fit(folder)
    except InputError as error:
        return Alert(str(error))


def _verdict(fit: FitResult) -> Alert:
    if fit.valid:
        return Alert(f"law: {fit.law}. {fit.message}".strip(), fine=True)
    return Alert(f"not valid: {fit.message}. Its numbers are not to be quoted.")


def _row(name: str, p: Parameter) -> tuple[str, str, str]:
    shown = Words(SYMBOLS[name]) if name in SYMBOLS else name.replace("_", " ")
    unit = "" if p.unit == "1" else p.unit
    if p.bound == "ridge":
        return shown, "not known on its own", "known only together with another"
    if p.bound == "upper":
        return shown, f"< {p.high95:.2g} {unit}".strip(), "upper bound at 95 %"
    if p.bound == "lower":
        return shown, f"> {p.low95:.2g} {unit}".strip(), "lower bound at 95 %"
    return shown, quoted(p.value, p.sigma, unit), _interval(p, unit)


def _interval(p: Parameter, unit: str) -> str:
    """`low to high unit` with one digit more than the error bar leaves."""
    if not (math.isfinite(p.low95) and math.isfinite(p.high95)):
        return ""
    width = p.high95 - p.low95
    digits = max(0, 1 - math.floor(math.log10(width))) if width > 0 else 3
    return f"{p.low95:.{digits}f} to {p.high95:.{digits}f} {unit}".strip()


def _evidence(fit: FitResult) -> list[tuple[str, str]]:
    rows = []
    if math.isfinite(fit.chi2):
        free = fit.degrees_of_freedom
        ratio = f" ({fit.chi2 / free:.2f} each)" if math.isfinite(free) and free > 0 else ""
        rows.append((Words("$χ^2$ / degrees of freedom"), f"{fit.chi2:.4g} / {free:.4g}{ratio}"))
    if fit.noise_band_hz is not None:
        low, high = fit.noise_band_hz
        rows.append(("noise is an rms between", f"{low:.3g} and {high:.3g} Hz"))
    rows += [(f"law {law}: −2 ln of the evidence above the best", f"{worse:.1f}")
             for law, worse in sorted(fit.criterion.items(), key=lambda item: item[1])]
    return rows + [(f"p of the residuals, {name}", "< 1e-6" if p < 1e-6 else f"{p:.2g}")
                   for name, p in fit.tests.items()]


def _pictures(folder: Path, start: str) -> list[Picture]:
    """The figures that the verb left in plots/, told apart by the start of their names."""
    found = sorted((folder / "plots").glob(f"{start}*.svg"))
    return [Picture(_caption(path), path, wide=len(found) == 1) for path in found]


def _caption(path: Path) -> str:
    return CAPTIONS.get(path.stem, path.stem.replace("_", " ").capitalize() + ".")


CAPTIONS = {
    "comparison": "The run beside its nearest chain and network; where it lies among them.",
    "fit_extensions": "What was measured, and what the fitted law makes of the same pull.",
    "fit_force": "Force on the blocks against their speed, and the law that was fitted.",
    "fit_period": "Period against time: where it wanders, the law leaves something out.",
    "fit_plane": "Friction against noise: draws, and the regions that hold 68 and 95 % of them.",
    "fit_posterior": "What the motion leaves open: every parameter, and every pair of them.",
    "fit_residuals": "What the fit does not explain; noise without a pattern if the law holds.",
    "fit_swings": "Amplitude of the swings, and the law of its decay.",
}


def read_comparison(folder: Path) -> dict[str, Any] | None:
    """comparison.json as it stands; None when there is none or it can't be read."""
    try:
        content = json.loads((folder / "comparison.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def comparison_section(folder: Path) -> Section | None:
    """The place of the run among chains and networks; None when it was not compared."""
    told = read_comparison(folder)
    if told is None:
        return None
    rows = [*_chain_rows(told), *_network_rows(told)]
    blocks: list[Block] = [Text(_sentence(str(line))) for line in told.get("statements") or []]
    if rows:
        blocks.append(Table(tuple(rows)))
    shared = told.get("compared_as") or {}
    if shared.get("unit"):
        blocks.append(Text(
            f"Compared by {shared['unit']}s ({shared.get('parts')} of them). Curves with another "
            "number of parts are brought to the same depths along their cumulative curve. 'Can't "
            "be told apart' means p > 0.05 with both covariances.", quiet=True))
    return Section("Comparison", (*blocks, *_pictures(folder, "comparison")))


def _sentence(statement: str) -> Words:
    """A statement of comparison.json as it is printed; none holds a $ of its own."""
    return Words(f"{statement[:1].upper()}{statement[1:]}.".replace("c~", r"$\tilde{c}$"))


def _range(region: Any) -> str:
    """`(low to high)` of a pair of numbers, nothing otherwise."""
    if isinstance(region, list) and len(region) == 2 and None not in region:
        return f" ({region[0]:.2g} to {region[1]:.2g})"
    return ""


def _chain_rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    chain = told.get("nearest_chain")
    why = told.get("why_none")
    if not isinstance(chain, dict) or chain.get("friction_over_k") is None:
        return [("nearest chain", f"none: {why}")] if why else []
    region = chain.get("region")
    region = region if isinstance(region, dict) else {}
    rows = [(Words(f"nearest chain: {name}, of the pull"),
             f"{chain[key]:.2g}{_range(region.get(key))}")
            for key, name in (("friction_over_k", "$μ_→/k$"), ("noise_over_k", "$ε/k$"))
            if chain.get(key) is not None]
    return rows + _distance_row("chain", chain)


def _network_rows(told: dict[str, Any]) -> list[tuple[str, str]]:
    network = told.get("nearest_network")
    if not isinstance(network, dict) or network.get("knob") is None:
        return []
    like = network.get("region")
    rows = [("nearest network", f"{network['knob']} {network.get('value')}, slope alpha "
             f"{network.get('alpha')}")]
    if isinstance(like, list):
        rows.append(("networks that can't be told apart from it", str(len(like))))
    return rows + _distance_row("network", network)


def _distance_row(name: str, found: dict[str, Any]) -> list[tuple[str, str]]:
    """How far the run is from what was found, as share of the load, and whether it may be it."""
    apart = found.get("distance")
    rms, sigma = ((apart.get("rms"), apart.get("rms_sigma")) if isinstance(apart, dict)
                  else (apart, None))
    if rms is None:
        return []
    size = f"{rms:.2g}" if sigma is None else quoted(rms, sigma)
    verdict = "; agrees within the errors" if found.get("accepted") else "; does not agree"
    verdict = "" if found.get("accepted") is None else verdict
    return [(f"distance from that {name} (rms share of the load)", size + verdict)]
