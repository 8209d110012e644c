"""From YAML and overrides to a frozen, typed `Experiment`. Hydra and OmegaConf stop here.

The registry is the directory listing: a file `conf/init/he.yaml` names a factory in `_target_`, and its other keys are
the factory's keyword arguments. The factory's type annotations are the schema: `model.depth=0` is refused because
`depth` is annotated `PositiveInt`. Nothing else in initlab instantiates from text.
"""

from __future__ import annotations

import hashlib
import json
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf
from pydantic import TypeAdapter, ValidationError

from initlab.config.default_activation import settled
from initlab.config.environment import read_only_harmless_variables
from initlab.config.former_names import with_former_names
from initlab.config.instantiate import LONGEST, build, section
from initlab.config.targets import consent
from initlab.config.task_of_data import check_data
from initlab.config.yaml_text import to_yaml
from initlab.core.redact import masked
from initlab.errors import ConfigError, one_of
from initlab.spec import (
    CompareSettings,
    Experiment,
    InspectSettings,
    ProbeSettings,
    Scalar,
    StudySettings,
    TrackingSettings,
    TrainerSettings,
)

#: keys that say where and how a run is watched, not what is trained; two runs that differ only here are one arm
_NOT_OF_THE_ARM = (
    "seed",
    "device",
    "threads",
    "resume",
    "tracking",
    "probes",
    "inspect",
    "compare",
    "study",
    "replicas",
    "config",
    "gc",
)
#: first line of a saved configuration: what was typed
_TYPED = "# overrides: "
_CALL = re.compile(r"([A-Za-z_]\w*)\(.*\)", re.DOTALL)
#: names that mean something in Hydra's override grammar
_HYDRA_FUNCTIONS = ("bool", "choice", "float", "glob", "int", "interval", "range", "shuffle", "sort", "str", "tag")
#: folders beside the groups, whose files are no part of a configuration
_NO_GROUPS = ("schedule",)
#: brackets within brackets of an override
_DEEPEST = 50
_GROUPS = ("task", "data", "model", "init", "activation", "optimizer", "lr_schedule")

# before anything is composed: values are also read where nothing else is resolved
read_only_harmless_variables()


def conf_dir() -> Path:
    """The directory of configuration files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"


def quoted_formulas(overrides: Iterable[str]) -> list[str]:
    """The overrides with formulas and schemes in quotes, where they have none.

    A shell takes the quotes of ``activation.f="x*tanh(softplus(x))"`` and ``init.recurrent="he(gain=2)"`` away, and
    Hydra's grammar knows no bare parentheses but those of its own functions.
    """
    found: list[str] = []
    for override in overrides:
        _can_be_read(override)
        key, _, value = override.partition("=")
        formula = key.lstrip("+") == "activation.f" and value and value[0] not in "'\""
        if key.lstrip("+").startswith("init.") and _CALL.match(value):
            override = f"{key}={','.join(map(_quoted_call, at_top_level(value)))}"  # noqa: PLW2901
        if formula:
            escaped = value.replace('"', '\\"')
            override = f'{key}="{escaped}"'  # noqa: PLW2901
        found.append(override)
    return found


def _can_be_read(override: str) -> None:
    """Raises ConfigError for what Hydra's parser would take for ever, or all of the stack."""
    key = override.partition("=")[0][:60]
    if len(override) > LONGEST * 2:
        raise ConfigError(key, None, f"is too long: {LONGEST * 2} characters are the most on a command line")
    depth = deepest = 0
    for character in override:
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST:
        raise ConfigError(key, None, f"is nested deeper than {_DEEPEST} brackets")


def _quoted_call(value: str) -> str:
    """``he(gain=2)`` in quotes; a function of Hydra's grammar, and everything else, as it is."""
    called = _CALL.fullmatch(value)
    return f'"{value}"' if called is not None and called[1] not in _HYDRA_FUNCTIONS else value


def at_top_level(text: str) -> list[str]:
    """`text` cut at the commas that stand in no parentheses and no quotes."""
    pieces, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        depth += (character in "([{") - (character in ")]}") if not quote else 0
        if character == "," and depth == 0 and not quote:
            pieces.append("")
        else:
            pieces[-1] += character
    return pieces


