"""Identity of a study: its default name, and whether a command continues a study or describes another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from initlab.config.searchpath import digest_of
from initlab.errors import ConfigError
from initlab.spec import StudySettings
from initlab.study.space.plan import Plan
from initlab.study.space.space import Space, differences, extension_only

#: keys that say how a study is worked on, and not what it is
_HOW = (
    "study.trials", "study.timeout", "study.workers", "study.cohort", "study.engine", "study.rerun", "study.name",
    "tracking",
)  # fmt: skip
#: settings of the learning-rate sweep
_TUNED = ("lr_factors", "tune_epochs")
#: settings that decide how an arm is scored: arms that differ in them cannot be compared
_JUDGED = ("metric", "direction", "objective", "tune_lr", *_TUNED)


def fingerprint(space: Space, settings: StudySettings, searchpath: Sequence[str] = ()) -> str:
    """Hash of the fixed values and the searched keys, not of their values: a grid with one more is the same study.

    Files of one's own are told apart by their places.
    """
    what: dict[str, Any] = {
        "fixed": sorted(f for f in space.fixed if not f.startswith(_HOW)),
        "keys": sorted(d.key for d in space.dimensions),
        "sampler": settings.sampler,
    }
    if searchpath:
        what["searchpath"] = list(searchpath)
    # another judgement is another study; what is judged by default keeps the name that it always had
    default = _judgement(StudySettings())
    judged = {k: v for k, v in _judgement(settings).items() if v != default.get(k)}
    if judged:
        what["judged"] = judged
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=4).hexdigest()


def require_same_space(known: Plan, space: Space, replicas: int, *, grid: bool) -> None:
    """Raises ConfigError where the space or the number of replicas is not that of the study, or an extension of it."""
    # a grid may grow; a sampler's record holds for the options that it was made with
    if grid:
        lines = [] if extension_only(known.space, space) else differences(known.space, space)
    else:
        lines = differences(known.space, space, additions=True)
    if replicas != known.replicas:
        lines.append(f"replicas: {known.replicas} became {replicas}")
    if lines:
        raise _other_study(known, lines)


def require_same_files(known: Plan, searchpath: Sequence[str]) -> None:
    """Raises ConfigError where `searchpath` has other files than the study was started with.

    Nothing typed stands for the study's own copies, and so does a place whose files have changed since, as for `conf/`.
    """
    if not searchpath or tuple(searchpath) == known.searchpath:
        return
    if _contents(searchpath) != _contents(known.places):
        was, now = (" ".join(p) or "nothing" for p in (known.searchpath, searchpath))
        raise _other_study(known, [f"hydra.searchpath: {was} became {now}"])


def _contents(searchpath: Sequence[str]) -> list[str]:
    return [p if p.startswith("pkg://") else digest_of(Path(p.removeprefix("file://"))) for p in searchpath]


def require_same_judgement(known: Plan, plan: Plan) -> None:
    """Raises ConfigError where metric, direction or objective differ from those that the study was started with."""
    was, now = _judgement(known.settings), _judgement(plan.settings)
    both = [k for k in _JUDGED if k in was and k in now]
    lines = [f"study.{k}: {_text(was[k])} became {_text(now[k])}" for k in both if was[k] != now[k]]
    if lines:
        raise _other_study(known, lines)


def _judgement(settings: StudySettings) -> dict[str, Any]:
    return {k: getattr(settings, k) for k in _JUDGED if settings.tune_lr or k not in _TUNED}


def _other_study(known: Plan, lines: Sequence[str]) -> ConfigError:
    return ConfigError(
        "study.name", known.name, f"is another study: {'; '.join(lines)}; give study.name=NAME for a new one"
    )


def _text(value: object) -> str:
    return ", ".join(map(str, cast("tuple[object, ...]", value))) if isinstance(value, tuple) else str(value)
