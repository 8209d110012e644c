"""What tests of whole studies share: starting one, looking into its records, and what must hold after any fault."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import optuna
from mlflow import MlflowClient
from optuna.storages import RDBStorage

from initlab.study.search.storage import open_storage
from initlab.study.search.trials import current_trials, replicas_of

#: a run of a fraction of a second
TINY = (
    "data=digits", "data.limit=200", "model=mlp", "model.width=16", "trainer.epochs=2", "tracking.report=false",
    "probes=none",
)  # fmt: skip
EMBEDDED = "embedded"


def the_study(workdir: Path, storage: RDBStorage | None = None, *, name: str | None = None) -> optuna.Study:
    """The study `name` below `workdir`, by default the one with a folder, kept in `storage`, or in the file there."""
    if name is None:
        (name,) = (p.name for p in (workdir / ".initlab" / "studies").iterdir() if p.is_dir())
    return optuna.load_study(
        study_name=name, storage=storage or open_storage(f"sqlite:///{workdir / '.initlab' / 'studies.db'}")
    )


def states(study: optuna.Study) -> Counter[str]:
    return Counter(t.state.name for t in current_trials(study))


def runs(workdir: Path, uri: str = EMBEDDED) -> list[Any]:
    client = MlflowClient(f"sqlite:///{workdir / 'mlflow.db'}" if uri == EMBEDDED else uri)
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()], max_results=1000))


def broken(study: optuna.Study, found: list[Any], *, arms: int, seeds: int) -> list[str]:
    """What is wrong with the records of a study of `arms` arms that is at its end; nothing where all is well."""
    wrong: list[str] = []
    counted = states(study)
    if counted != {"COMPLETE": arms}:
        wrong.append(f"{dict(counted)} instead of {arms} complete")
    running = [t.number for t in study.get_trials(deepcopy=False) if t.state.name in ("RUNNING", "WAITING")]
    if running:
        wrong.append(f"trials {running} are open")
    going = [r.info.run_id for r in found if r.info.status in ("RUNNING", "SCHEDULED")]
    if going:
        wrong.append(f"runs {going} are RUNNING")
    trained = [r for r in found if r.data.tags.get("initlab.kind") == "train"]
    ended = Counter((r.data.tags["initlab.arm"], r.data.tags["seed"]) for r in trained if r.info.status == "FINISHED")
    wrong += [f"arm {arm} seed {seed} is FINISHED {n} times" for (arm, seed), n in ended.items() if n > 1]
    if len(ended) != arms * seeds:
        wrong.append(f"{len(ended)} of {arms * seeds} (arm, seed) are FINISHED")
    kept = {r.run_id for t in current_trials(study) for r in replicas_of(t.user_attrs)}
    ids = {i for r in trained if r.info.status == "FINISHED" for i in (r.info.run_id, r.data.tags["initlab.uid"])}
    if not kept <= ids:
        wrong.append(f"runs {kept - ids} of Optuna's record are not in MLflow's")
    parents = [r for r in found if r.data.tags.get("initlab.kind") == "study"]
    if len(parents) != 1:
        wrong.append(f"{len(parents)} runs of the study itself")
    return wrong
