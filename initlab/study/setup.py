"""Sets up a study: its space, its plan and Optuna's record, all checked before anything is written."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from initlab import config as configuration
from initlab import tracking
from initlab.config.computation import computation_hash
from initlab.config.own_targets import plain_keys
from initlab.config.searchpath import packages_of, require_usual_main, typed_searchpath
from initlab.core.error_line import print_notice
from initlab.core.redact import redact_passwords
from initlab.errors import ConfigError, InitlabError
from initlab.spec import StudySettings, TrackingSettings
from initlab.study.search import tune
from initlab.study.search.dashboard import name_metrics
from initlab.study.search.pruners import pruner
from initlab.study.search.samplers import sampler
from initlab.study.search.storage import (
    check_separate_databases,
    choose_url,
    exclusive,
    load_libraries,
    open_storage,
    opening,
)
from initlab.study.space.compose import compose_arm, save_arm_config
from initlab.study.space.duplicates import describe_equal, equal_arms, refuse_equal_options
from initlab.study.space.grammar import arm_text
from initlab.study.space.identity import fingerprint, require_same_files, require_same_judgement, require_same_space
from initlab.study.space.objectives import require_target, resolve_objectives
from initlab.study.space.plan import Plan, as_overrides, copied_from, folder_of, load
from initlab.study.space.space import Space, parse
from initlab.study.workers import engine
from initlab.study.workers.checks import Checks, Facts

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from optuna import Study

#: arms of which the composed configuration is kept for the workers; those of a larger grid are composed again
_KEPT = 1000


def space_of(settings: StudySettings, arguments: list[str], params: Mapping[str, str]) -> Space:
    """The search space that the command line, `hydra.sweeper.params` and `study.space` span together."""
    of_search = ("study=", "study.", "replicas=", "hydra.")
    typed = [a for a in plain_keys(arguments) if not a.lstrip("+").startswith(of_search)]
    for key in ("study.metric", "study.direction"):
        for text in (a.partition("=")[2] for a in arguments if a.startswith(f"{key}=")):
            if "," in text and not text.startswith("["):
                raise ConfigError(key, text, f"several are a list: {key}=[{text}]")
    # workers compose nothing from the command line: what it trusts is an override of every arm
    named = [a for a in typed if a.lstrip("+").partition("=")[0] == "config.targets"]
    trusted = packages_of(typed_searchpath())
    if trusted:
        listed = [w.strip(" '\"") for a in named[-1:] for w in a.partition("=")[2].strip("[]").split(",")]
        typed = [a for a in typed if a not in named]
        typed.append(f"config.targets=[{','.join(sorted({*trusted, *filter(None, listed)}))}]")
    spanned = {**{str(k): str(v) for k, v in params.items()}, **{k: str(v) for k, v in settings.space.items()}}
    conditions = {k: {of: [str(v) for v in values] for of, values in c.items()} for k, c in settings.conditions.items()}
    keys = set(spanned) | {a.lstrip("+").partition("=")[0] for a in typed}
    # a condition on a key that is not searched says nothing here
    return parse(typed, space=spanned, conditions={k: c for k, c in conditions.items() if k in keys})


def open_study(config: DictConfig, settings: StudySettings, space: Space) -> tuple[Plan, Study, TrackingSettings]:
    """The plan and Optuna's study, new or resumed. Nothing is written before every arm of a grid has been composed."""
    typed = settings
    workdir = Path.cwd()
    require_usual_main()
    searchpath = typed_searchpath()
    name = settings.name or f"study-{fingerprint(space, settings, searchpath)}"
    if not name.replace("-", "").replace("_", "").replace(".", "").isalnum():
        raise ConfigError("study.name", name, "may hold letters, digits, '-', '_' and '.' alone")
    folder = folder_of(workdir, name)
    known = _of_its_own(load(folder), workdir)
    storage = choose_url(settings.storage, None if known is None else known.storage, workdir)
    seed, replicas = int(config.seed), configuration.replicas(config)
    if known is not None:
        require_same_space(known, space, replicas, grid=settings.sampler == "grid")
        require_same_files(known, searchpath)
    plan = Plan(
        name=name, folder=folder.absolute(), workdir=workdir, settings=settings, space=space, seed=seed,
        replicas=replicas, storage=storage, parent="" if known is None else known.parent, seconds=settings.timeout,
        searchpath=searchpath if known is None else known.searchpath,
        id=uuid.uuid4().hex if known is None or not known.id else known.id,
    )  # fmt: skip
    if settings.sampler != "grid" and settings.trials is None and settings.timeout is None:
        raise ConfigError(
            "study.trials", None, f"study={settings.sampler} needs study.trials=N or study.timeout=SECONDS"
        )
    # composed from the files at hand: the study's own copy is made when all is well
    draft = replace(plan, folder=folder.absolute()) if known is not None else _draft(plan)
    arms = list(space.arms()) if settings.sampler == "grid" else [_any_arm(space)]
    found, configs = _check_arms(draft, arms, settings)
    first = found[0]
    if settings.sampler == "grid":
        plan, arms, configs = _without_equal_arms(plan, known, arms, found, configs)
    elif known is None:
        refuse_equal_options(space, arms[0], lambda arm: computation_hash(compose_arm(draft, arm)))
    metric, direction = resolve_objectives(settings, first.monitor)
    require_target(metric, [f.params for f in found])
    # the password is kept in one place, see Plan.save
    settings = replace(settings, metric=metric, direction=direction, storage=redact_passwords(storage))
    plan = replace(plan, settings=settings, epochs=first.epochs)
    _check_sampler_and_pruner(plan)
    if known is not None:
        require_same_judgement(known, plan)
    track = configuration.tracking_settings(configs[0])
    check_separate_databases(storage, tracking.resolve_uri(track, workdir))
    waits = tracking.check_access(track, workdir=workdir)
    if waits:
        print_notice(f"tracking: {waits}")
    engine.check(plan)
    study = _begin(plan, arms, configs, new=known is None)
    # somebody else began it while this process looked at the arms: it goes on with that plan
    return open_study(config, typed, space) if study is None else (plan, study, track)


