"""A registry's location is read one way, and what is not served is named without its secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlembed.errors import NotFoundError, SettingsError
from mlembed.registry import open_registry
from mlembed.registry.pointer import Ref, parse_ref
from registry.stock import bundle


@pytest.mark.parametrize(
    ("location", "path"),
    [
        ("/srv/models", "/srv/models"),
        ("models", "models"),
        (Path("/srv/models"), "/srv/models"),
        (Path("s3://bucket"), "s3:/bucket"),
        ("file:///srv/models", "/srv/models"),
        ("FILE:///srv/models", "/srv/models"),
        ("file://localhost/srv/models", "/srv/models"),
        ("file:///srv/my%20models", "/srv/my models"),
        ("file:///srv/my models", "/srv/my models"),
        ("file:///srv/100%25%3F%23", "/srv/100%?#"),
        ("file:///srv/mod%C3%A8les", "/srv/modèles"),
    ],
    ids=str,
)
def test_open_registry_reads_directories_and_file_urls(location: str | Path, path: str) -> None:
    """A plain path is taken as it is, a URL is unescaped."""
    assert str(open_registry(location)) == str(Path(path))


@pytest.mark.parametrize("scheme", ["ftp", "http+unix", "git", "gs"])
def test_open_registry_names_the_schemes_it_serves(scheme: str) -> None:
    """What is not served is refused with what is, and never with the password in the URL."""
    with pytest.raises(SettingsError) as caught:
        open_registry(f"{scheme}://user:hunter2@example.org/models?token=hunter2")

    assert f"'{scheme}' are not served; served are directories, file:///" in str(caught.value)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("location", "wanted"),
    [
        ("https://user:hunter2@example.org/models", "MLEMBED_REGISTRY_AUTH"),
        ("https://example.org/models?token=hunter2", "no query"),
        ("https://example.org/models#hunter2", "no query"),
        ("http://example.org/models", "over https://"),
        ("https:///models", "malformed"),
        ("https://exa mple.org/models", "malformed"),
        ("https://example.org:99999/models", "malformed"),
    ],
)
def test_open_registry_refuses_urls_that_are_not_safe(location: str, wanted: str) -> None:
    """Credentials stand in the settings, and nobody on the way may read or change what is asked."""
    with pytest.raises(SettingsError, match=wanted) as caught:
        open_registry(location)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "location",
    [
        "",
        "file://",
        "file://server/share",
        "file:///srv/models?version=1",
        "file:///srv/models#part",
        "file:///srv/a%00b",
        "/srv/a\0b",
        "file://[/srv",
    ],
    ids=repr,
)
def test_open_registry_refuses_what_it_would_misread(location: str) -> None:
    """A location that could mean something else is refused, never guessed at."""
    with pytest.raises(SettingsError, match="registry"):
        open_registry(location)


def test_open_registry_makes_nothing(tmp_path: Path) -> None:
    """Looking at a registry never makes it; only publishing does."""
    registry = open_registry(tmp_path / "models")

    with pytest.raises(NotFoundError, match="there is no registry at"):
        registry.resolve(Ref("toy"))
    with pytest.raises(NotFoundError, match="there is no registry at"):
        registry.models()
    assert registry.versions("toy") == []
    assert not (tmp_path / "models").exists()


def test_open_registry_follows_a_link(tmp_path: Path) -> None:
    """A link to the registry's directory is as good as the directory."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    registry = open_registry(f"file://{tmp_path}/link")

    registry.publish(bundle())
    registry.promote("toy", "champion", "1.0.0")

    other = open_registry(tmp_path / "real")
    assert other.fetch(other.resolve(Ref("toy"))) == bundle()


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        ("income", Ref("income", "champion")),
        ("income@champion", Ref("income", "champion")),
        ("income@1.2.0", Ref("income", "1.2.0")),
        ("a.b-c_d@x", Ref("a.b-c_d", "x")),
        ("income@", Ref("income", "champion")),
    ],
)
def test_parse_ref_reads(text: str, ref: Ref) -> None:
    """A bare name means its champion."""
    assert parse_ref(text) == ref
    assert parse_ref(str(ref)) == ref
    assert ref.is_alias == (ref.selector != "1.2.0")


@pytest.mark.parametrize(
    "text",
    [
        *("", "@champion", "../x", "a/b", "a\\b", ".", "..", "con", "a@../x", "a@b/c", "a@."),
        *("A", "a b", "a@B", "a@nul", "a\0", "a\n", "a@b@c", "é", "a@1.0.0-rc1 ", "x" * 65),
    ],
    ids=repr,
)
def test_parse_ref_refuses(text: str) -> None:
    """What could leave the registry's directory is no reference."""
    with pytest.raises(SettingsError, match="is no model reference; expected name@alias"):
        parse_ref(text)
