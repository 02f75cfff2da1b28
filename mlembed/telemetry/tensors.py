"""What the log says of a prediction whose input was tensors: their dtype and shape, never a value.

A tensor may hold a face or a letter, and may be larger than the whole log; what is logged of it is one
short text a prediction.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlembed.telemetry.otlpjson import whole_text
from mlembed.telemetry.source import Source

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mlembed.telemetry.events import Entry
    from mlembed.telemetry.otlpjson import AttributeValue
    from mlembed.tensors import Tensor

INPUTS = "mlembed.payload.inputs"
_TUPLE_BYTES, _LENGTH_BYTES, _MOST_AXES = 128, 40, 64
_MAX_DESCRIBED = 1024


class TensorSource(Source):
    """A loaded bundle whose graph takes tensors, as events name it.

    Its entries hold no row; under `unknown` stands what `described` returns.

    Args:
        name: Name of the model.
        version: Its version.
        digest: The bundle's id.
        inputs: What its graph takes.
        decide: Returns the label and the reason of a score.
    """

    def __init__(
        self,
        name: str,
        version: str,
        digest: str,
        inputs: Sequence[Tensor],
        decide: Callable[[float], tuple[bool | str | None, str]],
    ) -> None:
        super().__init__(name, version, digest, (), log_features=False, decide=decide)
        self._dtypes = {tensor.name: tensor.dtype for tensor in inputs}
        self._described: dict[tuple[tuple[int, ...], ...], dict[str, str]] = {}
        axes = (_MOST_AXES if t.shape is None else len(t.shape) for t in inputs)
        self.entry_bytes += sum(_TUPLE_BYTES + _LENGTH_BYTES * count for count in axes)

    def described(self, feed: Mapping[str, NDArray[Any]]) -> Mapping[str, str]:
        """Return what entries hold of *feed*, its arrays in the order of the inputs."""
        shapes = tuple([array.shape for array in feed.values()])
        found = self._described.get(shapes)
        if found is None:
            named = {
                whole_text(name): f"{self._dtypes[name]}[{','.join(map(str, array.shape))}]"
                for name, array in feed.items()
            }
            if len(self._described) >= _MAX_DESCRIBED:
                self._described.clear()
            found = {INPUTS: json.dumps(named, ensure_ascii=False)}
            self._described[shapes] = found
        return found

    def attributes(self, entry: Entry) -> dict[str, AttributeValue]:
        """Return the attributes of a prediction's event, its inputs' dtypes and shapes among them."""
        values = super().attributes(entry)
        values |= entry.unknown or {}
        return values

    def unknown(self, given: Mapping[str, Any] | None) -> dict[str, str]:  # noqa: ARG002  none here
        """Return nothing: there is no vocabulary."""
        return {}
