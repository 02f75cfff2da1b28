"""The example of a shop's back office as a whole: one command starts it, and its pages work."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.receiver import SECRET, receiving
from desk import Tab
from mlembed_crm import verify
from shop_site import CUSTOMERS, SITE, Shop, database, environment, post, running, wait_for
from training.report.browser import CHROMIUM

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OWNER, SALES = "owner", "sales"
PAGES = (
    "/",
    "/customers/",
    "/customers/?q=kiel&risk=low&segment=home&sort=stake&page=2",
    "/customers/?closed=1&risk=high",
    "/calls/",
    "/calls/?done=1&page=2",
)
ADMIN = (
    "/admin/",
    "/admin/backoffice/customer/",
    "/admin/backoffice/order/",
    "/admin/backoffice/calllistentry/",
    "/admin/mlembed/prediction/",
    "/admin/mlembed/delivery/",
    "/admin/mlembed/service/page/?model=churn",
)
# Somebody who ordered each week, and then no more: the model has never asked about him.
STRANGER = """
import datetime as dt, json
from django.utils import timezone
from backoffice.models import Customer, Order

now = timezone.now()
one = Customer.objects.create(
    name="A <b>Stranger</b>", email="s@example.com", town="Kiel", segment="cafe",
    joined=now - dt.timedelta(days=400),
)
for week in range(14, 50):
    Order.objects.create(
        customer=one, placed=now - dt.timedelta(weeks=week), bags=9, total_cents=9_000,
        returned=week < 18,
    )
print(json.dumps(one.pk))
"""
CALLS = """
import json
from backoffice.models import CallListEntry
print(json.dumps(list(CallListEntry.objects.filter(customer=%d).values("pk", "score", "prediction", "outcome"))))
"""
# The site writes in the background, so it takes a moment.
REPORTED = """
import json, time
from mlembed_django.models import Outcome
for _ in range(100):
    found = Outcome.objects.filter(model="churn").order_by("pk")
    if found.count() >= %d:
        break
    time.sleep(0.1)
