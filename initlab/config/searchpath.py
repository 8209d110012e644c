"""The folders and packages that a command line adds to the configuration: `--config-dir`, `hydra.searchpath`.

A place is written as Hydra does: ``file:///home/me/conf`` or ``pkg://mylab.conf``.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from initlab.config.overrides import quote_word
from initlab.core.plugins import conf_dir
from initlab.errors import ConfigError

_FILE, _PACKAGE = "file://", "pkg://"
_COMMAND_LINE = ("command-line", "hydra.searchpath in command-line")


def typed_searchpath() -> tuple[str, ...]:
    """The places that this process's command line added, in the order in which they are searched."""
    found: list[str] = []
    for source in _sources():
        if source.provider in _COMMAND_LINE:
            path = source.path if source.schema == "pkg" else str(Path(source.path).expanduser().absolute())
            found.append(f"{source.schema}://{path}")
    return tuple(found)


def require_usual_main() -> None:
    """Raises ConfigError where `--config-path` or `--config-name` chose another main configuration than initlab's."""
    main = next((str(s.path) for s in _sources() if s.provider == "main"), None)
    if main is not None and Path(main) != conf_dir():
        raise ConfigError("--config-path", main, "is not for studies; files of your own go to --config-dir=DIR")
    name = _hydra().job.config_name if _sources() else "config"
    if name not in ("config", None):
        raise ConfigError("--config-name", name, "is not for studies; write an experiment: experiment=NAME")


def as_override(searchpath: Iterable[str]) -> str:
    """The override that adds these places."""
    return f"hydra.searchpath=[{','.join(map(quote_word, searchpath))}]"


def folders_of(searchpath: Iterable[str]) -> list[Path]:
    """The places as folders; a package that is not installed is left out."""
    found: list[Path] = []
    for place in searchpath:
        if place.startswith(_FILE):
            found.append(Path(place.removeprefix(_FILE)))
        elif place.startswith(_PACKAGE):
            try:
                spec = find_spec(place.removeprefix(_PACKAGE).replace("/", "."))
            except ModuleNotFoundError:
                spec = None
            found += [Path(f) for f in (spec.submodule_search_locations or ())] if spec is not None else []
    return [f for f in found if f.is_dir()]


def packages_of(searchpath: Iterable[str]) -> list[str]:
    """The packages among the places, which the user trusts by naming them."""
    names = (p.removeprefix(_PACKAGE) for p in searchpath if p.startswith(_PACKAGE))
    return sorted({n.replace("/", ".").partition(".")[0] for n in names})


def files_of(folder: Path) -> list[Path]:
    """The configuration files below `folder`, sorted."""
    return sorted(f for pattern in ("*.yaml", "*.yml") for f in folder.rglob(pattern) if f.is_file())


def digest_of(folder: Path) -> str:
    """A hash of the configuration files below `folder`, their names and contents."""
    sha = hashlib.sha256()
    for file in files_of(folder):
        content = file.read_bytes()
        sha.update(f"{file.relative_to(folder).as_posix()}\0{len(content)}\0".encode("utf-8", "surrogatepass"))
        sha.update(content)
    return sha.hexdigest()


def copy_places(searchpath: Sequence[str], target: Path) -> None:
    """Copy the configuration files of each folder of `searchpath` to `target`, below its number in the path."""
    for number, place in enumerate(searchpath):
        if place.startswith(_FILE):
            home, folder = target / str(number), Path(place.removeprefix(_FILE))
            home.mkdir(parents=True, exist_ok=True)
            for file in files_of(folder):
                copy = home / file.relative_to(folder)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)


def copied_places(searchpath: Sequence[str], target: Path) -> tuple[str, ...]:
    """The search path with the copies that `copy_places` made in place of the folders.

    Raises:
        ConfigError: a copy is missing.
    """
    found: list[str] = []
    for number, place in enumerate(searchpath):
        home = target / str(number)
        if place.startswith(_FILE) and not home.is_dir():
            raise ConfigError("hydra.searchpath", place, f"its copy {home} is missing; start a new study with it")
        found.append(f"{_FILE}{home.absolute()}" if place.startswith(_FILE) else place)
    return tuple(found)


# ------------------------------------------------------------------ pieces
def _hydra() -> Any:
    from hydra.core.hydra_config import HydraConfig

    return HydraConfig.get()


def _sources() -> list[Any]:
    from hydra.core.hydra_config import HydraConfig

    return list(_hydra().runtime.config_sources) if HydraConfig.initialized() else []
