"""The judgement and the record of a training loop that was watched."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from initlab import report, theory, tracking
from initlab.activations import band_of
from initlab.advice.options import unknown_parts
from initlab.api.inspection import verdict_of
from initlab.api.look import Look
from initlab.api.network import graph_of
from initlab.core.version import __version__
from initlab.diagnosis import rules, trainability
from initlab.diagnosis.tokens import judge_tokens, read_tokens
from initlab.errors import InitlabError
from initlab.network.inputs import cloned, head
from initlab.probes import AttentionLayers, lag_peak, snapshot
from initlab.report.figures import figures
from initlab.report.inspection import figure_from_profile
from initlab.spec import (
    Baseline,
    Batch,
    Finding,
    Outlook,
    Profile,
    ProfileRow,
    Record,
    RunHeader,
    TrackingSettings,
)
from initlab.tracking.record.active import active_sink


def numbers_of(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Metrics as numbers by key; plain names count as of the training part."""
    plain = {k if "/" in k else f"train/{k}": v for k, v in metrics.items()}
    return {k: float(v.detach()) if isinstance(v, Tensor) else float(v) for k, v in plain.items()}


def metrics_of(rows: Sequence[ProfileRow], sites: frozenset[str]) -> dict[str, float]:
    """Rows of the profile as metrics: those of the whole network, and of `sites`."""
    wanted = [r for r in rows if not r.site or r.site in sites]
    return {(f"{r.statistic}/{r.site}" if r.site else f"diag/{r.statistic}"): r.value for r in wanted}


def record_of(values: Mapping[str, float], *, serial: int, step: int) -> Record:
    """A record of the tracker; values that are not finite are named apart."""
    return Record(
        serial=serial, step=step, epoch=0.0, time_ms=time.time_ns() // 1_000_000,
        metrics={k: v for k, v in values.items() if math.isfinite(v)},
        nonfinite=tuple(k for k, v in values.items() if not math.isfinite(v)),
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Foreseen:
    """What is said of a watched network before its first step; `text` is the file of its record.

    Attributes:
        attention: measures a transformer on the first examples of the first batch; None for other networks.
    """

    outlook: Outlook
    verdict: str
    reasons: tuple[str, ...]
    rows: tuple[ProfileRow, ...]
    text: str
    attention: AttentionLayers | None = None


def foresee(model: nn.Module, batch: Batch, look: Look) -> Foreseen:
    """Prediction and measurement of a network before its first step."""
    graph = graph_of(model, batch.inputs, most=64)
    said = theory.predict(graph, look.sites, theory.scales(model), look.context)
    seen = snapshot(model, look.sites, batch, look.context)
    peak = lag_peak(model, look.sites, look.context)
    outlook = trainability.judge(said, seen, untrained_loss=math.inf, lag_peak=peak)
    attention = AttentionLayers(model, cloned(head(batch.inputs, AttentionLayers.EXAMPLES)))
    tokens = attention.rows(0)
    outlook = judge_tokens(outlook, read_tokens(tokens))
    verdict, reasons = verdict_of(outlook, unknown_parts(look.sites, said))
    rows = tuple(
        ProfileRow(step=0, site=r.site, order=r.order, statistic=f"{source}_{k}", value=float(getattr(r, k)))
        for source, layers in (("predicted", said.layers), ("measured", seen.layers))
        for r in layers for k in ("q", "c", "log10_gradient", "saturated")
    )  # fmt: skip
    text = json.dumps({"outlook": asdict(outlook), "prediction": asdict(said), "measured": asdict(seen)})
    return Foreseen(
        outlook=outlook, verdict=verdict, reasons=reasons, rows=(*rows, *tokens), text=text,
        attention=attention if tokens else None,
    )  # fmt: skip


def open_sink(
    track: bool | None, files: Mapping[str, str], *, name: str, experiment: str | None, params: Mapping[str, Any],
    workdir: Path, layers: frozenset[str],
) -> Any:  # fmt: skip
    """The record of a watched loop: the MLflow run that is active, a run of its own, or None where none is wanted."""
    tags = {"initlab.kind": "train", "initlab.watch": "true", "initlab.version": __version__}
    files = {"config.yaml": "# recorded by initlab.watch, in a training loop of its own\nwatch: true\n", **files}
    sink = active_sink() if track is None else None
    if sink is not None:
        sink.layers = layers
        sink.tag(tags)
        for file, text in files.items():
            sink.text(file, text)
        return sink
    if track is False:
        return None
    settings = TrackingSettings(experiment=experiment)
    header = RunHeader(
        name=name, experiment=tracking.experiment_name(settings), params=params, tags=tags, dataset=None,
        start_ms=time.time_ns() // 1_000_000, layers=tuple(sorted(layers)),
    )  # fmt: skip
    return tracking.start(header, settings, workdir=workdir, files=files, checkpoints=False)


def evidence_of(
    model: nn.Module, look: Look, profile: Profile, *, steps: int, diverged: int | None, classes: int | None,
    params: Mapping[str, Any],
) -> rules.Evidence:  # fmt: skip
    """What the rules of diagnosis read of a watched loop. Of its baseline only the number of classes is known."""
    guess = math.log(classes) if classes else math.nan
    band = band_of(look.context.activation)
    return rules.Evidence(
        profile=profile,
        hidden=tuple(s.name for s in look.sites if s.activation is not None and s.role != "bias"),
        baseline=Baseline(
            untrained=guess, constant=guess, accuracy=1 / classes if classes else None,
            words=f"ln {classes} = {guess:.2f}" if classes else "not known",
        ),
        answers=1000, steps=steps, diverged_step=diverged, answer_per_step=False,
        flat_both_sides=band is not None and band.two_sided, params=params,
        branches=len({s.branch.index for s in look.sites if s.branch is not None}),
        norms=sum(s.role == "norm" for s in look.sites),
        running_statistics=any(n.endswith("running_var") for n, _ in model.named_buffers()),
        equal_layers=look.at_start.equal, loud_tables=look.at_start.loud,
    )  # fmt: skip


def note(name: str, steps: int, verdict: str, reasons: Sequence[str], findings: Sequence[Finding]) -> str:
    """The Markdown note of the record: prediction and findings."""
    lines = [f"**{name}**: {steps} updates, watched in a training loop of its own.", ""]
    if verdict:
        lines.append(f"Predicted before training: {verdict} ({reasons[0]}).")
    for finding in findings:
        lines.append(f"- **{finding.name}** ({finding.severity}): {finding.evidence}. _{finding.source}_")
        lines += [f"    - try: {r.why}" for r in finding.remedies]
    return "\n".join(lines)


def save(
    sink: Any, look: Look, profile: Profile, evidence: rules.Evidence, findings: tuple[Finding, ...], *, name: str,
    tags: Mapping[str, str],
) -> None:  # fmt: skip
    """Sends tags, findings, the profile and the figures to the tracker."""
    sink.tag({"initlab.verdict": rules.headline(findings), **tags})
    sink.text(rules.FILE, rules.findings_to_json(evidence, findings))
    sink.made("profile.parquet", lambda target: report.write_parquet(profile, target))
    with tempfile.TemporaryDirectory() as scratch, suppress(InitlabError, OSError):
        made = figures(profile, [s.name for s in look.sites], baseline=evidence.baseline)
        before = figure_from_profile(profile)
        if before is not None:
            made["predicted_and_measured"] = before
        for stem, figure in made.items():
            path = Path(scratch) / f"{stem}.svg"
            path.write_text(figure.standalone(name), encoding="utf-8", errors="backslashreplace")
            sink.artifact(path, "figures", move=True)
