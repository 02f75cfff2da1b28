"""The page of what actions brought: whole, quiet, escaped, and drawn where it says."""

from __future__ import annotations

import dataclasses
import datetime as dt
import json
import re
from html import unescape
from typing import TYPE_CHECKING, Any

import pytest

from crm.receiver import action
from crm.test_commands import run
from mlembed_crm import Outbox
from mlembed_crm.effect import effects
from mlembed_crm.effect.page import axes, render
from training.report.browser import CHROMIUM, Browser

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed_crm.action import State
    from mlembed_crm.effect import Effect

NOW = dt.datetime(2026, 11, 27, tzinfo=dt.UTC)
HOSTILE = '"><script>alert(1)</script>{{ 7 * 7 }}'


def effect(treated: list[Any], control: list[Any], rule: str = "calls") -> Effect:
    """Return what a rule brought, of two groups with these outcomes."""
    actions, outcomes = [], {}
    groups: tuple[tuple[State, list[Any]], ...] = (("sent", treated), ("held", control))
    for state, values in groups:
        for place, value in enumerate(values):
            name = f"{state}-{place}"
            actions.append(dataclasses.replace(action(name), id=name, rule=rule, state=state))
            outcomes[name] = value
    (found,) = effects(actions, lambda one: outcomes[one.id])
    return found


HIGHER = effect([True] * 80 + [False] * 20, [True] * 50 + [False] * 50)
CASES = {
    "higher": HIGHER,
    "means": effect([float(n) for n in range(60)], [n + 0.5 for n in range(40)], "means"),
    "alone": effect([True, False], [], "alone"),
    "unknown": effect([None, None], [None], HOSTILE),
    "constant": effect([1.0] * 3, [1.0] * 3, "constant"),
}


def test_groups_and_difference_stand_where_their_figures_are() -> None:
    """On one axis the greater stands further right, and the interval around its figure."""
    outcome, difference = axes(HIGHER)
    treated, control = outcome.marks
    (uplift,) = difference.marks

    assert [treated.text, control.text] == ["80.0% (71.1% to 86.7%)", "50.0% (40.4% to 59.6%)"]
    assert treated.low is not None
    assert control.high is not None
    assert 0 < control.at < control.high < treated.low < treated.at < 100
    assert difference.zero is not None
    assert uplift.low is not None
    assert uplift.high is not None
    assert difference.zero < uplift.low < uplift.at < uplift.high < 100
    assert uplift.text.startswith("+30.0%")


@pytest.mark.parametrize("name", CASES)
def test_page_is_made_of_whatever_is_known(name: str) -> None:
    """No outcome, no control group, nothing but one value: each has a page, on which nothing runs."""
    html = render([CASES[name]], None, NOW)
    policy = re.findall(r'Content-Security-Policy" content="(.*?)"', html)[0]

    assert "<script" not in html
    assert "49" not in re.findall(r"<h2[^>]*>(.*?)</h2>", html)[0]
    assert unescape(policy).startswith("default-src 'none'")
    assert ("no outcome is known" in html.lower()) == (name == "unknown")
    places = [float(text) for text in re.findall(r'x[12]?="(-?[\d.]+)%"', html)]
    assert all(0 <= place <= 100 for place in places)


def test_page_without_actions_says_so() -> None:
    """An empty outbox has an answer, too."""
    assert "No actions yet" in render([], NOW, NOW)


def test_report_writes_the_page(tmp_path: Path) -> None:
    """Beside the table or the JSON, which stay as they are; what cannot be written is said."""
    outbox = Outbox(tmp_path / "actions.db")
    outbox.enqueue(action())
    (tmp_path / "log" / "payments").mkdir(parents=True)
    words = ("report", outbox.path, "--since", "3650d", "--log-dir", tmp_path / "log")
    page = tmp_path / "pages" / "effect.html"

    plain = run(*words, "--json")
    drawn = run(*words, "--json", "--html", page)
    refused = run(*words, "--html", outbox.path / "effect.html")

    assert plain[0] == 0, plain[2]
    assert drawn[:2] == plain[:2]
    assert drawn[2].splitlines()[-1] == f"the page is in {page}"
    assert json.loads(drawn[1])["rule"] in page.read_text("utf-8")
    assert refused[0] == 2
    assert "cannot write the page" in refused[2]


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser_is_quiet_and_fits(tmp_path: Path, width: int) -> None:
    """Nothing is loaded, nothing complains, and nothing must be scrolled sideways but the table."""
    page = tmp_path / "effect.html"
    page.write_text(render([*CASES.values()], NOW, NOW), encoding="utf-8")
    with Browser(tmp_path / "profile") as browser:
        browser.open(page, width)

        assert browser.complaints == []
        assert browser.requests == [page.as_uri()]
        assert browser.evaluate("document.documentElement.scrollWidth") == width
