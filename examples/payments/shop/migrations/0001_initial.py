"""Make the table of decisions."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """The first step."""

    initial = True

    dependencies = ()

    operations = (
        migrations.CreateModel(
            name="Decision",
            fields=[
                ("id", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("decided_at", models.DateTimeField(auto_now_add=True, db_index=True)),
                ("amount", models.FloatField(help_text="EUR")),
                ("merchant_category", models.CharField(max_length=64)),
                ("country", models.CharField(max_length=64)),
                ("channel", models.CharField(max_length=16)),
                (
                    "verdict",
                    models.CharField(
                        choices=[
                            ("approve", "Approve"),
                            ("review", "Review"),
                            ("block", "Block"),
                        ],
                        max_length=8,
                    ),
                ),
                ("score", models.FloatField()),
                ("version", models.CharField(blank=True, max_length=32)),
                ("prediction_id", models.CharField(max_length=36)),
                ("reason", models.CharField(max_length=8)),
                ("fraud", models.BooleanField(null=True)),
                ("reports", models.PositiveSmallIntegerField(default=0)),
            ],
            options={"ordering": ("-decided_at",)},
        ),
    )
