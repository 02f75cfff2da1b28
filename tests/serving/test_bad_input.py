"""Bad input gets the documented result, or an error naming field and remedy; the log stays whole."""

from __future__ import annotations

import datetime as dt
import decimal
import fractions
import math
import numbers
import struct
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import mlembed
from bundles import RECORD, toy_bundle, toy_rows
from mlembed.errors import InferenceError, OutcomeError, SchemaError
from mlembed.monitoring.log import PredictionLog, read_log
from processes import run_script

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.registry.file import FileRegistry

NAN, INF = math.nan, math.inf
TABLE = {name: [value] * 3 for name, value in RECORD.items()}


@pytest.fixture
def model(registry: FileRegistry, settings: mlembed.Settings) -> Iterator[mlembed.Model]:
    """Return the toy model; its log must be whole, and hold a last good prediction."""
    model = mlembed.load("toy", registry=registry, settings=settings)
    yield model
    last = model.predict(RECORD)
    assert last.score == toy_score(RECORD)
    log = logged(model)
    assert last.id in log.ids
    assert not model.lost


def toy_score(record: Any) -> float:
    """Return the score of *record* by a session that no bad input has seen."""
    source = mlembed.testing.InMemoryRegistry()
    source.publish(toy_bundle())
    settings = mlembed.Settings(log=False, poll_seconds=0)
    return mlembed.load("toy", registry=source, settings=settings).predict(record).score


def logged(model: mlembed.Model) -> PredictionLog:
    """Return the log, every line of which must be readable."""
    assert model.flush(30)
    log = read_log(model.settings.log_dir, "toy")
    assert (log.torn, log.unreadable, log.repeated) == (0, 0, 0)
    return log


