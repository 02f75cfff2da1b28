"""How the admin writes what rows hold: times, numbers, states, ids; everything escaped."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from django.urls import NoReverseMatch, reverse
from django.utils import formats, timezone
from django.utils.html import format_html
from django.utils.http import urlencode

from mlembed_django.times import date_of_seconds

if TYPE_CHECKING:
    import datetime as dt

    from django.utils.safestring import SafeString

NONE = "-"

# What states mean: good, to be looked at, undecided, or over.
_LOOKS = {
    **dict.fromkeys(("READY", "ok", "sent"), "good"),
    **dict.fromkeys(("ERROR", "NOT_READY", "alert", "dead", "fallback", "error"), "bad"),
    **dict.fromkeys(("STALE", "insufficient", "pending", "abstain", "failed", "silent"), "waiting"),
}
_WORDS = {
    "READY": "ready",
    "ERROR": "error",
    "NOT_READY": "not ready",
    "STALE": "stale",
    "insufficient": "too little to judge",
    "pending": "waiting",
    "dead": "given up",
    "held": "held back",
    "remembered": "remembered only",
    "failed": "to be tried again",
}
_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
_SPANS = ((_DAY, "day"), (_HOUR, "hour"), (_MINUTE, "minute"), (1, "second"))
_LONG = 40


def badge(state: str, word: str = "", title: str = "") -> SafeString:
    """Return *state* as a coloured word."""
    look = _LOOKS.get(state, "over")
    word = word or said(state)
    if title:
        shape = '<span class="mlembed-state {}" title="{}">{}</span>'
        return format_html(shape, look, title, word)
    return format_html('<span class="mlembed-state {}">{}</span>', look, word)


def said(state: str) -> str:
    """Return *state* in words."""
    return _WORDS.get(state, state) or NONE


def moment(value: dt.datetime | None, form: str = "DATETIME_FORMAT") -> str:
    """Return a date of the database in the site's own form and zone."""
    if value is None:
        return NONE
    if timezone.is_aware(value):
        value = timezone.localtime(value)
    return formats.date_format(value, form)


def short_moment(value: dt.datetime | None) -> SafeString:
    """Return the same in the short form, on one line."""
    return one_line(moment(value, "SHORT_DATETIME_FORMAT"))


def one_line(text: str) -> SafeString:
    """Return *text* so that it is not broken into lines."""
    return format_html('<span class="mlembed-id">{}</span>', text)


def seconds(value: float, *, short: bool = False) -> str:
    """Return the Unix time *value* as a date; a dash for 0, and what no date can be as a number."""
    if not value:
        return NONE
    try:
        date = date_of_seconds(value)
        return short_moment(date) if short else moment(date)
    except (OverflowError, ValueError):
        return f"{value:g}"


def span(length: float) -> str:
    """Return a length of time, in seconds, in the largest unit that fits."""
    size, unit = next((pair for pair in _SPANS if length >= pair[0]), _SPANS[-1])
    count = int(length // size)
    return f"{count} {unit}{'' if count == 1 else 's'}"


def number(value: Any, digits: int = 4) -> str:
    """Return *value* with that many significant digits, or a dash."""
    found = finite(value)
    return NONE if found is None else f"{found:.{digits}g}"


def percent(share: Any) -> str:
    """Return a share of 1 as percent, or a dash."""
    found = finite(share)
    return NONE if found is None else f"{100 * found:.1f}%"


def count(value: Any) -> str:
    """Return a whole number with separators, or a dash."""
    found = finite(value)
    return NONE if found is None else f"{round(found):,}"


def latency(value: Any) -> str:
    """Return a time of a call, in seconds, in the unit that fits, or a dash."""
    found = finite(value)
    if found is None:
        return NONE
    for unit, size in (("µs", 1e-6), ("ms", 1e-3)):
        if abs(found) < size * 1e3:
            return f"{found / size:.3g} {unit}"
    return f"{found:.3g} s"


def finite(value: Any) -> float | None:
    """Return *value* if it is a number that can be drawn, else None."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def short(text: str, length: int = _LONG) -> str:
    """Return *text*, cut to *length*."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def shortened(text: str, length: int = _LONG) -> SafeString | str:
    """Return *text* cut to *length*, with the whole of it in its title; a dash for none."""
    if not text:
        return NONE
    if len(text) <= length:
        return text
    return format_html('<span title="{}">{}</span>', text, short(text, length))


def code(text: str) -> SafeString | str:
    """Return *text* in the letters of programs; a dash for none."""
    return format_html('<code class="mlembed-code">{}</code>', text) if text else NONE


def pretty(value: Any) -> SafeString:
    """Return *value*, JSON or its text, indented."""
    if isinstance(value, (str, bytes)):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            shown = value if isinstance(value, str) else value.decode("utf-8", "replace")
            return format_html('<pre class="mlembed-json">{}</pre>', shown)
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre class="mlembed-json">{}</pre>', text)


def page_address(site_name: str, name: str) -> str:
    """Return the address of the page of the model *name*; empty where the site has none."""
    address = _address(site_name, "service_page")
    return f"{address}?{urlencode({'model': name})}" if address else ""


def list_address(site_name: str, table: str, **query: str) -> str:
    """Return the address of the list of *table*, filtered by *query*; empty where there is none."""
    address = _address(site_name, f"{table}_changelist")
    return f"{address}?{urlencode(query)}" if address else ""


def row_address(site_name: str, table: str, key: Any) -> str:
    """Return the address of one row of *table*; empty where the site shows none."""
    return _address(site_name, f"{table}_change", key)


def _address(site_name: str, name: str, *args: Any) -> str:
    try:
        return reverse(f"admin:mlembed_{name}", args=args, current_app=site_name)
    except NoReverseMatch:
        return ""


def linked(address: str, text: Any) -> SafeString | str:
    """Return *text* as a link to *address*, plain where there is none."""
    return format_html('<a href="{}">{}</a>', address, text) if address else str(text)


def shortened_end(text: str, length: int = 12) -> SafeString:
    """Return the end of *text*, with the whole of it in its title."""
    return format_html(
        '<code class="mlembed-code mlembed-id" title="{}">…{}</code>', text, text[-length:]
    )
