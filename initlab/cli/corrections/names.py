"""Names of files (``init=He``, ``init=kaiming_uniform_``) and devices."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from initlab.cli.conf_files import files_of
from initlab.cli.corrections.catalogue import groups
from initlab.cli.corrections.synonyms import DEVICES, FILES, plain
from initlab.config.overrides import split_at_top_level
from initlab.config.several_values import several_values
from initlab.errors import ConfigError

_DEVICES = ("auto", "cpu", "cuda", "mps")
#: files that are chosen for their contents: none, and `null`
_NO_FILE = ("null", "")


def correct_names(override: str, *, multirun: bool, command: str, overrides: Sequence[str]) -> str:
    """`override` with the names of files in their own spelling.

    Raises:
        ConfigError: for a name that no file has, or several without ``-m``; says what to type.
    """
    key, equals, value = override.partition("=")
    name = key.lstrip("+~")
    if not equals or name not in {*groups(), "device"} or value[:1] in ("[", "{", "$"):
        return override
    pieces = split_at_top_level(value)
    if len(pieces) > 1 and not multirun:
        kept = [_meant(name, piece.strip()) for piece in pieces if piece.strip()]
        if len(kept) < len([p for p in pieces if p.strip()]) or "" in kept:
            kept = [p.strip() for p in pieces]
        if pieces[-1] == "":
            return override  # `init=he, xavier`: answered with the next word
        if kept != pieces:
            raise several_values(f"{key}={value}", f"{key}={','.join(kept)}", command)
        return override
    _check_one_file(name, pieces, override)
    if any("(" in piece or piece[:1] in ("'", '"') for piece in pieces):
        return override
    found = ",".join(_one(name, piece.strip(), override, overrides) for piece in pieces)
    return f"{key}={found}"


def _check_one_file(group: str, pieces: Sequence[str], override: str) -> None:
    """Raise ConfigError for names that are one file with several values of a key (kaiming_normal,kaiming_uniform)."""
    typed = [_instead(group, piece.strip()).split(" ") for piece in pieces]
    if len(pieces) < 2 or any(len(t) != 2 for t in typed):
        return
    files, keys = {t[0] for t in typed}, {t[1].partition("=")[0] for t in typed}
    if len(files) == len(keys) == 1:
        values = ",".join(t[1].partition("=")[2] for t in typed)
        what = f"is one file with several values of a key; write -m {files.pop()} {keys.pop()}={values}"
        raise ConfigError(group, override.partition("=")[2], what)


def _meant(group: str, name: str) -> str:
    """The file that is meant, or `name` where nothing is known."""
    if name in files_of(group):
        return name
    found = _instead(group, name)
    if found and " " not in found:
        return found.partition("=")[2]
    near = difflib.get_close_matches(name.lower(), files_of(group), n=1)
    return near[0] if near else name


def _one(group: str, name: str, override: str, overrides: Sequence[str]) -> str:
    """The name of the file. Differences of case are put right; others are an error that says what to type."""
    if group == "device":
        return _device(name)
    files = files_of(group)
    if name in files or name in _NO_FILE:
        return name
    if name.lower() in files:
        return name.lower()
    lists = f"initlab help {group} lists all {len(files)}"
    instead = _instead(group, name)
    if instead:
        several = f" (in a study: {_in_study(instead)})" if "," in override and " " in instead else ""
        raise ConfigError(group, name, f"did you mean {instead}?{several} {lists}")
    near = difflib.get_close_matches(name.lower(), files, n=1)
    if near:
        raise ConfigError(group, name, f"did you mean {near[0]}? write {group}={near[0]}; {lists}")
    elsewhere = next((g for g in sorted(groups()) if g != group and name.lower() in files_of(g)), "")
    if elsewhere and group not in ("experiment",):
        raise ConfigError(group, name, f"is a file of {elsewhere}: write {elsewhere}={name.lower()}; {lists}")
    del overrides
    few = ", ".join(sorted(files)) if len(files) <= 12 else f"{', '.join(sorted(files)[:8])}, ..."
    raise ConfigError(group, name, f"no such file; choose from {few}; {lists}")


def _instead(group: str, name: str) -> str:
    """What to type for another library's name of a file; empty where it is not known."""
    wanted = plain(name)
    for file in files_of(group):
        if plain(file) == wanted:
            return f"{group}={file}"
    return next((text for other, text in FILES.get(group, {}).items() if plain(other) == wanted), "")


def _in_study(instead: str) -> str:
    return "-m " + instead


def _device(name: str) -> str:
    lower = name.lower()
    base = lower.partition(":")[0]
    if base in _DEVICES:
        return lower
    if base in DEVICES:
        raise ConfigError(
            "device", name, f"did you mean device={DEVICES[base]}? device=auto takes a GPU if there is one"
        )
    if base.startswith("cuda") and base[4:].isdecimal():
        raise ConfigError("device", name, f"did you mean device=cuda:{base[4:]}?")
    if base.isdecimal():
        raise ConfigError("device", name, f"did you mean device=cuda:{base}? device=auto takes a GPU if there is one")
    near = difflib.get_close_matches(base, _DEVICES, n=1, cutoff=0.75)
    hint = f"did you mean device={near[0]}? " if near else ""
    raise ConfigError("device", name, f"{hint}choose from auto, cpu, cuda, cuda:N, mps")


def check_data_words(words: Sequence[str]) -> None:
    """Raise ConfigError for what stands behind ``initlab data`` and names no data set."""
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in ("data", "name", "dataset"):
            raise ConfigError(key, value, f"is written without {key}=: write initlab data {value}")
        if equals or word.startswith("-"):
            continue
        if word in ("list", "ls", "all", "show"):
            raise ConfigError("data", word, "initlab data lists the data sets; initlab data NAME fetches one")
        files = files_of("data")
        if word not in files:
            instead = _instead("data", word).partition(" ")[0].partition("=")[2]
            near = difflib.get_close_matches(word.lower(), files, n=1)
            meant = instead or (near[0] if near else "")
            hint = f"did you mean {meant}? write initlab data {meant}; " if meant else ""
            raise ConfigError("data", word, f"no such data set; {hint}initlab data lists all {len(files)}")
