"""rig.toml: what is known of the apparatus. Everything in it may be left out."""

from __future__ import annotations

import difflib
import math
import tomllib
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from rulerlab.errors import InputError

DIRECTIONS = {"right": (1, 0), "left": (-1, 0), "up": (0, -1), "down": (0, 1)}
Numbers = tuple[float, ...]


@dataclass(frozen=True)
class Marks:
    """What is tracked: coloured dots, ArUco tags, or bare sticks."""

    kind: str | None = None  # "dots", "tags", "none"; None: found
    colours: tuple[str, ...] = ()
    dictionary: str = "DICT_4X4_50"
    ids: tuple[int, ...] = ()
    on: str | None = None  # "points" or "sections"; None: points for blocks, sections for rulers
    along_mm: Numbers = ()
    height_mm: Numbers = ()  # one number, or one per point


@dataclass(frozen=True)
class Reference:
    """What fixes scale and perspective; coordinates in the rig frame, mm."""

    crosses_mm: tuple[tuple[float, float], ...] = ()
    tags_mm: dict[int, tuple[float, float]] = field(default_factory=dict)
    tag_size_mm: float | None = None
    grid_mm: float | None = None
    target: str | None = None  # .toml of a printed sheet, whose bars were measured; existing path
    scale_sigma: float = 0.0  # relative error that all these lengths share


@dataclass(frozen=True)
class Ruler:
    """Known lengths of a folding ruler, held end first."""

    sections_mm: Numbers = ()
    pull_section: bool = True


@dataclass(frozen=True)
class Blocks:
    """Known masses and springs of a spring-block chain, held end first."""

    mass_kg: Numbers = ()
    stiffness_N_per_m: Numbers = ()
    rest_gap_mm: float | None = None
    width_mm: float | None = None


@dataclass(frozen=True)
class CameraOfRig:
    """Where the calibration of the camera lies, as an existing path."""

    calibration: str | None = None


@dataclass(frozen=True)
class Rig:
    """One apparatus; an empty Rig knows nothing and leaves everything to be found."""

    kind: str | None = None  # "ruler" or "blocks"; None: found
    points: int | None = None
    pull: str | None = None  # one of DIRECTIONS, in the picture; None: found from the motion
    marks: Marks = Marks()
    reference: Reference = Reference()
    ruler: Ruler = Ruler()
    blocks: Blocks = Blocks()
    camera: CameraOfRig = CameraOfRig()

    def as_dict(self) -> dict[str, Any]:
        """Plain values for run.json."""
        return asdict(self)


TABLES = {"marks": Marks, "reference": Reference, "ruler": Ruler, "blocks": Blocks,
          "camera": CameraOfRig}
CHOICES = {
    "kind": ("ruler", "blocks"),
    "pull": tuple(DIRECTIONS),
    "marks.kind": ("dots", "tags", "none"),
    "marks.on": ("points", "sections"),
}
NUMBER_LISTS = ("height_mm", "along_mm", "sections_mm", "mass_kg", "stiffness_N_per_m")
POSITIVE = ("tag_size_mm", "grid_mm", "rest_gap_mm", "width_mm")


def read_toml(path: Path | str) -> dict[str, Any]:
    """The tables of a TOML file. Raises InputError when it can't be read or is none."""
    try:
        with open(path, "rb") as handle:
            return tomllib.load(handle)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not a TOML file: {error}") from None


def rig_beside(video: Path) -> Path | None:
    """VIDEO.rig.toml or rig.toml in the folder of a video; None without either."""
    beside = [video.with_name(video.stem + ".rig.toml"), video.with_name("rig.toml")]
    return next((path for path in beside if path.is_file()), None)


def read_rig(path: Path | str) -> Rig:
    """Read rig.toml; the camera's calibration is looked for beside it.

    Raises InputError, naming the key and the nearest known one, for anything unknown or wrong.
    """
    path = Path(path)
    data = read_toml(path)
    try:
        rig = rig_from_dict(data)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    if rig.camera.calibration:
        camera = path.parent / rig.camera.calibration
        if not camera.is_file():
            raise InputError(f"{path}: camera.calibration: {camera} does not exist")
        rig = replace(rig, camera=CameraOfRig(str(camera)))
    if rig.reference.target:
        sheet = path.parent / rig.reference.target
        try:
            rig = replace(rig, reference=_printed(rig.reference, sheet))
            _check_sizes(rig)
        except InputError as error:
            raise InputError(f"{path}: reference.target: {error}") from None
    return rig


