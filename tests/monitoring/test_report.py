"""The page holds the whole report, needs nothing else, and lets nothing in it run."""

from __future__ import annotations

import base64
import hashlib
import stat
import subprocess
import sys
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from bundles import toy_bundle, toy_table
from mlembed.columns import Column
from mlembed.errors import MonitoringError
from mlembed.monitoring.log import LoggedOutcome
from mlembed.monitoring.monitor import Report, monitor
from mlembed.monitoring.policy import Policy
from mlembed.monitoring.report import render, write_html
from monitoring.scenes import features, toy_log

if TYPE_CHECKING:
    from pathlib import Path

EVIL = "<script>alert(1)</script>"
QUICK = Policy(resamples=50)


class Page(HTMLParser):
    """Reads a page: its elements with their attributes, and the text of each kind."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: dict[str, str] = {}
        self._open = [""]
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in {"meta", "br"}:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text[self._open[-1]] = self.text.get(self._open[-1], "") + data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of every element *tag*."""
        return [attributes for name, attributes in self.elements if name == tag]


def judged(n: int = 600, **changes: Any) -> Report:
    """Return a report of *n* rows in which the towns drifted and outcomes are known."""
    table = {**toy_table(n, 3), "town": ["oslo"] * n, **changes}
    outcomes = [LoggedOutcome(f"id-{i}", "", i % 4 == 0, 2**60, None, 0) for i in range(0, n, 2)]
    log = toy_log(n, features=features(table), outcomes=outcomes)
    log.reason[::20] = "fallback"
    return monitor(toy_bundle(), log, policy=QUICK)


def test_render_shows_every_column_with_a_plot() -> None:
    """Each column and the score has a row in the table and a plot with a title and description."""
    report = judged()

    page = Page(render(report))

    names = [drift.name for drift in report.drifts]
    for name in names:
        assert name in page.text["a"]
        assert name in page.text["h3"]
    assert len(page.all("svg")) == len(names) + 2
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        title, description = str(svg["aria-labelledby"]).split()
        assert {"id": title} in page.all("title")
        assert {"id": description} in page.all("desc")


def test_render_says_what_to_do() -> None:
    """Alerts stand on the page with their remedy, and so does the state in words."""
    report = judged()

    text = " ".join(Page(render(report)).text.values())

    assert report.state == "alert"
    assert "! alert" in text
    for alert in report.alerts:
        assert alert.text[1:] in text
        assert alert.remedy in text


def test_render_has_tables_with_headers() -> None:
    """Every head of a column and of a row says which it is."""
    heads = Page(render(judged())).all("th")

    assert {head["scope"] for head in heads} == {"col", "row"}


def test_render_escapes_what_comes_from_outside() -> None:
    """A category, an error or a column's note that looks like HTML is shown, never run."""
    column = Column(
        name="town", kind="category", vocabulary=(EVIL, "'\"><img src=x onerror=alert(1)>")
    )
    bundle = toy_bundle("toy", "1.2.0", columns=(column,))
    log = toy_log(
        400,
        features={"town": np.array([EVIL] * 400, dtype=object)},
        digest=np.array([bundle.id] * 400, dtype=object),
    )
    log.reason[:100] = "error"
    log.error_type[:100] = EVIL

    report = monitor(bundle, log, policy=QUICK)
    html = render(report)
    page = Page(html)

    assert report.state == "alert"
    assert EVIL not in html
    assert "&lt;script&gt;" in html
    assert len(page.all("script")) == 1
    assert not page.all("img")


def test_render_loads_nothing() -> None:
    """The page names no other file or host, and its policy forbids the browser to ask for one."""
    html = render(judged())
    page = Page(html)

    assert "http" not in html.replace("http-equiv", "")
    assert not [a for _, a in page.elements if a.keys() & {"src", "srcset", "style", "onclick"}]
    assert all(str(link["href"]).startswith("#chart-") for link in page.all("a"))
    assert not page.all("link")


def test_render_permits_its_own_script_and_style_alone() -> None:
    """The policy names the digests of the one script and the one style, and nothing else."""
    page = Page(render(judged()))

    policy = next(m["content"] for m in page.all("meta") if "http-equiv" in m)

    assert policy is not None
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    for tag in ("script", "style"):
        digest = base64.b64encode(hashlib.sha256(page.text[tag].encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


def test_render_follows_the_readers_colours() -> None:
    """The style knows dark mode."""
    assert "prefers-color-scheme: dark" in Page(render(judged())).text["style"]


def test_render_of_an_empty_log_is_a_page() -> None:
    """A report of nothing has no bars and no division by zero."""
    html = render(monitor(toy_bundle(), toy_log(0)))

    assert "No calls." in html
    assert "nan" not in html.lower().replace("nano", "")


def test_render_of_sixty_long_columns_stays_small() -> None:
    """A wide model gives a page that a browser opens at once."""
    columns = tuple(Column(name=f"c{i}_{'long' * 10}", kind="number") for i in range(60))
    bundle = toy_bundle(columns=columns)
    log = toy_log(
        400,
        features=features(toy_table(400, 1, columns)),
        digest=np.array([bundle.id] * 400, dtype=object),
    )

    assert len(render(monitor(bundle, log, policy=QUICK))) < 400_000


def test_write_html_replaces_the_page_whole(tmp_path: Path) -> None:
    """The page is readable by others, takes the place of an older one and leaves no rest."""
    path = tmp_path / "new" / "report.html"
    report = judged()
    write_html(monitor(toy_bundle(), toy_log(0)), path)

    write_html(report, path)

    assert path.read_text("utf-8") == render(report)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert [item.name for item in path.parent.iterdir()] == ["report.html"]


@pytest.mark.parametrize("place", ["directory", "under a file"])
def test_write_html_says_where_it_cannot_write(tmp_path: Path, place: str) -> None:
    """A place that cannot be written to is an error with a remedy, and nothing is left behind."""
    (tmp_path / "taken").mkdir()
    (tmp_path / "file").write_text("")
    path = tmp_path / ("taken" if place == "directory" else "file/report.html")

    with pytest.raises(MonitoringError, match=r"cannot write the report to .*--html"):
        write_html(monitor(toy_bundle(), toy_log(0)), path)

    assert sorted(item.name for item in tmp_path.iterdir()) == ["file", "taken"]


def test_report_names_the_extra_it_needs() -> None:
    """Without jinja2 the error says what to install."""
    code = "import sys; sys.modules['jinja2'] = None; import mlembed.monitoring.report"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert "pip install 'mlembed[train]'" in done.stderr
