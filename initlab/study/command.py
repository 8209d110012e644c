"""`-m`: search a space of configurations, each arm under several seeds, and go on where a study stopped."""

from __future__ import annotations

import hashlib
import importlib
import json
import shlex
import signal
import sys
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from initlab import config as configuration
from initlab import tracking
from initlab.core.error_line import complain
from initlab.errors import ConfigError, InitlabError
from initlab.spec import RunStatus, StudySettings, TrackingSettings
from initlab.study.results import leaderboard, robustness
from initlab.study.results.live import Board, duration
from initlab.study.results.parent import Parent, has_ended, open_parent
from initlab.study.search import importance, ledger, tune
from initlab.study.search.arms import ENDED, ArmResult
from initlab.study.search.pruners import pruner
from initlab.study.search.samplers import notes, sampler
from initlab.study.search.storage import choose, keep_apart, load_libraries, masked, open_storage
from initlab.study.space.compose import composed, keep
from initlab.study.space.grammar import bare
from initlab.study.space.objectives import decided
from initlab.study.space.plan import Plan, as_overrides, folder_of, load
from initlab.study.space.space import Space, differences, extension_only, parse
from initlab.study.workers import engine
from initlab.study.workers.checks import Checks, Facts

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from optuna import Study

#: arms of which the composed configuration is kept for the workers; those of a larger grid are composed again
_KEPT = 1000
#: seconds that others have to send what they recorded
_PATIENCE = 30.0
#: keys that say how a study is worked on, and not what it is
_HOW = ("study.trials", "study.timeout", "study.workers", "study.engine", "study.rerun", "study.name", "tracking")
#: settings of a sweep that is made
_TUNED = ("lr_factors", "tune_epochs")
#: settings by which arms come to their number: arms that differ in them cannot be compared
_JUDGED = ("metric", "direction", "objective", "tune_lr", *_TUNED)


def study_command(config: DictConfig, arguments: Sequence[str], *, params: Mapping[str, str]) -> int:
    """Search what `arguments`, `params` and `study.space` span.

    Returns the exit code: 0 where every arm has an end, 1 where one raised an error or the study was stopped, 2 for bad
    input, of which nothing is begun.
    """
    try:
        return _search(config, list(arguments), params)
    except BrokenPipeError:
        raise  # the reader of our output has gone, and with it whoever could be told
    except InitlabError as error:
        return complain(error, error.exit_code)
    except Exception as error:
        from initlab.config.hydra_errors import translate

        ours = translate(error, list(arguments))
        return complain(ours or error, ours.exit_code if ours else 1, cause=error)


def _search(config: DictConfig, arguments: list[str], params: Mapping[str, str]) -> int:
    settings = configuration.study_settings(config)
    space = _space(settings, arguments, params)
    if not space.dimensions:
        raise ConfigError("-m", None, "nothing is swept: give a key several values, such as init=he,xavier")
    tune.check(settings, [bare(d.key) for d in space.dimensions])
    plan, study, track = _open(config, settings, space)
    fresh = _enqueue(study, plan)
    _say(plan, study, fresh)
    asked = threading.Event()
    _on_signals(asked)
    to_do = bool(fresh) or plan.endless or any(a.state in ("waiting", "running") for a in ledger.results(study))
    if not to_do and has_ended(plan):
        left = _settle(plan, study, track) if tracking.spools(plan.workdir) else 0
        _report(plan, study, (), interrupted=False, arguments=arguments, left=left)
        return _code(plan, study, interrupted=False)
    parent = open_parent(plan, track)
    plan = replace(plan, parent=parent.uid)
    plan.save()
    status: RunStatus = "failed"
    told: tuple[str, ...] = ()
    live = Board(
        total=len(ledger.current(study)), metric=plan.settings.metric, direction=plan.direction, out=sys.stdout,
        err=sys.stderr, workers=plan.settings.workers,
        before=[a.trial for a in ledger.results(study) if a.state in ENDED],
    )  # fmt: skip
    threading.Thread(target=_warm, daemon=True).start()
    try:
        if to_do:  # else a former leader died after the last arm, and before the end of its own run
            told = engine.drive(study, plan, stop=asked.is_set, look=lambda arms: _look(live, parent, plan, arms))
        status = "killed" if asked.is_set() else "finished"
    finally:
        live.close()
        arms = ledger.results(study)
        summary = leaderboard.summary(arms, metric=plan.settings.metric, direction=plan.direction)
        note = parent.close(plan, study, arms, status=status, summary=summary)
        left = _settle(plan, study, track)
        plan = replace(plan, parent=parent.run_id)
        plan.save()
    _report(plan, study, told, interrupted=asked.is_set(), arguments=arguments, note=note, left=left)
    return _code(plan, study, interrupted=asked.is_set())


