"""A study without a number of arms: as many as its time takes, under the name of the day, gone on with by a second."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import optuna
import pytest

from tests.cli.driver import initlab
from tests.study.test_studies import TINY, runs

pytestmark = pytest.mark.process


@pytest.mark.timeout(240)
def test_the_time_is_all_that_ends_it_and_the_same_day_goes_on(workdir: Path) -> None:
    storage = f"sqlite:///{workdir / '.initlab' / 'studies.db'}"
    night = (*TINY, "study=nightly", "study.timeout=6", "study.pruner=none", "trainer.epochs=1", "probes=none")
    first = initlab("-m", *night, cwd=workdir, timeout=200)
    assert first.returncode == 0, first.stdout + first.stderr
    name = re.search(
        r"study (nightly-\d{4}-\d\d-\d\d): 0 arms x 1 seeds, 0 done before, as many as 6.0 s", first.stdout
    )
    assert name is not None, first.stdout
    study = optuna.load_study(study_name=name.group(1), storage=storage)
    states = Counter(t.state.name for t in study.trials)
    # nothing is left over that nobody will train
    assert states["COMPLETE"] >= 1 and set(states) <= {"COMPLETE", "PRUNED"}

    second = initlab("-m", *night, f"study.name={name.group(1)}", cwd=workdir, timeout=200)
    assert second.returncode == 0, second.stdout + second.stderr
    assert f"{sum(states.values())} done before, as many as" in second.stdout
    again = optuna.load_study(study_name=name.group(1), storage=storage)
    assert len(again.trials) > sum(states.values())
    assert all(t.state.name in ("COMPLETE", "PRUNED") for t in again.trials)
    parents = [r for r in runs(workdir) if r.data.tags.get("initlab.kind") == "study"]
    assert len(parents) == 1 and all(r.info.status != "RUNNING" for r in runs(workdir))
