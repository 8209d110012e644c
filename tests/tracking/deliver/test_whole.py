"""A run that has ended when it is first looked at is delivered whole: in few calls, with the same result."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from initlab.spec import Provenance, TrackingSettings
from initlab.tracking import RunSink
from initlab.tracking.deliver.deliver import METRICS_IN_A_WHOLE, Delivery
from initlab.tracking.record.start import start
from initlab.tracking.spool import spool
from initlab.tracking.store.client import MetricRow, Store, connect
from initlab.tracking.store.faults import StoreFaultError
from tests.tracking.tracking_cases import expected, header, metrics, record, rows, runs, settings, status, tags

pytestmark = pytest.mark.process

DATASET = Provenance(name="digits", source="https://example.org/digits", digest="ab" * 32, licence="MIT")


class Watched(Store):
    """A store that counts what is asked of it, and fails once where it is told to."""

    def __init__(self, workdir: Path, *, fails: str = "") -> None:
        inner = connect(f"sqlite:///{workdir}/mlflow.db", workdir=workdir)
        self.__dict__.update(inner.__dict__)
        self.calls: Counter[str] = Counter()
        self._fails = fails

    def _called(self, name: str) -> None:
        self.calls[name] += 1
        if self._fails == name:
            self._fails = ""
            raise StoreFaultError("away", "not now")

    def find_run(self, experiment_ids: Sequence[str], uid: str) -> str | None:
        self._called("find_run")
        return super().find_run(experiment_ids, uid)

    def log(
        self,
        run_id: str,
        *,
        metrics: Sequence[MetricRow] = (),
        params: Mapping[str, str] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        super().log(run_id, metrics=metrics, params=params, tags=tags)
        self._called("log")

    def end(self, run_id: str, *, status: str, time_ms: int) -> None:
        self._called("end")
        super().end(run_id, status=status, time_ms=time_ms)


def ended(workdir: Path, count: int = 30, **more: object) -> RunSink:
    """A run of `count` records in the spool, which nobody has sent anything of."""
    sink = start(
        header(dataset=DATASET, **more), TrackingSettings(offline=True), workdir=workdir,
        files={"config.yaml": "seed: 0\n"},
    )  # fmt: skip
    assert isinstance(sink, RunSink)
    for serial in range(count):
        sink.write(record(serial, nonfinite=("grad_norm/a",) if serial == 3 else ()))
    sink.tag({"initlab.verdict": "healthy"})
    sink.text("verdict.json", "{}")
    (sink.checkpoint_dir / "last.safetensors").write_bytes(b"weights")
    sink.close("stopped")
    return sink


def delivery_of(sink: RunSink, store: Store, *, fresh: bool = False) -> Delivery:
    return Delivery(sink.folder, spool.load_header(sink.folder), uri=store.uri, connect=lambda: store, fresh=fresh)


def content(workdir: Path, run_id: str) -> dict[str, object]:
    """All that a store has of a run, but what no two runs share."""
    database = workdir / "mlflow.db"
    found = {k: v for k, v in tags(database, run_id).items() if k != "initlab.uid"}
    root = workdir / "mlruns" / "initlab" / run_id / "artifacts"
    return {
        "tags": found,
        "params": sorted(rows(database, "SELECT key, value FROM params WHERE run_uuid = ?", run_id)),
        "metrics": sorted(rows(database, "SELECT key, value, step, timestamp FROM metrics WHERE run_uuid = ?", run_id)),
        "latest": sorted(rows(database, "SELECT key, value, step FROM latest_metrics WHERE run_uuid = ?", run_id)),
        "inputs": rows(
            database,
            "SELECT d.name FROM inputs i JOIN datasets d ON i.source_id = d.dataset_uuid WHERE i.destination_id = ?",
            run_id,
        ),
        "artifacts": sorted(str(f.relative_to(root)) for f in root.rglob("*") if f.is_file()),
        "status": status(database, run_id),
    }


def test_one_call_for_what_took_four_and_the_same_result(workdir: Path) -> None:
    store = Watched(workdir)
    whole = delivery_of(ended(workdir), store, fresh=True)
    whole.round()
    assert whole.complete
    assert store.calls == {"log": 1, "end": 1}

    sink, apart = ended(workdir), Watched(workdir)
    pieces = delivery_of(sink, apart)
    pieces._whole = lambda _events: False  # type: ignore[method-assign]  # pyright: ignore[reportPrivateUsage]
    pieces.round()
    assert pieces.complete and apart.calls["log"] > 1 and apart.calls["find_run"] == 1

    once, before = (content(workdir, d.progress.run_id) for d in (whole, pieces))
    assert once == before
    assert metrics(workdir / "mlflow.db", whole.progress.run_id) == expected(30)
    assert once["tags"]["initlab.records"] == "30" and once["tags"]["initlab.nonfinite"] == "1"  # type: ignore[index]
    assert once["artifacts"] == ["checkpoints/last.safetensors", "config.yaml", "verdict.json"]


@pytest.mark.parametrize("more", [{"tags": {"a//b": "1", "seed": "0"}}, {"params": {"a//b": 1, "lr": 0.1}}])
def test_what_is_refused_sends_the_rest_in_pieces(workdir: Path, more: dict[str, object]) -> None:
    sink, store = ended(workdir, **more), Watched(workdir)
    delivery = delivery_of(sink, store, fresh=True)
    delivery.round()
    assert delivery.complete and delivery.progress.rejected == 1
    assert "a//b" in (sink.folder / spool.REJECTED).read_text()
    run_id = delivery.progress.run_id
    assert (
        metrics(workdir / "mlflow.db", run_id) == expected(30) and status(workdir / "mlflow.db", run_id) == "FINISHED"
    )


@pytest.mark.parametrize("call", ["log", "end"])
@pytest.mark.parametrize("again", ["the same", "another process"])
def test_a_delivery_that_is_cut_anywhere_doubles_nothing(workdir: Path, call: str, again: str) -> None:
    sink, store = ended(workdir), Watched(workdir, fails=call)
    delivery = delivery_of(sink, store, fresh=True)
    with pytest.raises(StoreFaultError):
        delivery.round()
    assert not delivery.complete
    if again == "another process":
        delivery = delivery_of(sink, store)
    delivery.round()
    assert delivery.complete
    run_id = delivery.progress.run_id
    assert runs(workdir / "mlflow.db") == [run_id]
    assert rows(workdir / "mlflow.db", "SELECT count(*) FROM metrics") == [(30,)]
    assert tags(workdir / "mlflow.db", run_id)["initlab.records"] == "30"


def test_a_long_run_goes_in_pieces(workdir: Path) -> None:
    sink, store = ended(workdir, METRICS_IN_A_WHOLE + 1), Watched(workdir)
    delivery = delivery_of(sink, store, fresh=True)
    delivery.round()
    assert delivery.complete and store.calls["log"] > 1
    assert metrics(workdir / "mlflow.db", delivery.progress.run_id) == expected(METRICS_IN_A_WHOLE + 1)


def test_a_run_of_a_moment_has_its_id_when_it_is_closed(workdir: Path) -> None:
    sink = start(header(), settings(), workdir=workdir)
    assert isinstance(sink, RunSink)
    sink.write(record(0))
    assert sink.close("finished") == ""
    assert runs(workdir / "mlflow.db") == [sink.run_id]


def test_a_run_that_goes_on_has_its_id_without_being_closed(workdir: Path) -> None:
    sink = start(header(), settings(), workdir=workdir)
    assert isinstance(sink, RunSink)
    begun = time.monotonic()
    writing = threading.Event()
    while sink.run_id == sink.uid and time.monotonic() - begun < 60:
        sink.write(record(int((time.monotonic() - begun) * 100)))
        writing.wait(0.05)
    assert runs(workdir / "mlflow.db") == [sink.run_id]
    assert status(workdir / "mlflow.db", sink.run_id) == "RUNNING"
    assert sink.close("finished") == ""
