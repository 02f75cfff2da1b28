"""A Django of the tests' own, and a setting that declares two models: one there, one not.

Its database is SQLite, in a file so that threads share it, or the PostgreSQL of `DATABASE_URL`.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.conf import settings as django_settings
from django.db import connections, transaction
from django.test import override_settings
from django.test.utils import setup_databases, setup_test_environment, teardown_databases
from django.urls import path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from mlembed.registry.file import FileRegistry

_FOLDER = tempfile.TemporaryDirectory(prefix="mlembed-tests-", ignore_cleanup_errors=True)


def database() -> dict[str, Any]:
    """Return the tests' database, as `DATABASES` describes one."""
    url = urllib.parse.urlsplit(os.environ.get("DATABASE_URL", ""))
    if not url.scheme:
        name = str(Path(_FOLDER.name) / "site.sqlite3")
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": name,
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "timeout": 20},
            "TEST": {"NAME": name},
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.lstrip("/"),
        "USER": url.username or "",
        "PASSWORD": url.password or "",
        "HOST": url.hostname or "",
        "PORT": url.port or "",
        "TEST": {"NAME": f"{url.path.lstrip('/')}_{os.getpid()}"},
    }


django_settings.configure(
    ALLOWED_HOSTS=["testserver"],
    DATABASES={"default": database()},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.admin",
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "django.contrib.messages",
        "django.contrib.sessions",
        "django.contrib.staticfiles",
        "mlembed_django",
        "store",
    ],
    LOGGING_CONFIG=None,
    MIDDLEWARE=["mlembed_django.middleware.PredictionMiddleware"],
    ROOT_URLCONF=(),
    SECRET_KEY="not a secret, for tests alone",  # noqa: S106
    STATIC_URL="static/",
    TEMPLATES=[
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {
                "context_processors": [
                    "django.template.context_processors.request",
                    "django.contrib.auth.context_processors.auth",
                    "django.contrib.messages.context_processors.messages",
                ]
            },
        }
    ],
    USE_TZ=True,
)
apps.populate(django_settings.INSTALLED_APPS)
setup_test_environment()


@pytest.fixture(scope="session")
def databases() -> Iterator[None]:
    """Make the test database, with every migration, once."""
    made = setup_databases(verbosity=0, interactive=False)
    yield
    connections.close_all()
    teardown_databases(made, verbosity=0)


@pytest.fixture
def db(databases: None) -> Iterator[None]:
    """Lend the database for one test; what it writes on this thread is rolled back."""
    del databases
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


@pytest.fixture
def committing_db(databases: None) -> Iterator[None]:
    """Lend the database for one test that commits, or writes on other threads; emptied afterwards."""
    del databases
    yield
    with contextlib.suppress(Exception):  # a test may have left the connection broken
        connections["default"].close()
    from django.core.management import call_command

    call_command("flush", verbosity=0, interactive=False)


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
