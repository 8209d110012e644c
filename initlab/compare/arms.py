"""Arranges runs as arms × seeds: by task, with values, names, and differences between arms."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from initlab.compare.ending import Ending, ending_of
from initlab.compare.metric import Metric
from initlab.errors import ConfigError
from initlab.spec import CompareSettings

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from initlab.tracking import Curve, RunRecord

    Floats = NDArray[np.float64]


#: a task is another problem, on which the same arms are compared separately
_TASK = ("task", "data")
#: parameters that change nothing of what is trained
_ASIDE = ("seed", "device", "threads", "data.root", "trainer.ddp", "param_count")
_ASIDE_GROUPS = ("probes", "trainer.checkpoint", "tracking")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One configuration under several seeds.

    Attributes:
        key: hash of the configuration without its seed.
        choices: what tells it from the other arms, key → value.
        name: the same in words.
        runs: seed → the run that counts.
        values: seed → the value of the metric; absent where there is none.
        imputed: seeds whose value is that of an untrained network, since they diverged.
    """

    key: str
    choices: Mapping[str, str]
    name: str
    runs: Mapping[str, RunRecord]
    values: Mapping[str, float]
    imputed: frozenset[str] = frozenset()

    def count(self, ending: Ending) -> int:
        return sum(ending_of(run) == ending for run in self.runs.values())


@dataclass(frozen=True, kw_only=True)
class Raw:
    """The runs of one task by arm and seed, before the metric is chosen; and how many were trained again."""

    label: str
    arms: Mapping[str, Mapping[str, RunRecord]]
    again: int


# ------------------------------------------------------------------ runs by arm and seed
def by_task(runs: Sequence[RunRecord], keys: Sequence[str]) -> list[Raw]:
    """The runs by task, arm and seed. A task that is itself compared (in `keys`) divides nothing."""
    parts = [p for p in _TASK if p not in keys]
    found: dict[tuple[str, ...], list[RunRecord]] = {}
    for run in runs:
        found.setdefault(tuple(run.params.get(p, "?") for p in parts), []).append(run)
    return [
        _raw(", ".join(f"{p}={v}" for p, v in zip(parts, task, strict=True)), found[task]) for task in sorted(found)
    ]


def _raw(label: str, runs: Sequence[RunRecord]) -> Raw:
    arms: dict[str, dict[str, RunRecord]] = {}
    again = 0
    for run in runs:
        seeds = arms.setdefault(run.tags.get("initlab.arm") or _hash(run.params), {})
        seed = run.tags.get("seed") or run.params.get("seed", "?")
        other = seeds.get(seed)
        if other is not None and _worth(run) == _worth(other) == 3:
            again += 1
        if other is None or (_worth(run), run.start_ms) > (_worth(other), other.start_ms):
            seeds[seed] = run
    return Raw(label=label, arms=arms, again=again)


def _worth(run: RunRecord) -> int:
    """A run that came to its end stands for its seed before one that did not."""
    return {"finished": 3, "diverged": 3, "failed": 2, "early": 1, "running": 0}[ending_of(run)]


def _hash(params: Mapping[str, str]) -> str:
    kept = {k: v for k, v in params.items() if not _is_aside(k)}
    return hashlib.blake2b(json.dumps(kept, sort_keys=True).encode(), digest_size=6).hexdigest()


# ------------------------------------------------------------------ what is compared
def searched(parents: Iterable[RunRecord]) -> list[str]:
    """The keys that the studies searched."""
    return list(dict.fromkeys(k.removeprefix("space.") for p in parents for k in p.params if k.startswith("space.")))


def compared(raws: Sequence[Raw], settings: CompareSettings, parents: Sequence[RunRecord]) -> list[str]:
    """What arms are to be told apart by: as asked, else what was searched, else init and activation, else all."""
    found = varying(raws)
    if settings.keys:
        missing = [k for k in settings.keys if k not in found]
        if len(missing) == len(settings.keys):
            words = ", ".join(found[:20]) or "nothing"
            raise ConfigError("compare.keys", missing[0], f"does not differ between arms; what does: {words}")
        return [k for k in settings.keys if k in found]
    asked = [k for k in searched(parents) if k in found]
    return asked or [k for k in found if k.partition(".")[0] in ("init", "activation")] or found


