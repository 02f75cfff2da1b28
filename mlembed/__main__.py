"""Run the command line: `python -m mlembed`, or `mlembed`."""

from __future__ import annotations

import sys

from mlembed.errors import MissingExtraError


def main() -> None:
    """Run one command and exit with its code."""
    try:
        from mlembed.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("mlembed"):
            raise
        sys.stderr.write(f"error: {MissingExtraError('the command line', 'train')}\n")
        sys.exit(2)
    sys.exit(run())


if __name__ == "__main__":
    main()
