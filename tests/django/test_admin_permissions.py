"""Who sees what in the admin, and that nobody changes anything but by the three actions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.test import Client
from django.urls import reverse

from desk import delivery, desk, fill, prediction, setting, staff, superuser
from mlembed_django import models

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.contrib.auth.models import User

TABLES = ("delivery", "modelversion", "outcome", "prediction", "report", "service")
VIEWS = [f"mlembed.view_{table}" for table in TABLES]


@pytest.fixture(autouse=True)
def served(db: None) -> Iterator[None]:
    """Serve the admin; every test has the database for itself."""
    del db
    with desk():
        yield


def client(user: User) -> Client:
    """Return a browser in which *user* is logged in."""
    made = Client()
    made.force_login(user)
    return made


def listed(user: User, table: str, **query: str) -> str:
    """Return the list of *table* that *user* sees."""
    answer = client(user).get(reverse(f"admin:mlembed_{table}_changelist"), query)
    assert answer.status_code == 200
    return answer.content.decode()


@pytest.mark.parametrize("table", TABLES)
def test_admin_shows_nothing_to_staff_without_permission(table: str) -> None:
    """A member of staff without a permission sees neither the app nor a list, nor a page."""
    fill()
    user = client(staff("newcomer"))

    index = user.get(reverse("admin:index"))

    assert "mlembed" not in index.content.decode().split('id="content"')[1]
    assert user.get(reverse(f"admin:mlembed_{table}_changelist")).status_code == 403
    assert user.get(reverse("admin:app_list", args=["mlembed"])).status_code == 404
    page = user.get(reverse("admin:mlembed_service_page"), {"model": "churn"})
    assert page.status_code == 404


def test_admin_asks_strangers_to_log_in() -> None:
    """The page of a model is behind the login, as every page of the admin."""
    answer = Client().get(reverse("admin:mlembed_service_page"), {"model": "churn"})

    assert answer.status_code == 302
    assert "/login/" in answer["Location"]


@pytest.mark.parametrize("table", TABLES)
def test_admin_lists_what_a_permission_allows(table: str) -> None:
    """The permission to view one table opens that table, and no other."""
    fill()
    user = client(staff("viewer", f"mlembed.view_{table}"))
    statuses = {
        each: user.get(reverse(f"admin:mlembed_{each}_changelist")).status_code for each in TABLES
    }

    assert statuses == {each: 200 if each == table else 403 for each in TABLES}


@pytest.mark.parametrize("table", TABLES)
def test_admin_lets_nobody_add_change_or_delete(table: str) -> None:
    """Not even a superuser adds, changes or deletes a row."""
    fill()
    model = getattr(models, {"modelversion": "ModelVersion"}.get(table, table.capitalize()))
    row = model.objects.first()
    before = list(model.objects.order_by("pk").values())
    user = client(superuser())

    add = user.post(reverse(f"admin:mlembed_{table}_add"), {"model": "x"})
    change = user.post(
        reverse(f"admin:mlembed_{table}_change", args=[row.pk]), {"model": "x", "key": "x"}
    )
    delete = user.post(reverse(f"admin:mlembed_{table}_delete", args=[row.pk]), {"post": "yes"})
    user.post(
        reverse(f"admin:mlembed_{table}_changelist"),
        {"action": "delete_selected", "_selected_action": [row.pk], "post": "yes"},
    )

    assert [add.status_code, change.status_code, delete.status_code] == [403, 403, 403]
    assert list(model.objects.order_by("pk").values()) == before


def test_admin_hides_a_model_from_those_without_its_permission() -> None:
    """A model with a PERMISSION is not in rows, filters, searches or the index of those without."""
    hidden, open_row = prediction("salaries", key="hidden-key"), prediction("churn", key="open-key")
    delivery(model="salaries", key="hidden-key")
    user = staff("viewer", *VIEWS)

    rows = listed(user, "prediction")
    deliveries = listed(user, "delivery")

    assert "open-key" in rows
    assert "hidden-key" not in rows
    assert "1 prediction" in rows
    assert "salaries" not in rows
    assert "hidden-key" not in deliveries
    assert "salaries" not in deliveries
    for found in (listed(user, "prediction", q=term) for term in ("hidden-key", str(hidden.uuid))):
        assert "0 predictions" in found
    assert "1 prediction" in listed(user, "prediction", q=str(open_row.uuid))
    assert "0 predictions" in listed(user, "prediction", model="salaries")
    browser = client(user)
    row = browser.get(reverse("admin:mlembed_prediction_change", args=[hidden.pk]))
    assert row.status_code == 302
    assert (
        browser.get(reverse("admin:mlembed_service_page"), {"model": "salaries"}).status_code == 404
    )
    index = browser.get(reverse("admin:app_list", args=["mlembed"])).content.decode()
    assert "churn@champion" in index
    assert "salaries" not in index


def test_admin_shows_a_model_to_those_with_its_permission() -> None:
    """The permission that the model asks for, beside that of the table, shows its rows."""
    prediction("salaries", key="hidden-key")
    user = staff("payroll", *VIEWS, "auth.view_group")

    assert "hidden-key" in listed(user, "prediction")
    page = client(user).get(reverse("admin:mlembed_service_page"), {"model": "salaries"})
    assert page.status_code == 200


def test_admin_shows_what_is_no_longer_declared_to_superusers_alone() -> None:
    """A model that left the setting may have been protected: only superusers still see its rows."""
    prediction("retired", key="old-key")

    assert "old-key" not in listed(staff("viewer", *VIEWS), "prediction")
    assert "old-key" in listed(superuser(), "prediction")


def test_admin_hides_deliveries_of_a_model_that_has_two_names() -> None:
    """Where two names share one model of the registry, its deliveries need both permissions."""
    delivery(model="churn", key="shared-key")
    user = staff("viewer", *VIEWS)
    names = {"churn": "churn@champion", "b": {"REF": "churn@old", "PERMISSION": "auth.view_group"}}

    with desk(MLEMBED=setting(MODELS=names)):
        assert "shared-key" not in listed(user, "delivery")


def test_admin_hides_what_belongs_to_a_row_without_its_permission() -> None:
    """Outcomes and deliveries of a prediction are shown to those alone who may view their tables."""
    found = fill()["prediction"]
    address = reverse("admin:mlembed_prediction_change", args=[found.pk])

    few = client(staff("few", "mlembed.view_prediction")).get(address).content.decode()
    all_ = client(staff("all", *VIEWS)).get(address).content.decode()

    assert "Outcomes</h2>" not in few
    assert "Deliveries</h2>" not in few
    assert "Outcomes</h2>" in all_
    assert "given up" in all_


def test_admin_page_hides_what_needs_another_permission() -> None:
    """The page of a model shows no report and no version to those who may view services alone."""
    fill()
    address = reverse("admin:mlembed_service_page")

    page = client(staff("few", "mlembed.view_service")).get(address, {"model": "churn"})

    text = page.content.decode()
    assert page.status_code == 200
    assert "which you may not view" in text
    assert 'role="img"' not in text
    assert "Versions</h2>" not in text
    assert "Predictions</a>" not in text


@pytest.mark.parametrize(
    ("action", "permission"),
    [
        ("retry_deliveries", "mlembed.retry_delivery"),
        ("discard_deliveries", "mlembed.discard_delivery"),
        ("replay_deliveries", "mlembed.retry_delivery"),
    ],
)
def test_admin_offers_actions_to_those_who_may(action: str, permission: str) -> None:
    """An action of deliveries needs its own permission; without, it is neither shown nor done."""
    row = delivery("dead")
    asked = {"action": action, "_selected_action": [row.pk], "confirmed": "yes"}
    address = reverse("admin:mlembed_delivery_changelist")
    viewer, helper = staff("viewer", *VIEWS), staff("helper", *VIEWS, permission)

    client(viewer).post(address, asked)
    row.refresh_from_db()
    refused = row.state
    client(helper).post(address, asked)
    row.refresh_from_db()

    assert refused == "dead"
    assert row.state == ("discarded" if "discard" in action else "pending")
    assert action not in listed(viewer, "delivery")
    assert action in listed(helper, "delivery")


def test_admin_actions_reach_no_hidden_delivery() -> None:
    """The id of a delivery of a hidden model, put into the form by hand, changes nothing."""
    row = delivery("dead", model="salaries")
    user = staff("helper", *VIEWS, "mlembed.discard_delivery", "mlembed.retry_delivery")

    for action in ("retry_deliveries", "discard_deliveries", "replay_deliveries"):
        client(user).post(
            reverse("admin:mlembed_delivery_changelist"),
            {"action": action, "_selected_action": [row.pk], "confirmed": "yes"},
        )

    row.refresh_from_db()
    assert row.state == "dead"
