"""What a destination must do, as tests that its author runs, with pytest.

    class TestDesk(DestinationContract):
        secrets = ("hunter2",)

        def destination(self, transport):
            return Desk("https://desk.example", "hunter2", transport=transport)

        def answer(self, request, actions):
            return httpx.Response(201, json={"ids": [action.id for action in actions]})

Run by pytest, each law is one test. A destination that passes loses no action, sends none twice
where it says it does not, and shows no secret.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar

import httpx

from mlembed.serving.prediction import Answered, Prediction
from mlembed.telemetry.ids import SEQUENCE
from mlembed_crm.conditions import every_score
from mlembed_crm.destinations import Receipt
from mlembed_crm.errors import DeliveryError
from mlembed_crm.outboxes import MAX_LEASE_SECONDS
from mlembed_crm.rules import Rule
from mlembed_crm.upsert import Upsert

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mlembed_crm.action import Action
    from mlembed_crm.destinations import Destination, Limits

    Respond = Callable[[httpx.Request], httpx.Response]

_KEY, _SCORE = "key-of-an-entity", 0.123456789
_REPEATED = (500, 502, 503, 504)
_PERHAPS_TAKEN = (500, 502, 504)  # 503 says that it was not
_MOST = 200  # of a batch that takes more, what is left of it would show nothing new


class DestinationContract:
    """The laws; a subclass says how its destination is made, and how its service takes actions.

    Attributes:
        secrets: What must never be shown.
        takes_events: Whether it takes actions that are no upsert.
        reads_answers: Whether it looks at the body of an answer, and not at its status alone.
        upsert: What its actions set.
    """

    secrets: ClassVar[tuple[str, ...]] = ()
    takes_events: ClassVar[bool] = False
    reads_answers: ClassVar[bool] = True
    upsert: ClassVar[Upsert] = Upsert("contacts", "ext_id", {"ml_score": "score"})

    def destination(self, transport: httpx.BaseTransport) -> Destination:
        """Return the destination, with *transport* to carry its requests."""
        raise NotImplementedError

    def answer(self, request: httpx.Request, actions: Sequence[Action]) -> httpx.Response:
        """Return what the service answers where it takes *actions*."""
        raise NotImplementedError

    def before(self, request: httpx.Request) -> httpx.Response | None:
        """Return the answer to a request that comes before the actions, as a login; None for others."""
        del request
        return None

    def actions(self, n: int = 2, *, event: bool = False) -> list[Action]:
        """Return *n* actions, each for an entity of its own."""
        rule = Rule("r", "m", every_score(), "d", upsert=None if event else self.upsert)
        source = Answered("m", "1.0.0", lambda _: (None, "ok"))
        return [
            rule.action(
                Prediction(
                    (source, time.time_ns(), SEQUENCE.next(), 0, _score(k), "ok", "", _key(k))
                )
            )
            for k in range(n)
        ]

    def test_it_says_where_it_is_and_nothing_secret(self) -> None:
        """Its name is for logs, its repr for whoever debugs."""
        destination = self.destination(httpx.MockTransport(lambda _: httpx.Response(200)))

        assert destination.name
        for secret in self.secrets:
            assert secret not in destination.name + repr(destination)

    def test_its_limits_can_be_kept(self) -> None:
        """A call ends before the longest lease does."""
        limits = self._limits()

        assert limits.batch >= 1
        assert 0 < limits.call_seconds < MAX_LEASE_SECONDS
        assert limits.pause_seconds >= 0

    def test_it_takes_as_many_as_it_says(self) -> None:
        """A full batch, as far as 200: one answer an action, in their order."""
        actions = self.actions(min(_MOST, self._limits().batch))

        answers = self._outcome(lambda request: self.answer(request, actions), actions)

        assert [type(answer) for answer in answers] == [Receipt] * len(actions)

    def test_every_action_leaves(self) -> None:
        """What is answered for was sent: each action's entity, and what is decided about it."""
        sent: list[bytes] = []
        actions = self.actions(min(_MOST, self._limits().batch))

        def respond(request: httpx.Request) -> httpx.Response:
            sent.append(request.content)
            return self.answer(request, actions)

        self._outcome(respond, actions)

        whole = b" ".join(sent).decode()
        for action in actions:
            assert str(action.key) in whole, "an action was not sent"
            for value in action.payload.values():
                assert str(value) in whole, "what an action sets was not sent"

    def test_it_sends_the_same_again(self) -> None:
        """What a repeated attempt sends is what the first sent, byte for byte."""
        actions = self._some()
        bodies: list[bytes] = []

        def respond(request: httpx.Request) -> httpx.Response:
            bodies.append(request.content)
            return self.answer(request, actions)

        self._outcome(respond, actions)
        first, bodies = bodies, []
        self._outcome(respond, actions)

        assert bodies == first

    def test_a_fault_of_the_service_is_no_fault_of_an_action(self) -> None:
        """It is tried again, and nothing is given up."""
        for status in _REPEATED:
            failing = httpx.Response(status)
            for error in self._errors(_always(failing)):
                assert not error.permanent, status
                assert not error.stops, status

    def test_it_waits_where_it_is_told_to(self) -> None:
        """A limit on requests pauses it, for everyone."""
        limited = httpx.Response(429, headers={"Retry-After": "17"})

        assert {error.retry_after for error in self._errors(lambda _: limited)} == {17.0}
        for error in self._errors(lambda _: httpx.Response(429)):
            assert not error.permanent

    def test_it_stops_where_its_credentials_are_refused(self) -> None:
        """No action is at fault, and asking again would lock the account."""
        for error in self._errors(lambda _: httpx.Response(401)):
            assert error.stops
            assert not error.permanent

    def test_it_follows_no_redirect(self) -> None:
        """Credentials go nowhere but where they are meant for."""
        hosts: set[str] = set()

        def respond(request: httpx.Request) -> httpx.Response:
            hosts.add(request.headers["host"])
            return httpx.Response(302, headers={"Location": "https://elsewhere.example/"})

        errors = self._errors(respond)

        assert all(not error.permanent for error in errors)
        assert not any("elsewhere" in host for host in hosts)

    def test_it_takes_no_page_for_an_answer(self) -> None:
        """What a proxy shows in the service's place says nothing of an action."""
        if self.reads_answers:
            for error in self._errors(_always(_page())):
                assert not error.permanent

    def test_no_answer_is_an_unknown_fate(self) -> None:
        """The action may have been taken; where none was sent, it was not."""
        for problem, unknown in ((httpx.ReadTimeout, True), (httpx.ConnectError, False)):

            def respond(_: httpx.Request, problem: type[Exception] = problem) -> httpx.Response:
                raise problem("no answer")

            for error in self._errors(respond):
                assert error.unknown is unknown
                assert not error.permanent
                assert not error.reached

    def test_its_errors_show_neither_secrets_nor_values(self) -> None:
        """They end in logs; what the service repeats in its answer is not passed on."""
        for status in (400, 401, 422, 500):

            def respond(request: httpx.Request, status: int = status) -> httpx.Response:
                said = request.content.decode() + " ".join(self.secrets)
                told = {"message": said, "error": said, "category": said, "name": said}
                return httpx.Response(status, json=told)

            for error in self._errors(respond):
                for shown in (str(error), repr(error)):
                    for secret in (*self.secrets, _KEY, str(_SCORE)):
                        assert secret not in shown, status

    def test_what_may_have_been_taken_is_an_unknown_fate(self) -> None:
        """Where twice is twice, an answer that does not tell must say so: else it is sent again."""
        if self._limits().idempotent:
            return
        answers = [httpx.Response(status) for status in _PERHAPS_TAKEN]
        if self.reads_answers:
            answers.append(_page())
        for answer in answers:
            for error in self._errors(_always(answer)):
                assert error.unknown, answer.status_code

    def test_an_event_is_taken_or_refused_for_good(self) -> None:
        """What it cannot write is told with the remedy, and not tried again and again."""
        actions = self.actions(1, event=True)

        (answer,) = self._outcome(lambda request: self.answer(request, actions), actions)

        if self.takes_events:
            assert isinstance(answer, Receipt)
        else:
            assert isinstance(answer, DeliveryError)
            assert answer.permanent
            assert "upsert" in answer.reason

    def _limits(self) -> Limits:
        return self.destination(httpx.MockTransport(lambda _: httpx.Response(200))).limits

    def _some(self) -> list[Action]:
        return self.actions(min(2, self._limits().batch))

    def _errors(self, respond: Respond) -> list[DeliveryError]:
        """Return what became of actions where the service answers so; all must be errors."""
        answers = self._outcome(respond, self._some())
        errors = [answer for answer in answers if isinstance(answer, DeliveryError)]
        assert len(errors) == len(answers), "it was taken for taken"
        return errors

    def _outcome(
        self, respond: Respond, actions: Sequence[Action]
    ) -> Sequence[Receipt | DeliveryError]:
        def handle(request: httpx.Request) -> httpx.Response:
            request.read()
            return self.before(request) or respond(request)

        try:
            answers = self.destination(httpx.MockTransport(handle)).send(actions)
        except DeliveryError as error:
            return [error] * len(actions)
        assert len(answers) == len(actions)
        return answers


def _key(place: int) -> str:
    """Return a key that is no part of another, so that each is looked for by itself."""
    return f"{_KEY}-{place:05}"


def _score(place: int) -> float:
    """Return a score of which, up to 200 places, the same is so."""
    return _SCORE + place / 1000


def _always(response: httpx.Response) -> Respond:
    return lambda _: response


def _page() -> httpx.Response:
    return httpx.Response(200, html="<html><title>Sign in</title></html>")
