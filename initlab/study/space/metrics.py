"""Names of the numbers that a run has at its end, to refuse a misspelt `study.metric` before anything is trained."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from initlab.errors import ConfigError
from initlab.spec import UNTIL_EPOCH, UNTIL_STEP

#: costs of a run, of which less is better
COSTS = ("seconds", "steps", "parameters")
#: of a run that reached the target of `trainer.until`; less is better
TIMES = (UNTIL_STEP, UNTIL_EPOCH)
_PARTS = ("train", "val", "test")
_SCORES = ("loss", "accuracy", "perplexity", "bits_per_char")
_DIAGNOSTICS = (
    "act_std_max", "act_std_min", "dead_max", "grad_norm", "grad_ratio", "saturated_max", "update_ratio_median",
)  # fmt: skip
_KNOWN = (
    *(f"{part}/{score}" for part in _PARTS for score in _SCORES),
    *(f"diag/{name}" for name in _DIAGNOSTICS), "throughput/samples_per_s", *COSTS, *TIMES,
)  # fmt: skip
#: first parts of the keys of which there are more: of tasks of one's own, of layers, of further probes
_OPEN = (
    *_PARTS, "diag", "throughput", "episode", "grad_norm", "act_std", "dead", "saturated", "update_ratio", "outlook",
    "predicted", "inspect",
)  # fmt: skip


def check_metrics(metrics: Iterable[str], key: str = "study.metric") -> None:
    """Raise ConfigError for a metric that no run can have; the message begins with the one that is meant.

    A number of a task or a probe of one's own is accepted where no known name is close to it.
    """
    for metric in metrics:
        if metric in ("auto", *_KNOWN):
            continue
        group, slash, _ = metric.partition("/")
        near = difflib.get_close_matches(metric.lower().replace("validation", "val"), _KNOWN, n=1, cutoff=0.8)
        if not slash:
            near = [f"val/{metric.lower()}"] if metric.lower() in _SCORES else near or _by_last_part(metric)
        hint = f"did you mean {near[0]}? " if near else ""
        if hint or not slash or (group not in _OPEN and not group.isidentifier()):
            usual = "val/accuracy, val/loss, test/loss, diag/grad_norm, throughput/samples_per_s, seconds, parameters"
            raise ConfigError(key, metric, f"{hint}no run has such a number; there are {usual}")


def _by_last_part(metric: str) -> list[str]:
    short = {name.rpartition("/")[2]: name for name in reversed(_KNOWN)} | {"acc": "val/accuracy", "error": "val/loss"}
    near = difflib.get_close_matches(metric.lower(), short, n=1, cutoff=0.7)
    return [short[near[0]]] if near else []
