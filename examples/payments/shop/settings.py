"""Settings of the payments site; what differs between machines comes from the environment.

MLEMBED_REGISTRY        where the models are            .registry beside this site
MLEMBED_LOG_DIR         where predictions are logged    var/predictions
MLEMBED_POLL_SECONDS    pause between looks for a new version
PAYMENTS_DATABASE       the site's SQLite file, outbox included
PAYMENTS_WEBHOOK_URL    the risk desk; actions wait while it is empty
MLEMBED_WEBHOOK_SECRET  its secret, `whsec_` and base64
DJANGO_SECRET_KEY, DJANGO_DEBUG, DJANGO_ALLOWED_HOSTS
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parents[1]
VAR_DIR = BASE_DIR / "var"

# The site signs nothing and has no sessions, so a new key in each process does no harm.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or get_random_secret_key()
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost 127.0.0.1").split()

INSTALLED_APPS = ["mlembed_django", "shop.apps.ShopConfig"]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "mlembed_django.middleware.PredictionMiddleware",
]
ROOT_URLCONF = "shop.urls"
WSGI_APPLICATION = "shop.wsgi.application"
ASGI_APPLICATION = "shop.asgi.application"
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}]
TIME_ZONE = "UTC"
USE_TZ = True

DATABASE = Path(os.environ.get("PAYMENTS_DATABASE", VAR_DIR / "payments.sqlite3"))
DATABASE.parent.mkdir(parents=True, exist_ok=True)
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": DATABASE,
        "CONN_MAX_AGE": 600,
        "OPTIONS": {
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL",
            "timeout": 20,
        },
    }
}

MLEMBED = {
    "REGISTRY": os.environ.get("MLEMBED_REGISTRY", BASE_DIR / ".registry"),
    "LOG_DIR": os.environ.get("MLEMBED_LOG_DIR", VAR_DIR / "predictions"),
    # Without a model the shop goes on selling, as it did before it had one.
    "MODELS": {"payments": {"REF": "payments@champion", "FALLBACK": 0.0}},
}

PAYMENTS_WEBHOOK_URL = os.environ.get("PAYMENTS_WEBHOOK_URL", "")
PAYMENTS_WEBHOOK_SECRET = os.environ.get("MLEMBED_WEBHOOK_SECRET", "")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "loggers": {"django.server": {"level": "ERROR"}, "django.request": {"level": "ERROR"}},
}
