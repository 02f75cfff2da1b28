"""The journal: what the site's database keeps of its models' answers, and when."""

from __future__ import annotations

import datetime as dt
import uuid
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from django.db import connection, transaction
from django.test import RequestFactory, override_settings
from django.test.utils import CaptureQueriesContext

from bundles import RECORD, toy_bundle, toy_table
from keeping import in_service, journal
from mlembed_django import inserting, rows, writer
from mlembed_django.batches import BatchRows
from mlembed_django.conf import get_model
from mlembed_django.context import InContext, RequestContext
from mlembed_django.models import KEY_LENGTH, ModelVersion, Outcome, Prediction, Service

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry


@pytest.mark.usefixtures("committing_db")
def test_prediction_is_written_later_as_it_was(declared: dict[str, Any]) -> None:
    """A row holds the answer, the entity and the time, to the microsecond."""
    with in_service(declared, DATABASE={}):
        made = get_model("toy").predict(RECORD, key=17)  # type: ignore[arg-type]  # as hosts do
        assert journal().flush(10)

    row = Prediction.objects.get()
    assert (str(row.uuid), row.row, row.model, row.version) == (made.id, 0, "toy", "1.0.0")
    assert (row.score, row.label, row.reason, row.error) == (made.score, str(made.label), "ok", "")
    assert (row.key, row.latency) == ("17", made.latency_seconds * 1e6)
    assert row.created == dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(
        microseconds=made.time_ns // 1000
    )


@pytest.mark.usefixtures("committing_db")
def test_prediction_in_the_background_costs_the_request_no_query(declared: dict[str, Any]) -> None:
    """Neither a prediction nor a batch nor an outcome asks the database anything on the caller's thread."""
    with in_service(declared, DATABASE={}), CaptureQueriesContext(connection) as queries:
        made = get_model("toy").predict(RECORD)
        get_model("toy").predict_batch(toy_table(300))
        get_model("toy").outcome(made.id, value=True)

    assert queries.captured_queries == []
    assert (Prediction.objects.count(), Outcome.objects.count()) == (301, 1)


