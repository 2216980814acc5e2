"""The two sample recordings of data/: what they show, and their list with check sums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from rulerlab.synthetic.film import Film, film
from rulerlab.synthetic.scene import Scene

SAMPLES = {
    "ruler_dots": Scene(
        colours=("red",), seconds=6.0, exposure_s=0.004, bitrate_kbps=2400, seed=11,
    ),
    "blocks_tags": Scene(
        rig="blocks", marks="tags", references="tags", opening="even", pull_mm=130.0,
        rattle_mm=0.8, shaking_mm=1.5, seconds=5.0, exposure_s=0.003, bitrate_kbps=3600, seed=12,
    ),
}  # fmt: skip
TITLES = {
    "ruler_dots": "Folding ruler with red dots on its hinges, pulled slowly at one end",
    "blocks_tags": "Seven blocks with ArUco tags and springs on a rail that is shaken",
}
MEDIA = {".mp4": "video/mp4", ".toml": "application/toml", ".npz": "application/x-npz"}


def write_samples(
    folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[Film]:
    """Film the samples into a folder and list them in datapackage.json (Data Package v2)."""
    films = [film(scene, folder / f"{name}.mp4", progress=progress)
             for name, scene in SAMPLES.items()]  # fmt: skip
    resources = []
    for name, made in zip(SAMPLES, films, strict=True):
        for path in (made.video, made.rig, made.camera, made.truth):
            content = path.read_bytes()
            resources.append({
                "name": path.name.removesuffix(path.suffix).replace(".", "-").replace("_", "-")
                + "-" + path.suffix[1:],
                "path": path.name,
                "description": TITLES[name],
                "mediatype": MEDIA[path.suffix],
                "bytes": len(content),
                "hash": "sha256:" + hashlib.sha256(content).hexdigest(),
            })  # fmt: skip
    package = {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": "rulerlab-samples",
        "title": "Sample recordings of rulerlab, with known truth",
        "licenses": [{"name": "CC0-1.0"}],
        "sources": [{"title": "rulerlab demo --samples -o data --force"}],
        "resources": resources,
    }
    (folder / "datapackage.json").write_text(json.dumps(package, indent=2) + "\n")
    return films
