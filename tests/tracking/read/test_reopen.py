from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from initlab.errors import ConfigError, UnknownNameError
from initlab.spec import TrackingSettings
from initlab.tracking import spools
from initlab.tracking.read.reopen import reopen
from tests.tracking.tracking_cases import begin, eventually, expected, metrics, record, settings, status, tags

pytestmark = pytest.mark.process


def test_from_the_store_by_either_id(workdir: Path) -> None:
    sink = begin(workdir)
    for serial in range(4):
        sink.write(record(serial, nonfinite=("x",) if serial == 0 else ()))
    assert sink.close("failed") == ""
    again = reopen(sink.uid, settings(), workdir=workdir)
    assert (again.skip, again.status, again.sink.run_id) == (4, "failed", sink.run_id)
    assert status(workdir / "mlflow.db", sink.run_id) == "FAILED", "it has not begun again yet"
    again.begin()
    eventually(lambda: status(workdir / "mlflow.db", sink.run_id) == "RUNNING")
    # what a resumed training does again comes at another time, so that the store alone would keep it twice
    for serial in (2, 3):
        again.sink.write(replace(record(serial), time_ms=1_800_000_000_000))
    for serial in range(4, 8):
        again.sink.write(record(serial, nonfinite=("x",) if serial == 7 else ()))
    with pytest.raises(ConfigError, match="still running"):
        reopen(sink.run_id, settings(), workdir=workdir)
    assert again.sink.close("finished") == ""
    database = workdir / "mlflow.db"
    assert metrics(database, sink.run_id) == expected(8)
    assert status(database, sink.run_id) == "FINISHED"
    found = tags(database, sink.run_id)
    assert (found["initlab.records"], found["initlab.nonfinite"]) == ("8", "2")
    assert spools(workdir) == ()
    third = reopen(sink.run_id, settings(), workdir=workdir)
    assert third.skip == 8
    third.leave()
    assert spools(workdir) == () and status(database, sink.run_id) == "FINISHED"
    fourth = reopen(sink.run_id, settings(), workdir=workdir)
    fourth.begin()
    assert fourth.sink.close("finished") == ""


def test_from_the_spool_of_a_run_that_never_reached_a_store(workdir: Path) -> None:
    sink = begin(workdir, "http://127.0.0.1:9")
    for serial in range(4):
        sink.write(record(serial))
    (sink.checkpoint_dir / "last.safetensors").write_bytes(b"weights")
    assert sink.close("killed") != ""
    again = reopen(sink.uid, settings(), workdir=workdir)
    assert (again.skip, again.status, again.folder) == (4, "killed", sink.folder)
    again.begin()
    assert (again.folder / "config.yaml").read_text() == "seed: 0\n"
    assert (again.folder / "checkpoints" / "last.safetensors").exists()
    again.sink.write(record(3))
    again.sink.write(record(4))
    assert "5 records and 2 artifacts wait" in again.sink.close("finished")


def test_unknown_runs_name_the_known(workdir: Path) -> None:
    with pytest.raises(UnknownNameError, match="has none yet"):
        reopen("nosuchrun", settings(), workdir=workdir)
    sink = begin(workdir)
    assert sink.close("finished") == ""
    with pytest.raises(UnknownNameError, match=sink.run_id):
        reopen("nosuchrun", settings(), workdir=workdir)


def test_a_live_run_and_an_untracked_one(workdir: Path) -> None:
    sink = begin(workdir)
    with pytest.raises(ConfigError, match="still running"):
        reopen(sink.uid, settings(), workdir=workdir)
    assert sink.close("finished") == ""
    with pytest.raises(ConfigError, match="untracked"):
        reopen(sink.uid, TrackingSettings(enabled=False), workdir=workdir)
