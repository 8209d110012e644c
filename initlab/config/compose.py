"""Composes a configuration from `conf/` and overrides, as the command line does. Hydra stops here.

The registry is the directory listing: a file `conf/init/he.yaml` names a factory in `_target_`, and its other keys are
the factory's keyword arguments. The factory's type annotations are the schema: `model.depth=0` is refused because
`depth` is annotated `PositiveInt`. Nothing else in initlab instantiates from text.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from initlab.config.arm import flatten
from initlab.config.environment import restrict_env_resolver
from initlab.config.hydra_compose import compose_values, compose_with_hydra
from initlab.config.overrides import quote_formulas
from initlab.config.own_targets import allow_new_keys
from initlab.config.searchpath import folders_of, typed_searchpath
from initlab.core.plugins import conf_dir, conf_dirs
from initlab.core.redact import has_password, redact_passwords
from initlab.errors import ConfigError

#: keys whose URL may have a password
_ADDRESSES = ("tracking.uri", "study.storage", "study.ray_address")
#: folders beside the groups, whose files are no part of a configuration
_NO_GROUPS = ("schedule",)

# before anything is composed: values are also read where nothing else is resolved
restrict_env_resolver()


def compose(overrides: list[str], *, folder: Path | None = None, searchpath: Sequence[str] | None = None) -> DictConfig:
    """Compose a configuration as the command line does, for use from Python and tests. One process, one thread.

    Args:
        overrides: as typed.
        folder: of the configuration files; None is `conf_dir`.
        searchpath: places of further files, see `searchpath.py`; None takes those of the command line.

    Raises:
        ConfigError: for an unknown group, file, or key; names the valid ones.
    """
    places = typed_searchpath() if searchpath is None else searchpath
    conf, typed, added = folder or conf_dir(), quote_formulas(allow_new_keys(overrides)), folders_of(places)
    if len(added) == len(places):
        composed = compose_values(typed, conf, places, [conf, *conf_dirs()[1:], *added])
        if composed is not None:
            return composed
    return compose_with_hydra(typed, conf, places)


def groups() -> dict[str, list[str]]:
    """The catalogue: each group of `conf/`, of installed plug-ins and of the command line's folders, with its files."""
    found: dict[str, set[str]] = {}
    for conf in (*conf_dirs(), *folders_of(typed_searchpath())):
        for folder in (f for f in conf.iterdir() if f.is_dir() and f.name not in _NO_GROUPS):
            names = (f.relative_to(folder).with_suffix("").as_posix() for f in folder.rglob("*.yaml"))
            found.setdefault(folder.name, set()).update(names)
    return {name: sorted(files) for name, files in sorted(found.items()) if files}


def resolve(config: DictConfig) -> dict[str, Any]:
    """The composed configuration as plain data, interpolations resolved.

    Raises:
        ConfigError: a mandatory value (`???`) is missing.
    """
    tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    assert isinstance(tree, dict)
    plain = {str(k): v for k, v in tree.items() if k not in ("hydra", "experiment", "claim")}
    for dotted, value in flatten(plain).items():
        if value == "???":
            raise ConfigError(dotted, None, f"must be given: add {dotted}=...")
        if dotted not in _ADDRESSES and isinstance(value, str) and has_password(value):
            raise ConfigError(
                dotted, redact_passwords(value), "holds a password: names, tags, parameters and paths are stored with"
                f" the run; only {', '.join(_ADDRESSES)} may have one"
            )  # fmt: skip
    return plain
