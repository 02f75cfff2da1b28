"""The Django app: it registers system checks, a signal and the at-fork hook, and does nothing else.

`ready` runs in every command, in both processes of the autoreloader and in the parent of prefork
workers, so it must not load a model, import what a setting names or start a thread.
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
        """Register them, by importing the modules that do."""
        for name in ("mlembed.forking", "mlembed_django.conf", "mlembed_django.checks"):
            importlib.import_module(name)
