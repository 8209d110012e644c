"""Loads a recorded run for explanation: configuration, profile, prediction."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from initlab.diagnosis import rules
from initlab.diagnosis.rules import Evidence
from initlab.errors import ConfigError
from initlab.report.table import read_parquet
from initlab.tracking import StoredRun

_PROFILE, _CONFIG, _PREDICTION = "profile.parquet", "config.yaml", "prediction.json"


@dataclass(frozen=True, kw_only=True)
class LayerPair:
    """One hidden layer before the first step: predicted and measured values, NaN where missing.

    `q` is the mean square of the pre-activation, `gradient` log10 of ‖∂E/∂h‖² over that of the last hidden layer.
    """

    site: str
    q_said: float
    q: float
    gradient_said: float
    gradient: float


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """A run that has ended.

    Attributes:
        evidence: for the rules, as at the end of the run.
        config: the text of its configuration.
        layers: before training, first layer first; empty without a prediction.
        allowed: trainable number of hidden layers by theory (6ξ of the gradient); NaN without a single depth scale.
        outlook: the predicted verdict, empty where there was none.
    """

    run: StoredRun
    status: str
    evidence: Evidence
    config: str
    layers: tuple[LayerPair, ...]
    allowed: float
    outlook: str


def read_recorded(run: StoredRun) -> Recorded:
    """Read the files of a run. Raises ConfigError, with the reason, for a run that cannot be explained."""
    status = run.tags.get("initlab.status", "")
    asked = run.run_id
    if run.kind == "study":
        name = run.tags.get("initlab.study", "NAME")
        raise ConfigError("run", asked, f"is the parent run of a study; type: python -m initlab explain study={name}")
    if run.kind == "inspect":
        raise ConfigError("run", asked, "was inspected, not trained: its verdict is in inspect.json and in its note")
    if status in ("", "running"):
        raise ConfigError("run", asked, "is still running (or its records wait to be sent: python -m initlab sync)")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        there = run.fetch((_PROFILE, rules.FILE, _CONFIG, _PREDICTION), folder)
        missing = [n for n in (_PROFILE, rules.FILE, _CONFIG) if n not in there]
        if missing:
            error = run.tags.get("initlab.error")
            why = f"it ended with an error: {error}" if error else "it ended early, or an older initlab recorded it"
            raise ConfigError("run", asked, f"has no {' and no '.join(missing)}, so it cannot be explained; {why}")
        profile = read_parquet(folder / _PROFILE)
        said = json.loads((folder / _PREDICTION).read_text(encoding="utf-8")) if _PREDICTION in there else {}
        try:
            evidence = rules.findings_from_json((folder / rules.FILE).read_text(encoding="utf-8"), profile)
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigError("run", asked, f"its {rules.FILE} cannot be read: {error}") from error
        config = (folder / _CONFIG).read_text(encoding="utf-8")
    prediction = said.get("prediction", {})
    return Recorded(
        run=run,
        status=status,
        evidence=evidence,
        config=config,
        layers=_layers(prediction, said.get("measured", {})),
        allowed=float(prediction.get("gradient_depth", math.nan)),
        outlook=str(said.get("outlook", {}).get("verdict", "")),
    )


def _layers(prediction: Mapping[str, Any], measured: Mapping[str, Any]) -> tuple[LayerPair, ...]:
    said = {r["site"]: r for r in prediction.get("layers", ())}
    return tuple(
        LayerPair(
            site=r["site"], q=r["q"], gradient=r["log10_gradient"],
            q_said=said.get(r["site"], {}).get("q", math.nan),
            gradient_said=said.get(r["site"], {}).get("log10_gradient", math.nan),
        )
        for r in measured.get("layers", ())
    )  # fmt: skip
