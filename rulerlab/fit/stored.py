"""fit.json: a fit as any reader takes it, and back. Numpy only, so that reading costs nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rulerlab.errors import InputError
from rulerlab.records import FitResult, Parameter

NAME = "fit.json"
MOST_SAMPLES = 1000  # draws that are kept in the file


def as_dict(result: FitResult) -> dict[str, Any]:
    """The result in plain values, as `--json` prints it: NaN and infinity become null there."""
    content: dict[str, Any] = {
        "law": result.law, "valid": bool(result.valid), "message": result.message,
        "parameters": {name: _parameter(p) for name, p in result.parameters.items()},
        "chi2": result.chi2, "degrees_of_freedom": result.degrees_of_freedom,
        "criterion": result.criterion, "tests": result.tests,
    }  # fmt: skip
    if result.noise_band_hz is not None:
        content["noise_band_hz"] = list(result.noise_band_hz)
        if "noise_force_N" in result.parameters:
            content["parameters"]["noise_force_N"]["noise_band_hz"] = list(result.noise_band_hz)
    if result.correlation is not None:
        content["correlation"] = np.round(result.correlation, 4)
    return content


def _parameter(p: Parameter) -> dict[str, Any]:
    return {"value": p.value, "sigma": p.sigma, "low95": p.low95, "high95": p.high95,
            "unit": p.unit, "bound": p.bound}  # fmt: skip


def with_samples(result: FitResult) -> dict[str, Any]:
    """The same with draws from the posterior: what fit.json holds."""
    content = as_dict(result)
    if result.samples is not None:
        few = result.samples[:: max(1, len(result.samples) // MOST_SAMPLES)]
        content["samples"] = [[float(f"{value:.6g}") for value in row] for row in few]
    return content


def read_fit(path: Path | str) -> FitResult:
    """The fit that a fit.json, or the fit.json of a run folder, holds.

    Raises InputError when there is none or it can't be understood.
    """
    path = Path(path)
    path = path / NAME if path.is_dir() else path
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        parameters = {
            name: Parameter(
                _number(p["value"], np.nan), _number(p["sigma"], np.inf),
                _number(p["low95"], -np.inf), _number(p["high95"], np.inf), p["unit"], p["bound"],
            )  # fmt: skip
            for name, p in content["parameters"].items()
        }
        band = content.get("noise_band_hz")
        return FitResult(
            content["law"], parameters, bool(content["valid"]), content["message"],
            correlation=_array(content.get("correlation")), samples=_array(content.get("samples")),
            chi2=_number(content.get("chi2"), np.nan),
            degrees_of_freedom=_number(content.get("degrees_of_freedom"), np.nan),
            criterion=_numbers(content.get("criterion")), tests=_numbers(content.get("tests")),
            noise_band_hz=None if band is None else (float(band[0]), float(band[1])),
        )  # fmt: skip
    except FileNotFoundError:
        raise InputError(f"{path} does not exist; make it with `rulerlab fit RUN`") from None
    except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} can't be read as a fit: {error!r}") from error


def _number(value: Any, missing: float) -> float:
    return missing if value is None else float(value)


def _numbers(values: dict[str, Any] | None) -> dict[str, float]:
    return {name: _number(value, np.nan) for name, value in (values or {}).items()}


def _array(value: Any) -> np.ndarray | None:
    return None if value is None else np.array(value, dtype=float)
