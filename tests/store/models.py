"""Customers of a store that does not exist."""

from __future__ import annotations

import decimal
from typing import TYPE_CHECKING, Any

from django.db import models

from mlembed_django import PredictionField

if TYPE_CHECKING:
    import datetime as dt

    Text = models.CharField[str, str]


class Town(models.Model):
    """Where customers live."""

    name: Text = models.CharField(max_length=64)

    def __str__(self) -> str:
        return self.name


class Customer(models.Model):
    """One customer; some of the fields are what the model `toy` is told."""

    name: Text = models.CharField(max_length=64)
    town: models.ForeignKey[Town | None, Town | None] = models.ForeignKey(
        Town, on_delete=models.CASCADE, null=True
    )
    age: models.IntegerField[int | None, int | None] = models.IntegerField(null=True)
    spent: models.DecimalField[decimal.Decimal, decimal.Decimal] = models.DecimalField(
        max_digits=10, decimal_places=2, default=decimal.Decimal(0)
    )
    plan: Text = models.CharField(max_length=8, default="plus")
    churn = PredictionField("toy")
    newsletter: models.BooleanField[bool, bool] = models.BooleanField(default=False)
    joined: models.DateTimeField[dt.datetime | None, dt.datetime | None] = models.DateTimeField(
        null=True
    )
    born: models.DateField[dt.date | None, dt.date | None] = models.DateField(null=True)

    class Meta:
        """In the order in which they came."""

        ordering = ("pk",)

    def __str__(self) -> str:
        return self.name


class Older(Customer):
    """Customers as someone sees them for whom everybody is ten years older."""

    class Meta:
        """The same table."""

        proxy = True

    @classmethod
    def from_db(cls, *row: Any, **how: Any) -> Any:
        """Make it of a row, and older."""
        made: Any = super().from_db(*row, **how)
        made.age += 10
        return made


class Line(models.Model):
    """A line of an order, which has no other key than the two."""

    pk = models.CompositePrimaryKey("order", "number")
    order: Any = models.IntegerField()
    number: Any = models.IntegerField()
    age: Any = models.IntegerField(null=True)
    churn = PredictionField("toy")

    def __str__(self) -> str:
        return f"{self.order}/{self.number}"
