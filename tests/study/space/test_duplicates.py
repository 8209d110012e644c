"""The same arm under two names: told, and trained once."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from initlab import config as configuration
from initlab.config.computation import computation_hash
from initlab.study.space.duplicates import describe_equal, equal_arms
from initlab.study.space.space import Space, parse
from tests.cli.driver import initlab

TINY = ["data=digits", "model=linear", "trainer.epochs=1", "probes=none", "tracking.report=false"]


def hash_of(*overrides: str) -> str:
    return computation_hash(configuration.compose(list(overrides)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["init=he"], ["init=kaiming"]),
        (["init=xavier"], ["init=glorot"]),
        (["init=he", "init.gain=1"], ["init=he", "init.gain=1.0"]),
        (["init=he", "init.mode=fan_in"], ["init=he"]),
        (["optimizer.lr=0.1"], ["optimizer.lr=1e-1"]),
        (["activation=default"], ["activation=relu"]),
        (["model=mlp"], ["model._target_=initlab.models.mlp", "model=mlp"]),
        (["seed=1"], ["seed=2"]),
        (["study.trials=3"], ["replicas=3"]),
        (["init._target_=initlab.inits.he", "~init.gain"], ["init=he"]),
    ],
)
def test_the_same_computation(one: list[str], other: list[str]) -> None:
    assert hash_of(*one) == hash_of(*other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["init=he"], ["init=xavier"]),
        (["init=he"], ["init=he", "init.gain=2"]),
        (["init=he"], ["init=he", "init.distribution=uniform"]),
        (["activation=relu"], ["activation=gelu"]),
        (["trainer.epochs=1"], ["trainer.epochs=2"]),
        (["trainer.batch_size=1"], ["trainer.batch_size=10"]),
        (["probes=none"], ["probes=full"]),
        (["device=cpu"], ["device=auto"]),
        (["init=he", "init.keep=[a]"], ["init=he"]),
        (["data.shots=1"], ["data.shots=2"]),
    ],
)
def test_other_computations(one: list[str], other: list[str]) -> None:
    assert hash_of(*one) != hash_of(*other)


def test_the_arm_that_was_planned_before_is_kept() -> None:
    arms = [{"init": n} for n in ("he", "kaiming", "xavier", "glorot", "lecun")]
    same = ["a", "a", "b", "b", "c"]
    assert equal_arms(arms, same) == [(arms[1], arms[0]), (arms[3], arms[2])]
    assert equal_arms(arms, same, [arms[1]]) == [(arms[0], arms[1]), (arms[3], arms[2])]
    assert equal_arms(arms, same, arms) == []  # both were trained before, and stay
    assert describe_equal(equal_arms(arms, same)) == "init=kaiming is init=he, init=glorot is init=xavier"


def test_only_what_differs_is_named() -> None:
    one, other = {"init": "he", "lr": "1"}, {"init": "he", "lr": "1.0"}
    assert describe_equal([(other, one)]) == "lr=1.0 is lr=1"


def test_a_space_leaves_out_what_is_skipped() -> None:
    space = parse(["init=he,kaiming", "lr=1,2"])
    skipped = json.dumps({"lr": "2", "init": "kaiming"}, sort_keys=True)
    smaller = Space(fixed=space.fixed, dimensions=space.dimensions, skipped=(skipped,))
    assert len(list(smaller.arms())) == 3
    assert Space.from_json(json.loads(json.dumps(smaller.as_json()))) == smaller


@pytest.mark.process
def test_a_study_trains_them_once_and_says_so(tmp_path: Path) -> None:
    def type_in(*words: str) -> subprocess.CompletedProcess[str]:
        return initlab("-m", *TINY, *words, cwd=tmp_path)

    own = tmp_path / "own" / "init"
    own.mkdir(parents=True)
    he = (Path(configuration.__file__).parents[2] / "conf" / "init" / "he.yaml").read_text()
    (own / "mine.yaml").write_text(f"# another comment\n{he}")
    done = type_in("--config-dir=own", "init=he,xavier,mine,kaiming", "study.name=s")
    assert done.returncode == 0, done.stderr
    told = "the same arm under two names: init=mine is init=he, init=kaiming is init=he; each is trained once"
    assert told in done.stderr
    assert "study s: 2 arms x 1 seeds, 0 done before, 2 new" in done.stdout
    # it goes on, and another arm is added
    done = type_in("--config-dir=own", "init=he,xavier,mine,kaiming,lecun", "study.name=s")
    assert "study s: 3 arms x 1 seeds, 2 done before, 1 new" in done.stdout, done.stdout + done.stderr
    # begun with the alias, that is the one that stays
    assert type_in("init=kaiming", "init.gain=1,2", "study.name=t").returncode == 0
    # a sampler would take the two for two
    done = type_in("study=random", "study.trials=2", "init=he,kaiming,xavier", "study.name=r")
    assert done.returncode == 2
    assert "init=he,kaiming,xavier: he and kaiming are the same arm under two names; leave one out" in done.stderr
    assert not (tmp_path / ".initlab" / "studies" / "r").exists()
