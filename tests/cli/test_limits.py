"""Limits of the machine, and names in other encodings, as a person meets them: one sentence, and what goes on."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from tests.cli.driver import SMALL, environment, initlab, training, wait_for
from tests.cli.forkserver import Forked
from tests.tracking.tracking_cases import free_port, rows

pytestmark = pytest.mark.process


# ------------------------------------------------------------------ memory
@pytest.mark.parametrize(
    "words",
    [
        ("model=mlp", "model.width=400000"),
        ("task=synthetic", "data=adding", "model=gru", "model.hidden_size=300000"),
        ("model=mlp", "model.depth=3", "init=orthogonal", "model.width=300000"),
    ],
)
def test_a_network_that_is_too_large_is_one_sentence_with_advice(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = initlab(
        *words if "data=" in " ".join(words) else ("data=digits", *words), "tracking.offline=true", cwd=tmp_path
    )
    assert done.returncode == 1, done.stderr
    assert "the memory did not suffice" in done.stderr and "trainer.batch_size" in done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert "Error" not in done.stderr


@pytest.mark.parametrize("gigabytes", [1, 5])
def test_a_limit_of_the_shell_is_one_sentence_with_advice(tmp_path: Path, gigabytes: int) -> None:
    """Below what the libraries take, and below what the network takes."""
    done = subprocess.run(
        [sys.executable, "-m", "initlab", "data=digits", "model=mlp", "model.width=20000", "tracking.offline=true"],
        cwd=tmp_path, env=environment(), capture_output=True, text=True, timeout=120, check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (gigabytes << 30, gigabytes << 30)),
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "the memory did not suffice" in done.stderr and "ulimit -v" in done.stderr
    assert "Traceback" not in done.stderr


# ------------------------------------------------------------------ a full disk in a checkpoint
@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB."""
    folder, mount = tmp_path / "small", shutil.which("mount")
    folder.mkdir()
    done = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=4m", "none", str(folder)], capture_output=True, check=False
    )
    if not done or done.returncode != 0:
        pytest.skip("mounting a small file system is not permitted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("every", ["null", "5"])
def test_a_checkpoint_that_does_not_fit_is_told_once_and_the_run_goes_on(
    small_disk: Path, tmp_path: Path, optimizer: str, every: str
) -> None:
    words = (
        "data=digits", "model=mlp", "model.width=800", "model.depth=3", f"optimizer={optimizer}", "trainer.epochs=3",
        f"trainer.checkpoint_every={every}", "tracking.report=false", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db",
    )  # fmt: skip
    done = initlab(*words, cwd=small_disk)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr.count("its disk is full: free some space") == 1 and "training continues" in done.stderr
    assert "trainer.checkpoint=false" in done.stderr and "Traceback" not in done.stderr
    assert rows(tmp_path / "mlflow.db", "SELECT status FROM runs") == [("FINISHED",)]
    ((accuracy,),) = rows(tmp_path / "mlflow.db", "SELECT value FROM metrics WHERE key = 'test/accuracy'")
    whole = initlab(*words[:-1], f"tracking.uri=sqlite:///{tmp_path}/whole.db", cwd=tmp_path)
    assert whole.returncode == 0
    assert rows(tmp_path / "whole.db", "SELECT value FROM metrics WHERE key = 'test/accuracy'") == [(accuracy,)]
    assert not list(small_disk.glob(".initlab/spool/*/checkpoints/*.tmp"))


# ------------------------------------------------------------------ names in Latin-1
def test_class_folders_in_latin_1_are_trained_on_and_recorded(tmp_path: Path) -> None:
    """Folders from an old archive: their names are no UTF-8, nor is a name, a tag and a note that is typed."""
    draw = np.random.default_rng(0)
    for name in (b"caf\xe9", b"caf\xe8", b"\xfcber", "thé".encode()):
        folder = os.path.join(os.fsencode(tmp_path), b"bilder \xe4", name)  # noqa: PTH118
        os.makedirs(folder)  # noqa: PTH103
        for number in range(12):
            picture = Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8))
            with open(os.path.join(folder, b"bild\xe9%d.png" % number), "wb") as file:  # noqa: PTH118, PTH123
                picture.save(file, "PNG")
    words = [
        b"data=image_folder", b"data.path='bilder \xe4'", b"model=mlp", b"model.width=8", b"trainer.epochs=1",
        b"tracking.run_name='lauf \xe4'", b"tracking.report=true",
    ]  # fmt: skip
    done = subprocess.run(
        [sys.executable, b"-m", b"initlab", *words], cwd=tmp_path, env=environment(), capture_output=True,
        timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert b"Traceback" not in done.stderr
    assert rows(tmp_path / "mlflow.db", "SELECT name, status FROM runs") == [("lauf \\xe4", "FINISHED")]
    keys = {
        str(k) for (k,) in rows(tmp_path / "mlflow.db", "SELECT DISTINCT key FROM metrics WHERE key LIKE '%recall%'")
    }
    assert len(keys) == 4, keys
    assert not list((tmp_path / ".initlab" / "spool").iterdir())
    (page,) = (tmp_path / "mlruns").rglob("report.html")
    assert "caf\\xe9" in page.read_text(encoding="utf-8")


# ------------------------------------------------------------------ the study's own run
def test_the_metrics_of_a_study_have_one_point_a_step(tmp_path: Path) -> None:
    """Also where the study is ended and goes on, and where arms are added while others train."""
    grid = ("-m", *SMALL[:-2], "trainer.epochs=60", "init=he,xavier,lecun,uniform", "probes=none", "study.workers=2")
    with training(*grid, cwd=tmp_path) as study:
        wait_for(lambda: _points(tmp_path, "study/complete"), process=study)
        study.send_signal(signal.SIGINT)
        study.communicate(timeout=100)
    done = initlab(*grid, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    database = tmp_path / "mlflow.db"
    doubled = rows(
        database, "SELECT run_uuid, key, step, count(*) FROM metrics WHERE key LIKE 'study/%'"
        " GROUP BY run_uuid, key, step HAVING count(*) > 1",
    )  # fmt: skip
    assert doubled == []
    assert max(s for (s,) in rows(database, "SELECT step FROM metrics WHERE key = 'study/complete'")) >= 3


def _points(workdir: Path, key: str) -> list[tuple[object, ...]]:
    if not (workdir / "mlflow.db").exists():
        return []
    with contextlib.suppress(sqlite3.OperationalError):  # its tables are being made
        return rows(workdir / "mlflow.db", "SELECT step FROM metrics WHERE key = ?", key)
    return []


# ------------------------------------------------------------------ initlab ui
@pytest.mark.parametrize(("how", "start"), [(signal.SIGTERM, subprocess.Popen), (signal.SIGHUP, Forked)])
def test_ui_ends_the_tree_that_it_started(tmp_path: Path, how: signal.Signals, start: Any) -> None:
    assert initlab(*SMALL, "probes=none", cwd=tmp_path).returncode == 0
    port = free_port()
    process = start(
        [sys.executable, "-m", "initlab", "ui", f"port={port}"], cwd=tmp_path, env=environment(), text=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        tree: list[psutil.Process] = []

        def serves() -> bool:
            with contextlib.suppress(psutil.NoSuchProcess):  # one that has just ended
                tree[:] = psutil.Process(process.pid).children(recursive=True)
                return any(c.laddr.port == port for p in tree for c in p.net_connections() if c.status == "LISTEN")
            return False

        wait_for(serves, process=None)
        names = [" ".join(p.cmdline()) for p in tree]
        assert tree and not any("huey" in name or "job" in name for name in names), names
        if start is not Forked:  # the system shows the environment that a process began with
            variables = tree[0].environ()
            assert variables["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
            assert variables["MLFLOW_DISABLE_TELEMETRY"] == variables["DO_NOT_TRACK"] == "true"
        process.send_signal(how)
        assert process.wait(30) == 0
        _, alive = psutil.wait_procs(tree, timeout=10)
        assert alive == []
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
    assert not json.loads(_note(tmp_path) or "{}")


def _note(workdir: Path) -> str:
    found = [p for p in (workdir / ".initlab").glob("ui*.json") if p.is_file()]
    return found[0].read_text() if found else ""
