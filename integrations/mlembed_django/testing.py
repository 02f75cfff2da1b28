"""What a site uses in its own tests: no registry, no network, nothing sent.

    class CallListTests(ActionAssertions, TestCase):
        @override_model("churn", returns=0.9)
        def test_a_customer_about_to_leave_is_called(self):
            with capture_actions():
                self.client.post(f"/customers/{self.customer.pk}/score")

                self.assertActionQueued(rule="call", key=self.customer.pk)

All three are context managers, and decorators of functions, coroutine functions and TestCase
classes. In a test run a registry on the network is refused, and so is a destination.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from django.test.utils import TestContextDecorator

from mlembed.serving import hooks
from mlembed.serving.handle import override
from mlembed.testing import Canned
from mlembed_django.assertions import (
    ActionAssertions,
    assertActionQueued,
    assertNoActionQueued,
    open_captures,
)
from mlembed_django.capturing import Capture, CapturedActions
from mlembed_django.conf import site
from mlembed_django.live import called

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed.serving.prediction import Prediction

__all__ = [
    "ActionAssertions",
    "assertActionQueued",
    "assertNoActionQueued",
    "capture_actions",
    "capture_predictions",
    "override_model",
]


class override_model(TestContextDecorator):  # noqa: N801  used like the function it reads as
    """Make the model that the site calls *name* answer *returns*, or fail with *raises*.

    Records are not read; the version is `override`; the innermost override answers. A `FALLBACK`
    of the site applies to *raises* as it would to a real failure. No registry is needed.

    Args:
        name: The model, as MLEMBED['MODELS'] declares it.
        returns: The score.
        label: The label, a class's name where there are several; None by default.
        raises: What fails, instead of an answer.

    Raises:
        UndeclaredModelError: When it begins, if the site declares no such model.
    """

    def __init__(
        self,
        name: str,
        *,
        returns: float = 0.0,
        label: bool | str | None = None,
        raises: Exception | None = None,
    ) -> None:
        super().__init__()
        self._name = name
        self._canned = functools.partial(Canned, score=returns, label=label, error=raises)
        self._ends: list[Callable[[], None]] = []

    def enable(self) -> None:
        """Begin to answer."""
        ref = site().declared(self._name).ref
        canned: Any = self._canned(ref.name)
        self._ends.append(override(called(self._name), canned))

    def disable(self) -> None:
        """Let the model behind answer again."""
        self._ends.pop()()


class capture_predictions(TestContextDecorator):  # noqa: N801  idem
    """Collect every single prediction made inside the block, on any thread, in a list.

    Args:
        attr_name: Attribute of a decorated TestCase class that gets the list.
        kwarg_name: Argument of a decorated function that gets it.
    """

    def __init__(self, attr_name: str | None = None, kwarg_name: str | None = None) -> None:
        super().__init__(attr_name, kwarg_name)
        self._ends: list[Callable[[], None]] = []

    def __enter__(self) -> list[Prediction]:  # type: ignore[override]  # the stubs know one user
        """Begin, with a new list."""
        return self.enable()

    def enable(self) -> list[Prediction]:
        """Begin, with a new list."""
        captured: list[Prediction] = []
        self._ends.append(hooks.subscribe(captured.append))
        return captured

    def disable(self) -> None:
        """End."""
        self._ends.pop()()


class capture_actions(TestContextDecorator):  # noqa: N801  idem
    """Collect the actions that would be queued inside the block; nothing is queued or sent.

    No database is needed. Rules begin anew: no entity has crossed a threshold before the block.
    To see instead what commits and rolls back with the host's rows, leave it out and assert with
    the database: `assertActionQueued` looks into the outbox then.

    Args:
        attr_name: Attribute of a decorated TestCase class that gets the list.
        kwarg_name: Argument of a decorated function that gets it.
    """

    def __init__(self, attr_name: str | None = None, kwarg_name: str | None = None) -> None:
        super().__init__(attr_name, kwarg_name)
        self._captures: list[Capture] = []

    def __enter__(self) -> CapturedActions:  # type: ignore[override]  # idem
        """Begin, with a new list."""
        return self.enable()

    def enable(self) -> CapturedActions:
        """Begin, with a new list."""
        capture = Capture()
        capture.open()
        self._captures.append(capture)
        open_captures.append(capture.actions)
        return capture.actions

    def disable(self) -> None:
        """End."""
        capture = self._captures.pop()
        open_captures[:] = [other for other in open_captures if other is not capture.actions]
        capture.close()
