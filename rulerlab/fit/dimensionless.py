"""The chain of unknown springs: friction, noise and time scale from the whole motion.

Only ratios can be found without a known spring: friction and noise over stiffness, in units of
the pull (the distance that the pulled end goes), and damping over stiffness in seconds. The chain
is driven by the measured pulled end and compared with every frame (`rulerlab.chain.foretell`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rulerlab.chain.foretell import Foretold, Law, Seen, foretell, free_run
from rulerlab.errors import QualityError
from rulerlab.fit import sampling
from rulerlab.fit.rates import Rates
from rulerlab.fit.sampling import Axis, Draws
from rulerlab.records import FitResult, LoadCurve, Motion, Parameter
from rulerlab.segments import Pull, find_pull

ALLOWED = 0.05  # wander that a chain of not quite equal blocks and springs may show
AXES = (
    Axis("friction_right_over_k", "1", 0.02, 1.0),
    Axis("friction_left_over_k", "1", 0.02, 1.0),
    Axis("noise_over_k", "1", 0.02, 1.0),
    Axis("time_scale_over_pull", "1", 5e-3, 1.0, zero=False),
    Axis("kick_over_time_scale", "1", 1e-3, 0.03, zero=False),
    Axis("wander", "1", 0.001, ALLOWED),
)
REPEATS = 0.3  # correlation of successive surprises from which the law is not the motion's
FLOOR = 1e-4  # of the pull: accuracy of the integration, and of a motion without errors
REST = 0.2  # of the pull's duration: how much of the rest before it is looked at
FRAMES, ALL_FRAMES = 100, 600  # frames compared in the quick answer, and in the posterior
DRAWS, ALL_DRAWS = 400, 5000  # independent draws' worth
PLACES, ALL_PLACES = 40_000, 400_000  # places looked at, at most
ENOUGH, ALL_ENOUGH = 300, 1000  # that must count before the search goes on
KEPT = 2000  # draws that stay with the result


@dataclass(frozen=True)
class Prepared:
    """A motion in the units of the fit, and what leads back."""

    seen: Seen
    pull: Pull
    duration_s: float
    rest: np.ndarray  # (N,) positions before the pull


def prepare(motion: Motion, *, pull_section: bool = False, frames: int = FRAMES) -> Prepared:
    """The motion beyond its rest state, in units of the pull and of its duration.

    With `pull_section` the last point lies in the hand behind a section that carries no load: the
    chain ends one point earlier. At most about `frames` frames are compared, evenly spread; all
    of them drive. Raises QualityError if there is no pull, or no inner point.
    """
    if pull_section:
        motion = _without_last(motion)
    x = motion.joint_mm[..., 0]
    if x.shape[1] < 3:
        raise QualityError(f"{x.shape[1]} points have no block between wall and hand; track more")
    pull = find_pull(motion)
    variance = motion.covariance_mm2[..., 0, 0]
    noise = math.sqrt(np.nanmedian(variance[:, -1]))
    if abs(pull.travel_mm) <= 10 * noise or pull.end_s <= pull.onset_s:
        raise QualityError(
            f"the pulled end moves by {abs(pull.travel_mm):.2g} {motion.unit} with errors of "
            f"{noise:.2g}: that is no pull; film a longer one"
        )
    scale, duration = pull.travel_mm, pull.end_s - pull.onset_s
    error = variance / scale**2
    first = int(np.searchsorted(motion.time_s, pull.onset_s - REST * duration))
    first = max(0, min(first, pull.rest.stop - 3))
    rest, unknown, stir, away = _at_rest(motion, pull, first)
    keep = slice(first, None)
    moved = ((x - rest) / scale)[keep]
    time = (motion.time_s[keep] - motion.time_s[first]) / duration
    place = moved[:, 1:-1].copy()
    if len(place) > frames:
        left_out = np.ones(len(place), bool)
        left_out[np.linspace(0, len(place) - 1, frames).round().astype(int)] = False
        place[left_out] = np.nan
    pattern = np.zeros((len(place), x.shape[1], 0))
    if motion.shared_mm is not None:
        shared = np.asarray(motion.shared_mm[:, :, 0, :], float)
        pattern = np.nan_to_num((shared - np.nanmean(shared[pull.rest], axis=0))[keep] / scale)
    # effects that all frames share, too: rest states of the ends, and how far the chain has gone
    own = np.zeros((x.shape[1], 3))
    own[0, 0], own[-1, 1], own[1:-1, 2] = *(unknown[[0, -1]] / scale), -stir / scale
    pattern = np.concatenate([pattern, np.broadcast_to(own, (len(place), *own.shape))], axis=2)
    stirred = np.zeros((pattern.shape[2], place.shape[1]))
    stirred[-1] = stir / scale
    start = np.full(place.shape[1], (away / scale) ** 2)
    hand = _bridged(time, moved[:, -1])
    seen = Seen(
        time, _bridged(time, moved[:, 0]), hand, np.nan_to_num(error[keep, -1]),
        travelled(hand, noise / abs(scale)), place,
        np.nan_to_num(error[keep, 1:-1], nan=1.0) + FLOOR**2, np.ascontiguousarray(pattern),
        1 / relative_length(motion), start, stirred, (unknown[1:-1] / scale) ** 2,
    )  # fmt: skip
    return Prepared(seen, pull, duration, rest)


def _at_rest(
    motion: Motion, pull: Pull, first: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, float]:
    """Positions without tension (N,), their errors (N,), how far inner points may have gone from
    them before (N - 2,), and how far they have gone since then until frame `first`.

    The chain is taken to be without tension when the film begins: the mean of as many frames from
    there as show inner points scattered by no more than their errors, all frames before the pull
    where nothing stirs. Where it stirs, it may have done so before: by as much as in the frame
    after these.
    """
    x = motion.joint_mm[pull.rest, :, 0]
    error = motion.covariance_mm2[pull.rest, :, 0, 0]
    seen = np.isfinite(x)
    if not seen.any(0).all():
        lost = int((~seen.any(0)).argmax())
        raise QualityError(f"point {lost} is lost before the pull: its rest state is unknown; "
                           "start filming earlier")  # fmt: skip
    x, error = np.where(seen, x, 0.0), np.where(seen, error, 0.0)
    count = np.maximum(seen.cumsum(0), 1)
    mean, own = x.cumsum(0) / count, error.cumsum(0) / count
    inner = slice(1, -1)
    free = np.maximum((count[:, inner] - 1).sum(1), 1)
    scatter = ((x**2).cumsum(0) - count * mean**2)[:, inner].sum(1) / free
    expected = ((count - 1) * own)[:, inner].sum(1) / free
    still = scatter <= (1 + 4 / np.sqrt(free)) * expected + (FLOOR * pull.travel_mm) ** 2
    everywhere = seen.cumsum(0).all(1)
    last = max(int(np.argmin(still)) - 1 if not still.all() else len(x) - 1,
               int(everywhere.argmax()))  # fmt: skip
    near = min(last + 1, len(x) - 1)  # one more frame tells how fast it leaves that state
    stir = np.where(seen[near], x[near] - mean[last], 0.0)[inner]
    size = math.sqrt(max(scatter[near] - expected[near], 0.0))
    stir *= size / max(float(np.sqrt((stir**2).mean())), 1e-300)
    away = np.where(seen, x - mean[last], 0.0)[min(first, len(x) - 1), inner]
    return mean[last], np.sqrt(own[last] / count[last]), stir, math.sqrt(float((away**2).mean()))


def relative_length(motion: Motion) -> np.ndarray:
    """Length of each segment over the typical one where they are rigid, else all 1, (L,).

    The half sections at the ends of a ruler open half as far under the same tension: as springs
    they are twice as stiff. Rigid: the lengths stay within a
    twentieth of what the segments open.
    """
    link = np.diff(motion.joint_mm, axis=1)
    length = np.hypot(link[..., 0], link[..., 1])
    opened = np.nanmax(np.ptp(np.nan_to_num(link[..., 0]), axis=0))
    typical = np.nanmedian(length, axis=0)
    spread = np.nanmedian(np.abs(length - typical), axis=0)
    if opened == 0 or np.max(spread) > 0.05 * opened:
        return np.ones(length.shape[1])
    return typical / np.median(typical)


def _without_last(motion: Motion) -> Motion:
    part = slice(None, -1)
    return Motion(
        motion.time_s, motion.joint_mm[:, part], motion.covariance_mm2[:, part],
        None if motion.shared_mm is None else motion.shared_mm[:, part],
        None if motion.status is None else motion.status[:, part], motion.unit,
    )  # fmt: skip


def _bridged(time: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Straight lines over frames in which a point is lost."""
    seen = np.isfinite(values)
    return np.interp(time, time[seen], values[seen])


