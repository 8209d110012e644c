"""MLflow's filter language, on runs that were read already: its own parser, and the comparison that it describes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from initlab.errors import ConfigError
from initlab.tracking.store.quiet import ignore_their_warnings


class Run(Protocol):
    """What a filter can ask of a run."""

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
        key: what is compared.
        holds: whether its value fits.
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


def clauses(words: str) -> tuple[Clause, ...]:
    """The comparisons that `words` joins by AND.

    Raises:
        ConfigError: for what is not MLflow's language, and for attributes that cannot be asked for here.
    """
    ignore_their_warnings()
    from mlflow.exceptions import MlflowException
    from mlflow.utils.search_utils import SearchUtils

    try:
        parsed: list[dict[str, Any]] = SearchUtils.parse_search_filter(words)
    except MlflowException as error:
        raise unreadable(words, str(error)) from error
    return tuple(_clause(words, part, SearchUtils.get_comparison_func) for part in parsed)


def fits(clause: Clause, run: Run) -> bool:
    """Whether the run has what is asked for; what it does not have fits nothing, not even an inequality."""
    if clause.kind == "attribute":
        value = _ATTRIBUTES[clause.key](run)
    elif clause.kind == "dataset":
        value = _DATASET[clause.key](run)
    else:
        table: Mapping[str, Any] = {"parameter": run.params, "tag": run.tags, "metric": run.metrics}[clause.kind]
        value = table.get(clause.key)
    return value is not None and clause.holds(value)


def unreadable(words: str, why: str) -> ConfigError:
    """The error for a filter, with an example of one."""
    first = next(iter(why.splitlines()), why).strip().rstrip(".")
    return ConfigError("filter", words, f"{first}; such as filter='params.init = \"he\" and metrics.seconds < 60'")


def _clause(words: str, part: Mapping[str, Any], comparison: Callable[[str], Callable[[Any, Any], Any]]) -> Clause:
    kind, key, value = str(part["type"]), str(part["key"]), part["value"]
    known = {"attribute": _ATTRIBUTES, "dataset": _DATASET}.get(kind)
    key = {"run name": "run_name", "Run name": "run_name", "Run ID": "run_id", "created": "start_time"}.get(key, key)
    if kind not in ("parameter", "tag", "metric", "attribute", "dataset") or (known is not None and key not in known):
        raise unreadable(words, f"{kind} {key} cannot be asked for here")
    if kind == "metric" or key in ("start_time", "end_time"):
        value = float(value)
    word = str(part["comparator"]).upper()
    try:
        compare = comparison(word)
    except KeyError as error:
        raise unreadable(words, f"{word} compares nothing; use =, !=, <, <=, >, >=, LIKE, ILIKE or IN") from error
    return Clause(kind=kind, key=key, holds=lambda found: bool(compare(found, value)))
