"""How evenly a rigid ruler opens, and where in shaking, speed and friction it does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from rulerlab.chain.ruler import RulerModel, pull, shaken
from rulerlab.records import LoadCurve, Motion

EVEN = 0.5  # coefficient of variation below which a ruler counts as evenly open


def opening(motion: Motion) -> LoadCurve:
    """How far each section opened between the first and the last frame, in mm.

    The section in the hand is left out.
    """
    extension = motion.extension_mm()
    loads = (extension[-1] - extension[0])[:-1]
    return LoadCurve.from_loads(loads, np.zeros((len(loads),) * 2), "ruler")


def unevenness(loads: np.ndarray, *, per: str = "fold") -> float:
    """Coefficient of variation of what opened: 0 when all open alike.

    `per` "section", or "fold": two neighbouring sections, the gap between hinges of one side that
    a photograph shows; half sections at the ends then count as a whole fold's share only if they
    stand next to each other, so an odd section at the end is left out.
    """
    if per == "fold":
        loads = loads[: len(loads) // 2 * 2].reshape(-1, 2).sum(axis=1)
    return float(np.std(loads) / np.mean(loads))


@dataclass(frozen=True)
class OpeningMap:
    """Unevenness of the folds over shaking and pulling speed, for some frictions."""

    shake_mm: np.ndarray  # (S,) standard deviation of the board
    speed_mm_s: np.ndarray  # (V,)
    friction: np.ndarray  # (F,) multiple of the model's hinge and table friction
    fold: np.ndarray  # (F, V, S) mean over repeats
    section: np.ndarray  # (F, V, S)
    fold_spread: np.ndarray  # (F, V, S) standard deviation between repeats

    def even(self) -> np.ndarray:
        """Where the folds open evenly on average, (F, V, S)."""
        return self.fold < EVEN


def opening_map(
    model: RulerModel,
    *,
    shake_mm: tuple[float, ...] = (0.0, 0.3, 0.6, 1.0, 1.5, 2.5),
    speed_mm_s: tuple[float, ...] = (40.0, 150.0, 600.0),
    friction: tuple[float, ...] = (0.3, 1.0),
    pull_mm: float = 300.0,
    frequency_hz: float = 20.0,
    repeats: int = 4,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> OpeningMap:
    """Pull a folded ruler over a shaken board under all these conditions.

    `friction` multiplies the friction of hinges and table together.
    """
    shape = (len(friction), len(speed_mm_s), len(shake_mm))
    found = np.empty((2, *shape, repeats))
    for done, (f, v, s) in enumerate(np.ndindex(*shape), 1):
        ruler = replace(
            model, hinge_friction_Nm=tuple(friction[f] * np.array(model.hinge_friction_Nm)),
            table_friction_N=tuple(friction[f] * np.array(model.table_friction_N)),
        )  # fmt: skip
        for r in range(repeats):
            hand = shaken(pull_mm, speed_mm_s[v], shake_mm[s], frequency_hz=frequency_hz,
                          seed=seed + r)  # fmt: skip
            loads = opening(pull(ruler, ruler.folded(), hand)).loads
            found[:, f, v, s, r] = [unevenness(loads, per=per) for per in ("fold", "section")]
        if progress is not None:
            progress(done / np.prod(shape))
    return OpeningMap(
        np.array(shake_mm), np.array(speed_mm_s), np.array(friction), found[0].mean(axis=-1),
        found[1].mean(axis=-1), found[0].std(axis=-1),
    )  # fmt: skip
