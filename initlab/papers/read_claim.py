"""Reads a claim from the node `claim` of an experiment; refuses by name what it does not know."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from initlab.errors import ConfigError, one_of
from initlab.papers.claim import SEEDS, Bound, Check, Claim, Drawing, FigureKind, Part

#: first parts of the keys that a claim may set: what is trained, and nothing of where or by whom
_KEYS = (
    "task", "data", "model", "init", "activation", "optimizer", "lr_schedule", "trainer", "probes", "study.tune_lr",
    "study.lr_factors", "study.tune_epochs", "study.metric", "study.direction", "study.conditions",
)  # fmt: skip
#: keys of a claim, and of a check
_TOP = (
    "says", "paper", "section", "differs", "reason", "studies", "measures", "checks", "figure", "quick", "seeds",
    "seconds",
)  # fmt: skip
_CHECK = (
    "metric", "arm", "minus", "over", "slope", "best", "at_best", "above", "below", "near", "within", "part", "says",
)  # fmt: skip
_OVERRIDE = re.compile(r"\+?([a-z][a-z0-9_]*(?:\.[a-zA-Z0-9][a-zA-Z0-9_]*)*)=([^$]*)")


def read_claim(name: str, node: object, *, measures: Sequence[str]) -> Claim:
    """The claim of an experiment's `claim` node.

    Args:
        name: of the experiment's file.
        node: plain data.
        measures: names of the measurements that exist.

    Raises:
        ConfigError: naming the key, the value and what is valid.
    """
    tree = _mapping(f"{name}: claim", node)
    _only(f"{name}: claim", tree, _TOP)
    texts = {k: _text(f"{name}: claim.{k}", tree.get(k)) for k in ("says", "paper", "section", "differs")}
    parts = [
        Part(name=str(k), overrides=_overrides(f"{name}: claim.studies.{k}", v), settings={})
        for k, v in _mapping(f"{name}: claim.studies", tree.get("studies") or {}).items()
    ]
    for k, v in _mapping(f"{name}: claim.measures", tree.get("measures") or {}).items():
        parts.append(_measure(f"{name}: claim.measures.{k}", str(k), v, measures))
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
        name=name, **texts, reason=str(tree.get("reason") or ""), parts=tuple(parts),
        checks=tuple(
            found for i, c in enumerate(cast("list[object]", checks))
            for found in _checks(f"{name}: claim.checks[{i}]", c, named)
        ),
        figure=None if tree.get("figure") is None else _drawing(f"{name}: claim.figure", tree["figure"], named),
        quick=None if quick is False else _overrides(f"{name}: claim.quick", quick, empty=True),
        seeds=int(_number(f"{name}: claim.seeds", tree.get("seeds", SEEDS))),
        seconds=_number(f"{name}: claim.seconds", tree.get("seconds", 60)),
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
    part = str(tree.get("part", ""))
    if part and part not in parts:
        raise ConfigError(f"{key}.part", part, f"no such part; {one_of(parts, part)}")
    arms = tree.get("arm", "")
    within = _number(f"{key}.within", tree["within"]) if "within" in tree else math.nan
    return [
        Check(
            metric=_text(f"{key}.metric", tree.get("metric")), arm=str(arm), minus=str(tree.get("minus", "")),
            over=str(tree.get("over", "")), slope=str(tree.get("slope", "")), best=str(tree.get("best", "")),
            at_best=str(tree.get("at_best", "")), bound=cast("Bound", bounds[0]),
            value=_number(f"{key}.{bounds[0]}", tree[bounds[0]]), within=within, part=part,
            says=str(tree.get("says", "")),
        )
        for arm in (cast("list[object]", arms) if isinstance(arms, list) else [arms])
    ]  # fmt: skip


def _drawing(key: str, node: object, parts: Sequence[str]) -> Drawing:
    tree = _mapping(key, node)
    _only(key, tree, ("kind", "metric", "x", "y", "by", "log", "part", "reading"))
    kind = _text(f"{key}.kind", tree.get("kind"))
    needs = {"curves": (), "lines": ("x",), "bars": (), "grid": ("x", "y")}
    if kind not in needs:
        raise ConfigError(f"{key}.kind", kind, f"no such figure; {one_of(needs, kind)}")
    for axis in needs[kind]:
        _text(f"{key}.{axis}", tree.get(axis))
    part = str(tree.get("part", ""))
    if part and part not in parts:
        raise ConfigError(f"{key}.part", part, f"no such part; {one_of(parts, part)}")
    by = tree.get("by", [])
    return Drawing(
        kind=cast("FigureKind", kind), metric=_text(f"{key}.metric", tree.get("metric")), x=str(tree.get("x", "")),
        y=str(tree.get("y", "")), by=tuple(map(str, cast("list[object]", by) if isinstance(by, list) else [by])),
        log=str(tree.get("log", "")), part=part, reading=str(tree.get("reading", "")),
    )  # fmt: skip


def _overrides(key: str, node: object, *, empty: bool = False) -> tuple[str, ...]:
    """Overrides of what is trained; a file cannot set where records go, or name code of its own."""
    if not isinstance(node, list) or not (node or empty):
        raise ConfigError(key, node, "must be a list of overrides, such as [init=he,xavier, model.depth=30]")
    found: list[str] = []
    for word in map(str, cast("list[object]", node)):
        fit = _OVERRIDE.fullmatch(word)
        if fit is None or not any(fit[1] == k or fit[1].startswith(f"{k}.") for k in _KEYS):
            raise ConfigError(
                key, word, f"is no override that a claim may have: KEY=VALUE, with a key of {', '.join(_KEYS)}"
            )
        found.append(word)
    return tuple(found)


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
    return " ".join(node.split())


def _number(key: str, node: object) -> float:
    if isinstance(node, bool) or not isinstance(node, (int, float)) or not math.isfinite(node):
        raise ConfigError(key, node, "must be a number")
    return float(node)
