"""ArUco tags: identified by OpenCV once, then followed by their own edges.

The library's corners are good to half a pixel; the centre of a tag whose four sides are fitted
as straight lines is good to a few hundredths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from rulerlab.errors import InputError
from rulerlab.track.cuts import fit_tags, reads_as

NEARBY_PX = 8  # how far a tag that jumped is looked for first
ALIKE = 0.6  # correlation with a tag's last picture that is worth a second look
DICTIONARIES = (  # that are tried where no tag of the one in rig.toml is in view
    "DICT_4X4_250", "DICT_5X5_250", "DICT_6X6_250", "DICT_7X7_250", "DICT_APRILTAG_36h11",
    "DICT_ARUCO_ORIGINAL",
)
ENOUGH = 3  # tags of another dictionary that are no accident


@dataclass(frozen=True)
class Tags:
    """The tags of one picture."""

    ids: np.ndarray  # (n,)
    corner_px: np.ndarray  # (n, 4, 2) ArUco's order: top left, then clockwise
    centre_px: np.ndarray  # (n, 2) where the diagonals meet
    covariance_px: np.ndarray  # (n, 2, 2) of the centre, from the line fits


_NO_TAGS = Tags(np.zeros(0, int), np.zeros((0, 4, 2)), np.zeros((0, 2)), np.zeros((0, 2, 2)))


@cache
def _detector(dictionary: str) -> cv2.aruco.ArucoDetector:
    number = getattr(cv2.aruco, dictionary, None)
    if number is None or not dictionary.startswith("DICT_"):
        raise InputError(f"marks.dictionary: {dictionary!r} is not a dictionary of cv2.aruco")
    parameters = cv2.aruco.DetectorParameters()
    parameters.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_NONE
    parameters.adaptiveThreshWinSizeMin, parameters.adaptiveThreshWinSizeMax = 5, 45
    parameters.adaptiveThreshWinSizeStep = 8
    parameters.minMarkerDistanceRate = 0.04  # the rim of a label on a dark table is near its tag
    parameters.perspectiveRemoveIgnoredMarginPerCell = 0.3  # read the middle of blurred modules
    return cv2.aruco.ArucoDetector(cv2.aruco.getPredefinedDictionary(number), parameters)


@cache
def _pattern(dictionary: str, tag: int) -> np.ndarray:
    """The black (0) and white (1) modules of a tag with its border, as (m, m)."""
    book = _detector(dictionary).getDictionary()
    modules = book.markerSize + 2
    return (cv2.aruco.generateImageMarker(book, int(tag), modules) > 127).astype(np.uint8)


def find_tags(
    luma: np.ndarray, dictionary: str, *, enlarge: int = 1, wanted: Sequence[int] = (),
) -> Tags:
    """Every tag of a dictionary in a picture, each id once, with centres from refitted sides.

    Small tags (modules of 4 px and less) are found more surely in an enlarged picture. Of tags
    that are known to be there, the `wanted`, a few modules may be unreadable, for glare.
    """
    seen = luma
    if enlarge > 1:
        seen = cv2.resize(luma, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
    corners, ids, others = _detector(dictionary).detectMarkers(seen)
    ids = np.ravel([] if ids is None else ids).astype(int)
    missing = [tag for tag in wanted if tag not in ids]
    quads = np.reshape(np.array([*corners, *(others if missing else ())], float), (-1, 4, 2))
    quads = (quads + 0.5) / enlarge - 0.5
    if missing:
        again, place = _read_poorly(luma, quads[len(ids) :], missing, dictionary)
        ids, quads = np.concatenate([ids, again]), np.concatenate([quads[: len(ids)], place])
    if not len(ids):
        return _NO_TAGS
    largest = {}
    for k in np.argsort([cv2.contourArea(q.astype(np.float32)) for q in quads]):
        largest[ids[k]] = k
    keep = np.array(sorted(largest.values()))
    return refit_tags(luma, ids[keep], quads[keep])


def _read_poorly(
    luma: np.ndarray, quads: np.ndarray, wanted: list[int], dictionary: str
) -> tuple[np.ndarray, np.ndarray]:
    """Which of the `wanted` tags some squares (n, 4, 2) are, and their corners as the tags' own."""
    ids, place = [], []
    for quad in quads:
        for turned in (np.roll(quad, -k, axis=0) for k in range(4)):
            read = [tag for tag in wanted if reads_as(luma, turned, _pattern(dictionary, tag))]
            ids, place = ids + read, place + [turned] * len(read)
    return np.array(ids, int), np.reshape(place, (-1, 4, 2))


