"""The report in a headless Chromium: at three widths, light and dark, and on paper."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulator.insight.load import Run
from emulator.insight.report.writing import write_report
from tests.insight.browser import Browser, executable
from tests.insight.test_report import copied, ran

WIDTHS = (375, 800, 1280)  # a phone, a tablet, a desk
PROGRAM = executable()
if PROGRAM is None and not os.environ.get("REQUIRE_CHROMIUM"):
    pytest.skip("no Chromium here: apt-get install chromium-headless-shell", allow_module_level=True)

OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
# Texts of figures that reach beyond their drawing: they would be cut off.
CLIPPED = """[...document.querySelectorAll('svg text')].filter(one => {
  const text = one.getBoundingClientRect(), svg = one.ownerSVGElement.getBoundingClientRect();
  return text.left < svg.left - 1 || text.right > svg.right + 1 || text.top < svg.top - 1 || text.bottom > svg.bottom + 1;
}).map(one => one.textContent)"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    assert PROGRAM is not None, "REQUIRE_CHROMIUM is set, but there is none"
    found = Browser(PROGRAM, tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run with all that a report can show; long names beside."""
    folder = tmp_path_factory.mktemp("learned")
    uneven = "devices[0].slowdown={distribution: lognormal, sigma: 1}"
    found = ran(folder, "protocol.rounds=3", "--inline", "evaluate.per_device=true", uneven)
    to = copied(found, folder / "copy")
    summary = json.loads((to / "summary.json").read_text())
    (to / "summary.json").write_text(json.dumps(summary | {"name": "a-name-without-a-break-" * 8}))
    return write_report(Run(to))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_fits_and_complains_of_nothing(browser: Browser, report: Path, width: int, scheme: str) -> None:
    browser.complaints.clear()
    browser.open(report, width, scheme)
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate(OVERFLOW) == 0
    assert browser.evaluate(CLIPPED) == []
    assert browser.complaints == []
    paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 28)"}[scheme]


@pytest.mark.parametrize("width", (375, 1280))
def test_the_answer_is_on_the_first_screen(browser: Browser, report: Path, width: int) -> None:
    browser.open(report, width, "light")
    assert browser.evaluate("document.querySelector('.answer').getBoundingClientRect().bottom") < 800  # of 800 pixels


def test_it_prints(browser: Browser, report: Path) -> None:
    browser.complaints.clear()
    browser.open(report, 1280, "light")
    assert browser.printed().startswith(b"%PDF-")
    assert browser.complaints == []


def test_this_test_can_fail(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<p style='width:5000px'>wide</p><script>console.error('oh'); no_such_name()</script>")
    browser.complaints.clear()
    browser.open(page, 375, "light")
    assert browser.evaluate(OVERFLOW) > 0
    assert len(browser.complaints) == 2
