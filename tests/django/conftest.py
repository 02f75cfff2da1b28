"""A Django of the tests' own, and a setting that declares two models: one there, one not."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.test import override_settings
from django.urls import path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from mlembed.registry.file import FileRegistry

django_settings.configure(
    ALLOWED_HOSTS=["testserver"],
    INSTALLED_APPS=["mlembed_django"],
    LOGGING_CONFIG=None,
    MIDDLEWARE=["mlembed_django.middleware.PredictionMiddleware"],
    ROOT_URLCONF=(),
    USE_TZ=True,
)
apps.populate(django_settings.INSTALLED_APPS)


@pytest.fixture
def declared(registry: FileRegistry, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """Set MLEMBED to a working model, `toy`, and one that only its fallback answers for, `gone`."""
    setting = {
        "REGISTRY": registry.root,
        "LOG_DIR": tmp_path / "log",
        "POLL_SECONDS": 0,
        "MODELS": {"toy": "toy@champion", "gone": {"REF": "gone@champion", "FALLBACK": 0.25}},
    }
    with override_settings(MLEMBED=setting):
        yield setting


@pytest.fixture
def serving() -> Callable[[Any], AbstractContextManager[None]]:
    """Return the context manager in which `/` is a given view, and `/<name>` too."""

    @contextlib.contextmanager
    def serve(view: Any) -> Iterator[None]:
        with override_settings(ROOT_URLCONF=(path("", view), path("<str:name>", view))):
            yield

    return serve
