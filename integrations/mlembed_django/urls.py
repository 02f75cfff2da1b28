"""Endpoints of the declared models, for a site's own clients.

    urlpatterns = [path("ml/", include("mlembed_django.urls"))]

`POST ml/models/churn/predict`, `POST ml/models/churn/outcome`, `GET ml/health/ready`,
`GET ml/openapi.json`, and the Open Inference Protocol at `ml/v2`. Who may ask is the site's to say:
see `admission`.
"""

from __future__ import annotations

from django.urls import re_path

from mlembed_django.views import answer

app_name = "mlembed"
urlpatterns = [re_path(r"^(?P<path>.*)$", answer, name="endpoints")]
