"""A single oscillating point: its period, and the law by which its swings die away.

Each swing is fitted by itself, robustly, so that wrong detections count for nothing; period and
damping then come from the phases and amplitudes of the swings. Viscous friction takes the same
share of every swing, Coulomb friction the same length (a straight envelope; for friction F and
stiffness k, 4 F/k a period), drag in air more from large swings than from small.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import least_squares
from scipy.signal import lombscargle
from scipy.stats import f as ratio_law
from scipy.stats import norm

from rulerlab.errors import QualityError
from rulerlab.fit.evidence import laws_that_fit
from rulerlab.records import FitResult, Motion, Parameter

FEWEST_SWINGS = 4
FROZEN = 3  # equal positions in a row at the beginning: nothing was tracked yet
STRANGE = 4.7  # Tukey's biweight: robust sigmas beyond which a position counts nothing
TRUST = 0.002
SCATTER_FREEDOM = 0.3  # degrees of freedom per swing of a median of second differences
LAWS = {  # which of viscous, Coulomb, drag take part
    "none": (), "viscous": (0,), "coulomb": (1,), "coulomb+viscous": (0, 1), "drag": (2,),
    "viscous+drag": (0, 2),
}  # fmt: skip


@dataclass(frozen=True)
class Swings:
    """The swings of an oscillation, one by one, and the envelope of the chosen law."""

    time_s: np.ndarray  # (W,) middle of each
    amplitude: np.ndarray  # (W,) in `unit`
    sigma: float  # of an amplitude
    phase: np.ndarray  # (W,) rad, counted on from swing to swing
    law: str
    envelope: np.ndarray  # (W,)
    unit: str


def fit_oscillator(motion: Motion) -> tuple[FitResult, Swings]:
    """Period and damping of the last point of a motion against its first (or of its only one).

    Raises QualityError when fewer than four swings are seen.
    """
    time_s, x = _coordinate(motion)
    frequency = _frequency(time_s, x)
    fading = np.polynomial.Polynomial([0.0])
    for _ in range(3):  # with windows of just one period and the fading known phases are unbiased
        middle, amplitude, phase, strangers = _swings(time_s, x, frequency, fading)
        frequency = float(np.polyfit(middle - middle.mean(), phase, 1)[0]) / (2 * np.pi)
        fading = np.polynomial.Polynomial.fit(middle, np.log(np.maximum(amplitude, 1e-12)), 2,
                                              w=amplitude)  # fmt: skip
    sigma = _scatter(amplitude)
    fits = {law: _fade(middle, amplitude, sigma, terms) for law, terms in LAWS.items()}
    criterion = {law: fit[2] + len(fit[0]) * np.log(len(middle)) for law, fit in fits.items()}
    best = min(criterion.values())
    criterion = {law: float(value - best) for law, value in criterion.items()}
    near = laws_that_fit(criterion)
    near = [law for law in near if law == near[0] or not set(LAWS[near[0]]) < set(LAWS[law])]
    law = near[0] if len(near) == 1 else "cannot tell"
    values, covariance, chi2 = fits[near[0]]
    parameters = _period(middle, amplitude, phase)
    parameters |= _damping(values, covariance, LAWS[near[0]], parameters["period_s"].value, motion)
    freedom = max(len(middle) - len(values), 1)
    envelope = _envelope(values, LAWS[near[0]], middle - middle[0])
    rest = (amplitude - envelope) / sigma
    known = SCATTER_FREEDOM * len(middle)  # how well the scatter itself is known
    tests = {"dispersion": float(ratio_law.sf(chi2 / freedom, freedom, known)),
             "whiteness": _whiteness(rest)}  # fmt: skip
    valid = tests["dispersion"] > TRUST
    swings = Swings(middle, amplitude, sigma, phase, near[0], envelope, motion.unit)
    return FitResult(
        law, parameters, valid, _message(law, near, valid, strangers, len(time_s)),
        chi2=chi2, degrees_of_freedom=float(freedom), criterion=criterion, tests=tests,
    ), swings  # fmt: skip


def _coordinate(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    """Times and positions along the axis of the swing, without what was not tracked."""
    joint = motion.joint_mm[:, -1] - (motion.joint_mm[:, 0] if motion.joint_mm.shape[1] > 1 else 0)
    seen = np.isfinite(joint).all(axis=1)
    time_s, joint = motion.time_s[seen], joint[seen]
    wide = np.subtract(*np.quantile(joint, [0.9, 0.1], axis=0)) if len(joint) else np.zeros(2)
    x = joint[:, int(np.argmax(wide))] if len(joint) else joint[:, 0]
    changed = np.flatnonzero(np.diff(x) != 0)
    if not len(changed):
        raise QualityError("the point does not move: there is no oscillation to fit")
    start = changed[0] + 1 if changed[0] + 1 >= FROZEN else 0
    return time_s[start:], x[start:]


def _frequency(time_s: np.ndarray, x: np.ndarray) -> float:
    """Strongest frequency of unevenly timed positions, Hz (Lomb and Scargle)."""
    seconds = time_s[-1] - time_s[0]
    x = x - np.median(x)
    x = np.clip(x, *np.quantile(x, [0.01, 0.99]))
    usual = float(np.median(np.diff(time_s)))
    trial = np.arange(1 / seconds, 0.45 / usual, 0.1 / seconds)
    if len(trial) < 10:
        raise QualityError("the recording is too short for an oscillation")
    return float(trial[np.argmax(lombscargle(time_s, x, 2 * np.pi * trial))])


def _swings(time_s, x, frequency, fading):
    """Middle, amplitude and phase of every swing, and how many positions were strange.

    `fading` is the logarithm of the amplitude against time, as far as it is known.
    """
    count = int((time_s[-1] - time_s[0]) * frequency)
    if count < FEWEST_SWINGS:
        raise QualityError(
            f"{count} whole swings are in the recording, {FEWEST_SWINGS} are needed to tell how "
            "they die away"
        )
    found, strangers = [], 0
    for swing in range(count):
        begin = time_s[0] + swing / frequency
        part = (time_s >= begin) & (time_s < begin + 1 / frequency)
        if part.sum() < 8:
            continue
        middle = begin + 0.5 / frequency
        turn = 2 * np.pi * frequency * (time_s[part] - middle)
        level = np.exp(fading(time_s[part]) - fading(middle))
        design = np.column_stack([np.ones_like(turn), turn, level * np.cos(turn),
                                  level * np.sin(turn)])  # fmt: skip
        weights, strange = _robust(design, x[part])
        strangers += strange
        phase = np.arctan2(-weights[3], weights[2]) + 2 * np.pi * frequency * (middle - time_s[0])
        found.append((middle, np.hypot(weights[2], weights[3]), phase))
    if len(found) < FEWEST_SWINGS:
        raise QualityError(f"only {len(found)} swings are seen well enough to fit")
    middle, amplitude, phase = np.array(found).T
    expected = 2 * np.pi * frequency * (middle - time_s[0])
    return middle, amplitude, expected + np.unwrap(phase - expected), strangers


def _robust(design: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, int]:
    """Least squares with Tukey's biweight, and how many positions count nothing."""
    weight = np.ones(len(x))
    for _ in range(20):
        root = np.sqrt(weight)[:, None]
        values = np.linalg.lstsq(design * root, x * root[:, 0], rcond=None)[0]
        rest = x - design @ values
        scale = max(1.4826 * float(np.median(np.abs(rest))), 1e-9 * float(np.ptp(x)) + 1e-12)
        weight = np.maximum(1 - (rest / (STRANGE * scale)) ** 2, 0) ** 2
    return values, int((weight == 0).sum())


