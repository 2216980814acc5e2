"""Move chains: one into a `Motion`, or millions into their final profiles, in bounded memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np

from rulerlab.chain import kernels
from rulerlab.chain.drive import Drive
from rulerlab.chain.kernels import LANES, NOISE_ROWS, ROWS, Law, Tile, advance
from rulerlab.chain.model import ChainModel
from rulerlab.errors import UsageError
from rulerlab.records import LoadCurve, Motion

VARIED = (
    "stiffness", "friction_right", "friction_left", "noise", "common_noise", "mass", "damping",
)
PAGE, THIRD_OF_PAGE = 4096, 1408
LANE_STEPS = 200_000_000
COMMON_STREAM = 2**40  # a block number that no block has


def _scramble(word: np.ndarray) -> np.ndarray:
    """Finaliser of SplitMix64 (Steele et al. 2014) on uint64 arrays."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


def streams(seed: int, chain: np.ndarray, block: np.ndarray) -> np.ndarray:
    """First state of the stream of each (chain, block), (4, N) uint32; the key is all it needs."""
    golden = np.uint64(0x9E3779B97F4A7C15)
    key = _scramble(np.array([seed], np.uint64) + golden)
    key = _scramble(key ^ (np.asarray(chain, np.uint64) * golden + golden))
    key = _scramble(key ^ (np.asarray(block, np.uint64) * np.uint64(0xD1342543DE82EF95) + golden))
    more = _scramble(key + golden)
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    return np.stack([key & low, key >> shift, more & low, more >> shift]).astype(np.uint32)


def aligned(size: int, kind: type) -> np.ndarray:
    """Zeros that start on a cache line: whole vectors then load in one go."""
    room = np.zeros(size * np.dtype(kind).itemsize + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size * np.dtype(kind).itemsize].view(kind)


