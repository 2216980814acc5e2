"""Trained networks as files: safetensors, with the recipe from which the module is rebuilt."""

from __future__ import annotations

import json
from pathlib import Path

from torch import nn

from rulerlab.errors import InputError, MissingPartError
from rulerlab.network.mlp import build
from rulerlab.network.recipe import Recipe
from rulerlab.network.train import Trained

try:
    from safetensors import SafetensorError, safe_open
    from safetensors.torch import save_file
except ImportError as error:
    raise MissingPartError(
        "files of networks need safetensors: pip install 'rulerlab[networks]'") from error


def write(trained: Trained, path: str | Path, *, inputs: int, classes: int, data: str = "") -> None:
    """Write a network to `path` (.safetensors); its recipe, shape and data stand in the header."""
    known = {"recipe": trained.recipe.to_json(), "inputs": str(inputs), "classes": str(classes),
             "data": data, "accuracy_percent": json.dumps(trained.accuracy)}  # fmt: skip
    tensors = {name: part.contiguous() for name, part in trained.model.state_dict().items()}
    save_file(tensors, path, {f"rulerlab.{name}": value for name, value in known.items()})


def metadata(path: str | Path) -> dict[str, str]:
    """What the header of a safetensors file says, {} if nothing; InputError if it is no such."""
    try:
        with safe_open(path, "pt") as file:
            return file.metadata() or {}
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path} can't be read as safetensors: {error}") from error


def load(path: str | Path) -> nn.Module:
    """The network of a file that `rulerlab train` wrote, in eval mode.

    Raises InputError if the file is damaged or holds no recipe of ours.
    """
    known = metadata(path)
    try:
        recipe = Recipe.from_json(known["rulerlab.recipe"])
        model = build(recipe, int(known["rulerlab.inputs"]), int(known["rulerlab.classes"]))
    except (KeyError, ValueError) as error:
        raise InputError(f"{path} does not say how its network is built; only files that "
                         "`rulerlab train` wrote do") from error
    try:
        with safe_open(path, "pt") as file:
            model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (RuntimeError, SafetensorError) as error:
        raise InputError(f"{path}: weights do not fit their recipe: {error}") from error
    return model.eval()
