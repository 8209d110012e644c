"""What Optuna's dashboard shows of a study beside its trials: names of the metrics, and a note."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from optuna import Study

#: keys of the dashboard's note, which it reads in pieces
_VERSION, _TEXT, _PIECE = "dashboard:note_ver", "dashboard:note_str:", 2000


def name_metrics(study: Study, metrics: Sequence[str]) -> None:
    """Give the objectives their names, which the dashboard writes on its axes."""
    from optuna.exceptions import ExperimentalWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        if study.metric_names != list(metrics):
            study.set_metric_names(list(metrics))


def save_note(study: Study, text: str) -> None:
    """Save `text` (Markdown) as the dashboard's note of the study; it replaces the note that initlab wrote before."""
    from optuna.exceptions import OptunaError

    with suppress(OptunaError, OSError):  # a note is not worth a study
        _save(study, text)


def _save(study: Study, text: str) -> None:
    storage, key = study._storage, study._study_id  # pyright: ignore[reportPrivateUsage]
    known = storage.get_study_system_attrs(key)
    pieces = [text[at : at + _PIECE] for at in range(0, len(text), _PIECE)] or [""]
    old = [k for k in known if k.startswith(_TEXT)]
    if "".join(str(known[k]) for k in sorted(old, key=lambda k: int(k.rpartition(":")[2]))) == text:
        return
    for number in range(max(len(pieces), len(old))):
        storage.set_study_system_attr(key, f"{_TEXT}{number}", pieces[number] if number < len(pieces) else "")
    storage.set_study_system_attr(key, _VERSION, int(known.get(_VERSION, 0)) + 1)
