"""A run that records, and what may fail between it and its store: the rounds of `rounds.py`."""

from __future__ import annotations

from tests.reliability import rounds
from tests.reliability.rows import row

#: rows whose clients share a server that others must not strike meanwhile
_ALONE = ("server killed", "PostgreSQL restarted")
for _name, (_strike, _count) in rounds.ROWS.items():
    row(_name, rounds=_count, alone=_name in _ALONE)(_strike)
