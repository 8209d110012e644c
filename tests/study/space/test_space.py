"""What a study searches: read as Hydra reads it, with keys that exist only for some choices, and comparable."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable

import optuna
import pytest
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given, settings
from hypothesis import strategies as st
from omegaconf import OmegaConf

from initlab import config
from initlab.errors import ConfigError
from initlab.study.space.space import Choice, Condition, Range, Space, differences, extension_only, parse

CONDITIONS = {"init.a": {"init": ["uniform"]}, "init.std": {"init": ["normal", "truncated_normal"]}}


def values_of(overrides: Iterable[str]) -> dict[str, object]:
    """What Hydra reads in a command line without sweeps."""
    parsed = OverridesParser.create().parse_overrides(list(overrides))
    assert not any(o.is_sweep_override() for o in parsed)
    return {o.get_key_element(): o.value() for o in parsed}


def keys_of(group: str, name: str) -> set[str]:
    """The keys of a group's file, with those of the file that it builds on."""
    content = OmegaConf.load(config.conf_dir() / group / f"{name}.yaml")
    keys = {str(k) for k in content} - {"defaults"}
    return keys.union(*(keys_of(group, base) for base in content.get("defaults", [])))


def grid(space: Space) -> list[dict[str, object]]:
    return [values_of(space.overrides(arm)) for arm in space.arms()]


# ------------------------------------------------------------------ grammar
@pytest.mark.parametrize(
    "overrides",
    [
        ["init=he,xavier", "activation=relu,tanh,sigmoid"],
        ["init=he", "activation=relu,tanh", "trainer.epochs=2"],
        ["init=choice(he,xavier)"],
        ["model.depth=range(2,6)", "init.gain=range(0,1,0.25)"],
        ["model.depth=range(6,2,-2)", "model.width=range(3)"],
        ["optimizer.lr=1e-1,0.01,1e-3,1e-05"],
        ["activation.layers=[relu,tanh]", "init=he,xavier"],
        ["activation.layers=[relu,tanh],[tanh,relu]"],
        ["activation.layers=choice([relu,tanh],[tanh,relu])"],
        ["x=sort(3,1,2)", "y=sort(range(4,1,-1))", "z=sort(choice(b,a),reverse=true)"],
        ["x=int(1.5,2.5)", "y=float(1,2)", "z=bool(1,0)"],
        ["x=true,false,null"],
        ['init.weight="he(gain=2)",orthogonal', "init.bias=choice('torch',0.0)"],
        ["x='1',\"a,b\"", "y={a:1},{a:2}"],
        ["+x=1,2", "++y=3", "~trainer.epochs"],
        ["init=he", "init=xavier,lecun", "x=1,2", "x=3"],
        ["data.path=some dir/a,b\\ c", "x=${seed},2"],
        [],
    ],
    ids=" ".join,
)
def test_a_grid_is_what_hydras_own_sweeper_expands(overrides: list[str]) -> None:
    parsed = OverridesParser.create().parse_overrides(overrides)
    (batch,) = BasicSweeper.split_arguments(parsed, max_batch_size=None)
    assert grid(parse(overrides)) == [values_of(job) for job in batch]


def test_strings_that_look_like_numbers_stay_strings() -> None:
    """Hydra's own sweeper loses the quotes here, and an arm would get the number 1."""
    assert grid(parse(["x=str(1,2)", "y='3'"])) == [{"x": "1", "y": "3"}, {"x": "2", "y": "3"}]


def test_glob_chooses_files_of_the_group() -> None:
    found = parse(["init=glob([*normal,zero*],exclude=*hadamard)"])
    options = ("normal", "truncated_normal", "zero_gamma", "zero_projection", "zeros")
    assert found.dimensions == (Choice(key="init", options=options),)
    assert parse(["init=glob(*)"]).dimensions == (Choice(key="init", options=tuple(config.groups()["init"])),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("interval(1e-4,1e-1)", Range(key="x", low=1e-4, high=0.1)),
        ("tag(log,interval(1e-4,1e-1))", Range(key="x", low=1e-4, high=0.1, log=True)),
        ("interval(1,2)", Range(key="x", low=1.0, high=2.0)),
        ("int(interval(2,50))", Range(key="x", low=2, high=50, integer=True)),
        ("tag(log,int(interval(2,50)))", Range(key="x", low=2, high=50, log=True, integer=True)),
        ("int(tag(log,interval(2,50)))", Range(key="x", low=2, high=50, log=True, integer=True)),
        ("float(interval(2,50))", Range(key="x", low=2.0, high=50.0)),
    ],
)
def test_intervals(text: str, expected: Range) -> None:
    (found,) = parse([f"x={text}"]).dimensions
    assert found == expected


