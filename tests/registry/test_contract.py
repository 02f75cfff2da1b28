"""What every registry owes a host, whatever it is made of."""

from __future__ import annotations

import abc
import threading
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from mlembed.errors import ConflictError, IntegrityError, NotFoundError
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref, Target, parse_ref
from mlembed.testing import InMemoryRegistry
from registry.stock import bundle

if TYPE_CHECKING:
    from pathlib import Path

    from mlembed.bundle.bundle import Bundle
    from mlembed.registry import BundleSource

    class Source(BundleSource, Protocol):
        """A registry that can be written as well."""

        def publish(self, bundle: Bundle) -> Target:
            """Store *bundle*."""
            ...


class RegistryContract(abc.ABC):
    """The laws; a subclass makes the registry and moves its alias `champion`."""

    @pytest.fixture
    @abc.abstractmethod
    def source(self, tmp_path: Path) -> Any:
        """Return an empty registry."""

    @abc.abstractmethod
    def promote(self, source: Any, version: Bundle) -> None:
        """Point the champion at a published *version*."""

    def test_publish_returns_what_resolve_finds(self, source: Source) -> None:
        """A published version is found under its number and has the bundle's id."""
        target = source.publish(bundle())

        assert target == Target("toy", "1.0.0", bundle().id)
        assert source.resolve(parse_ref("toy@1.0.0")) == target

    def test_fetch_returns_the_same_bundle(self, source: Source) -> None:
        """What was published comes back byte for byte."""
        target = source.publish(bundle())

        assert source.fetch(target) == bundle()

    def test_publish_again_is_no_change(self, source: Source) -> None:
        """The same bundle may be published twice."""
        assert source.publish(bundle()) == source.publish(bundle())

    def test_publish_never_changes_a_version(self, source: Source) -> None:
        """Other contents under a published number are refused, and the first stay."""
        source.publish(bundle(note="first"))

        with pytest.raises(ConflictError, match=r"toy@1\.0\.0 is published already"):
            source.publish(bundle(note="second"))

        target = source.resolve(parse_ref("toy@1.0.0"))
        assert source.fetch(target) == bundle(note="first")

    def test_resolve_follows_the_alias(self, source: Source) -> None:
        """An alias points at the version that was promoted last; versions stay."""
        for version in ("1.0.0", "1.1.0"):
            source.publish(bundle(version))
            self.promote(source, bundle(version))

            assert source.resolve(parse_ref("toy")).version == version
        assert source.resolve(parse_ref("toy@1.0.0")).version == "1.0.0"

    def test_models_do_not_meet(self, source: Source) -> None:
        """Two models may have the same version and alias."""
        for name in ("toy", "other"):
            source.publish(bundle(name=name))
            self.promote(source, bundle(name=name))

        targets = [source.resolve(Ref(name)) for name in ("toy", "other")]
        assert [source.fetch(target).manifest.name for target in targets] == ["toy", "other"]

    @pytest.mark.parametrize("text", ["other@champion", "toy@canary", "toy@9.9.9", "other@1.0.0"])
    def test_resolve_lists_what_exists(self, source: Source, text: str) -> None:
        """An unknown reference is answered with what there is."""
        source.publish(bundle())
        self.promote(source, bundle())

        with pytest.raises(NotFoundError) as caught:
            source.resolve(parse_ref(text))

        assert "toy" in str(caught.value)
        assert text.split("@", maxsplit=1)[0] in str(caught.value)

    def test_resolve_in_an_empty_registry(self, source: Source) -> None:
        """A registry that holds nothing says so."""
        with pytest.raises(NotFoundError):
            source.resolve(Ref("toy"))

    def test_fetch_refuses_what_was_never_published(self, source: Source) -> None:
        """A target that is not there is an integrity error, for its id promised bytes."""
        source.publish(bundle())

        with pytest.raises(IntegrityError):
            source.fetch(Target("toy", "1.0.0", "0" * 64))

    def test_reads_from_many_threads(self, source: Source) -> None:
        """Hosts resolve and fetch from any thread while others publish."""
        source.publish(bundle())
        self.promote(source, bundle())
        found: list[Bundle] = []

        def read() -> None:
            for _ in range(5):
                found.append(source.fetch(source.resolve(Ref("toy"))))  # noqa: PERF401  one by one

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for version in ("1.1.0", "1.2.0"):
            source.publish(bundle(version))
            self.promote(source, bundle(version))
        for thread in threads:
            thread.join()

        assert len(found) == 20
        assert all(item == bundle(item.manifest.version) for item in found)


class TestFileRegistry(RegistryContract):
    """A directory."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> FileRegistry:
        """Return a registry in a directory that is not there yet."""
        return FileRegistry(tmp_path / "models")

    def promote(self, source: FileRegistry, version: Bundle) -> None:
        """Move the pointer."""
        source.promote(version.manifest.name, "champion", version.manifest.version)


class TestInMemoryRegistry(RegistryContract):
    """What hosts use in their tests."""

    @pytest.fixture
    def source(self, tmp_path: Path) -> InMemoryRegistry:
        """Return a registry of nothing but memory."""
        del tmp_path
        return InMemoryRegistry()

    def promote(self, source: InMemoryRegistry, version: Bundle) -> None:
        """Publish again, which points the alias."""
        source.publish(version)
