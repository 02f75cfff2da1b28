"""Tell whether a new version takes the records that are made for the one in service."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mlembed.errors import BundleError

if TYPE_CHECKING:
    from mlembed.bundle.manifest import Manifest


def check_columns(serving: Manifest, manifest: Manifest) -> None:
    """Refuse a version that the records made for the one in service do not fit.

    Raises:
        BundleError: Listing every column that the host would have to change.
    """
    problems = _column_changes(serving, manifest) + _tensor_changes(serving, manifest)
    if problems:
        raise BundleError(
            f"{manifest.title} needs other {'inputs' if manifest.inputs else 'columns'} than "
            f"{serving.title}, which this process serves: {'; '.join(problems)}. Deploy a host that "
            "gives them and start it anew"
        )


def _column_changes(serving: Manifest, manifest: Manifest) -> list[str]:
    old = {column.name: column for column in serving.columns}
    new = {column.name: column for column in manifest.columns}
    problems = [f"'{name}' is gone" for name in old if name not in new]
    for name, column in new.items():
        before = old.get(name)
        if before is None and not column.nullable:
            problems.append(f"'{name}' is new")
        elif before is not None and before.kind != column.kind:
            problems.append(f"'{name}' is {column.kind}, not {before.kind}")
        elif before is not None and before.nullable > column.nullable:
            problems.append(f"'{name}' may not be missing any more")
    return problems


def _tensor_changes(serving: Manifest, manifest: Manifest) -> list[str]:
    """Name the inputs that must be given otherwise, and the outputs a host would miss."""
    old, new = ({tensor.name: tensor for tensor in m.inputs} for m in (serving, manifest))
    problems = [f"'{name}' is gone" for name in old if name not in new]
    for name, tensor in new.items():
        if name not in old:
            problems.append(f"'{name}' is new")
        elif not tensor.takes(old[name]):
            problems.append(f"'{name}' is {tensor.text}, not {old[name].text}")
    given = {tensor.name: tensor.dtype for tensor in manifest.outputs}
    problems += [
        f"it gives no '{tensor.name}' of {tensor.dtype}"
        for tensor in serving.outputs
        if given.get(tensor.name) != tensor.dtype
    ]
    if serving.score is not None and manifest.score is None and manifest.inputs:
        problems.append("it has no score")
    return problems
