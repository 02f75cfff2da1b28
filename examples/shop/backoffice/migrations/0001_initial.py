"""Make the tables of customers, orders and calls."""

from __future__ import annotations

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    """The first step."""

    initial = True

    dependencies = (migrations.swappable_dependency(settings.AUTH_USER_MODEL),)

    operations = (
        migrations.CreateModel(
            name="Customer",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(max_length=120)),
                ("email", models.EmailField(max_length=254)),
                ("town", models.CharField(max_length=60)),
                (
                    "segment",
                    models.CharField(
                        choices=[("home", "Home"), ("office", "Office"), ("cafe", "Café")],
                        max_length=8,
                    ),
                ),
                ("newsletter", models.BooleanField(default=False)),
                ("joined", models.DateTimeField()),
                (
                    "closed",
                    models.DateTimeField(
                        blank=True,
                        db_index=True,
                        help_text="when the account was closed",
                        null=True,
                    ),
                ),
                (
                    "reports",
                    models.PositiveIntegerField(
                        default=0,
                        editable=False,
                        help_text="how often it was reported whether he stayed",
                    ),
                ),
                ("churn", models.FloatField(blank=True, db_index=True, editable=False, null=True)),
                (
                    "churn_version",
                    models.CharField(blank=True, default="", editable=False, max_length=64),
                ),
                ("churn_time", models.DateTimeField(blank=True, editable=False, null=True)),
            ],
            options={
                "ordering": ("name", "pk"),
                "permissions": (
                    ("score_customer", "Can ask the model about a customer"),
                    ("report_customer", "Can report whether a customer stayed"),
                ),
            },
        ),
        migrations.CreateModel(
            name="OpenCustomer",
            fields=[],
            options={
                "proxy": True,
                "indexes": [],
                "constraints": [],
            },
            bases=("backoffice.customer",),
        ),
        migrations.CreateModel(
            name="CallListEntry",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "action",
                    models.UUIDField(
                        blank=True,
                        help_text="id of the action that asked for it",
                        null=True,
                        unique=True,
                    ),
                ),
                (
                    "prediction",
                    models.CharField(
                        blank=True, help_text="id of the prediction that caused it", max_length=64
                    ),
                ),
                ("score", models.FloatField()),
                ("reason", models.CharField(max_length=200)),
                ("created", models.DateTimeField()),
                ("done", models.DateTimeField(blank=True, null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("stayed", "Stays"),
                            ("left", "Leaves"),
                            ("unreached", "Not reached"),
                        ],
                        max_length=10,
                    ),
                ),
                (
                    "called_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "customer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="calls",
                        to="backoffice.customer",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "call list entries",
                "ordering": ("-created", "-pk"),
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("done", None)),
                        fields=("customer",),
                        name="backoffice_one_open_call",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Order",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("placed", models.DateTimeField(db_index=True)),
                ("bags", models.PositiveSmallIntegerField()),
                ("total_cents", models.PositiveIntegerField(help_text="EUR cents")),
                ("returned", models.BooleanField(default=False)),
                (
                    "customer",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="orders",
                        to="backoffice.customer",
                    ),
                ),
            ],
            options={
                "ordering": ("-placed", "-pk"),
                "indexes": [
                    models.Index(fields=["customer", "-placed"], name="backoffice_order_customer")
                ],
            },
        ),
    )
