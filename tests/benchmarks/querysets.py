"""What predicting for every row of a queryset takes beside iterating it alone, and its memory.

And what it takes to write the scores onto the rows.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import scenes
from .report import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

_ROOT = Path(__file__).parents[2]
_MODELS = {"logistic": (20, 0), "trees": (20, 0), "census": (6, 8)}
_MOST = 1.3
_MOST_MB = 20.0


def querysets(short: bool) -> Iterator[Finding]:  # noqa: FBT001  every benchmark takes it
    """Time both in turns, in a process of its own, whose settings are Django's for good."""
    n_rows, rounds = (4_000, 2) if short else (100_000, 7)
    command = f"from tests.benchmarks.querysets import measure; measure({n_rows}, {rounds})"
    done = subprocess.run(
        [sys.executable, "-c", command],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told = json.loads(done.stdout.splitlines()[-1])
    for name, (with_it, looked_at, without) in told["seconds"].items():
        what = f"querysets: {n_rows:,} rows of {sum(_MODELS[name])} columns, {name} / iterating"
        for suffix, seconds, most in (
            ("", with_it, _MOST),
            (", each instance looked at", looked_at, None),
        ):
            detail = f"{seconds / n_rows * 1e6:.2f} / {without / n_rows * 1e6:.2f} us a row"
            yield Finding(what + suffix, seconds / without, most=most, detail=detail)
    what = f"querysets: {n_rows:,} rows scored and written / iterating"
    without = told["seconds"]["census"][-1]
    detail = f"{n_rows / told['written']:,.0f} rows a second"
    yield Finding(what, told["written"] / without, detail=detail)
    what = "querysets: memory that the second half of the rows takes"
    yield Finding(what, told["mb"], most=_MOST_MB, unit="MB", detail=f"of {told['peak_mb']:.0f} MB")


def measure(n_rows: int, rounds: int) -> None:
    """Print the median seconds with and without the model, and the memory, as JSON."""
    with tempfile.TemporaryDirectory() as folder:
        rows = _site(Path(folder), n_rows)
        seconds = {name: _in_turns(name, rows[name], rounds) for name in _MODELS}
        told = {"seconds": seconds, "written": _written(rows["census"])}
        told |= _memory(rows["trees"], n_rows)
        sys.stdout.write(json.dumps(told) + "\n")
        from mlembed_django.conf import site

        site().close()


def _site(folder: Path, n_rows: int) -> dict[str, Any]:
    """Set a site up whose models are there; return a model of its rows for each, filled."""
    import django
    from django.conf import settings
    from django.db import connection

    from mlembed.registry.file import FileRegistry

    registry = FileRegistry(folder / "registry")
    for name, shape in _MODELS.items():
        bundle = scenes.bundle("logistic" if name == "logistic" else "trees", *shape)
        if name == "census":
            bundle = scenes.census()
        registry.publish(bundle)
        registry.promote(bundle.manifest.name, "champion", bundle.manifest.version)
    settings.configure(
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(folder / "site.sqlite3"),
            }
        },
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        INSTALLED_APPS=["mlembed_django"],
        LOGGING_CONFIG=None,
        MLEMBED={
            "REGISTRY": folder / "registry",
            "LOG_DIR": folder / "log",
            "MODELS": {
                "logistic": {"REF": "logistic20@champion", "RECORD": f"{__name__}.wide"},
                "trees": {"REF": "trees20@champion", "RECORD": f"{__name__}.wide"},
                "census": {"REF": "trees14@champion", "RECORD": f"{__name__}.census"},
            },
        },
        SECRET_KEY="of a benchmark",  # noqa: S106
        USE_TZ=True,
    )
    django.setup()
    from mlembed_django.instances import from_instance

    models = {"wide": _model("Wide", 20, 0), "census": _model("Census", 6, 8)}
    for name, model in models.items():
        names = [field.name for field in model._meta.fields if field.name[1:].isdigit()]
        globals()[name] = from_instance(model, names)
    wide, census = models.values()
    with connection.schema_editor() as editor:
        editor.create_model(wide)
        editor.create_model(census)
    for model, shape in ((wide, (20, 0)), (census, (6, 8))):
        table = scenes.table(n_rows, *shape)
        columns = {name: values.tolist() for name, values in table.items() if name != "y"}
        made = (
            model(**dict(zip(columns, row, strict=True)))
            for row in zip(*columns.values(), strict=True)
        )
        model._default_manager.bulk_create(made, batch_size=500)
    return {"logistic": wide, "trees": wide, "census": census}


def _model(name: str, n_numbers: int, n_texts: int) -> Any:
    from django.db import models

    from mlembed_django import PredictionField

    fields: dict[str, Any] = {f"x{i:02d}": models.FloatField() for i in range(n_numbers)}
    fields |= {f"c{i}": models.CharField(max_length=16) for i in range(n_texts)}
    if n_texts:
        fields["kept"] = PredictionField("census")
    meta = type("Meta", (), {"app_label": "benchmarks"})
    return type(name, (models.Model,), {**fields, "Meta": meta, "__module__": __name__})


def _in_turns(name: str, rows: Any, rounds: int) -> list[float]:
    from mlembed_django.conf import get_model

    model = get_model(name)

    def with_it() -> Iterable[Any]:
        return model.predict_queryset(rows.objects.all())

    def without() -> Iterable[Any]:
        alone: Iterable[Any] = rows.objects.all().iterator(chunk_size=2_000)
        return alone

    def looked_at() -> Iterable[Any]:
        return (row.instance for row in with_it())

    kinds: tuple[Callable[[], Iterable[Any]], ...] = (with_it, looked_at, without)
    times: list[list[float]] = [[] for _ in kinds]
    for turn in range(rounds + 1):
        for kind, kept in zip(kinds, times, strict=True):
            seconds = _seconds(kind())
            if turn:  # the first one loads the model and fills the caches
                kept.append(seconds)
    return [statistics.median(each) for each in times]


def _seconds(rows: Iterable[Any]) -> float:
    start = time.perf_counter()
    for _ in rows:
        pass
    return time.perf_counter() - start


def _written(rows: Any) -> float:
    """Return the seconds that it takes to score all rows and write the scores onto them."""
    from mlembed_django import score_queryset

    start = time.perf_counter()
    done = score_queryset(rows.objects.all(), "kept")
    seconds = time.perf_counter() - start
    if done.written != rows.objects.count():
        raise RuntimeError("rows have no score")
    return seconds


def _memory(rows: Any, n_rows: int) -> dict[str, float]:
    """Return how much higher the peak of memory is in the second half of the rows."""
    from mlembed_django.conf import get_model

    half = 0.0
    _forget_peak()
    for number, _ in enumerate(get_model("trees").predict_queryset(rows.objects.all())):
        if number == n_rows // 2:
            half = _peak_mb()
            _forget_peak()
    peak = _peak_mb()
    return {"mb": max(0.0, peak - half), "peak_mb": peak}


def _forget_peak() -> None:
    """Let the peak be what is used now: the training before took more than any row will."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> float:
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(status.split("VmHWM:")[1].split()[0]) / 1024
