"""Killed at any step, a publisher or promoter leaves a registry that serves and goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mlembed.bundle.bundle import write_directory
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref
from processes import run_script
from registry.stock import VERSIONS, bundle, served

if TYPE_CHECKING:
    from pathlib import Path

NEW = "2.0.0"
# Every call that changes a file or its directory; a child dies right before its n-th one.
SCRIPT = """
    import itertools, os, shutil, signal, sys, tempfile, fcntl
    from pathlib import Path
    from mlembed.bundle.bundle import read_directory
    from mlembed.registry.file import FileRegistry

    base, bundle, action = Path(sys.argv[1]), read_directory(Path(sys.argv[2])), sys.argv[3]

    def act(registry):
        if action == "publish":
            registry.publish(bundle)
        elif action == "rollback":
            registry.rollback("toy", "champion")
        else:
            registry.promote("toy", action, "1.0.0")

    def die_at(number):
        calls = itertools.count(1)

        def watched(function):
            def call(*args, **kwargs):
                if next(calls) == number:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args, **kwargs)
            return call

        for name in ("open", "mkdir", "link", "replace", "fsync", "unlink", "chmod"):
            setattr(os, name, watched(getattr(os, name)))

    for number in itertools.count(1):
        root = base.with_name(f"killed-{number}")
        shutil.copytree(base, root)
        child = os.fork()
        if child == 0:
            die_at(number)
            act(FileRegistry(root))
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if status == 0:
            break
        assert os.WTERMSIG(status) == signal.SIGKILL, status
    print(number)
"""


def killed_at_every_step(full: FileRegistry, action: str) -> list[FileRegistry]:
    """Return one registry for each step at which *action* was killed, and one where it was not."""
    folder = full.root.parent / "bundle"
    write_directory(bundle(NEW), folder)
    steps = int(run_script(SCRIPT, full.root, folder, action))
    return [FileRegistry(full.root.with_name(f"killed-{n}")) for n in range(1, steps + 1)]


def champion_is_whole(registry: FileRegistry) -> bool:
    """Tell whether the champion's bundle is the one that was published."""
    target = registry.resolve(Ref("toy"))
    return registry.fetch(target) == bundle(target.version)


def chained(registry: FileRegistry, alias: str) -> list[int]:
    """Return the serials of *alias*; reading them checks the chain."""
    return [pointer.serial for pointer in registry.history("toy", alias)]


def test_publish_killed_at_every_step(full: FileRegistry) -> None:
    """A version is there with all its files or not at all, and publishing it again works."""
    registries = killed_at_every_step(full, "publish")
    seen = []
    for registry in registries:
        assert champion_is_whole(registry)
        seen.append(NEW in registry.versions("toy"))
        if seen[-1]:
            assert registry.fetch(registry.resolve(Ref("toy", NEW))) == bundle(NEW)

        registry.publish(bundle(NEW))
        registry.promote("toy", "champion", NEW)
        assert registry.fetch(registry.resolve(Ref("toy"))) == bundle(NEW)
        assert chained(registry, "champion") == [1, 2, 3, 4]

    assert len(registries) > 20
    assert seen == sorted(seen)
    assert seen[-1]


@pytest.mark.parametrize(("action", "version"), [("champion", "1.0.0"), ("rollback", "1.1.0")])
def test_promote_killed_at_every_step(full: FileRegistry, action: str, version: str) -> None:
    """Readers see the old pointer or the new one, and rollback knows which of them served."""
    registries = killed_at_every_step(full, action)
    seen = []
    for registry in registries:
        assert champion_is_whole(registry)
        seen.append(served(registry))
        moved = seen[-1] == version
        assert chained(registry, "champion") == ([1, 2, 3, 4] if moved else [1, 2, 3])

        before = "1.0.0" if action == "rollback" else VERSIONS[-1]
        back = registry.rollback("toy", "champion")
        assert back.version == (before if moved else "1.1.0")
        # What was logged and did not come into force stays in the chain.
        assert back.serial == 5 if moved else back.serial in {4, 5}
        assert chained(registry, "champion") == list(range(1, back.serial + 1))

    assert len(registries) > 8
    assert set(seen) == {VERSIONS[-1], version}
    assert seen == sorted(seen, key=[VERSIONS[-1], version].index)


def test_first_promote_killed_at_every_step(full: FileRegistry) -> None:
    """An alias that never was is there or not, and begins with serial 1 either way."""
    seen = []
    for registry in killed_at_every_step(full, "canary"):
        seen.append("canary" in registry.aliases("toy"))
        serial = registry.promote("toy", "canary", "1.1.0").serial

        assert serial == 2 if seen[-1] else serial in {1, 2}
        assert registry.resolve(Ref("toy", "canary")).version == "1.1.0"
        assert chained(registry, "canary") == list(range(1, serial + 1))
        assert served(registry) == VERSIONS[-1]

    assert seen == sorted(seen)
    assert {*seen} == {False, True}


def test_killed_publisher_leaves_only_temporary_files(full: FileRegistry) -> None:
    """What a crash leaves behind is named so that no reader takes it for anything."""
    whole = {path.relative_to(full.root) for path in full.root.rglob("*")}
    for registry in killed_at_every_step(full, "champion"):
        left: set[Path] = {path.relative_to(registry.root) for path in registry.root.rglob("*")}

        strange = [path for path in left - whole if path.name != "4.json"]
        assert all(path.name.startswith(".tmp-") for path in strange)
        assert registry.models() == ["toy"]
        assert registry.versions("toy") == list(VERSIONS)
        assert registry.aliases("toy") == ["champion"]
