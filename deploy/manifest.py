"""What a backup holds, with checksums and the versions that made it; and whether a folder is still that."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
NAME, COMPLETE = "manifest.json", "complete"
#: of this file; a newer one is not read
FORMAT = 1


class RefusedError(Exception):
    """A folder that is not restored, as one sentence; nothing was changed."""


def versions() -> dict[str, str]:
    """Versions of initlab and of its MLflow, as this checkout has them; "" where they cannot be read."""
    own = re.search(r'__version__ = "([^"]+)"', _text(ROOT / "initlab" / "core" / "version.py"))
    mlflow = re.search(r"^mlflow==(\S+)", _text(ROOT / "constraints.txt"), re.MULTILINE)
    return {"initlab": own[1] if own else "", "mlflow": mlflow[1] if mlflow else ""}


def write(folder: Path, kind: str) -> None:
    """Describe all files of `folder`; ``complete`` is written last and holds the checksum of the description."""
    files = {
        f.relative_to(folder).as_posix(): {"sha256": digest(f), "bytes": f.stat().st_size}
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}Z"
    told = {"format": FORMAT, "made": made, "kind": kind, "versions": versions(), "files": files}
    (folder / NAME).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    (folder / COMPLETE).write_text(f"{made}\n{digest(folder / NAME)}\n", encoding="utf-8")


def verify(folder: Path, kind: str) -> list[str]:
    """Read every file of `folder` and compare its checksum. Returns notices for the person who restores it.

    Raises:
        RefusedError: it is no complete backup, is damaged, of another kind of server, or of a newer version.
    """
    if not (folder / COMPLETE).is_file():
        raise RefusedError(f"{folder} is no complete backup; name one")
    if not (folder / NAME).is_file():
        return [f"{folder} was made before backups had checksums: it is restored as it is, and nothing was verified"]
    told = _read(folder)
    _check_versions(told, folder)
    if told.get("kind") != kind:
        raise RefusedError(f"{folder} is a backup of {told.get('kind')}, and this is {kind}")
    for name, known in dict(told["files"]).items():
        file = folder / name
        if not file.is_file():
            raise RefusedError(f"{folder} lacks {name}: it is not restored, and nothing was changed")
        if file.stat().st_size != known["bytes"] or digest(file) != known["sha256"]:
            raise RefusedError(f"{file} is damaged (another checksum): it is not restored, and nothing was changed")
    return _older(told)


def digest(file: Path) -> str:
    """SHA-256 of a file as hex digits."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


# ------------------------------------------------------------------ pieces
def _read(folder: Path) -> dict[str, Any]:
    words = (folder / COMPLETE).read_text(encoding="utf-8", errors="replace").split()
    if digest(folder / NAME) not in words:
        raise RefusedError(f"{folder / NAME} is damaged (another checksum): nothing was changed")
    try:
        return dict(json.loads((folder / NAME).read_text(encoding="utf-8")))
    except ValueError:
        raise RefusedError(f"{folder / NAME} is damaged: nothing was changed") from None


def _check_versions(told: Mapping[str, Any], folder: Path) -> None:
    there, here = dict(told.get("versions", {})), versions()
    if int(told.get("format", 0)) > FORMAT:
        raise RefusedError(f"{folder} was made by initlab {there.get('initlab')}, whose backups this one cannot read")
    for name, shown in (("initlab", "initlab"), ("mlflow", "MLflow")):
        if _number(there.get(name, "")) > _number(here[name]):
            raise RefusedError(
                f"{folder} was made with {shown} {there[name]}, and this is {here[name]}, which may not read its"
                " databases: update first, then restore; nothing was changed"
            )


def _older(told: Mapping[str, Any]) -> list[str]:
    there, here = dict(told.get("versions", {})), versions()
    older = [
        f"{shown} {there[name]} (this is {here[name]})"
        for name, shown in (("initlab", "initlab"), ("mlflow", "MLflow"))
        if there.get(name) and _number(there[name]) < _number(here[name])
    ]
    if not older:
        return []
    return [
        f"the backup was made with {' and '.join(older)}: bring the databases up to date before the server is used"
        " (docs/deploy.md, Updating)"
    ]


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError:
        return ""
