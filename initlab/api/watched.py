"""The judgement and the record of a training loop that was watched."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from torch import nn

from initlab import report
from initlab.activations import band_of
from initlab.api.look import Look
from initlab.diagnosis import rules
from initlab.errors import InitlabError
from initlab.report.drawing import to_png
from initlab.report.figures import figures
from initlab.report.inspection import figure_from_profile
from initlab.spec import Baseline, Finding, Profile


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
        made = figures(profile, look.sites, name=name, baseline=evidence.baseline)
        before = figure_from_profile(profile, name=name)
        if before is not None:
            made["predicted_and_measured"] = before
        for stem, figure in made.items():
            path = Path(scratch) / f"{stem}.png"
            path.write_bytes(to_png(figure))
            sink.artifact(path, "figures", move=True)