def compose(overrides: list[str], *, folder: Path | None = None) -> DictConfig:
    """Compose a configuration as the command line does, for use from Python and tests. One process, one thread.

    Args:
        overrides: as typed.
        folder: of the configuration files; None is `conf_dir`.

    Raises:
        ConfigError: for an unknown group, file, or key; names the valid ones.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    GlobalHydra.instance().clear()
    with initialize_config_dir(str(folder or conf_dir()), version_base="1.3", job_name="initlab"):
        return hydra_compose("config", overrides=quoted_formulas(overrides))


def experiment(
    config: DictConfig,
    *,
    name: str | None = None,
    choices: Mapping[str, str] | None = None,
    overrides: Iterable[str] = (),
) -> Experiment:
    """Check a composed configuration and build the typed experiment from it.

    Args:
        config: as composed by Hydra; interpolations are resolved here.
        name: of the run; by default made from what was chosen.
        choices: file chosen in each group.
        overrides: what was typed.

    Raises:
        ConfigError: naming the dotted key, the value and what is accepted.
    """
    tree = settled(_resolve(config), conf_dir() / "activation")
    chosen = {k: v for k, v in (choices or {}).items() if k in _GROUPS and v}
    seed = _typed(
        tree,
        "seed",
        typing.Annotated[int, "seed"],
        lambda v: 0 <= v < 2**63,
        "must be an integer, 0 or greater, below 2^63",
    )
    device = _device(str(tree.get("device", "auto")))
    threads = tree.get("threads")
    if threads is not None:
        threads = _typed(tree, "threads", int, lambda v: 0 < v <= 4096, "must be null or an integer from 1 to 4096")
    check_data(tree)
    # what is recorded, printed and typed again; the settings keep the password
    typed = tuple(map(masked, overrides))
    packages = consent(tree, typed)
    data = _build(tree, "data", packages=packages)
    task = _build(tree, "task", extras={"data": data}, packages=packages)
    resume = tree.get("resume")
    built = {group: _build(tree, group, packages=packages) for group in _GROUPS if group not in ("task", "data")}
    trainer = section(TrainerSettings, tree, "trainer")
    experiment_ = Experiment(
        name=name or _name(tree, chosen),
        seed=seed,
        device=device,
        threads=threads,
        task=task,
        model=built["model"],
        init=built["init"],
        activation=built["activation"],
        optimizer=built["optimizer"],
        lr_schedule=built["lr_schedule"],
        trainer=trainer,
        probes=section(ProbeSettings, tree, "probes"),
        tracking=section(TrackingSettings, tree, "tracking"),
        inspect=section(InspectSettings, tree, "inspect"),
        arm=arm_hash(tree),
        params=flatten(
            {
                k: v
                for k, v in tree.items()
                if k not in ("tracking", "resume", "inspect", "compare", "study", "replicas", "config", "gc")
            }
        )
        | {"task": task.name},
        config_yaml=f"{_TYPED}{json.dumps(typed)}\n{masked(to_yaml(tree))}",
        choices=chosen,
        overrides=typed,
        resume=None if resume is None else str(resume),
    )
    _check_combinations(experiment_, tree)
    return experiment_


def tracking_settings(config: DictConfig) -> TrackingSettings:
    """Only the `tracking` section of a composed configuration, for commands that train nothing."""
    return section(TrackingSettings, _resolve(config), "tracking")


def study_settings(config: DictConfig) -> StudySettings:
    """Only the `study` section of a composed configuration."""
    return section(StudySettings, _resolve(config), "study")


def compare_settings(config: DictConfig) -> CompareSettings:
    """Only the `compare` section of a composed configuration; a study may be named by ``study.name`` too."""
    tree = _resolve(config)
    given = dict(tree.get("compare") or {})
    # one word stands for a list of one
    given |= {k: [v] for k in ("study", "experiments", "baseline", "keys") if isinstance(v := given.get(k), (str, int))}
    named = (tree.get("study") or {}).get("name")
    if not given.get("study") and named is not None:
        given["study"] = [named]
    if isinstance(given.get("study"), list):
        given["study"] = [str(name) for name in given["study"]]
    return section(CompareSettings, {"compare": given}, "compare")


def replicas(config: DictConfig) -> int:
    """How many seeds an arm is trained with: ``replicas``, 1 where it is not given."""
    return _typed(_resolve(config), "replicas", int, lambda v: v > 0, "must be an integer greater than 0")


def data_object(config: DictConfig) -> Any:
    """Only the data set of a composed configuration, for the `data` command."""
    return _build(_resolve(config), "data")


def task_object(config: DictConfig) -> Any:
    """Only the task, with its data set, of a composed configuration."""
    tree = _resolve(config)
    check_data(tree)
    return _build(tree, "task", extras={"data": _build(tree, "data")})


def arm_hash(tree: Mapping[str, Any]) -> str:
    """Twelve hex digits that identify a configuration without its seed (and without where it runs and is watched)."""
    arm = {k: v for k, v in tree.items() if k not in _NOT_OF_THE_ARM and k != "hydra"}
    # where the files lie, and how many processes share the work, change nothing of the result
    for group, key in (("data", "root"), ("trainer", "ddp")):
        if isinstance(arm.get(group), dict):
            arm[group] = {k: v for k, v in arm[group].items() if k != key}
    return hashlib.blake2b(
        json.dumps(with_former_names(arm), sort_keys=True, default=str).encode(), digest_size=6
    ).hexdigest()


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Scalar]:
    """Nested mappings to dotted keys; lists become their JSON text; a group itself is its factory's name."""
    flat: dict[str, Scalar] = {}
    for key, value in tree.items():
        dotted = f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(flatten(cast("Mapping[str, Any]", value), f"{dotted}."))
        elif key == "_target_":
            # the group itself: init = he, model = cnn
            flat[prefix.rstrip(".")] = str(value).rsplit(".", 1)[-1]
        else:
            flat[dotted] = value if isinstance(value, (str, int, float, bool, type(None))) else json.dumps(value)
    return flat