def test_formulas_need_no_quotes_where_several_are_swept() -> None:
    bare = parse(["init.weight=he(gain=2),he(gain=1),orthogonal"])
    assert bare == parse(['init.weight="he(gain=2)","he(gain=1)",orthogonal'])
    assert bare == parse(["init.weight=choice(he(gain=2),he(gain=1),orthogonal)"])
    assert bare.dimensions == (Choice(key="init.weight", options=("he(gain=2)", "he(gain=1)", "orthogonal")),)
    assert bare.overrides({"init.weight": "he(gain=2)"}) == ['init.weight="he(gain=2)"']


def test_a_formula_that_is_fixed_is_one_value_with_its_commas() -> None:
    space = parse(["activation.f=where(x>0,x,tanh(x))", "init=he,xavier"])
    assert space.overrides({"init": "he"}) == ['activation.f="where(x>0,x,tanh(x))"', "init=he"]


def test_one_value_twice_is_one_option() -> None:
    assert parse(["x=1e-3,0.001,he,he"]).dimensions == (Choice(key="x", options=("0.001", "he")),)


def test_what_is_typed_takes_the_place_of_what_the_file_spans() -> None:
    file = {"init": "he,xavier", "activation": "relu,tanh", "model.depth": "3"}
    space = parse(["init=lecun", "+activation=gelu,silu", "x=1,2"], space=file)
    assert space.fixed == ("init=lecun", "model.depth=3")
    assert [d.key for d in space.dimensions] == ["+activation", "x"]
    assert [a["+activation"] for a in space.arms()] == ["gelu", "gelu", "silu", "silu"]


def test_keys_of_the_search_are_no_part_of_the_space() -> None:
    typed = ["study=tpe", "study.trials=9", "replicas=3", "hydra.verbose=true", "hydra/launcher=basic", "init=he"]
    assert parse(typed) == Space(fixed=("init=he",), dimensions=())


@pytest.mark.parametrize(
    ("override", "key", "said"),
    [
        ("seed=1,2,3", "seed", "seeds are replicas: use replicas=R"),
        ("seed=range(0,5)", "seed", "seeds are replicas: use replicas=R"),
        ("seed=interval(0,5)", "seed", "seeds are replicas: use replicas=R"),
        ("study.trials=5,10", "study.trials", "cannot be searched"),
        ("replicas=1,2", "replicas", "cannot be searched"),
        ("init=glob(nothing*)", "init", "has no values"),
        ("x=range(5,1)", "x", "has no values"),
        ("x=range(1,5,0)", "x", "cannot be counted through"),
        ("x=range(0.5,1,0)", "x", "cannot be counted through"),
        ("model.depth=glob(*)", "model.depth", "glob() chooses files of a group"),
        ("x=interval(2,1)", "x", "from a number to a greater one"),
        ("x=interval(1,1)", "x", "from a number to a greater one"),
        ("x=interval(0,inf)", "x", "from a number to a greater one"),
        ("x=interval(nan,1)", "x", "from a number to a greater one"),
        ("x=tag(log,interval(0,1))", "x", "must begin above 0"),
        ("x=tag(logarithmic,interval(1,2))", "x", "the only tag is log"),
        ("x=tag(log,range(1,5))", "x", "the only tag is log"),
        ("x=tag(log,choice(1,5))", "x", "the only tag is log"),
        ("x=shuffle(1,2,3)", "x", "leave shuffle() out"),
        ("x=choice(", "x", "cannot be read"),
        ("x=lottery(1,2)", "x", "cannot be read"),
        ("x=int(a,b)", "x", "cannot be read"),
        ("init", "init", "cannot be read"),
    ],
)
def test_a_mistake_is_told_with_its_key(override: str, key: str, said: str) -> None:
    with pytest.raises(ConfigError, match="^" + key.replace(".", r"\.")) as told:
        parse([override])
    assert told.value.key == key
    assert said in told.value.expected


