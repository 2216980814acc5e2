"""Where `rulerlab phase` puts its diagrams."""

from __future__ import annotations

from pathlib import Path

from rulerlab.errors import InputError, UsageError


def result_folder(out: str | Path, result: str, force: bool) -> Path:
    """The folder for the result, made if need be; a finished one is kept without `force`."""
    folder = Path(out)
    if (folder / result).exists() and not force:
        raise UsageError(f"{folder / result} exists; give --force to replace it, or -o DIR")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} can't be made: {error.strerror}") from error
    return folder
