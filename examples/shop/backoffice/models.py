"""What the shop knows: its customers, what they ordered, and whom to call."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models

from backoffice.customers import Customers, OpenCustomers
from backoffice.risk import risk_of
from mlembed_django.fields import PredictionField

if TYPE_CHECKING:
    import datetime as dt
    import uuid

    from django.contrib.auth.models import User

    from backoffice.risk import Risk

    Text = models.CharField[str, str]
    Moment = models.DateTimeField[dt.datetime, dt.datetime]
    MaybeMoment = models.DateTimeField[dt.datetime | None, dt.datetime | None]
    Count = models.PositiveIntegerField[int, int]

_DAY_SECONDS = 86_400


class Segment(models.TextChoices):
    """Where the coffee is drunk."""

    HOME = "home", "Home"
    OFFICE = "office", "Office"
    CAFE = "cafe", "Café"


class Outcome(models.TextChoices):
    """What came of a call."""

    STAYED = "stayed", "Stays"
    LEFT = "left", "Leaves"
    UNREACHED = "unreached", "Not reached"


class Customer(models.Model):
    """Who buys coffee."""

    name: Text = models.CharField(max_length=120)
    email: models.EmailField[str, str] = models.EmailField()
    town: Text = models.CharField(max_length=60)
    segment: Text = models.CharField(max_length=8, choices=Segment.choices)
    newsletter: models.BooleanField[bool, bool] = models.BooleanField(default=False)
    joined: Moment = models.DateTimeField()
    closed: MaybeMoment = models.DateTimeField(
        null=True, blank=True, db_index=True, help_text="when the account was closed"
    )
    reports: Count = models.PositiveIntegerField(
        default=0, editable=False, help_text="how often it was reported whether he stayed"
    )
    churn = PredictionField("churn", db_index=True)

    objects = Customers()

    # What `with_history` and `with_stake` add.
    if TYPE_CHECKING:
        churn_version: str
        churn_time: dt.datetime | None
        as_of: dt.datetime
        first_order: dt.datetime | None
        last_order: dt.datetime | None
        n_orders: int
        orders_90d: int
        orders_365d: int
        returned_365d: int
        spent_90d: float
        spent_365d: float
        at_stake: float
        returns: bool  # and what the histories add

    class Meta:
        """In the order of their names."""

        ordering = ("name", "pk")
        permissions = (
            ("score_customer", "Can ask the model about a customer"),
            ("report_customer", "Can report whether a customer stayed"),
        )

    def __str__(self) -> str:
        return self.name

    @property
    def risk(self) -> Risk | None:
        """How likely the customer is to leave; None where no model has said so."""
        return risk_of(self.churn)

    @property
    def days_as_customer(self) -> float:
        """Days since the customer joined."""
        return _days(self.joined, self.as_of)

    @property
    def days_since_order(self) -> float | None:
        """Days since the last order; None where there is none."""
        return None if self.last_order is None else _days(self.last_order, self.as_of)

    @property
    def usual_gap_days(self) -> float | None:
        """Mean days from one order to the next; None where there are not two."""
        if self.n_orders < 2 or self.first_order is None or self.last_order is None:  # noqa: PLR2004
            return None
        return _days(self.first_order, self.last_order) / (self.n_orders - 1)


class OpenCustomer(Customer):
    """A customer whose account is open, with the history: `mlembed_score backoffice.OpenCustomer`."""

    objects = OpenCustomers()

    class Meta:
        """The same rows."""

        proxy = True


class Order(models.Model):
    """What a customer bought at once."""

    customer: models.ForeignKey[Customer, Customer] = models.ForeignKey(
        Customer, on_delete=models.CASCADE, related_name="orders"
    )
    placed: Moment = models.DateTimeField(db_index=True)
    bags: models.PositiveSmallIntegerField[int, int] = models.PositiveSmallIntegerField()
    total_cents: Count = models.PositiveIntegerField(help_text="EUR cents")
    returned: models.BooleanField[bool, bool] = models.BooleanField(default=False)

    if TYPE_CHECKING:
        customer_id: int

    class Meta:
        """The newest first."""

        ordering = ("-placed", "-pk")
        indexes = (models.Index(fields=("customer", "-placed"), name="backoffice_order_customer"),)

    def __str__(self) -> str:
        return f"Order {self.pk}"

    @property
    def total(self) -> float:
        """EUR."""
        return self.total_cents / 100


class CallListEntry(models.Model):
    """A customer whom somebody should call."""

    customer: models.ForeignKey[Customer, Customer] = models.ForeignKey(
        Customer, on_delete=models.CASCADE, related_name="calls"
    )
    action: models.UUIDField[uuid.UUID | None, uuid.UUID | None] = models.UUIDField(
        null=True, blank=True, unique=True, help_text="id of the action that asked for it"
    )
    prediction: Text = models.CharField(
        max_length=64, blank=True, help_text="id of the prediction that caused it"
    )
    score: models.FloatField[float, float] = models.FloatField()
    reason: Text = models.CharField(max_length=200)
    created: Moment = models.DateTimeField()
    done: MaybeMoment = models.DateTimeField(null=True, blank=True)
    outcome: Text = models.CharField(max_length=10, blank=True, choices=Outcome.choices)
    called_by: models.ForeignKey[User | None, User | None] = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True
    )

    if TYPE_CHECKING:
        customer_id: int

    class Meta:
        """The newest first; of a customer no more than one is open."""

        ordering = ("-created", "-pk")
        verbose_name_plural = "call list entries"
        constraints = (
            models.UniqueConstraint(
                fields=("customer",),
                condition=models.Q(done=None),
                name="backoffice_one_open_call",
            ),
        )

    def __str__(self) -> str:
        return f"Call {self.customer}"

    @property
    def risk(self) -> Risk | None:
        """How likely the customer was to leave when the model said so."""
        return risk_of(self.score)


def _days(since: dt.datetime, until: dt.datetime) -> float:
    return max(0.0, (until - since).total_seconds() / _DAY_SECONDS)
