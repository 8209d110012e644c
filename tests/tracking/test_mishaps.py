"""What happens beside a run: its spool is deleted, the clock is set back, text is of no encoding, an import fails."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from initlab.errors import ConfigError
from initlab.spec import Provenance, TrackingSettings
from initlab.tracking import RunSink, import_runs, spools, sync
from initlab.tracking.record.start import start
from initlab.tracking.spool import spool
from initlab.tracking.transfer.format import RUN
from tests.tracking.tracking_cases import (
    Server,
    begin,
    eventually,
    expected,
    header,
    metrics,
    record,
    rows,
    settings,
    status,
    tags,
)

pytestmark = pytest.mark.process


# ------------------------------------------------------------------ the spool is deleted in mid-run
@pytest.mark.parametrize("what", [".initlab", ".initlab/spool", ".initlab/spool/*"])
@pytest.mark.parametrize("offline", [False, True])
def test_a_spool_that_is_deleted_in_mid_run_is_told_and_made_again(
    workdir: Path, what: str, offline: bool, caplog: pytest.LogCaptureFixture
) -> None:
    sink = start(header(), replace(settings(), offline=offline), workdir=workdir, files={"config.yaml": "seed: 0\n"})
    assert isinstance(sink, RunSink)
    for serial in range(20):
        sink.write(record(serial))
    sink.sync()
    for place in workdir.glob(what):
        shutil.rmtree(place)
    serial = 20
    with caplog.at_level(logging.WARNING):
        while "was deleted" not in caplog.text and serial < 100_000:
            sink.write(record(serial))
            sink.sync()
            serial += 1
    assert "records were written again" in caplog.text and "Leave .initlab alone" in caplog.text
    sink.write(record(serial))
    told = sink.close("finished")
    assert bool(told) == offline, told
    if offline:
        (sent,) = sync(workdir, TrackingSettings()).runs
        assert (sent.outcome, sent.status) == ("sent", "finished")
    run_id = str(rows(workdir / "mlflow.db", "SELECT run_uuid FROM runs")[0][0])
    assert metrics(workdir / "mlflow.db", run_id) == expected(serial + 1)
    assert status(workdir / "mlflow.db", run_id) == "FINISHED" and spools(workdir) == ()


def test_a_spool_that_is_gone_and_cannot_be_made_again_is_no_promise(
    workdir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink = begin(workdir, "http://127.0.0.1:9", drain=1.0)
    sink.write(record(0))
    shutil.rmtree(workdir / ".initlab")
    (workdir / ".initlab").write_text("a file is in the way")
    sink.sync()
    sink.write(record(1))
    told = sink.close("finished")
    assert "was deleted while the run was recorded" in told and "is lost" in told
    assert "sends them" not in told and "sync" not in told
    assert "what it records from here on is lost" in caplog.text


# ------------------------------------------------------------------ the clock
@pytest.mark.parametrize("resumed", [False, True])
def test_a_run_does_not_end_before_it_began_after_the_clock_was_set_back(workdir: Path, resumed: bool) -> None:
    ahead = 4_000_000_000_000  # the clock was decades ahead when the run began
    sink = start(header(start_ms=ahead), settings(), workdir=workdir)
    assert isinstance(sink, RunSink)
    sink.write(record(0))
    assert sink.close("killed") == ""
    if resumed:
        from initlab.tracking import reopen

        again = reopen(sink.run_id, settings(), workdir=workdir)
        again.begin()
        again.sink.write(record(1))
        assert again.sink.close("finished") == ""
    ((begun, ended),) = rows(workdir / "mlflow.db", "SELECT start_time, end_time FROM runs")
    assert begun == ended == ahead


def test_a_killed_run_does_not_end_before_it_began(workdir: Path) -> None:
    sink = start(header(start_ms=4_000_000_000_000), replace(settings(), offline=True), workdir=workdir)
    assert isinstance(sink, RunSink)
    sink.write(record(0))
    folder = sink.folder
    sink.close("finished")
    (folder / spool.EVENTS).write_text("")
    (sent,) = sync(workdir, TrackingSettings()).runs
    assert sent.status == "killed"
    ((begun, ended),) = rows(workdir / "mlflow.db", "SELECT start_time, end_time FROM runs")
    assert begun == ended


# ------------------------------------------------------------------ text that is of no encoding
#: what Python makes of a byte of Latin-1 in a file name, of other halves of pairs, and of NUL
ODD = ("caf\udce9", "\udcff\udcfe", "half \ud83d", "end\udc00", "a\0b")


@pytest.mark.parametrize("odd", ODD, ids=ascii)
@pytest.mark.parametrize("on_server", [False, True], ids=["SQLite", "server"])
def test_text_that_no_store_takes_is_escaped_and_arrives(
    workdir: Path, odd: str, on_server: bool, request: pytest.FixtureRequest
) -> None:
    server: Server | None = request.getfixturevalue("server") if on_server else None
    source = Provenance(name=odd, source=f"/data/{odd}", digest="d", licence=odd, note=odd)
    head = header(
        f"run {odd}",
        experiment=f"lab {odd}",
        params={"data.path": odd, f"p{odd}": 1},
        tags={f"t{odd}": odd},
        dataset=source,
    )
    uri = None if server is None else server.uri
    sink = start(head, settings(uri), workdir=workdir, files={"config.yaml": f"seed: 0\nname: {odd}\n"})
    assert isinstance(sink, RunSink)
    sink.write(record(0, {f"test/recall/{odd}": 1.0, "train/loss": 2.0}))
    sink.tag({"mlflow.note.content": f"classes {odd}, {odd}", "initlab.verdict": odd})
    sink.text(f"notes {odd}.txt", f"of {odd}", folder=f"texts {odd}")
    assert sink.close("finished") == ""
    database = workdir / "mlflow.db" if server is None else server.database
    assert status(database, sink.run_id) == "FINISHED"
    shown = tags(database, sink.run_id)["initlab.verdict"]
    assert shown == odd.encode("utf-8", "surrogateescape" if odd[:3] == "caf" else "backslashreplace").decode(
        "utf-8", "backslashreplace"
    ).replace("\0", "\\x00").replace("\\udcff\\udcfe", "\\xff\\xfe")
    params = dict(rows(database, "SELECT key, value FROM params WHERE run_uuid = ?", sink.run_id))
    assert params["data.path"] == shown
    home = workdir if server is None else server.home
    (note,) = home.rglob(f"{sink.run_id}/artifacts/*/notes*.txt")
    assert note.read_text(encoding="utf-8") == f"of {shown}"
    assert len(rows(database, "SELECT key FROM metrics WHERE run_uuid = ?", sink.run_id)) == 2


# ------------------------------------------------------------------ imports that fail
@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export as `initlab export` writes it, of three runs, the last of which was running."""
    folder = tmp_path_factory.mktemp("exported")
    for number, word in enumerate(("FINISHED", "FAILED", "RUNNING")):
        run_id = f"{number}" * 32
        place = folder / "runs" / run_id
        (place / "artifacts").mkdir(parents=True)
        (place / "artifacts" / "note.txt").write_text("a file")
        (place / "metrics.jsonl").write_text("".join(json.dumps(["loss", 1.0, 1000 + i, i]) + "\n" for i in range(5)))
        run = {
            "run_id": run_id, "name": f"run {number}", "experiment": "lab", "status": word, "start_ms": 2000,
            "end_ms": 0 if word == "RUNNING" else 1000, "params": {}, "tags": {"initlab.study": "s"}, "datasets": [],
        }  # fmt: skip
        (place / RUN).write_text(json.dumps(run))
    manifest = {"format": 1, "study": "s", "runs": [f"{n}" * 32 for n in range(3)]}
    (folder / "export.json").write_text(json.dumps(manifest))
    return folder


