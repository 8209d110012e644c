"""Help: the commands in groups, a command's options, the files of a configuration group, and the keys of a file."""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from initlab.cli.arguments import Command, Option
from initlab.cli.conf_files import Entry, files_of, find_file, group_names, read_conf_file
from initlab.core.plugins import installed_plugins
from initlab.errors import UnknownNameError, one_of

_ABOUT = (
    "initlab trains a network, watches every layer, and shows which initialisation and activation suit it, and why."
)
_USAGE = "python -m initlab [COMMAND] [GROUP=FILE ...] [KEY=VALUE ...]        (or just: initlab ...)"
_TITLES = {
    "run": "Run",
    "look": "Look before and after",
    "study": "Study: many runs, compared",
    "team": "Team",
    "upkeep": "Upkeep",
}
_FOOTER = """\
initlab COMMAND --help     options and an example     initlab help GROUP      the files of a group
initlab help init=lsuv     the keys of a file         initlab --cfg job       the configuration as composed
eval "$(initlab --shell-completion install=bash)"     completion, also for zsh and fish
Exit codes: 0 fine, 1 a run failed or diverged, 2 bad input. INITLAB_DEBUG=1 shows tracebacks."""


def print_help(words: Sequence[str], commands: Mapping[str, Command]) -> int:
    """Print the overview, or the help on the command, group or file that is named. Returns the exit code.

    Raises:
        UnknownNameError: for a name that is none of them.
    """
    named = [w for w in words if not w.startswith("-")]
    if len(named) > 1:
        both = f"{named[0]}={named[1]}" if named[0] in group_names() else named[0]
        raise UnknownNameError(f"help {' '.join(named)}: takes one name; write initlab help {both}")
    if not named:
        print(overview(commands.values()))
    elif named[0] in commands and named[0] != "help":
        print(command_help(commands[named[0]]))
    else:
        print(help_on(named[0], commands))
    return 0


def options_of(command: Command) -> tuple[Option, ...]:
    """The options of a command: its own, and the keys of its section of `conf/`, with the comments there as help."""
    if not command.section:
        return command.options
    own = {o.key: o for o in command.options}
    found: list[Option] = []
    for entry in read_conf_file(find_file(command.section, "default")).entries:
        key = f"{command.section}.{entry.key}"
        option = own.get(key) or Option(name=entry.key, key=key, former=(key,))
        found.append(replace(option, help=option.help or entry.comment, default=option.default or entry.default))
    keys = {o.key for o in found}
    return (*found, *(o for o in command.options if o.key not in keys))


def overview(commands: Iterable[Command]) -> str:
    """All commands in groups, the configuration groups, and the installed plug-ins, on one screen."""
    lines = [_ABOUT, "", f"Usage: {_USAGE}"]
    listed = list(commands)
    for group, title in _TITLES.items():
        lines += ["", f"{title}:"]
        lines += [f"  {c.name:<11}{c.help}" for c in listed if c.group == group]
    lines += ["", *_wrapped(f"Groups: {', '.join(group_names())}", indent=8)]
    for plugin in installed_plugins():
        files = ", ".join(f"{g}={n}" for g, n in plugin.files())
        lines += _wrapped(f"Plug-in {plugin.name} {plugin.version}: {files}", indent=8)
    return "\n".join([*lines, "", _FOOTER])


