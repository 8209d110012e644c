"""`python -m initlab register`: puts a trained network into MLflow's model registry, with its evidence."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.cli.compare import choose_runs, report_of
from initlab.errors import ConfigError
from initlab.spec import CompareSettings, TrackingSettings

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from torch import Tensor, nn

    from initlab.cli.arguments import Arguments
    from initlab.compare.result import Row

#: what MLflow refuses in the name of a model
_NAME = re.compile(r"[^/:\s][^/:]{0,199}")
_ALIAS = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,99}")
_CONFIG, _CHECKPOINTS = "config.yaml", "checkpoints"
_WEIGHTS = ("best.safetensors", "last.safetensors")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Why this network: the run, its score in words, and what it was chosen from."""

    run_id: str
    score: str
    chosen: str
    study: str = ""
    parent: str = ""


def register_command(config: DictConfig, arguments: Arguments) -> int:
    """Register the network of a run, or of the best arm of a study. Returns the exit code.

    Raises:
        ConfigError: neither or both of a run and a study are named, or the run left no weights.
    """
    given = arguments.given
    run, study, alias = given.get("run", ""), given.get("study", ""), given.get("alias", "")
    if bool(run) == bool(study):
        raise ConfigError("run", run or None, "name one run or one study, such as initlab register study=NAME")
    if alias and not _ALIAS.fullmatch(alias):
        raise ConfigError("alias", alias, "may hold letters, digits, '-' and '_' alone, such as alias=champion")
    named = given.get("as", "")
    if named and not _NAME.fullmatch(named):
        raise ConfigError("as", named, "names the model in the registry, and may hold no '/' and ':'")
    settings = configuration.tracking_settings(config)
    if not settings.enabled:
        raise ConfigError("tracking", "none", "there is nothing to read without a store; leave out tracking=none")
    found = _of_study(study, settings) if study else _of_run(run, settings)
    stored = tracking.find_run(found.run_id, settings, workdir=Path.cwd())
    model, example, choices = _restore(stored, config)
    name = named or "-".join(["initlab", choices.get("data", ""), choices.get("model", "")]).strip("-")
    tags = {
        "initlab.run": stored.run_id,
        "initlab.study": found.study,
        "initlab.arm": stored.tags.get("initlab.arm", ""),
        "initlab.score": found.score,
        "initlab.chosen": found.chosen,
        "initlab.verdict": stored.tags.get("initlab.verdict", ""),
        "initlab.predicted": stored.tags.get("initlab.outlook", ""),
        **choices,
        "seed": stored.tags.get("seed", ""),
    }
    done = tracking.register_model(
        stored.store, stored.run_id, model, example, name=name, tags={k: v for k, v in tags.items() if v},
        metrics=_scores(stored, settings), description=_description(found, tags), alias=alias,
    )  # fmt: skip
    print(f"registered {stored.name} (run {stored.run_id}) as {done.uri}{f', alias {alias}' if alias else ''}")
    print(f"  {found.score}; {found.chosen}")
    print(f"  load it: mlflow.pytorch.load_model({done.uri!r})   {_format(pickled=done.pickled)}")
    print(f'Next: mlflow models serve -m "{done.uri}" --env-manager local   (answers POST /invocations)')
    return 0


def _format(*, pickled: bool) -> str:
    if pickled:
        return "(a pickle: torch cannot export this network; loading needs initlab)"
    return "(torch's exported program, without pickle)"


def _of_run(asked: str, settings: TrackingSettings) -> Evidence:
    stored = tracking.find_run(asked, settings, workdir=Path.cwd())
    if stored.kind != "train":
        raise ConfigError("run", asked, "is the run of a study or an inspection: it has no network; study=NAME has")
    scores = _scores(stored, settings)
    said = ", ".join(f"{k} {v:.4f}" for k, v in scores.items()) or "no score"
    return Evidence(
        run_id=stored.run_id, score=said, chosen="one run, named", study=stored.tags.get("initlab.study", "")
    )


