"""Hydra sweeper plugin: runs `-m` as a study. Hydra finds sweepers only in packages below `hydra_plugins`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


class InitlabSweeper(Sweeper):
    """Runs a sweep as a study: see `initlab.study.command`."""

    def __init__(self, params: Mapping[str, Any]) -> None:
        self.params = params
        self.config: DictConfig | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Store the configuration without the swept keys."""
        del hydra_context, task_function
        self.config = config

    def sweep(self, arguments: list[str]) -> Any:
        """Search what `arguments` and `hydra.sweeper.params` span; ends the process with the study's exit code."""
        assert self.config is not None
        # as for a single run: what was typed can be read from there
        HydraConfig.instance().set_config(self.config)
        _start_workers(self.config)
        from initlab.study.command import study_command  # brings torch and optuna

        raise SystemExit(study_command(self.config, arguments, params={k: str(v) for k, v in self.params.items()}))


class InitlabPlugins(SearchPathPlugin):
    """Adds the configuration folders of installed plug-ins to Hydra's search path."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the folder of each plug-in behind initlab's own."""
        from initlab.core.plugins import installed_plugins

        for plugin in installed_plugins():
            search_path.append(provider=f"initlab plug-in {plugin.name}", path=f"file://{plugin.conf}")


def _start_workers(config: DictConfig) -> None:
    """Have the imports of the workers run beside our own; whether they are needed is seen later."""
    from initlab.study.workers.worker_pool import POOL, threads

    workers = config.study.get("workers")
    if isinstance(workers, int) and workers > 0 and config.study.get("engine") == "local":
        cores = os.cpu_count() or 1
        POOL.ensure(min(workers, max(1, cores - 1)), threads=threads(workers))
    else:
        POOL.end_unused()


# a plain mapping: Hydra loads this file in a way that breaks dataclasses
ConfigStore.instance().store(
    group="hydra/sweeper",
    name="initlab",
    node={"_target_": "hydra_plugins.initlab_sweeper.InitlabSweeper", "params": {}},
    provider="initlab",
)
