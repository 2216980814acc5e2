"""Two shortcuts for the overdamped chain: its mean alone, and leaps over many steps at once.

The kicks of one step are large but the move is dt times what friction leaves of them, so paths
stay near the mean chain dx/dt = h(spring force)/damping with h of `rest.mean_slip`; over a leap of
M steps the moves add up to a normal with M times its mean and variance (`rest.slip_variance`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from rulerlab.chain.drive import Drive
from rulerlab.chain.kernels import (
    K_LEFT,
    K_RIGHT,
    LANES,
    MOVE,
    MU_LEFT,
    MU_RIGHT,
    NOISE,
    NOISE_ROWS,
    ROWS,
    Tile,
    bits_float,
    compiled,
    draw,
    f4,
    i4,
    inner,
    polynomial,
    u8,
    word_float,
)
from rulerlab.chain.model import ChainModel
from rulerlab.chain.simulate import check, chunked, coefficients, new_tile, tile_width
from rulerlab.errors import UsageError

# Phi(-a) = phi(a) (B1 t + .. + B5 t^5), t = 1/(1 + B0 a): Abramowitz & Stegun 26.2.17, 7.5e-8
B0, B1, B2, B3, B4, B5 = (f4(b) for b in (0.2316419, 0.319381530, -0.356563782, 1.781477937,
                                          -1.821255978, 1.330274429))  # fmt: skip
E0, E1, E2, E3, E4, E5, E6 = polynomial(np.exp2, -1, 0, 6)
HALF_LOG2E, ROOT, FLOOR = f4(-0.5 / math.log(2)), f4(1 / math.sqrt(2 * math.pi)), f4(-126)
BIAS, SHIFT, ZERO, ONE, TWO = i4(127), i4(23), f4(0), f4(1), f4(2)
SMALL = 1e-6  # noise below this share of the pull is none: both formulas then are the dead zone


@inner
def _tail(a):
    """phi(a) and Phi(-a), a >= 0, in single precision."""
    w = f4(f4(a * a) * HALF_LOG2E)
    w = FLOOR if w < FLOOR else w
    whole = i4(w)
    f = f4(w - f4(whole))
    p = f4(f4(f4(f4(f4(f4(E6 * f + E5) * f + E4) * f + E3) * f + E2) * f + E1) * f + E0)
    phi = f4(f4(p * bits_float(i4(i4(whole + BIAS) << SHIFT))) * ROOT)
    t = f4(ONE / f4(ONE + f4(B0 * a)))
    cdf = f4(phi * f4(t * f4(B1 + t * f4(B2 + t * f4(B3 + t * f4(B4 + f4(t * B5)))))))
    return phi, cdf


@inner
def _moments(u):
    """Means of max(u + xi, 0) and of its square."""
    a = u if u > ZERO else f4(-u)
    phi, cdf = _tail(a)
    gap = f4(phi - f4(a * cdf))
    square = f4(f4(f4(ONE + f4(a * a)) * cdf) - f4(a * phi))
    first = f4(u + gap) if u > ZERO else gap
    second = f4(f4(ONE + f4(u * u)) - square) if u > ZERO else square
    return first, second


@inner
def _flow(out, x, width, rows, share, onto):
    """out = x + share of the mean move of a step from x, or out += that if `onto`."""
    for chunk in range(rows.size // (ROWS * LANES)):
        left = u8(chunk * LANES)
        mid, right = left + u8(width), left + u8(2 * width)
        c = u8(chunk * ROWS * LANES)
        for lane in range(LANES):
            j = u8(lane)
            here = x[mid + j]
            force = (rows[c + u8(K_RIGHT * LANES) + j] * (x[right + j] - here)
                     - rows[c + u8(K_LEFT * LANES) + j] * (here - x[left + j]))
            noise = rows[c + u8(NOISE * LANES) + j]
            up, _ = _moments((force - rows[c + u8(MU_RIGHT * LANES) + j]) / noise)
            down, _ = _moments((-force - rows[c + u8(MU_LEFT * LANES) + j]) / noise)
            move = share * rows[c + u8(MOVE * LANES) + j] * noise
            base = out[mid + j] if onto else here
            out[mid + j] = base + move * (up - down)


@inner
def _leap(out, x, width, rows, noise, row, root):
    """One leap: mean move plus normal spread; `root` is the root of the steps in it."""
    for chunk in range(rows.size // (ROWS * LANES)):
        left = u8(chunk * LANES)
        mid, right = left + u8(width), left + u8(2 * width)
        c, n = u8(chunk * ROWS * LANES), u8((chunk * NOISE_ROWS + row) * LANES)
        for lane in range(LANES):
            j = u8(lane)
            here = x[mid + j]
            force = (rows[c + u8(K_RIGHT * LANES) + j] * (x[right + j] - here)
                     - rows[c + u8(K_LEFT * LANES) + j] * (here - x[left + j]))
            level = rows[c + u8(NOISE * LANES) + j]
            up, up2 = _moments((force - rows[c + u8(MU_RIGHT * LANES) + j]) / level)
            down, down2 = _moments((-force - rows[c + u8(MU_LEFT * LANES) + j]) / level)
            mean = f4(up - down)
            variance = f4(up2 + down2) - f4(mean * mean)
            spread = f4(math.sqrt(variance if variance > ZERO else ZERO)) / root
            step = rows[c + u8(MOVE * LANES) + j] * level
            out[mid + j] = here + step * f4(mean + f4(spread * word_float(noise[n + j])))


@inner
def _ends(x, width, blocks, pull):
    for w in range(width):
        x[w] = ZERO
        x[(blocks + 1) * width + w] = f4(pull)


@compiled
def run_mean(tile, width, blocks, pull, first, steps):
    """Midpoint steps of the mean chain; `pull` at whole and half steps."""
    for s in range(first, first + steps):
        _ends(tile.x, width, blocks, pull[2 * s])
        _flow(tile.spare, tile.x, width, tile.rows, f4(0.5), False)
        _ends(tile.spare, width, blocks, pull[2 * s + 1])
        _flow(tile.x, tile.spare, width, tile.rows, ONE, True)


@compiled
def run_leaps(tile, width, blocks, pull, first, steps, root):
    """Leaps one after the other; two by two, as the normals come."""
    for s in range(first, first + steps, 2):
        draw(tile.noise)
        _ends(tile.x, width, blocks, pull[s])
        _leap(tile.spare, tile.x, width, tile.rows, tile.noise, 4, root)
        _ends(tile.spare, width, blocks, pull[s + 1])
        _leap(tile.x, tile.spare, width, tile.rows, tile.noise, 5, root)


def _shortcut(model: ChainModel, drive: Drive) -> None:
    if model.second_order or drive.force or model.static_ratio > 1 or model.noise_bandwidth:
        raise UsageError(
            "this shortcut knows the overdamped chain with white noise and a moved end only; "
            "use the brute tier"
        )
    if model.noise_decay:
        raise UsageError("this shortcut knows steady noise only; use the brute tier")


def _quiet_floor(model: ChainModel, drive: Drive, vary: dict, chains: int) -> dict:
    """Noise per chain, kept above the level at which the formulas divide by nothing."""
    scale = float(np.max(vary.get("stiffness", model.springs()))) * np.max(np.abs(drive.pull))
    noise = np.asarray(vary.get("noise", model.per_block("noise")[:, None]), float)
    common = np.asarray(vary.get("common_noise", model.per_block("common_noise")[:, None]), float)
    both = np.maximum(np.hypot(noise, common), SMALL * max(scale, 1e-30))
    return {**vary, "noise": np.broadcast_to(both, (model.blocks, chains))}


def _tile(model: ChainModel, chains: np.ndarray, seed: int | None, vary: dict) -> Tile:
    """A tile with plain coefficients; lanes that only fill up the last chunk get noise 1."""
    rows = chunked(coefficients(model, len(chains), vary).astype(np.float32), ROWS)
    noise = rows.reshape(-1, ROWS, LANES)[:, NOISE]
    noise[noise == 0] = 1
    return new_tile(model, chains, seed, np.float32, vary)._replace(rows=rows)


def mean_profiles(
    model: ChainModel,
    drive: Drive,
    time: float,
    *,
    chains: int = 1,
    vary: Mapping[str, np.ndarray] | None = None,
    snapshots: Sequence[float] = (1.0,),
    dt: float | None = None,
) -> np.ndarray:
    """Mean positions of the blocks of many overdamped chains, (chains, S, L).

    `snapshots` are rising shares of `time`. Midpoint rule with steps `dt` (default 0.4 damping over
    the largest stiffness, a fifth below the largest stable one). Single precision, about 1e-4 of
    the pull. Common noise has the same mean as independent noise.
    """
    _shortcut(model, drive)
    vary = dict(vary or {})
    check(model, vary, chains, 1)
    full = _quiet_floor(model, drive, vary, chains)
    if dt is None:
        dt = 0.4 * model.damping / float(np.max(vary.get("stiffness", model.springs())))
    steps = max(1, math.ceil(time / dt - 1e-9))
    slow = replace(model, dt=time / steps, common_noise=0.0)
    pull = drive.sampled(slow.dt / 2, 2 * steps)
    moments = np.round(np.asarray(snapshots) * steps).astype(int)
    found = np.empty((chains, len(moments), model.blocks))
    width = tile_width(model.blocks)
    for start in range(0, chains, width):
        which = slice(start, min(start + width, chains))
        count, done = which.stop - start, 0
        own = {n: np.asarray(v, float)[..., which] for n, v in full.items() if n != "common_noise"}
        tile = _tile(slow, np.arange(count), None, own)
        for shot, moment in enumerate(moments):
            run_mean(tile, count, model.blocks, pull, done, moment - done)
            inner = tile.x[count : (model.blocks + 1) * count]
            found[which, shot], done = inner.reshape(model.blocks, count).T, moment
    return found


def leap_profiles(
    model: ChainModel,
    drive: Drive,
    steps: int,
    *,
    chains: int = 1,
    seed: int = 0,
    first_chain: int = 0,
    vary: Mapping[str, np.ndarray] | None = None,
    snapshots: Sequence[float] = (1.0,),
    leap: int = 20,
) -> np.ndarray:
    """Positions like `final_profiles`, leaping over `leap` steps at once, (chains, S, L).

    `snapshots` are rising shares of the run. Means are good to about 0.01 of the pull, spreads to
    a few percent, at 20 steps of dt = 0.01 damping/stiffness.
    """
    _shortcut(model, drive)
    vary = dict(vary or {})
    if np.max(vary.get("common_noise", model.common_noise)) > 0:
        raise UsageError("leaps know independent noise only; use the brute tier")
    check(model, vary, chains, steps)
    leaps = max(2, 2 * round(steps / leap / 2))
    long = replace(model, dt=model.dt * steps / leaps)
    full = _quiet_floor(model, drive, vary, chains)
    pull = drive.sampled(long.dt, leaps)
    moments = 2 * np.round(np.asarray(snapshots) * leaps / 2).astype(int)
    found = np.empty((chains, len(moments), model.blocks))
    width, root = tile_width(model.blocks), f4(math.sqrt(steps / leaps))
    for start in range(0, chains, width):
        which = slice(start, min(start + width, chains))
        count, done = which.stop - start, 0
        own = {name: np.asarray(v, float)[..., which] for name, v in full.items()}
        chain = np.arange(start, which.stop) + first_chain
        tile = _tile(long, chain, seed, own)
        for shot, moment in enumerate(moments):
            run_leaps(tile, count, model.blocks, pull, done, moment - done, root)
            inner = tile.x[count : (model.blocks + 1) * count]
            found[which, shot], done = inner.reshape(model.blocks, count).T, moment
    return found
