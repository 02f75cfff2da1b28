"""System checks: what is wrong is said at `manage.py check`, not at the first request.

| id | what is wrong | looked for |
|---|---|---|
| `mlembed.E001` | `MLEMBED` is not set, malformed, or has a key that is not known | always |
| `mlembed.E002` | a model's reference, or the registry's location, cannot be meant | always |
| `mlembed.E003` | a model is not in the registry, or was changed, or not signed as it must be | `--deploy` |
| `mlembed.E004` | a dotted path (`RECORD`, `ACTIONS`, `ADAPTER`, `USER`, `AUTHENTICATE`) leads nowhere | always |
| `mlembed.E005` | `RECORD` is no mapping, or names what the mapped model lacks | always |
| `mlembed.E006` | two apps declare one model | always |
| `mlembed.E007` | `ACTIONS` is no list of rules, or two of them share a name | always |
| `mlembed.E008` | a rule names a model or a destination that is not declared | always |
| `mlembed.E009` | a destination's adapter refuses its arguments | `--deploy` |
| `mlembed.E010` | a database alias does not exist, or a router keeps the tables out of it | always |
| `mlembed.E011` | a `PredictionField` is of a model that is not declared | always |
| `mlembed.W001` | the middleware is not listed | always |
| `mlembed.W002` | a model can only answer with its fallback, or with what served last | `--deploy` |
| `mlembed.W003` | one model is declared under two names | always |
| `mlembed.W004` | onnxruntime reports usage to its maker | always |
| `mlembed.W005` | the workers' threads want more CPUs than there are | `--deploy` |
| `mlembed.W006` | a secret stands in the settings themselves | `--deploy` |
| `mlembed.W007` | actions wait in another database than the rows they are about | always |
| `mlembed.W008` | the middleware is listed twice | always |
| `mlembed.W009` | no app defines the permission that a model asks for | always |
| `mlembed.W010` | SQLite refuses actions in transactions that have read, while predictions are kept | always |

None of them queries the database, loads a model or starts a thread. Those of `--deploy` read the
registry and the environment of the server: tests, migrations and image builds need neither. What a
dotted path names is imported when the checks run, never when the app is set up, and adapters under
`--deploy` alone. `manage.py mlembed_check` goes further and puts each model to work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.checks import CheckMessage, Tags, register
from django.core.checks import Error as CheckError

from mlembed_django.checks import acting, databases, exposure, machine, middleware, paths, records
from mlembed_django.checks import registry as registries
from mlembed_django.conf import SETTING
from mlembed_django.declaration import read_declaration

if TYPE_CHECKING:
    from mlembed_django.declaration import Declaration, Problem

TAG = "mlembed"

_IDS = {"setting": "mlembed.E001", "reference": "mlembed.E002", "twice": "mlembed.E006"}
_ALWAYS = (paths, records, acting, databases, machine, exposure)


@register(TAG)
def check_site(**_: Any) -> list[CheckMessage]:
    """Look for all that can be told from the settings and the code."""
    declaration, problems = _read()
    messages = [CheckError(p.message, hint=p.hint, id=_IDS[p.kind]) for p in problems]
    if declaration is not None:
        messages += [found for theme in _ALWAYS for found in theme.look(declaration)]
    return [*messages, *middleware.look()]


@register(TAG, Tags.security, deploy=True)
def check_deployment(**_: Any) -> list[CheckMessage]:
    """Look for what only shows where the site is to run."""
    declaration, _problems = _read()
    if declaration is None:
        return []
    setting = getattr(settings, SETTING)
    return [
        *registries.look(declaration),
        *acting.look_at_arguments(declaration),
        *machine.look_at_threads(declaration),
        *exposure.look_for_secrets(setting),
    ]


def _read() -> tuple[Declaration | None, list[Problem]]:
    return read_declaration(getattr(settings, SETTING, None))
