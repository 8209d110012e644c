"""What the server keeps secret, each in a file that its owner alone may read."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

#: of the first account, which may everything
ADMIN = "admin"
# letters and digits alone: safe in a URL, in a shell and in an INI file
_CHARACTERS = 32


def kept(file: Path) -> str:
    """The secret in `file`, drawn and written (mode 0600) where there is none yet."""
    try:
        return file.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        word = secrets.token_hex(_CHARACTERS // 2)
        write(file, word + "\n")
        return word


def write(file: Path, text: str) -> None:
    """Replace `file` by `text`; nobody else can read it at any moment."""
    part = file.with_name(f"{file.name}.part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(text)
    part.replace(file)