# ------------------------------------------------------------------ pieces
def _warm() -> None:
    """Load what the end of the study draws with while its workers train."""
    for name in ("matplotlib.figure", "matplotlib.backends.backend_agg", "scipy.stats", "optuna.importance"):
        with suppress(ImportError):
            importlib.import_module(name)


def _space(settings: StudySettings, arguments: list[str], params: Mapping[str, str]) -> Space:
    typed = [a for a in arguments if not a.lstrip("+").startswith(("study=", "study.", "replicas=", "hydra."))]
    for key in ("study.metric", "study.direction"):
        for text in (a.partition("=")[2] for a in arguments if a.startswith(f"{key}=")):
            if "," in text and not text.startswith("["):
                raise ConfigError(key, text, f"several are a list: {key}=[{text}]")
    spanned = {**{str(k): str(v) for k, v in params.items()}, **{k: str(v) for k, v in settings.space.items()}}
    conditions = {k: {of: [str(v) for v in values] for of, values in c.items()} for k, c in settings.conditions.items()}
    keys = set(spanned) | {a.lstrip("+").partition("=")[0] for a in typed}
    # a condition on a key that is not searched says nothing here
    return parse(typed, space=spanned, conditions={k: c for k, c in conditions.items() if k in keys})


def _open(config: DictConfig, settings: StudySettings, space: Space) -> tuple[Plan, Study, TrackingSettings]:
    """The plan and Optuna's study, new or gone on with. Nothing is written before every arm of a grid composed."""
    import optuna

    workdir = Path.cwd()
    name = settings.name or f"study-{_fingerprint(space, settings)}"
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ConfigError("study.name", name, "may hold letters, digits, '-', '_' and '.' alone")
    folder = folder_of(workdir, name)
    known = load(folder)
    storage = choose(settings.storage, None if known is None else known.storage, workdir)
    seed, replicas = int(config.seed), configuration.replicas(config)
    if known is not None:
        _same(known, space, replicas, grid=settings.sampler == "grid")
    plan = Plan(
        name=name, folder=folder.absolute(), workdir=workdir, settings=settings, space=space, seed=seed,
        replicas=replicas, storage=storage, parent="" if known is None else known.parent, seconds=settings.timeout,
    )  # fmt: skip
    if settings.sampler != "grid" and settings.trials is None and settings.timeout is None:
        raise ConfigError(
            "study.trials", None, f"study={settings.sampler} needs study.trials=N or study.timeout=SECONDS"
        )
    # composed from the files at hand: the study's own copy is made when all is well
    draft = replace(plan, folder=folder.absolute()) if known is not None else _drafted(plan)
    arms = list(space.arms()) if settings.sampler == "grid" else [_an_arm(space)]
    first, configs = _examined(draft, arms, settings)
    metric, direction = decided(settings, first.monitor)
    # the password is kept in one place, see Plan.save
    settings = replace(settings, metric=metric, direction=direction, storage=masked(storage))
    plan = replace(plan, settings=settings, epochs=first.epochs)
    _try_makers(plan)
    if known is not None:
        _judged_alike(known, plan)
    track = configuration.tracking_settings(configs[0])
    keep_apart(storage, tracking.resolve_uri(track, workdir))
    tracking.check_access(track, workdir=workdir)
    engine.check(plan)
    record = open_storage(storage)
    plan.save()
    plan.freeze(configuration.conf_dir())
    for arm, config_of_arm in zip(arms, configs, strict=False) if settings.sampler == "grid" else ():
        keep(plan, arm, config_of_arm)
    study = optuna.create_study(study_name=name, storage=record, directions=plan.directions, load_if_exists=True)
    return plan, study, track


