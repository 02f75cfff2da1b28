"""Tryton: what is sent, and what is made of any answer, without a server."""

from __future__ import annotations

import base64
import dataclasses
import json
import pickle
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from crm.receiver import action
from mlembed.errors import SettingsError
from mlembed_crm import Receipt
from mlembed_crm.destinations.tryton import Tryton
from mlembed_crm.destinations.tryton.values import plain, typed, typed_key
from mlembed_crm.errors import DeliveryError, PayloadError

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlembed_crm import Action

URL = "https://erp.example.com/private"
FIELDS = {
    "id": {"type": "integer", "readonly": True},
    "ref": {"type": "char", "readonly": False},
    "size": {"type": "float", "readonly": False},
}


class Scripted:
    """Answers as Tryton does, but for what is scripted by the last part of the method.

    Attributes:
        scripts: What is answered instead: an error of Python or JSON-RPC, a status, or a body.
        requests: What was asked.
    """

    def __init__(self, **scripts: Any) -> None:
        self.scripts = scripts
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        body = json.loads(request.content) if request.content else {}
        method = body.get("method", "") if isinstance(body, dict) else ""
        name = method.rpartition(".")[2] or {"GET": "search_read", "PUT": "write"}.get(
            request.method, request.url.path.rpartition("/")[2]
        )
        script = self.scripts.get(name)
        if isinstance(script, list):
            script = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(script, httpx.Response):
            return script
        if script is None:
            script = self._usual(name, body)
        return httpx.Response(200, json={"id": 1, **script} if method else script.get("result"))

    def called(self) -> list[str]:
        """Return the methods that were called."""
        return [json.loads(one.content)["method"].rpartition(".")[2] for one in self.requests]

    @staticmethod
    def _usual(name: str, body: Any) -> dict[str, Any]:
        if name == "login":
            return {"result": [1, "token", None]}
        if name == "fields_get":
            return {"result": FIELDS}
        if name == "search_read":
            keys = body["params"][0][0][2] if body else ["a"]
            return {"result": [{"id": ord(key), "ref": key} for key in keys]}
        return {"result": None}


def by_rpc(script: Callable[[httpx.Request], httpx.Response], **arguments: Any) -> Tryton:
    """Return the destination that logs in, at *script*."""
    return Tryton(
        URL,
        "erp",
        user="me",
        password="hunter2",  # noqa: S106
        transport=httpx.MockTransport(script),
        **arguments,
    )


def by_rest(script: Callable[[httpx.Request], httpx.Response], **arguments: Any) -> Tryton:
    """Return the destination with a key, at *script*."""
    transport = httpx.MockTransport(script)
    return Tryton(URL, "erp", key="k-4111", transport=transport, **arguments)


def upsert(key: str | None, record: str = "thing", id_field: str = "ref", **fields: Any) -> Action:
    """Return an action that sets *fields* of the record that has *key*."""
    return dataclasses.replace(action(key), record=record, id_field=id_field, payload=fields)


def page(status: int, **headers: str) -> httpx.Response:
    """Return a page that repeats a value."""
    return httpx.Response(status, text="<html>4111</html>", headers=headers)


def refusal(destination: Tryton, *keys: str) -> DeliveryError:
    """Return the error for records with *keys*, be it raised or answered."""
    try:
        (answer, *_) = destination.send([upsert(key, size=1.5) for key in keys])
    except DeliveryError as error:
        answer = error
    assert isinstance(answer, DeliveryError)
    assert "4111" not in repr(answer)
    assert pickle.loads(pickle.dumps(answer)).args == answer.args  # noqa: S301  our own
    return answer


def flags(error: DeliveryError) -> set[str]:
    """Return what *error* says of what is to be done."""
    return {name for name in ("permanent", "stops", "unknown") if getattr(error, name)}


USER_ERROR = {"error": ["UserError", ["The value 4111 is bad", "", None]]}
DOMAIN_ERROR = {
    "error": ["UserError", ["4111", "", [[["size", ">", 0]], {"size": {}, "4111 x": {}}]]]
}
WARNING = {"error": ["UserWarning", ["name", "4111", ""]]}
CONCURRENCY = {"error": ["ConcurrencyException", "4111"]}
LOGIN = {"error": ["LoginException", ["sms", "4111", "char"]]}
BROKEN = {"error": ["could not convert '4111'", ""]}