@pytest.mark.usefixtures("db")
def test_rows_are_inserted_in_bulk(declared: dict[str, Any]) -> None:
    """Five hundred rows are one INSERT, or as few as SQLite's limit of variables allows."""
    batch = get_model("toy").predict_batch(toy_table(writer.ROWS))
    made = rows.batch_rows("toy", BatchRows(batch, None), range(writer.ROWS), rows.NOBODY)

    with CaptureQueriesContext(connection) as queries:
        inserting.insert(made, "default")

    inserts = [query["sql"] for query in queries if query["sql"].startswith("INSERT")]
    fields = Prediction._meta.concrete_fields[1:]
    most = connection.ops.bulk_batch_size(list(fields), [None] * writer.ROWS)
    assert len(inserts) == -(-writer.ROWS // most)
    assert connection.vendor != "postgresql" or len(inserts) == 1
    assert Prediction.objects.count() == writer.ROWS
    del declared


@pytest.mark.usefixtures("db")
def test_rows_of_a_test_are_written_at_once(declared: dict[str, Any]) -> None:
    """In Django's test environment nothing waits, so a test sees its rows and rolls them back."""
    with override_settings(MLEMBED={**declared, "DATABASE": {}}), transaction.atomic():
        get_model("toy").predict(RECORD)
        seen = Prediction.objects.count()
        transaction.set_rollback(True)

    assert (seen, Prediction.objects.count()) == (1, 0)


@pytest.mark.usefixtures("committing_db")
@pytest.mark.parametrize("fails", [False, True])
def test_transaction_keeps_what_the_host_keeps(declared: dict[str, Any], *, fails: bool) -> None:
    """A row that is to be in the host's transaction commits or rolls back with it."""
    with in_service(declared, DATABASE={"PREDICTIONS": "transaction"}), transaction.atomic():
        get_model("toy").predict(RECORD)
        get_model("toy").predict_batch(toy_table(3), keys=[1, 2, 3])
        inside = Prediction.objects.count()
        transaction.set_rollback(fails)

    assert (inside, Prediction.objects.count()) == (4, 0 if fails else 4)


@pytest.mark.usefixtures("committing_db")
def test_off_keeps_outcomes_alone(declared: dict[str, Any]) -> None:
    """A site that keeps no predictions still keeps the truth and what serves."""
    with in_service(declared, DATABASE={"PREDICTIONS": "off"}):
        made = get_model("toy").predict(RECORD)
        get_model("toy").predict_batch(toy_table(3))
        get_model("toy").outcome(made.id, value=False)
        assert journal().flush(10)

    assert (Prediction.objects.count(), Outcome.objects.count()) == (0, 1)
    assert Service.objects.get().serving is not None


@pytest.mark.usefixtures("committing_db")
def test_fallback_is_kept_with_its_reason(declared: dict[str, Any]) -> None:
    """What failed stands in the row, and the model's service says so too."""
    with in_service(declared, DATABASE={}):
        get_model("gone").predict(RECORD)
        get_model("gone").predict_batch(toy_table(2))
        assert journal().flush(10)

    assert set(Prediction.objects.values_list("score", "reason", "label")) == {
        (0.25, "fallback", "")
    }
    assert all(row.error.startswith("NotFoundError: ") for row in Prediction.objects.all())
    service = Service.objects.get()
    assert (service.model, service.serving, service.state) == ("gone", None, "ERROR")
    assert "gone" in service.error


@pytest.mark.usefixtures("committing_db")
def test_batch_rows_have_the_ids_that_the_batch_gives(declared: dict[str, Any]) -> None:
    """Each row is found by the id `<event>/<row>`, with its own key, score and label."""
    with in_service(declared, DATABASE={}):
        batch = get_model("toy").predict_batch(toy_table(600), keys=range(600))
        scores, labels = batch.scores.tolist(), batch.labels
        batch.scores[:] = 0.0  # the host's own array, to do with as it likes
        assert journal().flush(10)

    kept = {f"{row.uuid}/{row.row}": row for row in Prediction.objects.all()}
    assert [kept[name].score for name in batch.ids] == scores
    assert [kept[name].key for name in batch.ids] == [str(n) for n in range(600)]
    assert [kept[name].label for name in batch.ids] == [str(label) for label in labels]


@pytest.mark.usefixtures("committing_db")
def test_keys_of_a_wrong_number_are_left_out(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Rows are kept without keys rather than under the wrong ones, and the log says so."""
    with in_service(declared, DATABASE={}):
        get_model("toy").predict_batch(toy_table(3), keys=[1, 2])
        assert journal().flush(10)

    assert list(Prediction.objects.values_list("key", flat=True)) == ["", "", ""]
    assert "2 keys for 3 records" in caplog.text


@pytest.mark.usefixtures("committing_db")
def test_sample_keeps_about_its_share_by_the_id(declared: dict[str, Any]) -> None:
    """A share of rows is kept, of single answers and of batches; every outcome is."""
    with in_service(declared, DATABASE={"SAMPLE": 0.25}):
        model = get_model("toy")
        made = [model.predict(RECORD) for _ in range(200)]
        model.predict_batch(toy_table(1000))
        for one in made:
            model.outcome(one.id, value=True)
        assert journal().flush(10)

    single = Prediction.objects.filter(uuid__in=[one.id for one in made]).count()
    assert 30 < single < 70
    assert 200 < Prediction.objects.count() - single < 300
    assert Outcome.objects.count() == 200


@pytest.mark.usefixtures("db")
def test_row_says_who_asked(declared: dict[str, Any]) -> None:
    """The request's id, its trace and the hash of its user stand in the row."""
    trace = uuid.uuid4().hex
    headers = {"X-Request-ID": "r-1", "traceparent": f"00-{trace}-{'1' * 16}-01"}
    context = RequestContext(RequestFactory(headers=headers).get("/"))

    setting = {**declared, "DATABASE": {}, "USER": f"{__name__}.user_of"}
    with override_settings(MLEMBED=setting), InContext(context):
        get_model("toy").predict(RECORD)

    row = Prediction.objects.get()
    assert (row.request, row.trace) == ("r-1", trace)
    assert len(row.user) == 64
    assert "anna" not in row.user


def user_of(_request: object) -> str:
    """Return a user's key."""
    return "anna"


def broken_user(_request: object) -> str:
    """Fail as a host's own function may."""
    raise ZeroDivisionError


@pytest.mark.usefixtures("db")
def test_user_that_cannot_be_told_costs_no_row(
    declared: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The host's own function may fail; the prediction stands and is kept."""
    context = RequestContext(RequestFactory().get("/"))

    setting = {**declared, "DATABASE": {}, "USER": f"{__name__}.broken_user"}
    with override_settings(MLEMBED=setting), InContext(context):
        get_model("toy").predict(RECORD)

    assert Prediction.objects.get().user == ""
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.usefixtures("db")
@pytest.mark.parametrize(
    ("key", "stored"),
    [
        (5, "5"),
        (uuid.UUID(int=7), str(uuid.UUID(int=7))),
        (np.int64(9), "9"),
        ("", ""),
        (None, ""),
        ("a\0b", "a\ufffdb"),
        ("a\ud800b", "a\ufffdb"),
        ("ü" * 255, "ü" * 255),
    ],
)
def test_key_of_any_type_is_kept(declared: dict[str, Any], key: Any, stored: str) -> None:
    """Whatever a host uses for a key becomes a text that both databases take."""
    with override_settings(MLEMBED={**declared, "DATABASE": {}}):
        get_model("toy").predict(RECORD, key=key)
        get_model("toy").predict_batch(toy_table(1), keys=[key])

    assert set(Prediction.objects.values_list("key", flat=True)) == {stored}


@pytest.mark.usefixtures("db")
def test_long_keys_stay_apart(declared: dict[str, Any]) -> None:
    """Two keys that differ behind the column's end are two keys still."""
    with override_settings(MLEMBED={**declared, "DATABASE": {}}):
        for end in "ab":
            get_model("toy").predict(RECORD, key="k" * 300 + end)

    kept = list(Prediction.objects.values_list("key", flat=True))
    assert len(set(kept)) == 2
    assert {len(key) for key in kept} == {KEY_LENGTH}
    assert all(key.startswith("k" * 100) for key in kept)


@pytest.mark.usefixtures("db")
def test_score_that_is_no_number_is_null(declared: dict[str, Any]) -> None:
    """No database holds an infinity, and none has to."""
    batch = get_model("toy").predict_batch(toy_table(3))
    batch.scores[:] = [float("nan"), float("inf"), 0.5]

    made = rows.batch_rows("toy", BatchRows(batch, None), range(3), rows.NOBODY)

    del declared
    assert [row.score for row in made] == [None, None, 0.5]


@pytest.mark.usefixtures("db")
def test_outcome_is_kept_with_all_that_was_said(declared: dict[str, Any]) -> None:
    """The truth names its prediction, its row or its key, and when it happened."""
    observed = dt.datetime(2026, 3, 4, tzinfo=dt.UTC)
    with override_settings(MLEMBED={**declared, "DATABASE": {}}):
        model = get_model("toy")
        batch = model.predict_batch(toy_table(2))
        model.outcome(batch.ids[1], "ye\0s", observed_at=observed, revision=2)
        model.outcome(key="c-1", value=np.float64(2.5))
        model.outcome("no id of ours", value=True)
        assert journal().lost == {"unknown": 1}

    by_id, by_key = Outcome.objects.order_by("pk")
    assert f"{by_id.uuid}/{by_id.row}" == batch.ids[1]
    assert (by_id.value, by_id.observed, by_id.revision) == ("ye\ufffds", observed, 2)
    assert (by_key.uuid, by_key.key, by_key.value, by_key.observed) == (None, "c-1", 2.5, None)


@pytest.mark.usefixtures("committing_db")
def test_version_is_kept_once_and_its_replacement_too(
    declared: dict[str, Any], registry: FileRegistry
) -> None:
    """What serves where, and since when, follows a promotion."""
    with in_service(declared, DATABASE={}):
        model = get_model("toy")
        for _ in range(3):
            model.predict(RECORD)
        assert journal().flush(10)
        before = Service.objects.get()
        registry.publish(toy_bundle(version="2.0.0"))
        registry.promote("toy", "champion", "2.0.0")
        model.refresh()
        model.predict(RECORD)
        assert journal().flush(10)

    after = Service.objects.get()
    assert before.serving is not None
    assert after.serving is not None
    assert (before.serving.version, after.serving.version) == ("1.0.0", "2.0.0")
    assert (after.state, after.error, before.since < after.since) == ("READY", "", True)
    assert ModelVersion.objects.count() == 2
    assert after.serving.bundle == toy_bundle(version="2.0.0").id
    assert after.serving.task == "binary"


@pytest.mark.usefixtures("committing_db")
def test_service_is_seen_again_each_minute(
    declared: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host that goes on predicting is heard of again, and serves since the beginning."""
    with in_service(declared, DATABASE={}):
        model = get_model("toy")
        model.predict(RECORD)
        assert journal().flush(10)
        before = Service.objects.get()
        monkeypatch.setattr("mlembed_django.services.AGAIN_SECONDS", 0.0)
        journal()._services._seen.clear()
        model.predict(RECORD)
        model.predict(RECORD)
        assert journal().flush(10)

    after = Service.objects.get()
    assert after.seen > before.seen
    assert after.since == before.since


@pytest.mark.usefixtures("committing_db")
@pytest.mark.parametrize("use_tz", [True, False])
def test_dates_are_as_the_site_has_them(declared: dict[str, Any], *, use_tz: bool) -> None:
    """Without time zones dates are naive, in the site's own zone, and nothing warns."""
    zone = dt.timezone(dt.timedelta(hours=5, minutes=45))
    with override_settings(USE_TZ=use_tz, TIME_ZONE="Asia/Kathmandu"):
        with in_service(declared, DATABASE={}):
            made = get_model("toy").predict(RECORD)
            get_model("toy").outcome(made.id, value=True, observed_at=dt.datetime.now(dt.UTC))
            assert journal().flush(10)
            assert journal().lost == {}
        created = Prediction.objects.get().created

    local = dt.datetime.fromtimestamp(made.time_ns // 1000 / 1e6, zone)
    assert abs((created if use_tz else created.replace(tzinfo=zone)) - local) < dt.timedelta(
        milliseconds=1
    )
    assert Service.objects.count() == Outcome.objects.count() == 1
