"""Bulk jobs of Salesforce: what is uploaded, how rows are found again, and jobs that fail."""

from __future__ import annotations

import csv
import io
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.fakes.salesforce import (
    KEY,
    LABEL,
    LEAD,
    PRIVATE,
    SCORE,
    VERSION,
    Organization,
    connect,
    go_on,
    keys,
    lead,
    leads,
    organization,
    refuse,
    say,
)
from mlembed_crm.destinations import Receipt
from mlembed_crm.destinations.salesforce.bulk import csv_of, fits, load, results, rows_of
from mlembed_crm.errors import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mlembed_crm.action import Action


@pytest.fixture
def server() -> Iterator[Organization]:
    """Return a running organization."""
    with organization() as running:
        yield running


def errors(answers: Sequence[Any]) -> list[DeliveryError]:
    """Return the errors among *answers*."""
    return [answer for answer in answers if isinstance(answer, DeliveryError)]


def read(content: bytes) -> list[list[str]]:
    """Return the cells of an upload."""
    return list(csv.reader(io.StringIO(content.decode(), newline=""), strict=True))


def test_csv_of_writes_every_kind_of_value() -> None:
    """No value and an empty text clear a field; a field that is not set stays as it is."""
    actions = [
        lead("1", {"A": None, "B": 0.5, "C": True, "D": 'x,"y"\nz'}),
        lead("2", {"A": "", "B": 3, "C": False}),
        lead("3", {"E": "2026-11-25"}),
    ]

    assert read(csv_of(actions)) == [
        [KEY, "A", "B", "C", "D", "E"],
        ["1", "#N/A", "0.5", "true", 'x,"y"\nz', ""],
        ["2", "#N/A", "3", "false", "", ""],
        ["3", "", "", "", "", "2026-11-25"],
    ]


def test_csv_of_ends_lines_as_the_job_says() -> None:
    """Lines end with LF alone, and the key comes first."""
    assert csv_of([lead("ü")]) == f"{KEY},{SCORE}\nü,0.83\n".encode()


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(key=TEXTS, text=TEXTS)
def test_csv_of_says_what_fits(key: str, text: str) -> None:
    """Whatever fits into CSV is read from it again as it was."""
    action = lead(key, {LABEL: text})
    if fits(action):
        assert read(csv_of([action]))[1] == [key, text]


@pytest.mark.parametrize("text", ["#N/A", "a\rb", "a\0b", "\ud800"])
def test_fits_leaves_out_what_csv_cannot_say(text: str) -> None:
    """A text that a job would read as something else goes another way."""
    assert not fits(lead("1", {LABEL: text}))
    assert not fits(lead(text))
    assert fits(lead("1", {LABEL: f"{text.strip(chr(0xD800))} "[:1]}))


def test_send_takes_many_by_one_job(server: Organization) -> None:
    """More rows than the bound go by a job, whose rows come in any order and find their actions."""
    actions = leads(500)
    random.Random(1).shuffle(actions)  # noqa: S311  the order of a test

    answers = connect(server, bulk_above=499).send(actions)

    held = server.records[LEAD, KEY]
    assert [answer.remote_id for answer in answers if isinstance(answer, Receipt)] == [
        held[str(action.key)]["Id"] for action in actions
    ]
    (job,) = server.jobs.values()
    assert job.told == {
        "object": LEAD,
        "operation": "upsert",
        "externalIdFieldName": KEY,
        "contentType": "CSV",
        "columnDelimiter": "COMMA",
        "lineEnding": "LF",
    }
    assert not any("composite" in path for path in server.paths)


def test_send_takes_a_full_batch_by_one_job(server: Organization) -> None:
    """As many as a batch may hold are one job, of eight calls."""
    answers = connect(server).send(leads(10_000))

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert len(server.paths) == 7


def test_send_tells_refused_rows_of_a_job_apart(server: Organization) -> None:
    """A refused row is given up or tried again as its code says, without its values."""
    server.refused = {
        "k-3": ("STRING_TOO_LONG", f"{PRIVATE}: too long", [SCORE]),
        "k-4": ("UNABLE_TO_LOCK_ROW", "unable to obtain", []),
    }

    answers = connect(server, bulk_above=5).send(leads(10))

    gone, locked = errors(answers)
    assert (answers[3], answers[4]) == (gone, locked)
    assert (gone.permanent, locked.permanent) == (True, False)
    assert str(gone) == f"Salesforce refuses the record with STRING_TOO_LONG: '{SCORE}'"


