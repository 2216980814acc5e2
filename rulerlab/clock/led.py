"""The LED's time code in a film: found, decoded, and fitted to a fraction of a frame.

The code is described in hardware/protocol.md: words of 18 chips without a gap. A frame shows the
share of its exposure during which the LED was on, so that frames across an edge tell where in the
exposure the edge was.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from rulerlab.clock.line import ClockLine
from rulerlab.errors import QualityError

PREAMBLE = (0, 1, 1, 1, 0)
COUNTER_BITS = 12
CHIPS = len(PREAMBLE) + COUNTER_BITS + 1
ROUND = 1 << COUNTER_BITS
WORST_DRIFT = 6e-3  # a ceramic resonator and a phone's clock together
CANDIDATES = 40  # places in the picture that are tried
LEAST_SHARE = 0.6  # of the words that the film is long enough for
LEVELS, BEAM, GRID = 7, 50, 7  # of the search for the best line
LONGEST = 100  # times the shortest exposure: a hundredth of a frame up to all of it
LARGEST_RESIDUAL = 0.15  # rms, of the LED's step from dark to bright


def word_chips(counter: int) -> np.ndarray:
    """The 18 chips of one word of the time code: preamble, counter, odd parity; 1 is bright."""
    bits = [counter >> place & 1 for place in reversed(range(COUNTER_BITS))]
    return np.array([*PREAMBLE, *bits, (1 + sum(bits)) % 2])


@dataclass(frozen=True)
class LedClock:
    """What the LED says about the film's clock."""

    line: ClockLine  # film time -> microcontroller time, at the middle of a frame's exposure
    exposure_s: float
    residual: float  # rms, of the step from dark to bright
    words: int  # read with right parity and in line
    words_possible: int
    first_word: int
    box_px: tuple[int, int, int, int]  # x, y, width, height of where the LED was seen


def brightness_grid(
    frames: Iterable[tuple[float, np.ndarray]], *, across: int = 80
) -> tuple[np.ndarray, np.ndarray, int]:
    """Mean brightness of the blocks of every frame: times (T,), blocks (T, h, w), block size (px).

    `frames` gives (time_s, luma (H, W) uint8); only the small grid is kept in memory.
    """
    import cv2  # here, because the shaker's driver needs this package's lines and no pictures

    times, grids, block = [], [], 1
    for time_s, luma in frames:
        if not grids:
            block = max(1, luma.shape[1] // across)
        height, width = luma.shape[0] // block, luma.shape[1] // block
        whole = luma[: height * block, : width * block]
        grids.append(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA))
        times.append(time_s)
    if len(times) < 10:
        raise QualityError(f"{len(times)} frames are too few to read the LED's code from")
    return np.array(times), np.array(grids), block


def read_led(
    frames: Iterable[tuple[float, np.ndarray]],
    *,
    chip_s: float,
    word_mcu_s: dict[int, float] | None = None,
) -> LedClock:
    """Find the LED in a film and put the film's clock on the microcontroller's.

    `word_mcu_s` holds the microcontroller's own record of when words began (from `!WORD` events);
    without it, time counts from the start of word 0. QualityError when no code is found, or when
    words are missing or the brightness does not follow the code.
    """
    time_s, grid, block = brightness_grid(frames)
    place, found = _find(time_s, grid, chip_s)
    series, box = _gather(grid, place, block)
    shining = found.spans(time_s)
    line, exposure_s, residual = _fit(time_s[shining], series[shining], chip_s, found)
    possible = max(1, int((time_s[-1] - time_s[0]) / (CHIPS * chip_s)) - 1)
    clock = LedClock(
        _on_the_log(line, word_mcu_s, CHIPS * chip_s), exposure_s, residual, len(found.numbers),
        possible, int(min(found.numbers)), box,
    )  # fmt: skip
    if clock.words < max(2, LEAST_SHARE * possible):
        raise QualityError(
            f"the LED's code can't be trusted: {clock.words} of {possible} words have the right "
            "parity; keep the LED in view, unsaturated, and film at least 6 s"
        )
    if residual > LARGEST_RESIDUAL:
        raise QualityError(
            f"the LED's brightness does not follow its code (rms {residual:.2f} of its step, "
            f"{LARGEST_RESIDUAL} at most): lock exposure and focus, keep hands out of the light"
        )
    return clock


@dataclass(frozen=True)
class _Words:
    """Words that lie on one line: number n begins at start_s + (n - middle) length_s."""

    numbers: np.ndarray
    start_s: float
    length_s: float
    middle: float
    score: float

    def spans(self, time_s: np.ndarray) -> np.ndarray:
        """Which frames lie between the first word and the last: the LED may start late."""
        number = self.middle + (time_s - self.start_s) / self.length_s
        return (number >= self.numbers.min()) & (number <= self.numbers.max() + 1)


def _normalised(series: np.ndarray) -> np.ndarray | None:
    """0 dark, 1 bright; None for a place that does not blink."""
    dark, bright = np.percentile(series, [10, 90])
    return None if bright - dark < 4 else np.clip((series - dark) / (bright - dark), -0.3, 1.3)


