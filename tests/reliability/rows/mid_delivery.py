"""The delivering process killed while it is in the middle of a call, or of the transaction of a SQLite store."""

from __future__ import annotations

import random
import time

from tests.reliability.clients import Client, client
from tests.reliability.holding import violations
from tests.reliability.rounds import Bench, database, sent
from tests.reliability.rows import row
from tests.tracking.tracking_cases import Gate

#: seconds that a call to the server takes on its way: it is killed among them
_DELAY = 0.3


@row("delivering process killed in a transaction", rounds=24)
def in_a_transaction(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """Just after the embedded store's journal appears, which is while rows are written."""
    workdir, uri = bench.embedded(name)
    one = client(workdir, uri)
    one.until(lambda c: bool(c.uid))
    after = time.monotonic() + draw.uniform(0.0, 2.0)
    journal = workdir / "mlflow.db-journal"
    one.until(lambda _: time.monotonic() > after and journal.exists())
    time.sleep(draw.uniform(0.0, 0.004))
    return _killed(one, uri)


@row("delivering process killed in a call", rounds=16)
def in_a_call(bench: Bench, draw: random.Random, name: str) -> tuple[int, list[str]]:
    """While a server that takes its time has a call of it."""
    gate = Gate(bench.server.port, delay=_DELAY)
    gate.open()
    try:
        one = client(bench.folder / name, gate.uri)
        one.until(lambda c: bool(c.uid))
        time.sleep(draw.uniform(2.0, 6.0))
        gate.delay = 0.0 if draw.random() < 0.5 else _DELAY
        return _killed(one, database(bench.server))
    finally:
        gate.shut()


def _killed(one: Client, store: str) -> tuple[int, list[str]]:
    if helper := one.helper():
        helper.kill()
    one.end()
    sent(one.workdir)
    return 1, violations(store, one, ends=("FINISHED",), exactly=True)
