"""A declared table shows no secret, however its URL is written."""

from __future__ import annotations

import pytest

from mlembed.training import Query
from mlembed.training.tables import shown


@pytest.mark.parametrize("sign", ["#", "?", "/", "@", "%23"])
def test_shown_hides_a_password_that_was_not_escaped(sign: str) -> None:
    """A sign that ends the host of a URL too early brings no part of a password to light."""
    url = f"postgresql://someone:s3{sign}cret@server:5432/shop"

    text = Query(url, "SELECT 1").title

    assert "someone" not in text
    assert "s3" not in text
    assert "cret" not in text


def test_shown_keeps_what_tells_tables_apart() -> None:
    """Host, port and path are no secret; an @ of the path is none either."""
    assert shown("https://a:b@host:8443/t/@team/x.csv?sig=1") == "https://..."
    assert shown("https://host/t/@team/x.csv?sig=1#top") == "https://host/t/@team/x.csv"
    assert shown("postgresql://me:pw@host:5432/shop?a=1") == "postgresql://host:5432/shop"
