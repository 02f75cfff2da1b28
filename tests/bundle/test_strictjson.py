"""JSON that decides what runs is read one way only."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlembed.bundle import strictjson
from mlembed.errors import BundleError
from processes import run_script

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=20,
)


@given(value=VALUES)
def test_strictjson_round_trip(value: Any) -> None:
    """What is written reads back equal, down to the sign of zero."""
    again = strictjson.loads(strictjson.dumps(value), "x")

    assert again == value
    assert strictjson.dumps(again) == strictjson.dumps(value)


def test_strictjson_writes_one_way() -> None:
    """Neither the order of keys nor spaces change the bytes."""
    assert strictjson.dumps({"b": [1, 2.0], "a": "é"}) == '{"a":"é","b":[1,2.0]}'.encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"a":1,"a":1}', "a key stands twice"),
        (b'[{"b":{"a":1,"a":2}}]', "a key stands twice"),
        (b'{"a":1,"\\u0061":1}', "a key stands twice"),
        (b"NaN", "NaN is not JSON"),
        (b"[Infinity]", "Infinity is not JSON"),
        (b"-Infinity", "-Infinity is not JSON"),
        (b"1e999", "too large for a double"),
        (b"-1e999", "too large for a double"),
        (b"9" * 101, "an integer has too many digits"),
        (b'"\\ud800"', "half a surrogate pair"),
        (b'["\\uDfFf\\ud800"]', "half a surrogate pair"),
        (b'{"\\udc00":1}', "half a surrogate pair"),
        (b"[" * 200_000, "nested deeper than 64 levels"),
        (b'{"a":' * 200_000, "nested deeper than 64 levels"),
        (b"[" * 65 + b"]" * 65, "nested deeper than 64 levels"),
        (b'"[" ' + b"[" * 65, "nested deeper than 64 levels"),
        (b"[" * 64, "x is not the JSON"),
        (b"{} {}", "x is not the JSON"),
        (b"{}\0", "x is not the JSON"),
        (b"{},", "x is not the JSON"),
        (b"", "x is not the JSON"),
        (b"{'a':1}", "x is not the JSON"),
        (b'"\xff"', "x is not the JSON"),
        (b"\xef\xbb\xbf{}", "x is not the JSON"),
        ("{}".encode("utf-16"), "x is not the JSON"),
        (b'"a\nb"', "x is not the JSON"),
    ],
    ids=lambda data: repr(data)[:30],
)
def test_strictjson_refuses(data: bytes, words: str) -> None:
    """Whatever two parsers could read differently, or would choke on, is refused with its place."""
    with pytest.raises(BundleError, match=words):
        strictjson.loads(data, "x")


def test_strictjson_refuses_what_is_too_large_unread() -> None:
    """The limit holds before anything is parsed."""
    with pytest.raises(BundleError, match="x is larger than 10 bytes"):
        strictjson.loads(b" " * 11, "x", 10)


@given(data=st.binary())
def test_strictjson_loads_or_refuses_any_bytes(data: bytes) -> None:
    """No bytes raise anything but `BundleError`, and what is read is what Python's parser reads."""
    try:
        value = strictjson.loads(data, "x")
    except BundleError:
        return

    assert value == json.loads(data)


def nested(depth: int) -> list[Any]:
    """Return a list in a list, *depth* of them."""
    value: list[Any] = []
    for _ in range(depth - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        {"a": [float("inf")]},
        "\ud800",
        10**100,
        nested(65),
        nested(100_000),
    ],
    ids=lambda value: repr(value)[:20] if not isinstance(value, list) else "nested",
)
def test_strictjson_refuses_to_write_what_it_cannot_read(value: Any) -> None:
    """A bundle is never packed with what no JSON can hold."""
    with pytest.raises(BundleError):
        strictjson.dumps(value)


def test_strictjson_counts_only_brackets_that_nest() -> None:
    """Depth is what is open at once; brackets in texts, and many beside each other, are nothing."""
    value = {"wide": [[n] for n in range(500)], "text": "[" * 500 + '\\"{' * 100}

    assert strictjson.loads(strictjson.dumps(value), "x") == value
    assert strictjson.loads(strictjson.dumps(nested(64)), "x") == nested(64)


@pytest.mark.parametrize(
    "text",
    ["\\u0000", "\\ud800", "a whole pair: \U0001f600", 'quoted "\\" and \\', "\t\n\x1b"],
    ids=repr,
)
def test_strictjson_takes_texts_that_only_look_bad(text: str) -> None:
    """A backslash before what would be an escape is a backslash."""
    assert strictjson.loads(strictjson.dumps({text: [text]}), "x") == {text: [text]}
    assert strictjson.loads(json.dumps([text]).encode(), "x") == [text]


HOSTILE_TEXTS = {
    "a text that never ends, full of quotes": b"[" * 65 + b'"' + b'\\"' * 500_000,
    "many texts before none that ends": b"[[]," * 33 + b'"",' * 300_000 + b'"',
    "a million quotes": b"{}" * 65 + b'"' * 1_000_000,
    "backslashes": b"[]" * 65 + b'"' + b"\\" * 1_000_000,
    "a million lists": b"[" + b"[]," * 300_000 + b"[]",
}


@pytest.mark.parametrize("data", HOSTILE_TEXTS.values(), ids=HOSTILE_TEXTS)
def test_strictjson_takes_linear_time(data: bytes) -> None:
    """A megabyte is refused at once: nobody can keep a host busy with a manifest."""
    start = time.process_time()
    with pytest.raises(BundleError):
        strictjson.loads(data, "x")

    assert time.process_time() - start < 5


def test_strictjson_does_not_rely_on_the_hosts_stack() -> None:
    """A host that has raised Python's limit is not crashed by a deep document."""
    script = """
        import sys
        from mlembed.bundle import strictjson
        from mlembed.errors import BundleError

        sys.setrecursionlimit(10**8)
        for data in (b"[" * 20_000_000, b'{"a":' * 5_000_000):
            try:
                strictjson.loads(data, "x", 10**9)
            except BundleError:
                print("refused")
    """

    assert run_script(script).split() == ["refused", "refused"]


def test_strictjson_does_not_rely_on_the_hosts_limit_of_digits() -> None:
    """A host that reads endless integers itself is not kept busy by one of ours."""
    script = """
        import sys, time
        from mlembed.bundle import strictjson
        from mlembed.errors import BundleError

        sys.set_int_max_str_digits(0)
        start = time.process_time()
        try:
            strictjson.loads(b"[" + b"9" * 2_000_000 + b"]", "x")
        except BundleError:
            print(time.process_time() - start)
    """

    assert float(run_script(script)) < 1
