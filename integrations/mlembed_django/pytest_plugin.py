"""Fixtures for the tests of whoever uses mlembed, by pytest's own name for such: `pytest11`.

    def test_a_customer_about_to_leave_is_called(mlembed_models, mlembed_actions, client):
        mlembed_models({"churn": 0.9})

        client.post("/customers/17/score")

        assert mlembed_actions[0].rule == "call"

It is imported by every pytest run on the machine, so it imports nothing until a fixture is asked
for. Without Django `mlembed_models` goes by the names of the registry, and actions have no fixture.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mlembed.serving.prediction import Prediction
    from mlembed_crm.action import Action

# What it asserts is shown in full where it fails.
pytest.register_assert_rewrite("mlembed_crm.testing")

_OPTIONS = {"returns", "label", "raises"}


@pytest.fixture
def mlembed_models() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Return a function that overrides models until the test ends.

    It takes a score, an exception or a dict of `returns`, `label` and `raises` for each name:
    `mlembed_models({"churn": 0.9, "fraud": TimeoutError(), "plan": {"label": "plus"}})`.
    """
    if _has_django():
        from mlembed_django.testing import override_model
    else:
        from mlembed.testing import override_model  # type: ignore[assignment]  # used alike
    with contextlib.ExitStack() as stack:

        def put(models: Mapping[str, Any]) -> None:
            for name, answer in models.items():
                stack.enter_context(override_model(name, **_arguments(name, answer)))

        yield put


@pytest.fixture
def mlembed_predictions() -> Iterator[list[Prediction]]:
    """Collect every single prediction of the test, in a list."""
    from mlembed.testing import capture_predictions

    with capture_predictions() as captured:
        yield captured


@pytest.fixture
def mlembed_actions() -> Iterator[list[Action]]:
    """Collect the actions that the test would queue, in a list; nothing is queued or sent."""
    _require_django("mlembed_actions")
    from mlembed_django.testing import capture_actions

    with capture_actions() as captured:
        yield captured


@pytest.fixture
def mlembed_outbox(request: pytest.FixtureRequest) -> Callable[[], list[Action]]:
    """Return a function that gives what the outbox in the test's database holds.

    It asks for the fixture `db`, as pytest-django has it.
    """
    _require_django("mlembed_outbox")
    request.getfixturevalue("db")
    from mlembed_django.conf import site
    from mlembed_django.queued import listed_actions

    return lambda: list(listed_actions(site().declaration.outbox.using))


def _arguments(name: str, answer: Any) -> dict[str, Any]:
    if isinstance(answer, BaseException):
        return {"raises": answer}
    if not isinstance(answer, Mapping):
        return {"returns": answer}
    if not set(answer) <= _OPTIONS:
        raise TypeError(f"mlembed_models: '{name}' takes {sorted(_OPTIONS)}, not {sorted(answer)}")
    return dict(answer)


def _has_django() -> bool:
    """Tell whether this test run has a Django that was set up, or could be."""
    if os.environ.get("DJANGO_SETTINGS_MODULE"):
        return True
    conf = sys.modules.get("django.conf")
    return conf is not None and bool(conf.settings.configured)


def _require_django(fixture: str) -> None:
    if not _has_django():
        pytest.fail(f"{fixture} needs Django's settings; set DJANGO_SETTINGS_MODULE", pytrace=False)
