"""A host starts from what is fresh, else from what served last, else from what was shipped."""

from __future__ import annotations

import dataclasses
import logging
import time
from typing import TYPE_CHECKING

import pytest

import mlembed
from bundles import RECORD, toy_bundle
from mlembed.bundle.bundle import write_directory
from mlembed.bundle.keys import Signer, new_key
from mlembed.bundle.signature import signed
from mlembed.errors import (
    BundleError,
    GoldenError,
    IntegrityError,
    NotFoundError,
    RegistryError,
    SettingsError,
    SignatureError,
)
from mlembed.registry.issue import Issuer
from processes import run_script
from registry.hostile import Answer
from registry.site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlembed.registry.file import FileRegistry

NEXT = toy_bundle(version="1.1.0", shift=1.0)
POISONED = toy_bundle(version="2.0.0", golden_error=1e-3)
ALIAS = "/toy/aliases/champion.json"


@pytest.fixture
def site(registry: FileRegistry) -> Iterator[Site]:
    """Return a web site with the toy model as champion."""
    with Site(registry.root) as serving:
        yield serving


@pytest.fixture
def remote(settings: mlembed.Settings, site: Site, tmp_path: Path) -> mlembed.Settings:
    """Return the settings of a host that follows the site."""
    return dataclasses.replace(
        settings, registry=site.url, cache=tmp_path / "cache", start_seconds=2.0
    )


def started(settings: mlembed.Settings, ref: str = "toy") -> mlembed.Model:
    """Return a model that has answered once, as after a start of the host."""
    model = mlembed.load(ref, settings=settings)
    model.predict(RECORD)
    return model


def promote(registry: FileRegistry, bundle: mlembed.bundle.bundle.Bundle) -> None:
    """Publish *bundle* and make it the champion."""
    registry.publish(bundle)
    registry.promote("toy", "champion", bundle.manifest.version)


def test_start_and_follow_over_http(
    registry: FileRegistry, site: Site, remote: mlembed.Settings
) -> None:
    """A promotion comes into service with the next look, with one request for each new file."""
    model = started(remote)
    assert (model.version, model.state) == ("1.0.0", "READY")
    site.asked.clear()

    promote(registry, NEXT)
    assert model.refresh()

    assert (model.predict(RECORD).version, model.state) == ("1.1.0", "READY")
    assert len(site.paths()) == len(set(site.paths()))