def travelled(hand: np.ndarray, sigma: float) -> np.ndarray:
    """Path of the hand until each frame (T,), there and back, but not what its errors feign."""
    path, at = np.zeros(len(hand)), hand[0]
    for t in range(1, len(hand)):
        off = hand[t] - at
        step = math.copysign(max(abs(off) - 3 * sigma, 0.0), off)
        at += step
        path[t] = path[t - 1] + abs(step)
    return path


def law_at(place: np.ndarray, axes: Sequence[Axis] = AXES) -> Law:
    """The chain at a place of the unit cube."""
    return law_of(dict(zip((a.name for a in axes), map(float, _values(place, axes)), strict=True)))


def _values(place: np.ndarray, axes: Sequence[Axis]) -> list[np.ndarray]:
    return [axis.value(place[..., p]) for p, axis in enumerate(axes)]


def law_of(values: dict[str, float]) -> Law:
    """The chain with these values of AXES; one that is not determined stands in the middle."""
    v = {axis.name: values.get(axis.name, math.nan) for axis in AXES}
    v = {axis.name: float(axis.value(0.5)) if math.isnan(v[axis.name]) else v[axis.name]
         for axis in AXES}  # fmt: skip
    tau = v["time_scale_over_pull"]
    return Law(v["friction_right_over_k"], v["friction_left_over_k"], v["noise_over_k"], tau,
               tau * v["kick_over_time_scale"], v["wander"])  # fmt: skip


