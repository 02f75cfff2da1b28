"""The admin in a real browser, under a policy that lets pages run and load their site's alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.db import connections
from django.test.testcases import LiveServerThread
from django.urls import reverse

from desk import Tab, desk, fill, superuser
from mlembed_django.models import Delivery, Report
from training.report.browser import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

# The least contrast of a text to what is behind it, and where.
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
  for (const item of document.querySelectorAll(".mlembed *, .mlembed-state")) {
    const drawn = item.namespaceURI.endsWith("svg");
    if (drawn ? item.tagName !== "text" : ![...item.childNodes].some((n) => n.nodeType === 3 && n.data.trim())) continue;
    const style = getComputedStyle(item);
    let back = item;
    while (back.parentElement && getComputedStyle(back).backgroundColor === clear) back = back.parentElement;
    const pair = [light(drawn ? style.fill : style.color), light(getComputedStyle(back).backgroundColor)];
    const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
    found.set(ratio, item.outerHTML.slice(0, 90));
  }
  const worst = Math.min(...found.keys());
  return [worst, found.get(worst)];
})()
"""
_CUT = """
[...document.querySelectorAll(".mlembed-bars text, .mlembed-wide text")].filter((text) => {
  const a = text.getBoundingClientRect(), b = text.closest(".mlembed-card").getBoundingClientRect();
  return a.left < b.left || a.right > b.right;
}).map((text) => text.textContent)
"""
_OVERLAP = """
[...document.querySelectorAll(".mlembed-wide")].filter((drawing) => {
  const boxes = [...drawing.querySelectorAll("text")].map((text) => text.getBoundingClientRect());
  return boxes.some((a, i) => boxes.slice(i + 1).some((b) =>
    a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom));
}).length
"""


class Visit:
    """A browser on the admin of a site that is served.

    Attributes:
        tab: The browser, logged in as a superuser.
        url: Of the site.
        made: The rows that are looked for.
    """

    def __init__(self, tab: Tab, url: str, made: dict[str, Any]) -> None:
        self.tab, self.url, self.made = tab, url, made

    def to(self, name: str, *args: Any, query: str = "", **window: Any) -> Tab:
        """Go to the page *name* of the admin."""
        self.tab.visit(f"{self.url}{reverse(f'admin:mlembed_{name}', args=args)}{query}", **window)
        return self.tab


@pytest.fixture
def visit(committing_db: None, tmp_path: Path) -> Iterator[Visit]:
    """Serve the admin with plausible data, and open it."""
    del committing_db
    with desk():
        made = fill()
        superuser()
        server = LiveServerThread("127.0.0.1", StaticFilesHandler, connections_override={})
        server.daemon = True
        server.start()
        server.is_ready.wait()
        assert server.error is None
        try:
            with Tab(tmp_path / "profile") as tab:
                url = f"http://127.0.0.1:{server.port}"
                tab.log_in(url, "root")
                yield Visit(tab, url, made)
        finally:
            server.terminate()
            server.join()
            connections.close_all()


def pages(visit: Visit) -> list[tuple[Any, ...]]:
    """Return every kind of page, as arguments of `Visit.to`."""
    report = Report.objects.filter(model="churn").latest("created")
    return [
        ("service_page", "?model=churn"),
        ("service_page", "?model=salaries"),
        *((f"{table}_changelist", "") for table in ("service", "prediction", "delivery", "report")),
        ("prediction_change", "", visit.made["prediction"].pk),
        ("delivery_change", "", visit.made["dead"].pk),
        ("report_change", "", report.pk),
    ]


def test_pages_are_quiet_fit_and_can_be_read(visit: Visit) -> None:
    """Under a strict policy no page complains, none is wider than its window, and all text is clear."""
    for name, query, *args in pages(visit):
        for width, dark in ((375, True), (1280, False)):
            tab = visit.to(name, *args, query=query, width=width, dark=dark)
            contrast = tab.evaluate(_CONTRAST) or [21, ""]

            assert tab.complaints == [], name
            assert all(each.startswith(visit.url) for each in tab.requests), name
            assert tab.evaluate("document.documentElement.scrollWidth") == width, name
            assert contrast[0] is None or contrast[0] >= 4.5, (name, dark, contrast)
            assert tab.evaluate(_CUT) == [], name
            assert tab.evaluate(_OVERLAP) == 0, name


def test_policy_would_have_spoken(visit: Visit) -> None:
    """The policy of these tests is on: a script in the page itself is refused, and that is heard."""
    tab = visit.to("service_page", query="?model=churn")
    tab.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.x = 1'}))"
    )

    assert tab.evaluate("window.x") is None
    assert any("Content Security Policy" in str(each) for each in tab.complaints)


def test_person_finds_a_prediction_and_what_came_of_it(visit: Visit) -> None:
    """A search by id leads to the prediction, and that to its delivery."""
    found = visit.made["prediction"]
    tab = visit.to("prediction_changelist")

    tab.write("#searchbar", str(found.uuid))
    tab.press("#changelist-search [type=submit]")
    listed = tab.text
    tab.press("#result_list tbody th a")
    shown = tab.text
    tab.press(".mlembed-table a[href*='/delivery/']")

    assert "1 prediction" in listed
    assert str(found.uuid) in shown
    assert "OUTCOMES" in shown.upper()
    assert "call at-risk customers" in tab.text


def test_person_retries_and_discards_a_delivery(visit: Visit) -> None:
    """The buttons of a delivery's page queue it again, and discard it."""
    row = visit.made["dead"]

    tab = visit.to("delivery_change", row.pk)
    tab.press(".mlembed-doing form:has([value=retry_deliveries]) button")
    retried, said = Delivery.objects.get(pk=row.pk).state, tab.text
    tab = visit.to("delivery_change", row.pk)
    tab.press(".mlembed-doing form:has([value=discard_deliveries]) button")

    assert (retried, Delivery.objects.get(pk=row.pk).state) == ("pending", "discarded")
    assert "1 delivery retried." in said
    assert "1 delivery discarded." in tab.text


def test_person_replays_from_the_list_after_a_look(visit: Visit) -> None:
    """The action of the list shows the events first; the button below sends them."""
    row = Delivery.objects.filter(state="sent").latest("pk")
    tab = visit.to("delivery_changelist", query="?state=sent")

    tab.evaluate(f"document.querySelector('input.action-select[value=\"{row.pk}\"]').click()")
    tab.write("select[name=action]", "replay_deliveries")
    tab.press("button[name=index]")
    looked, before = tab.text, Delivery.objects.get(pk=row.pk).state
    complaints = list(tab.complaints)
    tab.press(".submit-row [type=submit]")

    assert "Nothing was sent yet" in looked
    assert str(row.uuid) in looked
    assert before == "sent"
    assert complaints == []
    assert Delivery.objects.get(pk=row.pk).state == "pending"
    assert "1 delivery replayed." in tab.text


def test_person_reaches_the_page_of_a_model(visit: Visit) -> None:
    """The index and the row of a service lead to the model's page, whose tables open."""
    tab = visit.tab
    tab.visit(f"{visit.url}/admin/mlembed/")
    tab.press(".mlembed-pages a")
    from_index = tab.text
    tab = visit.to("service_changelist")
    tab.press("#result_list .field-model_page a")
    tab.evaluate("document.querySelectorAll('details').forEach((d) => d.open = true)")

    assert "Realised roc_auc over time" in from_index
    assert "Realised roc_auc over time" in tab.text
    assert tab.evaluate("document.querySelectorAll('details .mlembed-table').length") == 8