def command_help(command: Command) -> str:
    """Usage, options with their defaults, and an example of one command."""
    options = options_of(command)
    words = f" [{command.words[1]}]" if command.words[0] else ""
    keys = " [OPTION=VALUE ...]" if options else ""
    more = " [GROUP=FILE ...] [KEY=VALUE ...]" if command.composes and command.accepts is None else ""
    name = "" if command.name == "train" else f" {command.name}"
    usage = f"Usage: python -m initlab{name}{words}{keys}{more}"
    lines = [*_wrapped(f"initlab {command.name}: {command.help}"), "", usage]
    if command.details:
        lines += ["", *(line for part in command.details.split("\n") for line in (_wrapped(part) or [""]))]
    if options:
        lines += ["", "Options:"]
        width = max(len(o.name) for o in options) + 2
        for option in options:
            text = option.help + (f" (default: {option.default})" if option.default else "")
            lines += _wrapped(f"  {option.name + '=':<{width}} {text}", indent=width + 3)
    if command.composes and command.accepts is None:
        groups = f"Groups (GROUP=FILE; initlab help GROUP lists the files): {', '.join(group_names())}"
        lines += ["", *_wrapped(groups, indent=8)]
    elif command.accepts:
        keys = ", ".join(f"{a}.uri=..." if a == "tracking" else f"{a}=..." for a in command.accepts if a != "hydra")
        lines += ["", f"It also takes: {keys}"]
    return "\n".join([*lines, "", "Example:", f"  {command.example}"])


def help_on(word: str, commands: Mapping[str, Command]) -> str:
    """The help on a group (``init``) or a file (``init=lsuv``).

    Raises:
        UnknownNameError: for what is neither, naming the commands and groups.
    """
    group, equals, name = word.partition("=")
    if equals:
        return _file_help(group, name)
    if group in group_names():
        return _group_help(group)
    raise UnknownNameError(f"help {word}: no such command or group; {one_of({*commands, *group_names()}, word)}")


def _group_help(group: str) -> str:
    files = files_of(group)
    width = max(map(len, files)) + 2
    lines = [f"{group}: choose a file with {group}=NAME; initlab help {group}=NAME shows its keys", ""]
    for name in sorted(files):
        about = _what_it_shows(read_conf_file(files[name]).about)
        lines.append(textwrap.shorten(f"{name:<{width}}", width) if not about else _cut(f"{name:<{width}}{about}"))
    return "\n".join(lines)


def _what_it_shows(about: str) -> str:
    """Of an experiment's first comment what it claims; any other comment as it is."""
    claim = re.search(r"claim: +(.+?)(?: result: |$)", about)
    return claim[1] if claim is not None else about.removeprefix("@package _global_").strip()


def _file_help(group: str, name: str) -> str:
    file = read_conf_file(find_file(group, name))
    lines = [f"{group}={name}", *_wrapped(file.about.removeprefix("@package _global_").strip())]
    if file.target:
        lines += ["", f"Factory: {file.target}"]
    if file.entries:
        lines += ["", "Keys:"]
        width = max(len(e.key) for e in file.entries) + len(group) + 2
        for entry in file.entries:
            key = entry.key if group == "experiment" else f"{group}.{entry.key}"
            comment = f"   {entry.comment}" if entry.comment else ""
            lines += _wrapped(f"  {key:<{width}} {entry.default}{comment}", indent=width + 3)
    if group == "experiment" and name.startswith("papers/"):
        return "\n".join([*lines, "", f"Example: python -m initlab papers {name.removeprefix('papers/')}"])
    return "\n".join([*lines, "", f"Example: python -m initlab {group}={name}{_first_key(group, file.entries)}"])


def _first_key(group: str, entries: Sequence[Entry]) -> str:
    for entry in entries:
        if entry.default and entry.default[0] not in "[{$'\"" and group != "experiment":
            return f" {group}.{entry.key}={entry.default}"
    return ""


def _width() -> int:
    return min(118, shutil.get_terminal_size((118, 24)).columns)


def _cut(line: str) -> str:
    width = _width()
    return line if len(line) <= width else f"{line[: width - 1].rstrip()}…"


def _wrapped(text: str, indent: int = 0) -> list[str]:
    return textwrap.wrap(
        text,
        _width(),
        subsequent_indent=" " * indent,
        drop_whitespace=True,
        replace_whitespace=False,
        break_on_hyphens=False,
        break_long_words=False,
    )
