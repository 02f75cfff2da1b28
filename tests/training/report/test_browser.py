"""In a real browser the page is quiet, fits, leads where it says and prints."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from mlembed.training.report import write_report
from training.report import scenes
from training.report.browser import CHROMIUM, Browser

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

PAGES = {
    "binary": (scenes.manifest(), scenes.binary(), scenes.PROOF),
    "regression": (scenes.regression_manifest(), scenes.regression(), scenes.PROOF),
    "minimal": (scenes.manifest(), scenes.minimal(), scenes.PROOF),
    "odd": (*scenes.odd(), scenes.PROOF),
    "wide": (scenes.manifest(), scenes.wide(), scenes.PROOF),
}
_CONTRAST = """
(() => {
  const light = (text) => {
    const [r, g, b] = text.match(/[\\d.]+/g).map((part) => {
      const c = part / 255;
      return c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const clear = "rgba(0, 0, 0, 0)";
  const found = new Map();
  for (const item of document.querySelectorAll("main *")) {
    const drawn = item.namespaceURI.endsWith("svg");
    if (drawn ? item.tagName !== "text" : ![...item.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(item);
    let back = item;
    while (getComputedStyle(back).backgroundColor === clear) back = back.parentElement;
    const pair = [light(drawn ? style.fill : style.color), light(getComputedStyle(back).backgroundColor)];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    found.set(ratio, item.outerHTML.slice(0, 90));
  }
  const worst = Math.min(...found.keys());
  return [worst, found.get(worst)];
})()
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests."""
    with Browser(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every page as a file."""
    made = tmp_path_factory.mktemp("pages")
    for name, told in PAGES.items():
        (made / f"{name}.html").write_text(write_report(*told), "utf-8")
    return made


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.parametrize("width", [375, 1280])
def test_page_is_quiet_and_fits(browser: Browser, folder: Path, name: str, width: int) -> None:
    """Nothing on the console, nothing asked for, nothing wider than the window."""
    page = folder / f"{name}.html"

    browser.open(page, width)

    assert browser.complaints == []
    assert browser.requests == [page.as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_page_leads_where_it_says(browser: Browser, folder: Path) -> None:
    """Every link of the navigation has a place to go to."""
    browser.open(folder / "binary.html")

    lost = browser.evaluate(
        "[...document.links].filter((a) => !document.querySelector(a.getAttribute('href'))).length"
    )

    assert browser.evaluate("document.links.length") == 13
    assert lost == 0


def test_page_draws_within_its_drawings(browser: Browser, folder: Path) -> None:
    """No text of a plot is cut at its edge."""
    browser.open(folder / "binary.html")

    cut = browser.evaluate(
        "[...document.querySelectorAll('svg text')].filter((text) => {"
        "const a = text.getBoundingClientRect(),"
        " b = text.closest('svg').getBoundingClientRect();"
        "return a.left < b.left - 1 || a.right > b.right + 1}).map((text) => text.textContent)"
    )

    assert cut == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["binary", "regression"])
def test_page_can_be_read(browser: Browser, folder: Path, name: str, *, dark: bool) -> None:
    """All text stands out from what is behind it by 4.5 to 1, in the light and in the dark."""
    browser.open(folder / f"{name}.html", dark=dark)

    worst, where = browser.evaluate(_CONTRAST)

    assert worst >= 4.5, where


def test_page_prints_on_several_sheets(browser: Browser, folder: Path) -> None:
    """On paper the page has sheets, and what is folded on the screen is open."""
    browser.open(folder / "binary.html")

    printed = browser.printed()
    browser.call("Emulation.setEmulatedMedia", media="print")
    hidden = browser.evaluate(
        "[...document.querySelectorAll('details table')].filter((t) => !t.offsetHeight).length"
    )
    browser.call("Emulation.setEmulatedMedia", media="")

    assert len(re.findall(rb"/Type\s*/Page\b", printed)) > 1
    assert hidden == 0
