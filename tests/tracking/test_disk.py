"""Disks that are full or closed to writing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from initlab.errors import StoreError, WorkdirError
from initlab.tracking import spools
from initlab.tracking.spool import spool
from initlab.tracking.upkeep.sync import sync
from tests.tracking.tracking_cases import begin, metrics, record, settings, status

pytestmark = pytest.mark.process


def fill(folder: Path, *, leave: int = 0) -> Path:
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            file.truncate(max(0, file.tell() - leave))
    return ballast


def test_a_full_directory_is_refused_at_the_start(small_disk: Path) -> None:
    fill(small_disk)
    with pytest.raises(WorkdirError, match=r"its disk is full; run in another directory") as caught:
        begin(small_disk)
    assert str(small_disk) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_read_only_directory_is_refused_at_the_start(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(WorkdirError, match="read-only file system"):
        begin(small_disk)


def test_a_file_in_the_way_is_refused_at_the_start(tmp_path: Path) -> None:
    (tmp_path / ".initlab").write_text("")
    with pytest.raises(WorkdirError, match="cannot hold a run"):
        begin(tmp_path)


def test_a_disk_that_fills_up_in_mid_run(small_disk: Path, workdir: Path) -> None:
    sink = begin(small_disk, f"sqlite:///{workdir}/mlflow.db", flush=30)
    sink.wait_id(60)
    # no room is left in the last block of the events either: the end of the run needs what was kept in reserve
    empty = '{"kind":"tags","tags":{"pad":""}}\n'
    used = (sink.folder / spool.EVENTS).stat().st_size
    sink.tag({"pad": "x" * (4096 - (used + len(empty)) % 4096)})
    assert (sink.folder / spool.EVENTS).stat().st_size % 4096 == 0
    fill(small_disk)
    written = 0
    with pytest.raises(StoreError, match="No space left on device"):
        while True:
            sink.write(record(written))
            written += 1
    # the store is on another disk: everything that was written arrives, and so does the end
    assert sink.close("failed") == ""
    assert len(metrics(workdir / "mlflow.db", sink.run_id)) == written
    assert status(workdir / "mlflow.db", sink.run_id) == "FAILED"


def test_a_store_whose_disk_is_full(small_disk: Path, tmp_path: Path, template: Path) -> None:
    (small_disk / "mlflow.db").write_bytes((template / "mlflow.db").read_bytes())
    sink = begin(tmp_path, f"sqlite:///{small_disk}/mlflow.db")
    run_id = sink.wait_id(60)
    ballast = fill(small_disk)
    for serial in range(3000):
        sink.write(record(serial))
    sentence = sink.close("finished")
    assert "no space left" in sentence
    assert "python -m initlab sync" in sentence
    assert "\n" not in sentence
    assert len(spools(tmp_path)) == 1
    ballast.unlink()
    assert [run.outcome for run in sync(tmp_path, settings()).runs] == ["sent"]
    assert len(metrics(small_disk / "mlflow.db", run_id)) == 3000
