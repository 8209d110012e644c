"""Translates errors of Hydra and OmegaConf into one line: key, value, valid options."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from initlab.config.compose import compose, groups
from initlab.config.several_values import explain_several_values
from initlab.errors import ConfigError, InitlabError, one_of


def translate(error: Exception, overrides: Sequence[str], *, command: str = "train") -> InitlabError | None:
    """Translate a composition error into an `InitlabError`; None for any other error.

    Args:
        error: as raised.
        overrides: as typed.
        command: of the command line.
    """
    several = explain_several_values(str(error), overrides, command) if isinstance(error, HydraException) else None
    if several is not None:
        return several
    if isinstance(error, OverrideParseException):
        return ConfigError(
            str(error.override), None, f"cannot be read as an override ({_first(error)}); write KEY=VALUE"
        )
    if isinstance(error, RecursionError):
        return ConfigError(
            "defaults", None, "the list of defaults of a file leads back to that file; leave it out there"
        )
    if isinstance(error, MissingConfigException):
        return _missing_file(error)
    if isinstance(error, (HydraException, OmegaConfBaseException)):
        return _unknown_key(error, overrides)
    return None


def _missing_file(error: MissingConfigException) -> InitlabError:
    missing = str(error.missing_cfg_file or "")
    group, _, name = missing.rpartition("/")
    options = [str(o) for o in (error.options or groups().get(group, []))]
    if group and options:
        return ConfigError(group, name, one_of(options, name))
    return ConfigError(missing or "config", None, _first(error))


def _unknown_key(error: Exception, overrides: Sequence[str]) -> InitlabError:
    text = f"{error} {error.__cause__ or ''}"
    found = re.search(r"Could not override '([^']+)'", text)
    if found is not None:
        key = found.group(1)
        given = next((o for o in overrides if o.lstrip("+~").split("=")[0].split("@")[0] == key), None)
        value = given.split("=", 1)[1] if given and "=" in given else None
        if "@" not in key and "." not in key and key not in groups():
            known = {*groups(), *_top_level()}
            return ConfigError(key, value, f"unknown key; {one_of(known, key)}")
        return ConfigError(key, value, f"unknown key; {_siblings(key, overrides)}")
    found = re.search(r"key '([^']+)'.*?not in struct", text, re.IGNORECASE)
    if found is not None:
        return ConfigError(found.group(1), None, "unknown key")
    return ConfigError("config", None, _first(error))


def _siblings(key: str, overrides: Sequence[str]) -> str:
    """The valid keys on the level of `key`, given the other overrides."""
    parent, _, last = key.rpartition(".")
    rest = [o for o in overrides if o.lstrip("+~").split("=")[0] != key]
    try:
        node = OmegaConf.select(compose(rest), parent)
    except (HydraException, OmegaConfBaseException, InitlabError):
        return "see python -m initlab --cfg job"
    if not isinstance(node, DictConfig):
        return f"{parent} has no keys below it"
    return one_of([str(k) for k in node if k != "_target_"], last)


def _top_level() -> list[str]:
    return [str(k) for k in compose([]) if k != "hydra"]


def _first(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