class Odd:
    """A number of the host's own class, that gives what it is told to and can do nothing else."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __float__(self) -> Any:
        if isinstance(self.value, BaseException):
            raise self.value
        return self.value

    def _never(self, *_: Any) -> Any:
        raise ZeroDivisionError

    __add__ = __radd__ = __le__ = __lt__ = __ge__ = __gt__ = __bool__ = _never
    __eq__ = __hash__ = _never


numbers.Real.register(Odd)


class Adding(float):
    """A float that adds by rules of its own."""

    def __add__(self, other: Any) -> Any:
        return 7.0

    __radd__ = __add__


NANS: list[Any] = [None, NAN, np.float64("nan"), decimal.Decimal("NaN")]
ODD_FORMS: list[Any] = [np.float32, np.int8, np.uint64, decimal.Decimal]
TAKEN: list[tuple[str, Any, float]] = [
    *(("income", value, NAN) for value in NANS),
    *(("age", kind(41), 41.0) for kind in ODD_FORMS),
    ("age", Odd(41.0), 41.0),
    ("age", True, 1.0),
    ("age", -0.0, -0.0),
    ("age", 5e-324, 5e-324),
    ("age", fractions.Fraction(1, 2), 0.5),
    ("age", Adding(41.5), 41.5),
    ("income", 2**70, float(2**70)),
    ("income", np.longdouble(2) ** 70, float(2**70)),
    ("income", 1e308, 1e308),
    ("visits", True, 1.0),
    ("visits", decimal.Decimal(7), 7.0),
    ("visits", np.float64(7.0), 7.0),
    ("visits", 2**53, float(2**53)),
]


@pytest.mark.parametrize(("name", "value", "cell"), TAKEN)
def test_strange_number_is_taken_for_what_it_is(
    model: mlembed.Model, name: str, value: Any, cell: float
) -> None:
    """Alone and in a table it is the same double, scored and logged to the bit."""
    alone = model.predict(RECORD | {name: value})
    table = model.predict_batch(TABLE | {name: [value, RECORD[name], value]})

    assert table.scores.tolist() == [alone.score, toy_score(RECORD), alone.score]
    found = logged(model).features[name]
    assert [struct.pack("<d", found[row]) for row in (0, 1, 3)] == [struct.pack("<d", cell)] * 3


NO_NUMBERS: list[Any] = ["41", b"41", 1j, [41.0], {}, ()]
REFUSED: list[tuple[str, Any, str]] = [
    *(("age", value, "is missing") for value in (None, NAN, np.float32("nan"))),
    *(("age", value, "is not finite") for value in (INF, -INF, np.float16("inf"), 10**400)),
    ("age", decimal.Decimal("Infinity"), "is not finite"),
    ("age", 2**70, "is outside [0, 120] (years)"),
    ("age", np.longdouble(2) ** 70, "is outside [0, 120] (years)"),
    *(("age", value, "expected a number (years)") for value in NO_NUMBERS),
    ("age", np.array([41.0, 42.0]), "is ndarray, expected a number (years)"),
    ("age", Odd(ZeroDivisionError("secret")), "cannot be read: it raised ZeroDivisionError"),
    ("age", Odd("secret"), "cannot be read: it raised TypeError"),
    ("age", Odd(NAN), "is missing"),
    ("visits", 2**70, "is beyond 2**53, where a double loses digits"),
    ("visits", 0.5, "has a fraction"),
    ("visits", -1, "is outside [0, inf)"),
    ("member", 2, "expected true or false"),
    ("member", np.array([True]), "is ndarray, expected true or false"),
    *(("town", value, "expected a string") for value in (5, b"oslo", ["oslo"], {"oslo": 1})),
    ("seen", dt.datetime(2026, 1, 1), "has no time zone"),  # noqa: DTZ001  which is the point
    ("seen", "secret", "is no ISO 8601 time"),
    ("seen", NAN, "is missing"),
]


@pytest.mark.parametrize(("name", "value", "words"), REFUSED)
def test_bad_value_is_an_error_with_its_remedy(
    model: mlembed.Model, name: str, value: Any, words: str
) -> None:
    """Alone, as an attribute and in a table the field is named, and never its value."""
    with pytest.raises(SchemaError) as alone:
        model.predict(RECORD | {name: value})
    with pytest.raises(SchemaError) as attribute:
        model.predict(type("Thing", (), RECORD | {name: value})())
    with pytest.raises(SchemaError) as table:
        model.predict_batch(TABLE | {name: [RECORD[name], value, value]})

    for caught in (alone, attribute, table):
        (problem,) = caught.value.problems
        assert problem.startswith(f"'{name}' ")
        assert "python -m mlembed inspect toy@1.0.0" in str(caught.value)
        assert "secret" not in str(caught.value)
    assert words in alone.value.problems[0]
    assert alone.value.problems == attribute.value.problems
    assert "first in row 1" in table.value.problems[0]
    assert set(logged(model).error_type) == {"SchemaError"}


class Changing(dict[str, Any]):
    """A mapping that gets another field whenever one is read."""

    def __getitem__(self, name: str) -> Any:
        self[f"new_{len(self)}"] = 1
        return super().__getitem__(name)


def test_mapping_that_changes_while_it_is_read(model: mlembed.Model) -> None:
    """It is refused by a name that people understand, and a table of its kind likewise."""
    with pytest.raises(SchemaError, match="the record cannot be read: it raised RuntimeError"):
        model.predict(Changing(RECORD))
    with pytest.raises(SchemaError, match="'new_7' is no column"):
        model.predict(RECORD | {f"new_{number}": 1 for number in (7,)})


def test_dictionary_that_another_thread_changes(model: mlembed.Model) -> None:
    """Whatever the moment, the answer is that of the whole record, or an error naming a field."""
    record, over = {**RECORD}, threading.Event()
    expected = toy_score(RECORD)

    def change() -> None:
        while not over.is_set():
            for number in range(40):
                record[f"x{number}"] = number
            for number in range(40):
                del record[f"x{number}"]

    thread = threading.Thread(target=change)
    thread.start()
    refused, problems = 0, [""][1:]
    try:
        for _ in range(400):
            try:
                assert model.predict(record).score == expected
            except SchemaError as error:
                refused += 1
                problems += error.problems
    finally:
        over.set()
        thread.join()

    log = logged(model)
    assert all("no column" in text for text in problems)
    assert set(log.reason) <= {"ok", "error"}
    assert (log.reason == "error").sum() == refused


class Word(str):
    """A string that hashes only so often."""

    __slots__ = ("left",)
    left: int

    def __new__(cls, text: str, left: int) -> Word:  # noqa: PYI034  no other class of its own
        """Make a word that hashes *left* times."""
        word = super().__new__(cls, text)
        word.left = left
        return word

    def __hash__(self) -> int:
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError
        return super().__hash__()


class Key:
    """A field's name that fails when it is compared."""

    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    def __hash__(self) -> int:
        return 5


class Name(str):
    """A field's name whose methods fail."""

    __slots__ = ()

    def __getitem__(self, _: Any) -> str:
        raise ZeroDivisionError

    def __lt__(self, _: object) -> bool:
        raise ZeroDivisionError


