"""Language models in the loop: the state that is carried, stops and resumes, probes, and what a run leaves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from mlflow import MlflowClient
from torch import Tensor, nn

from initlab.run.prepare import prepare
from initlab.run.train import run
from initlab.spec import Carrying
from initlab.train import evaluate
from initlab.train.batching import EVAL_STREAMS, stream_batches
from initlab.train.layout import Layout
from tests.cases import Recorder, experiment, untracked
from tests.train.test_loop import Interrupted, equal, losses, weights_of

pytestmark = pytest.mark.slow

SMALL = (
    "task=text", "data.sequence_length=16", "model.hidden_size=12", "trainer.batch_size=64", "trainer.epochs=1",
    "trainer.max_steps=30",
)  # fmt: skip
MODELS = [("model=lstm",), ("model=gru",), ("model=rnn",), ("model=rnn", "activation=gelu")]


@pytest.mark.parametrize("model", MODELS, ids=",".join)
def test_probes_change_no_bit(model: tuple[str, ...]) -> None:
    _, with_probes = untracked(*SMALL, *model, "probes=full", "model.dropout=0.1")
    _, without = untracked(*SMALL, *model, "probes=none", "model.dropout=0.1")
    assert losses(with_probes.records) == losses(without.records)
    assert equal(weights_of(with_probes.prepared.model), weights_of(without.prepared.model))
    keys = {k.split("/")[0] for r in with_probes.records for k in r.metrics}
    assert {"reach", "spectral_radius", "lag_ratio"} <= keys
    assert not any(k.startswith("lag_gradient") for r in with_probes.records for k in r.metrics)


def test_against_a_bare_loop_that_carries_the_state_by_hand() -> None:
    overrides = (*SMALL, "optimizer=sgd", "trainer.clip_grad_norm=1.0")
    prepared = prepare(experiment(*overrides))
    _, recorder = untracked(*overrides)
    model, splits = prepared.model, prepared.splits
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, fused=True)
    state: tuple[Tensor, Tensor] | None = None
    for index in stream_batches(len(splits.train), 64, device=torch.device("cpu"))[:30]:
        h = model.embedding(splits.train.x[index].long())
        out, (hidden, cell) = model.rnn(h, state)
        state = hidden.detach(), cell.detach()
        loss = nn.functional.cross_entropy(model.head(out).flatten(0, 1), splits.train.y[index].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    trained = weights_of(recorder.prepared.model)
    for name, value in weights_of(model).items():
        assert torch.allclose(value, trained[name], atol=1e-6), name


@pytest.mark.parametrize("model", ["lstm", "rnn"])
def test_a_run_that_was_stopped_goes_on_with_the_state_it_had(tmp_path: Path, model: str) -> None:
    overrides = (*SMALL, f"model={model}", "model.dropout=0.1", "tracking=none")
    whole = Interrupted(None, *overrides)
    first = Interrupted(tmp_path, *overrides, stop_after=13)
    assert first.outcome.ending == "killed" and first.outcome.steps == 13
    second = Interrupted(tmp_path, *overrides)
    assert equal(second.weights, whole.weights)
    assert losses([*first.records, *second.records]) == losses(whole.records)


def test_a_score_reads_the_part_in_streams_and_leaves_the_network_as_it_was() -> None:
    e = experiment(*SMALL)
    prepared = prepare(e)
    model, splits = prepared.model, prepared.splits
    assert isinstance(model, Carrying)
    model.carry, model.state = True, (torch.ones(1, 64, 12), torch.ones(1, 64, 12))
    scores = [evaluate(model, e.task, splits, splits.val, layout=Layout(eval_batch=b)).loss for b in (1, 7, 1024)]
    assert len(set(scores)) == 1  # the batch size of an evaluation is a matter of memory alone
    assert model.carry and torch.equal(model.state[0], torch.ones(1, 64, 12))
    # by hand: each stream is one long sequence
    with torch.no_grad():
        total = answers = 0.0
        steps = math.ceil(len(splits.val) / EVAL_STREAMS)
        for stream in splits.val.x.long().split(steps):
            out, _ = model.rnn(model.embedding(stream.flatten()[None]))
            rows = splits.val.y[int(answers) : int(answers) + len(stream)]
            total += float(nn.functional.cross_entropy(model.head(out)[0], rows.flatten(), reduction="sum"))
            answers += len(stream)
    assert scores[0] == pytest.approx(total / splits.val.y.numel(), rel=1e-5)


@pytest.mark.process
def test_what_a_run_of_a_language_model_leaves(workdir: Path) -> None:
    result = run(experiment(*SMALL, "tracking.report=true"), workdir=workdir, narrator=Recorder())
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}")
    (tracked,) = client.search_runs(["1"])
    found = tracked.data.metrics
    for part in ("train", "val", "test"):
        assert found[f"{part}/bits_per_char"] == pytest.approx(found[f"{part}/loss"] / math.log(2))
        assert found[f"{part}/perplexity"] == pytest.approx(math.exp(found[f"{part}/loss"]))
    names = {p.name for p in (workdir / "mlruns").rglob("*") if p.is_file()}
    assert {"sample.txt", "gradient_by_lag.svg", "hidden_states.svg", "recurrence.svg", "report.html"} <= names
    (page,) = (workdir / "mlruns").rglob("report.html")
    assert "sample.txt" in page.read_text(encoding="utf-8")
    # thirty updates are few, and it is said so
    assert result.outlook is not None and result.outlook.verdict != "untrainable"


@pytest.mark.parametrize(("gain", "explodes"), [(1.0, False), (math.sqrt(2), False), (2.0, True), (3.0, True)])
def test_a_relu_network_explodes_in_time_above_a_gain_of_root_two(gain: float, explodes: bool) -> None:
    """REFERENCE H15: the squared state grows g²/2-fold a step."""
    text = (
        "task=text", "model=rnn", "activation=relu", "model.hidden_size=128", "init=by_role",
        "init.weight=normal(std=0.05)",
        f"init.recurrent=he(gain={gain})", "trainer.max_steps=2", "trainer.epochs=1",
    )  # fmt: skip
    result, recorder = untracked(*text)
    before = recorder.records[0].metrics.get("val/loss", math.inf)
    names = {f.name for f in result.findings}
    if explodes:
        assert not before < 1e3
        assert "exploding" in names
    else:
        assert before < 5
        assert "exploding" not in names
