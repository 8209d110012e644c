"""Parent run of a study in MLflow: search space, progress, best value, leaderboard; the arms' runs are its children."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import tracking
from initlab.core.version import __version__
from initlab.errors import InitlabError, StoreError
from initlab.spec import Record, RunHeader, RunStatus, TrackingSettings
from initlab.study.results import leaderboard, robustness
from initlab.study.results.figures import make_figures
from initlab.study.results.outcome import Outcome
from initlab.study.results.page import page
from initlab.study.search.arms import ArmResult
from initlab.study.search.storage import redact_passwords
from initlab.study.space.plan import Plan

if TYPE_CHECKING:
    from optuna import Study


#: state file in the study's folder: number of records of the parent run, and whether it ended
_STATE = "parent.json"


class ParentRun:
    """Records the progress and result of the study. Without contact to the store, only the tree in the UI is lost."""

    def __init__(self, sink: tracking.RunSink | tracking.NullSink, serial: int) -> None:
        self._sink = sink
        self._serial = serial
        self._said: Mapping[str, float] = {}

    @property
    def uid(self) -> str:
        """Id by which children refer to it: known at once, before MLflow has assigned a run id."""
        return "" if isinstance(self._sink, tracking.NullSink) else self._sink.uid

    @property
    def run_id(self) -> str:
        """MLflow's run id, or the uid while that is unknown."""
        return "" if isinstance(self._sink, tracking.NullSink) else self._sink.run_id

    def look(self, plan: Plan, arms: Sequence[ArmResult]) -> None:
        """Record progress and the best value so far, where they changed."""
        counts = {state: sum(a.state == state for a in arms) for state in ("complete", "pruned", "failed")}
        numbers = {f"study/{k}": float(v) for k, v in counts.items()} | {"study/arms": float(len(arms))}
        numbers |= _best(plan, arms)
        if numbers == self._said:
            return
        self._said = numbers
        step = sum(counts.values())
        now = time.time_ns() // 1_000_000
        # a full disk loses the progress curve, not the study
        with suppress(StoreError, OSError):
            self._sink.write(Record(serial=self._serial, step=step, epoch=0.0, time_ms=now, metrics=numbers))
            self._serial += 1
            _save_state(plan, self._serial)

    def close(self, plan: Plan, study: Study, made: Outcome, *, status: RunStatus) -> str:
        """Record the leaderboard as note, table and figures; returns the message of the tracker."""
        text = leaderboard.table(made.rows, metric=plan.settings.metric, width=110, limit=100)
        note = f"{made.summary}\n\n```\n{text}\n```\n\n{made.importance}"
        lost = ""
        try:
            self._sink.tag({"mlflow.note.content": note, "initlab.verdict": made.summary[:200]})
            if not isinstance(self._sink, tracking.NullSink):
                with tempfile.TemporaryDirectory() as scratch:
                    for path, folder in _files(plan, study, made, Path(scratch)):
                        self._sink.artifact(path, folder)
        except (StoreError, OSError) as error:
            lost = f"the study's parent run lacks its table or figures: {' '.join(str(error).split())}"
        note = "\n".join(filter(None, (lost, self._sink.close(status))))
        with suppress(OSError):
            _save_state(plan, self._serial, ended=True)
        return note


def has_ended(plan: Plan) -> bool:
    """Whether the parent run of the study has ended."""
    return bool(_load_state(plan).get("ended"))


def _save_state(plan: Plan, serial: int, *, ended: bool = False) -> None:
    temporary = plan.folder / f"{_STATE}.tmp"
    temporary.write_text(json.dumps({"serial": serial, "ended": ended}), encoding="utf-8")
    temporary.replace(plan.folder / _STATE)


