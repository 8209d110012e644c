"""Writes .env with newly generated secrets from .env.example: `make env`."""

from __future__ import annotations

import os
import secrets
import sys
from pathlib import Path

#: placeholder of a generated secret in .env.example
DRAWN = "change-me"


def filled(example: str) -> str:
    """`example` with fresh secrets where it says ``change-me``: letters and digits alone, safe in URLs and shells."""
    lines = [
        f"{line.partition('=')[0]}={secrets.token_hex(24)}" if line.endswith(f"={DRAWN}") else line
        for line in example.splitlines()
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write .env, which only its owner can read. Exit code 2 where there is one: its secrets are in the databases."""
    root = Path(__file__).parents[1]
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else root / ".env"
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        print(
            f"{target} is there already and stays: the databases were made with its secrets (docs/deploy.md says how to"
            " change one)", file=sys.stderr,
        )  # fmt: skip
        return 2
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(filled((root / ".env.example").read_text(encoding="utf-8")))
    print(f"{target} is written (mode 600); next: docker compose up -d --build")
    return 0


if __name__ == "__main__":
    sys.exit(main())
