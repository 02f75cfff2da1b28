"""The admin stays quick on a table of any size: every query of it has an index and a limit."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from desk import NOW, desk, prediction, staff, superuser
from mlembed_django.admin.paging import MOST_ROWS, BoundedPaginator
from mlembed_django.models import Prediction

if TYPE_CHECKING:
    from collections.abc import Iterator

_VIEWS = ("mlembed.view_prediction", "mlembed.view_outcome", "mlembed.view_delivery")
_N_ROWS = 12_000
QUERIES: list[dict[str, str]] = [
    {},
    {"p": "3"},
    {"o": "1"},
    {"model": "churn"},
    {"reason": "fallback"},
    {"created__gte": "2026-11-20 07:00:00+00:00", "created__lt": "2026-11-21 00:00:00+00:00"},
    {"q": "customer-700"},
    {"q": str(uuid.UUID(int=10_001))},
    {"q": f"{uuid.UUID(int=10_001)}/0"},
    {"model": "payments", "q": "customer-701"},
]


@pytest.fixture
def many(db: None) -> Iterator[Prediction]:
    """Keep 12,000 predictions of two models, none of which is a fallback; return one of them."""
    del db
    with desk():
        Prediction.objects.bulk_create(
            (
                Prediction(
                    uuid=uuid.UUID(int=i + 1),
                    model=("churn", "payments")[i % 2],
                    version="1.2.0",
                    key=f"customer-{i // 3}",
                    score=0.5,
                    reason="ok",
                    created=NOW - dt.timedelta(seconds=i),
                )
                for i in range(_N_ROWS)
            ),
            batch_size=2_000,
        )
        if connection.vendor == "postgresql":  # it does so by itself, SQLite never
            with connection.cursor() as cursor:
                cursor.execute("ANALYZE mlembed_prediction")
        yield Prediction.objects.get(uuid=uuid.UUID(int=10_001))


def queries(client: Client, **query: Any) -> list[str]:
    """Return what the list of predictions asked the table of predictions."""
    with CaptureQueriesContext(connection) as caught:
        answer = client.get(reverse("admin:mlembed_prediction_changelist"), query)
    assert answer.status_code == 200
    return [each["sql"] for each in caught if 'FROM "mlembed_prediction"' in each["sql"]]


def plan(sql: str) -> str:
    """Return how the database answers *sql*."""
    prefix = "EXPLAIN QUERY PLAN " if connection.vendor == "sqlite" else "EXPLAIN "
    with connection.cursor() as cursor:
        cursor.execute(prefix + sql)
        return "\n".join(str(row) for row in cursor.fetchall())


def is_whole_scan(text: str) -> bool:
    """Tell whether a plan reads the table from its beginning to its end, in no useful order."""
    if connection.vendor != "sqlite":
        return "Seq Scan on mlembed_prediction" in text
    few = "(key=?)" in text or "(uuid=?" in text  # what is found is sorted, and that is little
    return "SCAN mlembed_prediction'" in text or ("FOR ORDER BY" in text and not few)


def test_list_reads_no_more_than_it_shows(many: Prediction) -> None:
    """Each query is answered in the order of an index and stops at a limit."""
    del many
    client = Client()
    client.force_login(superuser())

    for query in QUERIES:
        asked = queries(client, **query)

        assert len(asked) == 2, query
        for sql in asked:
            if connection.vendor == "sqlite" or "COUNT" not in sql:
                assert not is_whole_scan(plan(sql)), plan(sql)
            # A list of less than a page needs none: the count before was bounded.
            assert "LIMIT" in sql or "q" in query or "reason" in query
            if "q" in query:
                assert "mlembed_prediction_model" not in plan(sql)


def test_list_of_who_sees_some_models_reads_no_more(many: Prediction) -> None:
    """The limit to the models of a user takes no search and no filter off its index."""
    del many
    client = Client()
    client.force_login(staff("viewer", *_VIEWS))

    for query in QUERIES:
        for sql in queries(client, **query):
            if connection.vendor == "sqlite" or "COUNT" not in sql:
                assert not is_whole_scan(plan(sql)), plan(sql)
            if "q" in query:
                assert "mlembed_prediction_model" not in plan(sql)


def test_search_finds_one_of_many(many: Prediction) -> None:
    """The id of a prediction, and its whole key, find what they name and nothing else."""
    client = Client()
    client.force_login(superuser())
    address = reverse("admin:mlembed_prediction_changelist")

    by_id = client.get(address, {"q": str(many.uuid)}).content.decode()
    by_row = client.get(address, {"q": f"{many.uuid}/1"}).content.decode()
    by_key = client.get(address, {"q": many.key}).content.decode()
    by_part = client.get(address, {"q": many.key[:-1]}).content.decode()

    assert "1 prediction\n" in by_id
    assert "0 predictions" in by_row
    assert "3 predictions" in by_key
    assert many.key not in by_part.split('id="result_list"')[-1]


def test_list_counts_no_further_than_its_bound(many: Prediction) -> None:
    """Of more rows than the bound, the list shows the newest and says that there are others."""
    del many
    client = Client()
    client.force_login(superuser())

    page = client.get(reverse("admin:mlembed_prediction_changelist")).content.decode()

    assert f"{MOST_ROWS} predictions" in page
    assert "search or filter for others" in page


def test_list_counts_what_there_is_below_its_bound(db: None) -> None:
    """Of fewer rows than the bound, the count is exact."""
    del db
    for i in range(7):
        prediction(key=str(i))

    assert BoundedPaginator(Prediction.objects.all(), 5).count == 7


@pytest.mark.parametrize("name", ["score__gt", "error__contains", "uuid__startswith", "user"])
def test_list_refuses_conditions_without_an_index(db: None, name: str) -> None:
    """An address that filters by what no filter offers is refused, not read from the whole table."""
    del db
    client = Client()
    with desk():
        client.force_login(superuser())
        answer = client.get(reverse("admin:mlembed_prediction_changelist"), {name: "1"})

    assert answer.status_code == 400


def test_list_takes_as_many_queries_as_it_must(db: None) -> None:
    """The queries of a list do not grow with its rows."""
    del db
    client = Client()
    with desk():
        client.force_login(superuser())
        address = reverse("admin:mlembed_service_changelist")
        from desk import fill

        with CaptureQueriesContext(connection) as few:
            client.get(address)
        fill()
        with CaptureQueriesContext(connection) as more:
            client.get(address)

    assert len(more) <= len(few) + 1