def _find(time_s: np.ndarray, grid: np.ndarray, chip_s: float) -> tuple[tuple[int, int], _Words]:
    """The block of the picture whose brightness is best read as the code."""
    activity = np.zeros(grid.shape[1:])
    for before, after in zip(grid[:-1], grid[1:], strict=True):
        activity += np.abs(after.astype(np.int16) - before)
    order = np.argsort(activity, axis=None)[::-1][:CANDIDATES]
    best = None
    for index in order:
        place = np.unravel_index(index, activity.shape)
        series = _normalised(grid[:, place[0], place[1]].astype(float))
        words = None if series is None else _read_words(time_s, series, chip_s)
        if words and (best is None or words.score > best[1].score):
            best = ((int(place[0]), int(place[1])), words)
    if best is None:
        raise QualityError(
            "no LED with the time code is in the picture; is it in view, and is the chip length "
            f"({1000 * chip_s:g} ms) the one that the shaker was told?"
        )
    return best


def _read_words(time_s: np.ndarray, series: np.ndarray, chip_s: float) -> _Words | None:
    """Words read at every start, then those that lie on one line."""
    integral = np.concatenate(
        [[0.0], np.cumsum(np.diff(time_s) * (series[1:] + series[:-1]) / 2)]
    )
    last = time_s[-1] - CHIPS * chip_s * (1 + WORST_DRIFT)
    starts = np.arange(time_s[0], last, chip_s / 6)
    if not len(starts):
        return None
    chip = np.arange(CHIPS)
    first = starts[:, None] + (chip + 0.25) * chip_s
    second = first + 0.5 * chip_s
    level = (np.interp(second, time_s, integral) - np.interp(first, time_s, integral)) / (
        0.5 * chip_s
    )
    bits = level > 0.5
    places = 1 << np.arange(COUNTER_BITS)[::-1]
    counter = bits[:, len(PREAMBLE) : -1] @ places
    good = (bits[:, : len(PREAMBLE)] == np.array(PREAMBLE, bool)).all(axis=1)
    good &= bits[:, len(PREAMBLE) :].sum(axis=1) % 2 == 1
    if good.sum() < 2:
        return None
    margin = np.abs(level - 0.5).mean(axis=1)
    return _line_up(starts[good], counter[good], margin[good], CHIPS * chip_s)


