"""What a former version wrote is read, resumed and compared: a store, a study with its plan, a checkpoint, spools.

`former_version.tar.xz` was written by the version of commit da4d001, before its modules were moved, with the commands:

    COMMON="data=digits model=mlp model.depth=2 model.width=8 tracking.report=false probes.histograms=false
            trainer.batch_size=256"
    initlab -m $COMMON study.name=before init=he,auto activation=default,gelu replicas=2 trainer.epochs=2
    initlab $COMMON init=auto tracking.offline=true trainer.epochs=3
    initlab $COMMON init=he activation=default trainer.epochs=300 trainer.checkpoint_every=1     (stopped: SIGTERM)
    initlab $COMMON init=xavier activation=tanh trainer.epochs=60 tracking.offline=true         (killed: SIGKILL)

Its configurations name factories where they were then (`initlab.auto.auto`, `initlab.config.customary`). The values
that are expected here were written by the same version when it went on with the folder.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.driver import initlab

pytestmark = [pytest.mark.process, pytest.mark.xdist_group("former_version")]

ARCHIVE = Path(__file__).parents[1] / "assets" / "former_version.tar.xz"
#: where it was written; paths in it are absolute
WRITTEN_IN = "/tmp/initlab-before"
STOPPED = "faf212cde3c14580b10d9ed433f4ed78"
COMMON = (
    "data=digits", "model=mlp", "model.depth=2", "model.width=8", "tracking.report=false", "probes.histograms=false",
    "trainer.batch_size=256",
)  # fmt: skip
ARMS = {
    ("he", "relu"): "654e312e2f4a", ("he", "gelu"): "9aa4b39d3a07", ("auto", "relu"): "f0815624a7d3",
    ("auto", "gelu"): "82d401589595", ("auto", "tanh"): "012b3122b9b1", ("he", "tanh"): "34a816b59ea7",
}  # fmt: skip


@pytest.fixture(scope="module")
def former(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the former version, with its absolute paths made those of here."""
    where = tmp_path_factory.mktemp("former")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(where, filter="data")
    home = where / "initlab-before"
    for file in (f for f in home.rglob("*.json") if f.is_file()):
        text = file.read_text(encoding="utf-8")
        if WRITTEN_IN in text:
            file.write_text(text.replace(WRITTEN_IN, str(home)), encoding="utf-8")
    with sqlite3.connect(home / "mlflow.db") as database:
        for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"), ("tags", "value")):
            database.execute(f"UPDATE {table} SET {column} = REPLACE({column}, ?, ?)", (WRITTEN_IN, str(home)))
    database.close()
    yield home
    shutil.rmtree(where, ignore_errors=True)


def runs(home: Path) -> dict[str, dict[str, str]]:
    """Run id → its arm, status, init, activation and last validation loss."""
    with sqlite3.connect(home / "mlflow.db") as database:
        found: dict[str, dict[str, str]] = {}
        for run_id, status in database.execute("SELECT run_uuid, status FROM runs"):
            row: dict[str, str] = {"status": status}
            row |= dict(database.execute("SELECT key, value FROM params WHERE run_uuid = ?", (run_id,)))
            row |= dict(database.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (run_id,)))
            row |= dict(database.execute("SELECT key, value FROM latest_metrics WHERE run_uuid = ?", (run_id,)))
            found[run_id] = row
    database.close()
    return found


def test_a_study_is_compared_from_the_store(former: Path) -> None:
    done = initlab("compare", "study=before", "log=false", cwd=former)
    assert done.returncode == 0, done.stderr
    assert "before: 4 arms" in done.stdout
    assert "best: init=he activation=gelu with val/accuracy 0.1493" in done.stdout


def test_a_stopped_run_is_resumed_from_its_checkpoint(former: Path) -> None:
    steps = int(runs(former)[STOPPED]["initlab.records"])
    done = initlab(f"resume={STOPPED}", "trainer.epochs=20", cwd=former)
    assert done.returncode == 0, done.stdout + done.stderr
    after = runs(former)[STOPPED]
    assert after["status"] == "FINISHED" and int(after["initlab.records"]) > steps
    assert after["initlab.arm"] == "c111515b6c17"
    assert float(after["val/loss"]) == pytest.approx(1.6669754452175567, rel=1e-3)


def test_spools_are_sent(former: Path) -> None:
    done = initlab("sync", cwd=former)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "19 records, 11 artifacts sent, ended as finished" in done.stdout
    assert "21 records, 9 artifacts sent, ended as killed" in done.stdout
    sent = [r for r in runs(former).values() if "initlab.study" not in r and r.get("initlab.kind") == "train"]
    assert {(r["init"], r["activation"], r["status"], r["initlab.arm"]) for r in sent} >= {
        ("auto", "relu", "FINISHED", "7c98544e6390"), ("xavier", "tanh", "KILLED", "450a5acf586f"),
    }  # fmt: skip


def test_a_study_goes_on_with_more_arms_and_trains_none_again(former: Path) -> None:
    before = {i for i, r in runs(former).items() if r.get("initlab.study") == "before"}
    done = initlab(
        "-m", *COMMON, "study.name=before", "init=he,auto", "activation=default,gelu,tanh", "replicas=2",
        "trainer.epochs=2", cwd=former,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 done before, 2 new" in done.stdout and "6 arms: 6 complete" in done.stdout
    mine = {
        i: r for i, r in runs(former).items() if r.get("initlab.study") == "before" and r["initlab.kind"] == "train"
    }
    assert before <= {*mine, *(i for i, r in runs(former).items() if r.get("initlab.kind") == "study")}
    assert {(r["init"], r["activation"]): r["initlab.arm"] for r in mine.values()} == ARMS
    assert len(mine) == 12
    plan = json.loads((former / ".initlab" / "studies" / "before" / "plan.json").read_text())
    assert plan["name"] == "before" and plan["replicas"] == 2


def test_a_run_of_then_is_explained(former: Path) -> None:
    done = initlab("explain", f"run={STOPPED}", cwd=former)
    assert done.returncode == 0, done.stdout + done.stderr
    assert STOPPED in done.stdout or "healthy" in done.stdout
