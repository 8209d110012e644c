"""Types of a run's result: status, findings, remedies, final metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from initlab.spec.predictions import Outlook
from initlab.spec.profile import Interpretation, Profile

Severity = Literal["ok", "note", "warning", "failure"]


@dataclass(frozen=True, kw_only=True)
class Remedy:
    """A suggested change: `overrides` to append to the same command, and `why` in words."""

    overrides: tuple[str, ...]
    why: str


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Conclusion of a rule of `initlab.diagnosis.rules`, with its evidence, source and remedies."""

    name: str
    severity: Severity
    evidence: str
    source: str
    remedies: tuple[Remedy, ...] = ()


RunStatus = Literal["finished", "diverged", "stopped", "killed", "failed"]


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """Result of a run: its id in the tracker (or in the spool), status, final metrics, findings.

    `outlook` is the prediction before the first step; None for an unprobed run. `link` is the
    address of the run in MLflow's UI, empty where no server shows it.
    """

    run_id: str
    status: RunStatus
    metrics: Mapping[str, float]
    findings: tuple[Finding, ...]
    profile: Profile
    steps: int
    seconds: float
    diverged_step: int | None = None
    outlook: Outlook | None = None
    tracking_note: str = ""
    tracking_fault: bool = False
    link: str = ""
    #: [true class][answer] counts on the test part, of classifiers
    confusion: tuple[tuple[int, ...], ...] = ()
    #: only with probes=interpret
    interpretation: Interpretation | None = None
    #: of `trainer.until`; its metrics are until/step and until/epoch where it was reached
    target: str = ""
    #: texts that the task produced at the end, by file name
    texts: Mapping[str, str] = field(default_factory=dict)
