"""Markdown summary of a run, for the tracker's note (`mlflow.note.content`)."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from initlab.core.redact import has_masked_password
from initlab.spec import UNTIL_STEP, Experiment, Outlook, PartName, RunResult

#: scores in the order of what they say to a person, and how they are called
SCORES = {
    "bits_per_char": "bits per character",
    "accuracy": "accuracy",
    "perplexity": "perplexity",
    "loss": "loss",
}


def command(experiment: Experiment, *overrides: str) -> str:
    """The command line that repeats this run, with `overrides` in place of those they replace."""
    starts = "torchrun --nproc-per-node=N -m initlab" if experiment.trainer.ddp else "python -m initlab"
    return shell_line(replace_overrides(experiment.overrides, overrides), starts)


def shell_line(overrides: Sequence[str], starts: str = "python -m initlab") -> str:
    """A command line, with shell-special arguments quoted.

    A setting whose password is masked would not work when it is typed: it is left out, and what to set instead is said.
    """
    masked = [o.partition("=")[0].lstrip("+") for o in overrides if has_masked_password(o)]
    overrides = [o for o in overrides if not has_masked_password(o)]
    # keys of one's own class need no sign where its `_target_` is typed (config/own_targets.py)
    own = {o.lstrip("+").partition(".")[0] for o in overrides if o.startswith("++") and "._target_=" in o}
    plain = (o.lstrip("+") if o.startswith("++") and o.lstrip("+").partition(".")[0] in own else o for o in overrides)
    line = " ".join([starts, *map(_quote, plain)])
    if not masked:
        return line
    instead = "set MLFLOW_TRACKING_URI first" if masked == ["tracking.uri"] else f"add {'=... '.join(masked)}=..."
    return f"{line}   ({instead}: passwords are not printed)"


def replace_overrides(typed: Sequence[str], overrides: Sequence[str]) -> tuple[str, ...]:
    """The typed overrides, with `overrides` in place of those they replace."""
    groups = {o.split("=")[0] for o in overrides if "." not in o.split("=")[0]}
    keys = {o.split("=")[0] for o in overrides}
    kept = [o for o in typed if o.split("=")[0].lstrip("+~") not in groups | keys]
    # values inside a group that is replaced belong to the old choice
    kept = [o for o in kept if o.split("=")[0].split(".")[0] not in groups]
    return (*kept, *overrides)


def format_result(result: RunResult) -> str:
    """Result of the run in one sentence."""
    words = {
        "finished": "finished",
        "stopped": "stopped early (early stopping)",
        "killed": "was stopped by a signal or request",
        "diverged": f"diverged at step {result.diverged_step}",
        "failed": "failed",
    }
    reached = UNTIL_STEP in result.metrics
    missed = f" and did not reach {result.target}" if result.target and not reached else ""
    ended = f"reached {result.target}" if result.target and reached else words[result.status] + missed
    scores = [format_score(result.metrics, part) for part in ("test", "val")]
    return f"{ended} after {result.steps} updates in {result.seconds:.1f} s" + "".join(f", {s}" for s in scores if s)


def format_score(metrics: Mapping[str, float], part: PartName) -> str:
    """The most informative score of a part, in words; empty where there is none."""
    part_words = {"train": "training", "val": "validation", "test": "test"}[part]
    for key, words in SCORES.items():
        if f"{part}/{key}" in metrics:
            return f"{part_words} {words} {metrics[f'{part}/{key}']:.4f}"
    return ""


def format_outlook(said: Outlook) -> str:
    """The outlook in one sentence."""
    return f"{said.verdict} ({said.figure}): {'; '.join(said.reasons)}"


def note(experiment: Experiment, result: RunResult, notes: Sequence[str] = ()) -> str:
    """Markdown note: result, data notes (`notes`), findings with evidence and source, remedies as commands."""
    lines = [f"**{experiment.name}** {format_result(result)}.", ""]
    if result.outlook is not None:
        lines += [f"Predicted before training: {format_outlook(result.outlook)}.", ""]
    lines += [*(f"Data: {counted}." for counted in notes), *([""] if notes else [])]
    for finding in result.findings:
        lines.append(f"- **{finding.name}** ({finding.severity}): {finding.evidence}. _{finding.source}_")
        lines.extend(f"    - try `{' '.join(r.overrides)}`: {r.why}" for r in finding.remedies)
    lines += ["", f"To repeat this run: `{command(experiment)}`"]
    return "\n".join(lines)


def _quote(override: str) -> str:
    return shlex.quote(override) if any(c in override for c in " []{}()*$&|;<>\"'") else override
