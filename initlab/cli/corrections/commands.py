"""The first word of a command line where it is no command."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence

from initlab.cli.conf_files import files_of
from initlab.cli.corrections.catalogue import groups, top_keys
from initlab.cli.corrections.keys import full_keys
from initlab.cli.corrections.synonyms import COMMANDS, FILES, plain
from initlab.errors import UnknownNameError

#: a file's name alone: the groups in which it is looked for, and in this order
_GROUPS = ("init", "activation", "model", "data", "optimizer", "task", "experiment", "study", "lr_schedule", "trainer")


def unknown_command(words: Sequence[str], commands: Collection[str]) -> UnknownNameError:
    """The error for a command line whose first word is no command; it says what to type instead."""
    word, following = words[0], words[1] if len(words) > 1 else ""
    known = [c for c in commands if c != "train"]
    lower = word.lower()
    exact = lower in {*groups(), *top_keys(), *COMMANDS} or following.startswith("=")
    near = [] if exact else difflib.get_close_matches(lower, commands, n=1, cutoff=0.75)
    if near:
        typed = " ".join([near[0], *words[1:]]) if near[0] != "train" else " ".join(words[1:]) or "init=he"
        return UnknownNameError(f"{word}: no such command; did you mean {near[0]}? write initlab {typed}")
    value = words[2] if following == "=" and len(words) > 2 else following
    instead = meant_by_word(word, f"={value}" if following == "=" else following)
    if instead:
        return UnknownNameError(f"{word}: no such command; {instead}")
    return UnknownNameError(
        f"{word}: no such command; initlab --help lists them: {', '.join(sorted(known))}; initlab KEY=VALUE trains"
    )


def meant_by_word(word: str, following: str = "", lead: str = "initlab ") -> str:
    """What is to be typed for a word without ``=``; empty where nothing is known.

    Args:
        word: as typed.
        following: the next word.
        lead: what stands before the words of the answer.
    """
    parts = word.split()
    if len(parts) > 1 and (parts[0] in COMMANDS or "=" in word):
        return f"leave the quotes out: initlab {word}"
    if following.startswith("="):
        value = following.removeprefix("=")
        return f"write {lead}{word}={value or 'VALUE'} without spaces"
    key = word.partition(":")[0]
    if ":" in word and (key in groups() or key in top_keys() or "." in key or full_keys(key)):
        value = word.partition(":")[2].strip()
        names = full_keys(key)
        return f"write {lead}{names[0] if names and key not in groups() else key}={value}"
    lower = word.lower().replace("-", "_")
    named = bool(following) and "=" not in following and not following.startswith("-")
    if lower in COMMANDS and not named:
        return f"did you mean {COMMANDS[lower]}?"
    if lower in groups() or lower in top_keys():
        value = following if named else "he" if lower == "init" else "VALUE"
        return f"write {lead}{lower}={value}" + ("" if named else f"; initlab help {lower} lists what there is")
    if lower in COMMANDS:
        return f"did you mean {COMMANDS[lower]}?"
    for group in _GROUPS:
        if group not in groups():
            continue
        same = [name for name in files_of(group) if plain(name) == plain(word)]
        other = next((text for name, text in FILES.get(group, {}).items() if plain(name) == plain(word)), "")
        if same or other:
            return f"write {lead}{f'{group}={same[0]}' if same else other}"
    names = full_keys(lower)
    if names:
        value = following if following and "=" not in following and not following.startswith("-") else "VALUE"
        return f"write {lead}{names[0]}={value}"
    return ""