def varying(raws: Sequence[Raw]) -> list[str]:
    """Parameters that differ between arms of the same task: init and activation first, then groups before their keys.

    Where a group's choice decides a key (init.mode exists for he alone), the key varies as well.
    """
    found: set[str] = set()
    for raw in raws:
        examples = [next(iter(seeds.values())).params for seeds in raw.arms.values()]
        every = set[str]().union(*examples)
        found |= {k for k in every if not _is_aside(k) and len({p.get(k) for p in examples}) > 1}
    first = ("init", "activation")
    return sorted(found, key=lambda k: (first.index(k) if k in first else len(first), k.count("."), k))


def names(raws: Sequence[Raw], keys: Sequence[str]) -> dict[str, dict[str, str]]:
    """Arm → the choices that tell it from the others: no key that says nothing new beside those before it."""
    examples = {a: next(iter(seeds.values())).params for raw in raws for a, seeds in raw.arms.items()}
    task = {a: raw.label for raw in raws for a in raw.arms}
    known: dict[str, tuple[str | None, ...]] = {a: (task[a],) for a in examples}
    kept: list[str] = []
    groups = len(set(known.values()))
    for key in dict.fromkeys([*keys, *varying(raws)]):
        if groups == len(examples):
            break
        finer = {a: (*known[a], examples[a].get(key)) for a in examples}
        if (size := len(set(finer.values()))) > groups:
            kept.append(key)
            known, groups = finer, size
    kept = kept or ["init", "activation"]  # a single arm is called by what it is
    told = {a: {k: v for k in kept if (v := p.get(k)) is not None} for a, p in examples.items()}
    twice = {n for n, c in Counter((task[a], _words(c)) for a, c in told.items()).items() if c > 1}
    return {
        a: {**choices, **({"arm": a} if (task[a], _words(choices)) in twice or not choices else {})}
        for a, choices in told.items()
    }


def differences(raws: Sequence[Raw], keys: Sequence[str], *, tuned: bool) -> list[str]:
    """Sentences about what differs between arms beside what is compared."""
    beyond = [
        k for k in varying(raws)
        if not any(k == c or k.startswith(f"{c}.") for c in keys) and not (tuned and k == "optimizer.lr")
    ]  # fmt: skip
    # a group that differs explains its keys
    beyond = [k for k in beyond if not any(k.startswith(f"{b}.") for b in beyond)]
    lines: list[str] = []
    if beyond:
        runs = [next(iter(s.values())).params for raw in raws for s in raw.arms.values()]
        told = [f"{k} ({_some({p.get(k, 'absent') for p in runs})})" for k in beyond[:6]]
        more = f" and {len(beyond) - 6} keys more" if len(beyond) > 6 else ""
        lines.append(f"arms differ in more than what is compared: {', '.join(told)}{more}")
    for raw in raws:
        runs_ = [r for seeds in raw.arms.values() for r in seeds.values()]
        of = f" of {raw.label}" if len(raws) > 1 else ""
        if len(digests := {r.dataset[1] for r in runs_ if r.dataset[1]}) > 1:
            lines.append(f"runs{of} saw {len(digests)} different versions of the data")
    every = [r for raw in raws for seeds in raw.arms.values() for r in seeds.values()]
    for tag, words in (("initlab.version", "versions of initlab"), ("initlab.git", "commits of the code")):
        if len(found := {r.tags[tag][:12] for r in every if tag in r.tags}) > 1:
            lines.append(f"runs come from {len(found)} {words}: {_some(found)}")
    return lines


# ------------------------------------------------------------------ by what


