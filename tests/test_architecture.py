"""The house has an order: what may import what, and which library enters by which door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "rulerlab"
ORDER = """errors records palette plots rig camera store exchange video calibrate targets track
segments chain network fit compare sweep synthetic clock shaker capture report review cli""".split()
DOORS = {
    "cv2": {
        "camera", "calibrate", "targets", "track", "synthetic", "clock", "capture", "report",
        "review",
    },
    "av": {"video", "capture"},
    "numba": {"track", "chain", "network"},
    "torch": {"network"},
    "serial": {"shaker"},
    "matplotlib": {
        "calibrate", "targets", "chain", "network", "fit", "compare", "shaker", "plots",
        "report",
    },
}
HEAVY = ["cv2", "av", "scipy", "numba", "matplotlib", "torch", "serial", "pandas"]
SOURCES = sorted(PACKAGE.rglob("*.py"))


def house(path: Path) -> str:
    """The name in ORDER to which a source file belongs."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path):
    """Every absolute module name that a file imports, at any depth."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            if node.module == "rulerlab":
                yield from (f"rulerlab.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_modules_import_only_what_comes_before(path):
    if path.name in ("__init__.py", "__main__.py") and path.parent == PACKAGE:
        return
    assert house(path) in ORDER, f"{path} has no place in the house"
    for name in imported(path):
        if name.startswith("rulerlab.") and name != "rulerlab.__version__":
            other = name.split(".")[1]
            assert ORDER.index(other) <= ORDER.index(house(path)), f"{path} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_each_big_library_enters_by_its_door(path):
    for name in imported(path):
        library = name.split(".")[0]
        if library in DOORS and house(path) != "cli":
            assert house(path) in DOORS[library], f"{path} imports {library}"


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["track", "--help"]])
def test_asking_for_help_imports_no_big_library(arguments):
    script = (
        "import sys\nfrom rulerlab.cli import main\n"
        f"try:\n    main({arguments!r})\nexcept SystemExit as stop:\n    assert not stop.code\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stderr.strip() == "[]", done.stderr


def test_no_file_is_named_after_nothing():
    banned = {"utils", "helpers", "common", "misc", "legacy", "v2"}
    assert not banned & {path.stem for path in SOURCES}


def test_every_verb_has_help_and_stands_in_the_readme():
    import click

    from rulerlab.cli import rulerlab

    readme = (PACKAGE.parent / "README.md").read_text()
    context = click.Context(rulerlab)
    for verb in rulerlab.list_commands(context):
        assert rulerlab.get_command(context, verb).help, f"{verb} has no help"
        assert f"rulerlab {verb}" in readme, f"README does not name `rulerlab {verb}`"
