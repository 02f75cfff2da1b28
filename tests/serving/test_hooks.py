"""A hook sees each prediction once and cannot change what the host is told."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import pytest

import mlembed
from bundles import RECORD, toy_table
from mlembed.serving import hooks

if TYPE_CHECKING:
    from mlembed.registry.file import FileRegistry
    from mlembed.serving.prediction import Prediction


@pytest.fixture
def model(registry: FileRegistry, settings: mlembed.Settings) -> mlembed.Model:
    """Return the toy model, with a fallback."""
    return mlembed.load("toy", registry=registry, settings=settings, fallback=0.25)


def test_hook_sees_every_single_prediction(model: mlembed.Model) -> None:
    """Answers and fallbacks are seen on the caller's thread, tables are not."""
    seen: list[tuple[Prediction, int]] = []
    unsubscribe = hooks.subscribe(lambda p: seen.append((p, threading.get_ident())))

    answers = [model.predict(RECORD), model.predict({})]
    model.predict_batch(toy_table(3))
    unsubscribe()
    model.predict(RECORD)

    assert seen == [(answer, threading.get_ident()) for answer in answers]


def test_hook_that_fails_changes_nothing(
    model: mlembed.Model, caplog: pytest.LogCaptureFixture
) -> None:
    """Its error is logged, the next hook is called and the answer stands."""
    seen: list[Prediction] = []

    def fails(_: Prediction) -> None:
        raise ZeroDivisionError

    ends = [hooks.subscribe(hook) for hook in (fails, seen.append)]
    with caplog.at_level(logging.ERROR, "mlembed"):
        answer = model.predict(RECORD)
    for end in ends:
        end()

    assert seen == [answer]
    assert "fails" in caplog.text
    assert "the prediction stands" in caplog.text


def test_hook_that_subscribes_twice_ends_once_at_a_time(model: mlembed.Model) -> None:
    """Each subscription is its own; ending one twice ends no other."""
    seen: list[Prediction] = []
    hook = seen.append
    first, second = hooks.subscribe(hook), hooks.subscribe(hook)

    model.predict(RECORD)
    first()
    first()
    model.predict(RECORD)
    second()
    model.predict(RECORD)

    assert len(seen) == 3
    assert hooks.subscribed == ()


def test_hooks_may_come_and_go_in_many_threads(model: mlembed.Model) -> None:
    """No subscription is lost, and none stays."""

    def come_and_go() -> None:
        for _ in range(200):
            seen: list[Prediction] = []
            end = hooks.subscribe(seen.append)
            model.predict(RECORD)
            end()
            lengths.append(len(seen))

    lengths: list[int] = []
    threads = [threading.Thread(target=come_and_go) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(lengths) == 800
    assert min(lengths) >= 1
    assert hooks.subscribed == ()


def test_hook_may_predict(model: mlembed.Model) -> None:
    """A hook that predicts itself does not disturb the answer it was shown."""
    inner: list[float] = []

    def hook(_: Prediction) -> None:
        end()
        inner.append(model.predict(RECORD | {"age": 90.0}).score)

    end = hooks.subscribe(hook)
    outer = model.predict(RECORD)

    assert outer.score == model.predict(RECORD).score
    assert inner == [model.predict(RECORD | {"age": 90.0}).score]
