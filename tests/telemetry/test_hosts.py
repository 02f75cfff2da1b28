"""However a host sets up its telemetry, late, in part or badly, predictions go on."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from bundles import RECORD
from processes import run_script
from serving.logs import records, wait_until
from telemetry.entries import keys, make_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mlembed.serving.model import Model
    from mlembed.settings import Settings
    from mlembed.telemetry.recorder import Recorder
    from telemetry.conftest import Host, Setup


@pytest.mark.parametrize("part", [0, 1, 2])
def test_host_with_one_provider(
    idle_host: Host, set_up: Setup, model: Model, settings: Settings, part: int
) -> None:
    """Logs, traces and metrics work without one another."""
    set_up(*(p if i == part else None for i, p in enumerate(idle_host.providers)))
    with trace.get_tracer("host").start_as_current_span("request"):
        model.predict(RECORD)
    assert model.flush()

    assert len(idle_host.events()) == (part == 0)
    assert len(idle_host.spans.get_finished_spans()) == 2 * (part == 1)
    assert bool(idle_host.metrics()) == (part == 2)
    assert len(records(settings.log_dir)) == 1


def test_provider_set_after_the_first_prediction(
    idle_host: Host, set_up: Setup, model: Model, settings: Settings
) -> None:
    """A host that sets up its telemetry late is heard from then on."""
    model.predict(RECORD, key="before")
    assert model.flush()
    set_up(*idle_host.providers)
    model.predict(RECORD, key="after")
    assert model.flush()

    assert [event.attributes["mlembed.prediction.key"] for event in idle_host.events()] == ["after"]
    assert keys(settings.log_dir) == ["before", "after"]
    with trace.get_tracer("host").start_as_current_span("request"):
        model.predict(RECORD)
    assert model.flush()
    assert len(idle_host.spans.get_finished_spans()) == 2


def test_nothing_is_set_up_where_the_host_set_up_nothing() -> None:
    """OpenTelemetry is neither imported nor configured by mlembed; an API without SDK stays so."""
    script = """
    import sys, tempfile
    from pathlib import Path
    from mlembed.settings import Settings
    from mlembed.telemetry.recorder import recorder_for
    from telemetry.entries import make_entry

    recorder = recorder_for(Settings(log_dir=Path(tempfile.mkdtemp())))
    recorder.append(make_entry())
    assert recorder.flush()
    assert not [name for name in sys.modules if name.startswith("opentelemetry")]

    from opentelemetry import _logs, metrics, trace
    providers = [_logs.get_logger_provider(), trace.get_tracer_provider()]
    providers.append(metrics.get_meter_provider())
    recorder.append(make_entry())
    assert recorder.flush()
    assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
    assert recorder.bridge.found == 0 and not recorder.dropped
    assert _logs.get_logger_provider() is providers[0]
    assert trace.get_tracer_provider() is providers[1]
    assert metrics.get_meter_provider() is providers[2]
    """

    run_script(script)


class Broken(LogRecordProcessor, SpanProcessor):
    """A host's processor that fails in every way it can."""

    def on_emit(self, log_record: Any) -> None:
        """Fail for a log record."""
        del log_record
        raise RuntimeError("the host's exporter is broken")

    def on_start(self, span: Any, parent_context: Any = None) -> None:
        """Fail for a span."""
        del span, parent_context
        raise RuntimeError("the host's exporter is broken")

    def shutdown(self) -> None:
        """Do nothing."""

    def force_flush(self, timeout_millis: int = 0) -> bool:
        """Do nothing."""
        del timeout_millis
        return True


def test_host_exporter_that_raises(set_up: Setup, recorder: Recorder) -> None:
    """Predictions and the local log go on; each loss is counted."""
    logger, tracer = LoggerProvider(), TracerProvider()
    logger.add_log_record_processor(Broken())
    tracer.add_span_processor(Broken())
    parent = trace.SpanContext(1, 2, is_remote=True, trace_flags=trace.TraceFlags(1))
    set_up(logger, tracer, None)
    for number in range(5):
        recorder.append(make_entry(key=str(number), span=parent))
    assert recorder.flush()

    assert keys(recorder.settings.log_dir) == ["0", "1", "2", "3", "4"]
    assert recorder.dropped == {"otel_RuntimeError": 10}


def test_host_provider_that_raises(set_up: Setup, model: Model, settings: Settings) -> None:
    """A provider that gives no logger costs no prediction and no line."""

    class Refusing:
        """A provider that fails when it is asked."""

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("not today")

    set_up(Refusing(), Refusing(), Refusing())
    assert model.predict(RECORD).reason == "ok"
    assert model.flush()

    assert len(records(settings.log_dir)) == 1


