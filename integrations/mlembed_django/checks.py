"""System checks: what is wrong is said at `manage.py check`, not at the first request.

The checks of the setting read nothing but the setting and run always. Those that read the registry
run under `check --deploy` alone: tests, migrations and image builds must not need the models.
`manage.py mlembed_check` goes further and puts each model to work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning, register  # noqa: A004  Django's name
from django.utils.module_loading import import_string

from mlembed.errors import MlembedError
from mlembed.registry import open_source
from mlembed_django.conf import SETTING
from mlembed_django.declaration import read_declaration
from mlembed_django.middleware import PredictionMiddleware

if TYPE_CHECKING:
    from mlembed.registry import BundleSource
    from mlembed_django.declaration import Declared

TAG = "mlembed"
_IDS = {"setting": "mlembed.E001", "reference": "mlembed.E002"}
_PATH = f"{PredictionMiddleware.__module__}.{PredictionMiddleware.__qualname__}"


@register(TAG)
def check_setting(**_: Any) -> list[CheckMessage]:
    """E001: MLEMBED is missing or malformed. E002: so is a model reference or the registry."""
    _declaration, problems = read_declaration(getattr(settings, SETTING, None))
    return [Error(p.message, hint=p.hint, id=_IDS[p.kind]) for p in problems]


@register(TAG)
def check_middleware(**_: Any) -> list[CheckMessage]:
    """W001: the app is installed without its middleware."""
    if any(map(_is_ours, settings.MIDDLEWARE)):
        return []
    return [
        Warning(
            "mlembed_django is installed, but MIDDLEWARE does not list its middleware, so views "
            "have no request.predictions.",
            hint=f"Add '{_PATH}', or silence mlembed.W001 if you use only @predicts and get_model.",
            id="mlembed.W001",
        )
    ]


@register(TAG, deploy=True)
def check_registry(**_: Any) -> list[CheckMessage]:
    """E003: a model is not in the registry, or that cannot be read. W002: yet it has a fallback."""
    declaration, _problems = read_declaration(getattr(settings, SETTING, None))
    if declaration is None:
        return []
    registry = open_source(declaration.settings.registry, declaration.settings)
    found = (_check_model(registry, declared) for declared in declaration.models.values())
    return [message for message in found if message is not None]


def _check_model(registry: BundleSource, declared: Declared) -> CheckMessage | None:
    try:
        registry.resolve(declared.ref)
    except MlembedError as error:
        place = f"MLEMBED['MODELS']['{declared.name}']"
        hint = f"Publish {declared.ref}, or change MLEMBED; then run: manage.py mlembed_check"
        if declared.fallback is None:
            return Error(f"{place} cannot serve: {error}.", hint=hint, id="mlembed.E003")
        return Warning(
            f"{place} can only answer with its fallback: {error}.", hint=hint, id="mlembed.W002"
        )
    return None


def _is_ours(path: str) -> bool:
    if path == _PATH:
        return True
    try:
        middleware = import_string(path)
    except ImportError:
        return False
    return isinstance(middleware, type) and issubclass(middleware, PredictionMiddleware)