def test_send_takes_what_is_no_csv_by_calls(server: Organization) -> None:
    """What CSV cannot say goes by calls, and is written as it is."""
    actions = [*leads(10), lead("odd", {LABEL: "#N/A"}), lead("re\rturn")]

    answers = connect(server, bulk_above=5).send(actions)

    held = server.records[LEAD, KEY]
    assert all(isinstance(answer, Receipt) for answer in answers)
    assert held["odd"][LABEL] == "#N/A"
    assert "re\rturn" in held
    assert len(server.jobs) == 1


def test_send_makes_no_job_of_nothing(server: Organization) -> None:
    """Where CSV can say none of the rows, there is no job."""
    answers = connect(server, bulk_above=1).send([lead("a\r"), lead("b\r")])

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert not server.jobs


def test_send_takes_rows_of_a_failed_job_by_calls(server: Organization) -> None:
    """A job that fails for one unknown field costs only the rows that set it."""
    server.job_fails = True

    answers = connect(server, bulk_above=5).send([*leads(10), lead("w", {"Typo__c": 1})])

    (error,) = errors(answers)
    assert answers[10] is error
    assert error.permanent
    assert len(keys(server)) == 10


def test_send_takes_rows_by_calls_where_no_job_may_be_made(server: Organization) -> None:
    """A kind that jobs do not know, or a used-up allotment of jobs, holds nothing up."""
    server.scripts.append(refuse(400, "INVALIDENTITY"))

    answers = connect(server, bulk_above=5).send(leads(10))

    assert all(isinstance(answer, Receipt) for answer in answers)


def test_send_takes_rows_by_calls_where_the_upload_is_refused(server: Organization) -> None:
    """An upload that is refused has written nothing, and its job is put away."""
    server.scripts.extend([go_on, refuse(400, "INVALIDJOB")])

    answers = connect(server, bulk_above=5).send(leads(10))

    assert all(isinstance(answer, Receipt) for answer in answers)
    assert [job.state for job in server.jobs.values()] == ["Aborted"]


def test_load_aborts_a_job_that_does_not_end(server: Organization) -> None:
    """A job that is late is aborted, and nobody knows what it wrote."""
    server.job_polls = 10_000
    crm = connect(server)

    with pytest.raises(DeliveryError) as caught:
        load(crm._session, VERSION, leads(3), time.monotonic() + 21.5)

    assert caught.value.unknown
    assert not caught.value.permanent
    assert [job.state for job in server.jobs.values()] == ["Aborted"]


def test_load_goes_on_when_it_is_not_told_of_the_state(server: Organization) -> None:
    """A look at the job that fails is made again: the job goes on meanwhile."""
    server.scripts.extend([go_on, go_on, go_on, say(502, b"<html>"), say(200, b"<html>")])

    told = load(connect(server)._session, VERSION, leads(3), time.monotonic() + 60)

    assert all(isinstance(answer, Receipt) for answer in told)


def test_load_gives_up_when_it_is_let_in_no_more(server: Organization) -> None:
    """A job that can be asked for no more may have written."""
    server.scripts.extend([go_on, go_on, go_on, refuse(403, "API_DISABLED_FOR_ORG")])

    with pytest.raises(DeliveryError) as caught:
        load(connect(server)._session, VERSION, leads(3), time.monotonic() + 60)

    assert caught.value.unknown
    assert caught.value.stops


def test_send_keeps_the_limit_of_a_job(server: Organization) -> None:
    """A limit that a job meets holds back the rest of the batch too."""
    server.scripts.append(refuse(403, "REQUEST_LIMIT_EXCEEDED"))
    actions = [*leads(10), *(lead(f"{number}", record="Contact") for number in range(10))]

    answers = connect(server, bulk_above=5).send(actions)

    assert {error.retry_after for error in errors(answers)} == {3600.0}
    assert len(errors(answers)) == 20
    assert len(server.paths) == 1


@pytest.mark.parametrize("content", [b"{}", b"[]", b'{"id": "../../x"}', b'{"id": 7}'])
def test_load_makes_no_path_of_an_odd_id(server: Organization, content: bytes) -> None:
    """A job without an id that looks like one is no job."""
    server.scripts.append(say(200, content))

    with pytest.raises(DeliveryError, match="no id"):
        load(connect(server)._session, VERSION, leads(3), time.monotonic() + 60)

    assert len(server.paths) == 1


