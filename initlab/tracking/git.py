"""Which code a run came from: the commit of the working directory, or else of this package's own checkout."""

from __future__ import annotations

import getpass
import subprocess
import sys
from pathlib import Path


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
    # an installed package may lie inside somebody else's checkout (a virtual environment does)
    return package if _git(package, "ls-files", "--error-unmatch", Path(__file__).name) is not None else None


def source_tags(workdir: Path) -> dict[str, str]:
    """Tags that say who ran what: user, program, git commit and whether it had uncommitted changes."""
    program = Path(sys.argv[0] or "python").name
    tags = {
        "mlflow.source.name": "python -m initlab" if program == "__main__.py" else program,
        "mlflow.source.type": "LOCAL",
    }
    try:
        tags["mlflow.user"] = getpass.getuser()
    except (KeyError, OSError, ImportError):
        tags["mlflow.user"] = "unknown"
    checkout = _checkout(workdir)
    commit = _git(checkout, "rev-parse", "HEAD") if checkout is not None else None
    if checkout is not None and commit:
        dirty = _git(checkout, "status", "--porcelain", "--untracked-files=no")
        tags |= {"mlflow.source.git.commit": commit, "initlab.git": commit}
        tags["initlab.git_dirty"] = "true" if dirty else "false"
    return tags
