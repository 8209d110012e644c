"""What could keep runs from working is told with what to do; what may go is told first, and only that goes."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from mlflow import MlflowClient

from initlab.operations.doctor import examine, installation
from initlab.operations.doctor.line import Line
from initlab.operations.gc import Rules, delete, find_candidates
from initlab.tracking.store.health import read_mlflow_schemas, read_schema_version
from tests.cli.driver import initlab
from tests.study.study_cases import TINY, runs
from tests.tracking.tracking_cases import begin, free_port, record, settings

pytestmark = pytest.mark.process

ALL = Rules(checkpoints_days=0, deleted_days=0, logs_days=0, studies_days=0, spool_days=0)


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a study of three arms and two seeds that has ended. Tests only read it."""
    folder = tmp_path_factory.mktemp("studied")
    done = initlab("-m", *TINY, "init=he,xavier,zeros", "replicas=2", "study.name=s", cwd=folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def level(lines: list[Line], subject: str) -> str:
    return max((one.level for one in lines if one.subject == subject), key=("ok", "warning", "problem").index)


# ------------------------------------------------------------------ doctor
def test_an_empty_directory_is_well_and_stays_empty(workdir: Path) -> None:
    done = initlab("doctor", cwd=workdir)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].startswith("0 problems, ")
    for subject in ("versions", "torch", "device", "disk", "data", "store", "clock", "spool", "runs", "schedules"):
        assert f" {subject} " in done.stdout, done.stdout
    assert list(workdir.iterdir()) == []


