"""README and docs/ are true: every block of code in them runs, in order, on the sample data.

Blocks of one page share a folder: data/ as in the repository (of the ruler every third frame),
and clip.mp4 with its run folder clip.rulerlab. A block under `<!-- not run by the tests: WHY -->`
is left out. A csv or toml block that begins with `# NAME: ...` becomes that file.
"""

import re
import shlex
import shutil
import subprocess
import tomllib
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rulerlab.cli import main
from rulerlab.rig import read_rig

ROOT = Path(__file__).parent.parent
LONG = {"networks.md", "lab_guide.md"}  # they train networks and simulate chains
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"(?:^<!--(.*?)-->\n)?^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
LEFT_OUT = re.compile(r"\s*not run by the tests: (.+?)\s*$")
WHOLE_TEST = "test command"  # what runs these tests
INSTALL = ("python3 -m venv", ". .venv", "pip install", "sudo apt")  # .ci/run does it
LANGUAGES = {"sh", "python", "toml", "csv", "json", ""}


def blocks(page):
    """(line, note, language, text) of every block of code in a page."""
    text = page.read_text(encoding="utf-8")
    for found in BLOCK.finditer(text):
        line = text.count("\n", 0, found.start(2)) + 1
        yield line, found[1] or "", found[2], found[3]


def thinned(source, target, every=3):
    """Every third frame of a film, at its own time: it tells the same in a third of the time."""
    with av.open(str(source)) as film, av.open(str(target), "w") as copy:
        first = film.streams.video[0]
        stream = copy.add_stream("libx264", rate=30)
        stream.width, stream.height, stream.pix_fmt = first.width, first.height, "yuv420p"
        stream.options = {"crf": "18", "preset": "veryfast"}
        for number, frame in enumerate(film.decode(video=0)):
            if number % every == 0:
                frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, 30), 0
                copy.mux(stream.encode(frame))
        copy.mux(stream.encode())


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    """The data folder, and one run that all pages share."""
    folder = tmp_path_factory.mktemp("docs")
    shutil.copytree(ROOT / "data", folder / "data", ignore=shutil.ignore_patterns("*.mp4"))
    thinned(ROOT / "data/ruler_dots.mp4", folder / "data/ruler_dots.mp4")
    shutil.copy(folder / "data/ruler_dots.mp4", folder / "clip.mp4")
    run(["track", str(folder / "data/ruler_dots.mp4"), "-q"])
    shutil.copytree(folder / "data/ruler_dots.rulerlab", folder / "clip.rulerlab")
    return folder


def run(arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code in (0, 4), f"rulerlab {shlex.join(arguments)}: exit {stop.value.code}"


def run_shell(text):
    for line in text.replace("\\\n", " ").splitlines():
        for command in line.split("&&"):
            words = shlex.split(command, comments=True)
            if not words or command.strip().startswith(INSTALL):
                continue
            if words[0] == "rulerlab":
                run(words[1:])
            else:
                assert words[0] in ("mkdir", "cp"), f"unknown command {words[0]}"
                subprocess.run(words, check=True)


def keep(text):
    """Write a block that begins with `# NAME: ...` to that file; the name."""
    first, rest = text.split("\n", 1)
    named = re.match(r"# ([\w.-]+\.\w+):", first)
    if named:
        Path(named[1]).write_text(rest, encoding="utf-8")
    return named and named[1]


def check_toml(text):
    """It is TOML; one that tells of a rig is a rig that can be read."""
    keep(text)
    if "kind" in tomllib.loads(text):
        shutil.copy("data/ruler_dots.camera.toml", "camera.toml")
        Path("page.rig.toml").write_text(text, encoding="utf-8")
        read_rig(Path("page.rig.toml"))


@pytest.mark.parametrize("page", [
    pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in LONG else [])
    for page in PAGES
])
def test_every_block_of_a_page_runs(page, sample, tmp_path, monkeypatch):
    stage = tmp_path / "stage"
    shutil.copytree(sample, stage)
    monkeypatch.chdir(stage)
    names = {"__name__": "page"}
    for line, note, language, text in blocks(page):
        assert language in LANGUAGES, f"{page.name}:{line}: what is {language}?"
        if LEFT_OUT.match(note) or note.strip() == WHOLE_TEST:
            continue
        try:
            if language == "sh":
                run_shell(text)
            elif language == "python":
                exec(compile(text, f"{page.name}:{line}", "exec"), names)
            elif language == "toml":
                check_toml(text)
            elif language == "csv":
                assert keep(text), "a csv block names its file in its first line"
        except (Exception, pytest.fail.Exception) as error:
            raise AssertionError(f"{page.name}:{line}: {error}") from error


def test_few_blocks_are_left_out_and_each_says_why():
    left_out = [(page.name, why[1]) for page in PAGES for _, note, _, _ in blocks(page)
                if (why := LEFT_OUT.match(note))]
    assert len(left_out) <= 8
    assert all(re.search("needs|takes", why) for _, why in left_out), left_out


def test_the_test_command_of_the_readme_runs_all_tests():
    command = [text for _, note, _, text in blocks(ROOT / "README.md")
               if note.strip() == WHOLE_TEST]
    assert len(command) == 1 and "python -m pytest" in command[0] and "ruff check" in command[0]


def test_the_shared_run_shows_the_pull(sample):
    curve = np.loadtxt(sample / "clip.rulerlab/load_curve.csv", delimiter=",", skiprows=1)
    assert abs(curve[0, 1] - 150.4) < 2  # mm, as in the full film
