"""Records and manifests made to break a host do not: they are refused, named and forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import COLUMNS, RECORD, toy_bundle
from mlembed.bundle import strictjson
from mlembed.bundle.manifest import Manifest
from mlembed.columns import Category, Column
from mlembed.errors import BundleError, SchemaError
from mlembed.serving.encoder import Encoder
from mlembed.serving.fields import MAX_LOGGED
from serving.logs import events
from serving.rows import encode, one

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.registry.file import FileRegistry


@pytest.fixture
def model(registry: FileRegistry, settings: mlembed.Settings) -> mlembed.Model:
    """Return the toy model."""
    return mlembed.load("toy", registry=registry, settings=settings)


def problems(record: Any, *columns: Column) -> tuple[str, ...]:
    """Return what is wrong with *record*."""
    with pytest.raises(SchemaError) as caught:
        encode(record, Encoder("toy@1.0.0", columns))
    return caught.value.problems


class Failing:
    """An object whose attribute raises."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    @property
    def x(self) -> float:
        """Raise."""
        raise self.error


@pytest.mark.parametrize("error", [ValueError("secret"), RecursionError(), KeyError("x")])
def test_attribute_that_raises_is_named(error: Exception) -> None:
    """A property's error becomes a problem of its field, without its words."""
    assert problems(Failing(error), one("number")) == (
        f"'x' cannot be read: it raised {type(error).__name__}",
    )


def test_attribute_that_is_missing_is_missing() -> None:
    """A relation that Django says does not exist is a missing field."""

    class DoesNotExistError(AttributeError):
        pass

    assert problems(Failing(DoesNotExistError("secret")), one("number")) == ("'x' is missing",)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit()])
def test_attribute_that_ends_the_program_ends_it(
    registry: FileRegistry, settings: mlembed.Settings, error: BaseException
) -> None:
    """What is no error of the record passes, even where there is a fallback."""
    model = mlembed.load("toy", registry=registry, settings=settings, fallback=0.25)

    class Ending:
        age = property(lambda _self: (_ for _ in ()).throw(error))

    with pytest.raises(type(error)):
        model.predict(Ending())


def test_attribute_that_changes_is_read_once(model: mlembed.Model) -> None:
    """A property that gives another value each time is checked, scored and logged as one."""

    class Changing:
        ages = iter([50.0, 500.0, -1.0])

        def __getattr__(self, name: str) -> Any:
            return RECORD[name]

        @property
        def age(self) -> float:
            return next(self.ages)

    prediction = model.predict(Changing())
    model.flush()

    assert prediction.score == model.predict(RECORD | {"age": 50.0}).score
    assert events(model.settings.log_dir)[0]["body"]["f"]["age"] == [50.0]


def test_attribute_that_changes_on_the_slow_path_is_checked_as_used() -> None:
    """What is checked is what is used, also where the first reading was not good."""

    class Changing:
        values = iter(["bad", 7.0, -1.0])

        @property
        def x(self) -> Any:
            return next(self.values)

    assert encode(Changing(), Encoder("toy@1.0.0", [one("number", minimum=0.0)])) == [7.0]


class Inventing(dict[str, Any]):
    """A mapping that makes up what it does not hold."""

    def __missing__(self, name: str) -> float:
        return 41.0


def test_mapping_that_makes_values_up_lacks_them() -> None:
    """A default of the host's mapping never stands in for a field that was not given."""
    record = Inventing(RECORD, surname="x")
    del record["age"]

    with pytest.raises(SchemaError) as caught:
        encode(record)

    assert caught.value.problems == ("'age' is missing", "'surname' is no column")
    assert "age" not in dict(record)


class Breaking(dict[str, Any]):
    """A mapping that cannot be read."""

    def keys(self) -> Any:
        """Fail."""
        raise ZeroDivisionError("secret")


def test_mapping_that_cannot_be_read_is_a_schema_error() -> None:
    """A mapping's own error is named by its kind."""
    assert problems(Breaking(RECORD), *COLUMNS) == (
        "the record cannot be read: it raised ZeroDivisionError",
    )


def test_keys_that_are_no_strings_are_named_by_their_type() -> None:
    """A key is shown only where it is text, and then its beginning."""

    class Key:
        def __str__(self) -> str:
            raise ZeroDivisionError

    assert problems({"x": 1.0, 5: 1.0, Key(): 1.0, ("a",): 1.0}, one("number")) == (
        "'of type Key' is no column",
        "'of type int' is no column",
        "'of type tuple' is no column",
    )
    assert problems({"x": 1.0, "y" * 10**6: 1.0}, one("number")) == (f"'{'y' * 64}' is no column",)


@pytest.mark.parametrize("record", [None, 5, "age", b"", [], (), object(), object, 1.5, len])
def test_record_that_is_none_lacks_everything(record: Any) -> None:
    """What is no record is refused as one without fields."""
    assert problems(record, *COLUMNS)[0] == "'age' is missing"


class Hostile(str):
    """A string whose own methods fail."""

    __slots__ = ()

    def __hash__(self) -> int:
        raise ZeroDivisionError

    def __getitem__(self, _: Any) -> str:
        raise ZeroDivisionError


class Cutting(str):
    """A string that refuses to be cut."""

    __slots__ = ()

    def __getitem__(self, _: Any) -> str:
        raise ZeroDivisionError


def test_strings_of_hostile_classes_do_not_escape(model: mlembed.Model) -> None:
    """A string whose methods raise is a bad field; what is logged of one is plain text."""
    town = one("category", vocabulary=("oslo",), rare=True)

    assert problems({"x": Hostile("oslo")}, town) == (
        "'x' cannot be read: it raised ZeroDivisionError",
    )
    model.predict(RECORD | {"town": Cutting("nowhere")})
    model.flush()
    assert events(model.settings.log_dir)[0]["body"]["f"]["town"] == ["nowhere"]