def groups() -> dict[str, list[str]]:
    """The catalogue: each group of `conf/` with the names of its files."""
    return {
        folder.name: sorted(f.stem for f in folder.glob("*.yaml"))
        for folder in sorted(conf_dir().iterdir())
        if folder.is_dir() and folder.name not in _NO_GROUPS
    }


# ------------------------------------------------------------------ pieces
def _build(
    tree: Mapping[str, Any], group: str, extras: Mapping[str, Any] | None = None, packages: Iterable[str] = ()
) -> Any:
    names = sorted(f.stem for f in (conf_dir() / group).glob("*.yaml"))
    return build(tree, group, extras=extras, choices=names, packages=packages)


def _resolve(config: DictConfig) -> dict[str, Any]:
    tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    assert isinstance(tree, dict)
    plain = {str(k): v for k, v in tree.items() if k not in ("hydra", "experiment")}
    for dotted, value in flatten(plain).items():
        if value == "???":
            raise ConfigError(dotted, None, f"must be given: add {dotted}=...")
    return plain


def _typed(tree: Mapping[str, Any], key: str, kind: Any, accepts: Callable[[Any], bool], expected: str) -> Any:
    value = tree.get(key)
    with suppress(ValidationError):
        checked = TypeAdapter(kind).validate_python(value)
        if not isinstance(value, bool) and accepts(checked):
            return checked
    raise ConfigError(key, value, expected)


def _device(name: str) -> str:
    if name in ("auto", "cpu"):
        return name
    import torch

    kind = name.partition(":")[0]
    available = {"cuda": torch.cuda.is_available, "mps": torch.backends.mps.is_available}
    if kind not in available:
        raise ConfigError("device", name, one_of(["auto", "cpu", "cuda", "cuda:N", "mps"], name))
    try:
        index = torch.device(name).index
    except RuntimeError as error:
        raise ConfigError("device", name, "choose from auto, cpu, cuda, cuda:N, mps") from error
    if not available[kind]():
        raise ConfigError("device", name, f"this PyTorch sees no {kind} device; use device=cpu or device=auto")
    if kind == "cuda" and index >= torch.cuda.device_count():
        raise ConfigError("device", name, f"there are {torch.cuda.device_count()} CUDA devices, numbered from 0")
    return name


def _name(tree: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """A readable run name: model-init-activation-seed, by the names of the factories."""
    flat = flatten({g: tree[g] for g in ("data", "model", "init", "activation") if g in tree})
    parts = [str(flat.get(g, choices.get(g, "?"))) for g in ("data", "model", "init", "activation")]
    return "-".join([*parts, f"s{tree.get('seed', 0)}"])


def _check_combinations(experiment_: Experiment, tree: Mapping[str, Any]) -> None:
    trainer = experiment_.trainer
    if trainer.precision == "fp16" and experiment_.device == "cpu":
        raise ConfigError("trainer.precision", "fp16", "needs a GPU; on a CPU use fp32 or bf16")
    if experiment_.resume is not None and not experiment_.tracking.enabled:
        raise ConfigError("resume", experiment_.resume, "needs tracking: tracking=none keeps nothing to resume from")
    if not trainer.checkpoint and trainer.checkpoint_every is not None:
        raise ConfigError("trainer.checkpoint_every", trainer.checkpoint_every, "needs trainer.checkpoint=true")
    del tree


def typed_in(saved: str) -> list[str]:
    """The overrides that gave a saved configuration, without those that say whom its user trusted."""
    first = saved.partition("\n")[0]
    typed: list[str] = json.loads(first.removeprefix(_TYPED)) if first.startswith(_TYPED) else []
    return [o for o in typed if not o.lstrip("+").startswith("config.")]


def resumed(saved: str, config: DictConfig, overrides: Iterable[str]) -> DictConfig:
    """The configuration of a run that goes on: its own, with the values typed beside `resume=` put over it.

    Another file of a group would be another run, so only single values (``trainer.epochs=20``) and the group
    ``tracking`` can be changed.

    Raises:
        ConfigError: for a group override.
    """
    merged = OmegaConf.create(saved)
    assert isinstance(merged, DictConfig)
    merged["resume"] = config.resume
    merged["tracking"] = config.tracking
    # a store may be anybody's: trust is of whoever types now
    merged["config"] = config.get("config") or {}
    for override in overrides:
        key, _, _ = override.lstrip("+").partition("=")
        if key in ("resume", "tracking") or key.startswith(("tracking.", "hydra")):
            continue
        if key in groups() or override.startswith("~"):
            raise ConfigError(
                key, None, "cannot be changed when a run is resumed; start a new run, or change single values"
            )
        OmegaConf.update(merged, key, OmegaConf.select(config, key))
    return merged
