"""Database servers that take a connection and then are slow, silent, or something else."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from initlab.core import exchange
from initlab.errors import ConfigError
from initlab.operations.schedule.ledger import open_ledger
from initlab.study.search import storage
from initlab.study.search.storage import open_storage
from tests.cli.driver import environment
from tests.study.study_cases import TINY
from tests.tracking.peers import Peer, peer

SECRET = "correct-horse-battery"


class Database(Peer):
    """What comes first is no HTTP: whatever it is, the answer follows it."""

    def _head(self, inner: object) -> bytes:
        return inner.recv(4096)  # type: ignore[attr-defined]


@pytest.mark.parametrize("way", ["silent", "drip", "drip in the body", "reset", "no HTTP", "login page", "empty body"])
@pytest.mark.parametrize("what", ["study", "schedule"])
def test_it_is_given_up_in_words(what: str, way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "ANSWER", 2)
    one = Database(behaviour=way)
    try:
        url = f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:{one.port}/optuna"
        with pytest.raises(ConfigError) as caught:
            open_storage(url) if what == "study" else open_ledger(url, tmp_path)
    finally:
        one.close()
    said = str(caught.value)
    assert f"{what}.storage" in said and "cannot be used" in said
    assert SECRET not in said and "\n" not in said and "<html" not in said


@pytest.mark.parametrize("address", ["127.0.0.1:1", "no-such-name.invalid:5432", "[::1]:1"])
def test_addresses_that_nothing_answers(address: str) -> None:
    with pytest.raises(ConfigError, match="cannot be used") as caught:
        open_storage(f"postgresql+psycopg://ada:{SECRET}@{address}/optuna")
    assert SECRET not in str(caught.value)


@pytest.mark.process
def test_ctrl_c_ends_the_wait_and_who_is_waited_for_is_said_first(tmp_path: Path) -> None:
    one = Database(behaviour="silent")
    try:
        url = f"postgresql://ada@127.0.0.1:{one.port}/optuna"
        process = subprocess.Popen(
            [sys.executable, "-m", "initlab", "-m", *TINY, "init=he,xavier", f"study.storage={url}"], cwd=tmp_path,
            env=environment(), stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stderr is not None
        first = process.stderr.readline()
        assert first.startswith("initlab: waiting for postgresql://127.0.0.1, 15 s at most"), first
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)
        assert process.returncode == 1
    finally:
        one.close()


def test_a_wait_is_said_once_for_each_peer(capsys: pytest.CaptureFixture[str]) -> None:
    exchange._said.clear()
    with peer(behaviour="silent"):
        for name in ("a", "b", "a"):
            exchange.say_waiting(name, 5)
    assert capsys.readouterr().err.count("waiting for") == 2