def _of_its_own(known: Plan | None, workdir: Path) -> Plan | None:
    """The plan of a study that goes on; a copy of another study becomes one of its own, which is said.

    Raises:
        ConfigError: the copy would write into a database that it shares with its original.
    """
    original = None if known is None else copied_from(known.folder)
    if known is None or original is None:
        return known
    if not known.storage.startswith(f"sqlite:///{workdir.absolute().as_posix()}/"):
        raise ConfigError(
            "study.name", known.name, f"is a copy of {original} and would write into the same database,"
            f" {redact_passwords(known.storage)}; give study.name=NAME for a new study",
        )  # fmt: skip
    print_notice(f"study {known.name} is a copy of {original}: from here on it is a study of its own")
    return replace(known, id=uuid.uuid4().hex)


def _begin(plan: Plan, arms: Sequence[Mapping[str, str]], configs: Sequence[DictConfig], *, new: bool) -> Study | None:
    """Write the plan, its files and Optuna's record. None where another process began the `new` study meanwhile."""
    import optuna

    record = open_storage(plan.storage)
    with opening(record, plan.name, plan.folder):
        if new and load(plan.folder) is not None:
            return None
        plan.freeze(configuration.conf_dir(), anew=new)
        if new and not plan.create():
            return None
        for arm, config_of_arm in zip(arms, configs, strict=False) if plan.settings.sampler == "grid" else ():
            save_arm_config(plan, arm, config_of_arm)
        study = optuna.create_study(
            study_name=plan.name, storage=record, directions=plan.directions, load_if_exists=True
        )
        if not new:
            _save_again(plan, study)
        name_metrics(study, plan.metrics)
    return study


