"""`manage.py mlembed_predict NAME`: ask a declared model once, for a row or a record.

    manage.py mlembed_predict churn --instance shop.Customer:17
    manage.py mlembed_predict churn --record customer.json      # or - for what is piped in

A person tries the model: nothing is logged, kept or acted on, so it is no traffic that monitoring
sees. Exit status: 0, or 1 where it cannot answer.
"""

from __future__ import annotations

import contextlib
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured, ObjectDoesNotExist, ValidationError
from django.core.management.base import CommandError
from django.db import DatabaseError

from mlembed.bundle.strictjson import loads
from mlembed.errors import BundleError, MlembedError
from mlembed_django.conf import site
from mlembed_django.management.asked import SiteCommand, chosen

if TYPE_CHECKING:
    from django.core.management.base import CommandParser


class Command(SiteCommand):
    """Predict once."""

    help = "Ask a model that MLEMBED declares, for one row of yours or for a record."

    def add_arguments(self, parser: CommandParser) -> None:
        """Take the model's name and what is asked."""
        parser.add_argument("name", help="the model, as MLEMBED['MODELS'] declares it")
        asked = parser.add_mutually_exclusive_group(required=True)
        asked.add_argument("--instance", metavar="app.Model:pk", help="a row of yours")
        asked.add_argument("--record", metavar="FILE", help="a JSON object; - for what is piped in")
        parser.add_argument("--key", help="the host's key of the entity")
        parser.add_argument("--json", action="store_true", help="print one JSON object")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Predict and print.

        Raises:
            CommandError: If there is no such model, row or record, or it cannot be answered for.
        """
        (declared,) = chosen([options["name"]])
        if options["instance"]:
            if not declared.record:
                raise CommandError(
                    f"MLEMBED['MODELS']['{declared.name}'] has no RECORD, which says how a row becomes "
                    "a record; see from_instance, or give --record"
                )
            asked = _instance(options["instance"])
        else:
            asked = _record(options["record"])
        try:
            with contextlib.closing(site().quiet(declared.name)) as model:
                made = model.predict(asked, key=options["key"])
        except (MlembedError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        told = made.to_json()
        if options["json"]:
            self.stdout.write(json.dumps(told))
            return
        for name, value in told.items():
            if value not in ("", None):
                self.stdout.write(f"{name:8}  {value}")


def _instance(text: str) -> Any:
    label, colon, key = text.rpartition(":")
    if not colon or "." not in label:
        raise CommandError(f"--instance {text}: write app.Model:pk, as in shop.Customer:17")
    try:
        return apps.get_model(label)._default_manager.get(pk=key)  # noqa: SLF001  with what it annotates
    except (LookupError, ValueError) as error:
        if isinstance(error, LookupError):
            raise CommandError(f"no installed app has the model '{label}'") from error
        raise CommandError(f"--instance {text}: that is no primary key of {label}") from error
    except ValidationError as error:
        raise CommandError(f"--instance {text}: that is no primary key of {label}") from error
    except ObjectDoesNotExist as error:
        raise CommandError(f"there is no {label} with the primary key {key}") from error
    except DatabaseError as error:
        raise CommandError(f"the database failed: {error}") from error


def _record(path: str) -> Any:
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        record = loads(data, f"--record {path}")
    except OSError as error:
        raise CommandError(f"--record {path}: {error.strerror}") from error
    except BundleError as error:
        raise CommandError(str(error)) from error
    if not isinstance(record, dict):
        raise CommandError(f"--record {path}: expected one JSON object, the record")
    return record
