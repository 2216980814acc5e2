"""The rigid folding ruler: planar sections joined by hinges, pulled over a table.

Nothing in it stretches: friction in the hinges and under the sections is all that resists, and
inertia when it is pulled or shaken fast. Coulomb friction is taken implicitly: the angular
velocities of a step minimise

    1/2 (w - w0)' M (w - w0) + dt [ sum_j T_j |w_j - w_(j-1)| + sum_c F_c |v_c(w)| ]

under the condition that the last point follows the hand (Moreau's time stepping; w0 is free
flight). Without M this is the principle of least dissipation: the quasi-static ruler, whose path
does not depend on the speed. The minimum is found by reweighted least squares, in which |v| is
sqrt(v^2 + d^2) with a small creep velocity d.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rulerlab.chain.kernels import compiled, inner
from rulerlab.errors import QualityError, UsageError
from rulerlab.records import Motion

CONTACT = 1 / (2 * np.sqrt(3))  # two feet per section at this share of its length off the middle
CREEP_MM_S = 0.02
CREEP_RAD_S = 0.0005
QUIET_SHARE = 5e-4
ITERATIONS = 60
UNFINISHED = 0.2  # share of the fastest angular velocity that may be left to settle in a step


@dataclass(frozen=True)
class RulerModel:
    """N sections, held end first: the first turns about the anchor, the last is in the hand."""

    sections_mm: tuple[float, ...]  # (N,)
    mass_kg: tuple[float, ...]  # (N,)
    hinge_friction_Nm: tuple[float, ...]  # (N,) joint at the held side of each section
    table_friction_N: tuple[float, ...]  # (N,) of each section as a whole
    hinge_viscous_Nms: float = 0.0

    def __post_init__(self):
        count = len(self.sections_mm)
        for name in ("mass_kg", "hinge_friction_Nm", "table_friction_N"):
            if len(getattr(self, name)) != count:
                found = len(getattr(self, name))
                raise UsageError(f"{name} has {found} values for {count} sections")
        if count < 2 or min(self.sections_mm) <= 0 or min(self.mass_kg) <= 0:
            raise UsageError("a ruler needs at least two sections with lengths and masses above 0")
        if min(self.hinge_friction_Nm) < 0 or min(self.table_friction_N) < 0:
            raise UsageError("friction of hinges and table must be 0 or more")

    @classmethod
    def of_wood(
        cls,
        full_sections: int = 8,
        *,
        length_mm: float = 118.0,
        mass_kg: float = 0.0044,
        hinge_Nm: float = 0.0014,
        table_mu: float = 0.28,
    ) -> RulerModel:
        """Half a section, full sections, half a section, and one in the hand, as in the paper."""
        length = np.array([0.5, *np.ones(full_sections), 0.5, 1.2])
        hinge = np.full(len(length), hinge_Nm)
        hinge[0] /= 2
        return cls(tuple(length_mm * length), tuple(mass_kg * length), tuple(hinge),
                   tuple(table_mu * 9.81 * mass_kg * length))  # fmt: skip

    def folded(self, extension_mm: float = 8.0) -> np.ndarray:
        """Angles of a zigzag in which every section spans `extension_mm`; the last lies flat."""
        length = np.array(self.sections_mm)
        angle = np.arccos(np.minimum(extension_mm * length / length.max() / length, 1))
        angle *= np.where(np.arange(len(length)) % 2 == 0, 1, -1)
        angle[-1] = 0
        return angle


@dataclass(frozen=True)
class Hand:
    """Where the hand leads the last point, and where the board under the ruler moves."""

    time_s: np.ndarray  # (P,)
    offset_mm: np.ndarray  # (P, 2) of the hand from its start, in the room
    board_mm: np.ndarray | None = None  # (P, 2) of the board in the room

    def __post_init__(self):
        for name in ("offset_mm", "board_mm"):
            values = getattr(self, name)
            if values is not None and np.shape(values) != (len(self.time_s), 2):
                raise UsageError(f"{name} has shape {np.shape(values)}, one x, y per moment wanted")


def steady(pull_mm: float, speed_mm_s: float) -> Hand:
    """A straight pull to the right at constant speed."""
    return Hand(np.array([0, pull_mm / speed_mm_s]), np.array([[0.0, 0.0], [pull_mm, 0.0]]))


def jerky(pull_mm: float, speed_mm_s: float, jerk_mm: float, frequency_hz: float) -> Hand:
    """A pull with jerks jerk_mm |sin(pi frequency t)| on top, faded out over the last tenth."""
    duration = pull_mm / speed_mm_s
    time = np.arange(0, duration, 0.001)
    fade = np.minimum(1, (duration - time) / (0.1 * duration))
    along = speed_mm_s * time + jerk_mm * fade * np.abs(np.sin(np.pi * frequency_hz * time))
    return Hand(time, np.stack([along, np.zeros(len(time))], axis=1))


def shaken(
    pull_mm: float, speed_mm_s: float, shake_mm: float, *, frequency_hz: float = 20.0, seed: int = 0
) -> Hand:
    """A pull at constant mean speed while the board shakes in both directions.

    `shake_mm` is the standard deviation of the board's position; its motion is a band of an octave
    around the frequency, faded in and out over a tenth of the pull.
    """
    duration, rng = pull_mm / speed_mm_s, np.random.default_rng(seed)
    time = np.arange(0, duration, 0.001)
    spectrum = np.fft.rfftfreq(len(time), 0.001)
    inside = (spectrum > frequency_hz / np.sqrt(2)) & (spectrum < frequency_hz * np.sqrt(2))
    if not inside.any():
        raise UsageError(f"a pull of {duration:.2g} s is too short to shake at {frequency_hz:g} Hz")
    board = np.zeros((len(time), 2))
    for axis in range(2):
        phase = np.exp(2j * np.pi * rng.random(len(spectrum))) * inside
        board[:, axis] = np.fft.irfft(phase, len(time))
    fade = np.clip(np.minimum(time, duration - time) / (0.1 * duration), 0, 1)
    board *= shake_mm / board.std(axis=0) * fade[:, None]
    offset = np.stack([speed_mm_s * time, np.zeros(len(time))], axis=1)
    return Hand(time, offset, board)


@inner
def _solve(matrix, right, count):
    """Solve matrix x = right in place by Cholesky; right (count, 3)."""
    for i in range(count):
        for j in range(i + 1):
            total = matrix[i, j]
            for k in range(j):
                total -= matrix[i, k] * matrix[j, k]
            matrix[i, j] = np.sqrt(total) if i == j else total / matrix[j, j]
    for column in range(right.shape[1]):
        for i in range(count):
            for k in range(i):
                right[i, column] -= matrix[i, k] * right[k, column]
            right[i, column] /= matrix[i, i]
        for i in range(count - 1, -1, -1):
            for k in range(i + 1, count):
                right[i, column] -= matrix[k, i] * right[k, column]
            right[i, column] /= matrix[i, i]


@inner
def _add_point(matrix, angle, length, section, along, weight):
    """Add weight |velocity|^2 of a point of a section to the quadratic form."""
    for a in range(section + 1):
        arm_a = along if a == section else length[a]
        for b in range(a + 1):
            arm_b = along if b == section else length[b]
            matrix[a, b] += weight * arm_a * arm_b * np.cos(angle[a] - angle[b])


@inner
def _velocity(angle, length, section, along, rate):
    x, y = 0.0, 0.0
    for a in range(section + 1):
        arm = along if a == section else length[a]
        x -= arm * rate[a] * np.sin(angle[a])
        y += arm * rate[a] * np.cos(angle[a])
    return x, y


class _Body(NamedTuple):
    """The ruler in metres, kilograms and newtons."""

    length: np.ndarray  # (N,)
    mass: np.ndarray  # (N,)
    hinge: np.ndarray  # (N,)
    table: np.ndarray  # (N,)
    viscous: float
    inertia: bool
    creep: np.ndarray  # (2,) m/s and rad/s


@inner
def _inertia(body, angle):
    """Mass matrix of the angles, lower triangle."""
    count = len(angle)
    matrix = np.zeros((count, count))
    for i in range(count):
        _add_point(matrix, angle, body.length, i, body.length[i] / 2, body.mass[i])
        matrix[i, i] += body.mass[i] * body.length[i] ** 2 / 12
    return matrix


@inner
def _momentum(body, matrix, angle, rate, push, dt):
    """Angular momenta after dt of free flight: M w less centrifugal and board forces."""
    count = len(angle)
    momentum = np.zeros(count)
    for a in range(count):
        for b in range(count):
            momentum[a] += (matrix[a, b] if b <= a else matrix[b, a]) * rate[b]
    for i in range(count):
        ax, ay = push[0], push[1]
        for a in range(i + 1):
            arm = body.length[a] / 2 if a == i else body.length[a]
            ax -= arm * rate[a] ** 2 * np.cos(angle[a])
            ay -= arm * rate[a] ** 2 * np.sin(angle[a])
        for a in range(i + 1):
            arm = body.length[a] / 2 if a == i else body.length[a]
            lever = ay * np.cos(angle[a]) - ax * np.sin(angle[a])
            momentum[a] -= dt * body.mass[i] * arm * lever
    return momentum


@inner
def _add_friction(matrix, body, angle, rate, dt):
    """Add dt times the friction of hinges and feet, as springs of the velocities at `rate`."""
    for i in range(len(angle)):
        turn = rate[i] - (rate[i - 1] if i else 0.0)
        weight = dt * (body.hinge[i] / np.sqrt(turn**2 + body.creep[1] ** 2) + body.viscous)
        matrix[i, i] += weight
        if i:
            matrix[i - 1, i - 1] += weight
            matrix[i, i - 1] -= weight
        for side in (-1, 1):
            along = body.length[i] * (0.5 + side * CONTACT)
            vx, vy = _velocity(angle, body.length, i, along, rate)
            slip = np.sqrt(vx**2 + vy**2 + body.creep[0] ** 2)
            _add_point(matrix, angle, body.length, i, along, dt * body.table[i] / 2 / slip)
        matrix[i, i] += 1e-13  # keeps a straight ruler without friction solvable


@inner
def _lever(body, angle, i):
    """Velocity of all points beyond section i per angular velocity of that section."""
    return -body.length[i] * np.sin(angle[i]), body.length[i] * np.cos(angle[i])


@inner
def _follow(new, matrix, momentum, body, angle, want):
    """Velocities of least cost for which the last point moves at `want`."""
    count = len(angle)
    right = np.empty((count, 3))
    for i in range(count):
        right[i, 0] = momentum[i]
        right[i, 1], right[i, 2] = _lever(body, angle, i)
    _solve(matrix, right, count)
    xx, xy, yy = 0.0, 0.0, 0.0
    rx, ry = want
    for i in range(count):
        along, across = _lever(body, angle, i)
        xx += along * right[i, 1]
        xy += along * right[i, 2]
        yy += across * right[i, 2]
        rx -= along * right[i, 0]
        ry -= across * right[i, 0]
    det = xx * yy - xy * xy
    px, py = (yy * rx - xy * ry) / det, (xx * ry - xy * rx) / det
    for i in range(count):
        new[i] = right[i, 0] + px * right[i, 1] + py * right[i, 2]


@compiled
def _motion(body, angle, grip, push, dt):
    """Angles after every step, (S+1, N), and the largest change that was left to settle."""
    steps, count = len(grip) - 1, len(angle)
    path = np.empty((steps + 1, count))
    path[0] = angle
    rate, new, worst = np.zeros(count), np.zeros(count), 0.0
    for s in range(steps):
        now = path[s]
        still, momentum = np.zeros((count, count)), np.zeros(count)
        if body.inertia:
            still = _inertia(body, now)
            momentum = _momentum(body, still, now, rate, push[s], dt)
        x, y = grip[s + 1, 0], grip[s + 1, 1]
        for i in range(count):
            x -= body.length[i] * np.cos(now[i])
            y -= body.length[i] * np.sin(now[i])
        left = 0.0
        for _ in range(ITERATIONS):
            matrix = still.copy()
            _add_friction(matrix, body, now, rate, dt)
            _follow(new, matrix, momentum, body, now, (x / dt, y / dt))
            change, size = 0.0, body.creep[1]
            for i in range(count):
                change, size = max(change, abs(new[i] - rate[i])), max(size, abs(new[i]))
                rate[i] = new[i]
            left = change / size
            if left < 1e-3:
                break
        worst = max(worst, left)
        for i in range(count):
            path[s + 1, i] = now[i] + dt * rate[i]
    return path, worst


def pull(
    model: RulerModel,
    angle_rad: np.ndarray,
    hand: Hand,
    *,
    inertia: bool = True,
    dt_s: float = 0.001,
    every: int = 20,
) -> Motion:
    """Pull a ruler that lies at rest with its sections at these angles; anchor at 0, 0.

    Returns anchor, hinges and grip in the frame of the board, (T, N+1, 2). Without `inertia` the
    quasi-static ruler: the same path at any speed.

    Raises QualityError if the hand wants to go farther than the ruler reaches.
    """
    steps = int(round(hand.time_s[-1] / dt_s))
    length = np.array(model.sections_mm) / 1000
    angle = np.array(angle_rad, float)
    if angle.shape != length.shape:
        raise UsageError(f"{len(angle)} angles for {len(length)} sections")
    time = np.arange(steps + 1) * dt_s
    offset, push = _sampled(hand, time)
    start = (length[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)).sum(axis=0)
    grip = start + offset / 1000
    reach = np.hypot(*grip.T).max()
    if reach > 0.999 * length.sum():
        raise QualityError(f"the hand goes to {1000 * reach:.0f} mm, the ruler reaches "
                           f"{1000 * length.sum():.0f} mm; pull less")  # fmt: skip
    body = _Body(
        length, np.array(model.mass_kg), np.array(model.hinge_friction_Nm),
        np.array(model.table_friction_N), model.hinge_viscous_Nms, inertia,
        _creep(model, hand, inertia),
    )  # fmt: skip
    path, worst = _motion(body, angle, grip, push / 1000, dt_s)
    if not np.isfinite(path).all():
        raise QualityError("the ruler flew apart; use a smaller time step")
    if worst > UNFINISHED:
        raise QualityError(f"friction is {100 * worst:.0f} % out of balance in the worst step; "
                           "use a smaller time step")  # fmt: skip
    kept = np.unique(np.append(np.arange(0, steps + 1, every), steps))
    joint = np.zeros((len(kept), len(length) + 1, 2))
    arms = 1000 * length[:, None] * np.stack([np.cos(path[kept]), np.sin(path[kept])], axis=-1)
    joint[:, 1:] = np.cumsum(arms, axis=1)
    return Motion(time[kept], joint, np.zeros((*joint.shape, 2)))


def _creep(model: RulerModel, hand: Hand, inertia: bool) -> np.ndarray:
    """Velocities in m/s and rad/s below which sticking creeps; a share of the hand's if quiet."""
    if inertia:
        return np.array([CREEP_MM_S / 1000, CREEP_RAD_S])
    speed = np.hypot(*(np.diff(hand.offset_mm, axis=0) / np.diff(hand.time_s)[:, None]).T).max()
    return QUIET_SHARE * speed * np.array([1 / 1000, 1 / max(model.sections_mm)])


def _sampled(hand: Hand, time: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Hand against board (S+1, 2) in mm, and acceleration of the board in mm/s^2."""

    def at(values):
        return np.stack([np.interp(time, hand.time_s, v) for v in np.transpose(values)], axis=1)

    offset = at(hand.offset_mm)
    if hand.board_mm is None:
        return offset, np.zeros_like(offset)
    board = at(hand.board_mm)
    speed = np.gradient(board, time, axis=0)
    return offset - (board - board[0]), np.gradient(speed, time, axis=0)
