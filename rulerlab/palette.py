"""Colours that mean the same in the video, the plots and the report.

Taken from the eight of Okabe and Ito (2008), which people with any colour vision tell apart.
"""

from rulerlab.records import DETECTED, EDITED, LOST, PREDICTED

STATUS_RGB = {
    DETECTED: (0, 158, 115),
    PREDICTED: (230, 159, 0),
    EDITED: (204, 121, 167),
    LOST: (213, 94, 0),
}
INK, MUTED, ACCENT = "#222222", "#777777", "#0072B2"


def hexadecimal(rgb: tuple[int, int, int]) -> str:
    """`#rrggbb` of a colour given as three numbers 0..255."""
    return "#{:02x}{:02x}{:02x}".format(*rgb)
