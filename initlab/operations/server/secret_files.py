"""Secrets of the server, each in a file with mode 0600."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

#: user name of the administrator account
ADMIN = "admin"
# letters and digits only: safe in a URL, in a shell and in an INI file
_CHARACTERS = 32


def read_or_create(file: Path) -> str:
    """Read the secret in `file`; generate and write it (mode 0600) where there is none yet."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        word = secrets.token_hex(_CHARACTERS // 2)
        write(file, word + "\n")
        return word


def write(file: Path, text: str) -> None:
    """Replace the content of `file`; it is readable by its owner only, at any moment."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    part.replace(file)


def keep_private(home: Path, *, entered: bool) -> None:
    """Let nobody else read what this process and its children write from now on, nor what is in `home` already.

    Args:
        home: of the server.
        entered: whether PostgreSQL has its folder there, which under root is another user's.
    """
    os.umask(0o077)
    home.chmod(0o711 if entered and os.geteuid() == 0 else 0o700)
    for path in home.iterdir():
        if path.is_file():
            path.chmod(0o600)
        elif path.name == "artifacts":
            path.chmod(0o700)
