"""The form of a word: dashes, spaces around ``=``, ``:`` for ``=``, a call for keys."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Sequence

from initlab.cli.arguments import WITH_VALUE
from initlab.cli.conf_files import files_of, find_file, read_conf_file
from initlab.cli.corrections.catalogue import groups, top_keys
from initlab.cli.corrections.commands import meant_by_word
from initlab.cli.corrections.keys import full_keys
from initlab.cli.corrections.synonyms import KEYS
from initlab.config.overrides import HYDRA_FUNCTIONS, split_at_top_level
from initlab.errors import ConfigError, UnknownNameError

#: Hydra's flags, and those of every command
_FLAGS = frozenset(
    {"--help", "-h", "--hydra-help", "--version", "--resolve", "--run", "-r", "--multirun", "-m", "--info", "-i"}
) | WITH_VALUE  # fmt: skip
#: values of flags that take one of a few
_VALUES = {"--cfg": ("job", "hydra", "all"), "-c": ("job", "hydra", "all")}
_CALL = re.compile(r"([A-Za-z_]\w*)\((.*)\)", re.DOTALL)
_KEY_VALUE = re.compile(r"\s(\w[\w.]*)=")


def check_words(
    words: Sequence[str],
    *,
    command: str,
    options: Collection[str],
    flags: Collection[str],
    commands: Collection[str],
    takes_words: bool = False,
) -> None:
    """Raise for a word of a form that nothing takes; the message says what to type.

    Args:
        words: those behind the command.
        command: that they stand behind; ``train`` also where none was typed.
        options: of the command alone.
        flags: options that are also written as ``--name``.
        commands: all commands.
        takes_words: whether the command takes words without ``=``.
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
            _check_setting(word, following, command, commands)
        else:
            before = words[i - 1] if i else ""
            if before.endswith(",") and "=" in before:
                key, _, value = before.partition("=")
                end = next((n for n in range(i, len(words)) if not words[n].endswith(",")), len(words) - 1)
                typed = before + "".join(words[i : end + 1])
                what = f"ends with a comma; write several values without spaces and add -m: -m {typed}"
                raise ConfigError(key, value, what)
            _check_quotes(words, i)
            if not takes_words:
                _check_word(word, following, command, commands, words)
                _check_option(word, following, command, options, flags)


def _check_quotes(words: Sequence[str], at: int) -> None:
    """Raise ConfigError where a space inside brackets has split a setting in two (``sweep={init: [he]}``)."""
    begun = next((n for n in range(at - 1, -1, -1) if "=" in words[n]), None)
    if begun is None:
        return
    for end in range(at, len(words)):
        text = " ".join(words[begun : end + 1])
        if _open(" ".join(words[begun:at])) > 0 and _open(text) == 0:
            raise ConfigError(words[begun], None, f"a space has ended it; put quotes around it: '{text}'")


def _open(text: str) -> int:
    """How many brackets are open at the end of `text`."""
    return sum(c in "([{" for c in text) - sum(c in ")]}" for c in text)


