"""Keys: without their group (``lr``), of another group (``trainer.lr``), or of a file that was not chosen."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from initlab.cli.arguments import Command
from initlab.cli.conf_files import files_of
from initlab.cli.corrections.catalogue import (
    chosen_file,
    files_with,
    groups,
    groups_with,
    keys_of,
    keys_of_group,
    listed,
    top_keys,
)
from initlab.cli.corrections.synonyms import KEYS
from initlab.errors import ConfigError

#: groups whose keys are of commands or studies: they have no file to choose for a key
_HELD_BY_COMPOSITION = ("study", "tracking", "probes", "trainer", "compare", "inspect", "gc", "task")


def full_keys(key: str) -> list[str]:
    """Full keys that may be meant by one without its group, the likeliest first.

    Example:
        >>> full_keys("lr"), full_keys("epoch"), full_keys("optim")
        (['optimizer.lr'], ['trainer.epochs'], ['optimizer'])
    """
    name = key.lower().replace("-", "_")
    name = KEYS.get(name, name)
    if name in groups() or name in top_keys() or "." in name:
        return [name]
    found = [f"{group}.{name}" for group in groups_with(name)]
    return found or _near(name)


def _near(name: str) -> list[str]:
    """Keys whose last part is close to `name`."""
    every = {k: g for g in sorted(groups(), reverse=True) if groups_with_keys(g) for k in keys_of_group(g)}
    first = [g for g in groups() if groups_with_keys(g)] + sorted(top_keys())
    near = difflib.get_close_matches(name, first, n=1, cutoff=0.7)
    near = near or difflib.get_close_matches(name, [*every, *KEYS], n=1, cutoff=0.8)
    if not near:
        return []
    word = KEYS.get(near[0], near[0])
    if word in groups() or word in top_keys() or "." in word:
        return [word]
    return [f"{group}.{word}" for group in groups_with(word)]


def groups_with_keys(group: str) -> bool:
    """Whether runs read the keys of `group`."""
    return group not in ("compare", "experiment", "gc", "inspect")


def check_key(key: str, value: str, overrides: Sequence[str], own: Sequence[str]) -> None:
    """Raise ConfigError for a key that no file has, or that the chosen file does not have.

    Args:
        key: as typed, without ``+`` and ``~``.
        value: as typed.
        overrides: all of them, for the files that are chosen.
        own: groups whose factory was typed (``model._target_=``), which may have any key.
    """
    first, _, rest = key.partition(".")
    if first == "hydra" or "@" in key or first in own:
        return
    if not rest:
        if key not in groups() and key not in top_keys():
            raise unknown(key, value, full_keys(key), overrides)
        return
    second = rest.partition(".")[0]
    if first not in groups():
        if first == "config":
            return
        group = KEYS.get(first.lower(), first.lower())
        near = difflib.get_close_matches(group, [g for g in groups() if groups_with_keys(g)], n=1, cutoff=0.7)
        last = KEYS.get(second.lower(), second)
        if near and (last in keys_of_group(near[0]) or not full_keys(second)):
            raise ConfigError(key, value, f"no such group; write {near[0]}.{_spelt(near[0], rest)}={value}")
        raise unknown(key, value, full_keys(second), overrides)
    if second.startswith("_") or first == "experiment":
        return
    if second not in keys_of_group(first):
        elsewhere = [k for k in full_keys(second) if k.partition(".")[0] in groups()]
        here = [k for k in elsewhere if k.startswith(f"{first}.")]
        if here or (elsewhere and not _close(second, first)):
            raise unknown(key, value, here or elsewhere, overrides)
        return
    chosen = chosen_file(first, overrides)
    if first in _HELD_BY_COMPOSITION or chosen is None or second in keys_of(first, chosen):
        return
    having = _usual_first(files_with(first, second), first)
    typed = any(o.startswith(f"{first}=") for o in overrides)
    this = (
        f"{first}={chosen}"
        if typed
        else f"the {first} of this task"
        if first in ("model", "data")
        else f"{first}={chosen}"
    )
    raise ConfigError(
        key, value, f"{this} has no {second}; {listed(f'{first}={n}' for n in having)} {_have(having)}"
        f" it: write {first}={having[0]} {key}={value}"
    )  # fmt: skip


#: options by another name, of commands that take few
_OPTIONS = {
    "explain": {"id": "run", "run_id": "run", "runid": "run", "name": "study"},
    "report": {"id": "run", "run_id": "run", "runid": "run", "name": "study", "folder": "out", "to": "out"},
    "worker": {"name": "study"},
    "register": {"id": "run", "run_id": "run", "name": "as", "model": "as", "to": "as", "stage": "alias"},
    "export": {"name": "study", "folder": "to", "out": "to"},
    "import": {"folder": "from", "name": "as", "study": "as"},
    "compare": {"name": "study", "studies": "study", "folder": "out", "to": "out"},
}


def check_option(command: Command, key: str, value: str, options: Sequence[str]) -> None:
    """Raise ConfigError for a misspelt option of a command, or one by another name."""
    lead = f"initlab {command.name} "
    if command.accepts is None:
        known = key.partition(".")[0] in groups() or key in top_keys()
        near = [] if known or "." in key else difflib.get_close_matches(key, options, n=1, cutoff=0.75)
        if near:
            raise ConfigError(key, value, f"unknown key; did you mean {near[0]}? write {lead}{near[0]}={value}")
        return
    other = _OPTIONS.get(command.name, {}).get(key)
    if other:
        raise ConfigError(key, value, f"{lead.strip()} takes no such option; write {lead}{other}={value}")
    full = KEYS.get(key, f"tracking.{key}" if key == "uri" else "")
    if full.partition(".")[0] in command.accepts:
        raise ConfigError(key, value, f"{lead.strip()} takes no such option; write {lead}{full}={value}")


def unknown(key: str, value: str, meant: Sequence[str], overrides: Sequence[str]) -> ConfigError:
    """The error for an unknown key, with what may be meant by it."""
    if not meant:
        names = sorted({*groups(), *top_keys()} - {"compare", "gc", "inspect"})
        of = f"keys begin with one of {', '.join(names)}"
        return ConfigError(key, value, f"unknown key; initlab help GROUP lists what there is; {of}")
    first, others = meant[0], meant[1:]
    typed = f"{first}={value}" if value else f"{first}=VALUE"
    group, _, last = first.partition(".")
    chosen = chosen_file(group, overrides) if group not in _HELD_BY_COMPOSITION else None
    if last and chosen is not None and last not in keys_of(group, chosen) and (having := files_with(group, last)):
        typed = f"{group}={_usual_first(having, group)[0]} {typed}"
    elif chosen is not None and last:
        others = ()  # they are of files that are not chosen
    if group in ("replicas", "study"):
        typed = f"-m {typed}"
    also = f" (or {listed(others)})" if others else ""
    return ConfigError(key, value or None, f"unknown key; write {typed}{also}")


def _spelt(group: str, rest: str) -> str:
    first, dot, more = rest.partition(".")
    name = KEYS.get(first.lower(), first)
    return f"{name if name in keys_of_group(group) else first}{dot}{more}"


def _close(name: str, group: str) -> bool:
    return bool(difflib.get_close_matches(name, keys_of_group(group), n=1, cutoff=0.75))


def _have(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _usual_first(names: Sequence[str], group: str) -> list[str]:
    """The usual file first; the aliases that tasks have for their models last."""
    usual = {"model": "mlp", "optimizer": "sgd", "init": "normal"}.get(group)
    return sorted(names, key=lambda n: (n != usual, n in files_of("task"), n))
