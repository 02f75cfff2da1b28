"""The app's public names."""

from __future__ import annotations

import pytest

import mlembed_django


def test_every_public_name_resolves() -> None:
    """What `__all__` promises is there, and in `dir`."""
    for name in mlembed_django.__all__:
        assert getattr(mlembed_django, name) is not None
        assert name in dir(mlembed_django)


def test_unknown_name_is_an_attribute_error() -> None:
    """A misspelt name fails as in any module."""
    with pytest.raises(AttributeError, match="'get_modle'"):
        _ = mlembed_django.get_modle
