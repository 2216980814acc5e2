"""What a comparison says, as plain values for scripts and as sentences for people."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rulerlab.compare import Comparison, distance
from rulerlab.compare.networks import Neighbour
from rulerlab.fit.nearest import LEFT
from rulerlab.plots import REGIMES, quoted
from rulerlab.records import LoadCurve

KNOBS = {"data-noise": "data noise", "learning-rate": "learning rate", "dropout": "dropout",
         "batch": "batch size"}  # fmt: skip
SURE = 0.95


def network_named(found: Neighbour) -> str:
    """A setting in words: "a ReLU network with dropout 0.08"."""
    cell = found.cell
    slope = {0.0: "ReLU", 1.0: "linear"}.get(cell.alpha, f"leaky-ReLU (alpha {cell.alpha:g})")
    return f"a {slope} network with {KNOBS.get(cell.knob, cell.knob)} {cell.value:g}"


def _setting(found: Neighbour) -> dict[str, Any]:
    cell = found.cell
    return {"knob": cell.knob, "value": cell.value, "alpha": cell.alpha,
            "accuracy": cell.accuracy, "c_normalised": cell.c_normalised,
            "distance": asdict(found.distance)}


def network_words(found: Comparison) -> str:
    """Which networks the curve is like, or why none."""
    nearest, alike = found.networks[0], found.alike()
    apart = nearest.distance
    if not alike:
        return (f"no network of the table shares its load like this (p < 0.05 for all "
                f"{len(found.networks)} settings); the nearest, {network_named(nearest)}, differs "
                f"by {apart.rms:.3f} ± {apart.rms_sigma:.3f} of the load (rms)")
    same = f"{len(alike)} of {len(found.networks)} settings can't be told apart from it"
    knobs = sorted({KNOBS.get(one.cell.knob, one.cell.knob) for one in alike})
    if len(alike) == 1:
        return f"behaves like {network_named(nearest)}, and like no other of the table"
    return (f"nearest to {network_named(nearest)} (p = {apart.p:.2f}), but {same} "
            f"({', '.join(knobs)}): the curve alone does not name one")


def chain_words(found: Comparison) -> str:
    """Where in the chain's phase diagram the curve lies, or why nowhere."""
    chain, apart = found.chain, distance(found.curve, found.chain.curve)
    (low, high), (calm, loud) = chain.friction_range, chain.noise_range
    place = (f"friction {chain.friction_over_k:.2g} ({low:.2g} to {high:.2g}) and noise "
             f"{chain.noise_over_k:.2g} ({calm:.2g} to {loud:.2g}) over stiffness, of the pull, "
             f"one block per {found.curve.unit}")
    left = "as to the right" if chain.symmetric else f"{LEFT:g}"
    words = f"chain with {place}, friction to the left {left}"
    if chain.valid:
        return "like a " + words + (f"; {chain.message}" if chain.message else "")
    return f"{chain.message}: {words}, differs by {apart.rms:.3f} of the load (rms)"


def _chain(found: Comparison) -> dict[str, Any]:
    chain = found.chain
    return {
        "friction_over_k": chain.friction_over_k, "noise_over_k": chain.noise_over_k,
        "friction_left_over_k": chain.friction_over_k if chain.symmetric else LEFT,
        "distance": {"chi2": chain.chi2, "degrees_of_freedom": chain.degrees_of_freedom,
                     "rms": distance(found.curve, chain.curve).rms},
        "accepted": chain.valid,
        "region": {"friction_over_k": chain.friction_range, "noise_over_k": chain.noise_range},
        "message": chain_words(found),
    }


def regime_words(curve: LoadCurve) -> str:
    """The regime with its probability, and the shape number with its error."""
    probability = curve.regime_probability()
    regime = max(probability, key=lambda name: probability[name])
    sure = "" if probability[regime] >= SURE else f" (probability {probability[regime]:.2f} only)"
    return (f"{REGIMES[regime]}{sure}; c~ = "
            f"{quoted(curve.c_normalised, curve.sigma_of('c_normalised'))}")


def side_of(found: Comparison) -> str:
    """The side of the zero line c = 0 on which the curve lies, if that is sure."""
    concave = found.concave_probability()
    return "concave" if concave >= SURE else "convex" if concave <= 1 - SURE else "undecided"


def side_words(found: Comparison) -> str:
    """The same in words, with its probability."""
    side, concave = side_of(found), found.concave_probability()
    if side == "undecided":
        return ("on neither side of the zero line for sure (c < 0, more load near the hand, with "
                f"probability {concave:.2f})")
    end = "pulled" if side == "concave" else "held"
    return f"on the {side} side of the zero line c = 0: more load near the {end} end"


def as_dict(found: Comparison, curve: LoadCurve) -> dict[str, Any]:
    """The comparison of `curve` in plain values; `found` may have used its folds."""
    nearest = found.networks[0]
    return {
        "compared_as": {"unit": found.curve.unit, "parts": len(found.curve.loads),
                        "c_normalised": found.curve.c_normalised,
                        "c_normalised_sigma": found.curve.sigma_of("c_normalised")},
        "zero_line": {"side": side_of(found),
                      "concave_probability": found.concave_probability()},
        "nearest_chain": _chain(found),
        "nearest_network": _setting(nearest) | {
            "accepted": nearest.accepted,
            "region": [_setting(one) for one in found.alike()],
            "message": network_words(found),
        },
        "statements": [regime_words(curve), side_words(found), chain_words(found),
                       network_words(found)],
    }