def test_names_and_words_of_hostile_classes(model: mlembed.Model) -> None:
    """What fails on the second look, or when it is compared, is a bad record like any other."""
    for word in ("nowhere", "oslo"):
        for left in (1, 2, 3):
            with pytest.raises(SchemaError, match="'visits' is outside"):
                model.predict(RECORD | {"town": Word(word, left), "visits": -1})
    for name in (Key(), Name("secret")):
        with pytest.raises(SchemaError, match="is no column"):
            model.predict({**RECORD, name: 1.0})
    with pytest.raises(SchemaError, match="is no column"):
        model.predict({**RECORD, Name("a"): 1.0, Name("b"): 1.0})

    assert model._breaker.failed == 0


@pytest.mark.parametrize("n", [0, 1, 2**20])
def test_keys_of_any_size(model: mlembed.Model, n: int) -> None:
    """A key is logged whole, whatever its length, so that outcomes find their prediction."""
    key = "ä" * n
    model.predict(RECORD, key=key)
    model.outcome(key=key or "k", value=True)

    log = logged(model)
    assert log.keys.tolist() == [key]
    assert [outcome.key for outcome in log.outcomes] == [key or "k"]


def test_predict_while_the_collector_runs(model: mlembed.Model) -> None:
    """Finalizers that predict, amid predictions, get the answers that others get."""
    script = """
    import gc, sys, time
    from pathlib import Path
    import mlembed
    from bundles import RECORD, toy_bundle

    source = mlembed.testing.InMemoryRegistry()
    source.publish(toy_bundle())
    settings = mlembed.Settings(log_dir=Path(sys.argv[1]), poll_seconds=0, flush_seconds=0.001)
    model = mlembed.load("toy", registry=source, settings=settings)
    found, told = [], [model.predict(RECORD).score]

    class Cycle:
        def __init__(self):
            self.me = self
        def __del__(self):
            found.append(model.predict(RECORD).score)

    gc.set_threshold(5)
    class Thing:
        def __getattr__(self, name):
            Cycle()
            return RECORD[name]
    for _ in range(60):
        told.append(model.predict(Thing()).score)
    deadline = time.monotonic() + 30
    while len(found) < 7 * 60 and time.monotonic() < deadline:
        gc.collect()  # does nothing while the writer's thread is at it
        time.sleep(0.001)
    assert len(found) == 7 * 60
    assert {*told, *found} == {told[0]}
    assert model.flush(30) and not model.lost
    print(len(told) + len(found))
    """

    n = int(run_script(script, model.settings.log_dir))

    log = logged(model)
    assert (len(log), len(set(log.score))) == (n, 1)


TABLES: dict[str, tuple[dict[str, Any], str]] = {
    "ragged": ({"age": [1.0, 2.0]}, "columns differ in length: [2, 3]"),
    "too deep": ({"age": np.ones((3, 1))}, "'age' has 2 dimensions, expected 1"),
    "no dimension": ({"age": np.array(1.0)}, "'age' has 0 dimensions, expected 1"),
    "complex": ({"age": np.ones(3, dtype=complex)}, "'age' is complex, expected a number"),
    "bytes": ({"age": np.array([b"1"] * 3)}, "'age' is bytes, expected a number"),
    "text": ({"age": np.array(["1"] * 3)}, "'age' is str, expected a number"),
    "void": ({"age": np.zeros(3, dtype="f8,f8")}, "'age' is tuple, expected a number"),
    "days": ({"age": np.array(["2026-01-01"] * 3, dtype="M8[D]")}, "'age' is datetime64[D]"),
    "nan": ({"age": np.array([1.0, NAN, NAN])}, "'age' is missing in 2 rows, first in row 1"),
    "no table": ({"age": 1.0}, "'age' is float, expected one value a record"),
    "numbers for words": ({"town": np.ones(3)}, "'town' is float, expected a string"),
}


@pytest.mark.parametrize("name", TABLES)
def test_bad_table_is_an_error_with_its_remedy(model: mlembed.Model, name: str) -> None:
    """Each wrong shape or kind names its column."""
    given, words = TABLES[name]

    with pytest.raises(SchemaError) as caught:
        model.predict_batch(TABLE | given)

    assert words in str(caught.value)
    assert "python -m mlembed inspect toy@1.0.0" in str(caught.value)
    assert logged(model).error_type.tolist() == ["SchemaError"]


def test_huge_integer_of_a_table_is_named(model: mlembed.Model) -> None:
    """What no double holds is refused in an array of objects too."""
    with pytest.raises(SchemaError, match="'age' is not finite, first in row 2"):
        model.predict_batch(TABLE | {"age": np.array([1.0, 2.0, 10**3000], dtype=object)})


LARGE = {
    "infinite": ([1.0, INF, 2.0], "'age' is not finite in 1 rows"),
    "both ends": ([1.0, INF, -INF], "'age' is not finite in 2 rows"),
    "sum": ([1e308] * 3, "'age' is outside"),
    "cast": (np.full(3, np.longdouble(2) ** 2000), "'age' is not finite"),
}


