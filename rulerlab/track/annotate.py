"""Draw the tracked chain onto a picture of the recording."""

from __future__ import annotations

import math

import cv2
import numpy as np

from rulerlab.palette import STATUS_RGB
from rulerlab.records import LOST, STATUSES

FRACTION_BITS = 4  # cv2 draws at sixteenths of a pixel
LINE_BGR = (40, 40, 40)
STATUS_BGR = {name: rgb[::-1] for name, rgb in STATUS_RGB.items()}


def draw_track(
    image_bgr: np.ndarray,
    position_px: np.ndarray,
    covariance_px: np.ndarray,
    status: np.ndarray,
    time_s: float,
    *,
    enlarged: int | None = None,
    note: str = "",
) -> None:
    """Draw one frame's sections, points and time onto `image_bgr` (H, W, 3), in place.

    `position_px` (N, 2), `covariance_px` (N, 2, 2), `status` (N,). The ellipses show the
    standard deviation, `enlarged` (default: until they can be seen) by the factor that the
    legend states; a lost point is left out and its sections are not drawn.
    """
    size = image_bgr.shape[0] / 720
    enlarged = enlarged or enlargement(covariance_px, image_bgr.shape[0])
    seen = ~np.isnan(position_px.sum(axis=1))
    inside = np.clip(np.where(seen[:, None], position_px, 0), -1e6, 1e6)
    points = np.round(inside * 2**FRACTION_BITS).astype(int)
    thick = max(1, round(1.5 * size))
    for k in range(len(points) - 1):
        if seen[k] and seen[k + 1]:
            cv2.line(image_bgr, points[k].tolist(), points[k + 1].tolist(), LINE_BGR, thick,
                     cv2.LINE_AA, FRACTION_BITS)
    for k in np.flatnonzero(seen):
        _draw_point(image_bgr, points[k].tolist(), covariance_px[k] * enlarged**2,
                    STATUS_BGR[str(status[k])], size)
    _draw_legend(image_bgr, status, f"t = {time_s:.3f} s", enlarged, note)


def enlargement(covariance_px: np.ndarray, height_px: int) -> int:
    """A round factor (1, 2, 5, 10, ...) that makes the median ellipse visible in the picture.

    Taken once from the covariances of a whole clip (T, N, 2, 2), it keeps ellipses comparable.
    """
    variance = np.trace(covariance_px, axis1=-2, axis2=-1) / 2
    variance = variance[np.isfinite(variance) & (variance > 0)]
    if not variance.size:
        return 1
    wanted = 12 * height_px / 720 / math.sqrt(float(np.median(variance)))
    fitting = [factor for factor in (1, 2, 5, 10, 20, 50, 100, 200, 500) if factor <= wanted]
    return fitting[-1] if fitting else 1


def _draw_point(
    image_bgr: np.ndarray,
    centre: list[int],
    covariance: np.ndarray,
    colour: tuple[int, ...],
    size: float,
) -> None:
    """A small disc with a white rim, and the ellipse of its error."""
    unit = 2**FRACTION_BITS
    cv2.circle(image_bgr, centre, round(4.5 * size * unit), (255, 255, 255), -1, cv2.LINE_AA,
               FRACTION_BITS)
    cv2.circle(image_bgr, centre, round(3.2 * size * unit), colour, -1, cv2.LINE_AA, FRACTION_BITS)
    if not np.isfinite(covariance).all():
        return
    variance, axes = np.linalg.eigh(covariance)
    half = np.sqrt(np.clip(variance, 0, None)).clip(max=image_bgr.shape[0] / 8)
    angle = math.degrees(math.atan2(axes[1, 1], axes[0, 1]))
    cv2.ellipse(image_bgr, centre, (round(half[1] * unit), round(half[0] * unit)), angle, 0, 360,
                colour, max(1, round(size)), cv2.LINE_AA, FRACTION_BITS)


def _draw_legend(
    image_bgr: np.ndarray, status: np.ndarray, clock: str, enlarged: int, note: str
) -> None:
    """A light strip at the top: time, how many points have which status, what ellipses mean."""
    scale = image_bgr.shape[0] / 720
    letters, high = 0.6 * scale, round(30 * scale)
    strip = image_bgr[:high]
    cv2.addWeighted(strip, 0.25, np.full_like(strip, 255), 0.75, 0, strip)
    base, x = round(21 * scale), round(12 * scale)
    thick = max(1, round(1.4 * scale))

    def write(text: str, at: int, colour: tuple[int, ...]) -> int:
        cv2.putText(image_bgr, text, (at, base), cv2.FONT_HERSHEY_SIMPLEX, letters, colour, thick,
                    cv2.LINE_AA)
        return at + cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, letters, thick)[0][0]

    x = write(clock, x, LINE_BGR) + round(24 * scale)
    for name in STATUSES:
        count = int((status == name).sum())
        if count or name == LOST:
            radius = round(6 * scale)
            cv2.circle(image_bgr, (x + radius, base - radius), radius, STATUS_BGR[name], -1,
                       cv2.LINE_AA)
            x = write(f"{count} {name}", x + round(18 * scale), LINE_BGR) + round(20 * scale)
    ellipse = f"ellipse: {enlarged} sigma" if enlarged > 1 else "ellipse: 1 sigma"
    write(f"{ellipse}{'   ' + note if note else ''}", x, LINE_BGR)
