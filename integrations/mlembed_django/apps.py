"""The Django app: it registers the system checks, and does nothing else.

`ready` runs in every command, in both processes of the autoreloader and in the parent of prefork
workers, so it must not load a model or start a thread.
"""

from __future__ import annotations

import importlib

from django.apps import AppConfig


class MlembedConfig(AppConfig):
    """The app `mlembed`."""

    name = "mlembed_django"
    label = "mlembed"
    verbose_name = "mlembed"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the system checks."""
        importlib.import_module("mlembed_django.checks")