@pytest.mark.parametrize("failure", ["503", "401", "429", "404", "hangs", "refused", "garbage"])
def test_start_without_the_registry(
    site: Site, remote: mlembed.Settings, failure: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What served last serves, soon enough, and the state tells."""
    started(remote)
    site.asked.clear()
    statuses = {"503": 503, "401": 401, "429": 429, "404": 404}
    if failure in statuses:
        site.routes[ALIAS] = Answer(statuses[failure], {"Retry-After": "1"})
    elif failure == "hangs":
        site.routes[ALIAS] = Answer(pause_seconds=10)
    elif failure == "garbage":
        site.routes[ALIAS] = Answer(body=b"<html>Welcome to the hotel</html>")
    else:
        site.__exit__()

    start = time.monotonic()
    with caplog.at_level(logging.WARNING, "mlembed"):
        model = started(remote)
    elapsed = time.monotonic() - start

    assert (model.version, model.state) == ("1.0.0", "STALE")
    assert isinstance(model.error, (RegistryError, IntegrityError))
    assert elapsed < 2.0
    assert "what served last, 1.0.0 serves" in caplog.text
    if failure != "refused":
        del site.routes[ALIAS]
        model.refresh()
        assert model.state == "READY"


@pytest.mark.parametrize("failure", ["503", "401", "429", "expired", "hangs"])
def test_trouble_later_leaves_the_model_serving(
    registry: FileRegistry, site: Site, remote: mlembed.Settings, failure: str
) -> None:
    """Whatever the registry does while the host runs, answers go on; it is STALE, then READY."""
    model = started(remote)
    answers = {
        "503": Answer(503, {"Retry-After": "0"}),
        "401": Answer(401),
        "429": Answer(429, {"Retry-After": "0"}),
        "hangs": Answer(pause_seconds=2),
    }
    if failure in answers:
        site.routes[ALIAS] = answers[failure]
    else:
        registry.issuer = Issuer(days=-3)
        registry.renew("toy", "champion")

    assert not model.refresh()
    assert model.state == "STALE"
    assert model.predict(RECORD).version == "1.0.0"

    site.routes.pop(ALIAS, None)
    registry.issuer = Issuer()
    promote(registry, NEXT)
    assert model.refresh()
    assert (model.version, model.state) == ("1.1.0", "READY")


def test_expired_pointer_at_the_first_start(
    registry: FileRegistry, remote: mlembed.Settings, tmp_path: Path
) -> None:
    """A host that has never served believes nothing stale, but serves what was shipped with it."""
    registry.issuer = Issuer(days=-3)
    registry.renew("toy", "champion")
    with pytest.raises(RegistryError, match=r"expired .*registry renew toy@champion"):
        started(remote)

    write_directory(NEXT, tmp_path / "shipped" / "toy")
    model = started(dataclasses.replace(remote, bundled=str(tmp_path / "shipped")))
    assert (model.version, model.state) == ("1.1.0", "STALE")


@pytest.mark.parametrize("form", ["folder of folders", "folder", "folder of files", "file"])
def test_start_from_what_was_shipped(
    site: Site, remote: mlembed.Settings, tmp_path: Path, form: str
) -> None:
    """An empty cache and no registry: the application brings its own, until there is news."""
    from mlembed.bundle.single import write_single

    shipped = tmp_path / "shipped"
    if form == "folder":
        write_directory(NEXT, shipped)
    elif form == "folder of folders":
        write_directory(NEXT, shipped / "toy")
    else:
        shipped.mkdir()
        write_single(NEXT, shipped / "toy.mlb")
    place = shipped / "toy.mlb" if form == "file" else shipped
    site.is_down = True

    model = started(dataclasses.replace(remote, bundled=str(place)))

    assert (model.version, model.state) == ("1.1.0", "STALE")
    site.is_down = False
    assert model.refresh()
    assert (model.version, model.state) == ("1.0.0", "READY")


def test_start_with_nothing_says_what_failed(
    site: Site, remote: mlembed.Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The error is the registry's; why what was shipped does not serve stands in the log."""
    site.is_down = True
    write_directory(toy_bundle(), tmp_path / "shipped" / "other")
    bundled = dataclasses.replace(remote, bundled=str(tmp_path / "shipped" / "other"))

    with pytest.raises(RegistryError, match="cannot serve this now"):
        started(remote)
    with pytest.raises(RegistryError), caplog.at_level(logging.WARNING, "mlembed"):
        started(bundled, "another")
    assert "holds toy@1.0.0 and not another@champion" in caplog.text


def test_poisoned_version_never_serves_and_is_not_asked_for_again(
    registry: FileRegistry, site: Site, remote: mlembed.Settings
) -> None:
    """It is fetched once; the next looks ask for the pointer alone, and its ETag is not kept."""
    model = started(remote)
    promote(registry, POISONED)
    site.asked.clear()

    for _ in range(3):
        assert not model.refresh()
        assert model.predict(RECORD).version == "1.0.0"

    assert isinstance(model.error, GoldenError)
    assert len(site.paths(POISONED.id)) == 1
    assert "if-none-match" not in site.asked[-1].headers or site.paths(ALIAS)
    polls = [asked for asked in site.asked if asked.path == ALIAS]
    assert len(polls) == 3
    assert len({asked.headers.get("if-none-match") for asked in polls}) == 1

    again = started(remote)
    assert (again.version, again.state) == ("1.0.0", "STALE")
    registry.rollback("toy", "champion")
    assert not again.refresh()
    assert again.state == "READY"


def test_poisoned_version_at_the_first_start(
    registry: FileRegistry, site: Site, remote: mlembed.Settings
) -> None:
    """There is nothing to fall back on, so the error is that version's own."""
    promote(registry, POISONED)

    with pytest.raises(GoldenError):
        started(remote)
    assert site.paths(POISONED.id)


def test_pinned_version_starts_offline(site: Site, remote: mlembed.Settings) -> None:
    """A number means the same for ever, so a host that has it asks nobody."""
    started(remote, "toy@1.0.0")
    site.is_down = True
    site.asked.clear()

    model = started(remote, "toy@1.0.0")

    assert (model.version, model.state) == ("1.0.0", "READY")
    assert not site.asked


FORKED = """
    import os, sys
    from pathlib import Path
    import mlembed
    from bundles import RECORD, toy_bundle
    from mlembed.registry.file import FileRegistry

    url, cache, root = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
    settings = mlembed.Settings(registry=url, cache=cache, log=False, poll_seconds=0)
    model = mlembed.load("toy", settings=settings)
    assert model.predict(RECORD).version == "1.0.0"
    registry = FileRegistry(root)
    registry.publish(toy_bundle(version="1.1.0", shift=1.0))
    registry.promote("toy", "champion", "1.1.0")
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            assert model.predict(RECORD).version == "1.0.0"
            assert model.refresh()
            assert model.predict(RECORD).version == "1.1.0"
            assert model.state == "READY"
            os._exit(0)
        children.append(child)
    assert model.refresh()
    assert all(os.waitpid(child, 0)[1] == 0 for child in children)
    print(model.version)
"""


def test_forked_children_follow_by_themselves(
    registry: FileRegistry, site: Site, tmp_path: Path
) -> None:
    """Each has its own connections and sees the promotion, as the parent does."""
    said = run_script(FORKED, site.url, tmp_path / "cache", registry.root)

    assert said.split() == ["1.1.0"]


def test_cache_that_cannot_be_written_is_told_once(
    registry: FileRegistry, remote: mlembed.Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The host serves, and its log says what is missing for the next start."""
    remote.cache.write_bytes(b"a file where a folder should be")
    with caplog.at_level(logging.WARNING, "mlembed"):
        model = started(remote)
        model.refresh()
        promote(registry, NEXT)
        assert model.refresh()

    assert (model.version, model.state) == ("1.1.0", "READY")
    (told,) = [item for item in caplog.messages if "cannot be written" in item]
    assert "a start without the registry may fail" in told


def test_refusal_is_told_again_after_other_trouble(
    registry: FileRegistry, site: Site, remote: mlembed.Settings
) -> None:
    """Once the registry is back, the error is what keeps the new version out."""
    model = started(remote)
    promote(registry, POISONED)
    model.refresh()
    site.is_down = True
    model.refresh()
    assert isinstance(model.error, RegistryError)
    site.is_down = False
    model.refresh()

    assert isinstance(model.error, GoldenError)


def test_refused_version_is_tried_again_in_time(
    registry: FileRegistry, remote: mlembed.Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed for a want of memory, say, comes into service without a new bundle."""
    from mlembed.serving import handle

    model = started(remote)
    promote(registry, NEXT)
    with monkeypatch.context() as patched:
        patched.setattr(handle, "_AGAIN_SECONDS", 0.3)
        patched.setattr(handle, "serve", _out_of_memory)
        assert not model.refresh()
    assert not model.refresh()
    time.sleep(0.4)

    assert model.refresh()
    assert (model.version, model.state) == ("1.1.0", "READY")


def _out_of_memory(*_: object) -> None:
    raise BundleError("std::bad_alloc")


def test_start_is_bounded_however_slow_the_registry_is(
    site: Site, remote: mlembed.Settings
) -> None:
    """A pointer that trickles leaves time for what served last."""
    started(remote)
    body = (site.root / ALIAS.lstrip("/")).read_bytes()

    def trickle() -> Iterator[bytes]:
        for byte in body:
            time.sleep(0.1)
            yield bytes([byte])

    site.routes[ALIAS] = lambda _asked: Answer(body=trickle(), length=len(body))
    start = time.monotonic()
    model = started(remote)

    assert (model.version, model.state) == ("1.0.0", "STALE")
    assert time.monotonic() - start < 3.0


def test_shipped_bundles_need_no_registry(settings: mlembed.Settings, tmp_path: Path) -> None:
    """An air-gapped host has a folder of files and nothing else; an alias means the newest."""
    from mlembed.bundle.single import write_single

    for bundle in (toy_bundle(), NEXT, toy_bundle(name="other")):
        manifest = bundle.manifest
        write_single(bundle, tmp_path / "shipped" / f"{manifest.name}-{manifest.version}.mlb")
    alone = dataclasses.replace(settings, bundled=str(tmp_path / "shipped"))

    assert (started(alone).version, started(alone).state) == ("1.1.0", "READY")
    assert started(alone, "toy@1.0.0").version == "1.0.0"
    with pytest.raises(NotFoundError, match=r"holds no bundle for none@champion; expected none"):
        started(alone, "none")
    with pytest.raises(SettingsError, match="no model registry is set"):
        started(settings)


def test_shipped_bundles_are_judged_by_their_signatures(
    settings: mlembed.Settings, tmp_path: Path
) -> None:
    """What was shipped is trusted no more than what is fetched."""
    private, public = new_key()
    (tmp_path / "ours.pub").write_bytes(public)
    alone = dataclasses.replace(
        settings, bundled=str(tmp_path / "shipped"), keys=(str(tmp_path / "ours.pub"),)
    )
    write_directory(toy_bundle(), tmp_path / "shipped")
    with pytest.raises(SignatureError):
        started(alone)

    signature = signed(toy_bundle(), Signer.from_pem(private)).signature
    (tmp_path / "shipped" / "bundle.sig.json").write_bytes(signature)
    assert started(alone).state == "READY"
