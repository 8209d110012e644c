"""docs/inits.md knows every file of conf/init."""

from __future__ import annotations

import re
from pathlib import Path

from initlab import config

DOCS = Path(__file__).parents[2] / "docs" / "inits.md"


def test_every_initialiser_is_in_the_table_once() -> None:
    rows = [line for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| [`")]
    named = [name for row in rows for name in re.findall(r"\[`(\w+)`\]", row.split("|")[1])]
    assert not set(config.groups()["init"]) - set(named)
    assert len(named) == len(set(named))
    assert all(row.replace("\\|", "").count("|") == 6 for row in rows)