def test_host_meter_that_raises(set_up: Setup, recorder: Recorder) -> None:
    """Metrics that fail cost neither the events nor the local log."""

    class Instrument:
        """An instrument that takes no value."""

        def __getattr__(self, name: str) -> Any:
            raise RuntimeError("full")

    class Meters:
        """A provider whose instruments fail."""

        def __getattr__(self, name: str) -> Any:
            return lambda *_, **__: Instrument() if name.startswith("create") else self

    set_up(None, None, Meters())
    recorder.append(make_entry(key="kept"))
    assert recorder.flush()

    assert keys(recorder.settings.log_dir) == ["kept"]
    assert recorder.dropped == {"otel_RuntimeError": 1}


@pytest.fixture
def hanging(set_up: Setup) -> Iterator[threading.Event]:
    """Give the host an exporter that hangs until the event that is returned is set."""
    free = threading.Event()

    class Hanging(Broken):
        """Waits with every log record."""

        def on_emit(self, log_record: Any) -> None:
            """Wait."""
            del log_record
            free.wait()

    provider = LoggerProvider()
    provider.add_log_record_processor(Hanging())
    set_up(provider)
    yield free
    free.set()


def test_host_exporter_that_hangs(
    hanging: threading.Event, model: Model, settings: Settings
) -> None:
    """Predictions go on while the host's exporter hangs, and nothing is lost once it goes on."""
    model.predict(RECORD, key="first")
    assert not model.flush(0.05)

    start = time.perf_counter()
    for number in range(200):
        assert model.predict(RECORD, key=str(number)).reason == "ok"
    assert time.perf_counter() - start < 5
    assert keys(settings.log_dir) == ["first"]

    hanging.set()
    assert model.flush(20)
    assert keys(settings.log_dir) == ["first", *map(str, range(200))]


def test_flush_waits_no_longer_than_told(
    hanging: threading.Event, recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flush from a second thread gives up in time, where the first writes by itself and hangs."""

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        recorder.append(make_entry(key="first"))
    first = threading.Thread(target=recorder.flush)
    first.start()
    wait_until(lambda: keys(recorder.settings.log_dir) == ["first"], "the write before it hangs")

    assert not recorder.flush(0.01)

    hanging.set()
    first.join()
    assert recorder.flush()


def test_look_never_waits_for_another(host: Host, recorder: Recorder) -> None:
    """While one thread asks the host's providers, a caller's thread goes on without them."""
    with recorder.bridge._looking:
        recorder.bridge.look()
        assert recorder.bridge.found == 0

    recorder.bridge.look()
    assert recorder.bridge.found == len(host.providers)


def test_forget_parent_begins_empty(host: Host, recorder: Recorder) -> None:
    """In a forked child nothing waits, nothing is lost yet, and the host is still heard."""
    del host
    recorder.bridge.look()
    recorder._lose("store", 3, OSError("full"))

    recorder.forget_parent()

    assert not recorder.dropped
    assert recorder.bridge.found == 3
    recorder.append(make_entry(key="mine"))
    assert recorder.flush()
    assert keys(recorder.settings.log_dir) == ["mine"]


def test_metrics_begin_anew_in_a_forked_child() -> None:
    """A child tells its own losses, never a difference to its parent's."""
    script = """
    import os, tempfile
    from pathlib import Path
    from opentelemetry import metrics
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader
    from mlembed.settings import Settings
    from mlembed.telemetry.recorder import recorder_for
    from telemetry.entries import make_entry

    reader = InMemoryMetricReader()
    metrics.set_meter_provider(MeterProvider([reader], shutdown_on_exit=False))
    recorder = recorder_for(Settings(log_dir=Path(tempfile.mkdtemp())))

    def lost(count):
        recorder._lose("store", count, OSError("full"))
        recorder.append(make_entry())
        assert recorder.flush()
        data = reader.get_metrics_data()
        return sum(
            point.value
            for metric in data.resource_metrics[0].scope_metrics[0].metrics
            for point in metric.data.data_points
            if metric.name == "mlembed.telemetry.dropped"
        )

    before = lost(100)
    child = os.fork()
    if child == 0:
        os.write(1, f"{before} {lost(5)}\\n".encode())
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    """

    before, after = map(int, run_script(script).split())

    assert (before, after - before) == (100, 5)
