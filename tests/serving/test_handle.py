"""The right version serves while the host runs, and the last good one where the next is bad."""

from __future__ import annotations

import dataclasses
import gc
import logging
import shutil
import threading
from typing import TYPE_CHECKING, Any

import pytest

import mlembed
from bundles import COLUMNS, RECORD, toy_bundle
from mlembed.bundle.bundle import pack
from mlembed.columns import Column
from mlembed.errors import BundleError, GoldenError, IntegrityError, NotFoundError, RegistryError
from mlembed.registry.pointer import Ref
from mlembed.serving.changes import check_columns
from mlembed.testing import InMemoryRegistry
from serving.graphs import picking_bundle
from serving.logs import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry.file import FileRegistry
    from mlembed.registry.pointer import Target

EXTRA = Column(name="height", kind="number", minimum=0.0)


@pytest.fixture
def model(registry: FileRegistry, settings: mlembed.Settings) -> mlembed.Model:
    """Return the toy model, already serving; it looks only when told to."""
    live = mlembed.load("toy", registry=registry, settings=settings)
    live.predict(RECORD)
    return live


def promote(registry: FileRegistry, bundle: Bundle) -> None:
    """Publish *bundle* and make it the champion."""
    registry.publish(bundle)
    registry.promote("toy", "champion", bundle.manifest.version)


def with_model(data: bytes, version: str) -> Bundle:
    """Return the toy bundle with another graph and its old golden rows."""
    toy = toy_bundle()
    manifest = dataclasses.replace(toy.manifest, version=version)
    return pack(manifest, {**toy.files, "model.onnx": data})


BAD = {
    "golden rows": (toy_bundle(version="2.0.0", golden_error=1e-3), GoldenError),
    "other columns": (toy_bundle(version="2.0.0", columns=(*COLUMNS, EXTRA)), BundleError),
    "fewer columns": (toy_bundle(version="2.0.0", columns=COLUMNS[:5]), BundleError),
    "no graph": (with_model(b"no graph at all", "2.0.0"), BundleError),
    "an empty graph": (with_model(b"", "2.0.0"), BundleError),
    "another graph": (
        with_model(picking_bundle().files["model.onnx"], "2.0.0"),
        BundleError,
    ),
}


@pytest.mark.parametrize("what", BAD)
def test_handle_keeps_the_last_good_version(
    what: str, model: mlembed.Model, registry: FileRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A bad version never serves: it is warned of once, and the next good one comes in."""
    bundle, kind = BAD[what]
    score = model.predict(RECORD).score
    promote(registry, bundle)

    with caplog.at_level(logging.INFO, "mlembed"):
        looks = [model.refresh() for _ in range(3)]
    answer = model.predict(RECORD)
    state, error = model.state, model.error
    promote(registry, toy_bundle(version="2.1.0", shift=1.0))
    recovered = model.refresh()

    assert looks == [False] * 3
    assert (answer.version, answer.score, answer.reason) == ("1.0.0", score, "ok")
    assert (state, type(error)) == ("STALE", kind)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "2.0.0" in caplog.text or "onnxruntime" in caplog.text or "graph" in caplog.text
    assert recovered
    assert (model.version, model.state, model.error) == ("2.1.0", "READY", None)


def test_handle_refuses_changed_bytes(
    model: mlembed.Model, registry: FileRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A bundle whose bytes were changed after the promotion does not serve, until they are back."""
    bundle = toy_bundle(version="2.0.0", shift=1.0)
    promote(registry, bundle)
    blob = next(
        path
        for path in (registry.root / "toy" / "blobs" / "sha256").iterdir()
        if path.read_bytes() == bundle.files["model.onnx"]
    )
    good = blob.read_bytes()
    blob.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))

    looks = [model.refresh() for _ in range(3)]
    state, error = model.state, model.error
    blob.write_bytes(good)
    recovered = model.refresh()

    assert looks == [False] * 3
    assert (state, type(error)) == ("STALE", IntegrityError)
    assert len(caplog.records) == 1
    assert recovered
    assert model.predict(RECORD).version == "2.0.0"


