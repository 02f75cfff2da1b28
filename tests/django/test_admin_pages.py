"""What the pages of the admin say, also where the site or its rows are not as they should be."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client, override_settings
from django.urls import path, reverse
from django.utils import timezone

from desk import NOW, delivery, desk, fill, prediction, report, setting, staff, superuser
from mlembed_django import models
from mlembed_django.conf import site

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLES = ("delivery", "modelversion", "outcome", "prediction", "report", "service")
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def browser(db: None) -> Iterator[Client]:
    """Log in as a superuser."""
    del db
    with desk():
        yield logged_in()


def logged_in() -> Client:
    """Return the browser of a superuser."""
    client = Client()
    client.force_login(superuser())
    return client


def page_of(browser: Client, model: str = "churn") -> str:
    """Return the page of *model*."""
    answer = browser.get(reverse("admin:mlembed_service_page"), {"model": model})
    assert answer.status_code == 200
    return answer.content.decode()


def rows_of(browser: Client, table: str, **query: str) -> str:
    """Return the list of *table*."""
    answer = browser.get(reverse(f"admin:mlembed_{table}_changelist"), query)
    assert answer.status_code == 200
    return answer.content.decode()


def open_rows(browser: Client) -> None:
    """Open every list and the first row of each."""
    for table in TABLES:
        rows_of(browser, table)
        model: Any = {"modelversion": "ModelVersion"}.get(table, table.capitalize())
        row = getattr(models, model).objects.first()
        if row is not None:
            address = reverse(f"admin:mlembed_{table}_change", args=[row.pk])
            assert browser.get(address).status_code == 200


def test_page_shows_how_a_model_does(browser: Client) -> None:
    """The page tells version, hosts, alerts with their remedy, and draws what reports found."""
    fill()

    page = page_of(browser)

    assert "1.2.0 on 2 hosts, since" in page
    assert "silent for 1 day" in page
    assert "Column &#x27;days_since_last_order&#x27; moved" in page
    assert "train on it: mlembed retrain churn." in page
    assert "1.1.0" in page.split("Versions</h2>")[1]
    for title in ("Realised metric over time", "Calls over time", "Latency over time"):
        assert f">{title}</title>" in page
    assert ">Scores: reference and now</title>" in page
    assert ">town: reference and now</title>" in page
    assert page.count('role="img"') == page.count("As a table</summary>") == 8
    assert f"{reverse('admin:mlembed_prediction_changelist')}?model=churn" in page
    assert f"{reverse('admin:mlembed_delivery_changelist')}?model=churn" in page


def test_page_leads_to_deliveries_by_the_name_of_the_registry(browser: Client) -> None:
    """Deliveries know a model by what the registry calls it."""
    page = page_of(browser, "payments")

    assert f"{reverse('admin:mlembed_delivery_changelist')}?model=payments-fraud" in page


def test_drawings_have_names_of_their_own(browser: Client) -> None:
    """No id stands twice on a page, so that every drawing has its own description."""
    fill()

    page = page_of(browser)
    ids = re.findall(r'\sid="([^"]+)"', page)

    assert len(ids) == len(set(ids))
    for name in re.findall(r'aria-labelledby="([^"]+)"', page):
        assert set(name.split()) <= set(ids)


def test_pages_hold_no_script_and_no_style_of_their_own(browser: Client) -> None:
    """Nothing that a strict content security policy refuses is written into a page."""
    fill()

    for page in (page_of(browser), rows_of(browser, "delivery"), rows_of(browser, "prediction")):
        assert not re.search(r"<script(?![^>]*\ssrc=)(?![^>]*application/json)", page)
        assert "<style" not in page
        assert not re.search(r"\s(style|on\w+)=\"", page)


def test_pages_say_what_to_do_where_there_is_nothing(browser: Client) -> None:
    """Empty lists and pages name the command or the setting that fills them."""
    said = {table: rows_of(browser, table) for table in TABLES}
    page = page_of(browser)

    assert "manage.py mlembed_monitor churn" in page
    assert "No report yet" in page
    assert "mlembed_monitor" in said["report"]
    assert "mlembed_deliver" in said["delivery"]
    assert "model.outcome" in said["outcome"]
    assert "DATABASE" in said["prediction"]
    assert "first prediction" in said["service"]


def test_page_says_that_nothing_is_kept(db: None) -> None:
    """Without a DATABASE the page says that hosts tell nothing, instead of waiting for them."""
    del db
    changed = setting()
    del changed["DATABASE"]
    with desk(MLEMBED=changed):
        page = page_of(logged_in())

    assert "which this site has not" in page


def test_page_of_no_model_is_not_found(browser: Client) -> None:
    """An address that names no model, or none that has rows, is not found."""
    address = reverse("admin:mlembed_service_page")

    assert browser.get(address).status_code == 404
    assert browser.get(address, {"model": "nobody"}).status_code == 404
    assert browser.get(address, {"model": "\0"}).status_code == 404


def test_admin_works_where_a_model_is_no_longer_declared(browser: Client) -> None:
    """Rows of a model that left the setting are listed, and its page says that it did."""
    fill()
    with desk(MLEMBED=setting(MODELS={"other": "other@champion"})):
        open_rows(browser)
        page = page_of(browser)

    assert "does not declare it any more" in page
    assert "Realised metric over time" in page


@pytest.mark.parametrize("malformed", [None, {"MODELS": {}}, {"MODELS": {"a": 3}, "X": 1}, 7])
def test_admin_says_what_is_wrong_with_the_setting(browser: Client, malformed: Any) -> None:
    """A malformed MLEMBED is told of on every page, which shows the rest to superusers alone."""
    fill()
    viewer = Client()
    viewer.force_login(staff("viewer", "mlembed.view_prediction", "mlembed.view_service"))
    with desk(MLEMBED=malformed):
        open_rows(browser)
        seen = rows_of(browser, "prediction")
        unseen = rows_of(viewer, "prediction")
        page = page_of(browser)
        index = browser.get(reverse("admin:app_list", args=["mlembed"]))

    assert "MLEMBED" in seen.split('class="errornote"')[1]
    assert "customer-1" in seen
    assert "MLEMBED" in unseen.split('class="errornote"')[1]
    assert "customer-" not in unseen
    assert "Realised metric over time" in page
    assert index.status_code == 200


@pytest.mark.parametrize("table", ["prediction", "service", "delivery"])
def test_admin_says_that_a_table_is_missing(committing_db: None, table: str) -> None:
    """A migration that was not applied is named with its remedy, and the other pages work."""
    del committing_db
    name = f"mlembed_{table}"
    with desk():
        client = logged_in()
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {name} RENAME TO away")
        try:
            missing = client.get(reverse(f"admin:{name}_changelist"))
            row = client.get(reverse(f"admin:{name}_change", args=[1]))
            page = client.get(reverse("admin:mlembed_service_page"), {"model": "churn"})
            other = client.get(reverse("admin:mlembed_report_changelist"))
            index = client.get(reverse("admin:index"))
        finally:
            with connection.cursor() as cursor:
                cursor.execute(f"ALTER TABLE away RENAME TO {name}")

    assert missing.status_code == row.status_code == 503
    assert "manage.py migrate mlembed" in missing.content.decode()
    assert page.status_code == (503 if table == "service" else 200)
    assert other.status_code == index.status_code == 200


def test_admin_explains_within_a_transaction_of_the_request(committing_db: None) -> None:
    """Under ATOMIC_REQUESTS the explanation of a failed query can still be rendered."""
    del committing_db
    with desk():
        client = logged_in()
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE mlembed_report RENAME TO away")
        before = connection.settings_dict["ATOMIC_REQUESTS"]
        connection.settings_dict["ATOMIC_REQUESTS"] = True
        try:
            page = client.get(reverse("admin:mlembed_report_changelist"))
        finally:
            connection.settings_dict["ATOMIC_REQUESTS"] = before
            with connection.cursor() as cursor:
                cursor.execute("ALTER TABLE away RENAME TO mlembed_report")

    assert page.status_code == 503
    assert "manage.py migrate mlembed" in page.content.decode()


def test_admin_says_that_a_database_is_not_declared(db: None) -> None:
    """A DATABASE whose alias DATABASES lacks is told of, not a server error."""
    del db
    with desk(MLEMBED=setting(DATABASE={"USING": "nowhere"})):
        page = logged_in().get(reverse("admin:mlembed_prediction_changelist"))

    assert page.status_code == 503
    assert "nowhere" in page.content.decode()


def test_admin_escapes_what_rows_hold(browser: Client) -> None:
    """Keys, labels, errors, names and documents are text on every page, never markup."""
    name = SCRIPT
    declared = setting(MODELS={name: "churn@champion"})
    with desk(MLEMBED=declared):
        found = prediction(name, key=SCRIPT, label=SCRIPT, error=SCRIPT, reason="fallback")
        models.Outcome.objects.create(
            uuid=found.uuid, model=name, key=SCRIPT, value=SCRIPT, created=NOW
        )
        version = models.ModelVersion.objects.create(
            model=name, version=SCRIPT, bundle=SCRIPT, task="<b>", metric=SCRIPT, first_seen=NOW
        )
        models.Service.objects.create(
            model=name, host=SCRIPT, serving=version, state="<b>", error=SCRIPT, since=NOW, seen=NOW
        )
        made = report(site().declaration.models[name])
        whole = json.dumps(made.document)
        made.document = json.loads(
            re.sub("days_since_last_order|berlin|churn@1.2.0", SCRIPT, whole)
        )
        made.metric = SCRIPT
        made.save()
        delivery(
            "dead",
            key=SCRIPT,
            rule=SCRIPT,
            last_error=SCRIPT,
            payload=f'{{"a": "{SCRIPT}"}}',
            prediction=str(found.uuid),
        )
        open_rows(browser)
        pages = [page_of(browser, name), *(rows_of(browser, table) for table in TABLES)]
        row = models.Delivery.objects.get()
        pages.append(
            browser.post(
                reverse("admin:mlembed_delivery_changelist"),
                {"action": "replay_deliveries", "_selected_action": [row.pk]},
            ).content.decode()
        )
        for each in (found, made, row):
            address = reverse(f"admin:mlembed_{each._meta.model_name}_change", args=[each.pk])
            pages.append(browser.get(address).content.decode())

    for page in pages:
        assert SCRIPT not in page
        assert "<b>" not in page
    assert "&lt;script&gt;" in pages[0]


@pytest.mark.parametrize(
    "document",
    [
        {},
        [],
        None,
        "text",
        {"drifts": 3, "traffic": [], "alerts": {"a": 1}, "summary": "x"},
        {
            "drifts": [
                {"name": "(score)"},
                4,
                {"labels": [1], "reference": ["a"], "observed": [None]},
            ]
        },
        {"traffic": {"buckets": [{"start": "yesterday", "answered": 1e308, "failed": -4}]}},
        {"traffic": {"buckets": [{"start": 5, "answered": "7"}], "reasons": {"fallback": "x"}}},
        {"traffic": {"latency_quantiles": {"median": 1e308}, "latency_median": True}},
        {
            "drifts": [
                {"name": "n" * 5_000, "labels": ["l" * 5_000], "reference": [1], "observed": [0]}
            ]
        },
        {"drifts": [{"name": str(i), "psi": 10.0**300} for i in range(500)]},
    ],
    ids=lambda document: str(document)[:30],
)
def test_pages_bear_any_document(browser: Client, document: Any) -> None:
    """A report of another version, or one that somebody else wrote, breaks no page."""
    made = report(site().declaration.models["churn"])
    made.document = {} if document is None else document
    made.save()

    page = page_of(browser)
    open_rows(browser)

    assert "judged on" in page


def test_pages_bear_absurd_values(browser: Client) -> None:
    """Huge numbers, long texts and the end of time are shown."""
    far = dt.datetime(9999, 12, 31, 12, tzinfo=dt.UTC)
    prediction(score=1e308, latency=1e300, label="l" * 255, error="e" * 2_000, created=far)
    models.Outcome.objects.create(
        model="churn", key="k", value={"a": ["x" * 10_000]}, created=far, revision=2_147_483_647
    )
    made = report(site().declaration.models["churn"])
    made.value, made.low, made.high, made.promised = 1e308, -1e308, 1e308, 0.0
    made.rows = 2_147_483_647
    made.save()

    open_rows(browser)

    assert "Realised metric over time" in page_of(browser)


@pytest.mark.parametrize("zone", [True, False])
def test_pages_work_with_and_without_time_zones(db: None, zone: bool) -> None:  # noqa: FBT001
    """Every page is shown under USE_TZ on and off, and times are those of the site."""
    del db
    with desk(USE_TZ=zone, TIME_ZONE="Europe/Berlin"):
        moment = NOW if zone else timezone.make_naive(NOW, timezone.get_default_timezone())
        prediction(created=moment)
        delivery("dead")
        version = models.ModelVersion.objects.create(
            model="churn", version="1.2.0", bundle="b", first_seen=moment
        )
        models.Service.objects.create(
            model="churn", host="web-1", serving=version, state="READY", since=moment, seen=moment
        )
        for day in range(3):
            report(site().declaration.models["churn"], NOW - dt.timedelta(days=day))
        client = logged_in()
        open_rows(client)
        page = page_of(client)
        queued = rows_of(client, "delivery")

    assert "since Nov. 20, 2026, 10:30 a.m." in page
    assert "judged on Nov. 20, 2026, 10:30 a.m." in page
    assert "11/20/2026 10:30 a.m." in queued


@pytest.mark.parametrize("language", ["de", "ar"])
def test_drawings_bear_the_numbers_of_every_language(browser: Client, language: str) -> None:
    """A site whose numbers have commas still writes places that a browser reads."""
    fill()
    with desk(LANGUAGE_CODE=language, USE_THOUSAND_SEPARATOR=True):
        page = page_of(browser)

    drawn = "".join(re.findall(r'<svg class="mlembed-.*?</svg>', page, re.DOTALL))
    places = re.findall(r'\s(?:x|y|x1|x2|y1|y2|cx|cy|width|height)="([^"]*)"', drawn)
    assert len(places) > 500
    for place in places:
        assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?%?", place), place


def test_prediction_page_shows_outcomes_and_deliveries(browser: Client) -> None:
    """Outcomes are found by id and by key, deliveries by the id of a batch's row too."""
    row = prediction(row=3)
    models.Outcome.objects.create(uuid=row.uuid, row=3, model="churn", value="left", created=NOW)
    models.Outcome.objects.create(model="churn", key=row.key, value="stayed", created=NOW)
    models.Outcome.objects.create(model="payments", key=row.key, value="other", created=NOW)
    models.Outcome.objects.create(uuid=row.uuid, row=4, model="churn", value="beside", created=NOW)
    delivery("dead", prediction=f"{row.uuid}/3", rule="rule-3")
    delivery("dead", prediction=str(row.uuid), rule="rule-0")

    page = browser.get(reverse("admin:mlembed_prediction_change", args=[row.pk])).content.decode()

    assert "left" in page
    assert "stayed" in page
    assert "other" not in page.split("Outcomes</h2>")[1]
    assert "beside" not in page
    assert "rule-3" in page
    assert "rule-0" not in page


