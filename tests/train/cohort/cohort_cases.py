"""What the tests of cohorts share: runs of a few updates, trained alone (the oracle) and together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from initlab.probes import ProfileLog
from initlab.run.assemble import training_loop
from initlab.run.prepare import prepare
from initlab.spec import Record
from initlab.train import Checkpoints, Outcome, train
from initlab.train.cohort import Member, cohort_key, train_cohort, why_alone
from initlab.train.ranks import ALONE
from initlab.train.run import Run
from tests.cases import experiment

#: 5 batches an epoch, the last one smaller
SMALL = (
    "data=digits", "data.limit=150", "model=mlp", "model.width=16", "model.depth=3", "trainer.epochs=2",
    "trainer.batch_size=32", "trainer.log_every=3", "probes.dense_until=3", "probes.every=4", "device=cpu",
)  # fmt: skip


def make(*overrides: str, folder: Path | None = None, stop: Callable[[], bool] = lambda: False) -> Run:
    """The run of a configuration, ready to train; with a folder it goes on from the checkpoint there."""
    e = experiment(*overrides)
    checkpoints = Checkpoints(folder)
    state = checkpoints.peek()
    profile = ProfileLog(checkpoints.profile_path, offset=state.profile_offset if state else 0)
    return training_loop(e, prepare(e), profile=profile, checkpoints=checkpoints, stop=stop, ranks=ALONE)


@dataclass
class Trained:
    """A run after its training."""

    run: Run
    records: list[Record] = field(default_factory=list)
    outcome: Outcome | None = None

    @property
    def weights(self) -> dict[str, Tensor]:
        return {k: v.detach().clone() for k, v in self.run.model.state_dict().items()}

    def told(self) -> list[tuple[int, int, float, tuple[str, ...], dict[str, float]]]:
        """What the records say, without the clock."""
        return [
            (r.serial, r.step, r.epoch, r.nonfinite, {k: v for k, v in r.metrics.items() if "throughput" not in k})
            for r in self.records
        ]


def alone(run: Run) -> Trained:
    """The run trained by the loop of single runs."""
    done, steps = Trained(run), train(run)
    while True:
        try:
            done.records.append(next(steps))
        except StopIteration as end:
            done.outcome = end.value
            run.profile.close()
            return done


def together(runs: Sequence[Run], functions: Sequence[object]) -> list[Trained]:
    """The runs trained as one cohort."""
    assert [why_alone(r) for r in runs] == [""] * len(runs)
    assert len({cohort_key(r) for r in runs}) == 1
    done = [Trained(r) for r in runs]
    for event in train_cohort([Member(run=r, function=f) for r, f in zip(runs, functions, strict=True)]):
        if event.record is not None:
            assert done[event.member].outcome is None
            done[event.member].records.append(event.record)
        else:
            assert done[event.member].outcome is None
            done[event.member].outcome = event.outcome
    assert all(d.outcome is not None for d in done)
    for run in runs:
        run.profile.close()
    return done


def far_apart(
    a: Mapping[Any, float], b: Mapping[Any, float], tolerance: float
) -> dict[Any, tuple[float, float | None]]:
    """Keys whose values differ by more than the tolerance, or that one of the two lacks, with both values."""
    assert a.keys() == b.keys()
    return {
        k: (v, b[k])
        for k, v in a.items()
        if not (v == b[k] or abs(v - b[k]) <= tolerance * (1 + abs(v)) or (math.isnan(v) and math.isnan(b[k])))
    }


def check_alike(one: Trained, other: Trained, *, tolerance: float = 5e-4) -> None:
    """Same records in the same order, same profile and end; numbers to the tolerance of single precision."""
    assert len(one.records) == len(other.records)
    for a, b in zip(one.told(), other.told(), strict=True):
        assert a[:4] == b[:4]
        assert list(a[4]) == list(b[4])
        apart = far_apart(a[4], b[4], tolerance)
        assert not apart, f"at update {a[1]}: {apart}"
    rows = [
        {(r.step, r.site, r.statistic, r.order, r.position): r.value for r in t.run.profile.profile().rows}
        for t in (one, other)
    ]
    assert not far_apart(rows[0], rows[1], tolerance)
    assert one.outcome is not None and other.outcome is not None
    assert (one.outcome.ending, one.outcome.steps, one.outcome.serial, one.outcome.diverged_step) == (
        other.outcome.ending, other.outcome.steps, other.outcome.serial, other.outcome.diverged_step,
    )  # fmt: skip
    assert one.outcome.best_step == other.outcome.best_step
    assert one.outcome.to_target == other.outcome.to_target
    for name, value in one.weights.items():
        torch.testing.assert_close(other.weights[name], value, rtol=tolerance, atol=tolerance, equal_nan=True)


def check_cohort(
    cases: Sequence[tuple[str, ...]], *common: str, tolerance: float = 5e-4, base: tuple[str, ...] = SMALL
) -> list[Trained]:
    """Train all `cases` alone and together and compare them; the overrides of their activation tell them apart."""
    functions = [tuple(o for o in case if o.startswith("activation")) for case in cases]
    expected = [alone(make(*base, *common, *case)) for case in cases]
    found = together([make(*base, *common, *case) for case in cases], functions)
    for one, other in zip(expected, found, strict=True):
        check_alike(one, other, tolerance=tolerance)
    return found
