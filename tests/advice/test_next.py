"""What is said after a run, and the command that is proposed next: small networks, really trained."""

from __future__ import annotations

import os
import shlex
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from initlab import config, inspect, watch
from initlab.cli.console import _next
from initlab.config import compose
from initlab.diagnosis.rules import headline, judge
from initlab.run.judge import evidence_of
from initlab.run.prepare import prepare
from initlab.spec import Finding, Profile, RunResult
from initlab.train import Outcome
from tests.cases import experiment, untracked
from tests.cli.driver import initlab

BASE = ("data=digits", "model=mlp", "model.width=32")
SHORT = (
    ("optimizer=sgd", "optimizer.lr=1e-5", "trainer.epochs=2"),
    ("optimizer=sgd", "optimizer.lr=1e-4", "trainer.epochs=2"),
    ("optimizer=sgd", "optimizer.lr=3e-5", "trainer.epochs=4"),
    ("optimizer=sgd", "optimizer.lr=1e-6", "trainer.epochs=2"),
    ("trainer.max_steps=3",),
    ("trainer.max_steps=1",),
    ("activation=tanh", "trainer.max_steps=8", "optimizer=sgd"),
)


def other_network(result: RunResult) -> set[str]:
    changed = {o.split("=")[0].split(".")[0] for f in result.findings for r in f.remedies for o in r.overrides}
    return changed & {"init", "activation", "model"}


@pytest.mark.parametrize("overrides", SHORT, ids=" ".join)
def test_a_run_that_was_merely_short_is_told_so_first(overrides: tuple[str, ...]) -> None:
    result, _ = untracked(*BASE, *overrides)
    first = result.findings[0]
    assert first.name in ("few_updates", "updates_too_small") and first.remedies
    assert not other_network(result) and "healthy" not in {f.name for f in result.findings}


def test_what_cost_no_accuracy_is_a_remark_and_not_the_next_step() -> None:
    overrides = (*BASE, "model.width=128", "optimizer.lr=0.02", "trainer.epochs=30")
    result, _ = untracked(*overrides)
    assert result.metrics["val/accuracy"] > 0.93
    assert headline(result.findings) == "healthy"
    assert all(f.severity in ("ok", "note") and not f.remedies for f in result.findings)
    assert len(result.findings) > 1, "the case shall have something to remark"
    proposed = _next(experiment(*overrides), result)
    assert proposed.startswith("python -m initlab -m ") and "init=he,xavier replicas=5" in proposed