print(json.dumps([[str(o.uuid or ""), o.key, o.value, o.revision] for o in found]))
"""
TOLD = """
from django.core.management import call_command
call_command("mlembed_score", "backoffice.OpenCustomer")
call_command("mlembed_deliver", once=True, destination=["sales-desk"])
print("null")
"""
CHECKED = """
from django.core.management import call_command
call_command("check")
call_command("check", deploy=True, tags=["mlembed"])
call_command("makemigrations", check_changes=True, dry_run=True)
call_command("mlembed_check")
call_command("mlembed_score", "backoffice.OpenCustomer", stale=True)
call_command("mlembed_predict", "churn", instance="backoffice.OpenCustomer:%d")
"""


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """Start the shop for the first time; all tests of this module visit it."""
    folder = tmp_path_factory.mktemp("shop")
    with database() as variables:
        own = {"BACKOFFICE_VAR": str(folder), **variables}
        with running(own, "--customers", str(CUSTOMERS)) as found:
            yield found


@pytest.fixture(scope="module")
def owner(shop: Shop) -> Iterator[httpx.Client]:
    """Log in as who may do everything."""
    with shop.client(OWNER) as client:
        yield client


@pytest.fixture(scope="module")
def stranger(shop: Shop) -> int:
    """Add a customer whom nobody has asked about, and return the primary key."""
    return int(shop.ask(STRANGER))


def at_risk(owner: httpx.Client) -> int:
    """Return the primary key of the customer with the highest risk."""
    page = owner.get("/customers/?sort=risk").text
    return int(re.findall(r'href="/customers/(\d+)/"', page)[0])


def test_the_first_start_makes_all_there_is(shop: Shop, owner: httpx.Client) -> None:
    """One command gives customers, a trained model, scores, calls, a report and two logins."""
    overview = owner.get("/").text

    assert f"{CUSTOMERS:,} customers" in shop.told
    assert shop.passwords.keys() == {OWNER, SALES}
    assert "churn 1.0.0" in overview
    assert re.search(r'class="bar high"', overview)
    assert re.search(r"Last judged</dt><dd>[^:]+: (ok|alert|insufficient)", overview)
    assert "What came of it" in owner.get("/calls/").text


@pytest.mark.parametrize("path", [*PAGES, *ADMIN])
def test_pages_are_there(owner: httpx.Client, path: str) -> None:
    """Each page answers, whole and without a trace of its template."""
    found = owner.get(path)

    assert found.status_code == 200
    assert found.text.rstrip().endswith("</html>")
    assert not re.search(r"\{[{%]|None</", found.text)


@pytest.mark.parametrize(
    "query",
    [
        "page=-1",
        "page=9999999",
        "page=x",
        "sort=pk;drop",
        "risk=%00",
        "q=%00%27%22<script>",
        "segment[]=1",
    ],
)
def test_pages_bear_what_they_are_asked(owner: httpx.Client, query: str) -> None:
    """An address that somebody made up is not an error, and nothing of it becomes markup."""
    found = owner.get(f"/customers/?{query}")

    assert found.status_code == 200
    assert "<script" not in found.text


def test_strangers_see_nothing(shop: Shop) -> None:
    """Without a login there is the login page alone, and no risk of anybody."""
    with shop.client() as client:
        pages = [client.get(path) for path in ("/", "/customers/1/", "/calls/", "/admin/")]
        risk = client.get("/customers/1/risk")
        wrong = client.get("/customers/1/risk", headers={"Authorization": "Bearer wrong"})
        forged = client.post("/customers/1/score")
        refused = post(client, "/login/", username=OWNER, password="wrong")  # noqa: S106
        elsewhere = client.get("/login/", headers={"Host": "evil.example"})

    assert [page.status_code for page in pages] == [302] * 4
    assert (risk.status_code, wrong.status_code, forged.status_code) == (403, 403, 403)
    assert "correct username and password" in refused.text
    assert elsewhere.status_code == 400


def test_sales_calls_and_reports_only(shop: Shop, owner: httpx.Client) -> None:
    """Who sells sees customers and calls, but neither asks the model nor sees the admin."""
    pk = at_risk(owner)

    with shop.client(SALES) as client:
        pages = [client.get(path).status_code for path in (*PAGES, f"/customers/{pk}/")]
        page = client.get(f"/customers/{pk}/").text
        score = post(client, f"/customers/{pk}/score")
        admin = client.get("/admin/backoffice/customer/")

    assert pages == [200] * len(pages)
    assert "Report:" in page
    assert "Ask the model now" not in page
    assert (score.status_code, admin.status_code) == (403, 302)


def test_other_systems_ask_with_a_token(shop: Shop, owner: httpx.Client) -> None:
    """The risk of an open customer is one prediction away, and named in the answer's headers."""
    pk = at_risk(owner)

    with shop.client() as client:
        client.headers["Authorization"] = "Bearer token of the till"
        found = client.get(f"/customers/{pk}/risk")
        nobody = client.get("/customers/999999/risk")

    answer = found.json()
    assert (answer["customer"], answer["risk"], answer["version"]) == (pk, "high", "1.0.0")
    assert answer["prediction"] in found.headers["server-timing"]
    assert nobody.status_code == 404


def test_the_model_is_served_over_http(shop: Shop, owner: httpx.Client) -> None:
    """Health is for anybody; predictions are for whoever has the permission, and shows it."""
    path = "/ml/models/churn/predict"
    record = {
        "segment": "home",
        "town": "Kiel",
        "newsletter": True,
        "usual_gap_days": 20.0,
        "days_as_customer": 300,
        "days_since_order": 12,
        "orders_90d": 4,
        "orders_365d": 14,
        "spent_90d": 120.0,
        "spent_365d": 420.0,
        "returned_365d": 0,
    }

    with shop.client() as client:
        live, stranger = client.get("/ml/health/live"), client.get("/ml/models")
    with shop.client(SALES) as client:
        refused = client.post(path, json={"record": record}, headers=token(client))
    forged = owner.post(path, json={"record": record})
    asked = owner.post(path, json={"record": record, "key": "a lead"}, headers=token(owner))

    assert (live.status_code, stranger.status_code) == (200, 403)
    assert (refused.status_code, forged.status_code) == (403, 403)
    assert asked.status_code == 200
    assert (asked.json()["reason"], asked.json()["key"]) == ("ok", "a lead")
    assert 0 < asked.json()["score"] < 0.5


