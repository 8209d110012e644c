"""Parent run of a study in MLflow: search space, progress, best value, leaderboard; the arms' runs are its children."""

from __future__ import annotations

import csv
import io
import json
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import tracking
from initlab.core import durable
from initlab.core.exchange import say_waiting
from initlab.core.text import safe_cell
from initlab.core.version import __version__
from initlab.errors import InitlabError, StoreError
from initlab.spec import Record, RunHeader, RunStatus, TrackingSettings
from initlab.study.results import leaderboard, robustness
from initlab.study.results.figures import make_figures
from initlab.study.results.outcome import Outcome
from initlab.study.results.page import page
from initlab.study.search.arms import ArmResult
from initlab.study.search.lead import PARENT, Lead
from initlab.study.search.storage import exclusive, redact_passwords
from initlab.study.space.plan import Plan

if TYPE_CHECKING:
    from optuna import Study


#: state file in the study's folder: number of records of the parent run, and whether it ended
_STATE = "parent.json"
#: seconds for which another process that sends its records is waited for
_PATIENCE = 20.0


class ParentRun:
    """Records the progress and result of the study. Without contact to the store, only the tree in the UI is lost."""

    def __init__(
        self, sink: tracking.RunSink | tracking.NullSink, serial: int, *, lead: Lead | None = None, of: str = ""
    ) -> None:
        self._sink = sink
        self._lead = lead
        self._of = of
        self._serial = serial
        self._said: Mapping[str, float] = {}

    @property
    def uid(self) -> str:
        """Id by which children refer to it: known at once, before MLflow has assigned a run id."""
        return self._of if isinstance(self._sink, tracking.NullSink) else self._sink.uid

    @property
    def leads(self) -> bool:
        """Whether this process records the study's run; another one does it where several lead the study."""
        return self._lead is None or self._lead.holds()

    @property
    def run_id(self) -> str:
        """MLflow's run id, or the uid while that is unknown."""
        return self._of if isinstance(self._sink, tracking.NullSink) else self._sink.run_id

    def look(self, plan: Plan, arms: Sequence[ArmResult]) -> None:
        """Record progress and the best value so far, where they changed."""
        counts = {state: sum(a.state == state for a in arms) for state in ("complete", "pruned", "failed")}
        numbers = {f"study/{k}": float(v) for k, v in counts.items()} | {"study/arms": float(len(arms))}
        numbers |= _best(plan, arms)
        if numbers == self._said or not self.leads:
            return
        self._said = numbers
        step = sum(counts.values())
        if step == _load_state(plan).get("step", -1):
            return  # one point a step; the number of arms may grow meanwhile
        now = time.time_ns() // 1_000_000
        # a full disk loses the progress curve, not the study
        with suppress(StoreError, OSError):
            self._sink.write(Record(serial=self._serial, step=step, epoch=0.0, time_ms=now, metrics=numbers))
            self._serial += 1
            _save_state(plan, self._serial, step=step)

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
            _save_state(plan, self._serial, step=_load_state(plan).get("step", -1), ended=True)
        return note


def has_ended(plan: Plan) -> bool:
    """Whether the parent run of the study has ended."""
    return bool(_load_state(plan).get("ended"))


def _save_state(plan: Plan, serial: int, *, step: int = -1, ended: bool = False) -> None:
    """Note the next serial number of the study's run, and the step of its latest point."""
    durable.write(plan.folder / _STATE, json.dumps({"serial": serial, "step": step, "ended": ended}))


