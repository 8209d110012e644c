"""What is typed behind `explain`: which run or study, and whether to try."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from initlab.errors import ConfigError

_EXPECTED = "explain takes run=ID (or run=last), study=NAME, --try, and tracking.uri=..."


@dataclass(frozen=True)
class Asked:
    """What is to be explained; one of the two names is empty."""

    run: str
    study: str
    attempt: bool


def asked_for(arguments: Sequence[str]) -> tuple[Asked, list[str]]:
    """What was asked for, and the overrides that are left for Hydra (`tracking...`, `hydra...`, flags).

    ``run``, ``study`` and ``try`` are names here and no keys of the configuration: a run brings its own.

    Raises:
        ConfigError: for a key that `explain` has no use for, or where neither or both of run and study are given.
    """
    given: dict[str, str] = {}
    rest: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if argument == "--try":
            given["try"] = "true"
        elif equals and key in ("run", "study", "study.name", "try"):
            given[key.removesuffix(".name")] = value.strip("'\"")
        elif equals and key.lstrip("+~").split(".")[0] not in ("tracking", "hydra"):
            raise ConfigError(key, value, f"{_EXPECTED}; a run that is explained keeps its own configuration")
        else:
            rest.append(argument)
    attempt = given.get("try", "false").lower()
    if attempt not in ("true", "false"):
        raise ConfigError("try", attempt, "must be true or false")
    run, study = given.get("run", ""), given.get("study", "")
    flags = any(a.startswith("-") for a in rest)
    if bool(run) == bool(study) and not (flags and not run):
        raise ConfigError("run", run or None, f"name one run or one study: {_EXPECTED}")
    if study and attempt == "true":
        raise ConfigError("try", "true", "tries a remedy of one run; name it: run=ID")
    return Asked(run, study, attempt == "true"), rest