def _printed(reference: Reference, sheet: Path) -> Reference:
    """The reference with the sizes, and their error, of a sheet that `rulerlab print` measured."""
    data = read_toml(sheet)
    printed, sizes = data.get("printed"), data.get("reference", {})
    if not isinstance(printed, dict) or "scale_sigma" not in printed:
        raise InputError(
            f"{sheet} has no [printed]: measure the bars of the sheet, then "
            f"rulerlab print --target {sheet} --measured X Y"
        )
    found = {
        key: _value(f"reference.{key}", sizes[key])
        for key in ("crosses_mm", "tag_size_mm") if key in sizes and not getattr(reference, key)
    }
    sigma = reference.scale_sigma or _value("reference.scale_sigma", printed["scale_sigma"])
    return replace(reference, target=str(sheet), scale_sigma=sigma, **found)


def rig_from_dict(data: dict[str, Any]) -> Rig:
    """The Rig that the tables of a rig.toml describe. Raises InputError."""
    values: dict[str, Any] = {}
    _check_keys(data, [f.name for f in fields(Rig)], "")
    for key, value in data.items():
        values[key] = _table(key, value) if key in TABLES else _value(key, value)
    rig = Rig(**values)
    _check_sizes(rig)
    return rig


def rig_of_run(stored: dict[str, Any]) -> Rig:
    """The Rig that run.json keeps (`Rig.as_dict`): what was left out stands there as null."""
    kept = {}
    for key, value in stored.items():
        if isinstance(value, dict):
            value = {name: item for name, item in value.items() if item not in (None, [], {})}
        if value not in (None, {}):
            kept[key] = value
    return rig_from_dict(kept)


def _check_keys(data: dict[str, Any], known: list[str], table: str) -> None:
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, 1, 0.5)
            hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
            where = f" in [{table}]" if table else ""
            raise InputError(f"unknown key {key!r}{where}{hint}")


def _table(name: str, data: Any) -> Any:
    if not isinstance(data, dict):
        raise InputError(f"{name} must be a table [{name}], got {data!r}")
    kind = TABLES[name]
    _check_keys(data, [f.name for f in fields(kind)], name)
    return kind(**{key: _value(f"{name}.{key}", value) for key, value in data.items()})


def _value(name: str, value: Any) -> Any:
    """One checked value, in the type that the records hold."""
    key = name.split(".")[-1]
    try:
        if name in CHOICES:
            if value not in CHOICES[name]:
                raise ValueError(f"must be one of {', '.join(CHOICES[name])}")
            return value
        if name == "points":
            if not isinstance(value, int) or isinstance(value, bool) or value < 2:
                raise ValueError("must be a whole number of at least 2")
            return value
        if key in NUMBER_LISTS:
            numbers = tuple(float(v) for v in (value if isinstance(value, list) else [value]))
            if not numbers:
                raise ValueError("must hold a number; leave the key out if none is known")
            if not all(math.isfinite(number) for number in numbers):
                raise ValueError("must be finite")
            if key in ("sections_mm", "mass_kg", "stiffness_N_per_m") and min(numbers) <= 0:
                raise ValueError("must be above zero")
            return numbers
        if key in POSITIVE:
            if not 0 < float(value) < math.inf:
                raise ValueError("must be above zero")
            return float(value)
        if key == "scale_sigma":
            if not 0 <= float(value) < math.inf:
                raise ValueError("must not be negative")
            return float(value)
        if key == "ids":
            return tuple(int(v) for v in value)
        if key == "colours":
            return tuple(str(v) for v in (value if isinstance(value, list) else [value]))
        if key == "crosses_mm":
            return tuple((float(x), float(y)) for x, y in value)
        if key == "tags_mm":
            return {int(tag): (float(x), float(y)) for tag, (x, y) in value.items()}
        if key == "pull_section":
            if not isinstance(value, bool):
                raise ValueError("must be true or false")
            return value
        return str(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{name} = {value!r}: {error}") from None


def _check_sizes(rig: Rig) -> None:
    """Lists must have one number, or as many as the rig has points, sections or blocks."""
    if 0 < len(rig.reference.crosses_mm) < 4:
        raise InputError(
            f"reference.crosses_mm has {len(rig.reference.crosses_mm)} crosses, needs 4 or more"
        )
    if rig.points is None:
        return
    for name, numbers, count in (
        ("marks.height_mm", rig.marks.height_mm, rig.points),
        ("marks.along_mm", rig.marks.along_mm, rig.points - 1),
        ("ruler.sections_mm", rig.ruler.sections_mm, rig.points - 1),
        ("blocks.mass_kg", rig.blocks.mass_kg, rig.points - 1),
        ("blocks.stiffness_N_per_m", rig.blocks.stiffness_N_per_m, rig.points - 1),
    ):
        on_sections = name == "marks.height_mm" and len(numbers) == rig.points - 1
        if len(numbers) > 1 and len(numbers) != count and not on_sections:
            raise InputError(
                f"{name} has {len(numbers)} numbers, a rig of {rig.points} points needs {count}"
            )