def _load_state(plan: Plan) -> dict[str, int]:
    try:
        return dict(json.loads((plan.folder / _STATE).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def open_parent(plan: Plan, settings: TrackingSettings, study: Study, lead: Lead) -> ParentRun:
    """The study's parent run: new, resumed where there is one, or the one that another leader of the study records."""
    with exclusive(study, plan.folder):
        known = plan.parent or str(study.user_attrs.get(PARENT, ""))
        if not lead.take():
            return ParentRun(tracking.NullSink(), 0, lead=lead, of=known)
        if not known or not settings.enabled:
            return _begin_named(plan, settings, study, lead)
    again = _reopen(plan, settings, known, lead)
    if again is not None:
        return again
    with exclusive(study, plan.folder):
        return _begin_named(plan, settings, study, lead)


def _begin_named(plan: Plan, settings: TrackingSettings, study: Study, lead: Lead) -> ParentRun:
    """A new parent run, named in the plan before another process may read that: workers take it from there."""
    made = _begin(plan, settings, study, lead)
    replace(plan, parent=made.uid).save()
    return made


def take_over(plan: Plan, settings: TrackingSettings, study: Study, lead: Lead) -> ParentRun | None:
    """The study's run at the end of a process that did not lead: where no other one closes it. None where one does."""
    with exclusive(study, plan.folder):
        if lead.how_it_ended() == "finished" or not plan.parent or not lead.take():
            return None
    return _reopen(plan, settings, plan.parent, lead)


def _reopen(plan: Plan, settings: TrackingSettings, run: str, lead: Lead) -> ParentRun | None:
    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            reopened = tracking.reopen(run, settings, workdir=plan.workdir)
            break
        except InitlabError as error:
            # the process that sent the records of a leader which was killed may be at its last batch
            if time.monotonic() > deadline or not _is_in_spool(run, plan.workdir):
                return None  # deleted, or in a store that does not answer: start a new one
            if time.monotonic() > deadline - _PATIENCE + 1.0:
                say_waiting(f"who sends the records of the study's run ({error})", _PATIENCE)
            time.sleep(0.3)
    reopened.begin()
    state = _load_state(plan)
    serial = int(state.get("serial", reopened.skip))
    _save_state(plan, serial, step=state.get("step", -1))
    return ParentRun(reopened.sink, serial, lead=lead)


def _is_in_spool(run: str, workdir: Path) -> bool:
    return any(run in (s.uid, s.run_id) for s in tracking.spools(workdir))


def _begin(plan: Plan, settings: TrackingSettings, study: Study, lead: Lead) -> ParentRun:
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
    # named before it exists: a leader that is killed in between leaves no run that the next one does not know
    uid = uuid.uuid4().hex
    study.set_user_attr(PARENT, uid)
    sink = tracking.start(header, settings, workdir=plan.workdir, files=files, uid=uid)
    _save_state(plan, 0)
    return ParentRun(sink, 0, lead=lead)


def _files(plan: Plan, study: Study, made: Outcome, folder: Path) -> list[tuple[Path, str]]:
    found: list[tuple[Path, str]] = []
    (folder / "leaderboard.csv").write_text(_csv(plan, made.arms), encoding="utf-8", errors="backslashreplace")
    found.append((folder / "leaderboard.csv", ""))
    drawn = make_figures(
        _as_judged(made), study, metric=plan.settings.metric, direction=plan.direction, noise=made.noise
    )
    for stem, figure in drawn.items():
        path = folder / f"{stem}.svg"
        path.write_text(figure.standalone(plan.name), encoding="utf-8", errors="backslashreplace")
        found.append((path, "figures"))
    (folder / "report.html").write_text(page(plan, made, drawn), encoding="utf-8", errors="backslashreplace")
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

    def write(cells: Sequence[object]) -> None:
        writer.writerow([safe_cell(c) for c in cells])

    named = ["rank", *plan.metrics] if several else ["value"]
    tuned = ["lr", "sweep"] if plan.settings.tune_lr else []
    write(["trial", "arm", "state", *named, *keys, *tuned, "seeds", "values", "seconds", "reason"])
    for a in arms:
        seeds = [r.seed for r in a.replicas]
        values = [list(r.values) or r.value for r in a.replicas]
        judged = [rank.get(a.trial), *(a.values or [None] * len(plan.metrics))] if several else [a.value]
        write(
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
