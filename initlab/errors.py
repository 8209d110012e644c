"""One root for every error that initlab raises on purpose.

A message names the configuration key, the value that was given and what would have been accepted. The command line
prints it as one line and ends with `exit_code`; a program that calls initlab catches `InitlabError`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InitlabError(Exception):
    """Root of all errors raised on purpose. `exit_code` is what the command line ends with."""

    exit_code = 1


class ConfigError(InitlabError):
    """A value of the configuration that cannot be used.

    Attributes:
        key: dotted key in the configuration, such as ``model.depth``.
        value: what was given.
    """

    exit_code = 2

    def __init__(self, key: str, value: object, expected: str) -> None:
        self.key = key
        self.value = value
        self.expected = expected
        super().__init__(f"{key}={value}: {expected}" if value is not None else f"{key}: {expected}")

    def under(self, prefix: str) -> ConfigError:
        """The same error with its key placed below `prefix` (``depth`` under ``model`` is ``model.depth``)."""
        return ConfigError(f"{prefix}.{self.key}" if prefix else self.key, self.value, self.expected)


class DataError(ConfigError):
    """A data set that is absent, damaged or of the wrong form. The message says which file to put where."""


class UnclaimedParameterError(InitlabError):
    """A parameter that no initialiser claimed: it would have kept the poison it was filled with."""

    exit_code = 2


class UnknownNameError(InitlabError):
    """A name (of a run, a command, an activation) that does not exist; carries the nearest known ones."""

    exit_code = 2


class WorkdirError(InitlabError):
    """The working directory cannot hold what a run has to write."""

    exit_code = 2


class StoreError(InitlabError):
    """The tracking store refused or lost contact; the records stay in the spool."""


class MemoryLimitError(InitlabError):
    """Memory ran out, of the machine, the GPU or a limit; the message says what takes less."""


class RunOverError(InitlabError):
    """A run that is to be resumed has ended already, and its settings let it train no further. Nothing was changed."""

    exit_code = 0


def one_of(options: Iterable[str], given: object = None) -> str:
    """Text for an error: the valid options, and the nearest one where `given` looks like a slip of the keyboard."""
    names = sorted(options)
    near = nearest(names, given)
    choose = f"choose from {', '.join(names)}"
    return f"did you mean {near}? ({choose})" if near else choose


def nearest(names: Iterable[str], given: object) -> str:
    """The name that is most like `given`, whatever its case; empty where none is."""
    known = {name.lower(): name for name in names}
    near = difflib.get_close_matches(str(given).lower(), known, n=1) if given is not None else []
    return known[near[0]] if near else ""