def _scatter(amplitude: np.ndarray) -> float:
    """Error of one amplitude, from how neighbouring swings differ beyond a smooth fading."""
    bend = np.diff(amplitude, n=2) / np.sqrt(6)
    return max(1.4826 * float(np.median(np.abs(bend))), 1e-6 * float(np.mean(amplitude)))


def _envelope(values: np.ndarray, terms: tuple[int, ...], after_s: np.ndarray) -> np.ndarray:
    """Amplitude after a time: the solution of dA/dt = -g A - d - b A^2, A >= 0."""
    rates = np.zeros(3)
    rates[list(terms)] = values[1:]
    viscous, dry, drag = rates
    start = values[0]
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        if 2 in terms:
            fade = np.exp(-viscous * after_s)
            gone = after_s if abs(viscous) < 1e-9 else -np.expm1(-viscous * after_s) / viscous
            return start * fade / (1 + drag * start * gone)
        gone = after_s if abs(viscous) < 1e-9 else -np.expm1(-viscous * after_s) / viscous
        return np.maximum(start * np.exp(-viscous * after_s) - dry * gone, 0)


def _fade(middle, amplitude, sigma, terms):
    """Values, covariance and chi2 of one law of fading; the rates are at least 0."""
    after = middle - middle[0]
    rate = max((amplitude[0] - amplitude[-1]) / (after[-1] * amplitude.mean()), 1e-6)
    size = amplitude.mean()
    unit = np.array([size, *(np.array([rate, rate * size, rate / size])[list(terms)])])
    start = np.array([amplitude[0] / size, *([1.0 / max(len(terms), 1)] * len(terms))])

    def rest(values):
        return (_envelope(values * unit, terms, after) - amplitude) / sigma

    low = np.array([0.0] + [0.0] * len(terms))
    fit = least_squares(rest, start, bounds=(low, np.inf), loss="soft_l1", f_scale=3.0)
    information = fit.jac.T @ fit.jac
    covariance = np.linalg.pinv(information) * np.outer(unit, unit)
    clipped = np.clip(rest(fit.x), -6, 6)
    return fit.x * unit, covariance, float((clipped**2).sum())