def test_handle_recovers_when_the_alias_goes_back(
    model: mlembed.Model, registry: FileRegistry
) -> None:
    """A rollback to the version in service ends the warning state without a reload."""
    promote(registry, toy_bundle(version="2.0.0", golden_error=1.0))
    model.refresh()
    before = model.state

    registry.rollback("toy", "champion")

    assert (before, model.refresh(), model.state) == ("STALE", False, "READY")


def test_handle_follows_a_rollback(model: mlembed.Model, registry: FileRegistry) -> None:
    """A newer pointer to an older version brings the older one back."""
    promote(registry, toy_bundle(version="1.1.0", shift=1.0))
    forward = model.refresh(), model.predict(RECORD)
    registry.rollback("toy", "champion")
    back = model.refresh(), model.predict(RECORD)

    assert (forward[0], forward[1].version) == (True, "1.1.0")
    assert (back[0], back[1].version) == (True, "1.0.0")
    assert forward[1].score != back[1].score


def test_handle_serves_on_without_its_registry(
    model: mlembed.Model, registry: FileRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    """A registry that is deleted, or a file in its place, is warned of; the model serves on."""
    kept = registry.root.with_name("kept")
    shutil.move(registry.root, kept)

    looks = [model.refresh() for _ in range(3)]
    gone = model.state, type(model.error), model.predict(RECORD).reason
    registry.root.write_text("a file")
    model.refresh()
    replaced = model.state, model.predict(RECORD).reason
    registry.root.unlink()
    shutil.move(kept, registry.root)
    model.refresh()

    assert looks == [False] * 3
    assert gone == ("STALE", NotFoundError, "ok")
    assert replaced == ("STALE", "ok")
    assert model.state == "READY"
    assert len(caplog.records) <= 2


def test_pinned_version_never_moves(registry: FileRegistry, settings: mlembed.Settings) -> None:
    """A version that is named stays, whatever is promoted, and nothing polls for it."""
    live = dataclasses.replace(settings, poll_seconds=0.01)
    pinned = mlembed.load("toy@1.0.0", registry=registry, settings=live)
    pinned.predict(RECORD)
    promote(registry, toy_bundle(version="1.1.0", shift=1.0))

    assert pinned.refresh() is False
    assert pinned.predict(RECORD).version == "1.0.0"
    assert not [t for t in threading.enumerate() if t.name == "mlembed-refresh-toy"]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (COLUMNS[1:], "'age' is gone"),
        ((*COLUMNS, EXTRA), "'height' is new"),
        ((dataclasses.replace(COLUMNS[0], kind="integer"), *COLUMNS[1:]), "'age' is integer, not"),
        (
            (COLUMNS[0], dataclasses.replace(COLUMNS[1], nullable=False), *COLUMNS[2:]),
            "'income' may not be missing any more",
        ),
    ],
)
def test_check_columns_names_what_a_host_would_have_to_change(
    columns: tuple[Column, ...], words: str
) -> None:
    """A version that the host's records do not fit is refused, with every reason."""
    serving = toy_bundle().manifest

    with pytest.raises(BundleError, match=f"toy@2.0.0 needs other columns than toy@1.0.0.*{words}"):
        check_columns(serving, dataclasses.replace(serving, version="2.0.0", columns=columns))


def test_check_columns_allows_what_a_host_need_not_know() -> None:
    """Order, ranges, vocabularies and columns that may be missing are no reason to refuse."""
    serving = toy_bundle().manifest
    changed = [
        dataclasses.replace(column, minimum=None, nullable=True) for column in reversed(COLUMNS)
    ]
    columns = (*changed, dataclasses.replace(EXTRA, nullable=True))

    check_columns(serving, dataclasses.replace(serving, columns=columns))


def test_handle_serves_records_that_lack_a_new_nullable_column(
    model: mlembed.Model, registry: FileRegistry
) -> None:
    """A new column that may be missing is missing in the records of a host that knows it not."""
    columns = (*COLUMNS, dataclasses.replace(EXTRA, nullable=True))
    promote(registry, toy_bundle(version="1.1.0", columns=columns))

    assert model.refresh()
    assert model.predict(RECORD).score == model.predict(RECORD | {"height": None}).score


class Held(InMemoryRegistry):
    """A registry whose bundles arrive only when the test lets them."""

    def __init__(self) -> None:
        super().__init__()
        self.entered, self.arrive = threading.Event(), threading.Event()
        self.fetched: list[Target] = []

    def fetch(self, target: Target) -> Bundle:
        """Return the bundle of *target*, late."""
        self.fetched.append(target)
        self.entered.set()
        assert self.arrive.wait(20)
        return super().fetch(target)


