"""A cohort against the loop of single runs, its slow oracle: records, profiles, weights and ends agree."""

from __future__ import annotations

from pathlib import Path

import pytest

from initlab import config
from tests.train.cohort.cohort_cases import SMALL, check_cohort

#: activations of the catalogue with one output for each input, and what they need
_NEEDS = {
    "expr": ("activation.f=x*sigmoid(2*x)",),
    "blend": ("activation.of=[relu,tanh]",),
    "alternate": ("activation.of=[relu,tanh]",),
    # with he's gain it is chaotic: a difference in the last digit grows in every layer
    "gcu": ("init=xavier", "init.gain=0.5"),
    "per_layer": ("activation.layers=[relu,tanh,prelu]",),
}
_GROUPED = ("glu", "geglu", "swiglu", "reglu", "powlu", "crelu", "maxmin", "maxout")
_ACTIVATIONS = sorted(p.stem for p in Path(config.conf_dir(), "activation").glob("*.yaml") if p.stem != "default")


@pytest.mark.parametrize("name", [n for n in _ACTIVATIONS if n not in _GROUPED])
def test_every_elementwise_activation(name: str) -> None:
    """Beside another activation, so that the stack is split, and with two seeds."""
    mine = (f"activation={name}", *_NEEDS.get(name, ()))
    cases = [(*mine, "seed=0"), ("activation=silu", "seed=0"), (*mine, "seed=1")]
    check_cohort(cases, "optimizer=sgd", "optimizer.lr=0.002")


@pytest.mark.parametrize("name", _GROUPED)
def test_an_activation_that_changes_the_number_of_units(name: str) -> None:
    # powlu grows as z^2 for small gates: a difference in the last digit grows with it
    rate = ("optimizer.lr=0.002",) if name == "powlu" else ()
    check_cohort([(f"activation={name}", "seed=0"), (f"activation={name}", "seed=1")], "optimizer=sgd", *rate)


@pytest.mark.parametrize("name", ["prelu", "swish", "pelu", "apl", "pau", "acon_c", "smu", "kaf"])
def test_parameters_for_each_unit(name: str) -> None:
    mine = (f"activation={name}", "activation.per_channel=true")
    check_cohort([(*mine, "seed=0"), ("activation=relu",), (*mine, "seed=1")], "optimizer=sgd")


#: those of the catalogue that a perceptron can have without settings of their own, and that set no learning rates
_INITS = (
    "auto_init", "constant", "data_dependent", "edge_of_chaos", "embedding", "glorot", "gradinit", "he",
    "identity", "kaiming", "lecun", "log_prior", "lsuv", "mean_field", "metainit", "normal",
    "orthogonal", "rai", "sparse", "torch_default", "truncated_normal", "uniform",
    "xavier", "zeros",
)  # fmt: skip


def test_all_inits_in_one_cohort() -> None:
    check_cohort([(f"init={i}", "activation=tanh") for i in _INITS], "optimizer=sgd")


def test_inits_that_want_an_activation() -> None:
    wanted = [("siren", "sin"), ("random_walk", "relu"), ("looks_linear", "crelu")]
    for init, activation in wanted:
        check_cohort([(f"init={init}", f"activation={activation}", f"seed={s}") for s in (0, 1)], "optimizer=sgd")


def test_scales_and_seeds() -> None:
    check_cohort(
        [(f"init.gain={g}", f"seed={s}") for g in (0.5, 1.0, 2.0) for s in (0, 1)], "init=he", "optimizer=adam"
    )


@pytest.mark.parametrize(
    "model",
    [
        ("model.norm=batch",),
        ("model.norm=layer",),
        ("model.bias=false",),
        ("model.depth=1",),
        ("model.depth=5", "model.residual=true", "model.branch_depth=2", "model.norm=layer"),
        ("model.depth=5", "model.residual=true", "model.branch_scale=true"),
    ],
    ids="-".join,
)
def test_every_perceptron(model: tuple[str, ...]) -> None:
    check_cohort([(f"activation={a}", f"seed={s}") for a in ("relu", "prelu") for s in (0, 1)], *model, "optimizer=sgd")


def test_a_linear_classifier() -> None:
    base = tuple("model=linear" if s == "model=mlp" else s for s in SMALL if not s.startswith("model."))
    check_cohort([("seed=0",), ("seed=1", "optimizer.lr=0.1")], "optimizer=sgd", base=base)


@pytest.mark.parametrize(
    "optimizer",
    [
        ("optimizer=sgd", "optimizer.momentum=0"),
        ("optimizer=sgd", "optimizer.nesterov=true"),
        ("optimizer=adam",),
        ("optimizer=adamw",),
        ("optimizer=rmsprop", "optimizer.momentum=0.5"),
    ],
    ids="-".join,
)
def test_learning_rates_and_weight_decay_of_their_own(optimizer: tuple[str, ...]) -> None:
    settings = [(0.001, 0.0), (0.01, 0.1), (0.003, 0.0)]
    cases = [
        (f"optimizer.lr={lr}", f"optimizer.weight_decay={decay}", f"activation={a}", f"seed={seed}")
        for lr, decay in settings
        for a in ("tanh", "prelu")
        for seed in (0, 1)
    ]
    check_cohort(cases, *optimizer)


@pytest.mark.parametrize(
    "schedule",
    [
        ("lr_schedule=cosine", "lr_schedule.warmup=0.2"),
        ("lr_schedule=step", "lr_schedule.milestones=[0.3,0.6]"),
        ("lr_schedule=one_cycle",),
        ("lr_schedule=linear",),
    ],
    ids=lambda s: s[0],
)
def test_schedules(schedule: tuple[str, ...]) -> None:
    check_cohort([("seed=0", "optimizer.lr=0.01"), ("seed=1", "optimizer.lr=0.03")], *schedule, "optimizer=sgd")


def test_schedules_of_their_own() -> None:
    check_cohort([(f"lr_schedule={s}",) for s in ("constant", "cosine", "one_cycle")], "optimizer=adam")


@pytest.mark.parametrize(
    "options",
    [
        ("trainer.clip_grad_norm=0.05",),
        ("data.augment=shift",),
        ("task.label_smoothing=0.1",),
        ("probes=none",),
        ("probes=full",),
        ("trainer.max_steps=7",),
        ("trainer.monitor=val/loss", "trainer.test_with=last"),
        ("trainer.eval_batch_size=7",),
        ("trainer.batch_size=149",),
        ("data=mnist_mini", "data.limit=300"),
    ],
    ids="-".join,
)
def test_options(options: tuple[str, ...]) -> None:
    cases = [(f"init={i}", f"activation={a}", f"seed={s}") for i, a, s in (("he", "relu", 0), ("xavier", "tanh", 1))]
    check_cohort(cases, *options, "optimizer=sgd")
