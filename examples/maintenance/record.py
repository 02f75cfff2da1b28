"""What the model is told about one run of a milling machine; shared by trainer and host."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

import mlembed
from mlembed.features import difference, product


class Machine(mlembed.Record):
    """One run of a milling machine, before it is known whether it fails."""

    type: Literal["L", "M", "H"]  # quality of the product: low, medium, high
    air_temperature: Annotated[float, Field(ge=200, le=400, description="K")]
    process_temperature: Annotated[float, Field(ge=200, le=400, description="K")]
    rotational_speed: Annotated[float, Field(gt=0, description="1/min")]
    torque: Annotated[float, Field(ge=0, description="Nm")]
    tool_wear: Annotated[float, Field(ge=0, description="min")]
    # Why a machine failed: written down afterwards, so the model is trained without them.
    TWF: bool
    HDF: bool
    PWF: bool
    OSF: bool
    RNF: bool


TRANSFORMS = {
    "heating": difference("process_temperature", "air_temperature"),
    "power": product("torque", "rotational_speed"),
    "strain": product("torque", "tool_wear"),
}
