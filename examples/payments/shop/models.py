"""What the shop keeps of each payment: the decision, where it came from, and what became of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db import models

if TYPE_CHECKING:
    import datetime as dt

REVIEW_FROM, BLOCK_FROM = 0.3, 0.8


class Verdict(models.TextChoices):
    """What happens to a payment."""

    APPROVE = "approve"
    REVIEW = "review"
    BLOCK = "block"


class Decision(models.Model):
    """One payment and what was decided on it."""

    id: models.CharField[str, str] = models.CharField(primary_key=True, max_length=64)
    decided_at: models.DateTimeField[dt.datetime, dt.datetime] = models.DateTimeField(
        auto_now_add=True, db_index=True
    )
    amount: models.FloatField[float, float] = models.FloatField(help_text="EUR")
    merchant_category: models.CharField[str, str] = models.CharField(max_length=64)
    country: models.CharField[str, str] = models.CharField(max_length=64)
    channel: models.CharField[str, str] = models.CharField(max_length=16)
    verdict: models.CharField[str, str] = models.CharField(max_length=8, choices=Verdict.choices)
    score: models.FloatField[float, float] = models.FloatField()
    version: models.CharField[str, str] = models.CharField(max_length=32, blank=True)
    prediction_id: models.CharField[str, str] = models.CharField(max_length=36)
    reason: models.CharField[str, str] = models.CharField(max_length=8)
    fraud: models.BooleanField[bool | None, bool | None] = models.BooleanField(null=True)
    reports: models.PositiveSmallIntegerField[int, int] = models.PositiveSmallIntegerField(
        default=0
    )

    class Meta:
        """The newest first."""

        ordering = ("-decided_at",)

    def __str__(self) -> str:
        return f"{self.id}: {self.verdict}"

    @property
    def percent(self) -> int:
        """The score in whole percent, for the page."""
        return round(100 * self.score)

    def to_json(self) -> dict[str, Any]:
        """Describe the decision as the API answers it."""
        return {
            "id": self.id,
            "decision": self.verdict,
            "score": self.score,
            "version": self.version,
            "prediction_id": self.prediction_id,
            "reason": self.reason,
        }


def verdict_of(score: float, reason: str) -> Verdict:
    """Decide on a payment with this *score*; a person looks where the model abstains."""
    if score >= BLOCK_FROM:
        return Verdict.BLOCK
    if score >= REVIEW_FROM or reason == "abstain":
        return Verdict.REVIEW
    return Verdict.APPROVE
