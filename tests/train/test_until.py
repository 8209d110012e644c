"""Runs that end at a target: against the records of the run that trains on, and what a result says."""

from __future__ import annotations

import pytest
import torch

from initlab.errors import ConfigError
from initlab.report.note import format_result
from initlab.spec import Record, Target
from tests.cases import untracked

#: 5 batches an epoch, the last one smaller; a training record within, at, and across the ends of epochs
SMALL = (
    "data=digits", "data.limit=150", "model=mlp", "model.width=16", "trainer.epochs=12", "trainer.batch_size=32",
    "trainer.log_every=3", "optimizer.lr=0.003", "device=cpu",
)  # fmt: skip


def first_reached(records: list[Record], target: str) -> Record | None:
    """By hand: the first record of training with the metric on the right side of the value."""
    sign = "<=" if "<=" in target else ">="
    metric, value = target.split(sign)
    for record in records:
        found = record.metrics.get(metric)
        if record.step == 0 or found is None:
            continue
        if (found <= float(value)) if sign == "<=" else (found >= float(value)):
            return record
    return None


@pytest.mark.parametrize(
    "target",
    [
        "train/loss<=2.0", "train/loss<=1.6", "train/loss<=1.2", "train/accuracy>=0.5", "val/accuracy>=0.4",
        "val/loss<=1.9", "val/accuracy>=0.999", "train/loss>=100",
    ],
)  # fmt: skip
@pytest.mark.parametrize("probes", ["probes=economy", "probes=none"])
def test_a_run_ends_at_the_first_record_that_reaches_its_target(target: str, probes: str) -> None:
    whole, watched = untracked(*SMALL, probes)
    result, recorder = untracked(*SMALL, probes, f"trainer.until={target}")
    met = first_reached(watched.records, target)
    assert result.status == "finished"
    if met is None:
        assert result.steps == whole.steps and not any(k.startswith("until/") for k in result.metrics)
        assert f"finished and did not reach {target} after {whole.steps} updates" in format_result(result)
        return
    assert (result.metrics["until/step"], result.metrics["until/epoch"]) == (met.step, met.epoch)
    assert result.steps == met.step < whole.steps
    assert f"reached {target} after {met.step} updates" in format_result(result)
    trained = [r for r in watched.records if r.step <= met.step and "train/loss" in r.metrics]
    again = [r for r in recorder.records if "train/loss" in r.metrics]
    assert [r.metrics["train/loss"] for r in again] == [r.metrics["train/loss"] for r in trained]
    # also within an epoch the last record is one of the validation part, as that of trainer.max_steps
    stopped, at_most = untracked(*SMALL, probes, f"trainer.max_steps={met.step}")
    del stopped
    assert "val/loss" in recorder.records[-1].metrics and recorder.records[-1].step == met.step
    assert recorder.records[-1].metrics["val/loss"] == at_most.records[-1].metrics["val/loss"]
    ours, theirs = (r.prepared.model.state_dict() for r in (recorder, at_most))
    assert all(torch.equal(v, theirs[k]) for k, v in ours.items())


def test_a_diverged_run_reaches_nothing() -> None:
    """The finite losses of a window in which it diverged are large and finite."""
    result, _ = untracked(*SMALL, "optimizer=sgd", "optimizer.lr=1e30", "trainer.until=train/loss>=10")
    assert result.status == "diverged" and "until/step" not in result.metrics


def test_the_time_before_training_does_not_count() -> None:
    result, _ = untracked(*SMALL, "trainer.until=val/loss<=1000")
    assert (result.metrics["until/step"], result.metrics["until/epoch"]) == (5, 1)


def test_a_few_shot_run_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"trainer\.until=.*few-shot"):
        untracked(*SMALL[2:], "data=digits", "data.shots=2", "data.episodes=2", "trainer.until=val/loss<=1")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        (" train/loss <= 0.280 ", "train/loss<=0.28"),
        ("val/accuracy>=9e-1", "val/accuracy>=0.9"),
        ("val/psnr>=0.1234567891", "val/psnr>=0.1234567891"),
    ],
)
def test_a_target_is_written_in_one_way(text: str, written: str) -> None:
    assert str(Target.parse(text)) == written == str(Target.parse(written))


@pytest.mark.parametrize("text", ["", "train/loss", "train/loss<0.3", "train/loss<=", "train/loss<=nan", "<=3", "a=>1"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"trainer\.until.*train/loss<=0\.28"):
        Target.parse(text)
