"""Write for people or for programs, whichever is asked for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from mlembed_crm.lines import printable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence


def say(options: argparse.Namespace, value: Mapping[str, Any], line: str) -> None:
    """Write *value* as one line of JSON, or *line*, and let it go at once."""
    if options.json:
        sys.stdout.write(json.dumps(value) + "\n")
    else:
        sys.stdout.write("\n".join(map(printable, line.split("\n"))) + "\n")
    sys.stdout.flush()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return *rows* under *head*, each column as wide as it must be."""
    lines = [head, *rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(head))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )
