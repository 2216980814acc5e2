"""Trained networks on the axis of the ruler: how far each layer has separated the classes.

Nothing is imported until it is asked for: reading reference curves needs no torch.
"""

from __future__ import annotations

from importlib import import_module

from rulerlab.errors import MissingPartError

_HOMES = {
    "data_separation": "separation",
    "load_curve": "curve",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if _HOMES[name] not in ("separation", "reference"):
        need_torch()
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def need_torch() -> None:
    """Raise MissingPartError, with the command that helps, where PyTorch is not installed."""
    try:
        import_module("torch")
    except ImportError as error:
        raise MissingPartError(
            "networks need PyTorch: pip install 'rulerlab[networks]'") from error
