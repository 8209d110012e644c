"""Reads schedules from a folder of YAML files, one schedule a file; checks every key before anything runs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import yaml
from annotated_types import Gt

from initlab.config.instantiate import section
from initlab.errors import ConfigError, UnknownNameError, one_of
from initlab.operations.schedule.cron import Rule, parse_rule

#: folder of schedules below the working directory
FOLDER = Path("conf") / "schedule"
CatchUp = Literal["none", "latest", "all"]
Overlap = Literal["skip", "queue", "cancel_previous"]
Event = Literal["finished", "failed", "regression"]
#: maximum size of a file in bytes; a schedule has a dozen lines
_LARGEST = 64 * 1024
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,47}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: keys that the scheduler sets itself: the name of the study is made of the schedule's name and the time
_OURS = ("study.name", "resume", "hydra", "hydra.run", "hydra.sweep")
_OWN_FILES = "write the keys of your experiment here, or install its files as a plug-in (docs/plugins.md)"
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """One file of the folder; conf/schedule/nightly.yaml explains each key.

    Attributes:
        run: overrides of the study, as they would be typed behind ``-m``.
        time_limit: seconds, all attempts at a firing together.
        keep: number of firings whose logs and study folders stay; None for all.
    """

    name: str
    cron: str
    timezone: str = "UTC"
    run: tuple[str, ...]
    enabled: bool = True
    catch_up: CatchUp = "latest"
    overlap: Overlap = "skip"
    time_limit: Annotated[float, Gt(0)] | None = None
    keep: Annotated[int, Gt(0)] | None = None
    webhook: str | None = field(default=None, repr=False)
    webhook_env: str | None = None
    notify: tuple[Event, ...] = ("failed", "regression")
    file: Path = Path()

    @property
    def rule(self) -> Rule:
        """The cron rule of the schedule."""
        return Rule(" ".join(self.cron.split()), self.timezone)


def read_schedules(folder: Path) -> tuple[Schedule, ...]:
    """The schedules of `folder`, by name.

    Raises:
        ConfigError: the first error, with file, key, value and what is accepted.
    """
    if not folder.is_dir():
        raise ConfigError("schedule.folder", folder, "no such folder; put schedules there, a YAML file each")
    files = sorted(f for f in folder.iterdir() if f.suffix in (".yaml", ".yml"))
    if not files:
        raise ConfigError("schedule.folder", folder, "holds no schedule (*.yaml)")
    found: dict[str, Schedule] = {}
    for file in files:
        made = _read(file)
        if (other := found.get(made.name)) is not None:
            raise ConfigError(
                f"{file.name}: name", made.name, f"is the name of {other.file.name} too; give each its own"
            )
        found[made.name] = made
    return tuple(found[name] for name in sorted(found))


def find_schedule(schedules: tuple[Schedule, ...], name: str) -> Schedule:
    """The schedule of that name.

    Raises:
        UnknownNameError: lists the names that exist.
    """
    for schedule in schedules:
        if schedule.name == name:
            return schedule
    raise UnknownNameError(f"schedule {name}: no such schedule; {one_of([s.name for s in schedules], name)}")


# ------------------------------------------------------------------ one file
def _read(file: Path) -> Schedule:
    tree = _load_yaml(file)
    tree.setdefault("name", file.stem)
    listed = {key: [tree[key]] for key in ("run", "notify") if isinstance(tree.get(key), str)}
    try:
        made = section(Schedule, {"": {**tree, **listed, "file": file}}, "")
        _check(made)
    except ConfigError as error:
        raise ConfigError(f"{file.name}: {error.key.lstrip('.')}", _shown(error), error.expected) from error
    return made


def _shown(error: ConfigError) -> object:
    # the address of a webhook is secret
    return "***" if error.key.lstrip(".") == "webhook" else error.value


class _Plain(yaml.SafeLoader):
    """YAML without aliases, since a few lines of them can expand beyond memory, and without duplicate keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*NAME) are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(k, deep=True) for k, _ in node.value]
        twice = next((k for i, k in enumerate(keys) if k in keys[:i]), None)
        if twice is not None:
            raise yaml.YAMLError(f"the key {twice} appears twice")
        return super().construct_mapping(node, deep)


def _load_yaml(file: Path) -> dict[str, Any]:
    try:
        size = file.stat().st_size
        if size > _LARGEST:
            raise ConfigError(file.name, f"{size} bytes", f"a schedule has no more than {_LARGEST}")
        # the loader is a restricted SafeLoader
        content = yaml.load(file.read_text(encoding="utf-8"), Loader=_Plain)
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise ConfigError(file.name, None, f"cannot be read as YAML ({reason})") from error
    if not isinstance(content, Mapping) or not all(isinstance(k, str) for k in cast("Mapping[Any, Any]", content)):
        raise ConfigError(file.name, None, "must be KEY: VALUE lines, such as cron: '0 2 * * *'")
    return dict(cast("Mapping[str, Any]", content))


def _check(made: Schedule) -> None:
    """Checks beyond the type annotations."""
    if not _NAME.fullmatch(made.name):
        raise ConfigError("name", made.name, "must be letters, digits, '-' and '_', 48 at most")
    parse_rule(made.cron, made.timezone)
    if not made.run:
        raise ConfigError("run", None, "must list overrides that sweep something, such as ['init=he,xavier']")
    for override in made.run:
        key, equals, _ = override.partition("=")
        bare = key.lstrip("+~")
        if bare in _OURS or bare.startswith(("hydra.", "hydra/", "hydra@")):
            own = f"; {_OWN_FILES}" if bare == "hydra.searchpath" else ""
            raise ConfigError("run", override, f"{bare} cannot be set by a schedule{own}")
        if key in ("--config-dir", "-cd"):
            raise ConfigError("run", override, f"{key} cannot be set by a schedule; {_OWN_FILES}")
        if key.startswith("-") or (not equals and not key.startswith("~")):
            raise ConfigError(
                "run", override, "must be overrides, KEY=VALUE; one that holds a comma takes quotes: 'init=he,xavier'"
            )
        if _CONTROL.search(override):
            raise ConfigError("run", repr(override), "contains control characters")
    if made.webhook is not None and made.webhook_env is not None:
        raise ConfigError("webhook_env", made.webhook_env, "give either webhook or webhook_env")
    if made.webhook_env is not None and not _VARIABLE.fullmatch(made.webhook_env):
        raise ConfigError("webhook_env", made.webhook_env, "must be the name of an environment variable")
    if made.webhook is not None:
        from initlab.operations.schedule.webhook import check_url

        check_url(made.webhook)
