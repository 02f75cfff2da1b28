"""A bundle says who made it, and with which state of the code."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from mlembed.training.origin import origin

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def git(*arguments: str) -> str:
    """Run git as somebody who is nobody."""
    who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    return subprocess.check_output(["git", *who, *arguments], text=True).strip()


def test_origin_names_the_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commit of the working directory, and a sign where files differ from it."""
    monkeypatch.chdir(tmp_path)
    git("init", "-q")
    assert set(origin()) == {"by"}
    (tmp_path / "train.py").write_text("1")
    git("add", ".")
    git("commit", "-qm", "first")
    revision = git("rev-parse", "HEAD")

    assert origin()["code"] == f"git {revision}"
    (tmp_path / "train.py").write_text("2")
    assert origin()["code"] == f"git {revision}+"


def test_origin_does_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outside of a repository, and where git is not installed, there is no revision."""
    monkeypatch.chdir(tmp_path)
    assert set(origin()) == {"by"}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert set(origin()) == {"by"}
    assert "@" in origin()["by"]
