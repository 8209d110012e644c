"""Settings that are written right and mean nothing: given twice, or of a study that is not trained."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from initlab.cli.corrections.catalogue import chosen_file, groups, keys_of, top_keys
from initlab.cli.corrections.keys import full_keys
from initlab.errors import ConfigError
from initlab.study.space.metrics import check_metrics

_NUMBER = re.compile(r"\d+,\d+")
#: the largest share of the data that is sensibly held out
_LARGEST_SHARE = 0.5
#: the largest port
_PORTS = 65535


def check_settings(overrides: Sequence[str], *, multirun: bool, command: str) -> Iterator[str]:
    """Warnings about settings that are accepted and do not do what they seem to.

    Raises:
        ConfigError: for a value that is refused whatever else is typed.
    """
    yield from _twice(overrides)
    settings = {o.partition("=")[0]: o.partition("=")[2] for o in overrides if "=" in o and not o.startswith("~")}
    for key, value in settings.items():
        name = key.lstrip("+")
        if key.startswith("+") and "." not in name and "@" not in name and name not in {*groups(), *top_keys()}:
            meant = full_keys(name)
            if meant:
                raise ConfigError(key, value, f"nothing reads this key; write {meant[0]}={value}")
            yield f"{key}={value}: nothing of initlab reads this key; initlab --cfg job shows those that are read"
        # a mapping is joined to the one that is there
        if key.startswith("+") and not key.startswith("++") and name.count(".") == 1 and value[:1] != "{":
            group, _, last = name.partition(".")
            chosen = chosen_file(group, overrides) if group in groups() else None
            if chosen is not None and last in keys_of(group, chosen):
                raise ConfigError(key, value, f"is a key already; write {name}={value}, without +")
        if _NUMBER.fullmatch(value) and not multirun and name not in ("seed", "study", "experiment"):
            point = value.replace(",", ".")
            raise ConfigError(
                key, value, f"for one number write {key}={point}; for several, add -m to train each: -m {key}={value}"
            )
        if name.startswith("data.") and name.endswith("_fraction"):
            yield from _share(name, value)
        if name == "study.metric":
            check_metrics(m.strip(" '\"") for m in value.strip("[]").split(","))
        if name.endswith("port"):
            check_port(name, value)
    if command == "train" and not multirun:
        yield from _of_a_study(settings)


def check_port(key: str, value: str) -> None:
    """Raise ConfigError for a whole number that is no port."""
    if value.lstrip("-").isdecimal() and not 1 <= int(value[:9]) <= _PORTS:
        raise ConfigError(key, value, f"no such port: write a whole number from 1 to {_PORTS}, such as {key}=5001")


def _twice(overrides: Sequence[str]) -> Iterator[str]:
    seen: dict[str, str] = {}
    for override in overrides:
        key, equals, value = override.partition("=")
        if not equals or key.startswith(("-", "~")):
            continue
        name = key.lstrip("+")
        if name in seen:
            said = f"{name} is given twice ({seen[name]}, {value})"
            several = f"; to train both: -m {name}={seen[name]},{value}" if seen[name] != value else ""
            yield f"{name}={value}: {said}; the last one counts{several}"
        seen[name] = value


def _share(key: str, value: str) -> Iterator[str]:
    try:
        share = float(value)
    except ValueError:
        return
    if 1 <= share <= 100:
        raise ConfigError(key, value, f"is a share from 0 to 1; for {value} percent write {key}={share / 100:g}")
    if _LARGEST_SHARE <= share < 1:
        yield f"{key}={value}: holds out {share:.0%} of the examples, and little is left to train on; 0.1 is usual"


def check_uri(value: str) -> None:
    """Raise ConfigError for an address without its scheme."""
    text = value.strip("'\"")
    if re.fullmatch(r"[A-Za-z][\w.-]*:\d+/?|\d+(\.\d+){3}(:\d+)?/?", text):
        raise ConfigError("tracking.uri", value, f"has no scheme; write tracking.uri=http://{text}")
    if re.fullmatch(r"[\w./~-]+\.(db|sqlite3?)", text):
        raise ConfigError("tracking.uri", value, f"has no scheme; write tracking.uri=sqlite:///{text}")


def _of_a_study(settings: dict[str, str]) -> Iterator[str]:
    if settings.get("replicas", "1") != "1":
        yield (
            f"replicas={settings['replicas']}: counts the seeds of a study; this trains one run."
            f" Add -m to train {settings['replicas']} seeds: initlab -m replicas={settings['replicas']}"
        )
    of_study = [k for k in settings if k == "study" or k.startswith("study.")]
    if of_study:
        key = of_study[0]
        yield f"{key}={settings[key]}: is of a study; this trains one run. Add -m and several values: -m init=he,xavier"


def check_removals(words: Sequence[str]) -> None:
    """Raise ConfigError for ``~KEY`` of what every run needs, or of what is not there."""
    for word in words:
        if not word.startswith("~"):
            continue
        key = word[1:].partition("=")[0]
        if key in groups() and key != "experiment":
            raise ConfigError(word, None, f"~ removes a key, and every run has {key}; initlab help {key} lists files")
        if "." not in key and key not in top_keys() and "@" not in key:
            raise ConfigError(word, None, "~ removes a key, and there is none of this name; leave it out")
