"""Runs uWSGI, whose wheel brings a command but no module that `python -m` could run."""

from __future__ import annotations

import pyuwsgi

pyuwsgi.run()
