"""Metric keys in a store: scores before what was measured, layers in their order, and read back as they were."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from initlab import tracking
from initlab.spec import Record, RunHeader, TrackingSettings
from initlab.tracking.spool.metric_keys import digits_of, layers_of, record_key, stored_key, stored_spellings

LAYERS = (*(f"layers.{i}.weight" for i in range(13)), "head.weight", "block.3.conv2.weight")


def test_layers_sort_in_their_order_and_behind_the_scores() -> None:
    keys = [f"grad_norm/{name}" for name in LAYERS[:13]]
    scores = ["train/loss", "val/accuracy", "test/accuracy", "throughput/samples_per_s", "diag/grad_norm"]
    stored = sorted(stored_key(k, LAYERS) for k in [*keys, *scores])
    assert stored[:4] == ["test/accuracy", "throughput/samples_per_s", "train/loss", "val/accuracy"]
    assert stored[4] == "watch/diag/grad_norm"
    assert stored[5:] == [f"watch/grad_norm/layers.{i:02}.weight" for i in range(13)]


@pytest.mark.parametrize("layers", [LAYERS, tuple(f"net.{i}.weight" for i in range(120))])
def test_what_is_stored_is_read_as_it_was_recorded(layers: tuple[str, ...]) -> None:
    digits = digits_of(layers)
    for key in (
        *(f"dead/{name}" for name in layers),
        "diag/dead_max",
        "train/loss",
        "mine/own",
        "seconds",
        "test/recall/01",
    ):
        stored = stored_key(key, layers, digits)
        assert record_key(stored) == key and stored in stored_spellings(key) and key in stored_spellings(stored)
        assert stored_key(stored, layers, digits) == stored, "a record that comes from a store stays"
    assert sorted(stored_key(f"dead/{n}", layers, digits) for n in layers if n[:3] == "net") == [
        stored_key(f"dead/{n}", layers, digits) for n in layers if n[:3] == "net"
    ]


def test_the_layers_of_a_run_that_is_resumed_are_in_its_keys() -> None:
    stored = [stored_key(k, LAYERS) for k in (*(f"dead/{n}" for n in LAYERS), "diag/x", "test/recall/3", "val/loss")]
    assert set(layers_of(stored)) == set(LAYERS)
    assert layers_of(["dead/layers.0.weight", "val/loss"]) == (), "an older version's run goes on as it began"


def test_keys_of_others_and_of_older_stores_stay() -> None:
    assert stored_key("mine/layers.1.weight.x", LAYERS) == "mine/layers.1.weight.x"
    assert stored_key("loss", LAYERS) == "loss"
    assert record_key("grad_norm/layers.1.weight") == "grad_norm/layers.1.weight"
    assert stored_spellings("val/accuracy") == ("val/accuracy",)


@pytest.mark.process
def test_a_store_is_read_by_either_name_and_so_is_one_of_before(workdir: Path) -> None:
    """Of two runs, one is as a former version wrote it: without `layers`, and with its own key of the whole network."""
    for layers, name in ((LAYERS, "new"), ((), "old")):
        header = RunHeader(
            name=name, experiment="initlab", params={"init": name}, tags={"initlab.kind": "train"}, dataset=None,
            start_ms=1_700_000_000_000, layers=layers,
        )  # fmt: skip
        sink = tracking.start(header, TrackingSettings(), workdir=workdir)
        for step in range(3):
            metrics = {"grad_norm/layers.2.weight": 0.5 + step, "val/accuracy": 0.1 * step}
            sink.write(Record(serial=step, step=step, epoch=0.0, time_ms=1_700_000_000_000 + step, metrics=metrics))
        assert sink.close("finished") == ""
    client = MlflowClient(f"sqlite:///{workdir}/mlflow.db")
    runs = client.search_runs([client.get_experiment_by_name("initlab").experiment_id])
    keys = {r.info.run_name: sorted(r.data.metrics) for r in runs}
    assert keys["new"] == ["val/accuracy", "watch/grad_norm/layers.02.weight"]
    assert keys["old"] == ["grad_norm/layers.2.weight", "val/accuracy"]
    for spelling in ("grad_norm/layers.2.weight", "watch/grad_norm/layers.02.weight"):
        found = tracking.read_runs(TrackingSettings(), workdir=workdir, words=f"metrics.`{spelling}` > 2")
        assert {r.name for r in found.runs} == {"new", "old"}
        assert {r.metrics["grad_norm/layers.2.weight"] for r in found.runs} == {2.5}
        curves, why = tracking.read_curves(found, found.runs, spelling, workdir=workdir)
        assert why == "" and set(curves.values()) == {((0, 0.5), (1, 1.5), (2, 2.5))}
