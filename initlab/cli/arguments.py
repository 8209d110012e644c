"""Commands, their options, and the parser of command-line arguments.

Every option is written ``name=value`` without the name of the command; `--flag` is for the process. An option that is a
key of the configuration becomes an override; the others stay with the command.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from initlab.errors import ConfigError, UnknownNameError, one_of

Group = Literal["run", "look", "study", "team", "upkeep"]
#: flags of Hydra whose value is the next word
WITH_VALUE = frozenset(
    {
        "--cfg",
        "-c",
        "--package",
        "-p",
        "--config-path",
        "-cp",
        "--config-name",
        "-cn",
        "--config-dir",
        "-cd",
        "--experimental-rerun",
    }
)
#: flags that ask for a study
SEARCH = ("-m", "--multirun")


@dataclass(frozen=True, kw_only=True)
class Option:
    """An option of a command.

    Attributes:
        name: as typed before ``=``.
        help: one line; empty where the comment in the section's YAML file says it.
        key: of the configuration that it stands for; empty for an option of the command alone.
        kind: ``value`` as typed; ``names`` a list of names; ``text`` one word, whatever it holds; ``flag`` also as
            ``--name``.
        former: earlier spellings, which still work.
        default: shown in the help, where no file says it.
    """

    name: str
    help: str = ""
    key: str = ""
    kind: Literal["value", "names", "text", "flag"] = "value"
    former: tuple[str, ...] = ()
    default: str = ""


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command of the table.

    Attributes:
        name: as typed; the default command is ``train``.
        help: one line.
        group: under which it is listed.
        target: ``module:function``; called with the configuration and the arguments, or the arguments alone.
        example: a command line that shows it.
        composes: whether Hydra composes a configuration for it.
        options: its own.
        section: group of `conf/` whose keys are its options too.
        accepts: first parts of the configuration keys that it takes; None for all.
        words: the most words without ``=`` that it takes, and what they are.
        details: further lines of its help.
    """

    name: str
    help: str
    group: Group
    target: str
    example: str
    composes: bool = True
    options: tuple[Option, ...] = ()
    section: str = ""
    accepts: tuple[str, ...] | None = None
    words: tuple[int, str] = (0, "")
    details: str = ""


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """What was typed behind a command.

    Attributes:
        words: those without ``=``.
        given: values of the command's own options by name.
        overrides: for Hydra: overrides and its flags.
    """

    words: tuple[str, ...] = ()
    given: Mapping[str, str] = field(default_factory=dict[str, str])
    overrides: tuple[str, ...] = ()


def parse(command: Command, typed: Sequence[str], options: Sequence[Option]) -> Arguments:
    """Sort what was typed into words, the command's own options, and overrides.

    Args:
        command: what is typed behind.
        typed: the arguments.
        options: of the command and of its section.

    Raises:
        ConfigError: a key that the command does not take, or ``-m`` behind a command that trains no study.
        UnknownNameError: one word too many.
    """
    by_name = {spelling: (o, spelling == o.name) for o in options for spelling in (o.name, *o.former)}
    words: list[str] = []
    given: dict[str, str] = {}
    overrides: list[str] = []
    rest = iter(typed)
    for argument in rest:
        if argument.startswith("-"):
            flag = by_name.get(argument.removeprefix("--"))
            if flag is not None and flag[0].kind == "flag":
                given[flag[0].name] = "true"
                continue
            if argument in SEARCH and command.name != "train":
                instead = "; inspect takes 'sweep={init: [he, xavier]}'" if command.name == "inspect" else ""
                raise ConfigError(argument, None, f"trains a study, which {command.name} does not{instead}")
            overrides.append(argument)
            if argument in WITH_VALUE:
                overrides += [next(rest, "")]
            continue
        key, equals, value = argument.partition("=")
        if not equals and key[:1] not in ("+", "~"):
            words.append(argument)
            continue
        found = by_name.get(key.lstrip("+"))
        if found is None:
            _require_accepted(command, key, value, [o.name for o in options])
            overrides.append(argument)
            continue
        option, current = found
        if not current:
            print(f"initlab: {command.name} {key}= is now written {option.name}={value}", file=sys.stderr)
        if option.key:
            overrides.append(_override(option, value))
        else:
            given[option.name] = value.strip("'\"")
    most, meaning = command.words
    if len(words) > most:
        of = f"takes {most} ({meaning})" if most else "takes none"
        raise UnknownNameError(f"{command.name} {' '.join(words)}: {words[most]} is one word too many; it {of}")
    return Arguments(words=tuple(words), given=given, overrides=tuple(overrides))


def flags_last(overrides: Sequence[str]) -> list[str]:
    """The overrides, then Hydra's flags with their values: its parser wants the overrides in one piece.

    Example:
        >>> flags_last(["init=he,xavier", "-m", "seed=1", "--config-dir", "mine", "replicas=3"])
        ['init=he,xavier', 'seed=1', 'replicas=3', '-m', '--config-dir', 'mine']
    """
    plain: list[str] = []
    flags: list[str] = []
    rest = iter(overrides)
    for argument in rest:
        (flags if argument.startswith("-") else plain).append(argument)
        if argument in WITH_VALUE:
            flags += [value] if (value := next(rest, None)) is not None else []
    return [*plain, *flags]


def _require_accepted(command: Command, key: str, value: str, names: Sequence[str]) -> None:
    """Raises ConfigError for a key that neither the command nor the configuration has."""
    plain = key.lstrip("+~")
    if command.accepts is None:
        if not command.section or "." in plain or key != plain:
            return
        from initlab.cli.conf_files import group_names

        known = {*group_names(), "seed", "device", "threads", "resume", "replicas", "config"}
        if plain.partition("@")[0] not in known:
            raise ConfigError(key, value, f"unknown key; {one_of({*known, *names}, key)}")
        return
    if plain.split(".")[0] in command.accepts or plain in command.accepts:
        return
    keys = [a if "." in a else f"{a}.uri" if a == "tracking" else a for a in command.accepts if a != "hydra"]
    raise ConfigError(
        key,
        value or None,
        f"initlab {command.name} takes no such option; {one_of(dict.fromkeys([*names, *keys]), key)}",
    )


def _override(option: Option, value: str) -> str:
    from initlab.config.overrides import quote_list, quote_word

    if option.kind == "names":
        return f"{option.key}={quote_list(value)}"
    return f"{option.key}={quote_word(value) if option.kind == 'text' else value}"