def dictionary_in(luma: np.ndarray, expected: str) -> str | None:
    """The dictionary of the tags in a picture: the expected one, or another; None without tags.

    Raises InputError when the tags are there, but mirrored: they then read as no tag at all.
    """
    if len(find_tags(luma, expected, enlarge=2).ids):
        return expected
    turned_over = np.ascontiguousarray(luma[:, ::-1])
    for name in (expected, *DICTIONARIES):
        if len(find_tags(luma, name).ids) >= ENOUGH:
            return name
        if len(find_tags(turned_over, name).ids) >= ENOUGH:
            raise InputError(
                "the picture is mirrored: its tags can be read in a mirror only; switch the "
                "mirroring of the (front) camera off, or flip the video back"
            )
    return None


def follow_tags(luma: np.ndarray, ids: np.ndarray, guess_px: np.ndarray, dictionary: str) -> Tags:
    """Tags near where they are expected: sides refitted, then their pattern read again.

    A tag that is covered, or whose modules do not read as its own, is left out.
    """
    tags = refit_tags(luma, ids, guess_px)
    good = [
        k for k in range(len(tags.ids))
        if reads_as(luma, tags.corner_px[k], _pattern(dictionary, int(tags.ids[k])))
    ]
    return Tags(tags.ids[good], tags.corner_px[good], tags.centre_px[good],
                tags.covariance_px[good])


def refit_tags(luma: np.ndarray, ids: np.ndarray, guess_px: np.ndarray) -> Tags:
    """Corners as the meeting points of the four fitted sides; tags without four sides left out."""
    ids, guess_px = np.asarray(ids), np.ascontiguousarray(guess_px, float)
    if not len(ids):
        return _NO_TAGS
    corner, centre, variance = fit_tags(luma, guess_px)
    good = np.isfinite(variance)
    covariance = variance[good, None, None] * np.eye(2)
    return Tags(ids[good], corner[good], centre[good], covariance)


