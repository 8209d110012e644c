"""The scheduler as a process: a sweep every minute, stopped in the middle, gone on with, compared, and told of."""

from __future__ import annotations

import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import optuna
import pytest

from initlab.operations.schedule.child import alive
from initlab.operations.schedule.files import read_schedules
from initlab.operations.schedule.firing import Firing
from initlab.operations.schedule.follow_up import follow_up
from initlab.operations.schedule.ledger import open_ledger
from tests.cli.driver import environment, initlab, training, wait_for
from tests.cli.forkserver import Forked
from tests.study.study_cases import TINY, broken, runs

pytestmark = pytest.mark.process

RUN = json.dumps([*TINY, "init=he,xavier", "activation=relu,tanh", "replicas=3"])
#: the same with more to do, so that it is killed in the middle
LONG = RUN.replace("trainer.epochs=2", "trainer.epochs=20")
SECRET = "T0KEN-of-the-hook"


@pytest.fixture
def hook() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """An address, and what was posted to it. The first post is answered with an error."""
    posted: list[dict[str, Any]] = []
    first = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            code = 200 if first.is_set() else 503
            if first.is_set():
                posted.append({"path": self.path, **json.loads(content)})
            first.set()
            self.send_response(code)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/hook/{SECRET}", posted
    server.shutdown()
    thread.join()
    server.server_close()


def firings(workdir: Path) -> list[Firing]:
    with contextlib.closing(open_ledger(None, workdir)) as ledger:
        return ledger.firings()


