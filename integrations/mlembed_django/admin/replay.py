"""Show what a replay would send, before it is."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.template.response import TemplateResponse

from mlembed_django.admin import shown

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from mlembed_django.models import Delivery

MOST_SHOWN = 100


def confirmation(admin: Any, request: HttpRequest, rows: QuerySet[Delivery]) -> HttpResponse:
    """Show the events of *rows*, and ask; nothing is sent or changed."""
    chosen = list(rows[: MOST_SHOWN + 1])
    events = [(row, shown.badge(row.state), shown.pretty(event_text(row))) for row in chosen]
    context = {
        **admin.admin_site.each_context(request),
        "title": "Replay",
        "opts": admin.opts,
        "events": events[:MOST_SHOWN],
        "more": len(chosen) > MOST_SHOWN,
        "most": MOST_SHOWN,
        "checkbox": ACTION_CHECKBOX_NAME,
        "media": admin.media,
    }
    return TemplateResponse(request, "admin/mlembed/replay.html", context)


def event_text(row: Delivery) -> str:
    """Return the CloudEvent of *row*; what is wrong with it where its payload cannot be read."""
    from mlembed_django.actionrows import action_of

    try:
        return action_of(row).event().decode()
    except (ValueError, OverflowError, RecursionError, OSError) as error:
        return json.dumps({"unreadable": type(error).__name__})
