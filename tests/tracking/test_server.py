"""A real tracking server: dead at first, dying in between, coming back."""

from __future__ import annotations

import logging
import shutil
import urllib.request
from pathlib import Path

import pytest

from initlab.spec import TrackingSettings
from initlab.tracking import spools
from initlab.tracking.read.reopen import reopen
from initlab.tracking.spool import spool
from initlab.tracking.upkeep.sync import sync
from tests.tracking.tracking_cases import (
    Gate,
    Server,
    any_floats,
    begin,
    eventually,
    expected,
    metrics,
    record,
    rows,
    settings,
    status,
    tags,
)

pytestmark = pytest.mark.process


def test_dead_at_the_start_then_alive(gate: Gate, server: Server, tmp_path: Path) -> None:
    sink = begin(tmp_path, gate.uri)
    for serial in range(40):
        sink.write(record(serial))
    assert sink.run_id == sink.uid
    sentence = sink.close("finished")
    assert sentence.startswith(f"tracking: {gate.uri} did not answer; 40 records and 1 artifact wait in ")
    assert sentence.endswith(f"{sink.uid}; python -m initlab sync sends them")
    (left,) = sync(tmp_path, TrackingSettings()).runs
    assert (left.outcome, left.records, left.artifacts) == ("waits", 40, 1)
    gate.open()
    (sent,) = sync(tmp_path, TrackingSettings()).runs
    assert (sent.outcome, sent.records, sent.artifacts, sent.status) == ("sent", 40, 1, "finished")
    assert metrics(server.database, sent.run_id) == expected(40)
    assert status(server.database, sent.run_id) == "FINISHED"
    assert spools(tmp_path) == ()


def test_contact_lost_and_found_in_mid_run(
    gate: Gate, server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gate.open()
    sink = begin(tmp_path, gate.uri)
    run_id = sink.wait_id(60)
    sink.write(record(0))
    eventually(lambda: len(metrics(server.database, run_id)) == 1)
    with caplog.at_level(logging.WARNING):
        gate.shut()
        for serial in range(1, 30):
            sink.write(record(serial))
        eventually(lambda: "did not answer; training continues" in caplog.text)
        gate.open()
        eventually(lambda: "the store answers again" in caplog.text)
    assert caplog.text.count("did not answer") == 1
    assert sink.close("finished") == ""
    assert metrics(server.database, run_id) == expected(30)


def test_a_replay_over_http_stores_nothing_twice(server: Server, tmp_path: Path) -> None:
    sink = begin(tmp_path, server.uri)
    for serial in range(100):
        sink.write(record(serial, {"train/loss": 1 / (serial + 1), **{f"diag/{n}": n / 3 for n in range(30)}}))
    shutil.copytree(sink.folder, tmp_path / "copy")
    run_id = sink.wait_id(60)
    assert sink.close("finished") == ""
    shutil.copytree(tmp_path / "copy", sink.folder)
    (sink.folder / spool.PROGRESS).unlink(missing_ok=True)
    (again,) = sync(tmp_path, settings()).runs
    assert (again.outcome, again.run_id) == ("sent", run_id)
    assert rows(server.database, "SELECT count(*) FROM metrics WHERE run_uuid = ?", run_id) == [(100 * 31,)]


def test_any_finite_metric_arrives_over_http(server: Server, tmp_path: Path) -> None:
    sink = begin(tmp_path, server.uri)
    for serial, value in enumerate(any_floats()):
        sink.write(record(serial, {"train/loss": value}))
    assert sink.close("finished") == ""
    assert metrics(server.database, sink.run_id) == list(enumerate(any_floats()))


def test_a_key_that_the_server_refuses(server: Server, tmp_path: Path) -> None:
    sink = begin(tmp_path, server.uri)
    for serial in range(10):
        sink.write(record(serial, {"train/loss": 1 / (serial + 1), "../up": 0.0} if serial == 4 else None))
    assert "refused 1 value" in sink.close("finished")
    assert metrics(server.database, sink.run_id) == expected(10)


def test_resuming_from_the_server(server: Server, tmp_path: Path) -> None:
    sink = begin(tmp_path / "first", server.uri)
    for serial in range(5):
        sink.write(record(serial))
    (sink.checkpoint_dir / "last.safetensors").write_bytes(b"weights")
    assert sink.close("killed") == ""
    again = reopen(sink.run_id, settings(server.uri), workdir=tmp_path / "second")
    assert (again.skip, again.status, again.sink.uid) == (5, "killed", sink.uid)
    assert (again.folder / "config.yaml").read_text() == "seed: 0\n"
    assert (again.folder / "checkpoints" / "last.safetensors").read_bytes() == b"weights"
    again.begin()
    eventually(lambda: status(server.database, sink.run_id) == "RUNNING")
    for serial in range(3, 9):
        again.sink.write(record(serial))
    assert again.sink.close("finished") == ""
    assert metrics(server.database, sink.run_id) == expected(9)
    assert tags(server.database, sink.run_id)["initlab.records"] == "9"


def test_a_server_started_here_shows_embedded_runs_and_their_files(server: Server) -> None:
    sink = begin(server.home)
    assert sink.close("finished") == ""
    with urllib.request.urlopen(f"{server.uri}/get-artifact?path=config.yaml&run_uuid={sink.run_id}") as answer:
        assert answer.read() == b"seed: 0\n"


def test_another_store_than_the_one_meant(server: Server, workdir: Path) -> None:
    sink = begin(workdir, "http://127.0.0.1:9")
    sink.write(record(0))
    assert "did not answer" in sink.close("finished")
    (sent,) = sync(workdir, TrackingSettings(uri="sqlite:///mlflow.db")).runs
    assert sent.outcome == "sent"
    assert metrics(workdir / "mlflow.db", sent.run_id) == expected(1)


def test_a_server_killed_and_started_again(server: Server, tmp_path: Path) -> None:
    sink = begin(tmp_path, server.uri)
    run_id = sink.wait_id(60)
    server.kill()
    for serial in range(25):
        sink.write(record(serial))
    server.start()
    assert sink.close("finished") == "" or [run.outcome for run in sync(tmp_path, settings()).runs] == ["sent"]
    assert metrics(server.database, run_id) == expected(25)
