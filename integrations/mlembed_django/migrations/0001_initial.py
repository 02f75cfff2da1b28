"""Make every table."""

from __future__ import annotations

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """The first step."""

    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="Cursor",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=128, unique=True)),
                ("cursor", models.TextField()),
            ],
        ),
        migrations.CreateModel(
            name="DestinationState",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("destination", models.CharField(max_length=128, unique=True)),
                ("paused_until", models.FloatField(help_text="Unix seconds")),
                ("why", models.TextField(blank=True)),
            ],
        ),
        migrations.CreateModel(
            name="Delivery",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(unique=True, verbose_name="id")),
                ("rule", models.CharField(max_length=128)),
                ("model", models.CharField(max_length=128)),
                ("version", models.CharField(blank=True, max_length=64)),
                ("prediction", models.CharField(help_text="id of the prediction", max_length=64)),
                ("key", models.CharField(blank=True, help_text="of the entity", max_length=255)),
                (
                    "long_key",
                    models.TextField(
                        blank=True,
                        help_text="the whole of a key that is too long for the other field",
                    ),
                ),
                ("score", models.FloatField()),
                ("label", models.TextField(default="null", help_text="JSON")),
                ("reason", models.CharField(default="ok", max_length=16)),
                ("trace", models.CharField(blank=True, help_text="W3C traceparent", max_length=64)),
                ("destination", models.CharField(max_length=128)),
                (
                    "record",
                    models.CharField(
                        blank=True, help_text="kind of record that is written", max_length=128
                    ),
                ),
                (
                    "id_field",
                    models.CharField(
                        blank=True, help_text="its field that holds the key", max_length=128
                    ),
                ),
                (
                    "slot",
                    models.CharField(
                        blank=True,
                        help_text="what a newer value of the same fields replaces",
                        max_length=32,
                    ),
                ),
                ("payload", models.TextField(help_text="JSON")),
                ("created", models.FloatField(help_text="when it was predicted, Unix seconds")),
                ("queued", models.FloatField(help_text="Unix seconds")),
                (
                    "settled",
                    models.FloatField(default=0.0, help_text="Unix seconds; 0 for pending"),
                ),
                ("state", models.CharField(default="pending", max_length=16)),
                ("attempts", models.PositiveIntegerField(default=0)),
                (
                    "next_attempt",
                    models.FloatField(default=0.0, help_text="not before, Unix seconds"),
                ),
                ("lease_until", models.FloatField(default=0.0, help_text="Unix seconds")),
                ("lease", models.CharField(blank=True, max_length=32)),
                (
                    "quiet",
                    models.CharField(blank=True, help_text="when it is not sent", max_length=80),
                ),
                ("last_error", models.TextField(blank=True)),
                (
                    "memory",
                    models.CharField(
                        blank=True,
                        help_text="digest of rule and key",
                        max_length=32,
                        null=True,
                        unique=True,
                    ),
                ),
                ("seen", models.TextField(default="null", help_text="JSON")),
                ("armed", models.BooleanField(default=True)),
                ("quiet_until", models.FloatField(default=0.0, help_text="Unix seconds")),
            ],
            options={
                "verbose_name_plural": "deliveries",
                "ordering": ("-pk",),
                "permissions": (
                    ("retry_delivery", "Can send deliveries again"),
                    ("discard_delivery", "Can discard deliveries"),
                ),
                "indexes": [
                    models.Index(
                        condition=models.Q(("state", "pending")),
                        fields=["destination", "key", "id"],
                        name="mlembed_delivery_pending",
                    ),
                    models.Index(
                        condition=models.Q(("state", "pending")),
                        fields=["destination", "id"],
                        name="mlembed_delivery_queue",
                    ),
                    models.Index(
                        condition=models.Q(("next_attempt__gt", 0.0), ("state", "pending")),
                        fields=["destination", "next_attempt"],
                        name="mlembed_delivery_later",
                    ),
                    models.Index(
                        condition=models.Q(("memory__isnull", False)),
                        fields=["rule"],
                        name="mlembed_delivery_memory",
                    ),
                    models.Index(
                        condition=models.Q(("slot__gt", "")),
                        fields=["slot", "created"],
                        name="mlembed_delivery_slot",
                    ),
                    models.Index(fields=["state", "settled"], name="mlembed_delivery_state"),
                    models.Index(fields=["key"], name="mlembed_delivery_key"),
                    models.Index(fields=["prediction"], name="mlembed_delivery_prediction"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("started", models.FloatField(help_text="Unix seconds")),
                ("seconds", models.FloatField()),
                ("result", models.CharField(help_text="sent, failed or dead", max_length=16)),
                (
                    "status",
                    models.PositiveIntegerField(
                        blank=True, help_text="what the destination answered, as a code", null=True
                    ),
                ),
                ("detail", models.TextField(blank=True)),
                (
                    "delivery",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="tries",
                        to="mlembed.delivery",
                    ),
                ),
            ],
            options={
                "ordering": ("started", "pk"),
            },
        ),
        migrations.CreateModel(
            name="ModelVersion",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model", models.CharField(max_length=128)),
                ("version", models.CharField(max_length=64)),
                ("bundle", models.CharField(help_text="sha256 of its manifest", max_length=64)),
                ("task", models.CharField(blank=True, max_length=16)),
                (
                    "metric",
                    models.CharField(blank=True, help_text="what it was chosen by", max_length=64),
                ),
                (
                    "promised",
                    models.FloatField(
                        blank=True,
                        help_text="that metric on the rows that were held out",
                        null=True,
                    ),
                ),
                ("first_seen", models.DateTimeField()),
            ],
            options={
                "verbose_name": "model version",
                "ordering": ("-first_seen", "-pk"),
                "permissions": (
                    ("predict", "Can ask models for predictions over HTTP"),
                    ("report_outcome", "Can report outcomes over HTTP"),
                ),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("model", "bundle"), name="mlembed_version_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Outcome",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(blank=True, null=True, verbose_name="prediction")),
                ("row", models.PositiveIntegerField(default=0, help_text="its place in a batch")),
                ("model", models.CharField(max_length=128)),
                ("key", models.CharField(blank=True, help_text="of the entity", max_length=255)),
                ("value", models.JSONField()),
                ("observed", models.DateTimeField(blank=True, null=True)),
                ("revision", models.PositiveIntegerField(default=0)),
                ("created", models.DateTimeField()),
            ],
            options={
                "ordering": ("-created", "-pk"),
                "indexes": [
                    models.Index(fields=["uuid"], name="mlembed_outcome_uuid"),
                    models.Index(fields=["key"], name="mlembed_outcome_key"),
                    models.Index(fields=["created"], name="mlembed_outcome_created"),
                    models.Index(fields=["model", "-created"], name="mlembed_outcome_model"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Prediction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("uuid", models.UUIDField(verbose_name="id")),
                ("row", models.PositiveIntegerField(default=0, help_text="its place in a batch")),
                ("model", models.CharField(max_length=128)),
                ("version", models.CharField(blank=True, max_length=64)),
                ("key", models.CharField(blank=True, help_text="of the entity", max_length=255)),
                ("score", models.FloatField(blank=True, null=True)),
                ("label", models.CharField(blank=True, max_length=255)),
                ("reason", models.CharField(max_length=16)),
                ("error", models.TextField(blank=True)),
                ("latency", models.FloatField(blank=True, help_text="microseconds", null=True)),
                ("created", models.DateTimeField()),
                (
                    "request",
                    models.CharField(blank=True, help_text="id of the request", max_length=128),
                ),
                (
                    "user",
                    models.CharField(blank=True, help_text="hash of the user's key", max_length=64),
                ),
                ("trace", models.CharField(blank=True, help_text="id of the trace", max_length=32)),
            ],
            options={
                "ordering": ("-created", "-pk"),
                "indexes": [
                    models.Index(fields=["model", "-created"], name="mlembed_prediction_model"),
                    models.Index(fields=["created"], name="mlembed_prediction_created"),
                    models.Index(fields=["key"], name="mlembed_prediction_key"),
                    models.Index(
                        condition=models.Q(
                            ("reason", "abstain"), ("reason", "fallback"), _connector="OR"
                        ),
                        fields=["reason", "-created"],
                        name="mlembed_prediction_reason",
                    ),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("uuid", "row"), name="mlembed_prediction_unique"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Report",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model", models.CharField(max_length=128)),
                ("version", models.CharField(max_length=64)),
                ("bundle", models.CharField(max_length=64)),
                ("created", models.DateTimeField()),
                ("state", models.CharField(help_text="ok, insufficient or alert", max_length=16)),
                ("rows", models.PositiveIntegerField(help_text="predictions it was judged by")),
                ("matched", models.PositiveIntegerField(help_text="of them with an outcome")),
                ("metric", models.CharField(blank=True, max_length=64)),
                ("value", models.FloatField(blank=True, null=True)),
                ("low", models.FloatField(blank=True, null=True)),
                ("high", models.FloatField(blank=True, null=True)),
                ("promised", models.FloatField(blank=True, null=True)),
                ("document", models.JSONField(help_text="the whole report")),
            ],
            options={
                "ordering": ("-created", "-pk"),
                "indexes": [
                    models.Index(fields=["model", "-created"], name="mlembed_report_model")
                ],
            },
        ),
        migrations.CreateModel(
            name="Service",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("model", models.CharField(max_length=128)),
                ("host", models.CharField(max_length=255)),
                (
                    "state",
                    models.CharField(help_text="READY, STALE, ERROR or NOT_READY", max_length=16),
                ),
                ("error", models.TextField(blank=True)),
                (
                    "since",
                    models.DateTimeField(help_text="when this version came into service there"),
                ),
                ("seen", models.DateTimeField(help_text="when the host was last heard of")),
                (
                    "serving",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="services",
                        to="mlembed.modelversion",
                    ),
                ),
            ],
            options={
                "verbose_name": "model in service",
                "verbose_name_plural": "models in service",
                "ordering": ("model", "host"),
                "constraints": [
                    models.UniqueConstraint(fields=("model", "host"), name="mlembed_service_unique")
                ],
            },
        ),
    )