def _examined(plan: Plan, arms: Sequence[Mapping[str, str]], settings: StudySettings) -> tuple[Facts, list[DictConfig]]:
    """What the first arm is, and the configurations of the first `_KEPT`.

    Raises:
        ConfigError: naming an arm that cannot be trained.
    """
    configs: list[DictConfig] = []
    with Checks() as checks:
        for arm in arms:
            with _named(plan, lambda arm=arm: arm):
                config = composed(plan, arm)
            if len(configs) < _KEPT:
                configs.append(config)
            checks.add(config, plan.space.overrides(dict(arm)))
            with _named(plan, lambda: arms[len(checks.known)]):
                checks.go_on()
        load_libraries()  # while the last of them is looked at
        with _named(plan, lambda: arms[len(checks.known)]):
            found = checks.all()
    if any(f.ddp for f in found):
        raise ConfigError("trainer.ddp", True, "a study trains its arms side by side, one process each")
    if settings.tune_lr:
        for each in found:
            tune.own_lr(each.params)
    return found[0], configs


@contextmanager
def _named(plan: Plan, which: Callable[[], Mapping[str, str]]) -> Generator[None]:
    """Have an error name the arm that it is of."""
    try:
        yield
    except Exception as error:
        from initlab.config.hydra_errors import translate

        arm = which()
        ours = error if isinstance(error, InitlabError) else translate(error, plan.space.overrides(dict(arm)))
        if ours is None:
            raise
        raise ConfigError("arm", f"[{as_overrides(arm)}]", str(ours)) from error


def _try_makers(plan: Plan) -> None:
    """Raises ConfigError where the workers could not make their sampler and pruner."""
    settings, objectives = plan.settings, len(plan.metrics)
    sampler(settings.sampler, seed=0, objectives=objectives)
    pruner(settings.pruner, epochs=plan.epochs, replicas=plan.replicas, objectives=objectives)


class _Drafted(Plan):
    """A plan whose configuration files are still those of the installation."""

    @property
    def conf(self) -> Path:
        return configuration.conf_dir()


def _drafted(plan: Plan) -> Plan:
    return _Drafted(**{k: getattr(plan, k) for k in plan.__dataclass_fields__})


