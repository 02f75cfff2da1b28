"""Sum a model up: may it be published, how good is it, and what it was held against."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mlembed.training.report import naming, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mlembed.bundle.manifest import Manifest


class Verdict(NamedTuple):
    """Whether a model may serve: `state` picks the colour, `badge` and `text` say it."""

    state: str
    badge: str
    text: str


class Fact(NamedTuple):
    """A key number: what it is, its value, and what stands below it."""

    term: str
    value: str
    note: str


class GateRow(NamedTuple):
    """A gate: its name, what was asked, what was found, and whether that is enough."""

    name: str
    asked: str
    found: str
    passed: bool


def verdict(manifest: Manifest, evaluation: Mapping[str, Any]) -> Verdict:
    """Say whether every gate was passed, and else which were not."""
    gates = gate_rows(evaluation)
    failed = [gate for gate in gates if not gate.passed]
    if failed:
        said = "; ".join(f"{gate.name}: {gate.asked} asked, {gate.found} found" for gate in failed)
        return Verdict(
            "alert", "✗ not published", f"{len(failed)} of {len(gates)} gates failed. {said}."
        )
    if gates:
        said = f"All {len(gates)} gates passed." if len(gates) > 1 else "The one gate was passed."
        return Verdict("ok", "✓ published", said)
    if evaluation.get("n"):
        return Verdict("insufficient", "published", "No gates were declared: read the numbers.")
    return Verdict(
        "insufficient", "packed", f"{manifest.title} was not trained here, nor measured."
    )


def gate_rows(evaluation: Mapping[str, Any]) -> list[GateRow]:
    """Return the gates, failed ones first."""
    rows = [
        GateRow(str(item["gate"]), str(item["asked"]), str(item["found"]), bool(item["passed"]))
        for item in evaluation.get("gates", ())
    ]
    return sorted(rows, key=lambda gate: gate.passed)


def facts(manifest: Manifest, evaluation: Mapping[str, Any]) -> list[Fact]:
    """Return the key numbers: the metric, the same of simpler models, and the rows."""
    return [
        *_headline(manifest, evaluation),
        *_rivals(evaluation),
        *_to_beat(evaluation),
        *_coverage(evaluation),
        *_rows(evaluation),
        *_serving(evaluation),
    ]


def metrics(manifest: Manifest, evaluation: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return name, value, interval and direction of every metric, the trainer's own first."""
    values = evaluation.get("metrics") or manifest.metrics
    intervals = evaluation.get("intervals", {})
    first = evaluation.get("metric", manifest.training.get("metric", ""))
    return [
        (
            naming.metric(name),
            numbers.number(values[name]),
            numbers.interval(*intervals.get(name, (None, None))) or numbers.NONE,
            naming.direction(name).split(" ")[0],
        )
        for name in sorted(values, key=lambda name: name != first)
    ]


def _headline(manifest: Manifest, evaluation: Mapping[str, Any]) -> Iterator[Fact]:
    values = evaluation.get("metrics") or manifest.metrics
    name = evaluation.get("metric", manifest.training.get("metric", ""))
    if name not in values:
        name = next(iter(values), "")
    if not name:
        return
    ends = numbers.interval(*evaluation.get("intervals", {}).get(name, (None, None)))
    note = f"95% interval {ends}" if ends else naming.direction(name)
    yield Fact(
        f"{numbers.capital(naming.metric(name))}, test rows", numbers.number(values[name]), note
    )


def _rivals(evaluation: Mapping[str, Any]) -> Iterator[Fact]:
    contest = evaluation.get("contest", {})
    candidates = contest.get("candidates", {})
    roles = (("chosen", "This model"), ("linear", "Linear model"), ("baseline", "Baseline"))
    for role, words in roles:
        name = contest.get(role)
        if candidates.get(name) is not None:
            yield Fact(f"{words}, validation", numbers.number(candidates[name]), str(name))


def _to_beat(evaluation: Mapping[str, Any]) -> Iterator[Fact]:
    found = evaluation.get("baseline", {})
    if found.get("value") is not None:
        yield Fact("To beat, test rows", numbers.number(found["value"]), str(found["column"]))


def _serving(evaluation: Mapping[str, Any]) -> Iterator[Fact]:
    found = evaluation.get("serving")
    if found:
        size = numbers.number(found["size_bytes"] / 1000)
        yield Fact(
            "One row takes",
            f"{numbers.number(found['latency_seconds'] * 1e6)} µs",
            f"in the graph, where it was trained; {size} kB",
        )


def _coverage(evaluation: Mapping[str, Any]) -> Iterator[Fact]:
    found = evaluation.get("interval")
    if found:
        yield Fact(
            f"Interval of {numbers.percent(found['level'])}",
            numbers.percent(found["coverage"]),
            f"held; score -{numbers.number(found['below'])} to +{numbers.number(found['above'])}",
        )


def _rows(evaluation: Mapping[str, Any]) -> Iterator[Fact]:
    if evaluation.get("n"):
        positives = evaluation.get("positives")
        note = (
            "held out of the training"
            if positives is None
            else f"{numbers.count(positives)} positive ({numbers.percent(positives / evaluation['n'])})"
        )
        yield Fact("Rows measured on", numbers.count(evaluation["n"]), note)
