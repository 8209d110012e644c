"""Power cuts on a real file system: what was acknowledged is there afterwards, and `sync` or `resume` mend the rest."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from initlab.core import durable
from initlab.errors import RunOverError
from initlab.spec import Record, TrackingSettings
from initlab.tracking import RunSink, spools, sync
from initlab.tracking.record.start import start
from initlab.tracking.spool import spool
from initlab.train import Checkpoints
from tests.cases import Recorder, experiment
from tests.reliability.clients import client
from tests.run.test_resume import _settings, before_each_change, folder_of, go_on, same, scores, stream, tensors
from tests.tracking.cut_disk import CutDisk, cut_disk, mounted
from tests.tracking.tracking_cases import eventually, expected, header, metrics, record, rows, status, tags

pytestmark = [pytest.mark.process, pytest.mark.timeout(280)]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[CutDisk]:
    try:
        with cut_disk(tmp_path) as made:
            yield made
    except PermissionError as error:
        pytest.skip(str(error))


OFFLINE = TrackingSettings(offline=True)


def recording(workdir: Path, settings: TrackingSettings = OFFLINE) -> RunSink:
    sink = start(header(), settings, workdir=workdir, files={"config.yaml": "seed: 0\n"})
    assert isinstance(sink, RunSink)
    return sink


def test_the_disk_of_these_tests_forgets_what_was_not_synced(disk: CutDisk, tmp_path: Path) -> None:
    places = [disk.folder / name for name in ("file", "synced", "renamed")]
    for place in places[:2]:
        place.write_text("content")
    durable.sync_file(places[1])
    durable.sync_folder(disk.folder)
    (disk.folder / "part").write_text("content")
    (disk.folder / "part").replace(places[2])
    durable.sync_folder(disk.folder)  # the name, and not what is in it
    with mounted(disk.cut(), tmp_path / "after") as after:
        assert (after / "synced").read_text() == "content"
        assert not any((after / name).exists() and (after / name).read_text() for name in ("file", "renamed"))


def test_files_that_are_replaced_are_old_or_new_and_never_empty(disk: CutDisk, tmp_path: Path) -> None:
    """Each of several ways, cut between any two steps."""
    file, cuts = disk.folder / "state.json", list[Path]()
    durable.write(file, "0" * 5000)
    with before_each_change(disk.folder, lambda: cuts.append(disk.cut())):
        for number in (1, 2, 3):
            durable.write(file, str(number) * 5000, keep=number != 2)
    durable.write(file, "4" * 5000)
    cuts.append(disk.cut())
    assert len(cuts) >= 4
    for cut in cuts:
        with mounted(cut, tmp_path / "after") as after:
            text = (after / "state.json").read_text()
            assert len(text) == 5000 and len(set(text)) == 1
    assert text[0] == "4"


def test_records_are_on_the_disk_soon_and_sync_sends_them(disk: CutDisk, tmp_path: Path) -> None:
    workdir = disk.folder / "work"
    sink = recording(workdir)
    for serial in range(40):
        sink.write(record(serial))
    cuts: list[Path] = []

    def there() -> bool:
        """By themselves, while nothing more is written."""
        cuts.append(disk.cut())
        with mounted(cuts[-1], tmp_path / "look") as after:
            found = list(after.glob("work/.initlab/spool/*/records.jsonl"))
            return bool(found) and len(found[0].read_bytes().splitlines()) == 40

    eventually(there)
    for serial in range(40, 50):
        sink.write(record(serial))
    sink.sync()
    for serial in range(50, 60):
        sink.write(record(serial))
    with mounted(disk.cut(), tmp_path / "after") as after:
        (sent,) = sync(after / "work", TrackingSettings()).runs
        assert (sent.outcome, sent.status) == ("sent", "killed")
        database = after / "work" / "mlflow.db"
        arrived = metrics(database, sent.run_id)
        assert arrived == expected(len(arrived)) and len(arrived) >= 50
        assert spools(after / "work") == ()
    assert sink.close("finished")
    with mounted(disk.cut(), tmp_path / "end") as after:
        (sent,) = sync(after / "work", TrackingSettings()).runs
        assert (sent.status, sent.records, sent.artifacts) == ("finished", 60, 1)
        (place,) = (after / "work" / "mlruns").rglob("config.yaml")
        assert place.read_text() == "seed: 0\n"


@pytest.mark.parametrize("seed", range(3))
def test_a_power_cut_in_training_resumes_to_the_same_end(disk: CutDisk, tmp_path: Path, seed: int) -> None:
    """Cut before changes of files and after records: the checkpoint is whole, and never ahead of the records."""
    overrides = _settings(
        "trainer.epochs=4", "trainer.checkpoint_every=2", "trainer.log_every=2", f"seed={seed}",
        f"trainer.test_with={('best', 'last')[seed % 2]}",
    )  # fmt: skip
    decided, cuts = experiment(*overrides), list[Path]()
    whole = disk.folder / "whole"

    class Cutting(Recorder):
        def record(self, record: Record, total: int) -> None:
            super().record(record, total)
            cut()

    draw, at = random.Random(seed), iter(range(10_000))

    def cut() -> None:
        if draw.random() < 0.15 or next(at) < 3:
            cuts.append(disk.cut())

    from initlab.run.train import run

    with before_each_change(whole, cut):
        result = run(decided, workdir=whole, narrator=Cutting())
    cuts.append(disk.cut())
    begun = 0
    for number, image in enumerate(cuts):
        with mounted(image, tmp_path / "after") as after:
            workdir = after / "whole"
            if not list(workdir.glob(".initlab/spool/*/header*.json")):
                assert number < len(cuts) - 1
                continue  # cut before the first sync
            place = folder_of(workdir)
            records = [line["serial"] for _, line in spool.read_lines(place / spool.RECORDS)]
            assert records == list(range(len(records)))
            state = Checkpoints(place / spool.CHECKPOINTS).peek()
            assert state is None or state.serial <= len(records) + bool(state.over)
            if not (place / spool.CONFIG).exists():
                continue
            begun += 1
            again = None
            with suppress(RunOverError):
                again = go_on(decided, workdir)
            assert stream(workdir) == stream(whole)
            assert same(tensors(workdir), tensors(whole))
            if again is not None:
                assert scores(again) == scores(result) and again.findings == result.findings
    assert begun > 3


@contextmanager
def standing_still(*processes: psutil.Process) -> Iterator[None]:
    """Processes and their children are stopped; those that have ended are left out."""
    family: list[psutil.Process] = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            family += [process, *process.children(recursive=True)]
    try:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in family:
            with suppress(psutil.NoSuchProcess):
                process.resume()


@pytest.mark.parametrize("seed", range(2))
def test_a_power_cut_while_a_run_is_delivered_or_removed(disk: CutDisk, tmp_path: Path, seed: int) -> None:
    """The store is on the same disk: at any moment the spool is there, or the store has all of it."""
    draw, workdir = random.Random(seed), disk.folder / "work"
    uri = f"sqlite:///{workdir}/mlflow.db"
    one = client(workdir, uri, records=250, rate=200.0)
    one.until(lambda c: bool(c.uid))
    cuts: list[tuple[Path, bool]] = []
    training, helper = psutil.Process(one.process.pid), one.helper()
    while one.process.poll() is None and len(cuts) < 14:
        helper = helper or one.helper()
        # it outlives the training for a moment, and is then no child of it
        with standing_still(training, *([helper] if helper is not None else [])):
            cuts.append((disk.cut(), False))
        time.sleep(draw.uniform(0.1, 0.8))
    helper = helper or one.helper()
    one.end()
    assert helper is not None
    # where the machine was too busy for it, it still delivers
    with standing_still(helper):
        cuts.append((disk.cut(), True))
    # after a power cut nobody lives who could still send it
    eventually(lambda: not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE)
    for image, closed in cuts:
        with mounted(image, tmp_path / "after") as after:
            if not (after / "work").exists():
                continue
            for _ in range(2):
                assert sync(after / "work", TrackingSettings()).waiting == 0
            database = after / "work" / "mlflow.db"
            if not database.exists():
                assert not closed
                continue
            found = rows(database, "SELECT run_uuid, status FROM runs")
            assert len(found) <= 1 and all(s != "RUNNING" for _, s in found), found
            if closed:
                ((run_id, ended),) = found
                arrived = metrics(database, str(run_id))
                assert ended == "FINISHED" and [s for s, _ in arrived] == list(range(250))
                for name, text in (("config.yaml", "seed: 0\n"), ("last.txt", "250")):
                    (place,) = (after / "work" / "mlruns").rglob(name)
                    assert place.read_text() == text
                assert tags(database, str(run_id))["initlab.status"] == "finished"


# ------------------------------------------------------------------ damage, without a disk of its own
@pytest.mark.parametrize("damage", ["empty", "absent", "cut", "zeros", "other"])
@pytest.mark.parametrize("both", [False, True], ids=["header", "header and copy"])
def test_a_damaged_header_is_mended_or_its_records_are_recovered(tmp_path: Path, damage: str, both: bool) -> None:
    sink = recording(tmp_path)
    for serial in range(30):
        sink.write(record(serial))
    sink.tag({"mlflow.note.content": "a note"})
    sink.close("finished")
    for name in (spool.HEADER, spool.HEADER_COPY)[: 1 + both]:
        file = sink.folder / name
        content = file.read_bytes()
        if damage == "absent":
            file.unlink()
        else:
            left = {"empty": b"", "cut": content[: len(content) // 2], "zeros": bytes(len(content)), "other": b"[1]"}
            file.write_bytes(left[damage])
    (sent,) = sync(tmp_path, TrackingSettings()).runs
    assert (sent.outcome, sent.status, sent.records) == ("sent", "finished", 30)
    database = tmp_path / "mlflow.db"
    assert metrics(database, sent.run_id) == expected(30) and status(database, sent.run_id) == "FINISHED"
    found = tags(database, sent.run_id)
    assert found["initlab.uid"] == sink.uid and found["mlflow.note.content"] == "a note"
    assert ("initlab.recovered" in found) == both and found["seed"] == "0"
    assert spools(tmp_path) == () and not list(spool.spool_root(tmp_path).iterdir())


def test_a_recovered_run_that_had_begun_in_the_store_is_not_doubled(workdir: Path) -> None:
    """Killed with half of its records sent; then the headers, and what is known of the delivery, are gone."""
    for number, lost in enumerate(([spool.PROGRESS], [])):
        home = workdir / str(number)
        sink = recording(home, TrackingSettings(flush_seconds=0.1))
        for serial in range(20):
            sink.write(record(serial))
        sink.wait_id(60)
        copy = home / "copy"
        eventually(lambda place=sink.folder: len(spool.load_progress(place, sink.uri).run_id) == 32)  # noqa: B023
        shutil.copytree(sink.folder, copy)
        assert sink.close("finished") == ""
        for name in (spool.HEADER, spool.HEADER_COPY, *lost):
            (copy / name).unlink()
        shutil.move(copy, sink.folder)
        assert sync(home, TrackingSettings()).waiting == 0
        database = home / "mlflow.db"
        assert len(rows(database, "SELECT run_uuid FROM runs")) == 1
        assert metrics(database, sink.run_id) == expected(20)


@pytest.mark.parametrize("left", ["records", "events", "artifacts", "nothing", "all"])
def test_a_removal_that_was_cut_is_finished_and_sends_nothing_again(tmp_path: Path, left: str) -> None:
    sink = recording(tmp_path, TrackingSettings(uri=f"sqlite:///{tmp_path}/mlflow.db", flush_seconds=0.1))
    sink.write(record(0))
    sink.wait_id(60)
    copy = shutil.copytree(sink.folder, tmp_path / "copy")
    assert sink.close("finished") == ""
    before = rows(tmp_path / "mlflow.db", "SELECT * FROM runs")
    (copy / spool.HEADER).replace(copy / spool.DELIVERED)
    (copy / spool.HEADER_COPY).unlink()
    for name in () if left == "all" else (spool.RECORDS, spool.EVENTS, spool.ARTIFACTS):
        if not name.startswith(left):
            shutil.rmtree(copy / name) if (copy / name).is_dir() else os.remove(copy / name)  # noqa: PTH107
    shutil.move(copy, sink.folder)
    assert sync(tmp_path, TrackingSettings()).runs == ()
    assert not sink.folder.exists()
    assert rows(tmp_path / "mlflow.db", "SELECT * FROM runs") == before
