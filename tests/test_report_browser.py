"""The pages as Chromium shows them: nothing fails, nothing is fetched, everything can be seen."""

import os

import browser
import pytest
import runs

from rulerlab.cli import main

pytestmark = pytest.mark.browser
VISIBLE = """[...document.images].map(image => {
    const box = image.getBoundingClientRect(), sheet = image.closest('figure');
    return [image.naturalWidth, box.width, box.height, box.left,
            box.right - (getComputedStyle(sheet).overflowX === 'auto' ? box.width : 0)] })"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """A report, a student's copy and the index of a batch of six."""
    folder = tmp_path_factory.mktemp("pages")
    run = runs.run_folder(folder / "groups/g0/clip.rulerlab", warnings=["the clip starts late"])
    for seed in range(1, 6):
        runs.run_folder(folder / f"groups/g{seed}/clip.rulerlab", seed=seed, figures=False)
    for arguments in ([str(run)], [str(run), "--student"],
                      [str(folder / "groups"), "-o", str(folder / "out")]):
        with pytest.raises(SystemExit) as stop:
            main(["report", *arguments])
        assert stop.value.code == 0
    return [run / "report.html", run / "report_student.html", folder / "out/index.html"]


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if browser.chromium() is None:
        assert not os.environ.get("RULERLAB_REQUIRE_BROWSER"), "no chromium, although it must be"
        pytest.skip("chromium is not installed (apt install chromium)")
    with browser.Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.mark.parametrize("width", [400, 1600])
@pytest.mark.parametrize("which", range(3), ids=["report", "student", "index"])
def test_a_page_is_complete_silent_and_asks_for_nothing(pages, chromium, width, which, tmp_path):
    chromium.open(pages[which], width=width, phone=width < 600)
    assert chromium.complaints() == []
    outside = [address for address in chromium.requests()
               if not address.startswith("data:image/") and address != pages[which].as_uri()]
    assert outside == []
    assert chromium.run("document.documentElement.scrollWidth") <= width
    figures = chromium.run(VISIBLE)
    assert len(figures) >= 2
    for natural, shown, height, left, right in figures:
        assert natural > 0, "a figure can't be decoded"
        assert shown > 0.4 * min(width, 1200) or shown > 500
        assert height > 100 and left >= 0 and right <= width
    chromium.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 20_000


def test_the_browser_notices_a_page_that_asks_for_more(chromium, tmp_path):
    page = tmp_path / "bad.html"
    page.write_text("<title>x</title><img src='nowhere.png' onerror='console.error(1)'>"
                    "<script>throw new Error('no')</script>")
    with pytest.raises(AssertionError):  # the picture can't be decoded
        chromium.open(page, width=400)
    assert len(chromium.complaints()) >= 2
    assert any("nowhere" in address for address in chromium.requests())


def test_the_page_prints_on_a_few_sheets(pages, chromium, tmp_path):
    chromium.open(pages[0], width=1000)
    chromium.print(tmp_path / "page.pdf")
    sheets = (tmp_path / "page.pdf").read_bytes().count(b"/Type /Page\n")
    assert 2 <= sheets <= 9
