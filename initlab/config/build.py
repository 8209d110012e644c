"""Builds the typed `Experiment` from a composed configuration; every value is checked against its annotation."""

from __future__ import annotations

import json
import typing
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

from omegaconf import DictConfig
from pydantic import TypeAdapter, ValidationError

from initlab.config.arm import arm_hash, flatten
from initlab.config.compose import groups, resolve
from initlab.config.default_activation import resolve_default_activation
from initlab.config.extra_probes import locate_probes
from initlab.config.instantiate import Adapter, build, section
from initlab.config.own_code import (
    own_initializer,
    own_network,
    refuse_activation,
    refuse_data,
    require_kind,
    takes_data,
)
from initlab.config.own_targets import without_file_keys
from initlab.config.resume import TYPED
from initlab.config.targets import trusted_packages
from initlab.config.task_of_data import check_data
from initlab.config.yaml_text import to_yaml
from initlab.core.plugins import conf_dir
from initlab.core.redact import redact_passwords
from initlab.errors import ConfigError, one_of
from initlab.spec import Experiment, InspectSettings, ProbeSettings, Target, TrackingSettings, TrainerSettings

_GROUPS = ("task", "data", "model", "init", "activation", "optimizer", "lr_schedule")


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
        overrides: as typed.

    Raises:
        ConfigError: naming the dotted key, the value and what is accepted.
    """
    # recorded, printed and reused without passwords; the settings keep the password
    typed = tuple(map(redact_passwords, overrides))
    plain = without_file_keys(resolve(config), typed)
    tree = resolve_default_activation(plain, conf_dir() / "activation")
    chosen = {k: v for k, v in (choices or {}).items() if k in _GROUPS and v}
    seed = checked_value(
        tree,
        "seed",
        typing.Annotated[int, "seed"],
        lambda v: 0 <= v < 2**63,
        "must be an integer, 0 or greater, below 2^63",
    )
    device = _device(str(tree.get("device", "auto")))
    threads = tree.get("threads")
    if threads is not None:
        threads = checked_value(
            tree, "threads", int, lambda v: 0 < v <= 4096, "must be null or an integer from 1 to 4096"
        )
    packages = trusted_packages(tree, typed)
    if not takes_data(tree, packages):
        refuse_data(typed)
        tree, plain = ({k: v for k, v in t.items() if k != "data"} for t in (tree, plain))
    check_data(tree)
    data = {"data": build_group(tree, "data", packages=packages)} if "data" in tree else {}
    task = build_group(tree, "task", extras=data, packages=packages)
    resume = tree.get("resume")
    named = plain.get("activation") == tree.get("activation")
    adapters = {"model": partial(own_network, named=named), "init": own_initializer}
    built = {
        group: build_group(tree, group, packages=packages, adapt=adapters.get(group))
        for group in _GROUPS if group not in ("task", "data")
    }  # fmt: skip
    from initlab.models.own import OwnNetwork  # brings torch, which a study's leader does without

    own_activation = isinstance(built["model"], OwnNetwork) and not built["model"].passes_activation
    if own_activation:
        refuse_activation(tree, built["model"], named=named)
        tree = plain  # the default activation is not used, and is not what is recorded
    trainer = section(TrainerSettings, tree, "trainer")
    probes = section(ProbeSettings, tree, "probes")
    experiment_ = Experiment(
        name=name or _name(tree, chosen),
        seed=seed,
        device=device,
        threads=threads,
        task=task,
        model=built["model"],
        init=built["init"],
        activation=built["activation"],
        optimizer=_at_depth(built["optimizer"], tree),
        lr_schedule=built["lr_schedule"],
        trainer=trainer,
        probes=probes,
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
        | {"task": task.name}
        | ({"activation": "own"} if own_activation else {}),
        config_yaml=f"{TYPED}{json.dumps(typed)}\n{redact_passwords(to_yaml(tree))}",
        choices=chosen,
        overrides=typed,
        resume=None if resume is None else str(resume),
        extra_probes=locate_probes(probes.extra, packages),
    )
    _check_combinations(experiment_, tree)
    return experiment_


# ------------------------------------------------------------------ pieces
def build_group(
    tree: Mapping[str, Any],
    group: str,
    extras: Mapping[str, Any] | None = None,
    packages: Iterable[str] = (),
    adapt: Adapter | None = None,
) -> Any:
    """The object that the group's factory makes (`instantiate.build`), with the files of the group for errors."""
    made = build(tree, group, extras=extras, choices=lambda: groups().get(group, []), packages=packages, adapt=adapt)
    require_kind(group, made, str(tree[group]["_target_"]))
    return made