def test_a_risk_that_rises_makes_one_call(shop: Shop, owner: httpx.Client, stranger: int) -> None:
    """Ask the model: its answer is on the row, and one call on the list, however often it is asked."""
    before = owner.get(f"/customers/{stranger}/").text

    first = post(owner, f"/customers/{stranger}/score")
    again = post(owner, f"/customers/{stranger}/score")
    shop.manage("mlembed_deliver", "--once")
    calls = wait_for(lambda: shop.ask(CALLS % stranger))
    shop.manage("mlembed_deliver", "--once")
    page = owner.get(f"/customers/{stranger}/").text

    assert "No model has been asked." in before
    assert (first.status_code, again.status_code) == (302, 302)
    assert "Server-Timing" in first.headers
    assert [call["outcome"] for call in calls] == [""]
    assert shop.ask(CALLS % stranger) == calls
    assert "churn 1.0.0" in page
    assert page.count("to be called") == 1
    assert "A &lt;b&gt;Stranger&lt;/b&gt;" in page


def test_what_came_of_a_call_is_the_truth(shop: Shop, owner: httpx.Client) -> None:
    """An outcome closes the call, is reported once for its prediction, and can be corrected."""
    page = owner.get("/calls/").text
    entry, pk = (int(re.findall(rf'"/{p}/(\d+)/', page)[0]) for p in ("calls", "customers"))
    (call,) = [c for c in shop.ask(CALLS % pk) if c["pk"] == entry]

    bad = post(owner, f"/calls/{entry}/outcome", outcome="perhaps")
    left = post(owner, f"/calls/{entry}/outcome", outcome="left", next="//evil.example/")
    late = post(owner, f"/calls/{entry}/outcome", outcome="stayed", next="/calls/?done=1")
    post(owner, f"/customers/{pk}/report", outcome="left")
    post(owner, f"/customers/{pk}/report", outcome="stayed")
    reported = shop.ask(REPORTED % 3)

    assert bad.status_code == 400
    assert (left.headers["location"], late.headers["location"]) == ("/calls/", "/calls/?done=1")
    assert reported[0] == [call["prediction"].partition("/")[0], "", True, 0]
    assert reported[1:] == [["", str(pk), True, 0], ["", str(pk), False, 1]]


def test_the_second_start_finds_all_of_it(shop: Shop) -> None:
    """What is there is used again: nothing is trained, no password changes, no customer is new."""
    start = time.monotonic()

    with running(shop.variables) as again:
        seconds = time.monotonic() - start

    assert again.passwords == shop.passwords
    assert "train" not in again.told
    assert f"{CUSTOMERS:,} customers" not in again.told
    assert seconds < 15


def test_the_sales_desk_hears_once_it_is_set(shop: Shop) -> None:
    """From the first scoring after its URL is set, it is told of whoever is at risk, once each."""
    with receiving() as receiver:
        url = f"http://127.0.0.1:{receiver.server_port}/desk"
        desk = {"SALES_DESK_URL": url, "SALES_DESK_SECRET": SECRET, "SALES_DESK_PRIVATE": "1"}
        shop.ask(TOLD, **desk)
        n_told = len(receiver.received)
        shop.ask(TOLD, **desk)

    assert 0 < n_told == len(receiver.received)
    request = receiver.received[0]
    verify(SECRET, request.headers, request.body)
    data = json.loads(request.body)["data"]
    assert data["rule"] == "tell-sales"
    assert data["score"] > 0.7
    assert re.fullmatch(r"Likely to leave: \d\d% within 60 days", data["payload"]["reason"])