def _an_arm(space: Space) -> dict[str, str]:
    """Some arm of a space with ranges, to see that it composes."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask())


def _fingerprint(space: Space, settings: StudySettings) -> str:
    """Of what is fixed and which keys are searched, not of their values: a grid with one more is the same study."""
    what: dict[str, Any] = {
        "fixed": sorted(f for f in space.fixed if not f.startswith(_HOW)),
        "keys": sorted(d.key for d in space.dimensions),
        "sampler": settings.sampler,
    }
    # another judgement is another study; what is judged by default keeps the name that it always had
    default = _judgement(StudySettings())
    judged = {k: v for k, v in _judgement(settings).items() if v != default.get(k)}
    if judged:
        what["judged"] = judged
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=4).hexdigest()


def _same(known: Plan, space: Space, replicas: int, *, grid: bool) -> None:
    # a grid may grow; a sampler's record holds for the options that it was made with
    if grid:
        lines = [] if extension_only(known.space, space) else differences(known.space, space)
    else:
        lines = differences(known.space, space, additions=True)
    if replicas != known.replicas:
        lines.append(f"replicas: {known.replicas} became {replicas}")
    if lines:
        raise _another(known, lines)


def _judged_alike(known: Plan, plan: Plan) -> None:
    """Raises ConfigError where arms are to be judged by something else than those that the study has."""
    was, now = _judgement(known.settings), _judgement(plan.settings)
    both = [k for k in _JUDGED if k in was and k in now]
    lines = [f"study.{k}: {_shown(was[k])} became {_shown(now[k])}" for k in both if was[k] != now[k]]
    if lines:
        raise _another(known, lines)


def _judgement(settings: StudySettings) -> dict[str, Any]:
    return {k: getattr(settings, k) for k in _JUDGED if settings.tune_lr or k not in _TUNED}


def _another(known: Plan, lines: Sequence[str]) -> ConfigError:
    return ConfigError(
        "study.name", known.name, f"is another study: {'; '.join(lines)}; give study.name=NAME for a new one"
    )


def _shown(value: object) -> str:
    return ", ".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)


def _enqueue(study: Study, plan: Plan) -> int:
    """Have the arms done that the study is to have and has not; how many they are."""
    from optuna.trial import TrialState

    ledger.mend(study, plan.folder)
    counted = ledger.current(study)
    if plan.settings.sampler != "grid":
        if plan.settings.trials is None:
            return 0
        new = max(0, plan.settings.trials - len(counted))
        for _ in range(new):
            study.enqueue_trial({})
        return new
    rerun = plan.settings.rerun
    done = [] if rerun else [t for t in counted if t.state != TrialState.FAIL]
    have = {_arm_of(t) for t in done}
    failed = {_arm_of(t): t for t in counted if t.state == TrialState.FAIL}
    new = 0
    for arm in plan.space.arms():
        text = json.dumps(arm, sort_keys=True)
        if text in have:
            continue
        new += 1
        if text in failed:
            ledger.again(study, failed[text])
        else:
            study.enqueue_trial(dict(arm))
    return new


def _arm_of(trial: Any) -> str:
    choices = json.loads(trial.user_attrs.get(ledger.CHOICES, "{}")) or ledger.planned(trial)
    return json.dumps(choices, sort_keys=True)


def _settle(plan: Plan, study: Study, track: TrackingSettings) -> int:
    """Send what workers left behind, and end the runs of those that died; how many runs wait still."""
    if track.offline:
        return len(tracking.spools(plan.workdir))
    # workers that outlived a former leader may be at it still
    tracking.await_others(plan.workdir, study=plan.name, seconds=_PATIENCE)
    left = tracking.sync(plan.workdir, track).waiting
    # an arm whose worker was taken for dead by mistake may have been trained twice
    tracking.end_strays(track, workdir=plan.workdir, study=plan.name, kept=ledger.kept_runs(study))
    return left


def _look(live: Board, parent: Parent, plan: Plan, arms: Sequence[ArmResult]) -> None:
    live.update(arms)
    parent.look(plan, arms)


def _say(plan: Plan, study: Study, fresh: int) -> None:
    arms = ledger.results(study)
    ended = sum(a.state in ("complete", "pruned", "failed") for a in arms)
    new = f"as many as {duration(plan.settings.timeout or 0.0)} take" if plan.endless else f"{fresh} new"
    print(
        f"study {plan.name}: {len(arms)} arms x {plan.replicas} seeds, {ended} done before, {new};"
        f" {', '.join(plan.metrics)}, {', '.join(plan.directions)}; {plan.settings.workers} worker(s)",
        flush=True,
    )
    if plan.settings.tune_lr:
        count = len(set(plan.settings.lr_factors))
        print(f"  each arm first finds its learning rate: {count} to {count + tune.EXTENSIONS} runs more")
    for note in notes(plan.settings.sampler, plan.space):
        print(f"  {note}")


def _on_signals(asked: threading.Event) -> None:
    def ask(number: int, _frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        name = signal.Signals(number).name
        print(f"initlab: {name}: the workers end after the update at hand", file=sys.stderr, flush=True)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, ask)


def _report(
    plan: Plan,
    study: Study,
    told: Sequence[str],
    *,
    interrupted: bool,
    arguments: Sequence[str],
    note: str = "",
    left: int = 0,
) -> None:
    arms = ledger.results(study)
    for line in told:
        print(line)
    rows = leaderboard.leaderboard(arms, direction=plan.direction)
    print(leaderboard.table(rows, metric=plan.settings.metric, width=_width()))
    print(leaderboard.summary(arms, metric=plan.settings.metric, direction=plan.direction))
    print(importance.line(arms, study, plan.direction))
    for line in robustness.lines(arms, plan.direction):
        print(line)
    spared = ledger.spared(study)
    if spared:
        best = (max if plan.maximises else min)(value for _, value in spared)
        print(f"{len(spared)} arms that were called doomed ran on; the best of them reached {best:.4g}")
    if plan.parent:
        print(f"Study {plan.name} is run {plan.parent}; to look at it: python -m initlab ui")
    if interrupted:
        print(f"Next: python -m initlab -m {shlex.join(map(masked, arguments))}   (goes on where it stopped)")
    elif plan.parent and sum(a.value is not None for a in arms) > 1:
        print(f"Next: python -m initlab compare study={plan.name}   (corrected tests, effects, seeds needed)")
    if note:
        print(note)
    if left:
        print(f"tracking: {left} runs wait in .initlab/spool; python -m initlab sync sends them")


def _width() -> int:
    import shutil

    return shutil.get_terminal_size((110, 24)).columns


def _code(plan: Plan, study: Study, *, interrupted: bool) -> int:
    states = {a.state for a in ledger.results(study)}
    # where time was limited, arms may be left
    left = plan.seconds is None and bool(states & {"waiting", "running"})
    return 1 if interrupted or left or "failed" in states else 0
