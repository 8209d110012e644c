"""Members that leave the stack (divergence, early stopping, a stop that is asked for) and cohorts that go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch

from initlab.train.cohort import Event, Member, cohort_key, train_cohort, why_alone
from tests.train.cohort.cohort_cases import SMALL, Trained, alone, check_alike, make, together


def asked_after(updates: int) -> Callable[[], bool]:
    """A stop that is true from the given update on; it is asked once before each."""
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > updates

    return stop


def check_against_single_runs(
    cases: Sequence[tuple[str, ...]], *common: str, stops: dict[int, int] | None = None
) -> list[Trained]:
    """Cases trained alone and together, member i with a stop after ``stops[i]`` updates."""

    def stop(i: int) -> Callable[[], bool]:
        return asked_after(stops[i]) if stops and i in stops else lambda: False

    runs = [[make(*SMALL, *common, *c, stop=stop(i)) for i, c in enumerate(cases)] for _ in range(2)]
    expected = [alone(r) for r in runs[0]]
    found = together(runs[1], [next((o for o in c if o.startswith("activation")), "") for c in cases])
    for one, other in zip(expected, found, strict=True):
        check_alike(one, other)
    return found


def test_a_member_that_diverges_does_not_disturb_the_others() -> None:
    cases = [("optimizer.lr=0.01",), ("optimizer.lr=1e30",), ("optimizer.lr=0.02",), ("optimizer.lr=1e35", "seed=1")]
    found = check_against_single_runs(cases, "optimizer=sgd", "activation=identity")
    endings = [t.outcome.ending for t in found if t.outcome is not None]
    assert endings == ["finished", "diverged", "finished", "diverged"]
    assert found[1].records[-1].nonfinite == ("train/loss",)


def test_members_stop_early_by_themselves() -> None:
    cases = [("optimizer.lr=0.05", f"seed={s}") for s in range(2)] + [
        ("optimizer.lr=1e-9", f"seed={s}") for s in range(2)
    ]
    common = ("optimizer=sgd", "trainer.epochs=6", "trainer.early_stopping=2")
    found = check_against_single_runs(cases, *common, "activation=tanh")
    assert {t.outcome.ending for t in found if t.outcome is not None} == {"finished", "stopped"}


@pytest.mark.parametrize(
    "target", ["train/loss<=1.9", "train/accuracy>=0.5", "val/accuracy>=0.5", "val/loss<=1.7", "train/loss<=0.01"]
)
@pytest.mark.parametrize("every", ["1", "4", "5", "100"])
def test_members_reach_a_target_by_themselves(target: str, every: str) -> None:
    """Within an epoch, at its end, at the record of its end, or never; one of them diverges."""
    cases = [
        ("optimizer.lr=0.3", "seed=0"), ("optimizer.lr=1e30", "seed=0"), ("optimizer.lr=0.1", "seed=1"),
        ("optimizer.lr=0.3", "seed=2", "activation=relu"), ("optimizer.lr=0.01", "seed=1", "activation=relu"),
    ]  # fmt: skip
    common = ("optimizer=sgd", "trainer.epochs=6", f"trainer.log_every={every}", f"trainer.until={target}")
    found = check_against_single_runs(cases, *common, "activation=identity", "model.norm=batch")
    outcomes = [t.outcome for t in found if t.outcome is not None]
    reached = [o.to_target.get("until/step") for o in outcomes]
    assert len(set(reached)) > (1 if target != "train/loss<=0.01" else 0)
    assert all(o.steps == step for o, step in zip(outcomes, reached, strict=True) if step is not None)


@pytest.mark.parametrize("stops", [{1: 4}, {0: 0}, {0: 3, 2: 7}, {0: 5, 1: 5, 2: 5}])
def test_members_that_are_asked_to_stop(stops: dict[int, int]) -> None:
    cases = [("activation=relu",), ("activation=rrelu",), ("activation=relu", "seed=1")]
    found = check_against_single_runs(cases, "optimizer=sgd", stops=stops)
    for i, trained in enumerate(found):
        assert trained.outcome is not None
        assert trained.outcome.ending == ("killed" if i in stops else "finished")


#: beside Adam's moments and running statistics also numbers that are drawn, and a probe between two training records
_RICH = [
    ("activation=rrelu", "seed=0"),
    ("activation=prelu", "seed=0", "optimizer.lr=0.01"),
    ("activation=rrelu", "seed=1"),
]
_COMMON = (
    "model.norm=batch",
    "data.augment=shift",
    "lr_schedule=cosine",
    "optimizer=adamw",
    "trainer.clip_grad_norm=1.0",
)


def _cohort(folder: Path, *, stop_after: int | None = None) -> list[Trained]:
    places = [folder / str(i) for i in range(len(_RICH))]
    for place in places:
        place.mkdir(parents=True, exist_ok=True)
    stop = (lambda: False) if stop_after is None else asked_after(stop_after * len(_RICH))
    runs = [make(*SMALL, *_COMMON, *c, folder=p, stop=stop) for c, p in zip(_RICH, places, strict=True)]
    return together(runs, [c[0] for c in _RICH])


@pytest.mark.parametrize("stop_after", [1, 4, 5, 7])
def test_killed_and_resumed_bit_for_bit(stop_after: int, tmp_path: Path) -> None:
    whole = _cohort(tmp_path / "whole")
    first = _cohort(tmp_path / "cut", stop_after=stop_after)
    assert [t.outcome.ending for t in first if t.outcome is not None] == ["killed"] * 3
    rest = _cohort(tmp_path / "cut")
    for a, b, c in zip(whole, first, rest, strict=True):
        assert a.told() == b.told() + c.told()
        assert a.weights.keys() == c.weights.keys()
        assert all(torch.equal(v, c.weights[k]) for k, v in a.weights.items())
        assert a.run.profile.profile() == c.run.profile.profile()
        assert c.outcome is not None and c.outcome.ending == "finished"


def test_a_member_goes_on_alone(tmp_path: Path) -> None:
    """A checkpoint of a member is one of a run on its own."""
    whole = _cohort(tmp_path / "whole")
    first = _cohort(tmp_path / "cut", stop_after=6)
    for i, case in enumerate(_RICH):
        rest = alone(make(*SMALL, *_COMMON, *case, folder=tmp_path / "cut" / str(i)))
        rest.records = first[i].records + rest.records
        check_alike(whole[i], rest)


def test_the_best_weights_are_kept(tmp_path: Path) -> None:
    found = _cohort(tmp_path)
    for i, trained in enumerate(found):
        assert trained.run.checkpoints.load_best(trained.run.model)
        in_memory = trained.weights
        again = make(*SMALL, *_COMMON, *_RICH[i], folder=tmp_path / str(i))
        again.profile.close()
        assert again.checkpoints.load_best(again.model)
        assert all(torch.equal(v, in_memory[k]) for k, v in again.model.state_dict().items())


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (("model=cnn",), "model CNN"),
        (("model=mlp", "model.dropout=0.2"), "layer dropouts.0: Dropout"),
        (("model=mlp", "model.dropout=0.2", "model.dropout_kind=alpha"), "layer dropouts.0: AlphaDropout"),
        (("model=mlp", "model.weight_standardisation=true"), "layer layers.0: StandardisedLinear"),
        (("trainer.precision=bf16",), "trainer.precision"),
        (("trainer.fast_dev_run=true",), "trainer.fast_dev_run"),
        (("init=mup",), "init with learning rates of its own"),
        (("init=spectral",), "init with learning rates of its own"),
        (("task=text", "model=gru", "data=text_file", f"data.path={__file__}"), "data are one long sequence"),
    ],
)
def test_what_a_stack_does_not_know_trains_alone(overrides: tuple[str, ...], reason: str) -> None:
    base = [o for o in SMALL if not o.startswith(("model.", "trainer.epochs"))]
    if any(o.startswith("task=") for o in overrides):
        base = ["model.hidden_size=8", "trainer.max_steps=2"]
    assert why_alone(make(*base, *overrides)) == reason


def test_a_hook_or_another_class_trains_alone() -> None:
    run = make(*SMALL)
    assert why_alone(run) == ""
    handle = run.model.register_forward_hook(lambda *_: None)
    assert why_alone(run) == "hooks at the model"
    handle.remove()

    class Other(type(run.model)):  # type: ignore[misc]
        pass

    run.model.__class__ = Other
    assert why_alone(run) == "model Other"


def test_runs_that_differ_in_more_do_not_share_a_cohort() -> None:
    keys = {
        cohort_key(make(*SMALL, *o))
        for o in (
            (),
            ("model.width=8",),
            ("trainer.batch_size=16",),
            ("probes.every=2",),
            ("task.label_smoothing=0.1",),
        )
    }
    assert len(keys) == 5
    assert cohort_key(make(*SMALL, "init=he", "seed=3")) == cohort_key(make(*SMALL, "init=xavier", "optimizer.lr=0.1"))


def test_events_end_with_the_outcome() -> None:
    runs = [make(*SMALL, f"seed={s}") for s in (0, 1)]
    events: list[Event] = list(train_cohort([Member(run=r, function="") for r in runs]))
    assert [e.member for e in events if e.outcome is not None] == [0, 1]
    assert events[-1].outcome is not None