def in_other_units(law: Law, length: float, duration: float) -> Law:
    """A chain in units of a pull that is longer by `length` and lasts longer by `duration`."""
    return Law(law.friction_right / length, law.friction_left / length, law.noise / length,
               law.tau / duration, law.kick / duration, law.wander / math.sqrt(length))  # fmt: skip


def posterior_of(
    prepared: Sequence[Prepared],
    *,
    posterior: bool = False,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> Draws:
    """Draws of the parameters that several motions share."""

    def density(place: np.ndarray) -> float:
        law = law_at(place)
        return sum(foretell(one.seen, law).log_likelihood for one in prepared)

    return sampling.sample(
        density, len(AXES), np.random.default_rng(seed),
        wanted=ALL_DRAWS if posterior else DRAWS, most=ALL_PLACES if posterior else PLACES,
        enough=ALL_ENOUGH if posterior else ENOUGH,
        coordinates=Rates(AXES), progress=progress,
    )  # fmt: skip


def fit_chain(
    motion: Motion,
    *,
    pull_section: bool = False,
    posterior: bool = False,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> FitResult:
    """Fit the overdamped chain of equal springs and blocks to a motion.

    Intervals are those of the posterior under the flat priors of AXES; a parameter whose interval
    reaches an end of its axis is a bound. `posterior` compares more frames and draws more. Raises
    QualityError if the motion holds no pull or loses a point at rest.
    """
    frames = ALL_FRAMES if posterior else FRAMES
    prepared = prepare(motion, pull_section=pull_section, frames=frames)
    draws = posterior_of([prepared], posterior=posterior, seed=seed, progress=progress)
    return result_of(draws, [prepared])


def result_of(draws: Draws, prepared: Sequence[Prepared]) -> FitResult:
    """Parameters, evidence and verdict from draws."""
    from scipy.special import chdtrc

    found = sampling.parameters(AXES, draws.place, draws.best)
    values = np.stack(_values(draws.place, AXES), axis=-1)
    kept = np.random.default_rng(0).permutation(len(values))[:KEPT]
    allowed = law_at(draws.best)._replace(wander=ALLOWED)
    scores = [foretell(one.seen, allowed).score for one in prepared]
    chi2 = float(sum(np.nansum(score**2) for score in scores))
    degrees = sum(int(np.isfinite(score).sum()) for score in scores) - len(AXES)
    best = [foretell(one.seen, law_at(draws.best)) for one in prepared]
    wander = found["wander"]
    chance = float(chdtrc(degrees, chi2))
    memory, memory_chance = _memory(best)
    told = _faults(wander, chi2 / degrees if chance <= 0.01 else 0.0, memory,
                   _astray(prepared, law_at(draws.best)))  # fmt: skip
    with np.errstate(divide="ignore", invalid="ignore"):
        correlation = np.nan_to_num(np.corrcoef(values, rowvar=False))
    return FitResult(
        "chain", found, not told, "; ".join(told + _left_open(found, draws)), correlation,
        values[kept], chi2, degrees, tests={"chi2": chance, "memory": memory_chance},
    )  # fmt: skip


def _memory(best: Sequence[Foretold]) -> tuple[float, float]:
    """Correlation of each surprise with the one before it, and the p-value of none."""
    product, square, count = 0.0, 0.0, 0
    for one in best:
        rows = one.score[np.isfinite(one.score).all(axis=1)]
        product += float((rows[1:] * rows[:-1]).sum())
        square += float((rows[1:] ** 2).sum())
        count += rows[1:].size
    if not square:
        return 0.0, math.nan
    return product / square, math.erfc(abs(product / square) * math.sqrt(count / 2))


def _astray(prepared: Sequence[Prepared], law: Law) -> float:
    """How far blocks are from the chain that knows the pull alone, rms in units of the pull."""
    off = [(one.seen.place - free_run(one.seen, law)) / np.ptp(one.seen.hand) for one in prepared]
    return math.sqrt(max(float(np.nanmean(one**2)) for one in off))


def _faults(wander: Parameter, excess: float, memory: float, astray: float) -> list[str]:
    """Why the chain does not explain the motion; `excess` is chi2 per degree of freedom where
    that is too much."""
    told = []
    if excess:
        told.append(f"the motion is off the best chain {math.sqrt(excess):.1f} times as far as its "
                    f"errors and a wander of {100 * ALLOWED:.0f} % of the pull allow")
    if wander.bound == "lower":
        told.append(f"blocks wander by more than {100 * wander.low95:.0f} % of the pull beyond any "
                    f"chain of equal blocks and springs, {100 * ALLOWED:.0f} % are allowed")
    if astray > ALLOWED:
        told.append(f"points stray {100 * astray:.0f} % of the pull (rms) from the chain that is "
                    f"driven by the pull alone, {100 * ALLOWED:.0f} % are allowed")
    if memory > REPEATS:
        told.append(f"what the chain does not foretell repeats from frame to frame (correlation "
                    f"{memory:.2f}): sections swing, or move by another law")
    return told


def _left_open(found: dict[str, Parameter], draws: Draws) -> list[str]:
    """What the motion does not determine."""
    told = []
    free = [name for name, one in found.items() if math.isnan(one.value)]
    if free:
        told.append(f"not determined: {', '.join(free)}")
    ridge = [n for n, one in found.items() if one.bound == "ridge" and not math.isnan(one.value)]
    if ridge:
        told.append(f"known only together with others: {', '.join(ridge)}")
    if not draws.enough:
        told.append(f"the ends of the intervals are rough: the {draws.evaluations} chains tried "
                    f"are worth {draws.effective:.0f} draws, a few of them weigh much (tail "
                    f"{draws.tail:.2f})")  # fmt: skip
    return told


def predict(result: FitResult, motion: Motion, *, pull_section: bool = False) -> np.ndarray:
    """Extensions of the fitted chain under the measured pull, (T, L), in the motion's unit.

    From the measured ends alone; NaN in a section that lies in the hand.
    """
    law = law_of({name: one.value for name, one in result.parameters.items()})
    return _extensions(prepare(motion, pull_section=pull_section), law, motion)


def predictions(
    result: FitResult, motion: Motion, *, pull_section: bool = False, draws: int = 60
) -> np.ndarray:
    """The same for some draws of the fit, (draws, T, L)."""
    prepared = prepare(motion, pull_section=pull_section)
    return np.array([_extensions(prepared, law, motion) for law in laws_of(result, draws)])


def laws_of(result: FitResult, draws: int) -> list[Law]:
    """The chains of some draws of a fit, of its values alone if it keeps no draws."""
    names = tuple(result.parameters)
    if result.samples is None:
        return [law_of({name: one.value for name, one in result.parameters.items()})]
    some = result.samples[:: max(1, len(result.samples) // draws)][:draws]
    return [law_of(dict(zip(names, map(float, row), strict=True))) for row in some]


def _extensions(prepared: Prepared, law: Law, motion: Motion) -> np.ndarray:
    seen = prepared.seen
    moved = np.column_stack([seen.wall, free_run(seen, law), seen.hand]) * prepared.pull.travel_mm
    extension = np.full((len(motion.time_s), motion.joint_mm.shape[1] - 1), np.nan)
    first, loaded = len(motion.time_s) - len(seen.time), len(prepared.rest) - 1
    extension[first:, :loaded] = np.diff(moved + prepared.rest, axis=1)
    extension[:first, :loaded] = np.diff(prepared.rest)
    return extension


def surprises(
    result: FitResult, motion: Motion, *, pull_section: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Times (T,) and how far every inner point is from what the frames before foretell, (T, n).

    In standard deviations, by the likeliest of some draws; NaN in frames that are not compared.
    """
    prepared = prepare(motion, pull_section=pull_section)
    told = [foretell(prepared.seen, law) for law in laws_of(result, 200)]
    best = max(told, key=lambda one: one.log_likelihood)
    return motion.time_s[len(motion.time_s) - len(prepared.seen.time) :], best.score


def predicted_curve(
    result: FitResult, motion: Motion, *, pull_section: bool = False, unit: str = "section",
    draws: int = 100,
) -> LoadCurve:
    """Load curve of the fitted chain at the end of the pull, spread over the draws of the fit."""
    prepared = prepare(motion, pull_section=pull_section)
    seen, scale = prepared.seen, prepared.pull.travel_mm
    held = seen.time >= 1 + seen.time[-1] - (motion.time_s[-1] - prepared.pull.onset_s) / (
        prepared.duration_s
    )
    laws = laws_of(result, draws)
    places = np.array([np.column_stack([seen.wall, free_run(seen, law), seen.hand])[held].mean(0)
                       for law in laws]) * scale  # fmt: skip
    remaining = places[:, -1:] - places
    covariance = np.zeros((remaining.shape[1],) * 2)
    if len(laws) > 1:
        covariance = np.cov(remaining, rowvar=False)
    return LoadCurve(remaining.mean(axis=0), covariance, "chain", unit=unit, quantity=motion.unit,
                     label="fitted chain")  # fmt: skip
