"""Hands a command line to Hydra: a run, a study, or one of its questions (`--cfg`, `--info`, `--hydra-help`).

As `hydra.main`, with the checks of `hydra_loader` between composing and acting, flags in full only, and errors as they
are raised.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from omegaconf import DictConfig

from initlab.config.hydra_loader import Loader
from initlab.core.error_line import print_error
from initlab.core.plugins import conf_dir
from initlab.errors import ConfigError, UnknownNameError


def run_hydra(arguments: Sequence[str], task: Callable[[DictConfig], Any]) -> int:
    """Compose what `arguments` say and call `task` with it, or print what a flag asks for. Returns the exit code.

    Raises:
        ConfigError: the composed configuration is not allowed.
        UnknownNameError: for an unknown flag.
    """
    from hydra import version
    from hydra._internal.hydra import Hydra
    from hydra.core.global_hydra import GlobalHydra

    parser = _parser()
    asked = parser.parse_args(list(arguments))
    if asked.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun", None, "unpickles a file; resume=RUN_ID continues a run")
    modes = [bool(asked.run), bool(asked.multirun), asked.cfg is not None, asked.info is not None]
    if sum(modes) > 1:
        raise ConfigError("--cfg", None, "only one of --run, --multirun, --cfg and --info can be given")
    if asked.resolve and asked.cfg is None:
        raise ConfigError("--resolve", None, "goes with --cfg")
    version.setbase("1.3")
    loader = Loader(
        main=Path(asked.config_path).absolute() if asked.config_path else conf_dir(),
        config_dir=Path(asked.config_dir) if asked.config_dir else None,
        refuse=asked.cfg is None,
    )
    name = asked.config_name or "config"
    hydra = Hydra(task_name="initlab", config_loader=loader)
    GlobalHydra.instance().initialize(hydra)
    try:
        if asked.hydra_help:
            hydra.hydra_help(config_name=name, args_parser=parser, args=asked)
        elif asked.cfg is not None:
            return _show(hydra, loader, name, asked)
        elif asked.info is not None:
            hydra.show_info(asked.info, config_name=name, overrides=asked.overrides)
        elif _trains_several(hydra, name, asked):
            hydra.multirun(config_name=name, task_function=task, overrides=[*asked.overrides, "hydra.mode=MULTIRUN"])
        else:
            hydra.run(config_name=name, task_function=task, overrides=[*asked.overrides, "hydra.mode=RUN"])
    finally:
        GlobalHydra.instance().clear()
    return 0


# ------------------------------------------------------------------ pieces
class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UnknownNameError(f"{message}; flags are written in full, initlab --hydra-help lists them")


def _parser() -> argparse.ArgumentParser:
    """Hydra's parser, without abbreviations: `--config-di` would be a folder that nobody looked at."""
    from hydra._internal.utils import get_args_parser

    parser = get_args_parser()
    parser.allow_abbrev = False
    parser.__class__ = _Parser
    return parser


def _trains_several(hydra: Any, name: str, asked: Any) -> bool:
    """Whether the command is a study: by ``-m``, or because the configuration that it chooses sets ``hydra.mode``."""
    from hydra.types import RunMode

    if asked.multirun or asked.run:
        return bool(asked.multirun)
    plain = asked.config_name is asked.config_dir is asked.config_path is None
    if plain and not any(o.lstrip("+").startswith(("experiment", "hydra.mode")) for o in asked.overrides):
        return False  # nothing else of initlab's sets it, and to compose takes 0.1 s
    return hydra.get_mode(config_name=name, overrides=asked.overrides) == RunMode.MULTIRUN


def _show(hydra: Any, loader: Loader, name: str, asked: Any) -> int:
    """Print the configuration, and what of it a run would refuse."""
    hydra.show_cfg(
        config_name=name, overrides=asked.overrides, cfg_type=asked.cfg, package=asked.package, resolve=asked.resolve
    )
    return max((print_error(error, error.exit_code) for error in loader.refused), default=0)