def _artifacts_in_the_way(workdir: Path) -> None:
    (workdir / "mlruns").write_text("a file is in the way")


def _no_param(workdir: Path) -> None:
    begin(workdir).close("finished")
    _execute(workdir, "CREATE TRIGGER stop BEFORE INSERT ON metrics BEGIN SELECT RAISE(ABORT, 'no'); END")


def _no_tag(workdir: Path) -> None:
    begin(workdir).close("finished")
    words = "WHEN NEW.key = 'initlab.imported' BEGIN SELECT RAISE(ABORT, 'no'); END"
    _execute(workdir, f"CREATE TRIGGER stop BEFORE INSERT ON tags {words}")


def _execute(workdir: Path, statement: str) -> None:
    import contextlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(workdir / "mlflow.db")) as database, database:
        database.execute(statement)


def _statuses(workdir: Path) -> dict[object, object]:
    return dict(rows(workdir / "mlflow.db", "SELECT name, status FROM runs WHERE name != 'run'"))


@pytest.mark.parametrize("strike", [_artifacts_in_the_way, _no_param, _no_tag])
def test_an_import_that_fails_leaves_nothing_running_and_goes_on(
    exported: Path, workdir: Path, strike: Callable[[Path], None]
) -> None:
    strike(workdir)
    with pytest.raises(ConfigError, match="the same command continues it"):
        import_runs(exported, settings(), workdir=workdir)
    assert "RUNNING" not in _statuses(workdir).values() and _statuses(workdir)
    if strike is _artifacts_in_the_way:
        (workdir / "mlruns").unlink()
    else:
        _execute(workdir, "DROP TRIGGER stop")
    import_runs(exported, settings(), workdir=workdir)
    assert _statuses(workdir) == {"run 0": "FINISHED", "run 1": "FAILED", "run 2": "KILLED"}
    for begun, ended in rows(workdir / "mlflow.db", "SELECT start_time, end_time FROM runs WHERE name != 'run'"):
        assert begun == 2000 and ended == 2000
    assert len(rows(workdir / "mlflow.db", "SELECT step FROM metrics WHERE key = 'loss'")) == 15


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_helper_of_a_run_does_not_end_with_its_terminal(workdir: Path, number: signal.Signals) -> None:
    from initlab.tracking.deliver import helper

    sink = begin(workdir)
    sink.wait_id(60)
    os.kill(helper.current().pid, signal.SIGHUP)
    os.kill(helper.current().pid, number)
    sink.write(record(0))
    eventually(lambda: sink.run_id != sink.uid)
    assert sink.close("finished") == ""
