"""`gc`, `sync` and `export` while a study is trained, each as the process that a person starts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from initlab.operations.gc.candidates import Rules, find_candidates
from initlab.spec import TrackingSettings
from initlab.study.space.plan import folder_of
from tests.cli.driver import initlab, training, wait_for
from tests.study.study_cases import TINY, broken, runs, the_study

pytestmark = [pytest.mark.process, pytest.mark.timeout(280)]

GRID = ("-m", *TINY, "trainer.epochs=15", "init=he,xavier,lecun", "replicas=2", "study.name=s", "study.workers=2")
BESIDE = (
    ("gc", "checkpoints_days=0", "deleted_days=0", "logs_days=0", "studies_days=0", "spool_days=0", "apply=true"),
    ("sync",),
    ("export", "study=s", "to=out"),
)
AT_ONCE = Rules(checkpoints_days=0, deleted_days=0, logs_days=0, studies_days=0, spool_days=0)


@pytest.mark.parametrize(
    "more", [(), ("tracking=none",), ("tracking.offline=true",)], ids=["recorded", "not recorded", "offline"]
)
def test_gc_leaves_a_live_study_from_its_first_second_on(more: tuple[str, ...], tmp_path: Path) -> None:
    """Also before its run has arrived in the store, and where nothing of it ever does."""
    settings = TrackingSettings(offline="tracking.offline=true" in more)
    folder = folder_of(tmp_path, "s")
    looked = 0
    with training(*GRID, *more, cwd=tmp_path) as study:
        wait_for((folder / "plan.json").exists, process=study)
        while study.poll() is None:
            going = [c.path for c in find_candidates(AT_ONCE, settings, tmp_path) if c.kind == "studies"]
            looked += 1
            if going:  # only once the study has done everything, and its process is about to end
                study.wait(timeout=5)
        out, err = study.communicate(timeout=60)
    assert study.returncode == 0, out + err
    assert looked > 2
    if not more:
        assert [c.path for c in find_candidates(AT_ONCE, settings, tmp_path) if c.kind == "studies"] == [folder]


def test_all_three_beside_it_change_nothing_of_it(tmp_path: Path) -> None:
    with training(*GRID, cwd=tmp_path) as study:
        wait_for((folder_of(tmp_path, "s") / "plan.json").exists, process=study)
        done = []
        while study.poll() is None:
            done += [initlab(*words, cwd=tmp_path) for words in BESIDE]
        out, err = study.communicate(timeout=60)
    assert study.returncode == 0, out + err
    assert len(done) >= 3 and not any("Traceback" in d.stdout + d.stderr for d in done)
    assert initlab("sync", cwd=tmp_path).returncode == 0
    assert broken(the_study(tmp_path), runs(tmp_path), arms=3, seeds=2) == []
    last = initlab("export", "study=s", "to=out", cwd=tmp_path)
    assert last.returncode == 0 and "7 runs" in last.stdout, last.stdout + last.stderr
    ended = {json.loads(p.read_text())["status"] for p in (tmp_path / "out" / "runs").glob("*/run.json")}
    assert ended == {"FINISHED"}
    (tmp_path / "other").mkdir()
    assert initlab("import", f"from={tmp_path}/out", cwd=tmp_path / "other").returncode == 0
    assert sum(r.info.status == "FINISHED" for r in runs(tmp_path / "other")) == 7
