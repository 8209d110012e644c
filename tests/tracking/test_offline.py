"""`tracking.offline=true`: no socket is opened by any process, nothing is lost, and `sync` sends all of it later."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking import RunSink, find_run, read_runs, spools
from initlab.tracking.read.reopen import reopen
from initlab.tracking.record.start import start
from initlab.tracking.upkeep.sync import sync
from tests.cli.driver import SMALL, initlab
from tests.tracking.tracking_cases import Server, expected, header, metrics, record, rows, tags

pytestmark = pytest.mark.process

OFFLINE = (*SMALL, "data.limit=200", "probes=none", "tracking.offline=true")
# of every Python process of the test, the helper's too
HOOK = """
import os, sys
def told(event, arguments):
    if event.startswith("socket.") and event != "socket.gethostname":
        with open(os.environ["SOCKETS"], "a") as file:
            print(event, arguments[1:], file=file)
sys.addaudithook(told)
"""


@pytest.fixture
def watched(tmp_path: Path) -> dict[str, str]:
    """An environment in which every use of a socket is written into a file."""
    folder = tmp_path / "watch"
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK)
    path = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "SOCKETS": str(folder / "sockets.txt")}


def test_a_run_and_a_study_open_no_socket(
    server: Server, watched: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    sockets = Path(watched["SOCKETS"])
    uri = f"tracking.uri={server.uri}"
    done = initlab(*OFFLINE, uri, cwd=home, **watched)
    assert done.returncode == 0, done.stderr
    assert "tracking: offline; " in done.stdout and "python -m initlab sync sends them" in done.stdout
    studied = initlab("-m", *OFFLINE, uri, "init=he,xavier", "study.name=away", cwd=home, **watched)
    assert studied.returncode == 0, studied.stdout + studied.stderr
    assert "4 runs wait" in studied.stdout
    assert not sockets.exists(), sockets.read_text()
    assert len(spools(home)) == 4

    # (the watch works: with contact there are sockets)
    seen = initlab(*OFFLINE[:-1], "tracking.uri=http://127.0.0.1:9", cwd=tmp_path, **watched)
    assert seen.returncode == 0 and "socket.connect" in sockets.read_text()

    refused = initlab("sync", "tracking.offline=true", cwd=home)
    assert refused.returncode == 2 and "sync has to contact the store" in refused.stderr
    sent = initlab("sync", cwd=home)
    assert sent.returncode == 0, sent.stdout
    assert spools(home) == ()
    found = {
        run_id: tags(server.database, str(run_id))
        for (run_id,) in rows(
            server.database, "SELECT run_uuid FROM tags WHERE key = 'initlab.study' AND value = 'away'"
        )
    }  # fmt: skip
    (parent,) = (i for i, t in found.items() if t["initlab.kind"] == "study")
    assert [t["mlflow.parentRunId"] for i, t in found.items() if i != parent] == [parent, parent]
    monkeypatch.chdir(home)
    online = TrackingSettings(uri=server.uri)
    assert len(read_runs(online, workdir=home, studies=["away"]).runs) == 2


def test_everything_of_a_run_waits_and_arrives(server: Server, tmp_path: Path) -> None:
    settings = TrackingSettings(uri=server.uri, offline=True)
    sink = start(header(), settings, workdir=tmp_path, files={"config.yaml": "seed: 0\n"})
    assert isinstance(sink, RunSink)
    for serial in range(50):
        sink.write(record(serial))
    (sink.checkpoint_dir / "last.safetensors").write_bytes(b"weights")
    assert "50 records and 2 artifacts wait" in sink.close("finished")
    # going on is possible without contact, as long as the spool is here
    again = reopen(sink.uid, settings, workdir=tmp_path)
    assert (again.skip, again.status) == (50, "finished")
    again.begin()
    again.sink.write(record(50))
    assert "51 records" in again.sink.close("finished")
    (sent,) = sync(tmp_path, TrackingSettings()).runs
    assert (sent.outcome, sent.records) == ("sent", 51)
    assert metrics(server.database, sent.run_id) == expected(51)


def test_what_has_to_ask_a_server_says_that_it_may_not(server: Server, tmp_path: Path) -> None:
    settings = TrackingSettings(uri=server.uri, offline=True)
    for asks in (
        lambda: read_runs(settings, workdir=tmp_path),
        lambda: find_run("last", settings, workdir=tmp_path),
        lambda: reopen("f" * 32, settings, workdir=tmp_path),
        lambda: sync(tmp_path, settings),
    ):
        with pytest.raises(ConfigError, match=r"tracking\.offline=True"):
            asks()
