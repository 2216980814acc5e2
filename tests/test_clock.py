"""The time code in synthetic films with known truth, and the line between two clocks."""

import numpy as np
import pytest

from rulerlab.clock import Exchange, fit_exchanges, read_led, word_chips
from rulerlab.errors import QualityError

CHIP_S = {30: 0.107, 60: 0.053, 240: 0.023}


def light(mcu_s, chip_s):
    """Integral of the LED's light from word 0 to `mcu_s`."""
    words = int(mcu_s.max() / (18 * chip_s)) + 2
    chips = np.concatenate([word_chips(n % 4096) for n in range(words)])
    edges = chip_s * np.arange(len(chips) + 1)
    return np.interp(mcu_s, edges, np.concatenate([[0.0], np.cumsum(chips) * chip_s]))


def film(time_s, *, offset_s, drift, exposure_s, chip_s, seed=0, noise=0.03, clutter=True):
    """Frames of 160 x 120: an LED in a corner, a striped ruler that moves, and noise.

    A frame's time is the middle of its exposure; microcontroller = offset + (1 + drift) film.
    """
    rng = np.random.default_rng(seed)
    shown = offset_s + (1 + drift) * time_s
    share = (light(shown + exposure_s / 2, chip_s) - light(shown - exposure_s / 2, chip_s))
    share /= exposure_s
    column = np.arange(160)
    row, spot_column = np.mgrid[:120, :160]
    spot = np.exp(-((row - 18) ** 2 + (spot_column - 131) ** 2) / (2 * 4.0**2))
    for at_s, level in zip(time_s, share, strict=True):
        luma = np.full((120, 160), 60.0)
        if clutter:
            luma[50:90] += 90 * (np.sin((column - 25 * np.sin(0.7 * at_s)) / 3) > 0)
        luma += 120 * spot * level
        yield at_s, np.clip(luma + 255 * noise * rng.standard_normal(luma.shape) * 0.3,
                            0, 255).astype(np.uint8)  # fmt: skip


def steady(frames_per_s, seconds=30):
    return np.arange(round(seconds * frames_per_s)) / frames_per_s


def uneven(frames_per_s, seconds=30, *, seed=1):
    """A phone: one frame in twelve lost, the rate wanders by a tenth, never an even step."""
    rng = np.random.default_rng(seed)
    step = (1 + 0.1 * np.sin(np.arange(2 * seconds * frames_per_s) / 40)) / frames_per_s
    time_s = np.cumsum(step * (1 + 0.02 * rng.standard_normal(len(step))))
    return time_s[(rng.random(len(time_s)) > 1 / 12) & (time_s < seconds)]


@pytest.mark.parametrize("frames_per_s", [30, 60, 240])
@pytest.mark.parametrize("times", [steady, uneven])
def test_offset_and_drift_of_a_film_are_found(frames_per_s, times):
    """Within 1 ms at both ends of 30 s (15 s at the highest rate), and within 50 ppm."""
    length_s = 15 if frames_per_s == 240 else 30
    time_s = times(frames_per_s, length_s)
    truth = {"offset_s": 41.3217, "drift": -1.9e-3}
    chip_s = CHIP_S[frames_per_s]
    clock = read_led(
        film(time_s, exposure_s=0.4 / frames_per_s, chip_s=chip_s, **truth), chip_s=chip_s
    )
    assert clock.line.drift == pytest.approx(truth["drift"], abs=50e-6)
    ends = np.array([0.0, length_s / 2, length_s])
    error = clock.line.to_mcu(ends) - (truth["offset_s"] + (1 + truth["drift"]) * ends)
    assert np.abs(error).max() < 1e-3
    assert (np.abs(error) < 5 * clock.line.sigma_s(ends) + 5e-5).all()
    assert clock.words >= 0.8 * clock.words_possible
    x, y, width, height = clock.box_px
    assert x <= 131 <= x + width
    assert y <= 18 <= y + height


def test_timestamps_that_are_off_by_a_millisecond_cost_about_that():
    rng = np.random.default_rng(2)
    time_s = steady(30)
    pictures = film(time_s, offset_s=7.7, drift=1e-3, exposure_s=4e-3, chip_s=0.107)
    told_s = time_s + rng.normal(0, 1e-3, len(time_s))
    clock = read_led(
        ((told, luma) for told, (_, luma) in zip(told_s, pictures, strict=True)), chip_s=0.107
    )
    ends = np.array([0.0, 30.0])
    error = clock.line.to_mcu(ends) - (7.7 + 1.001 * ends)
    assert np.abs(error).max() < 1.5e-3
    assert np.abs(clock.line.drift - 1e-3) < 50e-6