def test_load_divides_what_is_too_large(
    server: Organization, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upload that Salesforce would not take becomes two, and one that fails spoils no other."""
    monkeypatch.setattr("mlembed_crm.destinations.salesforce.bulk.MAX_UPLOAD_BYTES", 100)
    server.scripts.extend([go_on] * 7)
    server.scripts.append(refuse(500, "x"))

    told = load(connect(server)._session, VERSION, leads(10), time.monotonic() + 60)

    assert [isinstance(answer, Receipt) for answer in told] == [True] * 5 + [False] * 5


def row(key: str, **more: str) -> dict[str, str]:
    """Return a row of results."""
    return {KEY: key, "sf__Id": f"00Q{key}", "sf__Created": "false", **more}


def test_results_believe_what_is_told_once() -> None:
    """A row that is told of twice, or not at all, is neither written nor refused."""
    actions = leads(5)
    written = [row("k-0"), row("k-1"), row("k-1"), row("k-2"), row("other")]
    refused = [row("k-2", sf__Error="STRING_TOO_LONG:x:--")]

    told = results(actions, written, refused, [row("k-4")])

    assert told[0] == Receipt(200, "00Qk-0")
    assert [error.unknown for error in errors(told)] == [True, True, True, False]
    assert not any(error.permanent for error in errors(told))


def test_results_cannot_tell_actions_of_one_key_apart() -> None:
    """Two actions of one key share their rows, so neither is taken for written."""
    told = results([lead("1"), lead("1"), lead("2")], [row("1"), row("2")], [], [])

    assert [isinstance(answer, Receipt) for answer in told] == [False, False, True]


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        (f"STRING_TOO_LONG:{PRIVATE}:{SCORE} --", f"STRING_TOO_LONG: '{SCORE}'"),
        (f"DUPLICATE_VALUE:{SCORE} {PRIVATE}:--", "DUPLICATE_VALUE"),
        (f"{PRIVATE}:x:--", "no code"),
        (PRIVATE, "no code"),
        ("", "no code"),
    ],
)
def test_results_show_codes_and_our_fields_alone(said: str, shown: str) -> None:
    """Of what a job says, only the code and names that we sent are repeated."""
    (told,) = results([lead("1")], [], [row("1", sf__Error=said)], [])

    assert str(told) == f"Salesforce refuses the record with {shown}"


def test_rows_of_leaves_out_what_was_cut() -> None:
    """A last row without its end may name another's key, so it is not read."""
    body = f"sf__Id,sf__Created,{KEY}\n1,true,c-12\n2,true,c-1".encode()

    assert [found[KEY] for found in rows_of(body, 200)] == ["c-12"]


@pytest.mark.parametrize("body", [b"", b"\n", b"<html>\n</html>\n", b"a,b\n1\n", b"\xff\xfe"])
def test_rows_of_finds_none_where_there_are_none(body: bytes) -> None:
    """A page, or lines that do not fit their header, tell of no row."""
    assert not any(found.get(KEY) for found in rows_of(body, 200))


@pytest.mark.parametrize("body", [b'a,b\n"1,2\n', b"a\n\xff\n"])
def test_rows_of_refuses_what_is_no_csv(body: bytes) -> None:
    """Broken results tell nothing of any row."""
    with pytest.raises(DeliveryError) as caught:
        rows_of(body, 200)

    assert caught.value.unknown


def test_send_believes_no_results_that_are_broken(server: Organization) -> None:
    """A job whose results cannot be read may have written every row."""
    server.bend_csv = lambda content: content + b'"\n'

    with pytest.raises(DeliveryError) as caught:
        connect(server, bulk_above=2).send(leads(5))

    assert caught.value.unknown


@pytest.mark.parametrize("cut", [1, 30, 10_000])
def test_send_sends_again_what_is_cut_off(server: Organization, cut: int) -> None:
    """Results that end early tell of the rows before, and of no other."""
    server.bend_csv = lambda content: content[: max(0, len(content) - cut)]
    actions: list[Action] = leads(20)

    answers: list[Any] = []
    try:
        answers = list(connect(server, bulk_above=5).send(actions))
    except DeliveryError as error:
        answers = [error] * 20

    held = server.records[LEAD, KEY]
    taken = [
        (answer.remote_id, held[str(action.key)]["Id"])
        for action, answer in zip(actions, answers, strict=True)
        if isinstance(answer, Receipt)
    ]
    assert all(told == real for told, real in taken)
    assert errors(answers)
    assert all(error.unknown for error in errors(answers))