@pytest.mark.parametrize(
    ("told", "expected", "said"),
    [
        (USER_ERROR, {"permanent"}, "its rules do not allow this"),
        (DOMAIN_ERROR, {"permanent"}, "UserError: not valid: size"),
        ({"error": ["UserError", ["4111", "", [1, 2]]]}, {"permanent"}, "rules"),
        ({"error": ["UserError", ["4111", "", [[], "4111"]]]}, {"permanent"}, "rules"),
        (WARNING, {"permanent"}, "confirm"),
        (CONCURRENCY, set(), "somebody else"),
        (LOGIN, {"stops"}, "application key"),
        (BROKEN, {"unknown"}, "inside Tryton"),
        ({"error": "4111"}, {"unknown"}, "inside Tryton"),
        ({"error": []}, {"unknown"}, "inside Tryton"),
        ({}, {"unknown"}, "none of Tryton's"),
        (page(200), {"unknown"}, "HTTP 200"),
        (httpx.Response(200, json=[4111]), {"unknown"}, "none of Tryton's"),
        (page(403), {"stops"}, "HTTP 403"),
        (page(404), {"stops"}, "database"),
        (page(413), {"permanent"}, "HTTP 413"),
        (page(423), set(), "somebody else"),
        (page(429), set(), "HTTP 429"),
        (page(500), {"unknown"}, "HTTP 500"),
        (page(503), set(), "HTTP 503"),
        (page(302), set(), "redirects"),
    ],
)
def test_failed_write_is_judged(told: Any, expected: set[str], said: str) -> None:
    """An error is one whatever its status, and shows nothing that Tryton repeats."""
    error = refusal(by_rpc(Scripted(write=told)), "a")

    assert flags(error) == expected
    assert said in error.reason
    assert not error.reason.endswith(": ")


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (USER_ERROR, {"stops"}),
        (BROKEN, {"unknown"}),
        ({"result": {}}, {"unknown"}),
        ({"result": [4111]}, {"unknown"}),
        ({"result": [{"ref": "a"}]}, {"unknown"}),
        ({"result": [{"id": 1, "ref": "4111"}]}, {"unknown"}),
    ],
)
def test_failed_search_is_judged(told: Any, expected: set[str]) -> None:
    """Who may not read is told so, and what was not asked for is not believed."""
    assert flags(refusal(by_rpc(Scripted(search_read=told)), "a")) == expected


@pytest.mark.parametrize("method", ["write", "search_read"])
def test_value_that_breaks_tryton_is_found_and_then_tried_again(method: str) -> None:
    """Over several records a break-down is refused, so that they are taken apart; over one, not."""
    destination = by_rpc(Scripted(**{method: BROKEN}))

    assert flags(refusal(destination, "a", "b")) == {"permanent"}
    assert flags(refusal(destination, "a")) == {"unknown"}


def test_pause_is_told_to_all() -> None:
    """Told to wait, the destination waits as long as it was told, or a minute."""
    assert refusal(by_rpc(Scripted(write=page(429))), "a").retry_after == 60.0
    assert refusal(by_rpc(Scripted(login=page(429))), "a").retry_after == 60.0
    told = page(429, **{"Retry-After": "7"})
    assert refusal(by_rpc(Scripted(write=told)), "a").retry_after == 7.0


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (page(401), {"stops"}),
        (LOGIN, {"stops"}),
        ({"result": []}, {"unknown"}),
        ({"result": None}, {"unknown"}),
        (page(200), {"unknown"}),
    ],
)
def test_failed_login_is_judged(told: Any, expected: set[str]) -> None:
    """Who is refused stops, and what is no answer is tried again."""
    error = refusal(by_rpc(Scripted(login=told)), "a")

    assert flags(error) == expected
    assert "hunter2" not in repr(error)


def test_session_that_is_refused_twice_stops() -> None:
    """A new session that is no good either is not followed by another."""
    script = Scripted(fields_get=page(401))

    assert flags(refusal(by_rpc(script), "a")) == {"stops"}
    assert script.called() == ["login", "fields_get", "login", "fields_get"]


def test_requests_by_rpc_are_built_as_documented() -> None:
    """A session's header, a context at the end, and pairs of ids and values."""
    script = Scripted()

    answers = by_rpc(script, company=7).send([upsert("a", size=1), upsert("b", size=2)])

    assert answers == [Receipt(200, "97"), Receipt(200, "98")]
    assert script.called() == ["login", "fields_get", "search_read", "write"]
    login, _, search, write = (json.loads(one.content) for one in script.requests)
    assert login["params"] == ["me", {"password": "hunter2"}, "en"]
    assert search["params"] == [
        [["ref", "in", ["a", "b"]]],
        *(0, 20, [["id", "ASC"]], ["id", "ref"]),
        {"company": 7, "active_test": False},
    ]
    assert write["method"] == "model.thing.write"
    assert write["params"] == [[97], {"size": 1.0}, [98], {"size": 2.0}, {"company": 7}]
    assert {str(one.url) for one in script.requests} == {f"{URL}/erp/rpc/"}
    session = script.requests[-1].headers["authorization"].removeprefix("Session ")
    assert base64.b64decode(session) == b"me:1:token"


