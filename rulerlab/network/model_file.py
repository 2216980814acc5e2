"""Networks from files: ours (.safetensors), exported programs (.pt2), and, if trusted, pickles."""

from __future__ import annotations

import io
import json
import warnings
import zipfile
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from rulerlab.errors import InputError, UsageError
from rulerlab.network import saved

HOW_TO_EXPORT = "torch.export.save(torch.export.export(model.eval(), (example,)), 'model.pt2')"


@dataclass(frozen=True)
class ModelFile:
    """A network, and what its file tells about the inputs it takes."""

    model: nn.Module
    shape: tuple[int, ...] | None = None  # of one sample
    batch: int | None = None  # samples in a batch, if only this number is taken
    integers: bool = False  # takes whole numbers (tokens)


def read_model(path: str | Path, *, trust_pickle: bool = False) -> ModelFile:
    """A network from a file that `rulerlab train` or torch.export.save wrote.

    A pickle can run any program when it is opened: a pickled module, or an exported program that
    holds pickles, is read with `trust_pickle` only (UsageError). InputError for anything else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    if path.suffix == ".safetensors":
        model = saved.load(path)
        return ModelFile(model, (int(saved.metadata(path)["rulerlab.inputs"]),))
    if path.suffix == ".pt2":
        return _exported(path, trust_pickle)
    return ModelFile(_pickled(path, trust_pickle))


def _pickled(path: Path, trust_pickle: bool) -> nn.Module:
    if not trust_pickle:
        raise UsageError(f"{path} is a pickle, which can run any program when it is opened; give "
                         f"--trust-pickle if you made it yourself, or write a .pt2: "
                         f"{HOW_TO_EXPORT}")
    try:
        found = torch.load(path, map_location="cpu", weights_only=False)
    except Exception as error:  # a pickle may raise anything
        raise InputError(f"{path} can't be read as a pickled module: {error}") from error
    if not isinstance(found, nn.Module):
        raise InputError(f"{path} holds a {type(found).__name__}, no network; weights alone do not "
                         f"tell how they are connected. Write a .pt2: {HOW_TO_EXPORT}")
    return found


def _exported(path: Path, trust_pickle: bool) -> ModelFile:
    danger = _pickle_inside(path)
    if danger and not trust_pickle:
        raise UsageError(f"{path} holds a pickle ({danger}), which can run any program when it is "
                         "opened; give --trust-pickle if you made the file yourself")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            program = torch.export.load(path)
            model = torch.export.unflatten(program)
    except Exception as error:  # torch has no one exception for a damaged archive
        raise InputError(f"{path} can't be read as a program of torch.export: {error}") from error
    fed = set(program.graph_signature.user_inputs)
    inputs = [node.meta["val"] for node in program.graph.nodes
              if node.op == "placeholder" and node.name in fed
              and isinstance(node.meta.get("val"), torch.Tensor)]
    if not inputs:
        raise InputError(f"{path} takes no tensor")
    sizes = list(inputs[0].shape)
    batch = sizes[0] if isinstance(sizes[0], int) else None
    fixed = all(isinstance(size, int) for size in sizes[1:])
    return ModelFile(model, tuple(map(int, sizes[1:])) if fixed else None, batch,
                     not inputs[0].is_floating_point())


def _pickle_inside(path: Path) -> str | None:
    """The part of an exported program that torch would unpickle, if there is one."""
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                content = archive.read(name) if _may_be_pickle(name) else b""
                if name.endswith("_config.json"):
                    parts = json.loads(content).get("config", {})
                    for entry, told in parts.items():
                        plain = str(told.get("path_name", "")).startswith(("weight_", "tensor_"))
                        if told.get("use_pickle") or not plain:
                            return entry
                elif content and not _harmless(content):
                    return name
    except (OSError, ValueError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"{path} can't be read as a program of torch.export: {error}") from error
    return None


def _may_be_pickle(name: str) -> bool:
    return name.endswith((".pt", ".pkl", "_config.json"))


def _harmless(content: bytes) -> bool:
    """Whether torch reads it with its restricted unpickler, which makes tensors only."""
    try:
        torch.load(io.BytesIO(content), weights_only=True)
    except Exception:  # whatever it is, it is no plain tensor
        return False
    return True
