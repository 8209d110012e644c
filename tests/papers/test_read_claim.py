"""Claims that are read, and every mistake in one: refused, with the key and what is valid."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest

from initlab.errors import ConfigError
from initlab.papers.arms import arms_of, check_arms, choices_of, overrides_of
from initlab.papers.catalog import claim_names, read_entry, read_listed
from initlab.papers.read_claim import read_claim
from tests.papers.claims import MEASURES, NODE, claim

CHECK: dict[str, Any] = NODE["checks"][0]


def told(node: object) -> str:
    with pytest.raises(ConfigError) as raised:
        read_claim("mine", node, measures=MEASURES)
    return str(raised.value)


def with_check(**changes: Any) -> dict[str, Any]:
    return {**NODE, "checks": [{**CHECK, **changes}]}


def with_figure(**figure: Any) -> dict[str, Any]:
    return {**NODE, "figure": figure}


def without(key: str) -> dict[str, Any]:
    return {k: v for k, v in NODE.items() if k != key}


# ------------------------------------------------------------------ what is right
def test_a_claim_is_read_whole() -> None:
    found = claim(
        says=" Two \n lines. ", reason="It is too small.", seeds=7, seconds=12.5, quick=["trainer.epochs=1"],
        studies={"main": ["init=he,xavier", "+model.norm=none"], "deep": ["model.depth=10,20"]},
        measures={"start": {"of": "jacobian", "settings": {"examples": 2}, "arms": [["init=he"], []]}},
        checks=[
            {**CHECK, "arm": ["init=he", "init=xavier"], "part": "main", "says": "it learns"},
            {"metric": "spread", "part": "start", "arm": "init=he", "near": 0, "within": 0.1},
        ],
        figure={"kind": "lines", "metric": "val/loss", "x": "model.depth", "by": "init", "log": "xy", "part": "deep"},
    )  # fmt: skip
    assert (found.says, found.reason, found.seeds, found.seconds) == ("Two lines.", "It is too small.", 7, 12.5)
    assert [p.name for p in found.parts] == ["main", "deep", "start"] and found.parts[2].arms == (("init=he",), ())
    assert [c.arm for c in found.checks] == ["init=he", "init=xavier", "init=he"]
    assert found.checks[2].expected == "0 ± 0.1" and found.checks[0].expected == "above 0.5"
    assert found.checks[0].subject == "it learns" and found.checks[2].subject == "spread of init=he"
    assert found.metrics == {"test/accuracy", "spread", "val/loss"}
    assert found.keys == {"init", "model.norm", "model.depth"}
    assert math.isnan(found.checks[0].within)


def test_quick_is_a_list_of_overrides_or_false() -> None:
    assert claim().quick == () and claim(quick=False).quick is None and claim(quick=[]).quick == ()


@pytest.mark.parametrize("name", claim_names())
def test_every_claim_here_is_sound(name: str) -> None:
    """It composes, in a quick look too, and its checks name arms that its studies have."""
    entry = read_entry(name)
    assert read_listed(name) == entry.claim
    read_entry(name, quick=True)
    assert entry.seeds >= 5 and entry.claim.name == name and entry.claim.seconds > 0
    for text in (entry.claim.says, entry.claim.differs):
        assert text.endswith("."), text
    assert read_entry(name).computation == entry.computation


# ------------------------------------------------------------------ mistakes
MISTAKES: list[tuple[object, str]] = [
    ("a text", "mine: claim=a text: must be a mapping"),
    ([1], "must be a mapping"),
    ({**NODE, "say": "x"}, "mine: claim.say=x: unknown key; did you mean says?"),
    ({**NODE, "seed": 5}, "claim.seed=5: unknown key; did you mean seeds?"),
    (without("says"), "claim.says"),
    ({**NODE, "paper": ""}, "claim.paper"),
    ({**NODE, "section": 3.2}, "claim.section=3.2: must be a text"),
    ({**NODE, "differs": ["a"]}, "claim.differs"),
    ({**NODE, "reason": None}, "claim.reason"),
    (without("studies"), "names no study"),
    ({**NODE, "studies": ["init=he"]}, "claim.studies"),
    ({**NODE, "studies": {"main": "init=he"}}, "must be a list of overrides"),
    ({**NODE, "studies": {"main": []}}, "must be a list of overrides"),
    ({**NODE, "studies": {"../main": ["init=he,xavier"]}}, "must be a name of small letters, digits and _"),
    ({**NODE, "studies": {"a/b": ["init=he,xavier"]}}, "must be a name"),
    ({**NODE, "studies": {3: ["init=he,xavier"]}}, "must be a name"),
    ({**NODE, "studies": {"main": ["init=he", "init=xavier"]}}, "claim.studies.main=init: is given twice"),
    ({**NODE, "studies": {"main": [{"init": "he"}]}}, "is no override that a claim may have"),
    ({**NODE, "measures": {"main": {"of": "jacobian"}}}, "a study has this name"),
    ({**NODE, "measures": {"m": {"of": "jacobain"}}}, "no such measurement; did you mean jacobian?"),
    ({**NODE, "measures": {"m": {"of": "jacobian", "arm": []}}}, "unknown key; did you mean arms?"),
    ({**NODE, "measures": {"m": {"of": "jacobian", "arms": []}}}, "must be a list of arms"),
    ({**NODE, "measures": {"m": {"of": "jacobian", "arms": ["init=he"]}}}, "must be a list of overrides"),
    ({**NODE, "measures": {"m": {"of": "jacobian", "settings": [1]}}}, "must be a mapping"),
    ({**NODE, "measures": {"m": "jacobian"}}, "must be a mapping"),
    (without("checks"), "must be a list of checks"),
    ({**NODE, "checks": []}, "must be a list of checks"),
    ({**NODE, "checks": {"metric": "x"}}, "must be a list of checks"),
    (with_check(abov=1), "claim.checks[0].abov=1: unknown key; did you mean above?"),
    (with_check(below=1), "needs one of above, below and near"),
    ({**NODE, "checks": [{"metric": "x", "arm": "init=he"}]}, "needs one of above, below and near"),
    (with_check(within=1), "near and within go together"),
    ({**NODE, "checks": [{"metric": "x", "near": 1}]}, "near and within go together"),
    ({**NODE, "checks": [{"metric": "x", "near": 1, "within": 0}]}, "must be greater than 0"),
    (with_check(above="0.5"), "must be a number"),
    (with_check(above=True), "must be a number"),
    (with_check(above=math.inf), "must be a number"),
    (with_check(above=math.nan), "must be a number"),
    (with_check(metric=None), "claim.checks[0].metric"),
    (with_check(arm=[]), "names no arm"),
    (with_check(arm="he"), "must name an arm, such as init=he model.depth=30"),
    (with_check(arm={"init": "he"}), "must name an arm"),
    (with_check(arm="init=he init=xavier"), "names a key twice"),
    (with_check(minus="xavier"), "claim.checks[0].minus=xavier: must name an arm"),
    (with_check(minus=None), "must name an arm"),
    (with_check(minus="init=xavier", over="init=xavier"), "takes one of minus, over and slope"),
    (with_check(best="optimizer.lr", at_best="optimizer.lr"), "takes one of best and at_best"),
    (with_check(slope=3), "must be a key of the configuration"),
    (with_check(slope="model depth"), "must be a key of the configuration"),
    (with_check(part="man"), "no such part; did you mean main?"),
    (with_check(says=["x"]), "must be a text"),
    ({**NODE, "checks": ["init=he"]}, "must be a mapping"),
    (with_figure(kind="line", metric="x"), "no such figure; did you mean lines?"),
    (with_figure(kind="lines", metric="x"), "claim.figure.x"),
    (with_figure(kind="grid", metric="x", x="model.depth"), "claim.figure.y"),
    (with_figure(kind="bars", metric="x", x="model.depth"), "is not for bars"),
    (with_figure(kind="bars"), "claim.figure.metric"),
    (with_figure(kind="bars", metric="x", colour="red"), "claim.figure.colour"),
    (with_figure(kind="bars", metric="x", log="z"), "claim.figure.log"),
    (with_figure(kind="bars", metric="x", log=True), "claim.figure.log"),
    (with_figure(kind="bars", metric="x", by=[3]), "claim.figure.by"),
    (with_figure(kind="bars", metric="x", part="other"), "no such part"),
    (with_figure(kind="bars", metric="x", border={1: 2}), "claim.figure.border={1: 2}: is not for bars"),
    (with_figure(kind="grid", metric="x", x="model.depth", y="model.width", border=[1]), "must be a mapping"),
    (with_figure(kind="grid", metric="x", x="model.depth", y="model.width", border={1: "six"}), "must be a number"),
    ({**NODE, "quick": True}, "must be a list of overrides"),
    ({**NODE, "quick": None}, "must be a list of overrides"),
    ({**NODE, "quick": ["epochs=1"]}, "is no override that a claim may have"),
    ({**NODE, "seeds": 2.5}, "must be a whole number from 2 to 1000"),
    ({**NODE, "seeds": 1}, "an interval needs two seeds"),
    ({**NODE, "seeds": 10**9}, "must be a whole number from 2 to 1000"),
    ({**NODE, "seeds": "5"}, "must be a number"),
    ({**NODE, "seconds": 0}, "must be greater than 0"),
    ({**NODE, "says": "in ${oc.env:HOME}"}, "must be plain"),
    ({**NODE, "says": "red \x1b[31m"}, "claim.says='red \\x1b[31m': holds characters that cannot be printed"),
    ({**NODE, "paper": "a \u202e b"}, "holds characters that cannot be printed"),
    (with_check(says="${hydra.run.dir}"), "claim.checks[0].says"),
    ({**NODE, "measures": {"m": {"of": "jacobian", "settings": {"examples": "${seed}"}}}}, "must be plain"),
]


@pytest.mark.parametrize(("node", "what"), MISTAKES, ids=[w for _, w in MISTAKES])
def test_a_mistake_is_told_by_name(node: object, what: str) -> None:
    before = copy.deepcopy(node)
    said = told(node)
    assert what in said and said.startswith("mine: claim"), said
    assert node == before


#: what a claim may not have among its overrides
REFUSED = (
    "hydra.run.dir=/tmp/x", "hydra.callbacks.evil._target_=os.system", "hydra/launcher=evil", "tracking.uri=http://x",
    "tracking=ours", "+tracking.uri=http://x", "++tracking.uri=x", "config.targets=[evil]", "model._target_=os.system",
    "+model._target_=evil.Net", "init._target_=os.system", "init.recurrent._target_=os.system",
    "init={_target_: os.system, command: touch x}", "trainer={callbacks: [{_target_: os.system}]}",
    "model={'_target_': os.system}", 'data={"_target_": os.system}', "init={a: {b: {_target_: x}}}",
    "data.path=${oc.env:HOME}", "task=${oc.decode:x}", "--config-dir=/tmp", "--config-dir", "-m", "-cd", "~model",
    "study.storage=sqlite:///x.db", "study.name=mine", "study.workers=9", "study.engine=ray",
    "study.ray_address=ray://x", "study={storage: x}", "replicas=3", "seed=1", "device=cuda", "threads=9", "resume=x",
    "experiment=other", "experiment=papers/he_2015", "schedule=x", "probes.extra=[evil.probe]",
    "probes={extra: [evil.probe]}", "data.root=/etc", "data={root: /etc}", "trainer.ddp=true",
    "init@hydra.callbacks=he",
    "/init@_global_=he", "init:a=he", "Init=he", "init", "=he", "", " init=he", "init=he\ntracking.uri=x", "init=\x00",
    "init=h\\e", "model.depth", "modelx.depth=3",
    "data\u00e9=x", "task.\u043ea=1",
)  # fmt: skip


@pytest.mark.parametrize("override", REFUSED)
@pytest.mark.parametrize("where", ["study", "measure", "quick"])
def test_what_a_claim_may_not_set_is_refused_everywhere(override: str, where: str) -> None:
    node = {
        "study": {**NODE, "studies": {"main": ["init=he,xavier", override]}},
        "measure": {**NODE, "measures": {"m": {"of": "jacobian", "arms": [[override]]}}},
        "quick": {**NODE, "quick": [override]},
    }[where]
    assert "claim" in told(node)


# ------------------------------------------------------------------ arms before training
def test_arms_are_every_combination_of_what_is_typed() -> None:
    chosen = claim(
        studies={"main": ["init=he,xavier", "model.depth=5,10", "optimizer.lr=0.1"]}, quick=["model.depth=3"]
    )
    found = arms_of(chosen, chosen.parts[0])
    assert found is not None and len(found) == 4 and {a["optimizer.lr"] for a in found} == {"0.1"}
    assert overrides_of(chosen, chosen.parts[0], quick=True) == ("init=he,xavier", "optimizer.lr=0.1", "model.depth=3")
    small = arms_of(chosen, chosen.parts[0], quick=True)
    assert small is not None and [a["model.depth"] for a in small] == ["3", "3"]
    formula = claim(studies={"main": ["init=he,xavier", "model.depth=range(1,4)"]})
    assert arms_of(formula, formula.parts[0]) is None


@pytest.mark.parametrize(("override", "values"), [
    ("init=he", ["he"]), ("init=he(gain=1,2),xavier", ["he(gain=1,2)", "xavier"]), ("a=[1,2],[3]", ["[1,2]", "[3]"]),
    ("a='x,y',z", ["x,y", "z"]), ("a=interval(0,1)", None), ("a=choice(x,y)", None), ("a={b:1,c:2}", ["{b:1,c:2}"]),
])  # fmt: skip
def test_values_of_an_override(override: str, values: list[str] | None) -> None:
    assert choices_of(override) == values


TWO = {"main": ["init=he,xavier", "optimizer.lr=0.1,0.2"], "deep": ["init=he", "model.depth=3,6"]}


@pytest.mark.parametrize(("check", "what"), [
    ({"arm": "init=hee optimizer.lr=0.1"}, "arm=init=hee optimizer.lr=0.1: is no arm of the studies; there are"),
    ({"arm": "init=he", "part": "main"}, "names 2 arms and must name one: init=he optimizer.lr=0.1 (main)"),
    ({"arm": "init=he optimizer.lr=0.1", "minus": "init=x optimizer.lr=0.1", "part": "main"}, "claim.checks[0].minus"),
    ({"arm": "init=he", "best": "model.width", "part": "main"}, "needs two numbers or more of model.width"),
    ({"arm": "init=he optimizer.lr=0.1", "at_best": "optimizer.lr", "part": "main"}, "needs two numbers or more"),
    ({"arm": "", "slope": "init", "part": "main"}, "numbers or more of init among its arms; there are he, xavier"),
    ({"arm": "", "slope": "optimizer.lr", "part": "main"}, "names 2 arms and must name one"),
])  # fmt: skip
def test_an_arm_that_is_not_there_is_told_before_anything_is_trained(check: dict[str, Any], what: str) -> None:
    chosen = claim(studies=TWO, checks=[{"metric": "test/accuracy", "above": 0.5, **check}])
    with pytest.raises(ConfigError) as raised:
        check_arms(chosen)
    assert what in str(raised.value)


@pytest.mark.parametrize("check", [
    {"arm": "init=he optimizer.lr=1e-1", "part": "main"}, {"arm": "init=he", "best": "optimizer.lr", "part": "main"},
    {"arm": "init=he optimizer.lr=0.1", "minus": "init=xavier optimizer.lr=0.2", "part": "main"},
    {"arm": "", "slope": "model.depth", "part": "deep"}, {"arm": "init=HE model.depth=3.0", "part": "deep"},
    {"arm": "model.width=9 model.depth=3", "part": "deep"},
])  # fmt: skip
def test_an_arm_that_is_there_is_taken(check: dict[str, Any]) -> None:
    check_arms(claim(studies=TWO, checks=[{"metric": "test/accuracy", "above": 0.5, **check}]))


def test_axes_of_a_figure_are_numbers() -> None:
    for x in ("init", "model.width"):
        figure = {"kind": "lines", "metric": "test/accuracy", "x": x, "part": "main"}
        with pytest.raises(ConfigError, match=r"claim\.figure\.x.*set to numbers"):
            check_arms(claim(studies=TWO, figure=figure, checks=[{**CHECK, "arm": "init=xavier optimizer.lr=0.1"}]))
