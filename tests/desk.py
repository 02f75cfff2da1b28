"""An admin with plausible data: three models, two hosts, sixty days of reports, deliveries."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import uuid
from typing import TYPE_CHECKING, Any

import django
import numpy as np
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.test import override_settings
from django.urls import path

from mlembed.monitoring import statistics
from mlembed.monitoring.drift import Drift
from mlembed.monitoring.monitor import Alert, Report
from mlembed.monitoring.performance import Performance
from mlembed.monitoring.policy import Policy
from mlembed.monitoring.traffic import QUANTILES, Bucket, Traffic
from mlembed_django import models
from mlembed_django.judging import keep
from training.report.browser import Browser

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django.http import HttpRequest, HttpResponse

    from mlembed_django.declaration import Declared

urlpatterns = [path("admin/", admin.site.urls)]

NOW = dt.datetime(2026, 11, 20, 9, 30, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
PASSWORD = "correct horse"  # noqa: S105  of the tests' own users
_POLICY = "default-src 'self'"
_MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "mlembed_django.middleware.PredictionMiddleware",
]


def content_security_policy(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    """Let pages load and run what comes from this site alone, as Django 6 does it."""

    def answer(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response["Content-Security-Policy"] = _POLICY
        return response

    return answer


def setting(**changes: Any) -> dict[str, Any]:
    """Return an MLEMBED of three models, one of them behind a permission of its own."""
    return {
        "REGISTRY": "/nowhere/models",
        "MODELS": {
            "churn": {"REF": "churn@champion", "FALLBACK": 0.25},
            "payments": "payments-fraud@champion",
            "salaries": {"REF": "salaries@champion", "PERMISSION": "auth.view_group"},
        },
        "DATABASE": {},
        "DESTINATIONS": {
            "desk": {
                "ADAPTER": "mlembed_crm.destinations.webhook.Webhook",
                "URL": "https://x.example",
            }
        },
        **changes,
    }


@contextlib.contextmanager
def desk(**changes: Any) -> Iterator[None]:
    """Serve the admin, as a site does."""
    if django.VERSION >= (6, 0):
        policy = "django.middleware.csp.ContentSecurityPolicyMiddleware"
    else:
        policy = "desk.content_security_policy"
    with override_settings(
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=[policy, *_MIDDLEWARE],
        SECURE_CSP={"default-src": ["'self'"]},
        ROOT_URLCONF="desk",
        MLEMBED=changes.pop("MLEMBED", setting()),
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        **changes,
    ):
        yield


def staff(name: str, *permissions: str) -> User:
    """Make a user of the admin who has *permissions*, each `app.codename`."""
    user = User.objects.create_user(name, password=PASSWORD, is_staff=True)
    for permission in permissions:
        app, _, codename = permission.partition(".")
        user.user_permissions.add(
            Permission.objects.get(content_type__app_label=app, codename=codename)
        )
    return user


def superuser(name: str = "root") -> User:
    """Make a user who may do everything that anybody may."""
    return User.objects.create_superuser(name, password=PASSWORD)


def prediction(model: str = "churn", **changes: Any) -> models.Prediction:
    """Keep one prediction."""
    return models.Prediction.objects.create(
        **{
            "uuid": uuid.uuid4(),
            "model": model,
            "version": "1.2.0",
            "key": "customer-42",
            "score": 0.8312,
            "label": "True",
            "reason": "ok",
            "latency": 42.5,
            "created": NOW,
            **changes,
        }
    )


def delivery(state: str = "dead", model: str = "churn", **changes: Any) -> models.Delivery:
    """Queue one action."""
    seconds = NOW.timestamp()
    return models.Delivery.objects.create(
        **{
            "uuid": uuid.uuid4(),
            "rule": "call at-risk customers",
            "model": model,
            "version": "1.2.0",
            "prediction": str(uuid.uuid4()),
            "key": "customer-42",
            "score": 0.8312,
            "destination": "desk",
            "payload": json.dumps({"priority": "high", "name": "Zoë"}),
            "created": seconds,
            "queued": seconds,
            "settled": 0.0 if state == "pending" else seconds + 60,
            "state": state,
            "attempts": 3,
            "last_error": "status 503" if state == "dead" else "",
            **changes,
        }
    )


def report(
    declared: Declared, created: dt.datetime = NOW, drifted: float = 0.0, **changes: Any
) -> models.Report:
    """Keep a report of *declared* whose columns and metric have *drifted*, from 0 to 1."""
    return keep(declared, judged(declared.ref.name, created, drifted, **changes), "default")


def judged(name: str, created: dt.datetime, drifted: float, **changes: Any) -> Report:
    """Return a report as `mlembed.monitoring` makes it."""
    random = np.random.default_rng(int(created.timestamp()))
    value = 0.84 - 0.1 * drifted + random.normal(0, 0.006)
    found = [
        _drift(
            "(score)", [f"{i / 10:g} to {(i + 1) / 10:g}" for i in range(10)], 0.6 * drifted, random
        ),
        _drift("orders_90_days", ["less than 1", "1 to 3", "3 to 6", "6 or more"], 0.1, random),
        _drift(
            "days_since_last_order",
            ["less than 7", "7 to 30", "30 to 90", "90 or more"],
            drifted,
            random,
        ),
        _drift("town", ["berlin", "lyon", "oslo", "porto", "(others)"], 0.05, random),
        _drift("newsletter", ["no", "yes"], 0.02, random, missing=0.04),
    ]
    alerts = []
    if drifted > 0.5:
        alerts = [
            Alert(
                "days_since_last_order",
                "column 'days_since_last_order' moved: PSI 0.412, JS 0.305; large shift, most in "
                "'30 to 90': 25.0% before, 47.1% now",
                "check what fills 'days_since_last_order' (unit, source, a new default). If the change "
                f"is real, train on it: mlembed retrain {name}",
            )
        ]
    begin = created - 7 * DAY
    buckets = tuple(
        Bucket(
            (begin + i * dt.timedelta(hours=6)).isoformat(),
            int(320 + 260 * np.sin(i * np.pi / 2) + random.integers(0, 60)),
            int(random.integers(0, 12)) if i % 5 == 0 else 0,
        )
        for i in range(28)
    )
    failed = sum(each.failed for each in buckets)
    answered = sum(each.answered for each in buckets)
    times = (np.array([21, 27, 34, 41, 88, 190]) * random.uniform(0.9, 1.2)) * 1e-6
    return Report(
        **{
            "model": name,
            "version": "1.2.0",
            "digest": "5f" * 32,
            "created": created.isoformat(timespec="seconds"),
            "n_rows": answered,
            "n_reference": 4_000,
            "traffic": Traffic(
                calls=answered + failed,
                reasons={"ok": answered, "fallback": failed},
                errors={"SchemaError": failed},
                versions={"1.2.0": answered},
                latency_median=float(times[2]),
                latency_p99=float(times[5]),
                first=buckets[0].start,
                last=buckets[-1].start,
                bucket_seconds=21_600,
                buckets=buckets,
                latency_quantiles=dict(zip(QUANTILES, times.tolist(), strict=True)),
            ),
            "drifts": tuple(found),
            "performance": Performance(
                metric="roc_auc",
                state="ok",
                promised=0.8421,
                value=float(value),
                low=float(value - 0.02),
                high=float(value + 0.02),
                n=812,
                unusable=0,
                delay_median_seconds=86_400.0 * 6,
                note="within 0.05 of the promise",
            ),
            "matched": 812,
            "unmatched": 3,
            "superseded": 1,
            "torn": 0,
            "unreadable": 0,
            "alerts": tuple(alerts),
            "policy": Policy(),
            **changes,
        }
    )


def _drift(name: str, labels: list[str], moved: float, random: Any, missing: float = 0.0) -> Drift:
    reference = np.full(len(labels), 1 / len(labels))
    tilt = np.exp(moved * np.linspace(-1.2, 1.2, len(labels)) + random.normal(0, 0.04, len(labels)))
    observed = reference * tilt / (reference * tilt).sum()
    psi = statistics.psi(reference * 4_000, observed * 9_000)
    return Drift(
        name=name,
        kind="number",
        state="alert" if moved > 0.5 else "ok",
        note=f"large shift, most in '{labels[-1]}'" if moved > 0.5 else "",
        n=9_000.0,
        psi=float(psi),
        noise=0.002,
        js=0.1,
        p=0.0001 if moved > 0.5 else 0.4,
        q=0.0004 if moved > 0.5 else 0.6,
        missing=missing,
        missing_reference=missing / 2,
        missing_p=None,
        missing_q=None,
        unseen=0.0,
        labels=tuple(labels),
        reference=tuple(reference.tolist()),
        observed=tuple(observed.tolist()),
    )


def fill() -> dict[str, Any]:
    """Fill the tables as two months of service do; return rows that tests look for."""
    from mlembed_django.conf import site

    declared = site().declaration.models
    random = np.random.default_rng(1)
    for name, (old, new) in {"churn": ("1.1.0", "1.2.0"), "payments": ("4.0.0", "4.0.1")}.items():
        versions = [
            models.ModelVersion.objects.create(
                model=name,
                version=version,
                bundle=(f"{i}a" if name == "churn" else f"{i}b") * 32,
                task="binary",
                metric="roc_auc",
                promised=0.8421,
                first_seen=NOW - days * DAY,
            )
            for i, (version, days) in enumerate(((old, 58), (new, 12)))
        ]
        for i, host in enumerate(("web-1.example", "web-2.example")):
            late = name == "payments" and i == 1
            models.Service.objects.create(
                model=name,
                host=host,
                serving=versions[0 if late else 1],
                state="STALE" if late else "READY",
                error="RegistryError: cannot reach https://models.example: timed out"
                if late
                else "",
                since=NOW - (58 if late else 12) * DAY,
                seen=dt.datetime.now(dt.UTC) - dt.timedelta(seconds=40 if i == 0 else 90_000),
            )
    for day in range(60):
        drifted = max(0.0, (day - 35) / 24)
        report(declared["churn"], NOW - (59 - day) * DAY, drifted)
        if day % 7 == 0:
            report(declared["payments"], NOW - (59 - day) * DAY, 0.1)
    rows = []
    for i in range(240):
        fell = i % 40 == 7
        rows.append(
            models.Prediction(
                uuid=uuid.UUID(int=(i << 80) + int(random.integers(1 << 60)), version=4),
                model=("churn", "payments", "salaries")[i % 3],
                version="" if fell else "1.2.0",
                key=f"customer-{i % 60}",
                score=0.25 if fell else float(random.beta(2, 4)),
                label="" if fell else str(i % 4 == 0),
                reason="fallback" if fell else "abstain" if i % 23 == 0 else "ok",
                error="SchemaError: 'age' is missing" if fell else "",
                latency=float(random.gamma(9, 4)),
                created=NOW - i * dt.timedelta(minutes=37),
                request=uuid.UUID(int=i + 1).hex,
                user="9f" * 32,
            )
        )
    models.Prediction.objects.bulk_create(rows)
    found = models.Prediction.objects.get(uuid=rows[3].uuid)
    models.Outcome.objects.create(
        uuid=found.uuid, model=found.model, value=True, observed=NOW, created=NOW + DAY
    )
    dead = None
    for i, state in enumerate(("sent", "sent", "pending", "dead", "discarded", "sent", "dead")):
        made = delivery(
            state,
            key=f"customer-{i}",
            prediction=str(found.uuid if i == 3 else rows[i * 3].uuid),
            queued=NOW.timestamp() - 3_600 * i,
        )
        for attempt in range(1 if state == "sent" else 3 if state == "dead" else 0):
            last = attempt == 2
            models.Attempt.objects.create(
                delivery=made,
                started=NOW.timestamp() - 3_000 + 600 * attempt,
                seconds=0.214,
                result="sent" if state == "sent" else "dead" if last else "failed",
                status=200 if state == "sent" else 503,
                detail=""
                if state == "sent"
                else "status 503, after 3 attempts"
                if last
                else "status 503",
            )
        if i == 3:
            dead = made
    return {"prediction": found, "dead": dead}


class Tab(Browser):
    """A browser that is logged in and goes where it is sent."""

    def visit(self, url: str, width: int = 1280, *, dark: bool = False) -> None:
        """Load *url* into a window of *width* pixels."""
        self.requests.clear()
        self.complaints.clear()
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=900,
            deviceScaleFactor=1,
            mobile=False,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._loaded = False
        self.call("Page.navigate", url=url)
        self.wait()

    def wait(self) -> None:
        """Wait until the page is there."""
        while not self._loaded:
            self._hear()

    def press(self, selector: str) -> None:
        """Click what *selector* finds, and wait for the page that it leads to."""
        self._loaded = False
        self.evaluate(f"document.querySelector({json.dumps(selector)}).click()")
        self.wait()

    def write(self, selector: str, text: str) -> None:
        """Put *text* into the field that *selector* finds."""
        found = json.dumps(selector)
        self.evaluate(f"document.querySelector({found}).value = {json.dumps(text)}")

    def log_in(self, url: str, name: str) -> None:
        """Log in at the site *url* as *name*."""
        self.visit(f"{url}/admin/login/?next=/admin/")
        self.write("#id_username", name)
        self.write("#id_password", PASSWORD)
        self.press("#login-form [type=submit]")

    @property
    def text(self) -> str:
        """All that is to be read on the page."""
        return str(self.evaluate("document.body.innerText"))