def _save_again(plan: Plan, study: Study) -> None:
    """Save the plan of a study that goes on, with the parent run that another leader has named since it was read."""
    with exclusive(study, plan.folder):
        current = load(plan.folder)
        (plan if current is None else replace(plan, parent=current.parent or plan.parent)).save()


def _check_arms(
    plan: Plan, arms: Sequence[Mapping[str, str]], settings: StudySettings
) -> tuple[list[Facts], list[DictConfig]]:
    """Facts about each arm, and the composed configurations of the first `_KEPT` arms.

    Raises:
        ConfigError: naming an arm that cannot be trained.
    """
    configs: list[DictConfig] = []
    with Checks() as checks:
        for arm in arms:
            with _naming_arm(plan, lambda arm=arm: arm):
                config = compose_arm(plan, arm)
            if len(configs) < _KEPT:
                configs.append(config)
            checks.add(config, plan.space.overrides(dict(arm)))
            with _naming_arm(plan, lambda: arms[len(checks.known)]):
                checks.collect()
        load_libraries()  # while the last of them is looked at
        with _naming_arm(plan, lambda: arms[len(checks.known)]):
            found = checks.all()
    if any(f.ddp for f in found):
        raise ConfigError("trainer.ddp", True, "a study trains its arms side by side, one process each")
    if settings.tune_lr:
        for each in found:
            tune.configured_lr(each.params)
    return found, configs


def _without_equal_arms(
    plan: Plan,
    known: Plan | None,
    arms: list[dict[str, str]],
    found: Sequence[Facts],
    configs: list[DictConfig],
) -> tuple[Plan, list[dict[str, str]], list[DictConfig]]:
    """The plan of a grid without arms that are the same computation as others, which is said."""
    before = [] if known is None else list(known.space.arms())
    pairs = equal_arms(arms, [f.computation for f in found], before)
    if not pairs:
        return plan, arms, configs
    each = "each is trained once" if len(pairs) > 1 else "it is trained once"
    print_notice(f"the same arm under two names: {describe_equal(pairs)}; {each}")
    skipped = {arm_text(arm) for arm, _ in pairs}
    plan = replace(plan, space=replace(plan.space, skipped=tuple(sorted(skipped))))
    kept = [i for i, arm in enumerate(arms) if arm_text(arm) not in skipped]
    return plan, [arms[i] for i in kept], [configs[i] for i in kept if i < len(configs)]


@contextmanager
def _naming_arm(plan: Plan, which: Callable[[], Mapping[str, str]]) -> Generator[None]:
    """Adds the arm to the message of an error raised inside."""
    try:
        yield
    except Exception as error:
        from initlab.config.hydra_errors import translate

        arm = which()
        ours = error if isinstance(error, InitlabError) else translate(error, plan.space.overrides(dict(arm)))
        if ours is None:
            raise
        raise ConfigError("arm", f"[{as_overrides(arm)}]", str(ours)) from error


def _check_sampler_and_pruner(plan: Plan) -> None:
    """Raises ConfigError where the workers could not make their sampler and pruner."""
    settings, objectives = plan.settings, len(plan.metrics)
    sampler(settings.sampler, seed=0, objectives=objectives)
    pruner(settings.pruner, epochs=plan.epochs, replicas=plan.replicas, objectives=objectives)


class _Draft(Plan):
    """A plan whose configuration files are still those of the installation."""

    @property
    def conf(self) -> Path:
        return configuration.conf_dir()

    @property
    def places(self) -> tuple[str, ...]:
        return self.searchpath


def _draft(plan: Plan) -> Plan:
    return _Draft(**{k: getattr(plan, k) for k in plan.__dataclass_fields__})


def _any_arm(space: Space) -> dict[str, str]:
    """Some arm of a space with ranges, to see that it composes."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return space.suggest(optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask())
