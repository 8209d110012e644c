"""Rules for transformers: each fires on its evidence, is silent one step inside its bound, and names remedies."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

import pytest

from initlab.advice.explain.mechanisms import MECHANISMS
from initlab.diagnosis import rules
from initlab.diagnosis.rules import Evidence
from initlab.spec import ProfileRow, Scalar
from tests.diagnosis.test_rules import GOOD, with_curve

PARAMS: Mapping[str, Scalar] = {
    "model": "gpt", "init": "xavier", "activation": "gelu", "optimizer.lr": 0.001, "model.norm_at": "pre",
    "model.qk_norm": False, "model.attention_scale": "sqrt", "model.tied": True, "model.branch_scale": "one",
    "lr_schedule.warmup": 0.0,
}  # fmt: skip
HEALTHY = {
    "attention_entropy": 0.9, "collapsed_heads": 0.0, "logit_max": 3.0, "token_cosine": 0.3, "stream_growth": 4.0,
}  # fmt: skip


def transformer(*, learned: bool, params: Mapping[str, Scalar] | None = None, **start: float) -> Evidence:
    """A run whose first look found `start`; `<name>_end` is what the last look found."""
    end = {k.removesuffix("_end"): v for k, v in start.items() if k.endswith("_end")}
    begin = {k: v for k, v in start.items() if not k.endswith("_end")}
    rows = [
        ProfileRow(step=step, site="", order=-1, statistic=k, value=v)
        for step, values in ((0, HEALTHY | begin), (20, HEALTHY | begin | end))
        for k, v in values.items()
    ]
    rows += [ProfileRow(step=0, site=f"h.{i}", order=i, statistic="token_cosine", value=0.1) for i in range(2)]
    found = replace(
        GOOD,
        steps=2000,
        params={**PARAMS, **(params or {})},
        profile=replace(GOOD.profile, rows=(*GOOD.profile.rows, *rows)),
    )
    return found if learned else with_curve(found, "val/accuracy", (0, 0.1), (20, 0.1))


def cause_of(evidence: Evidence) -> tuple[str, str]:
    first = rules.judge(evidence)[0]
    return first.name, first.severity


def test_a_healthy_transformer() -> None:
    assert cause_of(transformer(learned=True)) == ("healthy", "ok")


@pytest.mark.parametrize(
    ("start", "params", "finding"),
    [
        ({"token_cosine": 0.951}, {}, "rank_collapse"),
        ({"token_cosine": 1.0}, {"model.norm_at": "post"}, "rank_collapse"),
        ({}, {"model.norm_at": "post"}, "post_norm_without_warmup"),
        ({"collapsed_heads": 0.26}, {}, "saturated_attention"),
        ({"collapsed_heads": 1.0, "token_cosine": 0.99}, {"model.attention_scale": 20.0}, "saturated_attention"),
        ({"stream_growth": 1001.0}, {}, "growing_stream"),
    ],
)
def test_where_nothing_was_learned_it_is_the_cause(
    start: dict[str, float], params: dict[str, Scalar], finding: str
) -> None:
    evidence = transformer(learned=False, params=params, **start)
    assert cause_of(evidence) == (finding, "failure")
    found = rules.judge(evidence)[0]
    assert found.remedies and found.source
    assert finding in MECHANISMS
    for remedy in found.remedies:  # nothing that is so already
        assert any(str(evidence.params.get(k)) != v for k, _, v in (o.partition("=") for o in remedy.overrides))


@pytest.mark.parametrize(
    "start",
    [
        {"token_cosine": 0.949},
        {"collapsed_heads": 0.25},
        {"stream_growth": 999.0},
        {"stream_growth": math.inf},  # embeddings of zero
        {"collapsed_heads_end": 0.25},
    ],
    ids=str,
)
def test_one_step_inside_the_bound_nothing_is_said(start: dict[str, float]) -> None:
    assert cause_of(transformer(learned=False, **start)) == ("at_chance", "failure")


def test_what_was_learned_all_the_same_is_a_note() -> None:
    for start in (
        {"token_cosine": 0.96, "token_cosine_end": 0.3},
        {"stream_growth": 2000.0},
        {"collapsed_heads_end": 0.5},
    ):
        found = rules.judge(with_curve(transformer(learned=True, **start), "val/accuracy", (0, 0.1), (20, 0.6)))
        assert {f.severity for f in found if f.name != "healthy"} == {"note"}
    same = with_curve(transformer(learned=True, token_cosine=0.96), "val/accuracy", (0, 0.1), (20, 0.6))
    assert cause_of(same) == ("rank_collapse", "warning")
    warm = transformer(learned=True, params={"model.norm_at": "post"})
    assert cause_of(warm) == ("healthy", "ok")


def test_warm_up_is_not_named_where_there_was_one() -> None:
    warm = transformer(learned=False, params={"model.norm_at": "post", "lr_schedule.warmup": 0.1})
    assert cause_of(warm) == ("at_chance", "failure")


def test_entropy_collapse_where_the_run_is_lost() -> None:
    found = {f.name: f for f in rules.judge(transformer(learned=False, collapsed_heads_end=0.6, logit_max_end=4e4))}
    assert found["entropy_collapse"].severity == "warning"
    assert "4e+04" in found["entropy_collapse"].evidence
    assert [r.overrides for r in found["entropy_collapse"].remedies] == [
        ("lr_schedule=cosine", "lr_schedule.warmup=0.1"),
        ("optimizer.lr=0.0001",),
        ("model.qk_norm=true",),
    ]


@pytest.mark.parametrize(("above", "severity"), [(0.49, None), (0.51, "note"), (1.01, "failure")])
def test_a_loud_start(above: float, severity: str | None) -> None:
    lost = transformer(learned=False)
    found = rules.judge(with_curve(lost, "val/loss", (0, math.log(10) + above), (20, 2.3)))
    assert next((f.severity for f in found if f.name == "high_start_loss"), None) == severity
    # of a network without attention nothing is said: He's head begins there
    plain = with_curve(GOOD, "val/accuracy", (0, 0.1), (20, 0.1))
    found = rules.judge(with_curve(plain, "val/loss", (0, math.log(10) + above), (20, 2.3)))
    assert "high_start_loss" not in {f.name for f in found}


def test_consequences_are_not_named_beside_their_cause() -> None:
    lost = transformer(learned=False, token_cosine=1.0, params={"model.norm_at": "post"})
    names = {f.name for f in rules.judge(with_curve(lost, "val/loss", (0, 4.0), (20, 2.3)))}
    assert names == {"rank_collapse", "at_chance"}
