"""What is filmed: a rig, its marks, the paper, the light and the camera, as one value.

World frame: mm, z = 0 is the paper, x along the pull, y up in the picture, z to the camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rulerlab.camera import Camera
from rulerlab.errors import UsageError

RULER_HALF_MM, BLOCKS_HALF_MM = (186.0, 104.0), (255.0, 140.0)  # reference marks, half spacing
STICK_WIDTH_MM, STICK_THICK_MM, DOT_RADIUS_MM = 8.4, 1.6, 3.8
BLOCK_MM, REST_GAP_MM, RAIL_HALF_MM = (26.0, 30.0), 22.0, 9.0
WALL_MM, BLOCK_TOP_MM, WALL_TOP_MM = (20.0, 42.0), 19.2, 22.0
REFERENCE_TAGS = (40, 41, 42, 43)
DICTIONARY = "DICT_4X4_50"
COLOURS_BGR = {
    "red": (24, 20, 200), "green": (46, 158, 16), "blue": (212, 62, 18), "yellow": (20, 205, 235),
    "orange": (20, 110, 240), "magenta": (160, 20, 200),
}  # fmt: skip
WOODS_BGR = {  # of the sticks
    "pale": np.array([112.0, 172, 214]), "dark": np.array([46.0, 82, 128]),
    "yellow": np.array([40.0, 190, 232]), "grey": np.array([128.0, 126, 124]),
}  # fmt: skip
CHOICES = {
    "wood": tuple(WOODS_BGR),
    "rig": ("ruler", "blocks"),
    "marks": ("dots", "tags", "none"),
    "opening": ("pulled_end", "even"),
    "references": ("crosses", "tags", "none"),
    "hand": ("holds", "covers", "none"),
}


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A film to be made. Same scene, same film, to the last bit of the noise."""

    rig: str = "ruler"
    marks: str = "dots"
    colours: tuple[str, ...] = ("red",)  # of the dots, alternating along the chain
    contrast: float = 1.0  # of the dots or tags against what lies under them, 0..1
    full_sections: int = 8  # ruler: between the two half sections; even
    section_mm: float = 104.0
    wood: str = "pale"  # of the sticks: what they look like
    fold_mm: float | None = None  # ruler at rest: advance per full section; None: by the marks
    blocks: int = 7
    opening: str = "pulled_end"  # slow pull (load near the hand), or evenly shared
    jerks: int = 0  # the pull comes in so many jerks; 0: at constant speed
    pull_mm: float = 150.0
    shaking_mm: float = 0.0  # rms of the board's motion under the camera (4 to 8 Hz)
    rattle_mm: float = 0.0  # rms of each block's own motion
    handheld: float = 0.0  # 1: as steady as a hand can hold a phone
    tilt_deg: tuple[float, float] = (2.0, -3.0)  # camera turned about x and y of the board
    distortion: tuple[float, ...] = (-0.01, 0.003, 0.0001, -0.0001, 0.0)
    size_px: tuple[int, int] = (1280, 720)
    fps: float = 30.0
    seconds: float = 4.0
    exposure_s: float = 0.004
    psf_px: float = 0.7  # sigma of the lens and sensor blur
    noise: float = 2.0  # rms grey levels (of 255) of a mid-grey pixel
    light: float = 1.0
    unevenness: float = 0.15  # of the light, from left to right
    shadows: bool = True
    references: str = "crosses"
    hand: str = "holds"  # "covers": the fingers hide the pulled end for a while
    passes: int = 0  # times a second hand sweeps across the chain
    variable_rate: bool = False  # jitter and missing frames, as phones film
    dropped: tuple[int, ...] = ()  # frames that never reach the file
    duplicated: tuple[int, ...] = ()  # frames that show the picture before them
    ghosted: tuple[int, ...] = ()  # frames blended with the picture before them
    bitrate_kbps: int = 2500
    seed: int = 0

    def __post_init__(self):
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise UsageError(
                    f"{name} is {getattr(self, name)!r}, expected one of {', '.join(allowed)}"
                )
        unknown = set(self.colours) - set(COLOURS_BGR)
        if unknown or not self.colours:
            raise UsageError(f"colours {sorted(unknown)} unknown; take {', '.join(COLOURS_BGR)}")
        if self.rig == "blocks" and self.marks == "none":
            raise UsageError("blocks carry dots or tags; bare marks ('none') are for the ruler")
        if self.full_sections < 2 or self.full_sections % 2:
            raise UsageError(f"full_sections is {self.full_sections}; a zig-zag takes 2, 4, 6, ...")
        if not 1 <= self.blocks <= 20:
            raise UsageError(f"blocks is {self.blocks}, expected 1 to 20")
        if self.seconds * self.fps < 2:
            raise UsageError(f"{self.seconds} s at {self.fps} frames/s is less than two frames")
        if {0} & {*self.dropped, *self.duplicated, *self.ghosted}:
            raise UsageError("frame 0 can't be dropped, duplicated or ghosted")
        if self.size_px[0] % 2 or self.size_px[1] % 2:
            raise UsageError(f"size_px {self.size_px} must be even for H.264")

    @property
    def points(self) -> int:
        return self.full_sections + 4 if self.rig == "ruler" else self.blocks + 1

    @property
    def sections_mm(self) -> np.ndarray:
        """Rigid lengths, held end first: half, full sections, half, the one in the hand."""
        full, half = self.section_mm, self.section_mm / 2
        return np.array([half, *[full] * self.full_sections, half, 1.15 * full])

    @property
    def fold(self) -> float:
        """Advance of a folded full section along the pull, mm; tags need more room."""
        if self.fold_mm is not None:
            return self.fold_mm
        return 14.0 if self.marks == "tags" else 7.5

    @property
    def heights_mm(self) -> np.ndarray:
        """Height of each point's mark above the paper, (P,)."""
        if self.rig == "ruler":
            return np.full(self.points, 2 * STICK_THICK_MM + 0.2)
        return np.array([WALL_TOP_MM + 0.2] + [BLOCK_TOP_MM + 0.2] * self.blocks)

    @property
    def tag_mm(self) -> float:
        """Black side of the tags on the rig."""
        return 10.0 if self.rig == "ruler" else 15.0

    @property
    def reference_mm(self) -> np.ndarray:
        """Centres of the reference marks, (4, 2), left to right below, then back above."""
        x, y = RULER_HALF_MM if self.rig == "ruler" else BLOCKS_HALF_MM
        if self.references == "none":
            return np.zeros((0, 2))
        return np.array([[-x, -y], [x, -y], [x, y], [-x, y]])

    @property
    def camera(self) -> Camera:
        """A lens a little longer than a phone's, its axis a few pixels off the middle."""
        width, height = self.size_px
        focal = 1.42 * width
        matrix = np.array(
            [[focal, 0, width / 2 + 2.3], [0, focal * 0.999, height / 2 - 3.1], [0, 0, 1.0]]
        )
        return Camera(self.size_px, matrix, np.array(self.distortion))

    @property
    def view_mm(self) -> float:
        """Width of the board that fills the picture."""
        return 2.5 * RULER_HALF_MM[0] if self.rig == "ruler" else 2.45 * BLOCKS_HALF_MM[0]

    def dot_bgr(self, point: int) -> np.ndarray:
        """Colour of a dot, faded towards white paper by a contrast below 1."""
        full = np.array(COLOURS_BGR[self.colours[point % len(self.colours)]], float)
        return 205 + self.contrast * (full - 205)

    def rig_toml(self, camera_file: str) -> str:
        """All that a careful student would write into rig.toml."""
        lines = [f'kind = "{self.rig}"', f"points = {self.points}", 'pull = "right"', "", "[marks]"]
        lines += [f'kind = "{self.marks}"', f"height_mm = {_row(self.heights_mm)}"]
        if self.marks == "dots":
            lines.append("colours = [" + ", ".join(f'"{name}"' for name in self.colours) + "]")
        elif self.marks == "tags":
            on = "sections" if self.rig == "ruler" else "points"
            count = self.points - (self.rig == "ruler")
            lines += [f'dictionary = "{DICTIONARY}"', f"ids = {list(range(count))}", f'on = "{on}"']
            if self.rig == "ruler":
                lines.append(f"along_mm = {_row(self.sections_mm / 2)}")
        lines += ["", "[reference]"]
        corners = [f"[{x:.1f}, {y:.1f}]" for x, y in self.reference_mm]
        if self.references == "crosses":
            lines.append(f"crosses_mm = [{', '.join(corners)}]")
        elif self.references == "tags":
            pairs = zip(REFERENCE_TAGS, corners, strict=True)
            lines.append("tags_mm = { " + ", ".join(f"{t} = {c}" for t, c in pairs) + " }")
            lines.append("tag_size_mm = 24.0")
        else:
            lines.append("grid_mm = 5.0")
        if self.rig == "ruler":
            lines += ["", "[ruler]", f"sections_mm = {_row(self.sections_mm)}"]
        else:
            lines += ["", "[blocks]", f"rest_gap_mm = {REST_GAP_MM}", f"width_mm = {BLOCK_MM[0]}"]
        return "\n".join([*lines, "", "[camera]", f'calibration = "{camera_file}"', ""])


def _row(numbers: np.ndarray) -> str:
    return "[" + ", ".join(f"{value:.2f}" for value in numbers) + "]"
