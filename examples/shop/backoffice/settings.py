"""Settings of the back office; what differs between machines comes from the environment.

BACKOFFICE_VAR          all that the site writes                    var beside this site
DATABASE_URL            postgres://user:password@host/name          SQLite in BACKOFFICE_VAR
MLEMBED_REGISTRY        where the models are                        BACKOFFICE_VAR/registry
MLEMBED_POLL_SECONDS    pause between looks for a new version
SALES_DESK_URL          who hears, too, of customers about to leave; nobody while it is empty
SALES_DESK_SECRET       its secret, `whsec_` and base64
RISK_TOKEN              what other systems show to ask for the risk of a customer
DJANGO_SECRET_KEY, DJANGO_DEBUG, DJANGO_ALLOWED_HOSTS
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import django

from backoffice.machine import database, secret_key

BASE_DIR = Path(__file__).resolve().parents[1]
VAR_DIR = Path(os.environ.get("BACKOFFICE_VAR", BASE_DIR / "var")).resolve()
VAR_DIR.mkdir(parents=True, exist_ok=True)

SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or secret_key(VAR_DIR / "secret-key")
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost 127.0.0.1 [::1]").split()

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.humanize",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "mlembed_django",
    "backoffice",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "mlembed_django.middleware.PredictionMiddleware",
]
if django.VERSION >= (6, 0):
    MIDDLEWARE.insert(1, "django.middleware.csp.ContentSecurityPolicyMiddleware")
    SECURE_CSP = {"default-src": ["'self'"], "frame-ancestors": ["'none'"]}
X_FRAME_OPTIONS = "DENY"

ROOT_URLCONF = "backoffice.urls"
WSGI_APPLICATION = "backoffice.wsgi.application"
ASGI_APPLICATION = "backoffice.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
STATIC_URL = "static/"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "dashboard"
LOGOUT_REDIRECT_URL = "login"
LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {"default": database(os.environ.get("DATABASE_URL", ""), VAR_DIR / "shop.sqlite3")}

SALES_DESK_URL = os.environ.get("SALES_DESK_URL", "")
RISK_TOKEN = os.environ.get("RISK_TOKEN", "")

MLEMBED: dict[str, Any] = {
    "REGISTRY": os.environ.get("MLEMBED_REGISTRY", VAR_DIR / "registry"),
    "LOG_DIR": VAR_DIR / "predictions",
    "MODELS": {
        "churn": {
            "REF": "churn@champion",
            "RECORD": "backoffice.ml.customer",
            "LOAD": "worker_start",
            # Without a model nobody is called and the shop goes on selling.
            "FALLBACK": 0.0,
            # In a small town the two would tell who a customer is.
            "COLUMNS": {"town": "drop", "spent_365d": "bucket"},
            "PERMISSION": "backoffice.view_customer",
        }
    },
    "DATABASE": {"PREDICTIONS": "background", "SAMPLE": 1.0, "KEEP_DAYS": 90},
    "ACTIONS": "backoffice.actions.RULES",
    "OUTBOX": {"LEASE_SECONDS": 60, "ATTEMPTS": 24, "KEEP_DAYS": 30},
    "DESTINATIONS": {"call-list": {"ADAPTER": "backoffice.actions.CallList"}},
    "HTTP": {"RATE": "100/s", "MAX_BYTES": 262_144, "MAX_RECORDS": 500},
    "SERVER_TIMING": True,
}
if SALES_DESK_URL:
    MLEMBED["DESTINATIONS"]["sales-desk"] = {
        "ADAPTER": "mlembed_crm.destinations.webhook.Webhook",
        "URL": SALES_DESK_URL,
        "SECRET": "env:SALES_DESK_SECRET",
        "ALLOW_PRIVATE": os.environ.get("SALES_DESK_PRIVATE") == "1",
    }

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{levelname} {name}: {message}", "style": "{"}},
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "plain"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django.server": {"level": "ERROR"},
        "django.request": {"level": "ERROR"},
        # Anybody can cause it.
        "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False},
    },
}
