"""Metric keys as the store has them: scores first, then what the probes measured, layers in order.

MLflow's UI makes a section of each prefix and sorts sections and keys as text. So what the probes measured goes under
``watch/``, which sorts behind ``test/``, ``train/`` and ``val/``, and numbers in names of layers are padded with zeros:
``grad_norm/layers.2.weight`` is stored as ``watch/grad_norm/layers.02.weight``. The recall of each class, a chart
a class, goes there too. The first metric that a run gets is the one that MLflow's comparisons begin with: a score.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

WATCH = "watch/"
#: the statistics of the whole network
NETWORK = "diag"
#: scores of single classes
_CLASSES = "test/recall/"
#: what comes first of the metrics that are sent together
_FIRST = ("val/accuracy", "test/accuracy", "val/loss", "test/loss", "train/loss")
#: digits of a number in a layer's name; more where the network has more layers
DIGITS = 2
_NUMBER = re.compile(r"(?<![^./])\d+(?![^./])")


def digits_of(layers: Collection[str]) -> int:
    """Number of digits to which the numbers in the names of `layers` are padded."""
    return max((len(number) for name in layers for number in _NUMBER.findall(name)), default=DIGITS)


def stored_key(key: str, layers: Collection[str], digits: int = DIGITS) -> str:
    """The key in the store of a metric.

    Args:
        key: of a record.
        layers: parameters whose statistics are metrics; the keys of anything else stay.
        digits: of `digits_of(layers)`.
    """
    statistic, _, site = key.partition("/")
    if statistic == NETWORK or key.startswith(_CLASSES):
        return WATCH + key
    if site not in layers:
        return key
    return f"{WATCH}{statistic}/{_NUMBER.sub(lambda m: m.group().zfill(max(digits, DIGITS)), site)}"


def layers_of(stored: Iterable[str]) -> tuple[str, ...]:
    """The layers whose statistics a run has, from its keys in a store; none of a run that an older version recorded."""
    keys = (record_key(k) for k in stored if k.startswith(WATCH))
    return tuple(dict.fromkeys(k.partition("/")[2] for k in keys if not k.startswith((f"{NETWORK}/", _CLASSES))))


def record_key(key: str) -> str:
    """The key of a record from that in a store, whichever version wrote it."""
    if not key.startswith(WATCH):
        return key
    plain = key.removeprefix(WATCH)
    if plain.startswith(_CLASSES):
        return plain
    statistic, _, site = plain.partition("/")
    return f"{statistic}/{_NUMBER.sub(lambda m: m.group().lstrip('0') or '0', site)}"


def stored_spellings(key: str) -> tuple[str, ...]:
    """The keys under which a store may have the metric `key` of a record."""
    plain = record_key(key)
    if plain.startswith(_CLASSES):
        return (plain, WATCH + plain)
    statistic, _, site = plain.partition("/")
    if statistic in ("train", "val", "test", "throughput", "study", "system", "until") or not site:
        return (plain,)
    padded = (_NUMBER.sub(lambda m, n=n: m.group().zfill(n), site) for n in (DIGITS, DIGITS + 1))
    return tuple(dict.fromkeys((plain, *(f"{WATCH}{statistic}/{name}" for name in (site, *padded)))))


def order(key: str) -> int:
    """Place of a stored key among those that are sent together: scores first."""
    return _FIRST.index(key) if key in _FIRST else len(_FIRST) + key.startswith(WATCH)