def test_requests_by_rest_are_built_as_documented() -> None:
    """The key is a bearer's, the context a header, and each record is put."""
    script = Scripted(search_read={"result": [{"id": 97, "ref": "a"}]})

    answers = by_rest(script, company=7).send([upsert("a", size=1)])

    assert answers == [Receipt(200, "97")]
    fields, search, write = script.requests
    assert str(fields.url) == f"{URL}/erp/rest/model/thing/fields_get"
    assert search.method == "GET"
    asked = base64.urlsafe_b64decode(search.url.params["d"])
    assert json.loads(asked) == [["ref", "in", ["a"]]]
    assert (write.method, str(write.url)) == ("PUT", f"{URL}/erp/rest/model/thing/97?f=id")
    assert json.loads(write.content) == {"size": 1.0}
    assert write.headers["authorization"] == "Bearer k-4111"
    context = base64.urlsafe_b64decode(write.headers["x-tryton-context"])
    assert json.loads(context) == {"company": 7, "active_test": False}


@pytest.mark.parametrize(
    ("scripts", "expected"),
    [
        ({"write": page(404)}, {"permanent"}),
        ({"write": page(400)}, {"permanent"}),
        ({"write": page(500)}, {"unknown"}),
        ({"write": page(401)}, {"stops"}),
        ({"search_read": page(400)}, {"stops"}),
        ({"search_read": page(500)}, {"unknown"}),
        ({"fields_get": page(500)}, {"unknown"}),
        ({"fields_get": {"result": {"ref": 4111}}}, {"unknown"}),
    ],
)
def test_failed_call_by_rest_is_judged(scripts: dict[str, Any], expected: set[str]) -> None:
    """By REST an error has a status of its own."""
    assert flags(refusal(by_rest(Scripted(**scripts)), "a")) == expected


def test_search_by_rest_that_breaks_is_taken_apart() -> None:
    """A key that breaks the search is found among others."""
    assert flags(refusal(by_rest(Scripted(search_read=page(500))), "a", "b")) == {"permanent"}


def test_pause_by_rest_ends_the_batch_and_keeps_what_was_written() -> None:
    """Told to wait, nothing more is called, and what was taken stays taken."""
    found = {"result": [{"id": ord(key), "ref": key} for key in "abc"]}
    script = Scripted(search_read=found, write=[httpx.Response(200, json={}), page(429)])

    first, *others = by_rest(script).send([upsert(key, size=1) for key in "abc"])

    assert first == Receipt(200, "97")
    assert [getattr(one, "retry_after", None) for one in others] == [60.0, 60.0]
    assert [one.method for one in script.requests].count("PUT") == 2


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (httpx.Response(204), Receipt(204)),
        (httpx.Response(200, json={"id": 5}), Receipt(200, "5")),
    ],
)
def test_create_by_rest_tells_the_id_where_it_may_be_read(
    made: httpx.Response, expected: Receipt
) -> None:
    """A record that was made but may not be read is taken."""
    script = Scripted(search_read={"result": []}, thing=made)

    assert by_rest(script, create=True).send([upsert("a", size=1)]) == [expected]


@pytest.mark.parametrize("told", [{"result": []}, {"result": None}, {"result": [1, 2]}])
def test_create_that_tells_too_few_or_too_many_is_unknown(told: Any) -> None:
    """Which record was made for which action is not guessed."""
    found: dict[str, Any] = {"result": []}

    by_either = (
        by_rpc(Scripted(search_read=found, create=told), create=True),
        by_rest(Scripted(search_read=found, thing=told), create=True),
    )

    for destination in by_either:
        assert flags(refusal(destination, "a")) == {"unknown"}


def test_failure_of_a_later_kind_does_not_lose_the_earlier() -> None:
    """What was written is told, and what comes after a stop is not called."""
    written = Scripted(fields_get=[{"result": FIELDS}, page(503, **{"Retry-After": "9"})])
    actions = [upsert("a", size=1), upsert("b", "other", size=1), upsert("c", "third", size=1)]

    first, second, third = by_rpc(written).send(actions)

    assert first == Receipt(200, "97")
    assert second is third
    assert isinstance(second, DeliveryError)
    assert second.retry_after == 9.0
    assert written.called().count("fields_get") == 2


def test_definition_is_learned_again_after_a_break_down() -> None:
    """A field that is of another type by now is the reason of a break-down only once."""
    script = Scripted(write=[BROKEN, {"result": None}])
    destination = by_rpc(script)
    refusal(destination, "a")

    assert destination.send([upsert("a", size=1)]) == [Receipt(200, "97")]
    assert script.called().count("fields_get") == 2


