"""`python -m mlembed_crm`: the same as `mlembed actions`."""

from __future__ import annotations

import sys

from mlembed_crm.commands import main

if __name__ == "__main__":
    sys.exit(main(program="python -m mlembed_crm"))
