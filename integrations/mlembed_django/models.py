"""What the site's database may hold of its models: versions, predictions, outcomes, deliveries.

All of it is optional but the outbox of a site that acts: the prediction log in `LOG_DIR` stays what
models are judged by. Schedules are kept in Unix seconds, which no time zone and no clock change of
a site without `USE_TZ` can shift; what people read is kept as a date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    import datetime as dt
    import uuid

    Text = models.CharField[str, str]
    Number = models.FloatField[float, float]
    MaybeNumber = models.FloatField[float | None, float | None]
    Count = models.PositiveIntegerField[int, int]
    Moment = models.DateTimeField[dt.datetime, dt.datetime]
    MaybeMoment = models.DateTimeField[dt.datetime | None, dt.datetime | None]

NAME_LENGTH = 128
KEY_LENGTH = 255


class ModelVersion(models.Model):
    """A version of a model that has served on this site."""

    model: Text = models.CharField(max_length=NAME_LENGTH)
    version: Text = models.CharField(max_length=64)
    bundle: Text = models.CharField(max_length=64, help_text="sha256 of its manifest")
    task: Text = models.CharField(max_length=16, blank=True)
    metric: Text = models.CharField(max_length=64, blank=True, help_text="what it was chosen by")
    promised: MaybeNumber = models.FloatField(
        null=True, blank=True, help_text="that metric on the rows that were held out"
    )
    first_seen: Moment = models.DateTimeField()

    class Meta:
        """One row a bundle, the newest first."""

        ordering = ("-first_seen", "-pk")
        verbose_name = "model version"
        permissions = (
            ("predict", "Can ask models for predictions over HTTP"),
            ("report_outcome", "Can report outcomes over HTTP"),
        )
        constraints = (
            models.UniqueConstraint(fields=("model", "bundle"), name="mlembed_version_unique"),
        )

    def __str__(self) -> str:
        return f"{self.model}@{self.version}"


class Service(models.Model):
    """Which version of a model one host serves, and how that host is."""

    model: Text = models.CharField(max_length=NAME_LENGTH)
    host: Text = models.CharField(max_length=255)
    serving: models.ForeignKey[ModelVersion | None, ModelVersion | None] = models.ForeignKey(
        ModelVersion, on_delete=models.SET_NULL, null=True, blank=True, related_name="services"
    )
    state: Text = models.CharField(max_length=16, help_text="READY, STALE, ERROR or NOT_READY")
    error: models.TextField[str, str] = models.TextField(blank=True)
    since: Moment = models.DateTimeField(help_text="when this version came into service there")
    seen: Moment = models.DateTimeField(help_text="when the host was last heard of")

    class Meta:
        """One row a model and host."""

        ordering = ("model", "host")
        verbose_name = "model in service"
        verbose_name_plural = "models in service"
        constraints = (
            models.UniqueConstraint(fields=("model", "host"), name="mlembed_service_unique"),
        )

    def __str__(self) -> str:
        return f"{self.model} on {self.host}"


class Prediction(models.Model):
    """One prediction that was kept, for people to look up."""

    uuid: models.UUIDField[uuid.UUID, uuid.UUID] = models.UUIDField(verbose_name="id")
    row: Count = models.PositiveIntegerField(default=0, help_text="its place in a batch")
    model: Text = models.CharField(max_length=NAME_LENGTH)
    version: Text = models.CharField(max_length=64, blank=True)
    key: Text = models.CharField(max_length=KEY_LENGTH, blank=True, help_text="of the entity")
    score: MaybeNumber = models.FloatField(null=True, blank=True)
    label: Text = models.CharField(max_length=255, blank=True)
    reason: Text = models.CharField(max_length=16)
    error: models.TextField[str, str] = models.TextField(blank=True)
    latency: MaybeNumber = models.FloatField(null=True, blank=True, help_text="microseconds")
    created: Moment = models.DateTimeField()
    request: Text = models.CharField(max_length=128, blank=True, help_text="id of the request")
    user: Text = models.CharField(max_length=64, blank=True, help_text="hash of the user's key")
    trace: Text = models.CharField(max_length=32, blank=True, help_text="id of the trace")

    class Meta:
        """The newest first; found by id, key and time."""

        ordering = ("-created", "-pk")
        indexes = (
            models.Index(fields=("model", "-created"), name="mlembed_prediction_model"),
            models.Index(fields=("created",), name="mlembed_prediction_created"),
            models.Index(fields=("key",), name="mlembed_prediction_key"),
            # The few that are not ok; written out, as SQLite asks to see it in a query.
            models.Index(
                fields=("reason", "-created"),
                condition=models.Q(reason="abstain") | models.Q(reason="fallback"),
                name="mlembed_prediction_reason",
            ),
        )
        constraints = (
            models.UniqueConstraint(fields=("uuid", "row"), name="mlembed_prediction_unique"),
        )

    def __str__(self) -> str:
        score = "-" if self.score is None else f"{self.score:.4g}"
        return f"{self.model}@{self.version or '-'}: {score}"


class Outcome(models.Model):
    """What really happened, as it was reported."""

    uuid: models.UUIDField[uuid.UUID | None, uuid.UUID | None] = models.UUIDField(
        null=True, blank=True, verbose_name="prediction"
    )
    row: Count = models.PositiveIntegerField(default=0, help_text="its place in a batch")
    model: Text = models.CharField(max_length=NAME_LENGTH)
    key: Text = models.CharField(max_length=KEY_LENGTH, blank=True, help_text="of the entity")
    value: models.JSONField[Any, Any] = models.JSONField()
    observed: MaybeMoment = models.DateTimeField(null=True, blank=True)
    revision: Count = models.PositiveIntegerField(default=0)
    created: Moment = models.DateTimeField()

    class Meta:
        """The newest first; found by prediction and key."""

        ordering = ("-created", "-pk")
        indexes = (
            models.Index(fields=("uuid",), name="mlembed_outcome_uuid"),
            models.Index(fields=("key",), name="mlembed_outcome_key"),
            models.Index(fields=("created",), name="mlembed_outcome_created"),
            models.Index(fields=("model", "-created"), name="mlembed_outcome_model"),
        )

    def __str__(self) -> str:
        return f"{self.model}: {self.value}"


class Report(models.Model):
    """What `mlembed_monitor` found of one version, once."""

    model: Text = models.CharField(max_length=NAME_LENGTH)
    version: Text = models.CharField(max_length=64)
    bundle: Text = models.CharField(max_length=64)
    created: Moment = models.DateTimeField()
    state: Text = models.CharField(max_length=16, help_text="ok, insufficient or alert")
    rows: Count = models.PositiveIntegerField(help_text="predictions it was judged by")
    matched: Count = models.PositiveIntegerField(help_text="of them with an outcome")
    metric: Text = models.CharField(max_length=64, blank=True)
    value: MaybeNumber = models.FloatField(null=True, blank=True)
    low: MaybeNumber = models.FloatField(null=True, blank=True)
    high: MaybeNumber = models.FloatField(null=True, blank=True)
    promised: MaybeNumber = models.FloatField(null=True, blank=True)
    document: models.JSONField[Any, Any] = models.JSONField(help_text="the whole report")

    class Meta:
        """The newest first."""

        ordering = ("-created", "-pk")
        indexes = (models.Index(fields=("model", "-created"), name="mlembed_report_model"),)

    def __str__(self) -> str:
        return f"{self.model}@{self.version}: {self.state}"


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