def test_commands_find_nothing_wrong(shop: Shop, owner: httpx.Client) -> None:
    """Django's own commands and ours are content with the site."""
    told = shop.run(CHECKED % at_risk(owner))

    assert told.count("System check identified no issues (0 silenced).") == 2
    for part in ("No changes detected", "churn@champion  serves", "0 of 0 rows", "reason    ok"):
        assert part in told


def test_the_seed_is_the_same_each_time(tmp_path: Path) -> None:
    """The same day and seed give the same shop; another seed gives another."""
    code = """
import datetime as dt, hashlib, json
from backoffice.seeding import Simulation

def digest(seed):
    made = Simulation(40, dt.datetime(2026, 5, 1, tzinfo=dt.UTC), seed).customers()
    rows = [
        (c.name, c.email, c.segment, str(c.joined), str(c.closed), [(str(o.placed), o.total_cents) for o in orders])
        for c, orders in made
    ]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

print(json.dumps([digest(1), digest(1), digest(2)]))
"""
    bare = Shop("", "", {}, {"BACKOFFICE_VAR": str(tmp_path)})

    first, second, other = bare.ask(code)

    assert first == second
    assert first != other


@pytest.mark.parametrize(
    "server",
    [
        ("gunicorn", "-w", "2", "-b", "127.0.0.1:{port}", "backoffice.wsgi"),
        ("uvicorn", "--port", "{port}", "--lifespan", "off", "backoffice.asgi:application"),
    ],
    ids=["gunicorn", "uvicorn"],
)
def test_servers_serve_it(shop: Shop, owner: httpx.Client, server: tuple[str, ...]) -> None:
    """Under gunicorn and uvicorn it predicts, and its style sheet is there."""
    pk, port = at_risk(owner), free_port()
    command = [sys.executable, "-m", *(part.format(port=port) for part in server)]
    process = subprocess.Popen(
        command, cwd=SITE, env=environment(shop.variables), stderr=subprocess.PIPE, text=True
    )
    try:
        url = f"http://127.0.0.1:{port}"
        asked: dict[str, Any] = {"headers": {"Authorization": "Bearer token of the till"}}
        wait_for(lambda: answers(f"{url}/login/"))
        risk = httpx.get(f"{url}/customers/{pk}/risk", **asked)
        style = httpx.get(f"{url}/static/backoffice/site.css")
    finally:
        process.terminate()
        process.communicate(timeout=60)

    assert (risk.status_code, risk.json()["reason"]) == (200, "ok")
    assert style.headers["content-type"].startswith("text/css")


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_pages_look_whole_in_a_browser(shop: Shop, owner: httpx.Client, tmp_path: Path) -> None:
    """In a real browser, wide and light, narrow and dark, nothing complains, and nothing is cut off."""
    paths = ("/", "/customers/", f"/customers/{at_risk(owner)}/", "/calls/", "/calls/?done=1")
    cut = []
    with Tab(tmp_path / "profile") as tab:
        tab.visit(f"{shop.url}/login/")
        tab.write("[name=username]", OWNER)
        tab.write("[name=password]", shop.passwords[OWNER])
        tab.press("form.login button")
        for path in paths:
            for width, dark in ((1280, False), (360, True)):
                tab.visit(f"{shop.url}{path}", width, dark=dark)
                assert tab.complaints == []
                assert {url.startswith(shop.url) for url in tab.requests} == {True}
                cut += [(path, width, text) for text in tab.evaluate(_CUT)]

    assert cut == []


_CUT = """
[...document.querySelectorAll("main *")].filter((item) => {
  const box = item.getBoundingClientRect();
  return box.width && box.right > innerWidth + 1;
}).map((item) => item.outerHTML.slice(0, 80))
"""


def token(client: httpx.Client) -> dict[str, str]:
    """Return the header by which a page proves that it is of this site."""
    return {"X-CSRFToken": client.cookies["csrftoken"]}


def free_port() -> int:
    """Return a port that nobody listens on."""
    import socket

    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def answers(url: str) -> bool:
    """Tell whether *url* answers."""
    try:
        return httpx.get(url).status_code == 200
    except httpx.TransportError:
        return False
