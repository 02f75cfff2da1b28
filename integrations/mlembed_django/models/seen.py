"""What a site has seen of its models: versions, hosts, predictions, outcomes, reports."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

from mlembed_django.models.columns import KEY_LENGTH, NAME_LENGTH

if TYPE_CHECKING:
    import uuid

    from mlembed_django.models.columns import Count, MaybeMoment, MaybeNumber, Moment, Text


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
