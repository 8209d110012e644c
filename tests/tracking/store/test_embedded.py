"""The default store: a SQLite file in the working directory."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from initlab.errors import StoreError
from initlab.spec import Provenance, Record, RunStatus, TrackingSettings
from initlab.tracking import NullSink, RunSink, spools
from initlab.tracking.deliver.deliver import Delivery
from initlab.tracking.record.start import start
from initlab.tracking.spool import spool
from initlab.tracking.store.client import connect
from initlab.tracking.upkeep.sync import sync
from tests.tracking.tracking_cases import (
    QUIET,
    any_floats,
    begin,
    eventually,
    expected,
    header,
    metrics,
    record,
    rows,
    runs,
    settings,
    status,
    tags,
)

pytestmark = pytest.mark.process


def test_importing_the_room_does_not_import_mlflow() -> None:
    code = "import sys, initlab.tracking; sys.exit(any(name.split('.')[0] == 'mlflow' for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_run_arrives_whole(workdir: Path, tmp_path: Path) -> None:
    dataset = Provenance(name="digits", source="https://example.org/digits", digest="ab" * 32, licence="MIT")
    made = header(dataset=dataset, inputs={"train": 100, "val": 20}, params={"long": "x" * 7000, "none": None})
    sink = start(made, settings(), workdir=workdir, files={"config.yaml": "seed: 0\n"})
    assert isinstance(sink, RunSink)
    for serial in range(30):
        sink.write(record(serial, nonfinite=("grad_norm/a", "grad_norm/b") if serial == 3 else ()))
    sink.tag({"mlflow.note.content": "all is well"})
    figure = tmp_path / "figure.png"
    figure.write_bytes(b"png")
    sink.artifact(figure, "figures", move=True)
    (sink.checkpoint_dir / "last.safetensors").write_bytes(b"weights")
    (sink.checkpoint_dir / "best.safetensors.tmp").write_bytes(b"half")
    assert sink.wait_id(60) != sink.uid
    assert sink.close("diverged") == ""
    assert sink.close("diverged") == ""

    database, run_id = workdir / "mlflow.db", sink.run_id
    assert runs(database) == [run_id]
    assert metrics(database, run_id) == expected(30)
    assert status(database, run_id) == "FINISHED"
    found = tags(database, run_id)
    assert found["initlab.status"] == "diverged"
    assert found["initlab.records"] == "30"
    assert found["initlab.nonfinite"] == "2"
    assert found["initlab.uid"] == sink.uid
    assert found["mlflow.note.content"] == "all is well"
    assert found["mlflow.runName"] == "run"
    params = dict(rows(database, "SELECT key, value FROM params WHERE run_uuid = ?", run_id))
    assert params["none"] == "null"
    assert str(params["long"]).endswith("…")
    assert len(str(params["long"])) == 6000
    assert rows(database, "SELECT name, digest FROM datasets") == [("digits", ("ab" * 32)[:36])]
    root = workdir / "mlruns" / "initlab" / run_id / "artifacts"
    files = sorted(str(file.relative_to(root)) for file in root.rglob("*") if file.is_file())
    assert files == ["checkpoints/last.safetensors", "config.yaml", "figures/figure.png"]
    assert not figure.exists()
    assert not sink.folder.exists()
    assert spools(workdir) == ()
    with pytest.raises(StoreError, match="closed"):
        sink.write(record(31))


@pytest.mark.parametrize(
    ("word", "shown"), [("finished", "FINISHED"), ("stopped", "FINISHED"), ("killed", "KILLED"), ("failed", "FAILED")]
)
def test_how_a_run_ends(word: RunStatus, shown: str, workdir: Path) -> None:
    sink = begin(workdir)
    assert sink.close(word) == ""
    assert status(workdir / "mlflow.db", sink.run_id) == shown
    assert tags(workdir / "mlflow.db", sink.run_id)["initlab.status"] == word


def test_a_replay_stores_nothing_twice(workdir: Path, tmp_path: Path) -> None:
    sink = begin(workdir, drain=0.001)
    for serial in range(50):
        sink.write(record(serial, {"train/loss": 1 / (serial + 1), **{f"diag/{n}": n / 3 for n in range(40)}}))
    copy = tmp_path / "copy"
    shutil.copytree(sink.folder, copy)
    run_id = sink.wait_id(60)
    sink.close("finished")
    sync(workdir, settings())
    # the spool as it was in mid-run, with no memory of what was delivered
    shutil.copytree(copy, sink.folder)
    (sink.folder / spool.PROGRESS).unlink(missing_ok=True)
    report = sync(workdir, settings())
    assert [(run.outcome, run.run_id, run.records) for run in report.runs] == [("sent", run_id, 50)]
    database = workdir / "mlflow.db"
    assert runs(database) == [run_id]
    assert metrics(database, run_id) == expected(50)
    assert rows(database, "SELECT count(*) FROM metrics") == [(50 * 41,)]


def test_more_metrics_than_a_batch_takes(workdir: Path) -> None:
    sink = begin(workdir)
    sink.write(record(0, {f"act_std/site{n}": n / 7 for n in range(2345)}))
    sink.write(record(1))
    assert sink.close("finished") == ""
    assert rows(workdir / "mlflow.db", "SELECT count(*) FROM metrics") == [(2346,)]


def test_what_the_store_refuses_is_set_aside(workdir: Path) -> None:
    sink = begin(workdir)
    for serial in range(20):
        sink.write(record(serial, {"train/loss": 1 / (serial + 1), "a//b": 1.0} if serial == 7 else None))
    assert "refused 1 value" in sink.close("finished")
    assert metrics(workdir / "mlflow.db", sink.run_id) == expected(20)
    kept = (workdir / ".initlab" / "rejected" / f"{sink.uid}.jsonl").read_text()
    assert "a//b" in kept
    assert not sink.folder.exists()


def test_nothing_infinite_is_sent(workdir: Path) -> None:
    sink = begin(workdir)
    sink.write(record(0, {"train/loss": float("nan"), "diag/x": float("inf"), "diag/y": 1.0}))
    assert sink.close("finished") == ""
    assert rows(workdir / "mlflow.db", "SELECT key, value, is_nan FROM metrics") == [("watch/diag/y", 1.0, 0)]
    assert tags(workdir / "mlflow.db", sink.run_id)["initlab.nonfinite"] == "2"


def test_any_finite_metric_arrives(workdir: Path) -> None:
    sink = begin(workdir)
    for serial, value in enumerate(any_floats()):
        sink.write(record(serial, {"train/loss": value}))
    assert sink.close("finished") == ""
    assert metrics(workdir / "mlflow.db", sink.run_id) == list(enumerate(any_floats()))


def test_a_store_that_another_program_locks(workdir: Path) -> None:
    sink = begin(workdir)
    sink.wait_id(60)
    with contextlib.closing(sqlite3.connect(workdir / "mlflow.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        for serial in range(10):
            sink.write(record(serial))
        time.sleep(1.0)
        other.execute("COMMIT")
    assert sink.close("finished") == ""
    assert metrics(workdir / "mlflow.db", sink.run_id) == expected(10)


def test_artifacts_are_found_from_elsewhere_and_after_a_move(workdir: Path, tmp_path: Path) -> None:
    sink = begin(workdir)
    assert sink.close("finished") == ""
    moved = tmp_path / "moved"
    workdir.rename(moved)
    (tmp_path / "target").mkdir()
    store = connect(f"sqlite:///{moved}/mlflow.db", workdir=tmp_path)
    assert store.download(sink.run_id, "config.yaml", tmp_path / "target")
    assert (tmp_path / "target" / "config.yaml").read_text() == "seed: 0\n"
    later = begin(moved)
    assert later.close("finished") == ""
    assert (moved / "mlruns" / "initlab" / later.run_id / "artifacts" / "config.yaml").exists()
    assert not workdir.exists()


def test_a_store_deleted_between_runs_and_in_mid_run(workdir: Path) -> None:
    first = begin(workdir)
    assert first.close("finished") == ""
    (workdir / "mlflow.db").unlink()
    sink = begin(workdir)
    sink.write(record(0))
    eventually(lambda: (workdir / "mlflow.db").exists() and sink.wait_id(60) in runs(workdir / "mlflow.db"))
    eventually(lambda: len(metrics(workdir / "mlflow.db", sink.run_id)) == 1)
    (workdir / "mlflow.db").unlink()
    sink.write(record(1))
    assert sink.close("finished") == ""
    (run_id,) = runs(workdir / "mlflow.db")
    assert metrics(workdir / "mlflow.db", str(run_id)) == expected(2)
    assert sink.run_id == run_id


def test_a_bad_tag_does_not_keep_a_run_from_being_created(workdir: Path) -> None:
    sink = start(header(tags={"a//b": "1", "good": "2"}), settings(), workdir=workdir)
    assert "refused 1 value" in sink.close("finished")
    assert tags(workdir / "mlflow.db", sink.run_id)["good"] == "2"


def test_untracked_keeps_nothing(tmp_path: Path) -> None:
    sink = start(header(), TrackingSettings(enabled=False), workdir=tmp_path, files={"config.yaml": ""})
    assert isinstance(sink, NullSink)
    sink.write(record(0))
    sink.tag({"a": "b"})
    assert (sink.run_id, sink.close("finished"), list(tmp_path.iterdir())) == ("untracked", "", [])


def test_a_forked_child_cannot_write(workdir: Path) -> None:
    sink = begin(workdir)
    sink.wait_id(60)
    child = os.fork()
    if child == 0:
        try:
            sink.write(record(0))
        except StoreError:
            os._exit(7)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert spools(workdir)[0].live
    sink.write(record(0))
    assert sink.close("finished") == ""
    assert metrics(workdir / "mlflow.db", sink.run_id) == expected(1)


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, {cases!r})
from tracking_cases import begin, record
sink = begin(Path({workdir!r}))
for serial in range({count}):
    sink.write(record(serial))
(sink.checkpoint_dir / "last.safetensors").write_bytes(b"weights")
print("written", flush=True)
{then}
"""


