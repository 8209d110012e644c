"""Checks the words behind a command, in the order in which a reader would: form, keys, names, values."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from initlab.cli.arguments import SEARCH, WITH_VALUE, Command, Option
from initlab.cli.corrections.catalogue import groups, keys_of_group, top_keys
from initlab.cli.corrections.keys import check_key, check_option
from initlab.cli.corrections.names import check_data_words, correct_names
from initlab.cli.corrections.settings import check_port, check_removals, check_settings, check_uri
from initlab.cli.corrections.words import check_words
from initlab.core.error_line import print_notice

#: in the plan of a study that was begun with files of somebody's own
_FROZEN = re.compile(r'"searchpath":\s*\[\s*"')
#: words with which files that are not of `conf/` may be chosen: Hydra knows them
_ELSEWHERE = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "hydra.searchpath")


def correct(command: Command, typed: Sequence[str], options: Sequence[Option], commands: Collection[str]) -> list[str]:
    """What was typed behind `command`, with upper and lower case put right, which is said on stderr.

    Raises:
        InitlabError: with exit code 2, for what is neither a setting nor an option; it says what to type.
    """
    own = {spelling: o for o in options for spelling in (o.name, *o.former)}
    flags = [o.name for o in options if o.kind == "flag"]
    check_words(
        typed, command=command.name, options=[o.name for o in options], flags=flags, commands=commands,
        takes_words=command.words[0] > 0,
    )  # fmt: skip
    for word in typed:
        key, equals, value = word.partition("=")
        if key.endswith("port") and key in own:
            check_port(key, value)
        if key == "tracking.uri":
            check_uri(value)
        if equals and key not in own and not key.startswith(("-", "+", "~")):
            check_option(command, key, value, [o.name for o in options])
    if command.name == "data":
        check_data_words(typed)
    if command.accepts is not None or command.name in ("schedule", "server", "data", "doctor"):
        return list(typed)
    check_removals(typed)
    multirun = any(w in SEARCH for w in typed)
    elsewhere = any(w.partition("=")[0].lstrip("+") in _ELSEWHERE for w in typed) or (multirun and _has_own_files())
    overrides = _overrides(typed, own)
    lowered = {o: o if elsewhere else _lower_key(o) for o in overrides}
    changed = list(lowered.values())
    with_target = {k.partition(".")[0] for k in (o.partition("=")[0].lstrip("+") for o in changed) if "._target_" in k}
    found: dict[str, str] = {}
    for before, override in lowered.items():
        key, equals, value = override.partition("=")
        name = key.lstrip("+~")
        if not elsewhere and equals and not key.startswith(("+", "~")):
            check_key(name, value, changed, [*with_target])
        found[before] = override if elsewhere else correct_names(
            override, multirun=multirun, command=command.name, overrides=changed
        )  # fmt: skip
    for before, after in found.items():
        if before != after:
            print_notice(f"{before} is read as {after}")
    words = [found.get(w, w) for w in typed]
    for line in check_settings(_overrides(words, own), multirun=multirun, command=command.name):
        print_notice(line)
    return words


def _has_own_files() -> bool:
    """Whether a study of this directory was begun with files of somebody's own: it has copies of them."""
    plans = Path(".initlab", "studies").glob("*/plan.json")
    return any(_FROZEN.search(plan.read_text(encoding="utf-8", errors="replace")) for plan in plans)


def _overrides(typed: Sequence[str], own: Collection[str]) -> list[str]:
    """The words that are overrides of the configuration: no flags, their values, or options of the command."""
    found: list[str] = []
    words = iter(typed)
    for word in words:
        if word in WITH_VALUE:
            next(words, None)
        elif not word.startswith("-") and "=" in word and word.partition("=")[0].lstrip("+") not in own:
            found.append(word)
    return found


def _lower_key(override: str) -> str:
    """The override with its key in lower case, where only that is a key."""
    key, equals, value = override.partition("=")
    lower = key.lower()
    if lower == key:
        return override
    first, _, rest = lower.lstrip("+~").partition(".")
    known = (first in groups() and (not rest or rest.partition(".")[0] in keys_of_group(first))) or lower in top_keys()
    original = key.lstrip("+~").partition(".")[2].partition(".")[0]
    if not known or (rest and original in keys_of_group(first)):
        return override
    return f"{lower}{equals}{value}"
