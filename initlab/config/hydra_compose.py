"""Composes with Hydra, and without it where only values differ from what was composed before.

Hydra reads and merges some thirty files for a configuration, which takes a tenth of a second. A study, a sweep or a
schedule composes hundreds of configurations that choose the same files.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from initlab.config.searchpath import as_override

#: path, number, size and time of the last change of a file
_File = tuple[str, int, int, int]
#: a folder with more below it is no folder of configuration files alone, and is not gone through
_MOST = 3000


def compose_with_hydra(overrides: Sequence[str], folder: Path, places: Sequence[str]) -> DictConfig:
    """Hydra's result for the configuration files of `folder` and `places`, without the settings of Hydra itself.

    Raises:
        hydra.errors.HydraException, omegaconf.errors.OmegaConfBaseException: as Hydra does.
        ConfigError: a file of a folder does what only initlab's own may (`hydra_loader`).
    """
    from hydra import version
    from hydra._internal.hydra import setup_globals
    from hydra.types import RunMode

    from initlab.config.hydra_loader import Loader

    version.setbase("1.3")
    setup_globals()
    typed = [*overrides, *([as_override(places)] if places else [])]
    config = Loader(trusted=folder).load_configuration("config", typed, RunMode.RUN, from_shell=False)
    with open_dict(config):
        del config["hydra"]
    return config


def compose_values(
    overrides: Sequence[str], folder: Path, places: Sequence[str], searched: Sequence[Path]
) -> DictConfig | None:
    """What `compose_with_hydra` returns, from a copy of what it returned for the same choices of files.

    None where it cannot be made so: something else is typed than choices of files and values of keys that exist, or
    there is an error, which Hydra then tells.

    Args:
        overrides: as for Hydra.
        folder: of the configuration files.
        places: further ones, as in `hydra.searchpath`.
        searched: all folders that files are looked for in.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        files = tuple(islice((f for found in searched for f in _files(os.fspath(found))), _MOST))
        groups = {entry.name for found in searched for entry in os.scandir(found) if entry.is_dir()}
        parsed = OverridesParser.create().parse_overrides(list(overrides))
        chosen = [o for o in parsed if o.key_or_group in groups]
        values = [o for o in parsed if o.key_or_group not in groups]
        if len(files) == _MOST or not all(map(_is_value, values)) or any(isinstance(o.value(), dict) for o in chosen):
            return None
        choices = tuple(o.input_line or "" for o in chosen)
        config = pickle.loads(_compose_files(choices, folder, tuple(places), files))
        for override in values:
            key = override.key_or_group
            if "." not in key and OmegaConf.is_config(config[key]):
                return None
            OmegaConf.update(config, key, override.value(), merge=True, force_add=override.is_force_add())
    except (HydraException, OmegaConfBaseException, OSError):
        return None
    return config


# ------------------------------------------------------------------ pieces
@lru_cache(maxsize=64)
def _compose_files(choices: tuple[str, ...], folder: Path, places: tuple[str, ...], _: tuple[_File, ...]) -> bytes:
    """Pickled: a copy of a configuration takes ten times as long otherwise. The files as they are decide as well."""
    return pickle.dumps(compose_with_hydra(choices, folder, places))


def _is_value(override: Any) -> bool:
    """Whether it sets a key and does nothing else: no sweep, nothing deleted, nothing of Hydra's own."""
    return (
        (override.is_force_add() or not (override.is_add() or override.is_delete()))
        and not override.is_sweep_override()
        and not override.is_hydra_override()
        and override.package is None
    )


def _files(folder: str) -> Iterator[_File]:
    """Everything below `folder`."""
    with os.scandir(folder) as entries:
        for entry in entries:
            state = entry.stat()
            yield entry.path, state.st_ino, state.st_size, state.st_mtime_ns
            if entry.is_dir():
                yield from _files(entry.path)
