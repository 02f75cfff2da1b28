"""Several processes publish and promote at once; one wins each version, and none is lost."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from mlembed.bundle.bundle import sha256, write_directory
from mlembed.registry.file import FileRegistry
from mlembed.registry.pointer import Ref
from processes import run_script, start_script
from registry.stock import VERSIONS, bundle

if TYPE_CHECKING:
    from pathlib import Path

# Children start at once when the parent closes its end of a pipe; each prints one line of JSON.
FORKED = """
    import json, os, sys, tempfile, fcntl, traceback
    from pathlib import Path
    from mlembed.bundle.bundle import read_directory
    from mlembed.errors import MlembedError
    from mlembed.registry.file import FileRegistry

    def race(jobs):
        waiting, go = os.pipe()
        children = []
        for job in jobs:
            child = os.fork()
            if child == 0:
                os.close(go)
                os.read(waiting, 1)
                try:
                    result = job()
                except MlembedError as error:
                    result = type(error).__name__
                except BaseException:
                    result = traceback.format_exc()
                os.write(1, (json.dumps(result) + "\\n").encode())
                os._exit(0)
            children.append(child)
        os.close(go)
        for child in children:
            os.waitpid(child, 0)
"""


def raced(script: str, *arguments: str | Path) -> list[Any]:
    """Return what each child of *script* said."""
    output = run_script(f"{FORKED}\n{script}", *arguments)
    return [json.loads(line) for line in output.splitlines()]


def test_publish_of_one_version_by_many(tmp_path: Path) -> None:
    """Of different bundles under one number one is published; the others hear of the conflict."""
    registry, winners = FileRegistry(tmp_path / "models"), set()
    for number in range(4):
        write_directory(bundle(note=str(number)), tmp_path / str(number))
    script = """
    def publish(number):
        bundle = read_directory(base / str(number))
        return lambda: FileRegistry(base / "models").publish(bundle).bundle_id

    base = Path(sys.argv[1])
    race([publish(number) for number in (0, 1, 2, 3)])
    """

    said = raced(script, tmp_path)

    winners = {word for word in said if word != "ConflictError"}
    target = registry.resolve(Ref("toy", "1.0.0"))
    assert sorted(said) == sorted([target.bundle_id, *["ConflictError"] * 3])
    assert winners == {target.bundle_id}
    assert registry.fetch(target).id in {bundle(note=str(number)).id for number in range(4)}


def test_publish_of_one_bundle_by_many(tmp_path: Path) -> None:
    """The same bundle, published by many at once, is published for each of them."""
    write_directory(bundle(), tmp_path / "bundle")
    script = """
    bundle = read_directory(Path(sys.argv[1]) / "bundle")
    race([lambda: FileRegistry(Path(sys.argv[1]) / "models").publish(bundle).bundle_id] * 4)
    """

    assert raced(script, tmp_path) == [bundle().id] * 4


def test_promote_by_many(full: FileRegistry) -> None:
    """Serials have no gap and no repeat, and each pointer follows from the one before."""
    script = """
    def promote(number):
        def job():
            registry = FileRegistry(Path(sys.argv[1]))
            versions = registry.versions("toy")
            return [
                registry.promote("toy", "champion", versions[(number + i) % 3], f"{number}").serial
                for i in range(10)
            ]
        return job

    race([promote(number) for number in range(4)])
    """

    said = raced(script, full.root)

    history = full.history("toy", "champion")
    serials = [pointer.serial for pointer in history]
    assert serials == list(range(1, 44))
    assert sorted(serial for mine in said for serial in mine) == serials[3:]
    assert all(mine == sorted(mine) for mine in said)
    assert [pointer.prev for pointer in history[1:]] == [
        sha256(pointer.to_bytes()) for pointer in history[:-1]
    ]
    assert full.pointer("toy", "champion") == history[-1]


def test_readers_see_whole_bundles_while_others_write(full: FileRegistry) -> None:
    """However often a pointer moves, what a reader fetches is one bundle, whole."""
    script = """
    import itertools, sys
    from pathlib import Path
    from mlembed.registry.file import FileRegistry

    registry = FileRegistry(Path(sys.argv[1]))
    stop = registry.root / "stop"
    for version in itertools.cycle(registry.versions("toy")):
        registry.promote("toy", "champion", version)
        if stop.exists():
            break
    """
    seen: set[str] = set()
    deadline = time.monotonic() + 30
    with start_script(script, full.root) as writer:
        while seen != set(VERSIONS) and time.monotonic() < deadline:
            target = full.resolve(Ref("toy"))
            assert full.fetch(target) == bundle(target.version)
            assert full.history("toy", "champion")
            seen.add(target.version)
        (full.root / "stop").touch()

    assert writer.returncode == 0
    assert seen == set(VERSIONS)
