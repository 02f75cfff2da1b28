"""Write what people or programs read: tables, JSON, progress and errors."""

from __future__ import annotations

import json
import re
import sys
import time
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from mlembed.cli.interruption import require_uninterrupted

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mlembed.training.progress import Progress as StepProgress

_WIDTH = 120
_QUIET_SECONDS = 10.0
# Escapes and returns, and what turns the direction of writing; lines and tabs may be.
_STEERING = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def console(*, stderr: bool = False) -> Console:
    """Return a console on standard output or error; as wide as a page where it is no terminal."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(
        stderr=stderr,
        width=None if stream.isatty() else _WIDTH,
        highlight=False,
        soft_wrap=not stream.isatty(),
    )


def say(text: str) -> None:
    """Print *text* as it is."""
    console().print(printable(text), markup=False)


def printable(text: str) -> str:
    """Return *text* with what would steer the terminal written out, as a bundle's may be hostile."""
    return _STEERING.sub(lambda found: ascii(found[0])[1:-1], text)


def warn(text: str) -> None:
    """Print *text* on standard error."""
    console(stderr=True).print(printable(text), markup=False, style="yellow")


def show_json(value: Any) -> None:
    """Print *value* as one JSON document."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def show_table(head: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """Print *rows* under *head*; numbers right, text left."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False)
    table.show_header = any(head)
    lines = [list(row) for row in rows]
    for position, name in enumerate(head):
        numeric = all(isinstance(line[position], (int, float)) for line in lines)
        table.add_column(
            name, justify="right" if lines and numeric else "left", overflow="fold", style=None
        )
    for line in lines:
        table.add_row(*(Text(printable(_text(cell))) for cell in line))
    console().print(table)


def progress() -> StepProgress:
    """Return what tells of a long run: a bar on a terminal, plain lines elsewhere."""
    return _Bar() if sys.stderr.isatty() else _Lines()


class _Lines:
    """One line a finished step, for logs, and one now and then in a long one."""

    def __init__(self) -> None:
        self._step = ""
        self._start = self._told = time.monotonic()

    def begin(self, step: str, number: int, total: int) -> None:
        require_uninterrupted()
        self._step, self._start = f"[{number}/{total}] {step}", time.monotonic()
        self._told = self._start

    def advance(self, done: int, total: int, detail: str) -> None:
        if time.monotonic() - self._told < _QUIET_SECONDS:
            return
        self._told = time.monotonic()
        sys.stderr.write(f"{self._step}: {done}/{total} {detail}\n")
        sys.stderr.flush()

    def end(self, detail: str) -> None:
        seconds = time.monotonic() - self._start
        sys.stderr.write(f"{self._step}: {detail or 'done'} ({seconds:.1f} s)\n")
        sys.stderr.flush()


class _Bar:
    """A bar that moves by steps; finished steps stay above it."""

    def __init__(self) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task("", total=1)
        self._part: TaskID | None = None
        self._step = ""
        self._start = time.monotonic()

    def begin(self, step: str, number: int, total: int) -> None:
        require_uninterrupted()
        self._step, self._start = step, time.monotonic()
        self._progress.update(self._task, description=step, total=total, completed=number - 1)
        self._progress.start()

    def advance(self, done: int, total: int, detail: str) -> None:
        if self._part is None:
            self._part = self._progress.add_task("", total=total)
        self._progress.update(
            self._part, description=f"  {printable(detail)}", completed=done, total=total
        )

    def end(self, detail: str) -> None:
        seconds = time.monotonic() - self._start
        line = f"  {self._step}: {detail or 'done'} ({seconds:.1f} s)"
        self._progress.console.print(line, markup=False)
        self._progress.advance(self._task)
        if self._part is not None:
            self._progress.remove_task(self._part)
            self._part = None
        self._progress.stop()


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.4g}"
    return f"{cell:,}" if isinstance(cell, int) and not isinstance(cell, bool) else str(cell)
