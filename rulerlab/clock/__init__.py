"""Microcontroller time and film time: the LED's code in the picture, and the line between them."""

from rulerlab.clock.led import CHIPS, LedClock, brightness_grid, read_led, word_chips
from rulerlab.clock.line import ClockLine, Exchange, fit_exchanges

__all__ = [
    "CHIPS", "ClockLine", "Exchange", "LedClock", "brightness_grid", "fit_exchanges", "read_led",
    "word_chips",
]  # fmt: skip
