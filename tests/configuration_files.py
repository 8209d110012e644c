"""Configuration files are parsed once in a process of the tests, and again where a file has changed.

Parsing the same thirty files takes half of the time of a composition, of which the tests make thousands.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any


def keep_files() -> None:
    """Let Hydra's sources of files return a copy of what they returned for the same content."""
    from hydra._internal.core_plugins.file_config_source import FileConfigSource
    from hydra._internal.core_plugins.importlib_resources_config_source import ImportlibResourcesConfigSource
    from hydra._internal.sources_registry import SourcesRegistry
    from hydra.core.plugins import Plugins

    Plugins.instance()
    for source in (FileConfigSource, ImportlibResourcesConfigSource):
        SourcesRegistry.instance().types[source.scheme()] = _keeping(source)


def _keeping(source: Any) -> Any:
    read: dict[tuple[object, ...], bytes] = {}

    def load_config(self: Any, config_path: str) -> Any:
        key: tuple[object, ...] = (self.provider, self.path, config_path)
        if source.scheme() == "file":
            try:
                state = (Path(self.path) / source._normalize_file_name(config_path)).stat()
            except OSError:
                return source.load_config(self, config_path)
            key += (state.st_ino, state.st_size, state.st_mtime_ns)
        if key not in read:
            read[key] = pickle.dumps(source.load_config(self, config_path))
        return pickle.loads(read[key])

    return type(source.__name__, (source,), {"load_config": load_config})
