"""Trained networks on the axis of the ruler: how far each layer has separated the classes.

Nothing is imported until it is asked for: reading reference curves needs no torch.
"""

from __future__ import annotations

from importlib import import_module

from rulerlab.errors import MissingPartError

_HOMES = {
    "How": "curve",
    "Watch": "watch",
    "data_separation": "separation",
    "load_curve": "curve",
    "measure_layers": "curve",
    "published_diagram": "atlas",
    "reference_curves": "atlas",
}
LIGHT = {"atlas", "separation"}  # need no torch


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] not in LIGHT:
        need_torch()
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def need_torch() -> None:
    """Raise MissingPartError, with the command that helps, where PyTorch is not installed."""
    try:
        import_module("torch")
    except ImportError as error:
        raise MissingPartError(
            "networks need PyTorch: pip install 'rulerlab[networks]'") from error