class TagFollower:
    """The tags of a clip, frame by frame: each is found once and then followed by its edges."""

    def __init__(self, dictionary: str, wanted: Sequence[int] = ()):
        self.dictionary, self.wanted = dictionary, wanted
        self._corner: dict[int, np.ndarray] = {}
        self._picture: dict[int, np.ndarray] = {}
        self._unseen: dict[int, int] = {}
        self._frames = 0

    def observe(self, luma: np.ndarray) -> Tags:
        """The tags of the next picture."""
        if self._frames in (0, 15, 60, 150, 300) or not self._corner:
            both = [find_tags(luma, self.dictionary, wanted=self.wanted)]
            if self._frames == 0 or len(both[0].ids) < len(self._corner):
                both.append(find_tags(luma, self.dictionary, enlarge=2, wanted=self.wanted))
            for tags in both:
                for tag, corner in zip(tags.ids, tags.corner_px, strict=True):
                    self._corner.setdefault(int(tag), corner)
        self._frames += 1
        ids = np.array(sorted(self._corner), int)
        if not len(ids):
            return _NO_TAGS
        guess = np.array([self._corner[i] for i in ids])
        tags = follow_tags(luma, ids, guess, self.dictionary)
        if len(tags.ids) < len(ids):
            tags = _joined([tags, self._look_nearby(luma, _others(ids, tags))])
        if len(tags.ids) < len(ids):
            again = [self._look_again(luma, int(tag)) for tag in _others(ids, tags)]
            tags = _joined([tags, *again])
        self._remember(luma, tags)
        return tags

    def _look_nearby(self, luma: np.ndarray, ids: np.ndarray) -> Tags:
        """Tags that moved by more than their edges tell: shaken, for example."""
        guess = {}
        for tag in ids.tolist():
            picture = self._picture.get(tag)
            if picture is None or self._unseen.get(tag, 0) > 5:
                continue
            low, _ = _box(self._corner[tag], 0.1, luma.shape)
            start = np.maximum(low - NEARBY_PX, 0)
            end = low + picture.shape[::-1] + NEARBY_PX
            window = luma[start[1] : end[1], start[0] : end[0]]
            if window.shape[0] < picture.shape[0] or window.shape[1] < picture.shape[1]:
                continue
            match = cv2.matchTemplate(window, picture, cv2.TM_CCOEFF_NORMED)
            _, best, _, place = cv2.minMaxLoc(match)
            if best > ALIKE:
                guess[tag] = self._corner[tag] + (start + place - low)
        return follow_tags(luma, np.array(list(guess), int), np.array(list(guess.values())),
                           self.dictionary)

    def _remember(self, luma: np.ndarray, tags: Tags) -> None:
        for tag in self._corner:
            self._unseen[tag] = self._unseen.get(tag, 0) + 1
        for tag, corner in zip(tags.ids, tags.corner_px, strict=True):
            self._corner[int(tag)], self._unseen[int(tag)] = corner, 0
            if self._frames % 8 == 1 or int(tag) not in self._picture:
                low, high = _box(corner, 0.1, luma.shape)
                self._picture[int(tag)] = luma[low[1] : high[1], low[0] : high[0]].copy()

    def _look_again(self, luma: np.ndarray, tag: int) -> Tags:
        """A tag that jumped: match its picture around its last place, else read it anew."""
        unseen = self._unseen.get(tag, 0)
        if unseen > 5 and unseen % 5:  # covered by a hand, most likely: look now and then
            return _NO_TAGS
        corner, picture = self._corner[tag], self._picture.get(tag)
        low, high = _box(corner, 0.8 + 0.2 * min(unseen, 5), luma.shape)
        window = luma[low[1] : high[1], low[0] : high[0]]
        if picture is not None and np.all(np.array(window.shape) >= picture.shape):
            match = cv2.matchTemplate(window, picture, cv2.TM_CCOEFF_NORMED)
            _, best, _, place = cv2.minMaxLoc(match)
            if best > ALIKE:
                last, _ = _box(corner, 0.1, luma.shape)
                moved = corner + (low + place - last)
                again = follow_tags(luma, np.array([tag]), moved[None], self.dictionary)
                if len(again.ids):
                    return again
        if min(window.shape) < 16:
            return _NO_TAGS
        small = np.ptp(corner, axis=0).max() < 48
        near = find_tags(np.ascontiguousarray(window), self.dictionary, enlarge=2 if small else 1)
        keep = near.ids == tag
        return Tags(near.ids[keep], near.corner_px[keep] + low, near.centre_px[keep] + low,
                    near.covariance_px[keep])


def _others(ids: np.ndarray, seen: Tags) -> np.ndarray:
    return ids[~np.isin(ids, seen.ids)]


def _joined(parts: list[Tags]) -> Tags:
    return Tags(*(np.concatenate([getattr(part, name) for part in parts])
                  for name in ("ids", "corner_px", "centre_px", "covariance_px")))


def _box(corner: np.ndarray, margin: float, shape: tuple[int, ...]):
    """Corners (x, y) of the window around a tag, `margin` tag sizes wider on each side."""
    size = np.ptp(corner, axis=0).max()
    low = np.maximum(np.floor(corner.min(0) - margin * size), 0).astype(int)
    high = np.ceil(corner.max(0) + margin * size).astype(int) + 1
    return low, np.minimum(high, [shape[1], shape[0]])
