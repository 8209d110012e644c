"""Runs and curves as they are read from a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from initlab.tracking.spool.metric_keys import record_key

KIND, STUDY = "initlab.kind", "initlab.study"


@dataclass(frozen=True, kw_only=True, slots=True)
class RunRecord:
    """A run as the store has it.

    Attributes:
        status: initlab's word, ``running`` where nobody ended it.
        start_ms: and `end_ms`: Unix time; 0 where there is none.
        ended_as: MLflow's word for it.
        metrics: the last value of each, finite.
        dataset: name and digest of the data, empty where the run names none.
        artifacts: where its files are.
    """

    run_id: str
    name: str
    experiment: str
    status: str
    start_ms: int
    end_ms: int
    params: Mapping[str, str]
    tags: Mapping[str, str]
    metrics: Mapping[str, float]
    ended_as: str = ""
    dataset: tuple[str, str] = ("", "")
    artifacts: str = ""


#: step, value, in the order of the steps
Curve = tuple[tuple[int, float], ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """What was asked for.

    Attributes:
        uri: of the store.
        runs: that were trained, in the order of their start.
        parents: study → its own run, of the studies that were asked for.
        studies: names of all studies of the store.
        experiments: names of all its experiments.
    """

    uri: str
    runs: Sequence[RunRecord]
    parents: Mapping[str, RunRecord] = field(default_factory=dict[str, RunRecord])
    studies: tuple[str, ...] = ()
    experiments: tuple[str, ...] = ()


def status_of(mlflow: str, tags: Mapping[str, str]) -> str:
    word = tags.get("initlab.status", "")
    if word and word != "running":
        return word
    return {"FINISHED": "finished", "FAILED": "failed", "KILLED": "killed"}.get(mlflow, "running")


def finite_metrics(metrics: Mapping[str, float]) -> dict[str, float]:
    """Finite metrics under the keys of records, also of a store that another version wrote."""
    # MLflow keeps an infinity as the largest number of a double
    return {record_key(str(k)): float(v) for k, v in metrics.items() if v == v and abs(v) < 1.79e308}  # noqa: PLR0124
