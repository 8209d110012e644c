"""Reads a claim from the node `claim` of an experiment; refuses by name what it does not know."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from initlab.errors import ConfigError, one_of
from initlab.papers.arms import key_of
from initlab.papers.claim import SEEDS, Bound, Check, Claim, Drawing, FigureKind, Part

#: first parts of the keys that a claim may set: what is trained, and nothing of where or by whom
_KEYS = (
    "task", "data", "model", "init", "activation", "optimizer", "lr_schedule", "trainer", "probes", "study.tune_lr",
    "study.lr_factors", "study.tune_epochs", "study.metric", "study.direction", "study.conditions",
)  # fmt: skip
#: keys below these that name code, or say where files and processes are
_REFUSED = ("probes.extra", "data.root", "trainer.ddp")
#: keys of a claim; logarithmic axes of a figure; keys of a check
_TOP = (
    "says", "paper", "section", "differs", "reason", "studies", "measures", "checks", "figure", "quick", "seeds",
    "seconds",
)  # fmt: skip
_LOG = ("", "x", "y", "xy")
_CHECK = (
    "metric", "arm", "minus", "over", "slope", "best", "at_best", "above", "below", "near", "within", "part", "says",
)  # fmt: skip
_OVERRIDE = re.compile(r"\+?([a-z][a-z0-9_]*(?:\.[a-zA-Z0-9][a-zA-Z0-9_]*)*)=([^$\\\x00-\x1f\x7f]*)")
#: of a part, which is also the name of a file
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_ARM = re.compile(r"[a-z][a-zA-Z0-9_.]*=\S+")
_KEY = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-zA-Z0-9_]+)*")
#: seeds of an arm, at most
_MOST_SEEDS = 1000


def read_claim(name: str, node: object, *, measures: Sequence[str]) -> Claim:
    """The claim of an experiment's `claim` node.

    Args:
        name: of the experiment's file.
        node: plain data.
        measures: names of the measurements that exist.

    Raises:
        ConfigError: naming the key, the value and what is valid.
    """
    _no_references(f"{name}: claim", node)
    tree = _mapping(f"{name}: claim", node)
    _only(f"{name}: claim", tree, _TOP)
    texts = {k: _text(f"{name}: claim.{k}", tree.get(k)) for k in ("says", "paper", "section", "differs")}
    parts = [
        Part(
            name=_part_name(f"{name}: claim.studies", k),
            overrides=_overrides(f"{name}: claim.studies.{k}", v),
            settings={},
        )
        for k, v in _mapping(f"{name}: claim.studies", tree.get("studies") or {}).items()
    ]
    for k, v in _mapping(f"{name}: claim.measures", tree.get("measures") or {}).items():
        parts.append(_measure(f"{name}: claim.measures.{k}", _part_name(f"{name}: claim.measures", k), v, measures))
    twice = next((p.name for i, p in enumerate(parts) if p.name in [q.name for q in parts[:i]]), None)
    if twice is not None:
        raise ConfigError(f"{name}: claim.measures.{twice}", None, "a study has this name; give it another")
    if not parts:
        raise ConfigError(f"{name}: claim.studies", None, "names no study: write studies: {main: [init=he,xavier]}")
    checks = tree.get("checks")
    if not isinstance(checks, list) or not checks:
        raise ConfigError(
            f"{name}: claim.checks",
            checks,
            "must be a list of checks, such as {metric: test/accuracy, arm: init=he, above: 0.5}",
        )
    named = [p.name for p in parts]
    quick = tree.get("quick", [])
    return Claim(
        name=name, **texts, reason=_optional(f"{name}: claim", tree, "reason"), parts=tuple(parts),
        checks=tuple(
            found for i, c in enumerate(cast("list[object]", checks))
            for found in _checks(f"{name}: claim.checks[{i}]", c, named)
        ),
        figure=None if tree.get("figure") is None else _drawing(f"{name}: claim.figure", tree["figure"], named),
        quick=None if quick is False else _overrides(f"{name}: claim.quick", quick, empty=True),
        seeds=_seeds(f"{name}: claim.seeds", tree.get("seeds", SEEDS)),
        seconds=_positive(f"{name}: claim.seconds", tree.get("seconds", 60)),
    )  # fmt: skip


# ------------------------------------------------------------------ pieces
def _measure(key: str, name: str, node: object, known: Sequence[str]) -> Part:
    tree = _mapping(key, node)
    _only(key, tree, ("of", "arms", "settings"))
    of = _text(f"{key}.of", tree.get("of"))
    if of not in known:
        raise ConfigError(f"{key}.of", of, f"no such measurement; {one_of(known, of)}")
    arms = tree.get("arms", [[]])
    if not isinstance(arms, list) or not arms:
        raise ConfigError(f"{key}.arms", arms, "must be a list of arms, each a list such as [init=he, model.depth=30]")
    return Part(
        name=name, measure=of, settings=_mapping(f"{key}.settings", tree.get("settings") or {}),
        arms=tuple(_overrides(f"{key}.arms[{i}]", a, empty=True) for i, a in enumerate(cast("list[object]", arms))),
    )  # fmt: skip


def _checks(key: str, node: object, parts: Sequence[str]) -> list[Check]:
    """A check, or one for each of the arms where `arm` is a list."""
    tree = _mapping(key, node)
    _only(key, tree, _CHECK)
    bounds = [b for b in ("above", "below", "near") if b in tree]
    if len(bounds) != 1:
        raise ConfigError(key, tree, "needs one of above, below and near, with a number")
    if ("near" in tree) != ("within" in tree):
        raise ConfigError(key, tree, "near and within go together: {near: 1.0, within: 0.1}")
    if sum(k in tree for k in ("minus", "over", "slope")) > 1:
        raise ConfigError(key, tree, "takes one of minus, over and slope")
    if "best" in tree and "at_best" in tree:
        raise ConfigError(key, tree, "takes one of best and at_best")
    part = _part_of(key, tree, parts)
    arms = tree.get("arm", "")
    if isinstance(arms, list) and not arms:
        raise ConfigError(f"{key}.arm", arms, "names no arm")
    within = _positive(f"{key}.within", tree["within"]) if "within" in tree else math.nan
    return [
        Check(
            metric=_text(f"{key}.metric", tree.get("metric")), arm=_arm(f"{key}.arm", arm),
            minus=_arm(f"{key}.minus", tree.get("minus", "")), over=_arm(f"{key}.over", tree.get("over", "")),
            slope=_config_key(key, tree, "slope"), best=_config_key(key, tree, "best"),
            at_best=_config_key(key, tree, "at_best"), bound=cast("Bound", bounds[0]),
            value=_number(f"{key}.{bounds[0]}", tree[bounds[0]]), within=within, part=part,
            says=_optional(key, tree, "says"),
        )
        for arm in (cast("list[object]", arms) if isinstance(arms, list) else [arms])
    ]  # fmt: skip


def _drawing(key: str, node: object, parts: Sequence[str]) -> Drawing:
    tree = _mapping(key, node)
    _only(key, tree, ("kind", "metric", "x", "y", "by", "log", "part", "at_best", "border", "reading"))
    kind = _text(f"{key}.kind", tree.get("kind"))
    needs = {"curves": (), "lines": ("x",), "bars": (), "grid": ("x", "y")}
    if kind not in needs:
        raise ConfigError(f"{key}.kind", kind, f"no such figure; {one_of(needs, kind)}")
    for axis in needs[kind]:
        _text(f"{key}.{axis}", tree.get(axis))
    for axis in ("x", "y"):
        if axis in tree and axis not in needs[kind]:
            raise ConfigError(f"{key}.{axis}", tree[axis], f"is not for {kind}")
    by = tree.get("by", [])
    keys = cast("list[object]", by) if isinstance(by, list) else [by]
    log = _optional(key, tree, "log")
    if log not in _LOG:
        raise ConfigError(f"{key}.log", log, one_of(_LOG, log))
    if "border" in tree and kind != "grid":
        raise ConfigError(f"{key}.border", tree["border"], f"is not for {kind}")
    return Drawing(
        kind=cast("FigureKind", kind), metric=_text(f"{key}.metric", tree.get("metric")),
        x=_config_key(key, tree, "x"), y=_config_key(key, tree, "y"),
        by=tuple(_config_key(f"{key}.by", {"": b}, "") for b in keys),
        log=log, part=_part_of(key, tree, parts),
        at_best=_config_key(key, tree, "at_best"),
        border=_border(f"{key}.border", tree.get("border", {})), reading=_optional(key, tree, "reading"),
    )  # fmt: skip


def _border(key: str, node: object) -> dict[float, float]:
    """Value of x → y; ``.inf`` where all of the column lies below."""
    return {
        _number(key, x): math.inf if y == math.inf else _number(f"{key}.{x}", y) for x, y in _mapping(key, node).items()
    }


def _overrides(key: str, node: object, *, empty: bool = False) -> tuple[str, ...]:
    """Overrides of what is trained; a file cannot set where records go, or name code of its own."""
    if not isinstance(node, list) or not (node or empty):
        raise ConfigError(key, node, "must be a list of overrides, such as [init=he,xavier, model.depth=30]")
    found: list[str] = []
    for word in cast("list[object]", node):
        fit = _OVERRIDE.fullmatch(word) if isinstance(word, str) else None
        if fit is None or not any(fit[1] == k or fit[1].startswith(f"{k}.") for k in _KEYS):
            raise ConfigError(
                key, word, "is no override that a claim may have: KEY=VALUE, in quotes where it has a comma, with a key"
                f" of {', '.join(_KEYS)}",
            )  # fmt: skip
        if "_target_" in fit[2] or any(k in (fit[1], f"{fit[1]}.{w}") for k in _REFUSED for w in _words(fit[2])):
            raise ConfigError(key, word, "names code or a place: a claim names what initlab and its plug-ins have")
        found.append(fit[0])
    twice = next((k for i, k in enumerate(map(key_of, found)) if k in list(map(key_of, found[:i]))), None)
    if twice is not None:
        raise ConfigError(key, twice, "is given twice")
    return tuple(found)


def _words(text: str) -> list[str]:
    """Words of a value, among which are the keys of a mapping; "" where there are none."""
    return re.findall(r"\w+", text) or [""]


def _no_references(key: str, node: object) -> None:
    """What a file says is plain: nothing is filled in from the environment or from elsewhere."""
    if isinstance(node, Mapping):
        for k, v in cast("Mapping[object, object]", node).items():
            _no_references(f"{key}.{k}", v)
    elif isinstance(node, list):
        for i, v in enumerate(cast("list[object]", node)):
            _no_references(f"{key}[{i}]", v)
    elif isinstance(node, str) and "${" in node:
        raise ConfigError(key, node, "must be plain: a claim refers to nothing, write the value itself")


def _part_name(key: str, name: object) -> str:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ConfigError(f"{key}.{name}", None, "must be a name of small letters, digits and _, such as main")
    return name


def _part_of(key: str, tree: Mapping[str, Any], parts: Sequence[str]) -> str:
    part = _optional(key, tree, "part")
    if part and part not in parts:
        raise ConfigError(f"{key}.part", part, f"no such part; {one_of(parts, part)}")
    return part


def _arm(key: str, node: object) -> str:
    """``KEY=VALUE KEY=VALUE``; empty for the only arm there is."""
    words = node.split() if isinstance(node, str) else None
    if words is None or not all(map(_ARM.fullmatch, words)):
        raise ConfigError(key, node, "must name an arm, such as init=he model.depth=30")
    keys = [key_of(w) for w in words]
    if len(set(keys)) < len(keys):
        raise ConfigError(key, node, "names a key twice")
    return " ".join(words)


def _config_key(key: str, tree: Mapping[str, Any], name: str) -> str:
    found = tree.get(name, "")
    if found != "" and not (isinstance(found, str) and _KEY.fullmatch(found)):
        raise ConfigError(f"{key}.{name}".rstrip("."), found, "must be a key of the configuration, such as model.depth")
    return found


def _mapping(key: str, node: object) -> Mapping[str, Any]:
    if not isinstance(node, Mapping):
        raise ConfigError(key, node, "must be a mapping")
    return cast("Mapping[str, Any]", node)


def _only(key: str, tree: Mapping[str, Any], valid: Sequence[str]) -> None:
    for k in tree:
        if k not in valid:
            raise ConfigError(f"{key}.{k}", tree[k], f"unknown key; {one_of(valid, str(k))}")


def _text(key: str, node: object) -> str:
    if not isinstance(node, str) or not node.strip():
        raise ConfigError(key, node, "must be a text")
    text = " ".join(node.split())
    if not text.isprintable():
        raise ConfigError(key, repr(text), "holds characters that cannot be printed, as those that move a cursor")
    return text


def _optional(key: str, tree: Mapping[str, Any], name: str) -> str:
    return _text(f"{key}.{name}", tree[name]) if name in tree else ""


def _positive(key: str, node: object) -> float:
    number = _number(key, node)
    if number <= 0:
        raise ConfigError(key, node, "must be greater than 0")
    return number


def _seeds(key: str, node: object) -> int:
    number = _number(key, node)
    if number != int(number) or not 1 < number <= _MOST_SEEDS:
        raise ConfigError(key, node, f"must be a whole number from 2 to {_MOST_SEEDS}: an interval needs two seeds")
    return int(number)


def _number(key: str, node: object) -> float:
    if isinstance(node, bool) or not isinstance(node, (int, float)) or not math.isfinite(node):
        raise ConfigError(key, node, "must be a number")
    return float(node)
