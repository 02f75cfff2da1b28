"""The site for ASGI servers: `uvicorn backoffice.asgi:application`."""

from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")
application = ASGIStaticFilesHandler(get_asgi_application())
