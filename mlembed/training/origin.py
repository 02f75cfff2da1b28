"""Who made a bundle, and with which state of the code."""

from __future__ import annotations

import shutil
import subprocess

from mlembed.registry.issue import whoever

_SECONDS = 5.0


def origin() -> dict[str, str]:
    """Return `by`, user and machine, and `code`, the git revision of the working directory.

    The revision is left out where there is none, and ends in `+` where files differ from it.
    """
    found = {"by": whoever()}
    revision = _git("rev-parse", "HEAD")
    if revision:
        changed = _git("status", "--porcelain", "--untracked-files=no")
        found["code"] = f"git {revision}{'+' if changed else ''}"
    return found


def _git(*arguments: str) -> str:
    git = shutil.which("git")
    if git is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603  git's own words
            [git, *arguments], capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