def test_predictions_go_on_while_a_version_is_fetched(settings: mlembed.Settings) -> None:
    """A slow registry delays the new version and no prediction."""
    source = Held()
    source.publish(toy_bundle())
    source.arrive.set()
    model = mlembed.load("toy", registry=source, settings=settings)
    model.predict(RECORD)
    source.arrive.clear()
    source.entered.clear()
    source.publish(toy_bundle(version="1.1.0", shift=1.0))
    refresh = threading.Thread(target=model.refresh)
    refresh.start()
    assert source.entered.wait(20)

    during = {model.predict(RECORD).version for _ in range(200)}
    batch = model.predict_batch({name: [value] for name, value in RECORD.items()}).version
    source.arrive.set()
    refresh.join()

    assert (during, batch) == ({"1.0.0"}, "1.0.0")
    assert model.predict(RECORD).version == "1.1.0"


def test_first_load_is_waited_for_only_so_long(settings: mlembed.Settings) -> None:
    """Callers that wait for another's first load give up after `start_seconds`."""
    source = Held()
    source.publish(toy_bundle())
    model = mlembed.load(
        "toy", registry=source, settings=dataclasses.replace(settings, start_seconds=0.05)
    )
    answers: list[Any] = []
    first = threading.Thread(target=lambda: answers.append(model.predict(RECORD)))
    first.start()
    assert source.entered.wait(20)

    with pytest.raises(RegistryError, match=r"toy@champion is still loading after 0\.05 s"):
        model.predict(RECORD)
    source.arrive.set()
    first.join()

    assert answers[0].reason == model.predict(RECORD).reason == "ok"


def test_first_load_happens_once_for_many_threads(settings: mlembed.Settings) -> None:
    """Threads that come first together wait for one load."""
    source = Held()
    target = source.publish(toy_bundle())
    source.arrive.set()
    model = mlembed.load("toy", registry=source, settings=settings)
    threads = [threading.Thread(target=model.predict, args=(RECORD,)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert source.fetched == [target]


def test_handle_ends_its_thread(registry: FileRegistry, settings: mlembed.Settings) -> None:
    """`close` ends the looks, and so does forgetting the model."""
    live = dataclasses.replace(settings, poll_seconds=0.02, log=False)

    def refreshing() -> list[threading.Thread]:
        return [t for t in threading.enumerate() if t.name == "mlembed-refresh-toy"]

    closed = mlembed.load("toy", registry=registry, settings=live)
    closed.predict(RECORD)
    running = len(refreshing())
    closed.close()
    wait_until(lambda: not refreshing(), "the end of the closed model's thread")
    forgotten = mlembed.load("toy", registry=registry, settings=live)
    forgotten.predict(RECORD)
    running += len(refreshing())
    del forgotten
    gc.collect()
    wait_until(lambda: not refreshing(), "the end of the forgotten model's thread")

    assert running == 2
    assert closed.predict(RECORD).reason == "ok"


def test_handle_looks_less_often_after_failures(model: mlembed.Model, tmp_path: Path) -> None:
    """Each failure doubles the pause, up to sixteen times, with a fifth of jitter."""
    pauses = []
    handle = model._handle
    handle._source = mlembed.registry.open_source(tmp_path / "nowhere", mlembed.Settings())

    for _ in range(6):
        pauses.append(sorted(handle.pause() for _ in range(200)))
        model.refresh()

    for factor, pause in zip((1, 2, 4, 8, 16, 16), pauses, strict=True):
        assert 0.8 * factor <= pause[0] < pause[-1] <= 1.2 * factor


def test_model_tells_its_state(registry: FileRegistry, settings: mlembed.Settings) -> None:
    """The state says what serves, and the text of the model shows it."""
    model = mlembed.load("toy", registry=registry, settings=settings)
    before = model.state, repr(model)
    model.predict(RECORD)

    assert before == ("NOT_READY", "<Model toy@champion NOT_READY>")
    assert (model.state, model.error, model.version) == ("READY", None, "1.0.0")
    assert registry.resolve(Ref("toy")).version == model.version
