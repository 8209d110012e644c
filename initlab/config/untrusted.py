"""Says what is wrong with the folders of a command line before Hydra looks into them.

What their files may do is seen in what is composed from them: `hydra_loader`, `folder_source`, `composed_targets`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from initlab.config.environment import fill_variables
from initlab.core.error_line import print_notice
from initlab.errors import ConfigError

#: most files of a folder: one that holds more is somebody's home
_MOST = 5_000
_DIRECTORY = ("--config-dir", "-cd")


def check_folders(arguments: Sequence[str]) -> None:
    """Check the folders that `arguments` name.

    Raises:
        ConfigError: one is no folder, or holds too many files.
    """
    for key, folder in _folders(arguments):
        if not folder.is_dir():
            raise ConfigError(
                key, folder, "is no folder; give one that holds folders of YAML files, such as experiment/"
            )
        if key in (*_DIRECTORY, "hydra.searchpath") and (folder / "config.yaml").is_file():
            print_notice(
                f"{folder / 'config.yaml'} is not read: initlab has a main configuration of its own; write the settings"
                " as an experiment, experiment/NAME.yaml"
            )
        if len(list(islice(folder.rglob("*.y*ml"), _MOST + 1))) > _MOST:
            raise ConfigError(key, folder, f"holds more than {_MOST} files: name the folder of yours")


# ------------------------------------------------------------------ pieces
def _folders(arguments: Sequence[str]) -> list[tuple[str, Path]]:
    found: list[tuple[str, str]] = []
    for i, argument in enumerate(arguments):
        key, _, value = argument.partition("=")
        if key.lstrip("+") == "hydra.searchpath":
            found += [("hydra.searchpath", w.strip(" '\"")) for w in value.strip(" '\"").strip("[]").split(",")]
        elif key in (*_DIRECTORY, "--config-path", "-cp"):
            found.append((key, value or next(iter(arguments[i + 1 :]), "")))
    named = [(k, fill_variables(f).removeprefix("file://")) for k, f in found if f and not f.startswith("pkg://")]
    return [(k, Path(f).expanduser()) for k, f in named]
