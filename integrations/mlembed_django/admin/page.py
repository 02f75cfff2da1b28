"""The page of one model: where it serves, how it does, and what needs a look."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from django.http import Http404
from django.template.response import TemplateResponse

from mlembed_django.admin import drawn, shown
from mlembed_django.admin.documents import found
from mlembed_django.admin.guarded import guarded
from mlembed_django.admin.permitted import (
    complaint,
    declaration,
    declared_models,
    log_database,
    may,
    sight_of,
)
from mlembed_django.admin.tables import Table
from mlembed_django.models import NAME_LENGTH, ModelVersion, Report, Service
from mlembed_django.rows import fitted

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from mlembed_django.admin.documents import Found
    from mlembed_django.declaration import Declared

_MOST_HOSTS = 100
_MOST_VERSIONS = 30
_MOST_REPORTS = 200


@guarded
def page(admin: Any, request: HttpRequest) -> HttpResponse:
    """Show the page of the model that the address names.

    Raises:
        Http404: If there is no such model, or the user may not see it.
    """
    name = request.GET.get("model", "")
    declared = _declared(name)
    allowed = _may(request)
    if not allowed["service"] or not sight_of(request.user).shows(fitted(name, NAME_LENGTH)):
        raise Http404("no such model")
    services = list(_rows(Service, name).select_related("serving")[:_MOST_HOSTS])
    versions = list(_rows(ModelVersion, name)[:_MOST_VERSIONS])
    if declared is None and not services and not versions and not _rows(Report, name).exists():
        raise Http404("no such model")
    context = {
        **admin.admin_site.each_context(request),
        "title": name,
        "opts": admin.opts,
        "complaint": complaint(),
        "model": name,
        "quoted": shlex.quote(name),
        "declared": _described(declared),
        "facts": _facts(services),
        "hosts": _hosts(services),
        "unlogged": _unlogged(),
        "versions": _versions(versions) if allowed["modelversion"] else None,
        "may": allowed,
        "links": _links(request, admin.admin_site.name, name, declared),
        **(_judged(name) if allowed["report"] else {}),
    }
    return TemplateResponse(request, "admin/mlembed/page.html", context)


def told(report: Report, what: Found) -> dict[str, Any]:
    """Return what a template needs to show one report."""
    return {
        "report": report,
        "found": what,
        "report_badge": shown.badge(report.state),
        "report_created": shown.moment(report.created),
        "score": None if what.score is None else drawn.column(what.score),
        "columns": [drawn.column(each) for each in what.columns],
        "calls": drawn.calls(what),
        "figures": _figures(report, what),
        "latencies": [(name, shown.latency(value)) for name, value in what.latencies],
    }


def _judged(name: str) -> dict[str, Any]:
    """Return the newest report, and what all of them say over time."""
    reports = _rows(Report, name)
    newest = reports.first()
    if newest is None:
        return {}
    history = list(reports.defer("document")[:_MOST_REPORTS])[::-1]
    same = [each for each in history if each.metric == newest.metric]
    median, high = (f"document__traffic__latency_{part}" for part in ("median", "p99"))
    times = list(reports.values_list("created", median, high)[:_MOST_REPORTS])[::-1]
    return {
        **told(newest, found(newest.document)),
        "metric": drawn.metric(same),
        "latency": drawn.latency(times),
    }


def _figures(report: Report, what: Found) -> list[tuple[str, str, str]]:
    """Return name, value and remark of the numbers at the top."""
    failed = sum(n for reason, n in what.reasons if reason in ("fallback", "error"))
    quantiles = dict(what.latencies)
    middle, high = quantiles.get("median"), quantiles.get("99%")
    share = shown.percent(failed / what.calls) if what.calls else shown.NONE
    return [
        (
            "Predictions judged",
            shown.count(report.rows),
            f"{shown.count(report.matched)} with an outcome",
        ),
        ("Alerts", str(len(what.alerts)), shown.said(report.state)),
        (
            f"Realised {report.metric or 'metric'}",
            shown.number(report.value),
            f"promised {shown.number(report.promised)}",
        ),
        ("Failed calls", share, f"{shown.count(failed)} of {shown.count(what.calls)}"),
        ("Latency, median", shown.latency(middle), f"99% within {shown.latency(high)}"),
    ]


def _described(declared: Declared | None) -> list[tuple[str, str]]:
    if declared is None:
        return []
    return [
        ("reference", str(declared.ref)),
        ("fallback", "none: it raises" if declared.fallback is None else f"{declared.fallback:g}"),
        ("permission", declared.permission or "none further"),
    ]


def _facts(services: list[Service]) -> list[str]:
    """Say which versions serve, since when and where."""
    serving: dict[ModelVersion, list[Service]] = {}
    for each in services:
        if each.serving is not None:
            serving.setdefault(each.serving, []).append(each)
    return [
        f"{version.version} on {len(hosts)} host{'' if len(hosts) == 1 else 's'}, since "
        f"{shown.moment(min(each.since for each in hosts))}"
        for version, hosts in serving.items()
    ]


def _hosts(services: list[Service]) -> Table:
    from mlembed_django.admin.services import heard

    rows = [
        (
            each.host,
            shown.NONE if each.serving is None else each.serving.version,
            shown.badge(each.state),
            shown.moment(each.since),
            heard(each.seen),
            shown.shortened(each.error, 120),
        )
        for each in services
    ]
    return Table(
        "Where it serves", ("host", "version", "state", "since", "heard of", "error"), rows
    )


def _versions(versions: list[ModelVersion]) -> Table:
    rows = [
        (
            *(each.version, shown.moment(each.first_seen), each.task or shown.NONE),
            *(each.metric or shown.NONE, shown.number(each.promised), shown.code(each.bundle[:12])),
        )
        for each in versions
    ]
    head = ("version", "first seen", "task", "metric", "promised", "bundle")
    return Table("Versions", head, rows)


def _links(
    request: HttpRequest, site: str, name: str, declared: Declared | None
) -> list[tuple[str, str]]:
    allowed = _may(request)
    links = [
        (title, shown.list_address(site, table, model=name))
        for title, table in (
            *(("Predictions", "prediction"), ("Outcomes", "outcome"), ("Reports", "report")),
        )
        if allowed[table]
    ]
    if allowed["delivery"] and declared is not None:
        address = shown.list_address(site, "delivery", model=declared.ref.name)
        links.append(("Deliveries", address))
    return [(title, address) for title, address in links if address]


def _unlogged() -> bool:
    found = declaration()
    return found is not None and found.database is None


def _may(request: HttpRequest) -> dict[str, bool]:
    tables = ("service", "modelversion", "report", "prediction", "outcome", "delivery")
    return {table: may(request, f"view_{table}") for table in tables}


def _declared(name: str) -> Declared | None:
    kept = fitted(name, NAME_LENGTH)
    return next((m for n, m in declared_models().items() if fitted(n, NAME_LENGTH) == kept), None)


def _rows(model: Any, name: str) -> QuerySet[Any]:
    rows: QuerySet[Any] = model.objects.using(log_database()).filter(
        model=fitted(name, NAME_LENGTH)
    )
    return rows