def test_a_grid_has_no_intervals() -> None:
    with pytest.raises(ConfigError, match=r"optimizer\.lr.*a grid needs values; choose a sampler: study=tpe"):
        list(parse(["init=he,xavier", "optimizer.lr=interval(1e-4,1e-1)"]).arms())


# ------------------------------------------------------------------ conditions
def test_keys_are_left_out_where_their_condition_fails_and_arms_that_are_alike_are_one() -> None:
    space = parse(["init=he,uniform,normal", "init.a=0.1,0.2", "init.std=0.5,1.0"], conditions=CONDITIONS)
    assert list(space.arms()) == [
        {"init": "he"},
        {"init": "uniform", "init.a": "0.1"},
        {"init": "uniform", "init.a": "0.2"},
        {"init": "normal", "init.std": "0.5"},
        {"init": "normal", "init.std": "1.0"},
    ]


def test_a_condition_may_look_at_a_key_that_comes_later_and_has_a_condition_itself() -> None:
    space = parse(["c=1,2", "b=x,y", "a=p,q"], conditions={"c": {"b": ["x"]}, "b": {"a": ["p"]}})
    assert list(space.arms()) == [
        {"c": "1", "b": "x", "a": "p"},
        {"a": "q"},
        {"b": "y", "a": "p"},
        {"c": "2", "b": "x", "a": "p"},
    ]


def test_two_conditions_on_a_key_must_both_hold() -> None:
    space = parse(["a=1,2", "b=1,2", "c=7,8"], conditions={"c": {"a": ["1"], "b": ["2"]}})
    assert [arm for arm in space.arms() if "c" in arm] == [
        {"a": "1", "b": "2", "c": "7"},
        {"a": "1", "b": "2", "c": "8"},
    ]


def test_a_fixed_key_is_left_out_too() -> None:
    space = parse(["init=he,uniform", "init.a=0.1"], conditions=CONDITIONS)
    assert [space.overrides(arm) for arm in space.arms()] == [["init=he"], ["init.a=0.1", "init=uniform"]]


def test_a_condition_on_what_is_fixed() -> None:
    assert len(list(parse(["init=uniform", "init.a=0.1,0.2"], conditions=CONDITIONS).arms())) == 2
    with pytest.raises(ConfigError, match=r"init\.a: exists only where init is uniform, and here it is he"):
        parse(["init=he", "init.a=0.1,0.2"], conditions=CONDITIONS)
    with pytest.raises(ConfigError, match=r"init\.a: .*here it is he or normal"):
        parse(["init=he,normal", "init.a=0.1,0.2"], conditions=CONDITIONS)


def test_a_condition_on_what_nobody_gives_is_left_to_the_composition() -> None:
    assert len(list(parse(["init.a=0.1,0.2"], conditions=CONDITIONS).arms())) == 2


def test_conditions_on_other_keys_are_passed_over() -> None:
    assert parse(["init=he,xavier"], conditions=CONDITIONS).conditions == ()


def test_conditions_in_a_circle_and_on_an_interval_are_refused() -> None:
    with pytest.raises(ConfigError, match="circular"):
        parse(["a=1,2", "b=1,2"], conditions={"a": {"b": ["1"]}, "b": {"a": ["1"]}})
    with pytest.raises(ConfigError, match="which is an interval here"):
        parse(["a=1,2", "b=interval(0,1)"], conditions={"a": {"b": ["1"]}})


