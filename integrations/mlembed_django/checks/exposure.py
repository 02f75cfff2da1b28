"""Whether secrets stand where many read them, and permissions are ones that somebody can have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from django.apps import apps
from django.core.checks import Warning as CheckWarning

from mlembed_django.declaration import nearest
from mlembed_django.declaration.library import SECRETS
from mlembed_django.declaration.secrets import is_literal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django.core.checks import CheckMessage

    from mlembed_django.declaration import Declaration

_ANYWHERE = ("SECRET", "TOKEN", "PASSWORD", "PASSPHRASE", "CREDENTIAL")
_AT_THE_END = ("KEY", "APIKEY", "AUTH", "AUTHORIZATION")


def look(declaration: Declaration) -> Iterator[CheckMessage]:
    """W009: nobody can have the permission that a model asks for."""
    wanted = {name: model.permission for name, model in declaration.models.items()}
    known = sorted(_permissions()) if any(wanted.values()) else []
    for name, permission in wanted.items():
        if permission and permission not in known:
            yield CheckWarning(
                f"MLEMBED['MODELS']['{name}']['PERMISSION'] is '{permission}', which no model "
                "defines: only superusers would see this model.",
                hint=_advice(permission, known),
                id="mlembed.W009",
            )


def look_for_secrets(setting: Mapping[str, Any]) -> Iterator[CheckMessage]:
    """W006: a secret stands in the settings; one in the registry's URL is E002."""
    for place in _literal_places(setting):
        yield CheckWarning(
            f"{place} is a secret that stands in the settings themselves.",
            hint="Write 'env:VARIABLE' or 'file:/run/secrets/name', or read it from os.environ.",
            id="mlembed.W006",
        )


def _literal_places(setting: Mapping[str, Any]) -> Iterator[str]:
    for key in SECRETS:
        if _literals(setting.get(key)):
            yield f"MLEMBED['{key}']"
    for name, options in (setting.get("DESTINATIONS") or {}).items():
        yield from _in_options(f"MLEMBED['DESTINATIONS']['{name}']", options)


def _in_options(place: str, options: Mapping[Any, Any]) -> Iterator[str]:
    for key, value in options.items():
        inner = f"{place}['{key}']"
        if isinstance(value, Mapping):
            yield from _in_options(inner, value)
        elif _names_secret(str(key)) and _literals(value):
            yield inner


def _literals(value: Any) -> bool:
    values = value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(each, str) and is_literal(each) for each in values)


def _names_secret(key: str) -> bool:
    words = key.upper().replace("-", "_").split("_")
    singular = [word.removesuffix("S") for word in words]
    return words[-1] in _AT_THE_END or any(word in _ANYWHERE for word in singular)


def _permissions() -> set[str]:
    """Return every permission that a model of the site defines, as its Meta says."""
    found = set()
    for model in apps.get_models():
        meta = model._meta
        names = [f"{action}_{meta.model_name}" for action in meta.default_permissions]
        names += [codename for codename, _ in meta.permissions]
        found |= {f"{meta.app_label}.{name}" for name in names}
    return found


def _advice(permission: str, known: list[str]) -> str:
    if "." not in permission:
        return "Write it as app.codename, such as 'shop.view_customer'."
    app = permission.partition(".")[0]
    near = [name for name in known if name.startswith(f"{app}.")]
    if not near:
        return f"No installed app '{app}' has a model; write app.codename of one that has."
    return f"{nearest(permission, near)} Silence mlembed.W009 if a migration makes it."
