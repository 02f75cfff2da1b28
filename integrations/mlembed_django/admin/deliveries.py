"""Deliveries, and the three things people do with them: retry, discard, replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.contrib import admin, messages
from django.contrib.admin import display
from django.db.models import Q

from mlembed.errors import MlembedError
from mlembed_crm.ledger import NEVER_SENT
from mlembed_django.admin import shown
from mlembed_django.admin.filters import DestinationFilter, RefFilter, StateFilter
from mlembed_django.admin.ids import as_key, by_id
from mlembed_django.admin.permitted import may, outbox_database
from mlembed_django.admin.readonly import ReadOnlyAdmin
from mlembed_django.admin.replay import confirmation, event_text
from mlembed_django.admin.tables import attempts_of, prediction_address
from mlembed_django.models import Delivery
from mlembed_django.queued import STATES

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

MOST_AT_ONCE = 1_000


@admin.register(Delivery)
class DeliveryAdmin(ReadOnlyAdmin):
    """One row an action."""

    named_by = "refs"
    list_display = ("queued_short", "state_shown", "rule", "destination", "key_shown", "attempts")
    list_filter = (StateFilter, DestinationFilter, RefFilter)
    finding = ("q", "state")
    filtered = ("state", "destination", "model")
    search_fields = ("key",)
    search_help_text = "The id of a delivery or of a prediction, or the whole key of an entity."
    actions = ("retry_deliveries", "discard_deliveries", "replay_deliveries")
    empty = (
        "No action is queued, or none fits. Rules queue them: MLEMBED['ACTIONS'] names the list, and "
        "manage.py mlembed_deliver sends what waits."
    )
    fieldsets = (
        (
            None,
            {"fields": ("uuid", "rule", "destination", "state_shown", "attempts", "last_error")},
        ),
        (
            "Caused by",
            {"fields": ("model", "version", "prediction", "key", "score_shown", "created_shown")},
        ),
        ("Schedule", {"fields": ("queued_shown", "next_shown", "lease_shown", "settled_shown")}),
        ("What is sent", {"fields": ("event_shown",)}),
    )
    readonly_fields = (
        *("state_shown", "score_shown", "created_shown", "queued_shown"),
        *("next_shown", "lease_shown", "settled_shown", "event_shown"),
    )
    change_form_template = "admin/mlembed/delivery.html"

    def using(self) -> str:
        """Return the alias of the outbox's database."""
        return outbox_database()

    def notes(self) -> tuple[str, ...]:
        """Say which destinations are left alone, until when and why."""
        from mlembed_django.outbox import DjangoOutbox

        return tuple(
            f"Nothing is sent to '{name}' until {shown.seconds(until)}: {why or 'it asked to wait'}. "
            f"To go on at once: manage.py mlembed_actions resume {name}"
            for name, (until, why) in sorted(DjangoOutbox(self.using()).pauses().items())
        )

    def get_ordering(self, request: HttpRequest) -> tuple[str, ...]:
        """Return the newest first; those of one state by when they came into it, as indexed."""
        if request.GET.get("state") in STATES:
            return ("-settled", "-pk")
        return super().get_ordering(request)

    def found(self, rows: QuerySet[Any], term: str) -> QuerySet[Any]:
        """Return the deliveries of an id, a prediction or a key."""
        which = Q(key=as_key(term)) | Q(prediction=as_key(term))
        named = by_id(term)
        if named is not None:
            which |= Q(uuid=named[0])
        return rows.filter(which)

    def beside(self, request: HttpRequest, row: Any) -> dict[str, Any]:
        """Show its attempts, and what the user may do with it."""
        may_do = {
            "retry": row.state in ("dead", "pending") and self.has_retry_permission(request),
            "discard": row.state in ("dead", "pending") and self.has_discard_permission(request),
            "replay": self.has_retry_permission(request),
        }
        return {
            "tables": attempts_of(row, self.using()),
            "may_do": may_do,
            "caused_by": prediction_address(request, row, self.admin_site.name),
        }

    def has_retry_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may send deliveries again."""
        return may(request, "retry_delivery")

    def has_discard_permission(self, request: HttpRequest) -> bool:
        """Tell whether the user may discard deliveries."""
        return may(request, "discard_delivery")

    @admin.action(description="Retry: send again what waits or was given up", permissions=["retry"])
    def retry_deliveries(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Queue those that wait or were given up for the next delivery."""
        waiting = queryset.filter(state__in=("dead", "pending"))
        left = self._rest(queryset, waiting)
        self._each(request, waiting, "retried", left, _redeliver)

    @admin.action(
        description="Discard: never send what waits or was given up", permissions=["discard"]
    )
    def discard_deliveries(self, request: HttpRequest, queryset: QuerySet[Delivery]) -> None:
        """Give up for good those that wait or were given up."""
        waiting = queryset.filter(state__in=("dead", "pending"))
        left = self._rest(queryset, waiting)
        self._each(request, waiting, "discarded", left, _discard)

    @admin.action(
        description="Replay: look at what would be sent, then send it", permissions=["retry"]
    )
    def replay_deliveries(
        self, request: HttpRequest, queryset: QuerySet[Delivery]
    ) -> HttpResponse | None:
        """Show the events; queue them, whatever their state, once that is confirmed."""
        if request.POST.get("confirmed") != "yes":
            return confirmation(self, request, queryset)
        self._each(request, queryset, "replayed", 0, _redeliver)
        return None

    @display(description="queued")
    def queued_shown(self, row: Delivery) -> str:
        """Return when it was queued, or last redelivered."""
        return shown.seconds(row.queued)

    @display(description="queued")
    def queued_short(self, row: Delivery) -> str:
        """Return the same, shortly."""
        return shown.seconds(row.queued, short=True)

    @display(description="predicted")
    def created_shown(self, row: Delivery) -> str:
        """Return when its prediction was made."""
        return shown.seconds(row.created)

    @display(description="settled")
    def settled_shown(self, row: Delivery) -> str:
        """Return when it was sent, given up or discarded."""
        return shown.seconds(row.settled)

    @display(description="not before")
    def next_shown(self, row: Delivery) -> str:
        """Return when it is tried next at the earliest."""
        return shown.seconds(row.next_attempt) if row.state == "pending" else shown.NONE

    @display(description="held until")
    def lease_shown(self, row: Delivery) -> str:
        """Return until when a delivery holds it."""
        return shown.seconds(row.lease_until)

    @display(description="key")
    def key_shown(self, row: Delivery) -> Any:
        """Return the key, cut where it is long."""
        return shown.shortened(row.key, 32)

    @display(description="score")
    def score_shown(self, row: Delivery) -> str:
        """Return the score in four digits."""
        return shown.number(row.score)

    @display(description="state")
    def state_shown(self, row: Delivery) -> Any:
        """Return the state in its colour, with the last error in its title."""
        return shown.badge(row.state, title=shown.short(row.last_error, 400))

    @display(description="event")
    def event_shown(self, row: Delivery) -> Any:
        """Return the CloudEvent that every attempt sends."""
        return shown.pretty(event_text(row))

    def _each(
        self,
        request: HttpRequest,
        rows: QuerySet[Delivery],
        done: str,
        left: int,
        act: Callable[[str, Delivery], bool],
    ) -> None:
        """Act on each of *rows*, note by whom in Django's history, and tell how many it were."""
        count, problem = 0, ""
        for row in rows[:MOST_AT_ONCE]:
            try:
                if not act(self.using(), row):
                    left += 1
                    continue
            except MlembedError as error:
                problem = str(error)
                break
            count += 1
            self.log_change(request, row, done.capitalize())
        if count:
            what = "delivery" if count == 1 else "deliveries"
            self.message_user(request, f"{count} {what} {done}.", messages.SUCCESS)
        if left:
            text = f"{left} left as they were: only what waits or was given up can be {done}."
            self.message_user(request, text, messages.WARNING)
        if problem:
            self.message_user(request, f"Stopped: {problem}", messages.ERROR)
        elif count == MOST_AT_ONCE:
            text = f"At most {MOST_AT_ONCE:,} at once; do it again for the others."
            self.message_user(request, text, messages.WARNING)

    def _rest(self, chosen: QuerySet[Delivery], meant: QuerySet[Delivery]) -> int:
        return int(chosen.count() - meant.count())


def _redeliver(using: str, row: Delivery) -> bool:
    from mlembed_django.outbox import DjangoOutbox

    if row.state in NEVER_SENT:  # there is nothing that may be sent
        return False
    DjangoOutbox(using).redeliver(row.uuid)
    return True


def _discard(using: str, row: Delivery) -> bool:
    from mlembed_django.outbox import DjangoOutbox

    return DjangoOutbox(using).discard(row.uuid)
