"""The compiled beam search behind `assemble`: paths grown stick by stick, the best ones kept."""

from __future__ import annotations

import numpy as np

from rulerlab.track.pixels import compiled


@compiled
def _ones(word):
    """How many bits of a 64-bit word are set."""
    word = word - ((word >> np.uint64(1)) & np.uint64(0x5555555555555555))
    word = ((word & np.uint64(0x3333333333333333))
            + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333)))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (word * np.uint64(0x0101010101010101)) >> np.uint64(56)


@compiled
def gain(k, sticks, worth, size, samples, known, cost):
    """What stick k adds to a path of `sticks`, without the edges that speak for those already."""
    value = worth[k]
    if value > 0:
        shared = np.uint64(0)
        for word in range(known.shape[2]):
            both = np.uint64(0)
            for other in sticks:
                both |= known[k, other, word]
            shared += _ones(both)
        value *= 1 - shared / samples[k]
    return (value - cost) * size[k]


@compiled
def longer(path, sticks, turn, k, there, tables, prices):
    """What a path through hinges `path` by `sticks` is worth more with stick k to hinge `there`,
    and which way it turns.
    """
    hinge, _, worth, size, samples, known, crosses, unequal = tables
    cost, same_turn, crossing, _ = prices
    ax, ay = hinge[path[-2], 0], hinge[path[-2], 1]
    bx, by = hinge[path[-1], 0], hinge[path[-1], 1]
    bend = (bx - ax) * (hinge[there, 1] - by) - (by - ay) * (hinge[there, 0] - bx)
    more = gain(k, sticks, worth, size, samples, known, cost)
    more -= unequal[k, sticks[-1]]
    if bend * turn > 0:
        more -= same_turn
    for other in sticks:
        if crosses[k, other]:
            more -= crossing
    return more, bend


@compiled
def _is_near(near, path, hinge):
    """Whether a path goes through a hinge, or one so near that the two can't both be."""
    found = False
    for other in path:
        found |= near[hinge, other]
    return found


@compiled
def grow(paths, sticks, score, turn, at_hinge, full, half, tables, prices, most):
    """One stick more for each of B paths of one length.

    `paths` (B, L + 1) and `sticks` (B, L) are numbers of hinges and sticks; `at_hinge` (H, M) are
    the sticks at each hinge, -1 where there are no more, and their other ends `at_hinge[..., 1]`.
    Returns the same four of the `most` best of those paths that may go on, and of all those that
    may not.
    """
    count, length = sticks.shape
    room = count * at_hinge.shape[1]
    grown_paths, ended_paths = np.empty((2, room, length + 2), np.int64)
    grown_sticks, ended_sticks = np.empty((2, room, length + 1), np.int64)
    (grown_score, ended_score), (grown_turn, ended_turn) = np.empty((2, 2, room))
    grown = ended = 0
    for b in range(count):
        last = sticks[b, -1]
        may_go_on = full[last] or length == 1
        for m in range(at_hinge.shape[1]):
            k, there = at_hinge[paths[b, -1], m]
            if k < 0:
                break
            if _is_near(tables[1], paths[b], there):
                continue
            more, bend = longer(paths[b], sticks[b], turn[b], k, there, tables, prices)
            if may_go_on and full[k] or full[last] and half[k]:
                grown_paths[grown, :-1], grown_paths[grown, -1] = paths[b], there
                grown_sticks[grown, :-1], grown_sticks[grown, -1] = sticks[b], k
                grown_score[grown], grown_turn[grown] = score[b] + more, bend
                grown += 1
            else:
                ended_paths[ended, :-1], ended_paths[ended, -1] = paths[b], there
                ended_sticks[ended, :-1], ended_sticks[ended, -1] = sticks[b], k
                ended_score[ended], ended_turn[ended] = score[b] + more - prices[3], bend
                ended += 1
    keep = distinct(grown_paths[:grown], grown_score[:grown], most)
    return ((grown_paths[keep], grown_sticks[keep], grown_score[keep], grown_turn[keep]),
            (ended_paths[:ended], ended_sticks[:ended], ended_score[:ended], ended_turn[:ended]))


@compiled
def distinct(paths, score, most):
    """The best paths; of those through the same hinges that end alike only one."""
    seen = set()
    keep = np.empty(min(most, len(score)), np.int64)
    count = 0
    for b in np.argsort(-score):
        mixed = np.uint64(0)
        for hinge in paths[b]:
            mixed += _scrambled(np.uint64(hinge + 1))
        ends = np.uint64(paths[b, -1] + 1) * np.uint64(4096) + np.uint64(paths[b, -2] + 1)
        state = mixed ^ _scrambled(ends)
        if state in seen:
            continue
        seen.add(state)
        keep[count] = b
        count += 1
        if count == len(keep):
            break
    return keep[:count]


@compiled
def _scrambled(number):
    """A 64-bit number as good as drawn at random, the same for the same number (splitmix64)."""
    mixed = number * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))