@pytest.mark.parametrize("exposure_s", [1e-3, 12e-3])
def test_error_of_the_clock_is_the_one_that_is_quoted(exposure_s):
    z, errors = [], []
    for trial in range(5):
        rng = np.random.default_rng(100 + trial)
        offset_s, drift = rng.uniform(5, 60), rng.uniform(-2e-3, 2e-3)
        clock = read_led(
            film(steady(30, 20), offset_s=offset_s, drift=drift, exposure_s=exposure_s,
                 chip_s=0.107, seed=trial, clutter=False),
            chip_s=0.107,
        )  # fmt: skip
        for at_s in (0.0, 20.0):
            error = clock.line.to_mcu(at_s) - (offset_s + (1 + drift) * at_s)
            errors.append(error)
            z.append(error / clock.line.sigma_s(at_s))
    assert np.sqrt(np.mean(np.square(z))) < 2.2
    assert np.abs(errors).max() < 4e-3  # short exposures leave long gaps: few frames hold an edge


def test_counter_that_goes_round_is_followed():
    time_s = steady(60, 12)
    start_s = 4090.2 * 18 * 0.053
    clock = read_led(film(time_s, offset_s=start_s, drift=1e-3, exposure_s=8e-3, chip_s=0.053),
                     chip_s=0.053)  # fmt: skip
    seen = clock.line.to_mcu(6.0) % (4096 * 18 * 0.053)
    assert seen == pytest.approx((start_s + 1.001 * 6.0) % (4096 * 18 * 0.053), abs=1e-3)


def test_times_are_those_of_the_board_when_its_log_is_there():
    word_s, begun_s = 18 * 0.107, 512.25
    log = {number: begun_s + number * word_s for number in range(2, 9)}
    clock = read_led(film(steady(30, 12), offset_s=3.0, drift=0.0, exposure_s=0.01, chip_s=0.107),
                     chip_s=0.107, word_mcu_s=log)  # fmt: skip
    assert clock.line.to_mcu(6.0) == pytest.approx(512.25 + 9.0, abs=1e-3)


def test_film_without_the_code_is_refused():
    def blank(time_s, seed=0):
        rng = np.random.default_rng(seed)
        for at_s in time_s:
            yield at_s, rng.integers(40, 60, (120, 160), dtype=np.uint8)

    with pytest.raises(QualityError, match="no LED|trusted"):
        read_led(blank(steady(30, 8)), chip_s=0.107)
    with pytest.raises(QualityError, match="too few"):
        read_led(blank(steady(30, 0.2)), chip_s=0.107)


def blinking(time_s, level):
    """Frames in which one spot shows `level` (T,) of light."""
    for at_s, share in zip(time_s, level, strict=True):
        luma = np.full((120, 160), 60, np.uint8)
        luma[10:26, 120:144] += np.uint8(120 * share)
        yield at_s, luma


def test_blinking_that_is_not_the_code_is_refused():
    time_s = steady(30, 30)
    rng = np.random.default_rng(5)
    random_light = np.repeat(rng.integers(0, 2, 300), 3)[: len(time_s)]
    for level in (time_s % 0.6 < 0.3, random_light):
        with pytest.raises(QualityError):
            read_led(blinking(time_s, level), chip_s=0.107)


def test_code_that_is_covered_most_of_the_time_is_refused():
    time_s = steady(30, 30)
    shown = light(time_s + 5.02, 0.107) - light(time_s + 5.0, 0.107)
    covered = np.where((time_s % 6) < 4, 0.0, shown / 0.02)
    with pytest.raises(QualityError, match="can't be trusted|does not follow"):
        read_led(blinking(time_s, covered), chip_s=0.107)


def test_wrong_chip_length_is_refused():
    frames = film(steady(60, 10), offset_s=3.0, drift=0.0, exposure_s=8e-3, chip_s=0.053)
    with pytest.raises(QualityError):
        read_led(frames, chip_s=0.107)


# two clocks on a wire


def test_line_through_exchanges_has_honest_errors():
    z = []
    for trial in range(200):
        rng = np.random.default_rng(trial)
        drift, offset = rng.normal(0, 1e-3), rng.uniform(0, 100)
        host = np.sort(rng.uniform(0, 60, 40))
        slack = rng.exponential(2e-3, 40) + 1e-3
        mcu = offset + (1 + drift) * host + slack * rng.uniform(-0.5, 0.5, 40)
        line = fit_exchanges([Exchange(*e) for e in zip(host, mcu, slack, strict=True)])
        z += [(line.to_mcu(t) - offset - (1 + drift) * t) / line.sigma_s(t) for t in (0, 60)]
    assert 0.85 < np.std(z) < 1.15


def test_line_goes_there_and_back():
    line = fit_exchanges([Exchange(10.0, 500.0, 1e-3), Exchange(70.0, 560.06, 1e-3)])
    assert line.drift == pytest.approx(1e-3, abs=2e-5)
    assert line.from_mcu(line.to_mcu(33.3)) == pytest.approx(33.3)
