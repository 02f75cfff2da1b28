"""The outbox: actions, the attempts to deliver them, pauses, and how far outcomes were read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models

from mlembed_django.models.columns import KEY_LENGTH, NAME_LENGTH

if TYPE_CHECKING:
    import uuid

    from mlembed_django.models.columns import Count, Number, Text


class Delivery(models.Model):
    """One action and how its delivery stands; the outbox.

    `state` is `pending`, `sent`, `dead` (given up), `superseded` (a newer value went instead),
    `held` (in a rule's control group), `discarded` (by a person) or `remembered`: all that is left of
    it is that its rule acted. The last three columns are what that rule remembers of the entity; of
    all its rows, the one with `memory` counts.
    """

    uuid: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(unique=True, verbose_name="id")
    rule: Text = models.CharField(max_length=NAME_LENGTH)
    model: Text = models.CharField(max_length=NAME_LENGTH)
    version: Text = models.CharField(max_length=64, blank=True)
    prediction: Text = models.CharField(max_length=64, help_text="id of the prediction")
    key: Text = models.CharField(max_length=KEY_LENGTH, blank=True, help_text="of the entity")
    long_key: models.TextField[str, str] = models.TextField(
        blank=True, help_text="the whole of a key that is too long for the other field"
    )
    score: Number = models.FloatField()
    label: models.TextField[str, str] = models.TextField(default="null", help_text="JSON")
    reason: Text = models.CharField(max_length=16, default="ok")
    trace: Text = models.CharField(max_length=64, blank=True, help_text="W3C traceparent")
    destination: Text = models.CharField(max_length=NAME_LENGTH)
    record: Text = models.CharField(
        max_length=NAME_LENGTH, blank=True, help_text="kind of record that is written"
    )
    id_field: Text = models.CharField(
        max_length=NAME_LENGTH, blank=True, help_text="its field that holds the key"
    )
    slot: Text = models.CharField(
        max_length=32, blank=True, help_text="what a newer value of the same fields replaces"
    )
    payload: models.TextField[str, str] = models.TextField(help_text="JSON")
    created: Number = models.FloatField(help_text="when it was predicted, Unix seconds")
    queued: Number = models.FloatField(help_text="Unix seconds")
    settled: Number = models.FloatField(default=0.0, help_text="Unix seconds; 0 for pending")
    state: Text = models.CharField(max_length=16, default="pending")
    attempts: Count = models.PositiveIntegerField(default=0)
    next_attempt: Number = models.FloatField(default=0.0, help_text="not before, Unix seconds")
    lease_until: Number = models.FloatField(default=0.0, help_text="Unix seconds")
    lease: Text = models.CharField(max_length=32, blank=True)
    quiet: Text = models.CharField(max_length=80, blank=True, help_text="when it is not sent")
    last_error: models.TextField[str, str] = models.TextField(blank=True)
    memory: models.CharField[str | None, str | None] = models.CharField(
        max_length=32, null=True, blank=True, unique=True, help_text="digest of rule and key"
    )
    seen: models.TextField[str, str] = models.TextField(default="null", help_text="JSON")
    armed: models.BooleanField[bool, bool] = models.BooleanField(default=True)
    quiet_until: Number = models.FloatField(default=0.0, help_text="Unix seconds")

    class Meta:
        """In the order in which they were queued."""

        ordering = ("-pk",)
        verbose_name_plural = "deliveries"
        permissions = (
            ("retry_delivery", "Can send deliveries again"),
            ("discard_delivery", "Can discard deliveries"),
        )
        indexes = (
            models.Index(
                fields=("destination", "key", "id"),
                condition=models.Q(state="pending"),
                name="mlembed_delivery_pending",
            ),
            models.Index(
                fields=("destination", "id"),
                condition=models.Q(state="pending"),
                name="mlembed_delivery_queue",
            ),
            models.Index(
                fields=("destination", "next_attempt"),
                condition=models.Q(state="pending", next_attempt__gt=0.0),
                name="mlembed_delivery_later",
            ),
            models.Index(
                fields=("slot", "created"),
                condition=models.Q(slot__gt=""),
                name="mlembed_delivery_slot",
            ),
            models.Index(
                fields=("rule",),
                condition=models.Q(memory__isnull=False),
                name="mlembed_delivery_memory",
            ),
            models.Index(fields=("state", "settled"), name="mlembed_delivery_state"),
            models.Index(fields=("key",), name="mlembed_delivery_key"),
            models.Index(fields=("prediction",), name="mlembed_delivery_prediction"),
        )

    def __str__(self) -> str:
        return f"{self.rule} -> {self.destination}: {self.state}"


class Attempt(models.Model):
    """One try to deliver an action."""

    delivery: models.ForeignKey[Delivery, Delivery] = models.ForeignKey(
        Delivery, on_delete=models.CASCADE, related_name="tries"
    )
    started: Number = models.FloatField(help_text="Unix seconds")
    seconds: Number = models.FloatField()
    result: Text = models.CharField(max_length=16, help_text="sent, failed or dead")
    status: models.PositiveIntegerField[int | None, int | None] = models.PositiveIntegerField(
        null=True, blank=True, help_text="what the destination answered, as a code"
    )
    detail: models.TextField[str, str] = models.TextField(blank=True)

    class Meta:
        """The oldest first."""

        ordering = ("started", "pk")

    def __str__(self) -> str:
        return f"{self.result} after {self.seconds:.2f} s"


class DestinationState(models.Model):
    """That a destination is to be left alone until a time."""

    destination: Text = models.CharField(max_length=NAME_LENGTH, unique=True)
    paused_until: Number = models.FloatField(help_text="Unix seconds")
    why: models.TextField[str, str] = models.TextField(blank=True)

    def __str__(self) -> str:
        return self.destination


class Cursor(models.Model):
    """How far outcomes were read in a business system."""

    name: Text = models.CharField(max_length=NAME_LENGTH, unique=True)
    cursor: models.TextField[str, str] = models.TextField()

    def __str__(self) -> str:
        return self.name
