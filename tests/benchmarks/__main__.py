"""Measure what mlembed promises of its speed, on this machine.

    python -m tests.benchmarks [calls] [batches] [lowering] [start] [registry] [trouble] [soak]
        [data] [tables] [others] [hosts] [querysets] [load] [actions] [--short] [--json]

All of them by default, ten minutes; the comparison with MLflow needs `pip install -e '.[bench]'`.
The exit code is 1 where a number is missed.
"""

from __future__ import annotations

import argparse
import sys

from .actions import actions
from .calls import batches, calls
from .data import data
from .hosts import hosts
from .load import load
from .lowering import lowering
from .others import others
from .querysets import querysets
from .registry import registry
from .report import show
from .soak import soak
from .start import start
from .tables import tables
from .trouble import trouble

RUNS = (
    calls,
    batches,
    lowering,
    start,
    registry,
    trouble,
    soak,
    data,
    tables,
    others,
    hosts,
    querysets,
    load,
    actions,
)
ALL = {run.__name__: run for run in RUNS}


def main() -> int:
    """Run the benchmarks that are named."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(ALL))
    parser.add_argument("--short", action="store_true", help="few calls: whether it works at all")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    options = parser.parse_args()
    if unknown := set(options.names) - ALL.keys():
        parser.error(f"there is no benchmark {', '.join(sorted(unknown))}")
    missed = False
    for name in options.names or ALL:
        findings = []
        for finding in ALL[name](options.short):
            show([finding], as_json=options.json)
            findings.append(finding)
        missed |= not all(finding.is_met for finding in findings)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
