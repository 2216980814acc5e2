"""Where a network is tapped: points along its depth, found by watching one forward pass.

Nothing of the network is edited: hooks are set on its modules and taken off again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from rulerlab.errors import InputError, UsageError

CONTAINERS = {"Sequential", "ModuleList", "ModuleDict"}  # group others, are no layer themselves
CONVOLUTIONS = {f"{kind}{n}d" for kind in ("Conv", "ConvTranspose") for n in (1, 2, 3)}


@dataclass(frozen=True)
class Tap:
    """One point of a load curve: what goes into, or comes out of, one call of a module."""

    module: str  # dotted name, "" for the network itself
    side: str  # "in" or "out"
    call: int = 0  # which of the calls in one forward pass
    axis: int = 0  # of the tensor, along which the samples lie
    spatial: bool = False  # channels first, then places (not tokens)
    name: str = ""  # what people call it


@dataclass
class _Seen:
    """One call of a module in the watched pass; the tensors are kept so that they stay apart."""

    module: str
    call: int
    received: torch.Tensor | None
    gave: torch.Tensor | None = None


def first_tensor(value: Any) -> torch.Tensor | None:
    """The first tensor of floating point numbers in nested tuples, lists and mappings."""
    if isinstance(value, torch.Tensor):
        return value if value.is_floating_point() else None
    parts = value.values() if isinstance(value, Mapping) else value
    if isinstance(value, Mapping | Sequence) and not isinstance(value, str):
        return next((found for part in parts if (found := first_tensor(part)) is not None), None)
    return None


def run(model: nn.Module, inputs: Any) -> Any:
    """The output of a network for a tensor, a tuple of positional or a mapping of named inputs."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; every module is as it was afterwards."""
    modes = [(module, module.training) for module in model.modules()]
    try:
        with torch.no_grad():
            with suppress(NotImplementedError):  # exported programs have their mode built in
                model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode


@contextmanager
def tapping(
    model: nn.Module, taps: Sequence[Tap], take: Callable[[int, torch.Tensor], None]
) -> Iterator[Callable[[Any], None]]:
    """Within it, the function that is given runs inputs through the network, and `take` gets the
    number and the tensor of each tap as soon as it is there, so that no layer is kept for another.
    """
    modules, calls = dict(model.named_modules()), Counter()
    wanted = {(tap.module, tap.side, tap.call): number for number, tap in enumerate(taps)}

    def reached(name: str, side: str, value: Any) -> None:
        number = wanted.get((name, side, calls[name, side]))
        calls[name, side] += 1
        tensor = first_tensor(value) if number is not None else None
        if number is not None and tensor is not None:
            take(number, tensor)

    def forward(inputs: Any) -> None:
        calls.clear()
        run(model, inputs)

    with ExitStack() as hooks:
        for name, side in dict.fromkeys((tap.module, tap.side) for tap in taps):
            hooks.callback(_hook(modules[name], side, name, reached).remove)
        yield forward


def _hook(module: nn.Module, side: str, name: str, reached: Callable):
    if side == "in":
        return module.register_forward_pre_hook(
            lambda _module, args, named: reached(name, "in", (*args, *named.values())),
            with_kwargs=True)
    return module.register_forward_hook(lambda _module, _args, out: reached(name, "out", out))


def _watch(model: nn.Module, inputs: Any) -> list[_Seen]:
    """All calls of all modules in one forward pass, in the order in which they began."""
    seen, running, calls = [], [], Counter()

    def begin(name: str, _side: str, value: Any) -> None:
        seen.append(_Seen(name, calls[name], first_tensor(value)))
        running.append(seen[-1])
        calls[name] += 1

    def end(_name: str, _side: str, value: Any) -> None:
        running.pop().gave = first_tensor(value)

    with ExitStack() as hooks, evaluating(model):
        for name, module in model.named_modules():
            hooks.callback(_hook(module, "in", name, begin).remove)
            hooks.callback(_hook(module, "out", name, end).remove)
        run(model, inputs)
    return seen


def kind_of(module: nn.Module) -> str:
    """Name of a module's class; an exported program remembers that of the original."""
    named = getattr(module, "type_name", None)
    original = str(named()) if callable(named) else ""
    return original.rpartition(".")[2] or type(module).__name__


def _weighs(module: nn.Module) -> bool:
    """Whether it mixes its inputs by weights of its own."""
    kind = kind_of(module)
    if "Norm" in kind or "Embedding" in kind:
        return False
    return any(weight.ndim > 1 for weight in module.parameters(recurse=False))


def _blocks(model: nn.Module, seen: list[_Seen]) -> list[_Seen]:
    """Calls of the repeated building blocks (residual blocks, encoder layers), outermost only."""
    modules = dict(model.named_modules())
    several = [
        call for call in seen
        if call.module and next(modules[call.module].children(), None) is not None
        and kind_of(modules[call.module]) not in CONTAINERS
        and call.received is not None and call.gave is not None
        and any(_weighs(part) for part in modules[call.module].modules())
    ]  # fmt: skip
    count = Counter(kind_of(modules[call.module]) for call in several)
    chosen = {call.module for call in several if count[kind_of(modules[call.module])] > 1}

    def inside(name: str) -> bool:
        return any(name.startswith(f"{other}.") for other in chosen)

    return [call for call in several if call.module in chosen and not inside(call.module)]


def _automatic(model: nn.Module, seen: list[_Seen], classes: int) -> list[tuple[_Seen, str]]:
    """Points of a network made of blocks: into the first, out of each. Else: into each layer.

    What goes into a layer with weights is what the one before has made, activation and all, also
    where that is a plain function. Logits are left out.
    """
    modules = dict(model.named_modules())
    result = next(call.gave for call in seen if not call.module)
    blocks = _blocks(model, seen)
    if blocks:
        points = [(blocks[0], "in"), *((call, "out") for call in blocks)]
    else:
        points = [(call, "in") for call in seen
                  if _weighs(modules[call.module]) and call.received is not None]
        points.append((seen[0], "out"))
    kept: list[tuple[_Seen, str]] = []
    last = None
    for call, side in points:
        tensor = call.received if side == "in" else call.gave
        if tensor is None or tensor is last:
            continue
        if tensor is result and tensor.ndim == 2 and tensor.shape[1] <= classes:
            continue
        kept.append((call, side))
        last = tensor
    return kept


def _name(call: _Seen, side: str, seen: list[_Seen]) -> str:
    """The module that made what is tapped (the largest one), or the one that receives it."""
    tensor = call.received if side == "in" else call.gave
    if tensor is seen[0].received:
        return "input"
    if side == "in":
        makers = [other for other in seen if other.gave is tensor and other.module]
        if not makers:
            return f"input of {call.module}"
        call = min(makers, key=lambda other: len(other.module))
    again = f" (call {call.call + 1})" if call.call else ""
    return (call.module or "output") + again


def _named(model: nn.Module, seen: list[_Seen], names: Sequence[str]) -> list[tuple[_Seen, str]]:
    modules, found = dict(model.named_modules()), []
    for name in names:
        if name == "input" and name not in modules:
            found.append((seen[0], "in"))
            continue
        if name not in modules:
            some = ", ".join([known for known in modules if known][:12])
            raise UsageError(f"the network has no layer {name!r}; some of its layers: {some}")
        calls = [(call, "out") for call in seen if call.module == name and call.gave is not None]
        if not calls:
            raise UsageError(f"layer {name!r} gives no numbers in a forward pass")
        found += calls
    return found


def find_taps(
    model: nn.Module, inputs: Any, samples: int, *,
    layers: str | Sequence[str] = "auto", classes: int = 0,
) -> list[Tap]:
    """The points at which a network is measured, from one pass of `samples` inputs.

    `layers` "auto": in a network of repeated blocks (ResNet, transformer) what goes into the
    first block and comes out of each; in any other what goes into each layer with weights. Or
    names of modules, whose outputs are taken in that order ("input": the network's input).
    Logits (the network's output, up to `classes` columns) are left out.
    Raises UsageError for unknown names, InputError if there are fewer than two points.
    """
    seen = _watch(model, inputs)
    auto = isinstance(layers, str)
    if auto and layers != "auto":
        raise UsageError(f"layers is {layers!r}; give \"auto\" or a list of names")
    points = _automatic(model, seen, classes) if auto else _named(model, seen, layers)
    modules = dict(model.named_modules())
    taps = []
    for call, side in points:
        tensor = call.received if side == "in" else call.gave
        assert tensor is not None
        sizes = [] if tensor.is_nested else list(tensor.shape)
        axis = 1 if sizes[:1] != [samples] and sizes[1:2] == [samples] else 0
        spatial = any(kind_of(part) in CONVOLUTIONS for part in modules[call.module].modules())
        name = _name(call, side, seen)
        taps.append(Tap(call.module, side, call.call, axis, spatial, name))
    if len(taps) < 2:
        raise InputError(f"a load curve needs two points along the network, found {len(taps)}; "
                         "name its layers (layers=[...]), and of a torch.export program give the "
                         "file, or torch.export.unflatten of it")
    return taps