def child(workdir: Path, *, then: str, count: int = 200) -> subprocess.Popen[str]:
    code = RUN.format(cases=str(Path(__file__).parents[1]), workdir=str(workdir), count=count, then=then)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **QUIET},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_three_processes_start_in_a_fresh_directory(tmp_path: Path) -> None:
    started = [child(tmp_path, then="print(sink.close('finished') or 'arrived')") for _ in range(3)]
    outputs = [process.communicate(timeout=120) for process in started]
    assert outputs == [("written\narrived\n", "")] * 3
    found = runs(tmp_path / "mlflow.db")
    assert len(found) == 3
    assert all(metrics(tmp_path / "mlflow.db", str(run_id)) == expected(200) for run_id in found)
    assert rows(tmp_path / "mlflow.db", "SELECT count(*) FROM experiments WHERE name = 'initlab'") == [(1,)]


def test_kill_9_loses_nothing_and_sync_ends_the_run(workdir: Path) -> None:
    process = child(workdir, then="import time; time.sleep(120)", count=3000)
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    (info,) = spools(workdir)
    assert info.live
    assert [run.outcome for run in sync(workdir, settings()).runs] == ["live"]
    process.kill()
    process.communicate()
    report = sync(workdir, settings())
    assert [(run.outcome, run.status) for run in report.runs] == [("sent", "killed")]
    (run_id,) = runs(workdir / "mlflow.db")
    assert metrics(workdir / "mlflow.db", str(run_id)) == expected(3000)
    assert status(workdir / "mlflow.db", str(run_id)) == "KILLED"
    assert (workdir / "mlruns" / "initlab" / str(run_id) / "artifacts/checkpoints/last.safetensors").exists()
    assert sync(workdir, settings()).runs == ()


