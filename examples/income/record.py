"""What the model is told about one adult of the census; shared by trainer and host."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

import mlembed
from mlembed.features import difference, log1p


class Person(mlembed.Record):
    """One adult of the 1994 census of the United States."""

    age: Annotated[float, Field(ge=0, le=120, description="years")]
    workclass: str | None
    education: str
    education_num: Annotated[float, Field(ge=0, le=20, description="years of education")]
    marital_status: str
    occupation: str | None
    relationship: str
    race: str
    sex: str
    capital_gain: Annotated[float, Field(ge=0, description="USD per year")]
    capital_loss: Annotated[float, Field(ge=0, description="USD per year")]
    hours_per_week: Annotated[float, Field(ge=0, le=168, description="hours")]
    native_country: str | None


TRANSFORMS = {
    "log_gain": log1p("capital_gain"),
    "log_loss": log1p("capital_loss"),
    "net_capital": difference("capital_gain", "capital_loss"),
}
