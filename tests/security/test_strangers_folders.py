"""Configuration folders of unknown origin: whatever their files hold, nothing runs, and it is told."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.hydra_config import HydraConfig
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from omegaconf import DictConfig

from initlab import config
from initlab.cli.compose import compose_and_run
from initlab.config.hydra_errors import translate
from initlab.errors import InitlabError
from tests.cli.driver import initlab

CALL = "{_target_: os.system, command: touch CANARY}"
#: name → files of the folder, what is typed beside it, and a part of what is said
FOLDERS: dict[str, tuple[dict[str, str], tuple[str, ...], str]] = {
    # the ways that were found around a look at the text
    "a group of one's own into callbacks": (
        {"experiment/evil.yaml": "# @package _global_\ndefaults:\n  - /mine@hydra.callbacks: evil\n",
         "mine/evil.yaml": f"evil: {CALL}\n"},
        ("experiment=evil",), "hydra.callbacks.evil"),
    "a space before the package": (
        {"experiment/evil.yaml": f" # @package hydra.callbacks\nevil: {CALL}\n"},
        ("experiment=evil",), "hydra.callbacks.evil"),
    "the package on the second line": (
        {"experiment/evil.yaml": f"\n#  @package  hydra.callbacks\nevil: {CALL}\n"},
        ("experiment=evil",), "hydra.callbacks.evil"),
    "a package behind a remark, which is none": (
        {"experiment/evil.yaml": f"# mine\n# @package hydra.callbacks\nevil: {CALL}\n"},
        ("experiment=evil",), "experiment.evil._target_"),
    "a package below _global_": (
        {"experiment/evil.yaml": f"# @package _global_.hydra.callbacks\nevil: {CALL}\n"},
        ("experiment=evil",), "hydra.callbacks.evil"),
    "a list of merges": (
        {"experiment/evil.yaml": f"# @package _global_\na: &a {{hydra: {{callbacks: {{evil: {CALL}}}}}}}\n"
         "b: &b {seed: 1}\n<<: [*b, *a]\n"}, ("experiment=evil",), "hydra.callbacks.evil"),
    # of the same kind
    "two groups in a row": (
        {"experiment/evil.yaml": "# @package _global_\ndefaults:\n  - /one: evil\n",
         "one/evil.yaml": "# @package _global_\ndefaults:\n  - /two@_global_: evil\n",
         "two/evil.yaml": f"hydra: {{callbacks: {{evil: {CALL}}}}}\n"},
        ("experiment=evil",), "hydra.callbacks.evil"),
    "the launcher": (
        {"experiment/evil.yaml": "# @package hydra.launcher\n_target_: os.system\n"},
        ("experiment=evil",), "hydra.launcher"),
    "the sweeper": (
        {"init/evil.yaml": "# @package hydra.sweeper\n_target_: os.system\ncommand: touch CANARY\n"},
        ("init=evil", "-m"), "hydra.sweeper"),
    "a handler of the log that empties a file": (
        {"experiment/evil.yaml": "# @package hydra\njob_logging: {version: 1, handlers: {f: {class:"
         " logging.FileHandler, filename: OUTSIDE/private.txt, mode: w}}, root: {handlers: [f]}}\n"},
        ("experiment=evil",), "hydra.job_logging"),
    "the directory of the run": (
        {"mine/evil.yaml": "# @package _global_\nhydra: {run: {dir: OUTSIDE/new}, job: {chdir: true}}\n"},
        ("+mine=evil",), "hydra.run.dir"),
    "the folder of Hydra's own files": (
        {"mine/evil.yaml": "# @package hydra\noutput_subdir: ../../outside\n"},
        ("+mine=evil",), "hydra.output_subdir"),
    "variables of the environment": (
        {"experiment/evil.yaml": "# @package hydra.job\nenv_set: {LD_PRELOAD: /tmp/x.so}\n"},
        ("experiment=evil",), "hydra.job.env_set"),
    "secrets of the environment": (
        {"experiment/evil.yaml": "# @package hydra.job\nenv_copy: [AWS_SECRET_ACCESS_KEY]\n"},
        ("experiment=evil",), "hydra.job.env"),
    "trust by the search path": (
        {"experiment/evil.yaml": "# @package hydra\nsearchpath: [pkg://joblib]\n"}, ("experiment=evil",),
        "hydra.searchpath"),
    "a main configuration that adds a package": (
        {"evil.yaml": "defaults: [config, _self_]\nhydra: {searchpath: [pkg://canary_package]}\n"},
        ("--config-name=evil",), "hydra.searchpath"),
    "nothing in the place of the node": (
        {"experiment/evil.yaml": "# @package _global_\nhydra: null\n"}, ("experiment=evil",), "hydra"),
    "a list in the place of the callbacks": (
        {"experiment/evil.yaml": f"# @package hydra\ncallbacks: [{CALL}]\n"}, ("experiment=evil",), "evil"),
    "a launcher of the folder, typed": (
        {"hydra/launcher/evil.yaml": "_target_: os.system\ncommand: touch CANARY\n"}, ("hydra/launcher=evil",),
        "hydra/launcher=evil"),
    "a group, typed into callbacks": (
        {"mine/evil.yaml": f"evil: {CALL}\n"}, ("+mine@hydra.callbacks=evil",), "hydra.callbacks.evil"),
    "a link to a file elsewhere": (
        {"experiment/evil.yaml": "-> OUTSIDE/private.yaml"}, ("experiment=evil",), "leads out of"),
    "a linked folder": ({"experiment": "-> OUTSIDE"}, ("experiment=private",), "leads out of"),
    "a path in the list of defaults": (
        {"experiment/evil.yaml": "defaults:\n  - ../../outside/private\n"}, ("experiment=evil",), "leads out of"),
    "a target of no group": (
        {"experiment/evil.yaml": f"# @package _global_\ntrainer: {{callbacks: [{CALL}]}}\n"}, ("experiment=evil",),
        "trainer.callbacks.0._target_"),
    "a function beside the factories": (
        {"data/evil.yaml": "_target_: initlab.tasks.sources.idx.fetch\nurl: x\npath: CANARY\n"}, ("data=evil",),
        "is not a factory"),
    "trust by the file": (
        {"experiment/evil.yaml": "# @package _global_\nconfig: {targets: [joblib]}\nmodel: {_target_: joblib.load}\n"},
        ("experiment=evil",), "config.targets"),
    "somebody else's server": (
        {"experiment/evil.yaml": "# @package _global_\ntracking: {uri: 'http://127.0.0.1:9'}\n"}, ("experiment=evil",),
        "tracking.uri"),
    "a database elsewhere": (
        {"experiment/evil.yaml": "# @package _global_\nstudy: {storage: 'sqlite:///OUTSIDE/new.db'}\n"},
        ("experiment=evil",), "study.storage"),
    "a cluster that sends pickles": (
        {"experiment/evil.yaml": "# @package study\nray_address: 'ray://127.0.0.1:9'\n"}, ("experiment=evil",),
        "study.ray_address"),
    "a secret as a default": (
        {"experiment/evil.yaml": "# @package _global_\ntracking: {run_name: '${oc.env:AWS_SECRET_ACCESS_KEY}'}\n"},
        ("experiment=evil",), "may hold a secret"),
}  # fmt: skip


class Place:
    def __init__(self, root: Path) -> None:
        self.work, self.folder, self.outside = root / "work", root / "folder", root / "outside"
        for folder in (self.work, self.folder, self.outside):
            folder.mkdir()
        self.canary = root / "canary"
        (self.outside / "private.txt").write_text("a secret\n")
        (self.outside / "private.yaml").write_text("# @package _global_\nseed: 7\n")

    def write(self, files: dict[str, str]) -> None:
        for name, content in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            text = content.replace("CANARY", str(self.canary)).replace("OUTSIDE", str(self.outside))
            if text.startswith("-> "):
                path.symlink_to(text[3:])
            else:
                path.write_text(text)

    def untouched(self) -> bool:
        files = {p.name: p.read_text() for p in self.outside.iterdir()}
        return (
            not self.canary.exists()
            and files == {"private.txt": "a secret\n", "private.yaml": "# @package _global_\nseed: 7\n"}
            and not list(self.work.iterdir())
        )


def build(composed: DictConfig) -> int:
    config.experiment(composed)
    return 0


def said_by(place: Place, *typed: str) -> str:
    """What the command line says to the folder; fails where it takes it."""
    before = dict(os.environ)
    with pytest.raises(Exception) as raised:
        compose_and_run([f"--config-dir={place.folder}", *typed], build)
    assert dict(os.environ) == before
    error = raised.value
    ours = error if isinstance(error, InitlabError) else translate(error, list(typed))  # type: ignore[arg-type]
    assert ours is not None, repr(error)
    return str(ours)


@pytest.fixture(autouse=True)
def own_hydra() -> Iterator[None]:
    """What Hydra keeps of a command line in its process ends with the test."""
    before = HydraConfig.instance().cfg
    yield
    HydraConfig.instance().cfg = before


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = Place(tmp_path)
    monkeypatch.chdir(made.work)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-of-the-environment")
    return made


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_runs_nothing(name: str, place: Place) -> None:
    files, typed, told = FOLDERS[name]
    place.write(files)
    said = said_by(place, *typed)
    assert told in said and "s3cret" not in said, said
    assert place.untouched()


@pytest.mark.parametrize("how", ["hydra.searchpath=[file://{}]", "--config-dir={}", "-cd={}"])
def test_each_way_to_name_a_folder_is_checked(how: str, place: Place) -> None:
    place.write({"experiment/evil.yaml": f"# @package hydra.callbacks\nevil: {CALL}\n"})
    with pytest.raises(InitlabError, match=r"hydra\.callbacks\.evil"):
        compose_and_run([how.format(place.folder), "experiment=evil"], build)
    assert place.untouched()


@pytest.mark.parametrize("flag", ["--config-di", "--config-d", "--conf", "--config-nam", "--experimental-rer"])
def test_flags_are_written_in_full(flag: str, place: Place) -> None:
    place.write({"experiment/evil.yaml": f"# @package hydra.callbacks\nevil: {CALL}\n"})
    with pytest.raises(InitlabError, match=r"in full|unrecognized"):
        compose_and_run([f"{flag}={place.folder}", "experiment=evil"], build)
    assert place.untouched()


def test_a_rerun_unpickles_nothing(place: Place) -> None:
    from tests.security import crafted

    crafted.pickled(place.folder / "config.pickle", place.canary)
    with pytest.raises(InitlabError, match="unpickles"):
        compose_and_run([f"--experimental-rerun={place.folder / 'config.pickle'}"], build)
    assert place.untouched()


@pytest.mark.process
@pytest.mark.parametrize("asked", ["job", "hydra", "all"])
def test_cfg_shows_what_would_be_refused(asked: str, place: Place) -> None:
    place.write({
        "experiment/evil.yaml": f"# @package _global_\nhydra: {{callbacks: {{evil: {CALL}}}, job: {{env_copy:"
        f" [AWS_SECRET_ACCESS_KEY]}}}}\nmodel: {{extra: {CALL}}}\ntracking: {{run_name: seven}}\n",
    })  # fmt: skip
    done = initlab(f"--config-dir={place.folder}", "experiment=evil", "--cfg", asked, cwd=place.work)
    assert done.returncode == 2 and ("run_name: seven" in done.stdout) is (asked != "hydra")
    for told in ("hydra.callbacks.evil", "hydra.job.env_copy", "model.extra._target_"):
        assert told in done.stderr, done.stderr
    assert "s3cret" not in done.stdout + done.stderr and "Traceback" not in done.stderr
    assert place.untouched()


def test_what_is_ones_own_goes_on(place: Place) -> None:
    """Experiments, files of groups, keys for interpolation, links inside the folder, a typed peer, typed settings."""
    place.write({
        "experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /init: broad\n"
        "rate: 0.02\noptimizer: {lr: '${rate}'}\ntracking: {tags: {team: a}}\n",
        "init/broad.yaml": "_target_: initlab.inits.normal\nstd: 0.3\n",
        "experiment/again.yaml": "-> mine.yaml",
        "tracking/ours.yaml": "defaults: [default]\nuri: http://127.0.0.1:9\n",
    })  # fmt: skip
    composed: list[DictConfig] = []
    for typed in (
        ("experiment=mine",), ("experiment=again",), ("experiment=mine", "tracking=ours"),
        ("experiment=mine", "hydra.verbose=true", "tracking.uri=http://127.0.0.1:9"), ("init=broad", "+optimizer.lr=1"),
    ):  # fmt: skip
        here = [f"--config-dir={place.folder}", *[t.replace("+", "") for t in typed]]
        compose_and_run(here, lambda c: composed.append(c) or build(c))
    assert [c.init.std for c in composed] == [0.3] * 5
    assert [c.optimizer.lr for c in composed] == [0.02] * 4 + [1]
    assert composed[2].tracking.uri == composed[3].tracking.uri == "http://127.0.0.1:9"


# ------------------------------------------------------------------ whatever they hold
_WORDS = st.sampled_from([
    "hydra", "callbacks", "evil", "launcher", "sweeper", "run", "dir", "job", "env_set", "model", "init", "data",
    "task", "_target_", "command", "filename", "tracking", "uri", "config", "targets", "job_logging", "handlers",
    "searchpath", "seed", "mode", "class", "()", "path", "study", "storage", "defaults", "hydra.run.dir", "experiment",
])  # fmt: skip
_VALUES = st.sampled_from([
    "os.system", "touch CANARY", "CANARY", "OUTSIDE/new", "logging.FileHandler", "pkg://joblib", "joblib.load", "evil",
    "initlab.tasks.download.fetch", "initlab.tasks.sources.idx.fetch", "subprocess.call", "${hydra.run.dir}", "w", 7,
    "${oc.env:AWS_SECRET_ACCESS_KEY}", "MULTIRUN", None, True, "pathlib.Path.touch", "shutil.rmtree",
    "${oc.decode:'${seed}'}", "initlab.models.mlp", "he", "torch.hub.load",
])  # fmt: skip
_TREES = st.recursive(
    _VALUES, lambda below: st.lists(below, max_size=2) | st.dictionaries(_WORDS, below, max_size=3), max_leaves=8
)
_HEADS = st.sampled_from([
    "", "# @package _global_\n", "# @package hydra\n", "#@package hydra.callbacks\n", "# @package _global_.hydra\n",
    "# @package _group_\n", "# x\n# @package hydra.job\n", "# @package hydra.launcher\n", "# @package model\n",
])  # fmt: skip
_DEFAULTS = st.lists(
    st.sampled_from([
        {"/init@hydra.callbacks": "evil"}, {"/model@hydra.launcher": "evil"}, {"override /model": "evil"},
        {"override hydra/launcher": "evil"}, {"/data@_global_": "evil"}, {"/init@_global_.hydra": "evil"}, "_self_",
        {"override hydra/job_logging": "default"}, "../../outside/private", {"optional /task@hydra.job": "evil"},
    ]),
    max_size=3, unique_by=str,
)  # fmt: skip
_FILES = st.dictionaries(
    st.sampled_from(["experiment", "init", "model", "data", "task", "hydra/launcher", "hydra/callbacks"]),
    st.tuples(_HEADS, _DEFAULTS, st.dictionaries(_WORDS, _TREES, max_size=4)),
    max_size=4,
)
_TYPED = st.lists(
    st.sampled_from(["experiment=evil", "init=evil", "model=evil", "data=evil", "hydra/launcher=evil", "seed=3"]),
    max_size=3, unique=True,
)  # fmt: skip


@pytest.mark.slow
@settings(
    max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True,
    phases=[Phase.explicit, Phase.generate],
)  # fmt: skip
@given(files=_FILES, typed=_TYPED)
def test_random_folders_run_nothing(
    files: dict[str, Any], typed: list[str], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(tmp_path_factory.mktemp("random"))
    monkeypatch.chdir(place.work)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret-of-the-environment")
    before = dict(os.environ)
    place.write({
        f"{group}/evil.yaml": head + yaml.safe_dump({**({"defaults": defaults} if defaults else {}), **tree})
        for group, (head, defaults, tree) in files.items()
    })  # fmt: skip
    seen: list[DictConfig] = []
    try:
        compose_and_run([f"--config-dir={place.folder}", *typed], lambda c: seen.append(c) or build(c))
    except Exception as error:
        told = error if isinstance(error, InitlabError) else translate(error, typed)
        assert told is not None, repr(error)
        assert "s3cret" not in str(told)
    for composed in seen:
        assert "s3cret" not in json.dumps(str(composed))
    assert place.untouched() and dict(os.environ) == before
