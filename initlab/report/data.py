"""What the page of a run shows, as plain data: kept with the run, so that the page can be drawn whenever one looks."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from initlab.report.note import command, format_result
from initlab.spec import Baseline, Experiment, Finding, Histogram, Outlook, Profile, Remedy, RunResult, Site, Splits

#: name of the artifact
FILE = "report.json"


@dataclass(frozen=True, kw_only=True)
class ReportData:
    """A run as its page shows it.

    Attributes:
        name, sentence: of the run, and how it ended.
        metrics: last value by key.
        findings: of the rules.
        commands: overrides of a remedy, joined by blanks → the command that repeats the run with them.
        again: the command that repeats the run.
        outlook: the prediction before training; None where there was none.
        baseline: loss of a network that knows nothing.
        sites: names of the layers in their order.
        notes: of the data.
        params: the configuration.
        texts: file name → text that the task produced.
        class_names, confusion: of the test part.
        profile: all measurements.
    """

    name: str
    sentence: str
    metrics: Mapping[str, float]
    findings: tuple[Finding, ...]
    commands: Mapping[str, str]
    again: str
    outlook: Outlook | None = None
    baseline: Baseline | None = None
    sites: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    texts: Mapping[str, str] = field(default_factory=dict)
    class_names: tuple[str, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    profile: Profile = field(default_factory=Profile)

    def to_json(self) -> str:
        """Everything except the profile's rows and curves, which are in `profile.parquet`."""
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "profile"}
        plain |= {
            "findings": [asdict(f) for f in self.findings],
            "outlook": None if self.outlook is None else asdict(self.outlook),
            "baseline": None if self.baseline is None else asdict(self.baseline),
            "params": {k: str(v) for k, v in self.params.items()},
            "histograms": [asdict(h) for h in self.profile.histograms],
        }
        return json.dumps(plain, default=str, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str, profile: Profile) -> ReportData:
        """The counterpart of `to_json`. Raises ValueError, KeyError or TypeError for other text."""
        plain: dict[str, Any] = json.loads(text)
        histograms = tuple(map(_histogram, plain.pop("histograms")))
        lists = ("sites", "notes", "class_names")
        plain |= {k: tuple(plain[k]) for k in lists}
        plain["confusion"] = tuple(tuple(row) for row in plain["confusion"])
        plain["findings"] = tuple(_finding(f) for f in plain["findings"])
        plain["outlook"] = None if plain["outlook"] is None else _outlook(plain["outlook"])
        plain["baseline"] = None if plain["baseline"] is None else Baseline(**plain["baseline"])
        return cls(**plain, profile=replace(profile, histograms=histograms))


def data_of(experiment: Experiment, sites: tuple[Site, ...], splits: Splits, result: RunResult) -> ReportData:
    """The data of a run that has just ended."""
    remedies = {r.overrides for f in result.findings for r in f.remedies}
    return ReportData(
        name=experiment.tracking.run_name or experiment.name,
        sentence=format_result(result),
        metrics=dict(result.metrics),
        findings=result.findings,
        commands={" ".join(o): command(experiment, *o) for o in remedies},
        again=command(experiment),
        outlook=result.outlook,
        baseline=splits.baseline,
        sites=tuple(s.name for s in sites),
        notes=tuple(splits.notes),
        params=experiment.params,
        texts=dict(result.texts),
        class_names=tuple(splits.class_names) if result.confusion or result.interpretation is not None else (),
        confusion=result.confusion,
        profile=result.profile,
    )


def _histogram(plain: dict[str, Any]) -> Histogram:
    fields: dict[str, Any] = {**plain, "counts": tuple(plain["counts"])}
    return Histogram(**fields)


def _finding(plain: dict[str, Any]) -> Finding:
    remedies = tuple(Remedy(overrides=tuple(r["overrides"]), why=r["why"]) for r in plain["remedies"])
    fields: dict[str, Any] = {**plain, "remedies": remedies}
    return Finding(**fields)


def _outlook(plain: dict[str, Any]) -> Outlook:
    fields: dict[str, Any] = {**plain, "reasons": tuple(plain["reasons"])}
    return Outlook(**fields)