def test_what_is_wrong_is_a_problem_with_what_to_do(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INITLAB_DATA", str(workdir / "nowhere"))
    (workdir / "conf" / "schedule").mkdir(parents=True)
    (workdir / "conf" / "schedule" / "a.yaml").write_text("cron: 61 * * * *\nrun: ['init=he,xavier']\n")
    (workdir / "mlflow.db").write_bytes(b"no database" * 100)
    lines = list(examine(settings(), workdir, schedules=workdir / "conf" / "schedule"))
    for subject, words in (("data", "nowhere"), ("schedules", "61"), ("store", "cannot be read")):
        (bad,) = (one for one in lines if one.subject == subject and one.level == "problem")
        assert words in bad.found and bad.do
    assert initlab("doctor", cwd=workdir, INITLAB_DATA=str(workdir / "nowhere")).returncode == 1


def test_a_store_of_another_version_is_told(studied: Path, workdir: Path) -> None:
    head, known = read_mlflow_schemas()
    assert read_schema_version(studied / "mlflow.db") == (head, "") and len(known) > 20
    (workdir / "mlflow.db").write_bytes((studied / "mlflow.db").read_bytes())
    for version, words in ((sorted(known - {head})[0], "older MLflow"), ("f" * 12, "newer MLflow")):
        with contextlib.closing(sqlite3.connect(workdir / "mlflow.db")) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", (version,))
            database.commit()
        told = [one for one in examine(settings(), workdir, schedules=workdir / "none") if one.subject == "store"]
        assert len(told) == 1 and told[0].level == "problem" and words in told[0].found


@pytest.fixture
def late_server() -> Iterator[str]:
    """A server whose clock is two hours behind."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/health" else 404)
            self.end_headers()

        def date_time_string(self, timestamp: float | None = None) -> str:
            return super().date_time_string((timestamp or time.time()) - 7200)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_clock_that_is_off_and_a_server_that_is_away(workdir: Path, late_server: str) -> None:
    lines = list(examine(settings(late_server), workdir, schedules=workdir / "none"))
    assert level(lines, "clock") == "warning" and any("-72" in one.found for one in lines), lines
    away = list(examine(settings(f"http://127.0.0.1:{free_port()}"), workdir, schedules=workdir / "none"))
    assert level(away, "store") == "problem" and level(away, "clock") == "ok"


def test_what_waits_and_what_nobody_ended(workdir: Path) -> None:
    sink = begin(workdir, drain=30.0)
    sink.write(record(0))
    sink.close("finished")
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    (run,) = runs(workdir)
    client.set_tag(run.info.run_id, "initlab.kind", "train")
    client.update_run(run.info.run_id, status="RUNNING")
    waiting = begin(workdir, f"http://127.0.0.1:{free_port()}", drain=0.5)
    waiting.write(record(0))
    waiting.close("finished")
    lines = list(examine(settings(f"sqlite:///{workdir / 'mlflow.db'}"), workdir, schedules=workdir / "none"))
    assert level(lines, "spool") == "warning" and level(lines, "runs") == "warning", lines


def test_versions_are_those_that_were_tested() -> None:
    assert [one.level for one in installation.versions()] == ["ok"]


# ------------------------------------------------------------------ gc
def copied(studied: Path, workdir: Path) -> None:
    """The study as if it had been made here: MLflow names artifacts by their whole path."""
    done = os.system(f"cp -a '{studied}'/. '{workdir}'/")
    assert done == 0
    with contextlib.closing(sqlite3.connect(workdir / "mlflow.db")) as database:
        for table, column in (("runs", "artifact_uri"), ("experiments", "artifact_location")):
            database.execute(f"UPDATE {table} SET {column} = replace({column}, ?, ?)", (str(studied), str(workdir)))
        database.commit()


def test_nothing_goes_before_its_time_or_without_being_asked(studied: Path, workdir: Path) -> None:
    copied(studied, workdir)
    before = sorted(str(p) for p in workdir.rglob("*"))
    assert find_candidates(Rules(), settings(), workdir) == []
    told = initlab("gc", "gc.checkpoints_days=0", "gc.studies_days=0", cwd=workdir)
    assert told.returncode == 0 and "can be deleted; nothing was touched" in told.stdout and "studies:" in told.stdout
    assert sorted(str(p) for p in workdir.rglob("*")) == before
    bad = initlab("gc", "gc.checkpoints_days=-1", cwd=workdir)
    assert bad.returncode == 2 and "gc.checkpoints_days=-1" in bad.stderr


def test_checkpoints_of_losing_arms_go_first_and_the_winner_keeps_its_own(studied: Path, workdir: Path) -> None:
    copied(studied, workdir)
    trained = [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "train"]
    best = max(trained, key=lambda r: r.data.metrics["val/accuracy"])
    going = find_candidates(ALL, settings(), workdir)
    assert going[0].kind == "checkpoints"
    assert len([g for g in going if g.kind == "checkpoints"]) == 4
    size = sum(g.size for g in going)
    freed, failed = delete(going, workdir)
    assert (freed, failed) == (size, []) and size > 0
    left = {p.parts[-3] for p in (workdir / "mlruns").rglob("checkpoints")}
    winners = {r.info.run_id for r in trained if r.data.tags["initlab.arm"] == best.data.tags["initlab.arm"]}
    assert left == winners
    assert not (workdir / ".initlab" / "studies" / "s").exists()
    # the record is as it was
    assert len(runs(workdir)) == len(trained) + 1
    assert find_candidates(ALL, settings(), workdir) == []


def test_a_run_that_runs_and_one_that_waits_are_left_alone(studied: Path, workdir: Path) -> None:
    copied(studied, workdir)
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    one = next(r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "train")
    client.update_run(one.info.run_id, status="RUNNING")
    assert {g.kind for g in find_candidates(ALL, settings(), workdir)} <= {"logs"}
    client.update_run(one.info.run_id, status="FINISHED")
    waiting = begin(workdir, f"http://127.0.0.1:{free_port()}", drain=0.5)
    waiting.write(record(0))
    waiting.close("finished")
    kinds = {g.kind for g in find_candidates(ALL, settings(), workdir)}
    assert "spool" not in kinds and "studies" not in kinds


def test_artifacts_of_deleted_runs_go_and_a_path_out_of_the_store_does_not(studied: Path, workdir: Path) -> None:
    copied(studied, workdir)
    (workdir / "private").mkdir()
    (workdir / "private" / "file").write_text("x")
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    one, other = (
        r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "train" and r.data.params["init"] == "he"
    )
    for run in (one, other):
        client.delete_run(run.info.run_id)
    with contextlib.closing(sqlite3.connect(workdir / "mlflow.db")) as database:
        lie = (str(workdir / "private"), other.info.run_id)
        database.execute("UPDATE runs SET artifact_uri = ? WHERE run_uuid = ?", lie)
        database.commit()
    going = [g for g in find_candidates(Rules(deleted_days=0), settings(), workdir) if g.kind == "deleted runs"]
    assert [g.path for g in going] == [workdir / "mlruns" / "initlab" / one.info.run_id]
    delete(going, workdir)
    assert not going[0].path.exists() and (workdir / "private" / "file").exists()
