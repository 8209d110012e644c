"""Reads the files of a configuration folder of unknown origin: within the folder, of a plausible size, plain YAML."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import yaml
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from initlab.errors import ConfigError

#: maximum size of a file in bytes
_LARGEST = 1 << 20
_DEEPEST, _ALIASES = 64, 50


def folder_source(plain: Any) -> ConfigSource:
    """A source of the folder of `plain`, one of Hydra's file sources, that checks each file as it reads it."""
    # Hydra takes every subclass in a module for a plug-in of its own, and instantiates it
    base: Any = type(plain)

    class FolderSource(base):
        def load_config(self, config_path: str) -> ConfigResult:
            file = Path(self.path, self._normalize_file_name(config_path))
            text = read_text(file, Path(self.path))
            try:
                config = OmegaConf.load(io.StringIO(text))
            except (OSError, ValueError, RecursionError, yaml.YAMLError, OmegaConfBaseException) as error:
                raise _unreadable(config_path, error) from error
            header = self._get_header_dict(text[:512])
            return ConfigResult(config=config, path=f"file://{self.path}", provider=self.provider, header=header)

    return FolderSource(plain.provider, f"file://{plain.path}")


def read_text(file: Path, folder: Path) -> str:
    """The text of a file of `folder`.

    Raises:
        ConfigError: it lies elsewhere, is too large, or is YAML that expands beyond measure.
    """
    name = os.path.relpath(file, folder)
    place, home = file.resolve(), folder.resolve()
    if not place.is_relative_to(home):
        raise ConfigError(name, None, f"leads out of {folder}: only files below that folder are read")
    try:
        if place.stat().st_size > _LARGEST:
            raise ConfigError(name, None, f"is larger than {_LARGEST} bytes: no configuration is")
        text = place.read_text(encoding="utf-8")
        _check_events(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise _unreadable(name, error) from error
    return text


# ------------------------------------------------------------------ pieces
def _check_events(text: str) -> None:
    """Raises ValueError for aliases that expand a few lines to gigabytes, and for deep nesting."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > _DEEPEST or aliases > _ALIASES:
            raise ValueError(f"nested deeper than {_DEEPEST}, or more than {_ALIASES} aliases")


def _unreadable(name: str, error: Exception) -> ConfigError:
    return ConfigError(name, None, f"cannot be read as YAML ({' '.join(str(error).split())[:200]})")