def _whiteness(rest: np.ndarray) -> float:
    """p of the lag-one correlation of the residuals."""
    product = float((rest[1:] * rest[:-1]).sum() / max((rest**2).sum(), 1e-12))
    return float(2 * norm.sf(abs(product) * np.sqrt(len(rest))))


def _period(middle, amplitude, phase) -> dict[str, Parameter]:
    """Mean period of the recording, with how it wanders, and its limit for small swings.

    Phase = w t - k integral A^2 dt: the period of a pendulum grows with the square of its swing.
    """
    grown = np.concatenate([[0.0], np.cumsum(np.diff(middle) * (
        amplitude[1:] ** 2 + amplitude[:-1] ** 2) / 2)])  # fmt: skip
    design = np.column_stack([np.ones_like(middle), middle - middle.mean(), grown - grown.mean()])
    size = np.abs(design).max(axis=0)
    weights = np.linalg.lstsq(design / size, phase, rcond=None)[0] / size
    rest = phase - design @ weights
    variance = (rest @ rest) / max(len(rest) - 3, 1)
    correlated = 1 + 2 * max(0.0, float((rest[1:] * rest[:-1]).sum() / max(rest @ rest, 1e-300)))
    scaled = np.linalg.inv((design / size).T @ (design / size)) * variance * correlated
    covariance = scaled / np.outer(size, size)
    sigma_slow = float(np.sqrt(covariance[1, 1]))
    wanders = abs(weights[2]) > 3 * np.sqrt(covariance[2, 2])
    line = np.polyfit(middle - middle.mean(), phase, 1)[0]
    mean = 2 * np.pi / line
    error = mean / line * np.sqrt(variance * correlated / ((middle - middle.mean()) ** 2).sum())
    found = {}
    if wanders:
        rate = weights[1] + weights[2] * amplitude**2
        error = float(np.hypot(error, np.std(2 * np.pi / rate)))
        small = 2 * np.pi / weights[1]
        found["period_small_s"] = _normal(small, small / weights[1] * sigma_slow, "s")
    return {"period_s": _normal(mean, error, "s")} | found


def _damping(values, covariance, terms, period_s, motion) -> dict[str, Parameter]:
    """The rates of the law, and what they mean for a swing."""
    unit = motion.unit
    names = [("damping_per_s", "1/s"), ("friction_loss_per_s", f"{unit}/s"),
             ("drag", f"1/({unit} s)")]  # fmt: skip
    sigma = np.sqrt(np.maximum(np.diag(covariance), 0))
    found = {"amplitude": _normal(values[0], sigma[0], unit)}
    for place, term in enumerate(terms, 1):
        found[names[term][0]] = _positive(values[place], sigma[place], names[term][1])
    if 0 in terms and not found["damping_per_s"].bound:
        quality = np.pi / (values[1] * period_s)
        found["quality_factor"] = _normal(quality, quality * sigma[1] / values[1], "1")
    if 1 in terms:
        place = 1 + terms.index(1)
        found["friction_over_k"] = _positive(values[place] * period_s / 4,
                                             sigma[place] * period_s / 4, unit)  # fmt: skip
    return found


def _normal(value: float, sigma: float, unit: str) -> Parameter:
    value, sigma = float(value), float(sigma)
    return Parameter(value, sigma, value - 1.96 * sigma, value + 1.96 * sigma, unit)


def _positive(value: float, sigma: float, unit: str) -> Parameter:
    if value < 1.96 * sigma:
        return Parameter(float("nan"), float("inf"), 0.0, float(value + 1.96 * sigma), unit,
                         "upper")  # fmt: skip
    return _normal(value, sigma, unit)


def _message(law: str, near: list[str], valid: bool, strangers: int, frames: int) -> str:
    said = []
    if not valid:
        said.append("no law explains how the swings die away: amplitudes scatter more than from "
                    "one swing to the next")  # fmt: skip
    elif law == "cannot tell":
        said.append(f"the swings do not tell apart: {', '.join(near)}")
    else:
        said.append(f"{law} explains how the swings die away")
    if strangers:
        said.append(f"{strangers} of {frames} positions are wrong detections and were left out")
    return "; ".join(said)