def test_two_syncs_at_once(workdir: Path) -> None:
    process = child(workdir, then="import os; os._exit(1)")
    process.communicate(timeout=60)
    code = (
        "import sys; from pathlib import Path; from initlab.tracking import sync; from initlab.spec import *;"
        "sync(Path(sys.argv[1]), TrackingSettings())"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(workdir)], env={**os.environ, **QUIET}) for _ in "ab"]
    assert [process.wait(120) for process in both] == [0, 0]
    (run_id,) = runs(workdir / "mlflow.db")
    assert metrics(workdir / "mlflow.db", str(run_id)) == expected(200)
    assert spools(workdir) == ()


def test_one_damaged_spool_does_not_stop_the_others(workdir: Path) -> None:
    damaged = workdir / ".initlab" / "spool" / "!damaged"
    damaged.mkdir(parents=True)
    (damaged / spool.HEADER).mkdir()  # what cannot be replaced by a header that is made anew
    (damaged / spool.RECORDS).write_text('{"serial":0,"step":0,"time_ms":1,"metrics":{}}\n')
    process = child(workdir, then="import os; os._exit(1)")
    process.communicate(timeout=60)
    report = sync(workdir, settings())
    assert [run.outcome for run in report.runs] == ["waits", "sent"]
    assert "damaged" in report.lines()[0] and "no new one can be made" in report.lines()[0]


def test_protocol_of_the_sink(workdir: Path) -> None:
    from initlab.spec import Sink

    def use(sink: Sink) -> str:
        sink.write(Record(serial=0, step=0, epoch=0.0, time_ms=1, metrics={}))
        return sink.close("finished")

    assert use(begin(workdir)) == ""


def test_a_run_that_ends_while_its_records_are_sent(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # the rest of the run is written between two readings of its files
    sink = start(header(), TrackingSettings(offline=True), workdir=workdir)
    assert isinstance(sink, RunSink)
    sink.write(record(0))
    uri = f"sqlite:///{workdir}/mlflow.db"
    delivery = Delivery(
        sink.folder, spool.load_header(sink.folder), uri=uri, connect=lambda: connect(uri, workdir=workdir)
    )
    sending = delivery._records  # pyright: ignore[reportPrivateUsage]

    def and_meanwhile() -> None:
        sending()
        for serial in range(1, 5):
            sink.write(record(serial))
        sink.close("finished")

    monkeypatch.setattr(delivery, "_records", and_meanwhile)
    delivery.round()
    monkeypatch.setattr(delivery, "_records", sending)
    delivery.round()
    assert delivery.complete
    assert metrics(workdir / "mlflow.db", delivery.progress.run_id) == expected(5)
    assert tags(workdir / "mlflow.db", delivery.progress.run_id)["initlab.records"] == "5"
