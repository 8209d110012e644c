"""Composes with Hydra, and compares the result with what initlab allows before anybody acts on it.

Under its own key `hydra` Hydra instantiates objects (callbacks, logging, launcher, sweeper), sets environment variables
and chooses directories. Files in folders given by `--config-dir` or `hydra.searchpath` may do nothing of that. Their
text is not searched for it, because there is always another way to write it: the composed `hydra` node must be the one
that is composed without these folders. A package, `pkg://mylab.conf`, is code that the user installed, and is trusted.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.utils import create_config_search_path
from hydra.core.config_search_path import SearchPathQuery
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict, read_write
from omegaconf.errors import OmegaConfBaseException

from initlab.config.composed_targets import refused_targets
from initlab.config.folder_source import folder_source
from initlab.config.searchpath import as_override
from initlab.core.plugins import conf_dir, conf_dirs
from initlab.errors import ConfigError, InitlabError

#: what differs with every composition, and is read by nobody who acts on it
_FREE = ("overrides", "runtime", "job.override_dirname", "job.config_name", "mode")
#: keys that name a place to write to or somebody to talk to
_PEERS = ("tracking.uri", "study.storage", "study.ray_address")
_ABSENT = object()


class Loader(ConfigLoaderImpl):
    """Hydra's loader, with its results checked.

    Args:
        main: folder of the main configuration; None is `trusted`.
        trusted: initlab's own configuration files, or a study's copy of them; None is `conf_dir`.
        config_dir: a folder of somebody else's files.
        refuse: see below.

    Attributes:
        refuse: whether to raise ConfigError for a result that is not allowed; else the reasons are kept in `refused`,
            and the composed `hydra` node is replaced by the allowed one.
        refused: reasons, of the last composition.
    """

    def __init__(
        self, *, main: Path | None = None, trusted: Path | None = None, config_dir: Path | None = None,
        refuse: bool = True,
    ) -> None:  # fmt: skip
        self._trusted = trusted or conf_dir()
        path = create_config_search_path(str(main or self._trusted))
        if config_dir is not None:
            place = f"file://{config_dir.absolute()}"
            path.prepend(provider="command-line", path=place, anchor=SearchPathQuery(provider="schema"))
        super().__init__(config_search_path=path)
        self.refuse = refuse
        self.refused: list[ConfigError] = []
        self._own = {os.path.realpath(folder) for folder in (*conf_dirs(), self._trusted)}

    def load_configuration(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """The composed configuration.

        Raises:
            ConfigError: a file of a folder configures Hydra, or names what is no factory.
        """
        self.refused, self._folders = [], list[str]()
        try:
            config = super().load_configuration(
                config_name, overrides, run_mode, from_shell=from_shell,
                validate_sweep_overrides=validate_sweep_overrides,
            )  # fmt: skip
        except InitlabError:
            raise
        except (AttributeError, TypeError, KeyError, AssertionError, ValueError) as error:
            if not self._folders:
                raise
            what = " ".join(str(error).split())[:200]
            raise ConfigError("hydra", None, f"{self._where()} cannot be composed ({what})") from error
        if self._folders:
            self._check(config, config_name, overrides)
        return config

    # -------------------------------------------------------------- pieces
    def _process_config_searchpath(self, config_name: str | None, parsed_overrides: list[Any], repo: Any) -> None:
        self._guard(repo)
        primary = repo.load_config(config_path=config_name) if config_name is not None else None
        named = None if primary is None else OmegaConf.select(primary.config, "hydra.searchpath", default=None)
        if named and self._folders and not any(o.get_key_element() == "hydra.searchpath" for o in parsed_overrides):
            raise ConfigError("hydra.searchpath", None, f"{self._where()} may not add to it; type it")
        super()._process_config_searchpath(config_name, parsed_overrides, repo)
        self._guard(repo)

    def _guard(self, repo: Any) -> None:
        """Have the files of folders that are not initlab's, nor a plug-in's, read by `folder_source`."""
        sources: list[Any] = repo.get_sources()
        for number, source in enumerate(sources):
            if source.scheme() == "file" and os.path.realpath(source.path) not in self._own:
                sources[number] = folder_source(source)
                if source.path not in self._folders:
                    self._folders.append(source.path)

    def _where(self) -> str:
        return f"a file of {' or '.join(self._folders)}"

    def _check(self, config: DictConfig, config_name: str | None, overrides: Sequence[str]) -> None:
        typed = OverridesParser.create().parse_overrides(list(overrides))
        keys = {str(o.key_or_group) for o in typed}
        allowed = self._allowed(typed, config_name)
        found = [
            ConfigError(f"hydra.{key}", None, f"{self._where()} sets it: that configures Hydra itself, which is for the"
            " command line")
            for key in (*_differing(_plain(config.hydra), _plain(allowed.hydra)), *_dotted(config))
        ]  # fmt: skip
        if found:
            with read_write(config), open_dict(config):
                config.hydra = allowed.hydra
        found += [
            ConfigError(key, None, f"{self._where()} sets it: records and credentials go there, so type it,"
            f" {key}=..., or leave it out")
            for key in _PEERS if not _is_typed(key, keys) and _value(config, key) not in (None, _value(allowed, key))
        ]  # fmt: skip
        found += refused_targets(config, overrides)
        self.refused = found
        if found and self.refuse:
            raise found[0]

    def _allowed(self, typed: Sequence[Any], config_name: str | None) -> DictConfig:
        """What is composed of initlab's files and those of packages, with what was typed for Hydra and for peers."""
        chosen = [o.input_line or "" for o in typed if o.is_hydra_override() and o.key_or_group != "hydra.searchpath"]
        places = [str(v) for o in typed if o.key_or_group == "hydra.searchpath" for v in _listed(o.value())]
        packages = [p for p in places if p.startswith("pkg://")]
        try:
            config = ConfigLoaderImpl(create_config_search_path(str(self._trusted))).load_configuration(
                "config", [*chosen, as_override(packages)], RunMode.MULTIRUN, validate_sweep_overrides=False
            )
        except (HydraException, OmegaConfBaseException) as error:
            what = next((c for c in chosen if "/" in c.partition("=")[0]), chosen[0] if chosen else "hydra")
            raise ConfigError(what, None, f"{self._where()} may not be chosen for it") from error
        with read_write(config), open_dict(config):
            config.hydra.searchpath = places
        return config


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []


def _is_typed(key: str, keys: set[str]) -> bool:
    """Whether the key, or the file of its group, is on the command line."""
    return key in keys or key.partition(".")[0] in keys


def _value(config: DictConfig, key: str) -> Any:
    try:
        return OmegaConf.select(config, key, default=None)
    except (OmegaConfBaseException, InitlabError):
        return _ABSENT  # an interpolation that cannot be read here


def _dotted(config: DictConfig) -> list[str]:
    """Keys written ``hydra.job.env_set:``, which mean nothing, and were meant for Hydra."""
    return [str(k).partition(".")[2] for k in config if str(k).startswith("hydra.")]


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=False, throw_on_missing=False) if OmegaConf.is_config(node) else node


def _differing(found: Any, allowed: Any, key: str = "") -> Iterator[str]:
    """Dotted keys whose values differ, but for those of `_FREE`."""
    if key in _FREE:
        return
    if isinstance(found, Mapping) and isinstance(allowed, Mapping):
        one, other = cast("Mapping[Any, Any]", found), cast("Mapping[Any, Any]", allowed)
        for name in dict.fromkeys((*one, *other)):
            below = f"{key}.{name}" if key else str(name)
            yield from _differing(one.get(name, _ABSENT), other.get(name, _ABSENT), below)
    elif found is not allowed and (type(found) is not type(allowed) or found != allowed):
        yield key or "hydra"
