"""Installed plug-ins: packages that add initialisers, activations, probes, tasks or models to initlab.

A plug-in names its package under the entry point group ``initlab.plugins`` and keeps its configuration files in a
folder ``conf`` of that package. Installing it is the user's consent: its files are found, its factories may be named.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path

ENTRY_POINTS = "initlab.plugins"


@dataclass(frozen=True, kw_only=True)
class Plugin:
    """A plug-in that is installed.

    Attributes:
        name: of the entry point.
        package: that its factories are in.
        version: of the distribution.
        conf: folder of its configuration files.
    """

    name: str
    package: str
    version: str
    conf: Path

    def files(self) -> Iterator[tuple[str, str]]:
        """Group and name of every configuration file, in order."""
        for file in sorted(self.conf.glob("*/*.yaml")):
            yield file.parent.name, file.stem


@cache
def installed_plugins() -> tuple[Plugin, ...]:
    """The plug-ins of this environment by name; those whose package or `conf` folder is missing are left out."""
    found: list[Plugin] = []
    for entry in sorted(entry_points(group=ENTRY_POINTS), key=lambda e: e.name):
        spec = find_spec(entry.module.partition(".")[0])
        if spec is None or spec.origin is None:
            continue
        conf = Path(spec.origin).parent / "conf"
        if conf.is_dir():
            version = "" if entry.dist is None else entry.dist.version
            found.append(Plugin(name=entry.name, package=spec.name, version=version, conf=conf))
    return tuple(found)


def conf_dir() -> Path:
    """The directory of initlab's configuration files: inside the installed package, or beside it in a checkout."""
    here = Path(__file__).resolve().parent.parent
    packaged = here / "conf"
    return packaged if packaged.is_dir() else here.parent / "conf"


def conf_dirs() -> tuple[Path, ...]:
    """`conf_dir`, and the folders of the installed plug-ins."""
    return (conf_dir(), *(p.conf for p in installed_plugins()))
