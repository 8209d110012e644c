"""Which variables of the environment a configuration may read.

`${oc.env:NAME}` puts a variable into the configuration, and the configuration goes into parameters, artifacts and
reports. The environment holds keys and passwords, so that only variables are read that hold none.
"""

from __future__ import annotations

import os
import re

from omegaconf import OmegaConf

from initlab.errors import ConfigError

#: by name, and by what a scheduler of batch jobs or a launcher of processes sets
_NAMES = (
    "HOME",
    "USER",
    "HOSTNAME",
    "PWD",
    "TMPDIR",
    "LANG",
    "CUDA_VISIBLE_DEVICES",
    "RANK",
    "LOCAL_RANK",
    "WORLD_SIZE",
)
_BEGINNINGS = ("INITLAB_", "SLURM_", "OMP_")
_SECRET = re.compile(r"KEY|TOKEN|SECRET|PASS|CREDENTIAL|AUTH|COOKIE|JWT|URL|URI|STORAGE|DSN", re.IGNORECASE)
_MISSING = "???"


def restrict_env_resolver() -> None:
    """Have OmegaConf's `oc.env` read no others."""
    OmegaConf.register_new_resolver("oc.env", _variable, replace=True)


def _variable(name: str, default: str | None = _MISSING) -> str | None:
    if not (name in _NAMES or name.startswith(_BEGINNINGS)) or _SECRET.search(name):
        raise ConfigError(
            f"${{oc.env:{name}}}", None,
            f"may hold a secret, and configurations are kept with runs; {', '.join(_NAMES)} and those that begin with"
            f" {', '.join(_BEGINNINGS)} are read",
        )  # fmt: skip
    value = os.environ.get(name, default)
    if value == _MISSING:
        raise ConfigError(f"${{oc.env:{name}}}", None, "is not set in the environment")
    return value
