"""The reference marks of a rig in a single picture."""

from __future__ import annotations

import numpy as np

from rulerlab.errors import InputError
from rulerlab.rig import Rig
from rulerlab.track.crosses import centre_crosses, find_crosses
from rulerlab.track.register import match_crosses
from rulerlab.track.tags import find_tags


def find_references(picture: np.ndarray, rig: Rig) -> tuple[np.ndarray, np.ndarray] | None:
    """Pixels (R, 2) and mm (R, 2) of the rig's crosses or tags in a grey picture (H, W).

    None when four of its tags, or all of its crosses, are not seen.
    """
    places = rig.reference.tags_mm
    if places:
        tags = find_tags(picture, rig.marks.dictionary, enlarge=2)
        seen = [k for k, tag in enumerate(tags.ids) if int(tag) in places]
        if len(seen) < 4:
            return None
        return tags.centre_px[seen], np.array([places[int(tags.ids[k])] for k in seen])
    if not rig.reference.crosses_mm:
        return None
    crosses = np.array(rig.reference.crosses_mm)
    pixels, _ = centre_crosses(picture, find_crosses(picture))
    try:
        return pixels[match_crosses(pixels, crosses)], crosses
    except InputError:  # they are not all in view
        return None
