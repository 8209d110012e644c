"""What an inspection proposes instead of a network that does not look trainable."""

from __future__ import annotations

import shlex

import pytest

from initlab import config
from initlab.cli import inspect_alternatives
from initlab.cli.inspect_alternatives import Advice, advise
from initlab.run.inspect import inspect
from initlab.spec import Experiment, Remedy
from tests.cases import experiment

QUICK = (
    "data=digits", "data.limit=200", "model.width=32", "tracking=none", "inspect.examples=64", "inspect.ntk_examples=0",
    "trainer.epochs=300", "trainer.max_steps=1000",
    "inspect.jacobian=false", "inspect.gradient_quotient=false",
)  # fmt: skip


def advice_of(*overrides: str) -> tuple[Advice, str]:
    made = experiment(*QUICK, *overrides)
    found = inspect(made, made.inspect)
    return advise(found), found.outlook.verdict


def as_proposed(advice: Advice) -> Experiment:
    """The experiment that the proposed command trains."""
    words = shlex.split(advice.next)
    assert words[:3] == ["python", "-m", "initlab"]
    assert not [w for w in words if w.startswith("inspect.")]
    return config.experiment(config.compose(words[3:]), overrides=words[3:])


@pytest.mark.parametrize(
    ("overrides", "taken"),
    [
        (("model=mlp", "model.depth=30", "activation=tanh", "init=normal", "init.std=0.01"), "init=xavier"),
        (("model=mlp", "model.depth=30", "activation=relu", "init=uniform"), "init=he"),
        (("model=mlp", "model.depth=30", "activation=relu", "init=zeros"), "init=he"),
        (("model=mlp", "model.depth=40", "activation=tanh", "init=orthogonal", "init.gain=4"), "init=xavier"),
        (("model=mlp", "model.depth=40", "activation=sigmoid", "init=xavier"), "activation=tanh init=xavier"),
    ],
)
def test_the_next_command_is_better_and_differs(overrides: tuple[str, ...], taken: str) -> None:
    advice, verdict = advice_of(*overrides)
    assert verdict == "untrainable"
    (line,) = advice.lines
    assert line.startswith("try ") and taken in line and "untrainable" not in line
    assert advice.next.endswith(line.split("  (")[0].removeprefix("try "))
    proposed = as_proposed(advice)
    assert set(overrides) - set(proposed.overrides) and not [o for o in proposed.overrides if o.startswith("init.")]
    after = inspect(proposed, experiment(*QUICK, "model=mlp").inspect).outlook
    assert after.verdict != "untrainable" and after.score > 0.5


def test_of_a_trainable_network_the_next_command_is_its_training() -> None:
    advice, verdict = advice_of("model=mlp", "model.depth=4", "activation=relu", "init=he")
    assert verdict == "trainable" and advice.lines == ()
    assert "init=he" in advice.next and as_proposed(advice).params["model.depth"] == 4


def test_where_nothing_is_better_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    proposals = (("init=zeros",), ("init=edge_of_chaos", "activation=softplus"), ("init=normal", "init.std=0.001"))
    remedies = [Remedy(overrides=o, why="a test") for o in proposals]
    monkeypatch.setattr(inspect_alternatives, "_remedies", lambda _: remedies)
    advice, verdict = advice_of("model=mlp", "model.depth=30", "activation=tanh", "init=uniform")
    assert verdict == "untrainable"
    (line,) = advice.lines
    # the second is refused: softplus has no critical point
    assert line == (
        "nothing that was tried is better: init=zeros (untrainable, probability 0.00),"
        " init=normal init.std=0.001 (untrainable, probability 0.00)"
    )
    assert advice.next.startswith("python -m initlab advise data=digits") and "init=" not in advice.next


def test_where_the_rate_is_the_reason_the_rate_is_proposed() -> None:
    advice, verdict = advice_of("model=mlp", "model.depth=4", "optimizer=sgd", "optimizer.lr=1e-6")
    assert verdict != "trainable" and advice.lines[0].startswith("try optimizer.lr=")
    proposed = as_proposed(advice)
    assert float(str(proposed.params["optimizer.lr"])) > 1e-4
