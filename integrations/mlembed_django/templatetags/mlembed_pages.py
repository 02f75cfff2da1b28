"""The pages of the models, for the index of the app in the admin."""

from __future__ import annotations

from typing import Any

from django import template

register = template.Library()


@register.simple_tag(takes_context=True)
def mlembed_pages(context: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return name, reference and address of each declared model that the user may see."""
    from mlembed_django.admin.permitted import declared_models, sight_of
    from mlembed_django.admin.shown import page_address
    from mlembed_django.models import NAME_LENGTH
    from mlembed_django.rows import fitted

    request = context["request"]
    if not request.user.has_perm("mlembed.view_service"):
        return []
    sight, site = sight_of(request.user), request.current_app
    return [
        (name, str(model.ref), address)
        for name, model in declared_models().items()
        if sight.shows(fitted(name, NAME_LENGTH)) and (address := page_address(site, name))
    ]