def _check_flag(word: str, following: str, command: str, options: Collection[str], flags: Collection[str]) -> None:
    name, equals, value = word.partition("=")
    if name.startswith("--") and name[2:] in flags:
        return
    if name in _FLAGS and name[2:] not in options and (not equals or name.startswith("--")):
        wanted = _VALUES.get(name)
        if wanted and (value if equals else following) not in wanted:
            raise ConfigError(word, None, f"wants one of {', '.join(wanted)}: write {name} {wanted[0]}")
        return
    key = name.lstrip("-").replace("-", "_") if name.strip("-") else ""
    lead = "initlab " if command == "train" else f"initlab {command} "
    known = [key] if key in options or key.partition(".")[0] in groups() or key in top_keys() else []
    long = [f for f in (*_FLAGS, *(f"--{f}" for f in flags)) if f.startswith("--")]
    near_flag = difflib.get_close_matches("--" + name.lstrip("-"), long, n=1, cutoff=0.75)
    if key == "config" or (near_flag and not equals and not known and key not in KEYS):
        near_flag = near_flag or ["--config-dir"]
        raise UnknownNameError(f"{name}: no such flag; did you mean {near_flag[0]}? initlab --help lists what there is")
    if name in ("-M", "-mr", "--sweep"):
        raise UnknownNameError(f"{name}: no such flag; did you mean -m?")
    if key in ("gpu", "cuda", "cpu") and command in _COMPOSING:
        device = "cpu" if key == "cpu" else "cuda"
        raise ConfigError(word, None, f"settings are written without dashes: write {lead}device={device}")
    meant = known or ([] if command not in _COMPOSING else full_keys(key))
    if not meant and options:
        meant = difflib.get_close_matches(key, options, n=1)
    if meant:
        given = (
            value
            if equals
            else "true"
            if meant[0] == "apply"
            else following
            if following and not following.startswith("-")
            else "VALUE"
        )
        sign = "-m " if meant[0].partition(".")[0] in ("replicas", "study") and command == "train" else ""
        raise ConfigError(word, None, f"settings are written without dashes: write {lead}{sign}{meant[0]}={given}")
    raise UnknownNameError(f"{word}: no such flag; settings are written KEY=VALUE; {lead}--help lists what there is")


#: what a word alone may be for
_MAIN = {
    "compare": "study", "explain": "run", "report": "run", "export": "study", "import": "from", "server": "port",
    "register": "study", "ui": "port", "worker": "study",
}  # fmt: skip


def _check_option(word: str, following: str, command: str, options: Collection[str], flags: Collection[str]) -> None:
    """A word that is the name of an option, or the value of the command's main one."""
    if word in flags:
        raise UnknownNameError(f"{command} {word}: write initlab {command} --{word}")
    if word in options:
        value = "true" if word == "apply" else following if following and "=" not in following else "VALUE"
        raise UnknownNameError(f"{command} {word}: is an option; write initlab {command} {word}={value}")
    main = _MAIN.get(command)
    if main is not None:
        raise UnknownNameError(
            f"{command} {word}: options are written NAME=VALUE; write initlab {command} {main}={word}"
        )


#: commands that take the keys of a run
_COMPOSING = ("train", "inspect", "advise")


def _check_setting(word: str, following: str, command: str, commands: Collection[str]) -> None:
    key, _, value = word.partition("=")
    lead = "" if command == "train" else f"{command} "
    first = key.split()[0] if key.split() else ""
    if first in commands and first != key.strip():
        raise ConfigError(word, None, f"is several words in one pair of quotes; write initlab {word}")
    if not key.strip("+~ "):
        raise ConfigError(word, None, "names no key; settings are written KEY=VALUE")
    if key != key.strip() or (value != value.strip() and value.strip()):
        raise ConfigError(word.strip(), None, f"has spaces around =; write {lead}{key.strip()}={value.strip()}")
    name = key.lstrip("+")
    if value.startswith("=") and not name.startswith("activation.f"):
        raise ConfigError(word, None, f"has = twice; write {lead}{key}={value.lstrip('= ')}")
    if value.endswith(",") and not (following and "=" not in following):
        raise ConfigError(key, value, f"ends with a comma; write {lead}{key}={value.rstrip(',')}")
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
    entries = read_conf_file(find_file(group, name.lower())).entries if known else ()
    first = entries[0].key if entries else ""
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
        told = word if command == "train" else f"{command} {word}"
        raise UnknownNameError(f"{told}: the command comes first, and once: write {what}")
    if following == "=" and len(words) > (at := words.index(word)) + 2:
        raise UnknownNameError(f"{word} =: has spaces around =; write {lead}{word}={words[at + 2]}")
    if command in _COMPOSING:
        instead = meant_by_word(word, following, lead)
        if instead:
            raise UnknownNameError(f"{word}: is no setting; {instead}")
