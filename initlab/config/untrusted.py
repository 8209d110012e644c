"""Checks configuration folders of unknown origin before Hydra reads them.

Under its own key Hydra instantiates objects (callbacks, logging, sweepers), sets environment variables and chooses
directories, and YAML aliases can expand a few lines to gigabytes. Files in folders given by `hydra.searchpath` or
`--config-dir` may do neither. A package, `pkg://mylab.conf`, is code that the user installed, and is not checked.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from initlab.config.environment import fill_variables
from initlab.core.error_line import print_notice
from initlab.errors import ConfigError

#: maximum size of a file in bytes, and number of files of a folder
_LARGEST, _MOST = 1 << 20, 5_000
_DEEPEST, _ALIASES = 64, 50
_DIRECTORY = ("--config-dir", "-cd")


def check_folders(arguments: Sequence[str]) -> None:
    """Check the folders that `arguments` name.

    Raises:
        ConfigError: naming the file and what is wrong with it.
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
        files = [f for pattern in ("*.yaml", "*.yml") for f in sorted(folder.rglob(pattern))]
        if len(files) > _MOST:
            raise ConfigError(key, folder, f"holds more than {_MOST} files: name the folder of yours")
        for file in files:
            check_file(file, folder)


def check_file(file: Path, folder: Path) -> None:
    """Raises ConfigError where a file configures Hydra itself, or expands by aliases."""
    name = str(file.relative_to(folder))
    try:
        if file.stat().st_size > _LARGEST:
            raise ConfigError(name, None, f"is larger than {_LARGEST} bytes: no configuration is")
        text = file.read_text(encoding="utf-8")
        keys = _keys(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ConfigError(name, None, f"cannot be read as YAML ({' '.join(str(error).split())[:200]})") from error
    package = next((w for w in _packages(text)), "")
    inside = file.relative_to(folder).parts[0] == "hydra" or package.startswith("hydra")
    named = next((k for k in keys if k.partition(".")[0].partition("/")[0].removeprefix("override ") == "hydra"), None)
    if inside or named is not None:
        raise ConfigError(name, named or package or "hydra", "configures Hydra itself: that is for the command line")


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


def _packages(text: str) -> Iterable[str]:
    for line in text.splitlines():
        if line.startswith("#") and "@package" in line:
            yield line.partition("@package")[2].strip()


def _keys(text: str) -> list[str]:
    """Keys of the outermost mapping, and what its list of defaults names; raises ValueError for expanding aliases."""
    depth = aliases = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases += isinstance(event, yaml.AliasEvent)
        if depth > _DEEPEST or aliases > _ALIASES:
            raise ValueError(f"nested deeper than {_DEEPEST}, or more than {_ALIASES} aliases")
    return _outermost(yaml.compose(text, Loader=yaml.SafeLoader))


def _outermost(node: Any) -> list[str]:
    if not isinstance(node, yaml.MappingNode):
        return []
    found: list[str] = []
    for key, value in node.value:
        name = str(key.value)
        found.append(name)
        if name == "defaults" and isinstance(value, yaml.SequenceNode):
            found += [str(k.value) for item in value.value if isinstance(item, yaml.MappingNode) for k, _ in item.value]
            found += [str(item.value) for item in value.value if isinstance(item, yaml.ScalarNode)]
        if name == "<<":  # merged from elsewhere in the file
            found += _outermost(value)
    return found
