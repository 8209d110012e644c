"""SIGTERM, kill -9, resume and sync on real processes and a real store."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from tests.cli.driver import LONG, SMALL, environment, initlab, training, wait_for
from tests.cli.forkserver import Forked
from tests.tracking.tracking_cases import rows

pytestmark = pytest.mark.process


def spool(folder: Path) -> Path | None:
    found = list((folder / ".initlab" / "spool").glob("*/records.jsonl"))
    return found[0].parent if found else None


def steps_written(folder: Path) -> int:
    place = spool(folder)
    if place is None:
        return -1
    lines = (place / "records.jsonl").read_bytes().splitlines()
    return int(json.loads(lines[-1])["step"]) if lines and lines[-1].endswith(b"}") else -1


def client(folder: Path) -> Any:
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=f"sqlite:///{folder / 'mlflow.db'}")


def only_run(folder: Path) -> Any:
    runs = client(folder).search_runs([e.experiment_id for e in client(folder).search_experiments()])
    assert len(runs) == 1
    return runs[0]


def final_weights(folder: Path) -> dict[str, Any]:
    (path,) = (folder / "mlruns").rglob("checkpoints/last.safetensors")
    last = {k.removeprefix("model."): v for k, v in load_file(path).items() if k.startswith("model.")}
    return last or load_file(path.with_name("best.safetensors"))


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("uninterrupted")
    done = initlab(*LONG, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.xdist_group("endings")
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL], ids=["SIGTERM", "SIGHUP", "kill -9"])
def test_a_killed_run_keeps_its_records_and_resumes_bit_for_bit(
    tmp_path: Path, uninterrupted: Path, how: signal.Signals
) -> None:
    with training(*LONG, cwd=tmp_path) as process:
        wait_for(lambda: steps_written(tmp_path) >= 300, process=process)
        process.send_signal(how)
        out, err = process.communicate(timeout=60)
    if how is not signal.SIGKILL:
        assert process.returncode == 1, err
        assert "Next: python -m initlab resume=" in out
        assert spool(tmp_path) is None, "everything was delivered before the end"
    else:
        assert process.returncode == -signal.SIGKILL
        waiting = steps_written(tmp_path)
        synced = initlab("sync", cwd=tmp_path)
        assert synced.returncode == 0, synced.stderr
        assert spool(tmp_path) is None
        losses = client(tmp_path).get_metric_history(only_run(tmp_path).info.run_id, "train/loss")
        assert max(m.step for m in losses) >= waiting - 10
    run = only_run(tmp_path)
    assert (run.info.status, run.data.tags["initlab.status"]) == ("KILLED", "killed")
    run_id = run.info.run_id
    # every record up to the stop, none twice: the training records come every 10 updates, without a gap
    steps = [m.step for m in client(tmp_path).get_metric_history(run_id, "val/loss")]
    assert len(steps) == len(set(steps)) and steps[0] == 0

    resumed = initlab(f"resume={run_id}", cwd=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    run = only_run(tmp_path)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    mine, whole = final_weights(tmp_path), final_weights(uninterrupted)
    assert mine.keys() == whole.keys() and all(mine[k].equal(whole[k]) for k in whole)

    def history(folder: Path, key: str) -> list[tuple[int, float]]:
        found = client(folder).get_metric_history(only_run(folder).info.run_id, key)
        return sorted((m.step, m.value) for m in found)

    for key in ("train/loss", "val/accuracy", "watch/grad_norm/head.weight", "test/accuracy"):
        assert history(tmp_path, key) == history(uninterrupted, key), key


@pytest.mark.xdist_group("endings")
def test_resume_refuses_what_would_be_another_run_and_what_does_not_exist(uninterrupted: Path) -> None:
    run_id = only_run(uninterrupted).info.run_id
    other = initlab(f"resume={run_id}", "init=xavier", cwd=uninterrupted)
    assert other.returncode == 2 and "init: cannot be changed when a run is resumed" in other.stderr
    unknown = initlab("resume=0123456789", cwd=uninterrupted)
    assert unknown.returncode == 2 and "0123456789" in unknown.stderr and "Traceback" not in unknown.stderr
    assert only_run(uninterrupted).info.status == "FINISHED"


def dump(folder: Path) -> list[tuple[Any, ...]]:
    """Every row of the store that tells of a run."""
    tables = ("runs", "metrics", "latest_metrics", "params", "tags", "inputs")
    return [row for table in tables for row in sorted(rows(folder / "mlflow.db", f"SELECT * FROM {table}"), key=repr)]


@pytest.mark.xdist_group("endings")
def test_a_finished_run_that_is_resumed_says_so_and_its_store_stays_as_it_is(uninterrupted: Path) -> None:
    run_id, before = only_run(uninterrupted).info.run_id, dump(uninterrupted)
    for name in (run_id, "last", run_id[:10], f"'{run_id[:9]}'"):
        done = initlab(f"resume={name}", cwd=uninterrupted)
        assert done.returncode == 0 and "it finished after" in done.stderr and "trainer.epochs=N" in done.stderr
    fewer = initlab("resume=last", "trainer.epochs=3", cwd=uninterrupted)
    assert fewer.returncode == 0 and "nothing was changed" in fewer.stderr
    # nor does a mistake in what is typed beside it change how the run ended
    assert initlab("resume=last", "trainer.epochs=-3", cwd=uninterrupted).returncode == 2
    assert dump(uninterrupted) == before and spool(uninterrupted) is None


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_says_how_the_run_goes_on(tmp_path: Path, second: signal.Signals) -> None:
    with training(*LONG, cwd=tmp_path) as process:
        wait_for(lambda: steps_written(tmp_path) >= 100, process=process)
        os.kill(process.pid, signal.SIGSTOP)  # so that both are there before the first is answered
        process.send_signal(signal.SIGTERM if second is signal.SIGINT else signal.SIGINT)
        process.send_signal(second)
        process.send_signal(signal.SIGCONT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and "Traceback" not in err
    told = err.replace("\n", " ")
    assert "was interrupted at once" in told and "python -m initlab sync sends them" in told
    typed = told.split("python -m initlab resume=")[1].split()[0]
    assert initlab("sync", cwd=tmp_path).returncode == 0
    assert only_run(tmp_path).info.status == "KILLED"
    again = initlab(f"resume={typed}", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert only_run(tmp_path).info.status == "FINISHED"


def test_a_run_outlives_the_terminal_that_it_was_started_in(tmp_path: Path) -> None:
    """The terminal closes: the run is asked to end, twice, and what it prints then goes nowhere."""
    ours, theirs = pty.openpty()
    process = Forked(
        [sys.executable, "-m", "initlab", *LONG], cwd=tmp_path, env=environment(),
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    try:
        wait_for(lambda: steps_written(tmp_path) >= 100, process=None)
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        assert process.wait(60) == 1
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(30)
    run = only_run(tmp_path)
    assert (run.info.status, run.data.tags["initlab.status"]) == ("KILLED", "killed")
    assert "initlab.error" not in run.data.tags and spool(tmp_path) is None


def test_a_run_started_with_nohup_ignores_the_end_of_the_terminal(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # a child of this process ignores it, too
    try:
        process = subprocess.Popen(
            [sys.executable, "-m", "initlab", *SMALL, "trainer.epochs=30", "tracking.offline=true"], cwd=tmp_path,
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    finally:
        signal.signal(signal.SIGHUP, before)
    try:
        wait_for(lambda: steps_written(tmp_path) >= 20, process=process)
        process.send_signal(signal.SIGHUP)
        out, err = process.communicate(timeout=60)
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    assert process.returncode == 0, err
    assert "SIGHUP" not in err and "resume=" not in out


@pytest.mark.parametrize("how", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_sync_is_ended_by_each_signal_and_says_what_waits(tmp_path: Path, how: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:  # takes the call, and never answers
        uri = f"tracking.uri=http://127.0.0.1:{silent.getsockname()[1]}"
        done = initlab(*SMALL, uri, "tracking.offline=true", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        process = Forked(
            [sys.executable, "-m", "initlab", "sync"], cwd=tmp_path, env=environment(), text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        silent.settimeout(60)
        call, _ = silent.accept()
        with call:
            process.send_signal(how)
            _, err = process.communicate(timeout=20)
    assert process.returncode == 1 and "still waits here: python -m initlab sync goes on" in err
    assert "Traceback" not in err and spool(tmp_path) is not None


@pytest.mark.parametrize("name", ["1234e567", "12345678", "0e000000", "1_234_56", "12e-3456"])
def test_the_beginning_of_an_id_that_looks_like_a_number_is_taken_as_it_was_typed(
    uninterrupted: Path, name: str
) -> None:
    done = initlab(f"resume={name}", cwd=uninterrupted)
    assert done.returncode == 2 and f"resume={name}: " in done.stderr