def test_new_field_is_learned() -> None:
    """A field that was added since the last look is found."""
    script = Scripted(
        fields_get=[{"result": FIELDS}, {"result": {**FIELDS, "extra": {"type": "char"}}}]
    )
    destination = by_rpc(script)
    destination.send([upsert("a", size=1)])

    assert destination.send([upsert("a", extra="x")]) == [Receipt(200, "97")]
    assert script.called().count("fields_get") == 2


def test_slow_server_is_not_called_beyond_its_time() -> None:
    """When the time of a batch is over the rest is left for the next, at no attempt's cost."""
    script = Scripted()

    def slow(request: httpx.Request) -> httpx.Response:
        if b"search_read" in request.content:
            time.sleep(0.3)
        return script(request)

    error = refusal(by_rpc(slow, timeout_seconds=0.2), "a")

    assert error.retry_after == 0.0
    assert flags(error) == set()
    assert "write" not in script.called()


def test_events_and_keyless_actions_are_final() -> None:
    """What names no record is refused with a remedy, and the rest goes on."""
    event = dataclasses.replace(action("a"), record="", id_field="")

    first, second, third = by_rpc(Scripted()).send(
        [event, upsert(None, size=1), upsert("a", size=1)]
    )

    assert isinstance(first, DeliveryError)
    assert isinstance(second, DeliveryError)
    assert (flags(first), flags(second)) == ({"permanent"}, {"permanent"})
    assert "upsert" in first.reason
    assert "no key" in second.reason
    assert third == Receipt(200, "97")


def test_name_and_repr_hold_no_secret() -> None:
    """Neither password, key, path nor database is shown."""
    destination = by_rest(Scripted())

    assert destination.name == "https://erp.example.com"
    assert repr(destination) == "Tryton('https://erp.example.com/...')"
    assert by_rpc(Scripted()).limits.batch == 100


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"user": "me"},
        {"password": "p"},
        {"user": "me", "password": "p", "key": "k"},
        {"user": "me", "key": "k"},
        {"password": "p", "key": "k"},
        {"user": "m:e", "password": "p"},
        {"key": "k\n4111"},
        {"key": "k", "version": 7},
        {"key": "k", "database": ""},
    ],
)
def test_malformed_settings_are_refused(settings: dict[str, Any]) -> None:
    """There is exactly one way to log in, and what cannot work is refused at once, unseen."""
    with pytest.raises(SettingsError) as caught:
        Tryton(URL, **{"database": "erp", **settings})

    assert "4111" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "value", "made"),
    [
        ("numeric", 12, {"__class__": "Decimal", "decimal": "12"}),
        ("integer", 3, 3),
        ("many2one", 3, 3),
        ("boolean", False, False),
        ("date", "2026-11-30", {"__class__": "date", "year": 2026, "month": 11, "day": 30}),
        ("char", None, None),
    ],
)
def test_values_are_marked_by_the_fields_type(kind: str, value: Any, made: Any) -> None:
    """JSON has no decimals and dates, so they are marked."""
    assert typed(value, {"type": kind}) == made


def test_times_are_utc_and_as_exact_as_the_field() -> None:
    """A time is told in UTC; the type whose format has no fraction gets none."""
    told = "2026-11-25T10:00:00.123+01:00"

    exact = typed(told, {"type": "timestamp"})
    whole = typed(told, {"type": "datetime"})

    assert plain(exact) == "2026-11-25T09:00:00.123000+00:00"
    assert plain(whole) == "2026-11-25T09:00:00+00:00"


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("timestamp", "2026-11-25T10:00:00"),
        ("datetime", 5),
        ("date", 5),
        ("integer", 1.5),
        ("integer", True),
    ],
)
def test_values_of_another_type_are_refused(kind: str, value: Any) -> None:
    """A time without a zone is none, and a bool is no number."""
    with pytest.raises(PayloadError, match=f"takes {kind}"):
        typed(value, {"type": kind})


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("integer", "x"),
        ("integer", "01"),
        ("integer", "-1"),
        ("integer", "²"),
        ("integer", str(2**31)),
        ("bigint", str(2**63)),
        ("integer", "9" * 5000),
        ("float", "1"),
        ("char", " a"),
    ],
)
def test_keys_that_a_field_cannot_hold_are_refused(kind: str, key: str) -> None:
    """No two keys are one record, and none breaks the search of the others."""
    with pytest.raises(PayloadError, match=r"holds|identifies no record"):
        typed_key(key, {"type": kind})


def test_keys_are_of_the_fields_type() -> None:
    """A number's key is a number, however large its field allows."""
    assert typed_key("42", {"type": "integer"}) == 42
    assert typed_key(str(2**40), {"type": "bigint"}) == 2**40
    assert typed_key("a b", {"type": "char"}) == "a b"