@pytest.mark.timeout(400)
def test_a_sweep_that_is_stopped_goes_on_and_one_that_became_worse_is_flagged(
    workdir: Path, hook: tuple[str, list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workdir / "conf" / "schedule"
    folder.mkdir(parents=True)
    (folder / "tiny.yaml").write_text(
        f"cron: '* * * * *'\nrun: {RUN}\nwebhook_env: HOOK\nnotify: [finished, failed, regression]\n"
    )
    missing = initlab("schedule", cwd=workdir)
    assert missing.returncode == 2 and "webhook_env=HOOK: is not set" in missing.stderr
    monkeypatch.setenv("HOOK", hook[0])

    with training("schedule", cwd=workdir) as scheduler:
        trained = workdir / ".initlab" / "studies.db"
        wait_for(lambda: trained.exists() and len(runs_of(workdir)) > 4, seconds=110, process=scheduler)
        scheduler.send_signal(signal.SIGTERM)
        out, err = scheduler.communicate(timeout=90)
    assert scheduler.returncode == 0, out + err
    (stopped,) = firings(workdir)
    assert (stopped.state, stopped.attempts) == ("interrupted", 1), out + err
    # what it began is gone with it
    assert all(r.info.status != "RUNNING" for r in runs(workdir) if r.data.tags.get("initlab.kind") == "train")

    with training("schedule", cwd=workdir) as scheduler:
        wait_for(
            lambda: any(f.due == stopped.due and f.state == "finished" and f.judged for f in firings(workdir)),
            seconds=150,
            process=scheduler,
        )
        scheduler.send_signal(signal.SIGTERM)
        out, err = scheduler.communicate(timeout=90)
    assert scheduler.returncode == 0, out + err
    first = firings(workdir)[-1]
    assert (first.state, first.attempts, first.told) == ("finished", 2, ""), out + err
    study = optuna.load_study(study_name=first.study, storage=f"sqlite:///{workdir / '.initlab' / 'studies.db'}")
    own = [r for r in runs(workdir) if r.data.tags.get("initlab.study") == first.study]
    assert broken(study, own, arms=4, seeds=3) == []
    (told,) = (p for p in hook[1] if p["study"] == first.study)
    assert told["events"] == ["finished"] and "nothing to compare it with" in told["text"]

    by_hand = initlab("schedule", "run", "tiny", cwd=workdir, HOOK=hook[0])
    assert by_hand.returncode == 0, by_hand.stdout + by_hand.stderr
    assert f"4 arms compared with {first.study} by val/accuracy: none worse" in by_hand.stdout
    second = firings(workdir)[0]
    _flagged(workdir, first, second, hook)
    for file in (f for f in workdir.rglob("*") if f.is_file()):
        assert SECRET.encode() not in file.read_bytes(), file
    assert SECRET not in out + err + by_hand.stdout + by_hand.stderr


def runs_of(workdir: Path) -> list[Any]:
    if not (workdir / "mlflow.db").exists():
        return []
    try:
        with contextlib.closing(sqlite3.connect(workdir / "mlflow.db", timeout=30)) as database:
            return database.execute("SELECT 1 FROM tags WHERE key = 'initlab.kind' AND value = 'train'").fetchall()
    except sqlite3.OperationalError:
        return []  # the tables are being made


def _flagged(workdir: Path, first: Firing, second: Firing, hook: tuple[str, list[dict[str, Any]]]) -> None:
    """Where the runs of one arm reach less than before, by more than they scatter, that is said everywhere.

    Seeds 0, 1 and 2 lose 0.300, 0.301 and 0.302: the mean is 0.301 in every run of this test.
    """
    with contextlib.closing(sqlite3.connect(workdir / "mlflow.db", timeout=30)) as database:
        changed = database.execute(
            "UPDATE latest_metrics SET value = value - 0.3 - 0.001 * (SELECT CAST(s.value AS REAL) FROM params s"
            " WHERE s.run_uuid = latest_metrics.run_uuid AND s.key = 'seed') WHERE key = 'val/accuracy'"
            " AND run_uuid IN (SELECT a.run_uuid FROM tags a JOIN params p USING (run_uuid) JOIN params q"
            " USING (run_uuid) WHERE a.key = 'initlab.study' AND a.value = ? AND p.key = 'init' AND p.value = 'he'"
            " AND q.key = 'activation' AND q.value = 'tanh')", (second.study,),
        ).rowcount  # fmt: skip
        database.commit()
    assert changed == 3
    (schedule,) = read_schedules(workdir / "conf" / "schedule")
    with contextlib.closing(open_ledger(None, workdir)) as ledger:
        lines = follow_up(schedule, second, ledger, workdir)
    assert any("1 worse" in line for line in lines), lines
    (worse,) = firings(workdir)[0].regressions
    assert worse.startswith("init=he activation=tanh: val/accuracy -0.301 ") and "3 seeds" in worse
    assert hook[1][-1]["events"] == ["finished", "regression"] and worse in hook[1][-1]["text"]
    parents = [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "study"]
    flagged = {r.info.run_name: r.data.tags.get("initlab.regression") for r in parents}
    assert flagged == {first.study: None, second.study: worse}
    note = next(r.data.tags["mlflow.note.content"] for r in parents if r.info.run_name == second.study)
    assert r"4 arms compared with" in note and "init=he activation=tanh" in note
    shown = initlab("schedule", "history", cwd=workdir)
    assert f"worse: {worse}" in shown.stdout


@pytest.mark.timeout(240)
def test_a_study_whose_scheduler_was_killed_is_asked_to_end_and_gone_on_with(workdir: Path) -> None:
    folder = workdir / "conf" / "schedule"
    folder.mkdir(parents=True)
    (folder / "once.yaml").write_text(f"cron: 0 0 1 1 *\nrun: {LONG}\n")
    # no pipes: the study holds its scheduler's end of them, and lives on
    by_hand = Forked(
        [sys.executable, "-m", "initlab", "schedule", "run", "once"], cwd=workdir, env=environment(),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wait_for(lambda: len(runs_of(workdir)) > 0, seconds=120)
    by_hand.kill()
    by_hand.wait(30)
    (left,) = firings(workdir)
    assert left.state == "running" and alive(left.pid, left.study)
    with training("schedule", cwd=workdir) as scheduler:
        wait_for(
            lambda: firings(workdir)[0].judged and firings(workdir)[0].state == "finished",
            seconds=150,
            process=scheduler,
        )
        assert not alive(left.pid, left.study)
        scheduler.send_signal(signal.SIGTERM)
        out, err = scheduler.communicate(timeout=90)
    assert "its scheduler died" in out and "attempt 2" in out, out + err
    study = optuna.load_study(study_name=left.study, storage=f"sqlite:///{workdir / '.initlab' / 'studies.db'}")
    assert broken(study, runs(workdir), arms=4, seeds=3) == []
