"""Source tags of a run: user, program, and git commit of the working directory or of this package's checkout."""

from __future__ import annotations

import getpass
import subprocess
import sys
import time
from functools import lru_cache
from pathlib import Path

#: seconds for which an answer of git is cached
_FRESH = 20


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=3, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _checkout(workdir: Path) -> Path | None:
    if _git(workdir, "rev-parse", "--verify", "HEAD"):
        return workdir
    package = Path(__file__).resolve().parent
    # an installed package may lie inside an unrelated checkout (as in a virtual environment)
    return package if _git(package, "ls-files", "--error-unmatch", Path(__file__).name) is not None else None


def source_tags(workdir: Path) -> dict[str, str]:
    """Tags of user, program, git commit, and whether there were uncommitted changes."""
    program = Path(sys.argv[0] or "python").name
    tags = {
        "mlflow.source.name": "python -m initlab" if program == "__main__.py" else program,
        "mlflow.source.type": "LOCAL",
    }
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError, ImportError):
        tags["mlflow.user"] = "unknown"
    return tags | _revision(workdir.absolute(), int(time.monotonic() // _FRESH))


@lru_cache(maxsize=4)
def _revision(workdir: Path, period: int) -> dict[str, str]:
    """Read the commit and whether the checkout is dirty; cached for a `period`, since a study has many short runs."""
    del period
    checkout = _checkout(workdir)
    commit = _git(checkout, "rev-parse", "HEAD") if checkout is not None else None
    if checkout is None or not commit:
        return {}
    dirty = _git(checkout, "status", "--porcelain", "--untracked-files=no")
    dirty_tag = {"initlab.git_dirty": "true" if dirty else "false"}
    return {"mlflow.source.git.commit": commit, "initlab.git": commit, **dirty_tag}
