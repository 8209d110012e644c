"""`advise`: from the prediction, from like runs, and saying when it does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import initlab as package
from initlab.advice import Option, Past, decide, past_runs
from initlab.errors import ConfigError
from initlab.spec import Outlook
from initlab.tracking import RunRecord
from tests.cli.driver import initlab

pytestmark = pytest.mark.process

DEEP = ("data=digits", "model=mlp", "model.depth=20", "model.width=48")


def option(init: str, risk: float, verdict: str = "trainable", activation: str = "relu") -> Option:
    outlook = Outlook(verdict=verdict, score=0.9, reasons=("because",))  # type: ignore[arg-type]
    return Option(init=init, activation=activation, why="", risk=risk, rank=risk, outlook=outlook, plain=True)


def past(*scores: float, trained: int | None = None) -> Past:
    count = len(scores)
    return Past(
        runs=count, trained=count if trained is None else trained, scores=scores, key="test/accuracy", higher=True
    )


# ------------------------------------------------------------------ the choice
def test_a_later_option_must_lower_the_risk_by_a_whole_unit() -> None:
    assert decide([option("he", 2.0), option("xavier", 1.1)], {}).init == "he"
    assert decide([option("he", 2.0), option("xavier", 0.9)], {}).init == "xavier"


def test_torch_s_default_is_compared_with_and_not_advised() -> None:
    assert decide([option("he", 3.0), option("torch_default", 0.0)], {}).init == "he"


def test_like_runs_tell_what_risk_does_not() -> None:
    options = [option("he", 1.0), option("xavier", 1.5), option("lecun", 9.0, "untrainable")]
    seen = {("he", "relu"): past(0.80, 0.82, 0.81), ("xavier", "relu"): past(0.90, 0.92, 0.91)}
    advice = decide(options, seen, taken="6 runs")
    assert advice.init == "xavier" and advice.confidence == "high" and "0.910" in advice.expected
    assert advice.options[0].init == "xavier"
    # better on the few runs that there are, and at a risk that the prediction warns of
    assert decide(options, {**seen, ("lecun", "relu"): past(0.99, 0.99, 0.99)}).init == "xavier"
    # one run is an anecdote
    assert decide(options, {("he", "relu"): past(0.8), ("xavier", "relu"): past(0.9)}).init == "he"
    # most of its runs learned nothing
    lost = past(0.9, 0.1, 0.1, trained=1)
    assert decide(options, {("he", "relu"): past(0.8, 0.8), ("xavier", "relu"): lost}).init == "he"


def test_where_theory_is_silent_only_runs_count() -> None:
    options = [option("recurrent", 0.0, activation="tanh"), option("he", 0.0, activation="tanh")]
    unknown = decide(options, {}, silent="recurrent layers")
    assert not unknown.knows and unknown.confidence == "none" and "does not cover" in unknown.reason
    known = decide(options, {("he", "tanh"): past(0.5, 0.52, 0.51)}, silent="recurrent layers", taken="3 runs")
    assert known.knows and known.init == "he" and known.confidence == "medium"


def test_an_untrainable_best_is_low_in_confidence() -> None:
    advice = decide([option("he", 20.0, "untrainable")], {})
    assert advice.confidence == "low" and "does not train" in advice.expected


# ------------------------------------------------------------------ like runs
def record(init: str, accuracy: float, **params: str) -> RunRecord:
    usual = {"task": "image", "model": "mlp", "model.depth": "20", "data": "digits", "activation": "relu", "init": init}
    tags = {"initlab.verdict": "vanishing,at_chance" if accuracy < 0.2 else "healthy"}
    return RunRecord(
        run_id=init, name="", experiment="", status="finished", start_ms=0, end_ms=1, params={**usual, **params},
        tags=tags, metrics={"test/accuracy": accuracy, "val/accuracy": accuracy},
    )  # fmt: skip


def test_like_runs_have_task_model_and_about_the_depth() -> None:
    asked = {"task": "image", "model": "mlp", "model.depth": 20, "data": "digits"}
    runs = [
        record("he", 0.9), record("he", 0.8, **{"model.depth": "25"}), record("he", 0.1, **{"model.depth": "40"}),
        record("he", 0.5, model="cnn"), record("xavier", 0.1), record("he", 0.3, data="mnist_mini"),
    ]  # fmt: skip
    found, told = past_runs(runs, asked)
    assert found["he", "relu"].scores == (0.9, 0.8) and found["he", "relu"].trained == 2
    assert found["xavier", "relu"].trained == 0 and "3 runs" in told and "on the same data" in told
    other, told = past_runs(runs, {**asked, "data": "fashion_mnist"})
    assert other["he", "relu"].runs == 3 and "on other data" in told
    assert past_runs([], asked) == ({}, "")


# ------------------------------------------------------------------ the command
def test_the_advised_command_can_be_typed_and_like_runs_raise_the_confidence(tmp_path: Path) -> None:
    first = initlab("advise", *DEEP, "activation=relu", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    assert "Confidence: medium" in first.stdout and "no like runs in the store" in first.stdout
    assert not list(tmp_path.iterdir())  # to ask leaves nothing behind
    (line,) = [found for found in first.stdout.splitlines() if found.startswith("Take: python -m initlab ")]
    typed = line.removeprefix("Take: python -m initlab ").split()
    assert any(o.startswith("init=") for o in typed) and "activation=relu" in typed
    grid = ("-m", *typed[:-1], "init=he,orthogonal", "replicas=3", "trainer.epochs=4", "tracking.report=false")
    assert initlab(*grid, cwd=tmp_path, timeout=300).returncode == 0
    second = initlab("advise", *DEEP, "activation=relu", cwd=tmp_path)
    assert "Confidence: high" in second.stdout and "3 of 3 similar runs trained" in second.stdout


def test_what_it_does_not_know_it_says(tmp_path: Path) -> None:
    done = initlab("advise", "task=text", "model.hidden_size=16", cwd=tmp_path)
    assert done.returncode == 0 and "initlab does not know: theory does not cover recurrent layers" in done.stdout
    assert "Next: python -m initlab -m task=text" in done.stdout


def test_a_network_that_no_scheme_saves(tmp_path: Path) -> None:
    done = initlab("advise", *DEEP[:2], "model.depth=60", "model.width=16", "activation=softplus", cwd=tmp_path)
    assert done.returncode == 0 and "Confidence: low" in done.stdout
    assert "Change the network: model.norm=batch or model.residual=true" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["model.depth=0"], "model.depth=0"),
        (["init=hee"], "hee"),
        (["data=digits", "model=mlp", "tracking.uri=http://127.0.0.1:9"], "did not answer"),
    ],
)
def test_bad_input(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = initlab("advise", *arguments, cwd=tmp_path)
    assert done.returncode == 2 and words in done.stderr


# ------------------------------------------------------------------ anybody's module
def test_advice_for_a_module_leaves_it_as_it_is() -> None:
    torch.manual_seed(0)
    layers = [layer for _ in range(20) for layer in (nn.Linear(48, 48), nn.ReLU())]
    model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), *layers, nn.Linear(48, 5)).eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    batch = (torch.randn(64, 12), torch.randint(5, (64,)))
    advice = package.advise(model, batch)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items()) and not model.training
    assert advice.knows and advice.confidence == "medium" and advice.init in str(advice)
    by_name = {o.init: o for o in advice.options}
    assert by_name["torch_default"].risk > by_name[advice.init].risk + 1
    assert package.advise(model, batch) == advice
    package.initialize(model, advice.init, data=[batch])


def test_advice_for_attention_is_that_nothing_is_known() -> None:
    class Attending(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
            self.head = nn.Linear(16, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(self.attention(x, x, x, need_weights=False)[0].mean(1))

    advice = package.advise(Attending(), (torch.randn(32, 6, 16), torch.randint(3, (32,))))
    assert not advice.knows and "attention" in advice.reason


def test_a_module_without_weights_is_refused() -> None:
    with pytest.raises(ConfigError):
        package.advise(nn.Sequential(nn.Flatten()), (torch.randn(8, 3), torch.randint(3, (8,))))