@pytest.mark.parametrize("ill", [("model.depth=3", "init.bias=-5"), ("model.depth=30", "init=normal", "init.std=0.01")])
@pytest.mark.process
def test_a_verdict_does_not_depend_on_what_is_recorded(tmp_path: Path, ill: tuple[str, ...]) -> None:
    verdicts: set[str] = set()
    for recorded in (("tracking=none",), (), ("probes=economy",), ("probes=full",)):
        done = initlab(*BASE, *ill, "trainer.epochs=2", "tracking.report=false", *recorded, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        verdicts.add(" ".join(line.split(":")[0] for line in done.stdout.splitlines() if line.startswith(("x ", "! "))))
    assert len(verdicts) == 1 and verdicts != {""}


@pytest.mark.process
@pytest.mark.parametrize(
    "overrides",
    [
        ("trainer.epochs=2",),
        ("trainer.max_steps=3",),
        ("init=zeros", "trainer.epochs=1"),
        ("init=normal", "init.std=1"),
    ],
    ids=" ".join,
)
def test_the_next_command_runs(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    usual = ("trainer.epochs=2",) if len(overrides) == 2 and "init=normal" in overrides else ()
    done = initlab(*BASE, *overrides, *usual, "tracking=none", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    line = done.stdout.splitlines()[-1].removeprefix("Next: ").split("   (")[0]
    words = shlex.split(line)
    assert words[:3] == ["python", "-m", "initlab"]
    again = initlab(*words[3:], cwd=tmp_path)
    assert again.returncode == 0, (line, again.stderr)


#: presets whose data must be downloaded are run on data that comes with the package
DOWNLOADED = ("article_cifar10_relu_uniform", "article_image_sigmoid", "article_image_softmax", "article_mnist_cnn")
PRESETS = sorted(p.stem for p in (Path(__file__).parents[2] / "conf" / "experiment").glob("*.yaml"))


@pytest.mark.process
@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_runs(tmp_path: Path, preset: str) -> None:
    small = ["trainer.fast_dev_run=true", "tracking=none", "tracking.report=false"]
    if preset in DOWNLOADED:
        small.append("data=mnist_mini")
    if preset == "adding_lstm":
        small += ["data.examples=200", "data.length=20"]
    if preset == "fewshot_init":  # a study of 24 arms: one of them
        made = compose([f"experiment={preset}", "data.shots=1", "init=he"])
        assert config.experiment(made, overrides=[]).params["init"] == "he"
        return
    data = os.environ.get("INITLAB_DATA")
    if preset == "gpt_shakespeare_cpu" and data is None:
        pytest.skip("needs tiny Shakespeare; set INITLAB_DATA to the folder of data sets")
    extra = {"INITLAB_DATA": data} if data and preset == "gpt_shakespeare_cpu" else {}
    done = initlab(f"experiment={preset}", *small, cwd=tmp_path, **extra)
    assert done.returncode == 0, done.stderr


def test_what_surrounds_the_layers_is_judged() -> None:
    made = experiment(*BASE, "tracking=none")
    prepared = prepare(made)
    outcome = Outcome(steps=100, ending="finished", seconds=1.0, serial=0)
    seen = evidence_of(made, prepared, Profile(), outcome)
    assert seen.input_square is not None and 0.3 < seen.input_square < 3 and not seen.output_cut
    assert {"inputs_not_standardised", "output_cut_off"}.isdisjoint(f.name for f in judge(seen))
    loud = replace(prepared.splits, prepare=lambda x: 255 * prepared.splits.prepare(x))
    far = judge(evidence_of(made, replace(prepared, splits=loud), Profile(), outcome))
    (told,) = [f for f in far if f.name == "inputs_not_standardised"]
    assert "mean square is" in told.evidence
    # the head followed by a hidden layer's activation
    hidden = next(s for s in prepared.sites if s.activation is not None)
    cut = tuple(replace(s, activation=hidden.activation) if s.role == "head" else s for s in prepared.sites)
    ended = evidence_of(made, replace(prepared, sites=cut), Profile(), outcome)
    assert ended.output_cut == "relu" and "output_cut_off" in {f.name for f in judge(ended)}


def test_copied_layers_and_a_loud_tied_embedding_are_told(tmp_path: Path) -> None:
    layer = nn.Linear(16, 16)
    copied = nn.Sequential(*[m for _ in range(4) for m in (deepcopy(layer), nn.Tanh())], nn.Linear(16, 3))
    seen = watched(copied, torch.randn(32, 16), torch.randint(3, (32,)), tmp_path)
    (told,) = [f for f in seen if f.name == "identical_layers"]
    assert "0.weight and 2.weight, 4.weight, 6.weight hold the same numbers" in told.evidence

    class Tied(nn.Module):
        def __init__(self, scale: float) -> None:
            super().__init__()
            self.table = nn.Embedding(50, 64)
            nn.init.normal_(self.table.weight, std=scale)
            self.mix = nn.Linear(64, 64)

        def forward(self, tokens: Tensor) -> Tensor:
            return F.linear(torch.tanh(self.mix(self.table(tokens))), self.table.weight)

    tokens = torch.randint(50, (32,))
    assert "loud_embedding" in {f.name for f in watched(Tied(1.0), tokens, tokens, tmp_path)}
    assert "loud_embedding" not in {f.name for f in watched(Tied(0.02), tokens, tokens, tmp_path)}
    assert any("embedding and head at once" in n for n in inspect(Tied(1.0), (tokens, tokens)).notes)


def watched(model: nn.Module, inputs: Tensor, targets: Tensor, workdir: Path) -> tuple[Finding, ...]:
    """The findings of 20 updates."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with watch(model, optimizer, track=False, workdir=workdir) as looked:
        for _ in range(20):
            loss = F.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            looked.log(loss=loss)
    return looked.findings
