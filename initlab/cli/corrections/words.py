"""The form of a word: dashes, spaces around ``=``, ``:`` for ``=``, a call for keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from initlab.cli.arguments import WITH_VALUE
from initlab.cli.conf_files import files_of
from initlab.cli.corrections.catalogue import groups, keys_of, top_keys
from initlab.cli.corrections.commands import meant_by_word
from initlab.cli.corrections.keys import full_keys
from initlab.config.overrides import HYDRA_FUNCTIONS, split_at_top_level
from initlab.errors import ConfigError, UnknownNameError

#: Hydra's flags, and those of every command
_FLAGS = frozenset(
    {"--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m", "--info", "-i"}
) | WITH_VALUE  # fmt: skip
_CALL = re.compile(r"([A-Za-z_]\w*)\((.*)\)", re.DOTALL)
_KEY_VALUE = re.compile(r"\s(\w[\w.]*)=")


def check_words(
    words: Sequence[str], *, command: str, options: Collection[str], flags: Collection[str], commands: Collection[str]
) -> None:
    """Raise for a word of a form that nothing takes; the message says what to type.

    Args:
        words: those behind the command.
        command: that they stand behind; ``train`` also where none was typed.
        options: of the command alone.
        flags: options that are also written as ``--name``.
        commands: all commands.
    """
    after_flag = False
    for i, word in enumerate(words):
        following = words[i + 1] if i + 1 < len(words) else ""
        if after_flag:
            after_flag = False
        elif word.startswith("-"):
            _check_flag(word, following, command, options, flags)
            after_flag = word in WITH_VALUE
        elif "=" in word and not word.startswith("="):
            _check_setting(word, following, command)
        else:
            _check_word(word, following, command, commands, words)


def _check_flag(word: str, following: str, command: str, options: Collection[str], flags: Collection[str]) -> None:
    name, equals, value = word.partition("=")
    if name in _FLAGS or (name.startswith("--") and name[2:] in flags):
        return
    key = name.lstrip("-").replace("-", "_") if name.strip("-") else ""
    lead = "initlab " if command == "train" else f"initlab {command} "
    known = [key] if key in options or key.partition(".")[0] in groups() or key in top_keys() else []
    near_flag = difflib.get_close_matches(name, [f for f in (*_FLAGS, *(f"--{f}" for f in flags)) if len(f) > 2], n=1)
    if not known and near_flag and not equals:
        raise UnknownNameError(f"{name}: no such flag; did you mean {near_flag[0]}? initlab --help lists what there is")
    meant = known or ([] if command not in _COMPOSING else full_keys(key))
    if not meant and options:
        meant = difflib.get_close_matches(key, options, n=1)
    if meant:
        given = value if equals else following if following and not following.startswith("-") else "VALUE"
        sign = "-m " if meant[0] == "replicas" else ""
        raise ConfigError(word, None, f"settings are written without dashes: write {lead}{sign}{meant[0]}={given}")
    raise UnknownNameError(f"{word}: no such flag; settings are written KEY=VALUE; {lead}--help lists what there is")


#: commands that take the keys of a run
_COMPOSING = ("train", "inspect", "advise")


def _check_setting(word: str, following: str, command: str) -> None:
    key, _, value = word.partition("=")
    lead = "" if command == "train" else f"{command} "
    if key != key.strip() or (value != value.strip() and value.strip()):
        raise ConfigError(word.strip(), None, f"has spaces around =; write {lead}{key.strip()}={value.strip()}")
    name = key.lstrip("+")
    if value.startswith("=") and not name.startswith("activation.f"):
        raise ConfigError(word, None, f"has = twice; write {lead}{key}={value.lstrip('= ')}")
    if not value and name in groups():
        if following and "=" not in following and not following.startswith("-"):
            raise ConfigError(word, None, f"has spaces around =; write {lead}{key}={following}")
        raise ConfigError(word, None, f"names no file; initlab help {name} lists those of {name}")
    if name in groups():
        _check_file(word, name, value, lead)


def _check_file(word: str, group: str, value: str, lead: str) -> None:
    more = _KEY_VALUE.search(value)
    if more is not None and value[0] not in "'\"[{":
        raise ConfigError(word, None, f"is two settings in one pair of quotes; write {lead}{group}={value}")
    if value.startswith("[") and value.endswith("]") and group != "tracking":
        several = ",".join(v.strip() for v in split_at_top_level(value[1:-1]))
        raise ConfigError(word, None, f"{group} takes one file; to train each of them write -m {group}={several}")
    call = _CALL.fullmatch(value)
    if call is None or call[1] in HYDRA_FUNCTIONS:
        return
    name, arguments = call[1], [a.strip() for a in split_at_top_level(call[2]) if a.strip()]
    known = name.lower() in files_of(group)
    first = next(iter(sorted(keys_of(group, name.lower()))), "") if known else ""
    settings = [f"{group}.{a.replace(' ', '')}" if "=" in a else f"{group}.{first}={a}" for a in arguments]
    typed = " ".join([f"{group}={name.lower()}", *(settings if known else ())])
    raise ConfigError(word, None, f"a file and its keys are written apart: write {lead}{typed}")


def _check_word(word: str, following: str, command: str, commands: Collection[str], words: Sequence[str]) -> None:
    """A word without ``=`` behind a command that takes none; others are its own."""
    if word[:1] in ("+", "~"):
        return
    lead = "initlab " if command == "train" else f"initlab {command} "
    others = " ".join(w for w in words if w != word)
    if word in commands:
        what = f"initlab {word}" + (f" {others}" if others and word != command else "")
        raise UnknownNameError(f"{command} {word}: the command comes first, and once: write {what}")
    if following == "=" and len(words) > (at := words.index(word)) + 2:
        raise UnknownNameError(f"{word} =: has spaces around =; write {lead}{word}={words[at + 2]}")
    if command in _COMPOSING:
        instead = meant_by_word(word, following, lead)
        if instead:
            raise UnknownNameError(f"{word}: is no setting; {instead}")
