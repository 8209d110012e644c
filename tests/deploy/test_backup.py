"""Backup, destruction, restore: the same runs, points, accounts and files as before."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.driver import initlab
from tests.deploy.compose_file import ROOT
from tests.deploy.stack import Stack
from tests.study.study_cases import TINY

pytestmark = [pytest.mark.process, pytest.mark.timeout(280), pytest.mark.xdist_group("stack")]


def backup(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "deploy" / "backup.py"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def everything(stack: Stack) -> dict[str, Any]:
    """What a client sees of the server: runs with their values, accounts, files."""
    runs = {
        r["info"]["run_id"]: {part: sorted(map(str, pairs)) for part, pairs in r["data"].items()} for r in stack.runs()
    }
    histories = {i: stack.ask(f"/api/2.0/mlflow/metrics/get-history?run_id={i}&metric_key=train/loss")[1] for i in runs}
    code, users = stack.ask("/api/2.0/mlflow/users/list")
    assert code == 200, users
    files = {
        p.relative_to(stack.home).as_posix(): p.read_bytes()
        for p in (stack.home / "artifacts").rglob("*")
        if p.is_file()
    }
    return {
        "runs": runs,
        "histories": histories,
        "users": sorted(u["username"] for u in users["users"]),
        "files": files,
    }


def private(folder: Path) -> list[Path]:
    """What nobody else may read; PostgreSQL's own folder is another user's, and its log with it."""
    return [p for p in folder.rglob("*") if "postgres" not in p.relative_to(folder).parts]


@pytest.mark.parametrize("postgres", [True, False], ids=["PostgreSQL", "SQLite"])
def test_nothing_is_lost(tmp_path: Path, postgres: bool) -> None:
    stack = Stack(postgres=postgres)
    try:
        stack.start()
        stack.account("grace", "correct-horse-battery")
        work = tmp_path / "work"
        work.mkdir()
        done = initlab(*TINY, cwd=work, **stack.environ())
        assert done.returncode == 0, done.stderr
        before = everything(stack)
        assert len(before["runs"]) == 1 and before["files"] and "grace" in before["users"]

        kept = tmp_path / "backup"
        made = backup("backup", kept, f"--home={stack.home}")
        assert made.returncode == 0, made.stderr
        twice = backup("backup", kept, f"--home={stack.home}")
        assert twice.returncode == 2 and "there already" in twice.stderr
        assert stack.password in (kept / "password").read_text() and kept.stat().st_mode & 0o077 == 0

        live = backup("restore", kept, f"--home={stack.home}")
        assert live.returncode == 2 and "a server runs on" in live.stderr and "nothing was changed" in live.stderr
        assert everything(stack) == before

        stack.stop()
        shutil.rmtree(stack.home)
        if postgres:
            early = backup("restore", kept, f"--home={stack.home}")
            assert early.returncode == 2 and "start the server once" in early.stderr
            stack.start()
            assert everything(stack)["runs"] == {}
            stack.stop()
        restored = backup("restore", kept, f"--home={stack.home}")
        assert restored.returncode == 0 and "start the server again" in restored.stdout, restored.stderr
        assert not [p for p in private(stack.home) if p.stat().st_mode & 0o077], restored
        assert not [p.name for p in stack.home.iterdir() if "restore" in p.name]
        stack.start()
        assert everything(stack) == before
        assert not [p for p in private(kept) if p.stat().st_mode & 0o077]
    finally:
        stack.remove()


def test_what_is_no_backup(tmp_path: Path) -> None:
    for words in (["restore", tmp_path], ["restore"], ["restore", tmp_path, f"--home={tmp_path / 'home'}"]):
        done = backup(*words)
        assert done.returncode == 2 and "no complete backup" in done.stderr
    assert backup("destroy").returncode == 2
    absent = backup("backup", tmp_path / "new", f"--home={tmp_path}")
    assert absent.returncode == 1 and "mlflow.db is not there" in absent.stderr
    # what was not finished is not taken for a backup
    assert backup("restore", tmp_path / "new").returncode == 2
    failed = backup("backup", tmp_path / "other", "--postgres=false")
    assert failed.returncode == 1 and "pg_dump" in failed.stderr
