"""The site for WSGI servers: `gunicorn -w 2 backoffice.wsgi`."""

from __future__ import annotations

import os

from django.contrib.staticfiles.handlers import StaticFilesHandler
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "backoffice.settings")
# A site on the internet leaves its static files to the web server in front of it.
application = StaticFilesHandler(get_wsgi_application())