def _line_up(
    starts: np.ndarray, counter: np.ndarray, margin: np.ndarray, word_s: float
) -> _Words | None:
    """The largest set of words whose numbers rise as their times do (the counter may go round)."""
    best = None
    reference = starts[len(starts) // 2]
    span_s = max(np.ptp(starts), word_s)
    for stretch in np.arange(-WORST_DRIFT, WORST_DRIFT, word_s / CHIPS / 4 / span_s):
        length = word_s * (1 + stretch)
        # the number that word 0 would have if it began at the reference, as a place on a circle
        origin = (counter - (starts - reference) / length) % ROUND
        order = np.argsort(origin)
        circle = np.concatenate([origin[order], origin[order] + ROUND])
        weight = np.concatenate([margin[order], margin[order]])
        sums = np.concatenate([[0.0], np.cumsum(weight)])
        reach = np.searchsorted(circle, circle[: len(origin)] + 0.6 / CHIPS)
        score = sums[reach] - sums[: len(origin)]
        top = int(np.argmax(score))
        if best is None or score[top] > best[0]:
            inside = order[np.arange(top, reach[top]) % len(origin)]
            best = (score[top], float(np.median(circle[top : reach[top]])), length, inside)
    if best is None:
        return None
    score, origin, length, inside = best
    numbers = np.unique(np.round(origin + (starts[inside] - reference) / length).astype(int))
    return _Words(numbers, reference, length, origin, float(score))


def _gather(grid: np.ndarray, place: tuple[int, int], block: int):
    """Brightness of the LED: the blocks around `place` that blink as it does, weighed together."""
    row, column = place
    own = grid[:, row, column].astype(float)
    rows = slice(max(0, row - 3), row + 4)
    columns = slice(max(0, column - 3), column + 4)
    near = grid[:, rows, columns].astype(float)
    own = own - own.mean()
    near = near - near.mean(axis=0)
    gain = np.einsum("t,tij->ij", own, near) / (own @ own)
    likeness = gain * own.std() / np.maximum(near.std(axis=0), 1e-9)
    weight = np.where(likeness > 0.9, gain, 0.0)
    used_rows, used_columns = np.nonzero(weight)
    box = (
        int(columns.start + used_columns.min()) * block,
        int(rows.start + used_rows.min()) * block,
        int(np.ptp(used_columns) + 1) * block,
        int(np.ptp(used_rows) + 1) * block,
    )
    return np.einsum("tij,ij->t", near, weight) / weight.sum() + 128, box


def _fit(time_s: np.ndarray, series: np.ndarray, chip_s: float, found: _Words):
    """Offset, drift and exposure from the brightness of every frame.

    Few frames tell much when exposures are short, and the misfit then has many valleys: the search
    keeps the best of many cells while it divides them by three, and the error comes from the
    probability summed over a grid around the best place.
    """
    middle_s, word_s = float(time_s.mean()), CHIPS * chip_s
    # microcontroller seconds since word 0 at the middle of the film, and its rate
    offset = (found.middle + (middle_s - found.start_s) / found.length_s) * word_s
    light = _Light(time_s - middle_s, series, *_code_integral(offset, time_s, word_s, chip_s))
    step_s = float(np.median(np.diff(time_s)))
    half = np.array([chip_s / 3, chip_s / max(np.ptp(time_s), word_s), np.log(LONGEST) / 2])
    cells = np.array([[offset, word_s / found.length_s - 1, np.log(step_s) - half[2]]])
    children = np.stack(np.meshgrid(*[[-2 / 3, 0, 2 / 3]] * 3), axis=-1).reshape(-1, 3)
    for _ in range(LEVELS):
        cells = (cells[:, None] + children * half).reshape(-1, 3)
        half = half / 3
        cells = cells[np.argsort(light.misfit(cells))[:BEAM]]
    mean, sigma, least = _moments(light, cells[0], half, np.log(step_s))
    line = ClockLine(mean[0], mean[1], sigma[0], sigma[1], middle_s)
    return line, float(np.exp(mean[2])), float(np.sqrt(least / len(time_s)))


def _moments(light: _Light, best: np.ndarray, half: np.ndarray, longest: float):
    """Mean, standard deviation and least misfit over a grid that holds what is probable."""
    for _ in range(12):
        axes = [centre + h * np.linspace(-1, 1, GRID) for centre, h in zip(best, half, strict=True)]
        axes[2] = np.minimum(axes[2], longest)
        points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1)
        misfit = light.misfit(points.reshape(-1, 3)).reshape((GRID,) * 3)
        least = max(float(misfit.min()), 1e-5 * len(light.away_s))
        weight = np.exp(-len(light.away_s) / 2 * np.log(np.maximum(misfit, least) / least))
        weight /= weight.sum()
        shares = [weight.sum(axis=tuple(set(range(3)) - {k})) for k in range(3)]
        mean = np.array([share @ axis for share, axis in zip(shares, axes, strict=True)])
        sigma = np.array([np.sqrt(share @ (axis - m) ** 2)
                          for share, axis, m in zip(shares, axes, mean, strict=True)])  # fmt: skip
        edge = np.array([share[0] + share[-1] for share in shares])
        too_small, too_large = edge > 0.02, sigma < half / 6
        if not (too_small | too_large).any():
            break
        best = mean
        half = np.where(too_small, 2 * half, np.where(too_large, half / 2, half))
    return mean, np.maximum(sigma, half / GRID), least


class _Light:
    """Brightness of the frames against the code, for many (offset, drift, log exposure) at once."""

    def __init__(self, away_s: np.ndarray, series: np.ndarray, edge_s: np.ndarray,
                 integral: np.ndarray):  # fmt: skip
        self.away_s, self.edge_s, self.integral = away_s, edge_s, integral
        self.seen = series - series.mean()

    def misfit(self, points: np.ndarray) -> np.ndarray:
        """Sum of squares in units of the LED's step, after the best dark level and step: (n,)."""
        result = np.empty(len(points))
        for k, (offset, drift, log_exposure) in enumerate(points):
            shown, half = offset + (1 + drift) * self.away_s, np.exp(log_exposure) / 2
            light = np.interp(shown + half, self.edge_s, self.integral)
            light -= np.interp(shown - half, self.edge_s, self.integral)
            light -= light.mean()
            power = max(light @ light, 1e-30)
            step = light @ self.seen / power
            left = self.seen @ self.seen - step**2 * power
            result[k] = left / max(step * 2 * half, 1e-9) ** 2
        return result


def _code_integral(
    offset: float, time_s: np.ndarray, word_s: float, chip_s: float
) -> tuple[np.ndarray, np.ndarray]:
    """Edges of the chips around the film (s since word 0) and the light summed up to each."""
    half = 0.51 * np.ptp(time_s) + 2 * word_s
    first, last = int((offset - half) // word_s), int((offset + half) // word_s) + 1
    chips = np.concatenate([word_chips(number % ROUND) for number in range(first, last)])
    edges = first * word_s + chip_s * np.arange(len(chips) + 1)
    return edges, np.concatenate([[0.0], np.cumsum(chips * chip_s)])


def _on_the_log(line: ClockLine, word_mcu_s: dict[int, float] | None, word_s: float) -> ClockLine:
    """The same line in the microcontroller's own time, by when it says that words began."""
    if not word_mcu_s:
        return line
    zero_s = np.median([at_s - number * word_s for number, at_s in word_mcu_s.items()])
    return ClockLine(
        line.offset_s + float(zero_s), line.drift, line.sigma_offset_s, line.sigma_drift, line.at_s
    )
