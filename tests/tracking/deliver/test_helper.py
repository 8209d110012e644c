"""The helper process: one for a training process, and what its death or the death of its parent leaves behind."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from initlab.tracking import preload
from initlab.tracking.deliver import helper
from initlab.tracking.spool import spool
from initlab.tracking.upkeep.sync import sync
from tests.tracking.store.test_embedded import child
from tests.tracking.tracking_cases import (
    QUIET,
    begin,
    eventually,
    expected,
    metrics,
    record,
    runs,
    settings,
    status,
    tags,
)

pytestmark = pytest.mark.process


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` strictly: a pipe left open or a process nobody waited for shows in its standard error."""
    path = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", path + code, *arguments],
        env={**os.environ, **QUIET, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


TRACKED = """
from pathlib import Path
from tracking_cases import begin, record
from initlab.tracking.deliver import helper
sink = begin(Path(sys.argv[1]))
sink.write(record(0))
print(sink.close("finished") or "arrived")
print([name for name in sys.modules if name.partition(".")[0] in ("mlflow", "sqlalchemy")])
print(helper.current().pid)
"""


def test_the_training_process_never_imports_mlflow(workdir: Path) -> None:
    done = python(TRACKED, str(workdir))
    sentence, modules, pid = done.stdout.splitlines()
    assert (sentence, modules, done.stderr) == ("arrived", "[]", "")
    # an idle helper is gone before its parent is
    assert not alive(int(pid))


def test_one_helper_for_all_runs_of_a_process(workdir: Path) -> None:
    first = begin(workdir)
    assert first.close("finished") == ""
    pid = helper.current().pid
    sinks = [begin(workdir) for _ in range(3)]
    sentences: dict[str, str] = {}

    def use(index: int) -> None:
        for serial in range(50 + index):
            sinks[index].write(record(serial))
        sentences[sinks[index].uid] = sinks[index].close("finished")

    threads = [threading.Thread(target=use, args=(index,)) for index in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(sentences.values()) == [""] * 3
    assert helper.current().pid == pid
    assert [metrics(workdir / "mlflow.db", sink.run_id) for sink in sinks] == [expected(50 + n) for n in range(3)]


def test_it_is_ready_before_there_is_a_run(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "_helpers", {})
    before = set(workdir.iterdir())
    preload(replace(settings(), offline=True), workdir)
    preload(replace(settings(), enabled=False), workdir)
    assert helper._helpers == {}
    preload(settings(), workdir)
    pid = helper.current().pid
    eventually(lambda: "sqlalchemy" in Path(f"/proc/{pid}/maps").read_text())
    assert set(workdir.iterdir()) == before, "nothing is written yet"
    sink = begin(workdir)
    sink.write(record(0))
    assert sink.close("finished") == "" and helper.current().pid == pid
    assert metrics(workdir / "mlflow.db", sink.run_id) == expected(1)


def test_a_broken_mlflow_is_told_by_the_run_that_needs_it(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(helper, "_helpers", {})
    (workdir / "broken" / "mlflow").mkdir(parents=True)
    (workdir / "broken" / "mlflow" / "__init__.py").write_text("raise ImportError('it is half installed')")
    with monkeypatch.context() as path:
        path.syspath_prepend(str(workdir / "broken"))
        preload(settings(), workdir)
        pid = helper.current().pid
    sink = begin(workdir)
    sink.write(record(0))
    sentence = sink.close("finished")
    assert "half installed" in sentence and "1 record" in sentence
    assert helper.current().pid == pid and helper.current().lost_reason == ""
    helper._stop()
    assert [run.outcome for run in sync(workdir, settings()).runs] == ["sent"]
    assert metrics(workdir / "mlflow.db", runs(workdir / "mlflow.db")[0]) == expected(1)


def test_a_killed_helper_does_not_disturb_training(workdir: Path, caplog: pytest.LogCaptureFixture) -> None:
    sink = begin(workdir)
    run_id = sink.wait_id(60)
    for serial in range(500):
        sink.write(record(serial))
    eventually(lambda: len(metrics(workdir / "mlflow.db", run_id)) > 0)
    killed = helper.current()
    with caplog.at_level(logging.WARNING):
        os.kill(killed.pid, signal.SIGKILL)
        eventually(lambda: killed.lost_reason != "")
        for serial in range(500, 2500):
            sink.write(record(serial))
        sink.tag({"note": "later"})
        sentence = sink.close("finished")
    assert sentence.startswith("tracking: the delivery process ended (SIGKILL); ")
    assert sentence.endswith("python -m initlab sync sends them")
    assert caplog.text.count("training continues, records wait in the spool") == 1
    assert [run.outcome for run in sync(workdir, settings()).runs] == ["sent"]
    database = workdir / "mlflow.db"
    assert runs(database) == [run_id]
    assert metrics(database, run_id) == expected(2500)
    assert status(database, run_id) == "FINISHED"
    assert tags(database, run_id)["note"] == "later"
    # the next run has a helper again
    later = begin(workdir)
    assert later.close("finished") == ""
    assert helper.current().pid != killed.pid


def test_a_helper_that_cannot_start(
    workdir: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(helper, "_helpers", {})
    monkeypatch.setattr(helper, "_command", lambda: [str(workdir / "nothing")])
    sink = begin(workdir)
    sink.write(record(0))
    sentence = sink.close("finished")
    assert "did not start (No such file or directory); 1 record and 1 artifact wait in " in sentence
    assert "training continues" in caplog.text
    monkeypatch.setattr(helper, "_command", lambda: [sys.executable, "-c", "raise SystemExit(3)"])
    assert "ended (exit code 3); 0 records and 1 artifact wait in " in begin(workdir).close("finished")


def test_a_helper_that_hangs(workdir: Path) -> None:
    sink = begin(workdir, drain=1.0)
    sink.wait_id(60)
    hung = helper.current()
    os.kill(hung.pid, signal.SIGSTOP)
    try:
        begun = time.monotonic()
        # more wake-ups than a pipe holds
        for serial in range(3000):
            sink.write(record(serial, {"train/loss": 1 / (serial + 1)}))
            sink._writer.wake()
        sentence = sink.close("finished")
        assert "took too long" in sentence
        assert time.monotonic() - begun < 1.0 + 5.0
    finally:
        os.kill(hung.pid, signal.SIGCONT)
    eventually(lambda: [run.outcome for run in sync(workdir, settings()).runs] in (["sent"], []))
    assert metrics(workdir / "mlflow.db", sink.run_id) == expected(3000)


NAMED = "from initlab.tracking.deliver import helper; print(helper.current().pid, flush=True); "


def test_a_killed_parent_takes_the_helper_with_it(workdir: Path) -> None:
    process = child(workdir, then=NAMED + "sink.wait_id(60); print('known', flush=True); import time; time.sleep(120)")
    assert process.stdout is not None
    lines = [process.stdout.readline().strip() for _ in range(3)]
    assert (lines[0], lines[2]) == ("written", "known")
    pid = int(lines[1])
    assert alive(pid)
    process.kill()
    process.communicate()
    report = sync(workdir, settings())
    eventually(lambda: not alive(pid), within=10)
    assert [(run.outcome, run.status) for run in report.runs] == [("sent", "killed")]
    (run_id,) = runs(workdir / "mlflow.db")
    assert metrics(workdir / "mlflow.db", str(run_id)) == expected(200)


def test_a_forked_child_keeps_no_helper_alive(workdir: Path) -> None:
    fork = "import os, time; child = os.fork(); child or time.sleep(120); print(child, flush=True); time.sleep(120)"
    process = child(workdir, then=NAMED + fork)
    assert process.stdout is not None
    _, pid, forked = [process.stdout.readline().strip() for _ in range(3)]
    try:
        process.kill()
        process.wait()
        eventually(lambda: not alive(int(pid)), within=10)
        assert alive(int(forked))
    finally:
        os.kill(int(forked), signal.SIGKILL)
        process.communicate()


def test_signals_of_a_job_are_for_the_training(workdir: Path) -> None:
    sink = begin(workdir)
    sink.wait_id(60)
    pid = helper.current().pid
    assert os.getsid(pid) == pid
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(pid, number)
    sink.write(record(0))
    assert sink.close("finished") == ""


def test_only_one_delivers_a_spool(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    process = child(workdir, then="import os; os._exit(1)")
    process.communicate(timeout=60)
    (folder,) = (workdir / ".initlab" / "spool").iterdir()
    monkeypatch.setattr(spool, "DELIVER_SECONDS", 9.0)
    lock = spool.take_delivery_lock(folder)
    assert lock is not None
    monkeypatch.setattr(spool, "DELIVER_SECONDS", 0.2)
    (waits,) = sync(workdir, settings()).runs
    assert (waits.outcome, waits.reason) == ("waits", "another process is sending it")
    monkeypatch.setattr(spool, "DELIVER_SECONDS", 9.0)
    threading.Timer(0.5, lock.release).start()
    assert [run.outcome for run in sync(workdir, settings()).runs] == ["sent"]


def test_variables_set_between_runs_reach_the_helper(monkeypatch: pytest.MonkeyPatch) -> None:
    known = helper.current()
    known.environ_changes()
    monkeypatch.setenv("MLFLOW_TRACKING_TOKEN", "new")
    assert known.environ_changes() == {"MLFLOW_TRACKING_TOKEN": "new"}
    monkeypatch.delenv("MLFLOW_TRACKING_TOKEN")
    assert known.environ_changes() == {"MLFLOW_TRACKING_TOKEN": None}