def test_service_marks_hosts_that_are_silent(browser: Client) -> None:
    """A host that wrote a minute ago is there; one that has not for a day is marked."""
    now = timezone.now()
    for host, passed in (("near", 60), ("far", 90_000)):
        models.Service.objects.create(
            model="churn",
            host=host,
            state="READY",
            since=now,
            seen=now - dt.timedelta(seconds=passed),
        )

    page = rows_of(browser, "service")

    assert "1 minute ago" in page
    assert "silent for 1 day" in page


@pytest.mark.parametrize(
    "term", ["\0", "%", "' OR 1=1 --", "a" * 5_000, "/", "x/y/z", f"{uuid.UUID(int=1)}/-1", "😀"]
)
def test_searches_bear_any_term(browser: Client, term: str) -> None:
    """Whatever is searched for, the list answers."""
    for table in ("prediction", "outcome", "delivery"):
        rows_of(browser, table, q=term)


@pytest.mark.parametrize(
    "query",
    [
        {"p": "99999999999"},
        {"p": "-1"},
        {"model": "\0"},
        {"reason": "x" * 9_000},
        {"created__gte": "x"},
    ],
    ids=str,
)
def test_lists_bear_any_filter(browser: Client, query: dict[str, str]) -> None:
    """Filters that nobody offered lead to a list, never to a server error."""
    for table in ("prediction", "report"):
        answer = browser.get(reverse(f"admin:mlembed_{table}_changelist"), query, follow=True)
        assert answer.status_code in (200, 400)


def test_admin_leads_to_no_table_that_the_site_took_away(browser: Client) -> None:
    """A site that shows some of the tables alone has no link to the others, and no error."""
    found = fill()["prediction"]
    taken = admin.site._registry.pop(models.Service)
    try:
        with override_settings(ROOT_URLCONF=(path("admin/", (taken.admin_site.urls)),)):
            rows = rows_of(browser, "report")
            row = browser.get(reverse("admin:mlembed_prediction_change", args=[found.pk]))
            index = browser.get(reverse("admin:app_list", args=["mlembed"]))
    finally:
        admin.site._registry[models.Service] = taken

    assert "/page/" not in rows
    assert row.status_code == index.status_code == 200