def arms(
    raw: Raw, by: Metric, choices: Mapping[str, Mapping[str, str]], curves: Mapping[str, Curve]
) -> tuple[list[Arm], float]:
    """The arms of a task with their values, and the value that stands for a run that diverged (NaN: none had to).

    A run that diverged counts, with what the networks reached before they were trained: to leave it out would flatter
    its arm. Where no curve tells that, the worst value of any run stands in, as in worst-rank scores (Lachin, 1999).
    """
    runs = [r for seeds in raw.arms.values() for r in seeds.values()]
    lost = [r for r in runs if ending_of(r) == "diverged"]
    floor = untrained(runs, by, curves) if lost else math.nan
    found: list[Arm] = []
    for key, seeds in raw.arms.items():
        values = {
            s: r.metrics[by.metric] for s, r in seeds.items() if ending_of(r) == "finished" and by.metric in r.metrics
        }
        gone = frozenset(s for s, r in seeds.items() if ending_of(r) == "diverged" and math.isfinite(floor))
        values |= dict.fromkeys(gone, floor)
        own = choices[key]
        found.append(Arm(key=key, choices=own, name=_words(own), runs=seeds, values=values, imputed=gone))
    return found, floor


def untrained(runs: Sequence[RunRecord], by: Metric, curves: Mapping[str, Curve]) -> float:
    """The median of the curves before training, else the worst value that a run came to; NaN for what is no score."""
    if not by.metric.startswith(("train/", "val/", "test/")):
        return math.nan
    if not math.isnan(before := start(runs, curves)):
        return before
    ended = [r.metrics[by.metric] for r in runs if ending_of(r) == "finished" and by.metric in r.metrics]
    return by.sign * min(by.sign * v for v in ended) if ended else math.nan


def start(runs: Iterable[RunRecord], curves: Mapping[str, Curve]) -> float:
    """The median of the curves before the first update; NaN where none begins there."""
    first = [curve[0][1] for r in runs if (curve := curves.get(r.run_id)) and curve[0][0] == 0]
    return float(np.median(first)) if first else math.nan


def matrix(found: Sequence[Arm], by: Metric) -> tuple[Floats, list[str]]:
    """Arms × seeds with more always better, NaN for holes; and the seeds."""
    seeds = sorted({s for a in found for s in a.values}, key=lambda s: (len(s), s))
    table = np.full((len(found), len(seeds)), math.nan)
    at = {s: k for k, s in enumerate(seeds)}
    for i, arm in enumerate(found):
        for seed, value in arm.values.items():
            table[i, at[seed]] = by.sign * value
    return table, seeds


def named(found: Sequence[Arm], given: Sequence[str]) -> int:
    """Number of the arm that the overrides `given` (``init=xavier``) mean.

    Raises:
        ConfigError: where none or several fit.
    """
    text = " ".join(given)
    wanted = dict(part.split("=", 1) for word in given for part in word.split() if "=" in part)
    if not wanted:
        raise ConfigError("compare.baseline", text, "name an arm as it was typed, such as init=xavier")
    fit = [i for i, a in enumerate(found) if all(_value(a, k) == v for k, v in wanted.items())]
    if len(fit) == 1:
        return fit[0]
    some = ", ".join(found[i].name for i in (fit or range(len(found)))[:8])
    why = f"{len(fit)} arms fit, say more: {some}" if fit else f"no arm fits; there are: {some}"
    raise ConfigError("compare.baseline", text, why)


# ------------------------------------------------------------------ pieces
def _value(arm: Arm, key: str) -> str | None:
    return arm.choices.get(key) or next(iter(arm.runs.values())).params.get(key)


def _is_aside(key: str) -> bool:
    return key in _ASIDE or key.startswith(_ASIDE_GROUPS)


def _words(choices: Mapping[str, str]) -> str:
    return " ".join(f"{k}={v}" for k, v in choices.items())


def _some(words: Iterable[str]) -> str:
    found = sorted(words)
    return ", ".join(found[:4]) + (f" and {len(found) - 4} more" if len(found) > 4 else "")
