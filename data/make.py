"""Make the sample recordings again and list them in datapackage.json: `python data/make.py`."""

import hashlib
import json
from pathlib import Path

from rulerlab.synthetic import Scene, film

HERE = Path(__file__).parent
SAMPLES = {
    "ruler_dots": ("A folding ruler with red dots on its hinges, pulled slowly by hand",
                   Scene(seconds=6.0, seed=1, bits_per_s=2.4e6)),
    "blocks_tags": ("Seven blocks and springs with ArUco tags on a shaken rail",
                    Scene(kind="blocks", marks="tags", references="tags", shake_mm=1.0,
                          pull="jerky", seconds=5.0, seed=2, bits_per_s=3.0e6)),
}
TYPES = {".mp4": "video/mp4", ".toml": "application/toml", ".npz": "application/octet-stream"}


def main() -> None:
    resources = []
    for name, (title, scene) in SAMPLES.items():
        film(scene, HERE / f"{name}.mp4")
        for path in sorted(HERE.glob(f"{name}.*")):
            resources.append({
                "name": path.name.lower().replace("_", "-").replace(".", "-"),
                "path": path.name, "title": title, "mediatype": TYPES[path.suffix],
                "bytes": path.stat().st_size,
                "hash": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
            })
    package = {
        "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
        "name": "rulerlab-samples",
        "title": "Sample recordings of rulerlab, filmed by rulerlab.synthetic",
        "licenses": [{"name": "BSD-3-Clause", "path": "../LICENSE"}],
        "resources": resources,
    }
    (HERE / "datapackage.json").write_text(json.dumps(package, indent=2) + "\n")


if __name__ == "__main__":
    main()
