"""OpenTelemetry as a host sets it up, for one test."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import threading
from typing import TYPE_CHECKING, Any

import opentelemetry._logs._internal as logs_api
import opentelemetry.metrics._internal as metrics_api
import pytest
from opentelemetry import trace as trace_api
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import mlembed
from mlembed.telemetry import recorder as recorder_module
from mlembed.telemetry import store
from mlembed.telemetry.recorder import recorder_for
from telemetry.entries import LEAST_ROOM

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mlembed.registry.file import FileRegistry
    from mlembed.serving.model import Model
    from mlembed.settings import Settings
    from mlembed.telemetry.recorder import Recorder

_GLOBALS = (
    (logs_api, "_LOGGER_PROVIDER"),
    (trace_api, "_TRACER_PROVIDER"),
    (metrics_api, "_METER_PROVIDER"),
)


@dataclasses.dataclass(frozen=True)
class Host:
    """The host's own telemetry, kept in memory.

    Attributes:
        logs: Its log records.
        spans: Its spans.
        reader: Its metrics.
        providers: Logger, tracer and meter provider.
    """

    logs: InMemoryLogRecordExporter
    spans: InMemorySpanExporter
    reader: InMemoryMetricReader
    providers: tuple[LoggerProvider, TracerProvider, MeterProvider]

    @classmethod
    def new(cls) -> Host:
        """Make providers that are not set yet."""
        logs = InMemoryLogRecordExporter()  # type: ignore[no-untyped-call]  # the SDK's own
        spans, reader = InMemorySpanExporter(), InMemoryMetricReader()
        logger, tracer = LoggerProvider(), TracerProvider()
        logger.add_log_record_processor(SimpleLogRecordProcessor(logs))
        tracer.add_span_processor(SimpleSpanProcessor(spans))
        return cls(logs, spans, reader, (logger, tracer, MeterProvider([reader])))

    def events(self) -> list[Any]:
        """Return the log records, as the host's exporter got them."""
        return [item.log_record for item in self.logs.get_finished_logs()]

    def metrics(self) -> dict[str, list[Any]]:
        """Return the data points of every instrument, by its name."""
        data = self.reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else ())
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def shut_down(self) -> None:
        """End what the providers began."""
        for provider in self.providers:
            provider.shutdown()


class Setup:
    """Sets providers as a host does, and takes them back after the test."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        for module, name in _GLOBALS:
            monkeypatch.setattr(module, name, None)

    def __call__(self, *providers: Any) -> None:
        """Make *providers* the process's own: logger, tracer and meter, or None."""
        for (module, name), provider in zip(_GLOBALS, providers, strict=False):
            self._monkeypatch.setattr(module, name, provider)


@pytest.fixture
def set_up(monkeypatch: pytest.MonkeyPatch) -> Setup:
    """Return the function that sets the host's providers; none is set at first."""
    return Setup(monkeypatch)


@pytest.fixture
def idle_host() -> Iterator[Host]:
    """Return a host's telemetry that is not set up yet."""
    host = Host.new()
    yield host
    host.shut_down()


@pytest.fixture
def host(idle_host: Host, set_up: Setup) -> Host:
    """Return a host's telemetry that is set up."""
    set_up(*idle_host.providers)
    return idle_host


@pytest.fixture
def recorder(settings: Settings) -> Recorder:
    """Return a recorder that writes when it is told to."""
    return recorder_for(dataclasses.replace(settings, flush_seconds=600))


@pytest.fixture
def model(settings: Settings, registry: FileRegistry) -> Model:
    """Return the toy model."""
    return mlembed.load("toy", registry=registry, settings=settings)


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], bytes]]:
    """Make the log's disk a full pipe; return the function that frees it and reads it to its end."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "pipe", os.O_WRONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, b"#"):
            pass
    os.set_blocking(writer, True)
    monkeypatch.setattr(store, "_create", lambda *_: (tmp_path / "pipe", writer))
    taken: list[bytes] = []

    def read() -> None:
        while chunk := os.read(reader, 65_536):
            taken.append(chunk)

    thread = threading.Thread(target=read)

    def free() -> bytes:
        thread.start()
        for live in list(recorder_module._recorders.values()):
            live.close()
        thread.join()
        return b"".join(taken).lstrip(b"#")

    yield free
    if not thread.ident:
        free()
    os.close(reader)


@pytest.fixture
def small(registry: FileRegistry, settings: Settings) -> Model:
    """Return a model whose log has the least room, and is written when it is told to."""
    little = dataclasses.replace(settings, queue_bytes=LEAST_ROOM, flush_seconds=600)
    return mlembed.load("toy", registry=registry, settings=little)