def _load_state(plan: Plan) -> dict[str, int]:
    try:
        return dict(json.loads((plan.folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def open_parent(plan: Plan, settings: TrackingSettings) -> ParentRun:
    """The study's parent run; resumed where `plan` names one."""
    known = _load_state(plan)
    if plan.parent and settings.enabled:
        try:
            reopened = tracking.reopen(plan.parent, settings, workdir=plan.workdir)
            serial = int(known.get("serial", reopened.skip))
            _save_state(plan, serial)
            return ParentRun(reopened.sink, serial)
        except InitlabError:
            pass  # deleted, or in a store that does not answer: start a new one
    header = RunHeader(
        name=plan.name,
        experiment=tracking.experiment_name(settings),
        params={
            "study": plan.name, "sampler": plan.settings.sampler, "pruner": plan.settings.pruner,
            "metric": ", ".join(plan.metrics), "replicas": plan.replicas, "seed": plan.seed,
            "tune_lr": plan.settings.tune_lr,
            **{f"space.{d.key}": str(asdict(d)) for d in plan.space.dimensions},
        },
        tags={
            "initlab.kind": "study", "initlab.study": plan.name, "initlab.optuna": redact_passwords(plan.storage),
            "initlab.version": __version__,
        },
        dataset=None,
        start_ms=time.time_ns() // 1_000_000,
    )  # fmt: skip
    files = {
        "space.json": redact_passwords(json.dumps(plan.space.as_json(), indent=1)),
        "study.json": json.dumps(asdict(plan.settings)),
    }
    return ParentRun(tracking.start(header, settings, workdir=plan.workdir, files=files), 0)


def _files(plan: Plan, study: Study, made: Outcome, folder: Path) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    (folder / "leaderboard.csv").write_text(_csv(plan, made.arms), encoding="utf-8")
    found.append((folder / "leaderboard.csv", ""))
    drawn = make_figures(
        _as_judged(made), study, metric=plan.settings.metric, direction=plan.direction, noise=made.noise
    )
    for stem, figure in drawn.items():
        path = folder / f"{stem}.svg"
        path.write_text(figure.standalone(plan.name), encoding="utf-8")
        found.append((path, "figures"))
    (folder / "report.html").write_text(page(plan, made, drawn), encoding="utf-8")
    return [*found, (folder / "report.html", "")]


def _as_judged(made: Outcome) -> list[ArmResult]:
    """The arms with the value that the leaderboard gives them, so that figures show its numbers."""
    if any(r.others for r in made.rows):
        return list(made.arms)
    return [r.result if r.rank is None else replace(r.result, value=r.mean, state="complete") for r in made.rows]


def _best(plan: Plan, arms: Sequence[ArmResult]) -> dict[str, float]:
    """The best value so far of the objective, or of each objective, with the size of the Pareto front."""
    able = [a for a in arms if a.state == "complete" and a.finite is not None]
    if not able:
        return {}
    if len(plan.metrics) == 1:
        values = [a.value for a in able if a.value is not None]
        wide = robustness.areas(arms, plan.direction)
        return {
            "study/best": max(values) if plan.maximises else min(values),
            **({"study/robust_share": wide[0].share} if wide else {}),
        }
    best = {
        f"study/best/{m}": (max if way == "maximize" else min)(a.values[k] for a in able)
        for k, (m, way) in enumerate(zip(plan.metrics, plan.directions, strict=True))
    }
    rows = leaderboard.standings(able, direction=plan.direction)
    return {**best, "study/front": float(sum(r.rank == 1 for r in rows))}


def _csv(plan: Plan, arms: Sequence[ArmResult]) -> str:
    keys = list(dict.fromkeys(k for a in arms for k in a.choices))
    several = len(plan.metrics) > 1
    rank = {r.result.trial: r.rank for r in leaderboard.standings(arms, direction=plan.direction)} if several else {}
    out = io.StringIO()
    writer = csv.writer(out)
    named = ["rank", *plan.metrics] if several else ["value"]
    tuned = ["lr", "sweep"] if plan.settings.tune_lr else []
    writer.writerow(["trial", "arm", "state", *named, *keys, *tuned, "seeds", "values", "seconds", "reason"])
    for a in arms:
        seeds = [r.seed for r in a.replicas]
        values = [list(r.values) or r.value for r in a.replicas]
        judged = [rank.get(a.trial), *(a.values or [None] * len(plan.metrics))] if several else [a.value]
        writer.writerow(
            [
                a.trial,
                a.arm,
                a.state,
                *judged,
                *(a.choices.get(k, "") for k in keys),
                *((a.sweep.chosen, json.dumps(a.sweep.as_json())) if a.sweep else [""] * len(tuned)),
                seeds,
                values,
                a.seconds,
                a.reason,
            ]
        )
    return out.getvalue()
