"""A fit in words and numbers, on one screen."""

from __future__ import annotations

import math

from rulerlab.records import FitResult, Parameter

CLOSE = 0.5  # correlations larger than this are told


def fit_text(result: FitResult) -> str:
    """Law, verdict, every parameter with the digits that its error leaves, correlations, tests."""
    lines = [f"law: {result.law}" + ("" if result.valid else "  (NOT VALID)"), result.message, ""]
    width = max(map(len, result.parameters), default=0)
    lines += [f"  {name:{width}}  {_quoted(p)}" for name, p in result.parameters.items()]
    if result.noise_band_hz is not None:
        low, high = result.noise_band_hz
        lines.append(f"  noise is an rms from {low:.3g} to {high:.3g} Hz")
    close = _correlations(result)
    if close:
        lines += ["", "strongly correlated: " + "; ".join(close)]
    if result.criterion:
        ranked = sorted(result.criterion.items(), key=lambda item: item[1])
        lines += ["", "evidence against each law (-2 ln, best is 0): "
                  + ", ".join(f"{law} {worse:.1f}" for law, worse in ranked)]
    if result.tests:
        lines.append("p of the residuals: "
                     + ", ".join(f"{name} {p:.2g}" for name, p in result.tests.items()))
    return "\n".join(lines)


def _quoted(p: Parameter) -> str:
    """Value, error and interval, or the bound that the motion sets."""
    from rulerlab.plots import quoted

    unit = "" if p.unit == "1" else p.unit
    if p.bound == "upper":
        return f"below {p.high95:.2g} {unit}".rstrip() + " (95 %)"
    if p.bound == "lower":
        return f"above {p.low95:.2g} {unit}".rstrip() + " (95 %)"
    if p.bound and math.isfinite(p.value) and math.isfinite(p.high95 - p.low95):
        return f"{p.low95:.2g} .. {p.high95:.2g} {unit}".rstrip() + " (95 %), only with others"
    if p.bound:
        return "not determined by this motion"
    return f"{quoted(p.value, p.sigma, unit):24}  95 %: {p.low95:.4g} .. {p.high95:.4g}"


def _correlations(result: FitResult) -> list[str]:
    """Pairs of determined parameters that the motion hardly separates."""
    names = list(result.parameters)
    if result.correlation is None:
        return []
    found = []
    for row, name in enumerate(names):
        for column in range(row):
            pair = result[name], result[names[column]]
            value = float(result.correlation[row, column])
            known = all(not p.bound and math.isfinite(p.sigma) for p in pair)
            if known and CLOSE < abs(value) < 0.999:
                found.append(f"{names[column]} and {name} {value:+.2f}")
    return found
