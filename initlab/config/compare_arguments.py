"""What is typed behind `compare`, in the words of Hydra's grammar."""

from __future__ import annotations

from collections.abc import Iterable

from initlab.config.overrides import split_at_top_level

#: what may be typed, and the key that it stands for
_LISTS = {
    "study": "study", "study.name": "study", "experiment": "experiments", "tracking.experiment": "experiments",
    "baseline": "baseline", "compare.baseline": "baseline", "compare.study": "study",
    "compare.experiments": "experiments",
}  # fmt: skip
_FILTERS = ("filter", "compare.filter")


def compare_overrides(arguments: Iterable[str]) -> list[str]:
    """The overrides with names, filter and baseline where Hydra takes them.

    Behind `compare`, `study` and `experiment` are no files of a group but names. A filter is MLflow's language, and an
    arm as baseline is an override itself: Hydra reads both in quotes alone, which a shell has taken away.
    """
    found: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        key = key.lstrip("+")
        if equals and key in _FILTERS:
            found.append(f"compare.filter={_word(value)}")
        elif equals and key in _LISTS:
            found.append(f"compare.{_LISTS[key]}=[{','.join(_word(item) for item in _items(value))}]")
        else:
            found.append(argument)
    return found


def _items(value: str) -> list[str]:
    value = value.strip()
    listed = value[1:-1] if value.startswith("[") and value.endswith("]") else value
    items = [item.strip().strip("'\"") for item in split_at_top_level(listed)]
    return [item for item in items if item not in ("", "null")]


def _word(text: str) -> str:
    """`text` as one word of the grammar, whatever it holds."""
    return "null" if text in ("", "null") else "'" + text.replace("'", "\\'") + "'"
