"""Evaluates MLflow filter strings on runs that are already in memory, with MLflow's own parser."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from initlab.errors import ConfigError
from initlab.tracking.spool.metric_keys import record_key
from initlab.tracking.store.quiet import ignore_mlflow_warnings


class Run(Protocol):
    """The attributes of a run that a filter can compare."""

    @property
    def run_id(self) -> str: ...
    @property
    def name(self) -> str: ...
    @property
    def ended_as(self) -> str: ...
    @property
    def start_ms(self) -> int: ...
    @property
    def end_ms(self) -> int: ...
    @property
    def params(self) -> Mapping[str, str]: ...
    @property
    def tags(self) -> Mapping[str, str]: ...
    @property
    def metrics(self) -> Mapping[str, float]: ...
    @property
    def dataset(self) -> tuple[str, str]: ...


@dataclass(frozen=True, kw_only=True)
class Clause:
    """One comparison of a filter.

    Attributes:
        kind: ``parameter``, ``tag``, ``metric``, ``attribute`` or ``dataset``.
        key: name of the value that is compared.
        holds: returns True where the value passes the comparison.
    """

    kind: str
    key: str
    holds: Callable[[Any], bool]


_ATTRIBUTES: dict[str, Callable[[Run], Any]] = {
    "run_id": lambda run: run.run_id,
    "run_name": lambda run: run.name,
    "status": lambda run: run.ended_as,
    "start_time": lambda run: run.start_ms,
    "end_time": lambda run: run.end_ms,
    "user_id": lambda run: run.tags.get("mlflow.user"),
}
_DATASET: dict[str, Callable[[Run], Any]] = {"name": lambda run: run.dataset[0], "digest": lambda run: run.dataset[1]}


def parse_filter(words: str) -> tuple[Clause, ...]:
    """Parse a filter string into its comparisons, which are joined by AND.

    Raises:
        ConfigError: for text that MLflow's parser refuses, and for attributes that are not available here.
    """
    ignore_mlflow_warnings()
    from mlflow.exceptions import MlflowException
    from mlflow.utils.search_utils import SearchUtils

    try:
        parsed: list[dict[str, Any]] = SearchUtils.parse_search_filter(words)
    except MlflowException as error:
        raise filter_error(words, str(error)) from error
    return tuple(_parse_clause(words, part, SearchUtils.get_comparison_func) for part in parsed)


def matches(clause: Clause, run: Run) -> bool:
    """Whether the run passes the comparison; a missing value passes none, not even an inequality."""
    if clause.kind == "attribute":
        value = _ATTRIBUTES[clause.key](run)
    elif clause.kind == "dataset":
        value = _DATASET[clause.key](run)
    else:
        table: Mapping[str, Any] = {"parameter": run.params, "tag": run.tags, "metric": run.metrics}[clause.kind]
        value = table.get(record_key(clause.key) if clause.kind == "metric" else clause.key)
    return value is not None and clause.holds(value)


def filter_error(words: str, why: str) -> ConfigError:
    """The error for an invalid filter, with an example of a valid one."""
    first = next(iter(why.splitlines()), why).strip().rstrip(".")
    return ConfigError("filter", words, f"{first}; such as filter='params.init = \"he\" and metrics.seconds < 60'")


def _parse_clause(
    words: str, part: Mapping[str, Any], comparison: Callable[[str], Callable[[Any, Any], Any]]
) -> Clause:
    kind, key, value = str(part["type"]), str(part["key"]), part["value"]
    known = {"attribute": _ATTRIBUTES, "dataset": _DATASET}.get(kind)
    key = {"run name": "run_name", "Run name": "run_name", "Run ID": "run_id", "created": "start_time"}.get(key, key)
    if kind not in ("parameter", "tag", "metric", "attribute", "dataset") or (known is not None and key not in known):
        raise filter_error(words, f"{kind} {key} is not available here")
    if kind == "metric" or key in ("start_time", "end_time"):
        value = float(value)
    word = str(part["comparator"]).upper()
    try:
        compare = comparison(word)
    except KeyError as error:
        raise filter_error(words, f"{word} compares nothing; use =, !=, <, <=, >, >=, LIKE, ILIKE or IN") from error
    return Clause(kind=kind, key=key, holds=lambda found: bool(compare(found, value)))