def test_the_conditions_of_the_default_file_say_what_the_groups_files_have() -> None:
    """So that a new file with such a key is not forgotten."""
    told = OmegaConf.to_container(config.compose(["study=grid"]).study.conditions)
    assert isinstance(told, dict)
    assert told
    files = {
        group: {f: keys_of(group, f) for f in config.groups()[group]}
        for group in {str(key).partition(".")[0] for key in told}
    }
    for key, parents in told.items():
        group, _, name = str(key).partition(".")
        assert parents == {group: [f for f, content in files[group].items() if name in content]}, key


@pytest.mark.slow
@pytest.mark.parametrize("name", config.groups()["study"])
def test_every_file_of_the_catalogue_reads_and_its_arms_compose(name: str) -> None:
    told = config.study_settings(config.compose([f"study={name}"]))
    conditions = {k: {of: [str(v) for v in values] for of, values in c.items()} for k, c in told.conditions.items()}
    spanned = {k: str(v) for k, v in told.space.items()}
    space = parse([], space=spanned, conditions={k: c for k, c in conditions.items() if k in spanned})
    assert len(space.dimensions) >= bool(spanned)
    if told.sampler == "grid":
        arms = list(space.arms())
        some = [arms[0], arms[len(arms) // 2], arms[-1]]
    else:
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        some = [space.suggest(study.ask()) for _ in range(3)]
    for arm in some if spanned else ():
        overrides = space.overrides(arm)
        made = config.experiment(config.compose(overrides), overrides=overrides)
        assert all(made.params[k] is not None for k in arm if "." in k)


# ------------------------------------------------------------------ a sampler
def test_a_sampler_gets_only_legal_combinations() -> None:
    space = parse(
        [
            "init.a=tag(log,interval(1e-3,1))", "init=he,uniform,normal", "init.std=0.1,0.2", "seed=3",
            "+depth=int(interval(2,9))",
        ],
        conditions=CONDITIONS,
    )  # fmt: skip
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    seen: set[str] = set()
    for _ in range(50):
        trial = study.ask()
        arm = space.suggest(trial)
        study.tell(trial, 0.0)
        assert ("init.a" in arm) == (arm["init"] == "uniform")
        assert ("init.std" in arm) == (arm["init"] == "normal")
        assert set(study.trials[-1].params) == set(arm)
        values = values_of(space.overrides(arm))
        assert values["seed"] == 3
        assert isinstance(values["+depth"], int)
        assert 2 <= values["+depth"] <= 9
        if "init.a" in arm:
            assert values["init.a"] == study.trials[-1].params["init.a"]
            assert 1e-3 <= float(arm["init.a"]) <= 1
        seen.add(arm["init"])
    assert seen == {"he", "uniform", "normal"}


def test_an_enqueued_arm_is_the_arm_that_is_suggested() -> None:
    space = parse(["init=he,uniform", "init.a=0.1,0.2", "x=interval(0,1)"], conditions=CONDITIONS)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    study.enqueue_trial({"init": "uniform", "init.a": "0.2", "x": 0.25})
    assert space.suggest(study.ask()) == {"init": "uniform", "init.a": "0.2", "x": "0.25"}


def test_options_in_another_order_are_the_same_parameter_for_optuna() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for order in ("he,uniform", "uniform,he"):
        assert parse([f"init={order}"]).suggest(study.ask())["init"] in ("he", "uniform")


# ------------------------------------------------------------------ JSON
KEYS = st.sampled_from(["init", "activation", "optimizer.lr", "model.depth", "+new.key"])
WORDS = st.one_of(
    st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.integers().map(str),
)
TEXTS = st.lists(WORDS, min_size=2, max_size=4).map(",".join)


@settings(deadline=None, max_examples=40)
@given(st.dictionaries(KEYS, TEXTS, max_size=4))
def test_a_space_survives_a_file_and_its_arms_read_back(swept: dict[str, str]) -> None:
    space = parse([f"{key}={text}" for key, text in swept.items()])
    assert Space.from_json(json.loads(json.dumps(space.as_json()))) == space
    arms = list(space.arms())
    sizes = [len(d.options) for d in space.dimensions if isinstance(d, Choice)]
    assert len(arms) == len(list(itertools.product(*map(range, sizes))))
    for arm in arms:
        again = parse(space.overrides(arm))
        assert not again.dimensions
        assert set(again.fixed) == {f"{key}={value}" for key, value in arm.items()}


def test_intervals_and_conditions_survive_a_file() -> None:
    typed = ["init=he,uniform", "init.a=tag(log,interval(1e-3,1))", "model.depth=int(interval(2,9))", "x=3"]
    space = parse(typed, conditions=CONDITIONS)
    assert space.conditions == (Condition(key="init.a", of="init", values=("uniform",)),)
    assert Space.from_json(json.loads(json.dumps(space.as_json()))) == space


# ------------------------------------------------------------------ two spaces
@pytest.mark.parametrize(
    ("old", "new", "lines"),
    [
        (["init=he,xavier"], ["init=he,xavier"], []),
        (["init=he,xavier"], ["init=xavier,he"], []),
        (["init=he,xavier", "x=1"], ["x=1", "init=he,xavier"], []),
        (["init=he"], ["init=he,xavier"], []),
        (["init=he,xavier"], ["init=he"], ["init: without xavier"]),
        (["init=he,xavier"], ["init=he,lecun"], ["init: without xavier"]),
        (["init=he,xavier"], ["init=lecun"], ["init: he, xavier became lecun"]),
        (["x=2"], ["x=3"], ["x: 2 became 3"]),
        (["init=he", "x=1,2"], ["init=he"], ["x: 1, 2 is missing"]),
        (["init=he"], ["init=he", "x=1"], ["x: 1 is new"]),
        (
            ["optimizer.lr=tag(log,interval(1e-4,1e-1))"],
            ["optimizer.lr=interval(1e-3,1e-1)"],
            ["optimizer.lr: interval 0.0001 to 0.1 (log) became interval 0.001 to 0.1"],
        ),
        (["d=int(interval(2,9))"], ["d=2,3"], ["d: interval 2 to 9 (integer) became 2, 3"]),
        (["device=cpu", "tracking=none", "x=1"], ["device=auto", "probes=full", "x=1"], []),
    ],
    ids=" ".join,
)
def test_differences_are_told_a_line_each(old: list[str], new: list[str], lines: list[str]) -> None:
    assert differences(parse(old), parse(new)) == lines
    assert extension_only(parse(old), parse(new)) == (not lines)
    if not lines:
        values = [frozenset(_without_watching(arm).items()) for arm in grid(parse(old))]
        assert set(values) <= {frozenset(_without_watching(arm).items()) for arm in grid(parse(new))}


def _without_watching(arm: dict[str, object]) -> dict[str, object]:
    return {k: v for k, v in arm.items() if k not in ("device", "tracking", "probes")}


def test_added_options_are_told_on_request() -> None:
    old, new = parse(["init=he,xavier"]), parse(["init=lecun,he,xavier,lsuv"])
    assert differences(old, new, additions=True) == ["init: lecun, lsuv added"]
    assert differences(new, new, additions=True) == []


def test_changed_conditions_are_a_difference() -> None:
    typed = ["init=he,uniform,normal", "init.a=0.1,0.2"]
    old, new = parse(typed, conditions=CONDITIONS), parse(typed, conditions={"init.a": {"init": ["normal"]}})
    assert differences(old, new) == ["conditions: init.a where init is uniform became init.a where init is normal"]


# ------------------------------------------------------------------ the files
@pytest.mark.slow
@pytest.mark.parametrize("name", config.groups()["study"])
def test_every_ready_space_reads_and_composes(name: str) -> None:
    study = config.compose([f"study={name}"]).study
    plain = OmegaConf.to_container(study)
    assert isinstance(plain, dict)
    space = parse([], space={k: str(v) for k, v in plain["space"].items()}, conditions=plain["conditions"])
    if study.sampler == "grid":
        arms = list(space.arms())
        arms = arms[:: max(1, len(arms) // 7)]
    else:
        source = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
        arms = [space.suggest(source.ask()) for _ in range(7 if space.dimensions else 1)]
    for arm in arms:
        overrides = space.overrides(arm)
        assert config.experiment(config.compose(overrides), overrides=overrides).overrides == tuple(overrides)