def checked_value(tree: Mapping[str, Any], key: str, kind: Any, accepts: Callable[[Any], bool], expected: str) -> Any:
    """A single value of `tree`, converted to `kind`.

    Raises:
        ConfigError: it is not of that kind, or `accepts` refuses it.
    """
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


def _has_gpu(device: str) -> bool:
    """Whether a run on `device` is on a GPU; ``auto`` takes one where there is one."""
    if device != "auto":
        return device != "cpu"
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


def _name(tree: Mapping[str, Any], choices: Mapping[str, str]) -> str:
    """A run name: init-activation-model-data-seed, by the names of the factories.

    Init and activation first: MLflow's table cuts names off behind some twenty characters.
    """
    flat = flatten({g: tree[g] for g in ("data", "model", "init", "activation") if g in tree})
    flat.setdefault("data", str((tree.get("task") or {}).get("_target_", "?")).rpartition(".")[2])
    if flat.get("activation") == "default_activation":  # the network has its own
        flat["activation"] = "own"
    parts = [str(flat.get(g, choices.get(g, "?"))) for g in ("init", "activation", "model", "data")]
    return "-".join([*parts, f"s{tree.get('seed', 0)}"])


def _at_depth(optimizer: Any, tree: Mapping[str, Any]) -> Any:
    """The optimiser's factory with the depth of the model, where its rates are divided by a power of that.

    Raises:
        ConfigError: the model has no key `depth`.
    """
    power = (tree.get("optimizer") or {}).get("depth_power")
    if not power:
        return optimizer
    from initlab.train.optimizers import ByDepth  # brings torch

    model = tree.get("model") or {}
    depth = model.get("depth")
    if not isinstance(optimizer, ByDepth) or isinstance(depth, bool) or not isinstance(depth, int):
        name = str(model.get("_target_", "?")).rpartition(".")[2]
        text = f"needs a model with model.depth (mlp, convnet, resnet, gpt, vit), which model={name} has not"
        raise ConfigError("optimizer.depth_power", power, text)
    return replace(optimizer, depth=depth)


def _check_combinations(experiment_: Experiment, tree: Mapping[str, Any]) -> None:
    trainer = experiment_.trainer
    if trainer.precision == "fp16" and not _has_gpu(experiment_.device):
        raise ConfigError("trainer.precision", "fp16", "needs a GPU; on a CPU use fp32 or bf16")
    if experiment_.resume is not None and not experiment_.tracking.enabled:
        raise ConfigError("resume", experiment_.resume, "needs tracking: tracking=none keeps nothing to resume from")
    if not trainer.checkpoint and trainer.checkpoint_every is not None:
        raise ConfigError("trainer.checkpoint_every", trainer.checkpoint_every, "needs trainer.checkpoint=true")
    if trainer.until is not None:
        _check_target(experiment_, trainer.until)
    del tree


def _check_target(experiment_: Experiment, until: str) -> None:
    """Raise ConfigError for a target of `trainer.until` that cannot be read, or whose metric no record has."""
    target, task = Target.parse(until), experiment_.task
    scores = task.scores(1.0, 0.5)
    target.require_metric(
        [f"{part}/{score}" for part in ("train", "val") for score in dict.fromkeys(("loss", *scores))]
    )
    if task.episodes is not None:
        raise ConfigError("trainer.until", until, "a few-shot run is many small ones; leave out data.episodes")
