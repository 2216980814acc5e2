"""Several runs of one rig: their common values, and whether they differ."""

from __future__ import annotations

import math
from collections import Counter

from scipy.stats import chi2, norm

from rulerlab.records import FitResult, Parameter

DIFFER = 0.01  # p below which runs are said to differ


def together(results: list[FitResult]) -> FitResult:
    """Mean of the runs, weighted by their errors, with a test of each parameter that they share.

    A parameter that differs between runs (p < 0.01) keeps its mean with an error enlarged to the
    scatter of the runs (Birge's ratio), and the result is not valid as one rig. `tests` holds
    p of every difference. Bounds of all runs are combined to the tightest.
    """
    shared = [name for name in results[0].parameters
              if all(name in result.parameters for result in results)]
    parameters, tests = {}, {}
    for name in shared:
        parameters[name], chance = _mean([result[name] for result in results])
        if chance is not None:
            tests[f"difference in {name}"] = chance
    worst = min(tests, key=tests.__getitem__) if tests else None
    # with many parameters one of them is below the limit by chance
    differ = worst is not None and tests[worst] < DIFFER / len(tests)
    bad = [k for k, result in enumerate(results, 1) if not result.valid]
    laws = Counter(result.law for result in results)
    law = laws.most_common(1)[0][0] if len(laws) == 1 else "cannot tell"
    said = [f"{len(results)} runs together"]
    if differ:
        said.append(f"the runs differ: {worst} has p = {tests[worst]:.2g}")
    else:
        said.append("no parameter differs between the runs")
    if len(laws) > 1:
        said.append("laws: " + ", ".join(f"{name} ({count})" for name, count in laws.items()))
    if bad:
        said.append(f"no law fits run {', '.join(map(str, bad))}")
    return FitResult(
        law, parameters, not differ and not bad, "; ".join(said), tests=tests,
        chi2=sum(result.chi2 for result in results),
        degrees_of_freedom=sum(result.degrees_of_freedom for result in results),
        noise_band_hz=_band(results),
    )  # fmt: skip


def _band(results: list[FitResult]) -> tuple[float, float] | None:
    """The mean band of the noise."""
    bands = [result.noise_band_hz for result in results if result.noise_band_hz is not None]
    if len(bands) < len(results):
        return None
    return (sum(band[0] for band in bands) / len(bands), sum(b[1] for b in bands) / len(bands))


def _mean(values: list[Parameter]) -> tuple[Parameter, float | None]:
    """Weighted mean and p of the scatter (None when fewer than two runs determine it)."""
    known = [p for p in values if not p.bound and math.isfinite(p.sigma) and p.sigma > 0]
    unit = values[0].unit
    if not known:
        low, high = max(p.low95 for p in values), min(p.high95 for p in values)
        bound = values[0].bound if len({p.bound for p in values}) == 1 else "ridge"
        if low > high:
            low, high = min(p.low95 for p in values), max(p.high95 for p in values)
        return Parameter(math.nan, math.inf, low, high, unit, bound), None
    weight = [1 / p.sigma**2 for p in known]
    mean = sum(w * p.value for w, p in zip(weight, known, strict=True)) / sum(weight)
    scatter = sum(w * (p.value - mean) ** 2 for w, p in zip(weight, known, strict=True))
    sigma = 1 / math.sqrt(sum(weight))
    chance = None
    if len(known) > 1:
        chance = float(chi2.sf(scatter, len(known) - 1))
        if chance < DIFFER:
            sigma *= math.sqrt(scatter / (len(known) - 1))
    reach = float(norm.ppf(0.975)) * sigma
    return Parameter(mean, sigma, mean - reach, mean + reach, unit), chance
