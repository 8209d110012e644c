"""The probes that `probes.extra` names: dotted names of factories, checked like every `_target_`."""

from __future__ import annotations

import inspect
from collections.abc import Iterable

from initlab.config.targets import locate
from initlab.errors import ConfigError
from initlab.spec import ProbeFactory

KEY = "probes.extra"


def locate_probes(names: Iterable[str], packages: Iterable[str] = ()) -> tuple[ProbeFactory, ...]:
    """The factories of the probes `names`, in order. Each takes no argument that must be given.

    Args:
        names: dotted, such as ``mylab.probes.stable_rank``.
        packages: beside installed plug-ins, those that the user named.

    Raises:
        ConfigError: a name that may not be named, is not there, is named twice, or needs arguments.
    """
    found: dict[str, ProbeFactory] = {}
    for name in names:
        if name in found:
            raise ConfigError(KEY, name, "is named twice")
        factory = locate(name, KEY, packages)
        if name.partition(".")[0] in ("initlab", "torch", "torchvision"):
            raise ConfigError(KEY, name, "is no probe: name a factory of your own package; see docs/plugins.md")
        try:
            inspect.signature(factory).bind()
        except (TypeError, ValueError) as error:
            raise ConfigError(KEY, name, f"must be a factory that is called without arguments ({error})") from error
        found[name] = factory
    return tuple(found.values())
