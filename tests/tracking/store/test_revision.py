"""Stores of other versions of MLflow: an older one is brought up to date beside its copy, a newer one is refused."""

from __future__ import annotations

import contextlib
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from initlab.core import exchange
from initlab.errors import ConfigError
from initlab.spec import TrackingSettings
from initlab.tracking import check_access
from initlab.tracking.store import revision
from initlab.tracking.store.client import connect
from initlab.tracking.store.faults import StoreFaultError
from initlab.tracking.store.health import read_mlflow_schemas, read_schema_version
from initlab.tracking.store.revision import is_current
from tests.cli.driver import initlab


def store(folder: Path) -> Path:
    """A real store with one run in it."""
    made = connect(f"sqlite:///{folder / 'mlflow.db'}", workdir=folder)
    run = made.create_run(made.experiment("initlab"), name="kept", start_ms=1, tags={"a": "b"})
    made.end(run, status="FINISHED", time_ms=2)
    return folder / "mlflow.db"


def downgrade(file: Path, steps: str) -> str:
    """The store as an older MLflow had it, by MLflow's own migrations backwards."""
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config, create_sqlalchemy_engine

    uri = f"sqlite:///{file}"
    config = _get_alembic_config(uri)
    engine = create_sqlalchemy_engine(uri)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, steps)
    engine.dispose()
    return read_schema_version(file)[0]


def write_revision(file: Path, revision: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        database.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def names_of_runs(file: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(file)) as database:
        return [row[0] for row in database.execute("SELECT name FROM runs")]


@pytest.mark.parametrize("steps", ["-1", "-4", "-11"])
@pytest.mark.parametrize("by", ["connect", "check_access"])
def test_an_older_store_is_brought_up_to_date_beside_its_copy(
    tmp_path: Path, steps: str, by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = store(tmp_path)
    assert is_current(file)
    revision = downgrade(file, steps)
    assert not is_current(file)
    before = names_of_runs(file)
    if by == "connect":
        connect(f"sqlite:///{file}", workdir=tmp_path)
    else:
        check_access(TrackingSettings(), workdir=tmp_path)
    copy = tmp_path / f"mlflow.db.{revision}.bak"
    told = capsys.readouterr().err
    assert f"was written by an older MLflow (revision {revision})" in told and str(copy) in told
    assert read_schema_version(copy)[0] == revision and names_of_runs(copy) == before == ["kept"]
    assert read_schema_version(file)[0] == read_mlflow_schemas()[0]
    # and it works: MLflow's own client reads the old run and writes a new one
    again = connect(f"sqlite:///{file}", workdir=tmp_path)
    again.create_run(again.experiment("initlab"), name="new", start_ms=3, tags={})
    assert names_of_runs(file) == ["kept", "new"]
    assert capsys.readouterr().err == ""
    assert sorted(p.name for p in tmp_path.glob("*.bak")) == [copy.name]


def test_a_second_copy_does_not_overwrite_the_first(tmp_path: Path) -> None:
    file = store(tmp_path)
    for _ in range(2):
        revision = downgrade(file, "-1")
        connect(f"sqlite:///{file}", workdir=tmp_path)
    names = [f"mlflow.db.{revision}.2.bak", f"mlflow.db.{revision}.bak"]
    assert sorted(p.name for p in tmp_path.glob("*.bak")) == names


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    file = store(tmp_path)
    revision = downgrade(file, "-4")
    with contextlib.closing(sqlite3.connect(file)) as database, database:
        # the tables of the store and its revision do not fit together
        database.execute("DROP TABLE runs")
        database.execute("CREATE TABLE runs (name TEXT)")
        database.execute("INSERT INTO runs VALUES ('kept')")
        for (table,) in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('runs', 'alembic_version')"
            " AND name NOT LIKE 'sqlite%'"
        ).fetchall():
            database.execute(f"DROP TABLE {table}")
    with pytest.raises(StoreFaultError, match=r"could not be brought up to date \(.*\); it is as it was") as caught:
        connect(f"sqlite:///{file}", workdir=tmp_path)
    assert caught.value.kind == "denied"
    assert read_schema_version(file)[0] == revision and names_of_runs(file) == ["kept"]


def test_a_newer_store_is_refused_and_untouched(tmp_path: Path) -> None:
    file = store(tmp_path)
    write_revision(file, "ffffffffffff")
    content = file.read_bytes()
    told = (
        r"was written by a newer MLflow: its tables have the revision f+, which the installed MLflow 3\.\d+\.\d+ does"
    )
    with pytest.raises(ConfigError, match=told) as caught:
        check_access(TrackingSettings(), workdir=tmp_path)
    assert caught.value.exit_code == 2 and "pip install --upgrade mlflow" in str(caught.value)
    with pytest.raises(StoreFaultError, match=told):
        connect(f"sqlite:///{file}", workdir=tmp_path)
    assert file.read_bytes() == content and not list(tmp_path.glob("*.bak"))


@pytest.mark.process
@pytest.mark.parametrize("sweep", [[], ["-m", "init=he,xavier", "study.name=s"]])
def test_the_command_line_with_a_newer_and_an_older_store(tmp_path: Path, sweep: list[str]) -> None:
    file = store(tmp_path)
    settings = ["data=digits", "model=linear", "trainer.epochs=1", "probes=none", "tracking.report=false", *sweep]
    latest = read_schema_version(file)[0]
    write_revision(file, "ffffffffffff")
    done = initlab(*settings, cwd=tmp_path)
    assert done.returncode == 2 and "was written by a newer MLflow" in done.stderr
    assert "Traceback" not in done.stderr and names_of_runs(file) == ["kept"]
    write_revision(file, latest)
    revision = downgrade(file, "-4")
    done = initlab(*settings, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"mlflow.db was written by an older MLflow (revision {revision})" in done.stderr
    assert f"mlflow.db.{revision}.bak" in done.stderr
    assert len(names_of_runs(file)) > 1 and (tmp_path / f"mlflow.db.{revision}.bak").is_file()


@pytest.mark.process
def test_a_stopped_process_with_the_lock_holds_nobody_up_where_the_tables_are_made(
    template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exchange._said.clear()
    monkeypatch.setattr(revision, "_LONGEST", 0.5)
    shutil.copyfile(template / "mlflow.db", tmp_path / "mlflow.db")
    (tmp_path / ".initlab").mkdir()
    for name in ("mlflow.db", "new.db"):
        lock = tmp_path / ".initlab" / f"{name}.lock"
        holder = subprocess.Popen(
            [sys.executable, "-c", "import sys, time, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire();"
             "print('held', flush=True); time.sleep(600)", str(lock)], stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "held\n"
            holder.send_signal(signal.SIGSTOP)
            if name == "mlflow.db":
                assert connect(f"sqlite:///{tmp_path}/{name}", workdir=tmp_path).experiment_names()
                assert "waiting" not in capsys.readouterr().err
                continue
            with pytest.raises(StoreFaultError, match="another process that makes the tables") as caught:
                connect(f"sqlite:///{tmp_path}/{name}", workdir=tmp_path)
            assert caught.value.kind == "away"
            assert "waiting for another process that makes the tables of" in capsys.readouterr().err
        finally:
            holder.kill()
            holder.communicate()
    assert connect(f"sqlite:///{tmp_path}/new.db", workdir=tmp_path).experiment_names()
