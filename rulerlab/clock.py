"""Microcontroller time and video time: the LED's code in the picture, and the line between them."""

from __future__ import annotations

import numpy as np

PREAMBLE = (0, 1, 1, 1, 0)
COUNTER_BITS = 12
CHIPS = len(PREAMBLE) + COUNTER_BITS + 1


def word_chips(counter: int) -> np.ndarray:
    """The 18 chips of one word of the time code: preamble, counter, odd parity; 1 is bright."""
    bits = [counter >> place & 1 for place in reversed(range(COUNTER_BITS))]
    return np.array([*PREAMBLE, *bits, (1 + sum(bits)) % 2])