@pytest.mark.parametrize("name", LARGE)
def test_large_numbers_of_a_table_warn_nobody(model: mlembed.Model, name: str) -> None:
    """A sum or a cast that overflows on the way is none of the host's, whose warnings are errors."""
    values, words = LARGE[name]

    with pytest.raises(SchemaError) as caught:
        model.predict_batch(TABLE | {"age": np.array(values)})

    assert words in str(caught.value)


def test_category_of_a_table_that_raises_is_named(model: mlembed.Model) -> None:
    """A word whose hash raises is a bad value, as it is alone."""
    with pytest.raises(SchemaError, match="'town' cannot be read"):
        model.predict_batch(TABLE | {"town": ["oslo", Word("oslo", 0), "oslo"]})


def test_empty_tables(model: mlembed.Model) -> None:
    """No rows are no answers, in whatever form they are none."""
    empty: list[Any] = [[], (), np.empty(0), np.empty(0, dtype=object)]
    for values in empty:
        batch = model.predict_batch(dict.fromkeys(RECORD, values))
        assert (len(batch), batch.ids, batch.labels) == (0, [], [])


class Silent:
    """A key that does not say what it is."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def test_key_that_cannot_be_told(registry: FileRegistry, settings: mlembed.Settings) -> None:
    """Whatever the key does, a host that asked for a fallback gets an answer."""
    model = mlembed.load("toy", registry=registry, settings=settings, fallback=0.5)

    assert model.predict(RECORD, key=Silent()).reason in ("ok", "fallback")  # type: ignore[arg-type]  # no text
    assert model.flush()


class Zoneless(dt.tzinfo):
    """A time zone that does not know its offset."""

    def utcoffset(self, _: dt.datetime | None) -> None:
        """Return nothing."""

    dst = tzname = utcoffset


WORLD_WAR = dt.datetime(1945, 5, 8, tzinfo=dt.UTC)
OUTCOMES: dict[str, tuple[dict[str, Any], str]] = {
    "value that raises": ({"value": Odd(ZeroDivisionError())}, "expected a bool"),
    "value that is none": ({"value": Odd("1")}, "expected a bool"),
    "array": ({"value": np.ones(2)}, "expected a bool"),
    "key that raises": ({"key": Silent()}, "a text"),
    "id that raises": ({"prediction_id": Silent()}, "a text"),
    "zone without offset": ({"observed_at": dt.datetime(2026, 1, 1, tzinfo=Zoneless())}, "zone"),
    "day": ({"observed_at": dt.date(2026, 1, 1)}, "observed_at"),
    "text": ({"observed_at": "2026-01-01T00:00:00Z"}, "observed_at"),
    "before all": ({"observed_at": WORLD_WAR}, "between 1970 and 2262"),
    "end of time": ({"observed_at": dt.datetime.max.replace(tzinfo=dt.UTC)}, "2262"),
    "revision of text": ({"revision": "second"}, "revision"),
    "revision of a float": ({"revision": 1.5}, "revision"),
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_bad_outcome_is_an_error_with_its_remedy(model: mlembed.Model, name: str) -> None:
    """A report that could not be read back is refused when it is made."""
    given, words = OUTCOMES[name]
    report: dict[str, Any] = {"key": "k", "value": True} | given

    with pytest.raises(OutcomeError, match=words):
        model.outcome(**report)

    assert logged_outcomes(model) == 0


def logged_outcomes(model: mlembed.Model) -> int:
    """Return how many outcomes are logged."""
    model.predict(RECORD)
    return len(logged(model).outcomes)


@pytest.mark.parametrize("revision", [np.int64(3), True, 2**62])
def test_outcome_takes_any_whole_revision(model: mlembed.Model, revision: Any) -> None:
    """Numbers of other libraries are read back as the number they are."""
    model.outcome(key="k", value=True, revision=revision)
    model.predict(RECORD)

    (outcome,) = logged(model).outcomes
    assert outcome.revision == int(revision)


def test_bad_rows_open_no_breaker(model: mlembed.Model) -> None:
    """However often a host gives bad records, good ones in between and after are answered."""
    rows = toy_rows(30)
    for row in rows:
        with pytest.raises(SchemaError):
            model.predict(row | {"age": Odd(ZeroDivisionError())})
        with pytest.raises((SchemaError, InferenceError)):
            model.predict_batch(TABLE | {"age": Odd(1.0)})
    assert [model.predict(row).reason for row in rows] == ["ok"] * 30
