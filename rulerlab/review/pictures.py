"""Frames of a recording as JPEG, by number; neighbours are decoded together and kept."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock

import cv2
import numpy as np

from rulerlab.errors import InputError
from rulerlab.video import Recording

BLOCK = 24  # frames that are decoded at once
HELD_BYTES = 128_000_000
QUALITY = 92


class Pictures:
    """The pictures of a recording whose frames have the times `time_s` (T,)."""

    def __init__(self, recording: Recording, time_s: np.ndarray):
        self._recording, self._time_s = recording, time_s
        self._held: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()

    def jpeg(self, index: int) -> bytes:
        """One frame. Raises InputError when there is no such frame, or it can't be found again."""
        if not 0 <= index < len(self._time_s):
            raise InputError(f"there is no frame {index}")
        with self._lock:
            if index not in self._held:
                self._decode(index)
            self._held.move_to_end(index)
            return self._held[index]

    def _decode(self, index: int) -> None:
        begin = index // BLOCK * BLOCK
        wanted = {float(self._time_s[k]): k
                  for k in range(begin, min(begin + BLOCK, len(self._time_s)))}
        for frame in self._recording.frames_at(wanted):
            _, jpeg = cv2.imencode(".jpg", frame.bgr(), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
            self._held[frame.index] = jpeg.tobytes()
        if index not in self._held:
            raise InputError(f"{self._recording.path} holds no frame {index} any more")
        while sum(map(len, self._held.values())) > HELD_BYTES and len(self._held) > BLOCK:
            self._held.popitem(last=False)
