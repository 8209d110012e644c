"""Restricts `${oc.env:NAME}`: a configuration may only read environment variables without secrets.

`${oc.env:NAME}` puts a variable into the configuration, and the configuration goes into parameters, artifacts and
reports. The environment contains keys and passwords, so only variables without secrets can be read.
"""

from __future__ import annotations

import os
import re

from omegaconf import OmegaConf

from initlab.errors import ConfigError

#: allowed names, and allowed prefixes of batch systems and process launchers
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
_REFERENCE = re.compile(r"\$\{oc\.env:([^,}]+)(?:,([^}]*))?\}")


def restrict_env_resolver() -> None:
    """Restrict OmegaConf's `oc.env` to the allowed variables."""
    OmegaConf.register_new_resolver("oc.env", _variable, replace=True)


def fill_variables(text: str) -> str:
    """`text` with the values of ``${oc.env:NAME}`` in it, as Hydra reads a place of its search path.

    Raises:
        ConfigError: a variable that may not be read, or is not set.
    """
    return _REFERENCE.sub(lambda found: _variable(found[1], found[2] or _MISSING) or "", text)


def _variable(name: str, default: str | None = _MISSING) -> str | None:
    if not (name in _NAMES or name.startswith(_BEGINNINGS)) or _SECRET.search(name):
        raise ConfigError(
            f"${{oc.env:{name}}}", None,
            f"may hold a secret, and configurations are stored with runs; {', '.join(_NAMES)} and names that begin with"
            f" {', '.join(_BEGINNINGS)} are allowed",
        )  # fmt: skip
    value = os.environ.get(name, default)
    if value == _MISSING:
        raise ConfigError(f"${{oc.env:{name}}}", None, "is not set in the environment")
    return value
