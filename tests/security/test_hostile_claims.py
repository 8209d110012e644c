"""Claims of unknown origin in `--config-dir`: whatever they hold, nothing runs, nothing is written, and it is told."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig

from initlab.cli.main import main
from tests.security.test_strangers_folders import Place

CALL = "{_target_: os.system, command: touch CANARY}"
HEAD = "# @package _global_\ndefaults:\n  - override /data: digits\n  - override /model: mlp\n"
#: a claim that would be taken, where nothing in it is changed
SOUND = """\
claim:
  says: SAYS
  paper: p
  section: s
  differs: d
  studies: {PART: ["init=he,xavier"OVERRIDES]}
  checks: [{metric: test/accuracy, arm: init=he, above: 0.5}]
"""


def sound(*overrides: str, says: str = "it learns", part: str = "main", more: str = "") -> str:
    words = "".join(f", {o!r}" for o in overrides)
    return HEAD + more + SOUND.replace("OVERRIDES", words).replace("SAYS", says).replace("PART", part)


#: name → the claim's file, and a part of what is said
CLAIMS: dict[str, tuple[str, str]] = {
    "code for the model": (sound("model._target_=os.system"), "model._target_=os.system: is no override"),
    "code in a mapping": (sound("init={_target_: os.system, command: touch CANARY}"), "names code or a place"),
    "code in a list": (sound("trainer={callbacks: [{_target_: os.system}]}"), "names code or a place"),
    "code as a probe": (sound("probes.extra=[os.system]"), "names code or a place"),
    "code in the claim": (HEAD + f"claim: {CALL}\n", "_target_"),
    "code in a check": (sound(more=f"evil: {CALL}\n"), "_target_"),
    "code as a measurement": (
        HEAD + "claim: {says: a, paper: p, section: s, differs: d, measures: {m: {of: os.system}}, checks: [{metric: x,"
        " above: 0}]}\n", "no such measurement"),
    "trust": (sound("config.targets=[os]"), "config.targets=[os]: is no override"),
    "trust by the file": (
        sound(more="config: {targets: [joblib]}\nactivation: {_target_: joblib.load}\n"), "config.targets"),
    "somebody else's server": (sound("tracking.uri=http://127.0.0.1:9"), "is no override"),
    "somebody else's server, by the file": (sound(more="tracking: {uri: 'http://127.0.0.1:9'}\n"), "tracking.uri"),
    "a database elsewhere": (sound("study.storage=sqlite:///OUTSIDE/new.db"), "is no override"),
    "a database elsewhere, by the file": (sound(more="study: {storage: 'sqlite:///OUTSIDE/x.db'}\n"), "study.storage"),
    "a cluster": (sound("study.ray_address=ray://127.0.0.1:9"), "is no override"),
    "hydra's callbacks": (sound("hydra.callbacks.evil._target_=os.system"), "is no override"),
    "hydra's callbacks, by the file": (sound(more=f"hydra: {{callbacks: {{evil: {CALL}}}}}\n"), "hydra.callbacks"),
    "a flag": (sound("--config-dir=OUTSIDE"), "is no override"),
    "two words in one": (sound("init=he\ntracking.uri=http://127.0.0.1:9"), "is no override"),
    "a group elsewhere": (sound("init@hydra.callbacks=he"), "is no override"),
    "a file outside of the folder as a name": (sound(part="../../outside/x"), "must be a name of small letters"),
    "a secret in an override": (sound("data.path=${oc.env:AWS_SECRET_ACCESS_KEY}"), "must be plain"),
    "a secret in a sentence": (sound(says="'${oc.env:AWS_SECRET_ACCESS_KEY}'"), "must be plain"),
    "a home in a sentence": (sound(says="'${oc.env:HOME}'"), "must be plain"),
    "the whole configuration": (sound(says="'${tracking}'"), "must be plain"),
    "what moves the cursor": (sound(says='"\\e[2J\\e[31m"'), "cannot be printed"),
    "a thousand million seeds": (sound().replace("claim:\n", "claim:\n  seeds: 1000000000\n"), "from 2 to 1000"),
    "a link to a file elsewhere": ("-> OUTSIDE/private.yaml", "leads out of"),
}  # fmt: skip


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Place]:
    made = Place(tmp_path)
    monkeypatch.chdir(made.work)
    monkeypatch.setattr(sys, "argv", ["initlab"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-of-the-environment")
    handlers = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield made
    for number, handler in handlers.items():
        signal.signal(number, handler)
    GlobalHydra.instance().clear()
    HydraConfig.instance().cfg = None


#: other ways to type it, for a few of them
WAYS = [(name, "--quick") for name in list(CLAIMS)[:3]] + [(name, "--list") for name in list(CLAIMS)[:3]]


@pytest.mark.parametrize(("name", "way"), [*((name, "jobs=1") for name in CLAIMS), *WAYS])
def test_a_claim_runs_nothing(name: str, way: str, place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    text, told = CLAIMS[name]
    place.write({"experiment/papers/evil.yaml": text})
    before = dict(os.environ)
    assert main(["papers", "evil", way, f"--config-dir={place.folder}"]) == 2
    said = capsys.readouterr()
    assert told in said.err and said.out == "", said.err
    assert "s3cret" not in said.err and "Traceback" not in said.err and "\x1b" not in said.err
    assert place.untouched() and dict(os.environ) == before


def test_the_claim_that_they_are_made_of_is_taken(place: Place, capsys: pytest.CaptureFixture[str]) -> None:
    place.write({"experiment/papers/good.yaml": sound()})
    assert main(["papers", "good", "--list", f"--config-dir={place.folder}"]) == 0
    assert "good: it learns" in capsys.readouterr().out
    assert place.untouched()


def test_a_claim_of_the_folder_does_not_stand_in_for_one_of_initlab(
    place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of the same name is refused: Hydra would take one of the two without a word."""
    place.write({"experiment/papers/he_2015.yaml": sound(says="it is false")})
    assert main(["papers", "he_2015", "--list", f"--config-dir={place.folder}"]) == 2
    said = capsys.readouterr()
    assert "rename one of them" in said.err and "it is false" not in said.out + said.err
    assert place.untouched()