def _scores(stored: tracking.StoredRun, settings: TrackingSettings) -> dict[str, float]:
    found = tracking.read_runs(settings, workdir=Path.cwd(), experiments=(stored.experiment,))
    record = next((r for r in found.runs if r.run_id == stored.run_id), None)
    wanted = ("val/accuracy", "val/loss", "test/accuracy", "test/loss")
    return {} if record is None else {k: record.metrics[k] for k in wanted if k in record.metrics}


def _of_study(asked: str, settings: TrackingSettings) -> Evidence:
    """The run of the median seed of the best arm: its score is not a lucky one, and the interval speaks of it."""
    name = tracking.find_studies([asked], settings, workdir=Path.cwd())[0]
    asked_for = CompareSettings(study=(name,), curves=False)
    found = tracking.read_runs(settings, workdir=Path.cwd(), studies=(name,))
    runs, parents, title = choose_runs(found, asked_for)
    report = report_of(found, runs, parents, asked_for, title)
    if len(report.tasks) != 1:
        raise ConfigError("study", name, f"has {len(report.tasks)} tasks, each with a best arm; name a run instead")
    task = report.tasks[0]
    best = next((r for r in task.rows if r.rank == 1), None)
    if best is None:
        raise ConfigError("study", name, "has no arm with a result; there is nothing to register")
    seed, value = _median(best)
    tied = [r for r in task.rows if r.winner and r is not best]
    also = f"; {len(tied)} other arms are not distinguishable from it" if tied else ""
    return Evidence(
        run_id=best.arm.runs[seed].run_id,
        score=f"{task.by.metric} {best.mean:.4f} [{best.low:.4f}, {best.high:.4f}] over {best.n} seeds",
        chosen=f"best of {len(task.rows)} arms: {best.arm.name}, median seed {seed} ({value:.4f}){also}",
        study=name,
        parent=parents[0].run_id if parents else "",
    )


def _median(best: Row) -> tuple[str, float]:
    """Seed and value of the middle one; of an even number the lower one. Diverged seeds have no network to register."""
    able = sorted((v, s) for s, v in best.arm.values.items() if s not in best.arm.imputed and s in best.arm.runs)
    if not able:
        raise ConfigError("study", best.arm.name, "all runs of its best arm diverged; there is nothing to register")
    value, seed = able[(len(able) - 1) // 2]
    return seed, value


def _description(found: Evidence, tags: dict[str, str]) -> str:
    lines = [
        f"**{tags.get('init', '?')} and {tags.get('activation', '?')}** on {tags.get('data', '?')}: {found.score}.",
        f"- chosen as: {found.chosen}",
        f"- predicted before training: {tags['initlab.predicted'] or 'not known'}; verdict after it:"
        f" {tags['initlab.verdict'] or 'none'}",
        f"- trained by run `{found.run_id}`",
    ]
    if found.study:
        lines.append(f"- study `{found.study}`" + (f", run `{found.parent}`" if found.parent else ""))
    return "\n".join(lines)


def _restore(stored: tracking.StoredRun, config: DictConfig) -> tuple[nn.Module, Tensor, dict[str, str]]:
    """The network of a run with its best weights (or its last), two inputs of its data, and its choices."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        there = stored.fetch((_CONFIG, _CHECKPOINTS), folder)
        weights = next((f for n in _WEIGHTS if (f := folder / _CHECKPOINTS / n).exists()), None)
        if _CONFIG not in there or weights is None:
            raise ConfigError(
                "run", stored.run_id, "left no checkpoint to register; train it with trainer.checkpoint=true"
            )
        saved = (folder / _CONFIG).read_text(encoding="utf-8")
        merged = configuration.resume_config(saved, config, [])
        experiment = configuration.experiment(merged, overrides=configuration.saved_overrides(saved))
        from initlab.run.restore import restore_network

        model, example = restore_network(experiment, weights)
    choices = {k: str(experiment.params[k]) for k in ("data", "model", "init", "activation") if k in experiment.params}
    return model, example, choices