@pytest.mark.parametrize("value", [([],), [], {}, {"a": 1}, set()])
def test_values_that_do_not_hash_are_bad_fields(value: Any) -> None:
    """A container is a bad category, never an error of its own kind."""
    (problem,) = problems({"x": value}, one("category", vocabulary=("oslo",)))

    assert problem.startswith("'x' ")


@pytest.mark.parametrize("text", ["\ud800", '"}],"y":', "\x00\n\r\u2028", "名前🙂", "\\"])
def test_unknown_category_cannot_spoil_the_log(model: mlembed.Model, text: str) -> None:
    """Any text is logged as that text, but for halves of characters, alone and in a table."""
    written = text.replace("\ud800", "\ufffd")
    model.predict(RECORD | {"town": text}, key=text)
    model.predict_batch({name: [value] * 2 for name, value in (RECORD | {"town": text}).items()})
    model.flush()

    single, batch = events(model.settings.log_dir)
    assert single["body"]["f"]["town"] == [written]
    assert single["mlembed.prediction.key"] == written
    assert batch["body"]["f"]["town"] == [written, written]


def test_huge_category_does_not_fill_the_log(model: mlembed.Model) -> None:
    """Of ten megabytes of text the log keeps the beginning, alone and in a table."""
    text = "x" * 10_000_000
    record = RECORD | {"town": text}

    known = model.predict(RECORD | {"town": "elsewhere"}).score
    alone = model.predict(record)
    table = model.predict_batch({name: [value] for name, value in record.items()})
    model.flush()

    size = sum(path.stat().st_size for path in model.settings.log_dir.rglob("*.jsonl*"))
    assert alone.score == table.scores[0] == known
    assert size < 20_000
    assert events(model.settings.log_dir)[-1]["body"]["f"]["town"] == [text[:MAX_LOGGED]]


def test_predict_near_the_end_of_the_stack(model: mlembed.Model) -> None:
    """However deep the caller is, it gets its answer or an error, and later calls are right."""
    score = model.predict(RECORD).score
    answers: list[float] = []

    def deep() -> None:
        try:
            deep()
        except RecursionError:
            answers.append(model.predict(RECORD).score)
            raise

    with pytest.raises((RecursionError, mlembed.errors.MlembedError)):
        deep()

    assert set(answers) <= {score}
    assert model.predict(RECORD).score == score


NAMES = (
    *("class", "None", "True", "lambda", "import", "def", "async", "type", "match", "_"),
    *("__class__", "__dict__", "__init__", "__import__", "__builtins__", "exec", "self"),
    *("record", "cells", "pack", "nan", "encode", "get", "n0", "v0", "t0", "lo0", "hi0"),
    *("numbers", "datetime", "keys", "items", "größe", "名前"),
)


def test_column_may_have_any_name_of_an_identifier() -> None:
    """Keywords, dunders and the encoder's own words are read like any other field."""
    record = {name: float(number) for number, name in enumerate(NAMES)}
    encoder = Encoder("toy@1.0.0", [Column(name=name, kind="number") for name in NAMES])
    others = [column for column in encoder.columns if column.name != "__class__"]

    class Thing:
        def __getattribute__(self, name: str) -> Any:
            return Thing if name == "__class__" else record[name]

    row = encode(Thing(), Encoder("toy@1.0.0", others))

    assert encode(record, encoder) == list(record.values())
    assert row == [record[column.name] for column in others]


def test_object_that_lies_about_its_class_is_an_error_of_mlembed(model: mlembed.Model) -> None:
    """Even an object that is of no class does not reach the host with an error of its own."""

    class Liar:
        __class__ = property(lambda _self: 10.0)

    with pytest.raises(mlembed.errors.MlembedError):
        model.predict(Liar())


CODE = (
    *("x y", "x.y", "x[0]", "x)", "x'", 'x"', "x\n", "x;import os", "", " ", "1x", "x-y"),
    *('"+__import__("os").system("touch /tmp/mlembed-injected")+"', "x\\", "x\x00", "{x}", "%s"),
)


@pytest.mark.parametrize("name", CODE)
def test_manifest_cannot_name_a_column_with_code(name: str) -> None:
    """A manifest whose column is no identifier is refused before anything is compiled."""
    data = strictjson.loads(toy_bundle().manifest_bytes, "manifest.json")
    data["columns"][0]["name"] = name

    with pytest.raises(BundleError, match=r"identifier|NUL"):
        Manifest.from_bytes(strictjson.dumps(data))


EVIL = '") or __import__("os").abort() or ("'


@pytest.mark.parametrize(
    ("kind", "rest"),
    [
        ("number", {"unit": EVIL, "minimum": 0.0}),
        ("category", {"vocabulary": (EVIL, "b"), "unit": EVIL, "rule": Category(unknown="error")}),
        ("timestamp", {"unit": EVIL, "nullable": True}),
    ],
)
def test_encoder_compiles_no_text_of_a_manifest(kind: Any, rest: dict[str, Any]) -> None:
    """Names, units and categories are data in the compiled code, whatever they hold."""
    encoder = Encoder(EVIL, [Column(name=EVIL, kind=kind, **rest), *COLUMNS])

    for function in (encoder.encode_dict, encoder._encode_object):
        assert not any(isinstance(item, str) and "abort" in item for item in _sources(function))


def _sources(function: Any) -> Iterator[Any]:
    """Yield every constant and name of compiled code."""
    code = function.__code__
    yield from (*code.co_consts, *code.co_names, *code.co_varnames, code.co_filename)
