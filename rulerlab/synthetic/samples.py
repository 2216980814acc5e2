"""The sample recordings of data/: what they show, and the list of all files with check sums."""

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
TABLES = {
    "network_digits": "Load curves of networks trained on the digits of scikit-learn",
    "published_phase_diagram": "The published load curves, digitised: Shi, Pan & Dokmanić (2025)",
}
MEDIA = {".mp4": "video/mp4", ".toml": "application/toml", ".npz": "application/x-npz",
         ".csv": "text/csv"}  # fmt: skip


def write_samples(
    folder: Path, *, progress: Callable[[int, int], None] | None = None
) -> list[Film]:
    """Film the samples into a folder and list them in its datapackage.json."""
    films = [film(scene, folder / f"{name}.mp4", progress=progress)
             for name, scene in SAMPLES.items()]  # fmt: skip
    write_package(folder)
    return films


def write_package(folder: Path) -> None:
    """List the samples and tables that a folder holds in its datapackage.json (version 2)."""
    resources = []
    for name, title in (TITLES | TABLES).items():
        endings = (".csv",) if name in TABLES else (".mp4", ".rig.toml", ".camera.toml",
                                                    ".truth.npz")  # fmt: skip
        for path in (folder / f"{name}{ending}" for ending in endings):
            if path.exists():
                resources.append(_resource(path, title))
    package = {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": "rulerlab-samples",
        "title": "Sample recordings of rulerlab, with known truth, and load curves of networks",
        "licenses": [{"name": "CC0-1.0"}],
        "sources": [{"title": "rulerlab demo --samples -o data --force"},
                    {"title": "benchmarks/phase_network.py --write data"}],
        "resources": resources,
    }  # fmt: skip
    (folder / "datapackage.json").write_text(json.dumps(package, indent=2) + "\n")


def _resource(path: Path, title: str) -> dict:
    content = path.read_bytes()
    name = path.name.removesuffix(path.suffix).replace(".", "-").replace("_", "-")
    return {
        "name": f"{name}-{path.suffix[1:]}",
        "path": path.name,
        "description": title,
        "mediatype": MEDIA[path.suffix],
        "bytes": len(content),
        "hash": "sha256:" + hashlib.sha256(content).hexdigest(),
    }
