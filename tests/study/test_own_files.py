"""Configuration files of one's own in a study: --config-dir and hydra.searchpath, frozen with it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.cli.driver import environment, initlab
from tests.cli.forkserver import Forked
from tests.study.study_cases import runs, states, the_study
from tests.study.test_studies import until
from tests.study.workers.test_join import waiting

pytestmark = [pytest.mark.process, pytest.mark.timeout(240)]
TINY = (
    "data=digits", "data.limit=100", "model=linear", "trainer.epochs=1", "probes=none", "tracking.report=false",
    "study.name=own",
)  # fmt: skip


def experiments(home: Path, **rates: float) -> Path:
    (home / "experiment").mkdir(parents=True, exist_ok=True)
    for name, rate in rates.items():
        text = f"# @package _global_\noptimizer:\n  lr: {rate}\n"
        (home / "experiment" / f"{name}.yaml").write_text(text, encoding="utf-8")
    return home


def rates_of(workdir: Path) -> Counter[float]:
    trained = [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "train"]
    return Counter(float(r.data.params["optimizer.lr"]) for r in trained if r.info.status == "FINISHED")


@pytest.mark.parametrize("how", ["--config-dir DIR", "--config-dir=DIR", "hydra.searchpath=[file://DIR]", "absolute"])
def test_two_arms_going_on_and_extending(workdir: Path, how: str) -> None:
    home = experiments(workdir / "my conf", mine=0.05, yours=0.5, theirs=0.25)
    named = {
        "--config-dir DIR": ["--config-dir", "my conf"],
        "--config-dir=DIR": ["--config-dir=my conf"],
        "hydra.searchpath=[file://DIR]": ["hydra.searchpath=['file://my conf']"],
        "absolute": [f"hydra.searchpath=['file://{home}']"],
    }[how]
    done = initlab(*named, "-m", *TINY, "experiment=mine,yours", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert rates_of(workdir) == {0.05: 1, 0.5: 1}
    plan = json.loads((workdir / ".initlab" / "studies" / "own" / "plan.json").read_text())
    assert plan["searchpath"] == [f"file://{home}"]
    # the study's own copy is what counts: the folder may change, and be gone
    experiments(home, theirs=99.0)
    shutil.rmtree(home)
    more = initlab("-m", *TINY, "experiment=mine,yours,theirs", cwd=workdir)
    assert more.returncode == 0, more.stderr
    assert rates_of(workdir) == {0.05: 1, 0.5: 1, 0.25: 1}


def test_groups_by_glob_and_files_of_groups(workdir: Path) -> None:
    home = experiments(workdir / "my", mine_a=0.05, mine_b=0.5)
    (home / "init").mkdir()
    (home / "init" / "broad.yaml").write_text("_target_: initlab.inits.normal\nstd: 0.3\n", encoding="utf-8")
    done = initlab(
        "--config-dir", "my", "-m", *TINY, "init=broad,he", "experiment=glob(mine_*)", "study.workers=2", cwd=workdir
    )
    assert done.returncode == 0, done.stderr
    assert rates_of(workdir) == {0.05: 2, 0.5: 2}


def test_a_sampler_composes_in_its_workers(workdir: Path) -> None:
    experiments(workdir / "my", mine=0.05, yours=0.5)
    search = ("study=random", "study.trials=4", "experiment=mine,yours", "init.gain=interval(0.5,2)", "init=he")
    done = initlab("--config-dir=my", "-m", *TINY, *search, cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert set(rates_of(workdir)) <= {0.05, 0.5}
    assert states(the_study(workdir)) == {"COMPLETE": 4}


def test_a_worker_that_joins_needs_no_folder(workdir: Path) -> None:
    experiments(workdir / "my", mine=0.05, yours=0.5)
    leader = Forked(
        [sys.executable, "-m", "initlab", "--config-dir=my", "-m", *TINY, "experiment=mine,yours", "study.workers=0"],
        cwd=workdir, env=environment(), text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    try:
        until(lambda: waiting(workdir) == 2)
        shutil.rmtree(workdir / "my")
        # the same folder under another name, as another machine may see it
        (workdir / "elsewhere").symlink_to(workdir)
        joined = initlab("worker", "study=own", cwd=workdir / "elsewhere")
        assert joined.returncode == 0, joined.stderr
        said, _ = leader.communicate(timeout=120)
    finally:
        leader.kill()
        leader.wait()
    assert leader.returncode == 0, said
    assert rates_of(workdir) == {0.05: 1, 0.5: 1}


def test_other_files_are_another_study(workdir: Path) -> None:
    experiments(workdir / "my", mine=0.05, yours=0.5)
    sweep = ("-m", *TINY, "experiment=mine,yours")
    assert initlab("--config-dir=my", *sweep, cwd=workdir).returncode == 0
    shutil.copytree(workdir / "my", workdir / "moved")
    assert initlab("--config-dir=moved", *sweep, cwd=workdir).returncode == 0
    experiments(workdir / "moved", mine=0.06)
    other = initlab("--config-dir=moved", *sweep, cwd=workdir)
    assert other.returncode == 2
    assert "study.name=own: is another study: hydra.searchpath: file://" in other.stderr
    shutil.rmtree(workdir / ".initlab" / "studies" / "own" / "searchpath")
    lost = initlab(*sweep, "experiment=mine,yours,adding_lstm", cwd=workdir)
    assert lost.returncode == 2 and "searchpath/0 is missing" in lost.stderr


def test_what_cannot_be_found_is_named(workdir: Path) -> None:
    experiments(workdir / "my", mine=0.05)
    slips = {
        ("--config-dir=nowhere",): "--config-dir=nowhere: is no folder",
        ("--config-dir", "nowhere"): "--config-dir=nowhere: is no folder",
        ("hydra.searchpath=[file://nowhere]",): "hydra.searchpath=nowhere: is no folder",
        ("--config-dir=my",): "experiment=yours: choose from adding_lstm, ",
        ("--config-path", str(workdir / "my")): "config",
    }
    for named, told in slips.items():
        done = initlab(*named, "-m", *TINY, "experiment=mine,yours", cwd=workdir)
        assert done.returncode == 2, (named, done.stdout)
        (line,) = done.stderr.splitlines()
        assert told in line
    assert not (workdir / ".initlab").exists()


def test_a_package_on_the_search_path(workdir: Path) -> None:
    package = workdir / "mylab"
    (package / "conf" / "init").mkdir(parents=True)
    for folder in (package, package / "conf"):
        (folder / "__init__.py").write_text("")
    (package / "conf" / "init" / "mine.yaml").write_text("# mine\n_target_: mylab.mine.mine\nscale: 2.0\n")
    (package / "mine.py").write_text(
        "from initlab.spec import PositiveFloat\nfrom initlab.inits import he\n"
        "def mine(*, scale: PositiveFloat):\n    return he(gain=scale)\n"
    )
    sweep = ("-m", "hydra.searchpath=[pkg://mylab.conf]", *TINY, "init=mine", "init.scale=1,2")
    done = initlab(*sweep, cwd=workdir, PYTHONPATH=str(workdir))
    assert done.returncode == 0, done.stderr
    assert states(the_study(workdir)) == {"COMPLETE": 2}


def test_a_grid_of_inspections_finds_them_too(workdir: Path) -> None:
    home = workdir / "my" / "init"
    home.mkdir(parents=True)
    (home / "broad.yaml").write_text("_target_: initlab.inits.normal\nstd: 0.3\n", encoding="utf-8")
    done = initlab(
        "inspect",
        "--config-dir=my",
        "sweep={init: [broad, he]}",
        "tracking=none",
        "data=digits",
        "model=mlp",
        cwd=workdir,
    )
    assert done.returncode == 0, done.stderr
    assert "2 combinations inspected" in done.stdout


def test_a_place_from_the_environment(workdir: Path) -> None:
    home = experiments(workdir / "my", mine=0.05, yours=0.5)
    place = 'hydra.searchpath=["file://${oc.env:INITLAB_MY_CONF}"]'
    sweep = ("-m", *TINY, "experiment=mine,yours")
    done = initlab(place, *sweep, cwd=workdir, INITLAB_MY_CONF=str(home))
    assert done.returncode == 0, done.stderr
    # the plan has the folder, not the variable: it goes on where that is not set
    assert "INITLAB_MY_CONF" not in (workdir / ".initlab" / "studies" / "own" / "plan.json").read_text()
    assert "2 done before, 0 new" in initlab(f"--config-dir={home}", *sweep, cwd=workdir).stdout
    done = initlab(place, *sweep, cwd=workdir)
    assert done.returncode == 2 and "INITLAB_MY_CONF" in done.stderr and "is not set" in done.stderr


def test_a_main_configuration_of_ones_own_is_not_passed_over_in_silence(workdir: Path) -> None:
    home = experiments(workdir / "my", mine=0.05, yours=0.5)
    (home / "config.yaml").write_text("defaults: [/config, _self_]\ninit: {gain: 3}\n", encoding="utf-8")
    sweep = ("-m", *TINY, "experiment=mine,yours")
    done = initlab("--config-dir=my", *sweep, cwd=workdir)
    assert done.returncode == 0 and "my/config.yaml is not read: initlab has a main configuration" in done.stderr
    done = initlab(f"--config-path={home}", *sweep, cwd=workdir)
    assert done.returncode == 2 and "leads back to that file" in done.stderr, done.stderr