def apart(sizes: tuple[int, ...], kind: type) -> list[np.ndarray]:
    """Arrays of zeros in one block, a third of a page apart from each other.

    The loops walk through them side by side; a store that ends in the same place of its page as
    the next load would hold that load up.
    """
    item, starts, free = np.dtype(kind).itemsize, [], 0
    for number, size in enumerate(sizes):
        place = number * THIRD_OF_PAGE % PAGE
        free += (place - free) % PAGE
        starts.append(free // item)
        free += size * item
    block = aligned(free // item, kind)
    return [block[start : start + size] for start, size in zip(starts, sizes, strict=True)]


def chunked(rows: np.ndarray, height: int) -> np.ndarray:
    """(R, N) laid out as (N / LANES, height, LANES), flat; missing rows and lanes are 0."""
    lanes = -(-rows.shape[1] // LANES) * LANES
    full = np.zeros((height, lanes), rows.dtype)
    full[: rows.shape[0], : rows.shape[1]] = rows
    flat = aligned(full.size, rows.dtype.type)
    flat.reshape(-1, height, LANES)[:] = full.reshape(height, -1, LANES).swapaxes(0, 1)
    return flat


def coefficients(model: ChainModel, width: int, vary: Mapping[str, np.ndarray]) -> np.ndarray:
    """Coefficients of every lane, (ROWS, blocks x width), in float64, not yet times MOVE."""

    def of(name: str) -> np.ndarray:
        if name in vary:
            return np.broadcast_to(vary[name], (model.blocks, width))
        return np.broadcast_to(model.per_block(name)[:, None], (model.blocks, width))

    if "stiffness" in vary:
        spring = np.broadcast_to(vary["stiffness"], (model.blocks + 1, width))
    else:
        spring = np.broadcast_to(model.springs()[:, None], (model.blocks + 1, width))
    rows = np.ones((ROWS, model.blocks, width))
    rows[kernels.K_LEFT], rows[kernels.K_RIGHT] = spring[:-1], spring[1:]
    rows[kernels.MU_RIGHT], rows[kernels.MU_LEFT] = of("friction_right"), of("friction_left")
    rows[kernels.NOISE], rows[kernels.COMMON] = of("noise"), of("common_noise")
    if model.second_order:
        rows[kernels.MOVE] = model.dt / of("mass")
        rows[kernels.BRAKE] = 1 / (1 + of("damping") * rows[kernels.MOVE])
    else:
        rows[kernels.MOVE] = model.dt / of("damping")
    return rows.reshape(ROWS, -1)


def _per_step(rows: np.ndarray, inertia: bool) -> np.ndarray:
    """Forces turned into the change that they make in one step."""
    forces = [kernels.K_LEFT, kernels.K_RIGHT, kernels.MU_RIGHT, kernels.MU_LEFT]
    if not inertia:
        forces += [kernels.NOISE, kernels.COMMON]
    scaled = rows.copy()
    scaled[forces] *= rows[kernels.MOVE]
    return scaled


def _present(model: ChainModel, vary: Mapping[str, np.ndarray], name: str) -> bool:
    return bool(np.max(vary.get(name, getattr(model, name))) > 0)


def new_tile(
    model: ChainModel,
    chains: np.ndarray,
    seed: int | None,
    kind: type,
    vary: Mapping[str, np.ndarray],
    rows: np.ndarray | None = None,
) -> Tile:
    """Chains at rest with all blocks at the wall; `vary` holds values for each of them.

    Without a seed the random streams are left out. `rows` are those of an equal tile.
    """
    width, blocks = len(chains), model.blocks
    if rows is None:
        scaled = _per_step(coefficients(model, width, vary), model.second_order)
        rows = chunked(scaled.astype(kind), ROWS)
    lanes = rows.size // ROWS
    block, chain = np.repeat(np.arange(blocks), width), np.tile(chains, blocks)
    banded, shared = model.noise_bandwidth > 0, _present(model, vary, "common_noise")
    noise = aligned(lanes * NOISE_ROWS, np.uint32)
    if seed is not None and _present(model, vary, "noise"):
        noise = chunked(streams(seed, chain, block), NOISE_ROWS)
    common = aligned(NOISE_ROWS * LANES, np.uint32)
    if seed is not None and shared:
        common = chunked(streams(seed, chains, np.full(width, COMMON_STREAM)), NOISE_ROWS)
    x, spare, v = apart((lanes + 2 * width, lanes + 2 * width, lanes), kind)
    return Tile(
        x=x, spare=spare, v=v, noise=noise, rows=rows,
        memory=aligned(2 * lanes if banded else 0, np.float32), common=common,
        common_memory=aligned(2 * common.size // NOISE_ROWS if banded else 0, np.float32),
        shared=aligned(noise.size if shared else 0, np.uint32),
    )  # fmt: skip


def law_of(model: ChainModel, drive: Drive, width: int, vary: Mapping[str, np.ndarray]) -> Law:
    """What all chains of a tile share, in the form the kernels want."""
    if drive.force and np.min(vary.get("stiffness", model.springs()[-1])) <= 0:
        raise UsageError("a force needs a last spring with a stiffness above 0 to pull on")
    return Law(
        blocks=model.blocks, width=width, inertia=model.second_order, force=drive.force,
        independent=_present(model, vary, "noise"),
        common=_present(model, vary, "common_noise"),
        banded=model.noise_bandwidth > 0, filter_=model.colour(),
        kick=float(np.sqrt(model.dt)) if model.second_order else 1.0,
        decay=model.noise_decay * model.dt, static_ratio=float(model.static_ratio), dt=model.dt,
    )  # fmt: skip


def _precision(precision: str) -> type:
    if precision not in ("single", "double"):
        raise UsageError(f"precision is {precision!r}; single or double")
    return np.float32 if precision == "single" else np.float64


def check(model: ChainModel, vary: Mapping[str, np.ndarray], chains: int, steps: int) -> None:
    if steps < 1 or chains < 1:
        raise UsageError(f"{steps} steps of {chains} chains; both must be at least 1")
    for name, values in vary.items():
        if name not in VARIED:
            raise UsageError(f"{name} can't differ from chain to chain; these can: {VARIED}")
        if np.shape(values)[-1:] != (chains,):
            raise UsageError(f"{name} has {np.shape(values)[-1:]} values for {chains} chains")
        extreme = np.min if name in ("mass", "damping") else np.max
        replace(model, **{name: float(extreme(values))})  # the model's own checks


def looks(steps: int, snapshots: int | Sequence[int]) -> np.ndarray:
    """Step numbers at which positions are kept."""
    if isinstance(snapshots, int):
        return np.linspace(0, steps, snapshots + 1)[1:].astype(int)
    moments = np.asarray(snapshots, int)
    if not len(moments) or moments[0] < 0 or moments[-1] > steps or (np.diff(moments) < 0).any():
        raise UsageError(f"snapshots must rise within the {steps} steps")
    return moments


def tile_width(blocks: int) -> int:
    """Chains that fit side by side in the fastest cache."""
    return max(1, min(64, 448 // blocks))


def _move(
    tile: Tile, law: Law, driven: tuple[np.ndarray, np.ndarray], start: int, stop: int
) -> None:
    """Advance in pieces of a fraction of a second, so that Ctrl-C is heard between them."""
    piece = max(2, LANE_STEPS // tile.v.size // 2 * 2)
    for first in range(start, stop, piece):
        advance(tile, law, *driven, first, min(piece, stop - first))


def run_profiles(
    model: ChainModel,
    drive: Drive,
    steps: int,
    *,
    chains: int = 1,
    seed: int = 0,
    first_chain: int = 0,
    vary: Mapping[str, np.ndarray] | None = None,
    snapshots: int | Sequence[int] = 1,
    precision: str = "double",
    threads: int | None = None,
) -> Iterator[tuple[slice, np.ndarray]]:
    """Block positions of many independent chains, tile after tile as they are done.

    Yields (which chains, positions (chains of the tile, S, L)); `snapshots` is a number of evenly
    spaced ones, the last at the end, or the rising step numbers to look at. Only a few tiles are
    in memory at a time. `vary` gives values for each chain, (chains,) or (L, chains), of any of
    VARIED. Path number c depends on `seed` and `first_chain` + c only: not on threads, tile or
    batch.

    Raises UsageError if a value, or the number of values, can't be simulated.
    """
    vary, kind = dict(vary or {}), _precision(precision)
    check(model, vary, chains, steps)
    pull, table = drive.sampled(model.dt, steps), drive.sampled_table(model.dt, steps)
    moments = looks(steps, snapshots)
    width = tile_width(model.blocks)
    alike = new_tile(model, np.arange(width), None, kind, {}).rows  # never written to

    def work(which: slice) -> tuple[slice, np.ndarray]:
        own = {name: np.asarray(values, float)[..., which] for name, values in vary.items()}
        chain = np.arange(which.start, which.stop)
        same = alike if len(chain) == width and not vary else None
        tile = new_tile(model, chain + first_chain, seed, kind, own, same)
        law = law_of(model, drive, len(chain), own)
        shots = np.empty((len(chain), len(moments), model.blocks), kind)
        done = 0
        for shot, moment in enumerate(moments):
            _move(tile, law, (pull, table), done, moment)
            done = moment
            inner = tile.x[len(chain) : (model.blocks + 1) * len(chain)]
            shots[:, shot] = inner.reshape(model.blocks, -1).T
        return which, shots

    parts = [slice(i, min(i + width, chains)) for i in range(0, chains, width)]
    workers = min(threads or os.cpu_count() or 1, len(parts))
    yield work(parts[0])  # compiles once, before the threads need it
    with ThreadPoolExecutor(workers) as pool:
        for start in range(1, len(parts), 4 * workers):
            yield from pool.map(work, parts[start : start + 4 * workers])


def final_profiles(
    model: ChainModel,
    drive: Drive,
    steps: int,
    *,
    progress: Callable[[float], None] | None = None,
    **knobs,
) -> np.ndarray:
    """Block positions at the end (or at `snapshots`) of many chains, (chains, L) or with (S,).

    The knobs are those of `run_profiles`.
    """
    chains = knobs.get("chains", 1)
    shots = len(looks(steps, knobs.get("snapshots", 1)))
    profiles = np.empty((chains, shots, model.blocks))
    for which, shots in run_profiles(model, drive, steps, **knobs):
        profiles[which] = shots
        if progress is not None:
            progress(which.stop / chains)
    return profiles[:, 0] if "snapshots" not in knobs else profiles


def pulled_end(model: ChainModel, drive: Drive, steps: int, profiles: np.ndarray) -> np.ndarray:
    """Where the pulled end stands at the end of each run, (chains,)."""
    last = drive.sampled(model.dt, steps)[-1]
    if not drive.force:
        return np.full(len(profiles), last)
    return profiles[:, -1] + last / model.springs()[-1]


def extensions(profiles: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Extension of each of the L+1 springs, held end first, (chains, L+1)."""
    wall = np.zeros((len(profiles), 1))
    return np.diff(np.concatenate([wall, profiles, end[:, None]], axis=1), axis=1)


def load_curve(springs: np.ndarray, *, label: str = "") -> LoadCurve:
    """Mean load curve of repeated runs with the covariance of that mean.

    `springs` (repeats, L+1). The last spring, between the last block and the hand, is left out as
    the section in the hand of a ruler and the last layer of a network are: it stands as what is
    left to carry after the last block.
    """
    repeats = len(springs)
    to_remaining = np.triu(np.ones((springs.shape[1], springs.shape[1])))
    remaining = springs @ to_remaining.T
    covariance = np.zeros((springs.shape[1],) * 2)
    if repeats > 1:
        covariance = np.cov(remaining, rowvar=False) / repeats
    return LoadCurve(remaining.mean(axis=0), covariance, "chain", "spring", "1", label)


def simulate(
    model: ChainModel,
    drive: Drive,
    steps: int,
    *,
    every: int = 1,
    seed: int = 0,
    chain: int = 0,
    precision: str = "double",
) -> Motion:
    """One run as a `Motion`: wall, blocks, pulled end, (T, L+2, 2), at every `every`-th step.

    Replays path number `chain` of `run_profiles` with the same seed, bit for bit.
    """
    kind = _precision(precision)
    check(model, {}, 1, steps)
    if every < 1:
        raise UsageError(f"every {every}-th step can't be kept; at least 1")
    pull, table = drive.sampled(model.dt, steps), drive.sampled_table(model.dt, steps)
    tile = new_tile(model, np.array([chain]), seed, kind, {})
    law = law_of(model, drive, 1, {})
    moments = np.append(np.arange(0, steps, every), steps)
    joint = np.zeros((len(moments), model.blocks + 2, 2))
    for frame, moment in enumerate(moments):
        if frame:
            _move(tile, law, (pull, table), moments[frame - 1], moment)
        joint[frame, 1:-1, 0] = tile.x[1 : model.blocks + 1]
        end = pull[moment]
        if drive.force:
            end = joint[frame, -2, 0] + end / model.springs()[-1]
        joint[frame, -1, 0] = end
    return Motion(moments * model.dt, joint, np.zeros((len(moments), model.blocks + 2, 2, 2)))


def step_size_effect(model: ChainModel, drive: Drive, steps: int) -> float:
    """Largest change of the quiet final profile when the time step is halved, as a share of it.

    Noise is left out: the kicks of one step are part of the model and can't be halved with it.
    """
    quiet = replace(model, noise=0.0, common_noise=0.0)
    coarse = final_profiles(quiet, drive, steps)[0]
    fine = final_profiles(replace(quiet, dt=model.dt / 2), drive, 2 * steps)[0]
    size = float(np.max(np.abs(fine)))
    return float(np.max(np.abs(coarse - fine)) / size) if size else 0.0
