"""HTML page of one run: the answer, three numbers, what to do, four pictures, the rest folded; no script or network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from initlab.report.charts import Figure
from initlab.report.charts.figure import css
from initlab.report.confusion import confusion_matrix
from initlab.report.data import ReportData
from initlab.report.figures import figures
from initlab.report.inspection import figure_from_profile
from initlab.report.note import SCORES
from initlab.report.recurrent import recurrent_figures
from initlab.report.transformer import transformer_figures
from initlab.spec import Finding

if TYPE_CHECKING:
    from jinja2 import Environment

#: pictures that are not folded
_MAIN = 4
#: remedies that are not folded
_REMEDIES = 5
#: finding → the figure that shows it
SHOWN_BY = {
    "vanishing": "gradient_norm",
    "exploding": "gradient_norm",
    "unscaled_branches": "activation_std",
    "saturated": "saturated",
    "became_saturated": "saturated",
    "dead_units": "dead",
    "born_dead": "dead",
    "updates_too_small": "update_ratio",
    "updates_too_large": "update_ratio",
    "few_updates": "update_ratio",
    "symmetric_units": "weight_histograms",
    "decayed_weights": "weight_histograms",
    "short_memory": "gradient_by_lag",
    "states_saturated": "hidden_states",
    "closed_gates": "recurrence",
    "rank_collapse": "token_stream",
    "growing_stream": "token_stream",
    "saturated_attention": "attention",
    "entropy_collapse": "attention",
}
#: figures in the order in which they are useful to most readers
_ORDER = (
    "loss_curves", "predicted_and_measured", "gradient_norm", "gradient_by_lag", "update_ratio", "dead", "saturated",
    "hidden_states", "recurrence", "attention", "token_stream", "activation_std", "confusion", "linear_probes",
)  # fmt: skip


def all_figures(data: ReportData) -> dict[str, Figure]:
    """File stem → every figure that the data of a run allow, the most useful first."""
    made = figures(data.profile, data.sites, baseline=data.baseline)
    made |= recurrent_figures(data.profile) | transformer_figures(data.profile)
    before = figure_from_profile(data.profile)
    if before is not None:
        made["predicted_and_measured"] = before
    if data.confusion:
        made["confusion"] = confusion_matrix(data.confusion, data.class_names)
    return order_figures(made)


def order_figures(made: Mapping[str, Figure]) -> dict[str, Figure]:
    """The figures, the most useful first."""
    place = {stem: k for k, stem in enumerate(_ORDER)}
    return {s: made[s] for s in sorted(made, key=lambda s: place.get(s, len(place)))}


def page(data: ReportData, made: Mapping[str, Figure]) -> str:
    """The page as HTML. Everything that comes from a configuration or a file name is escaped.

    Args:
        data: of the run.
        made: its figures by stem, as `all_figures` gives them.
    """
    worst = data.findings[0] if data.findings else None
    main = _main_figures(data.findings, made)
    outlook, todo = data.outlook, _todo(data)
    return (
        environment()
        .get_template("run.html.j2")
        .render(
            chart_css=css(),
            name=data.name,
            severity=worst.severity if worst else "ok",
            headline=headline(data.findings),
            because=(f"{_upper(worst.evidence)}. " if worst else "") + f"The run {_lower(data.sentence)}.",
            facts=facts_of(data),
            todo=todo[:_REMEDIES],
            more_todo=todo[_REMEDIES:],
            main=[made[s] for s in main],
            rest=[f for s, f in made.items() if s not in main],
            findings=[_shown(f) for f in data.findings],
            predicted="" if outlook is None else f"{outlook.verdict} ({outlook.figure})",
            reasons=() if outlook is None else outlook.reasons,
            metrics=sorted(data.metrics.items()),
            params=sorted(data.params.items()),
            notes=data.notes,
            texts=sorted(data.texts.items()),
            again=data.again,
        )
    )


@cache
def environment() -> Environment:
    """Jinja's templates of this room; values are escaped."""
    from jinja2 import Environment, PackageLoader

    return Environment(autoescape=True, trim_blocks=True, loader=PackageLoader("initlab", "report"))


def headline(findings: Sequence[Finding]) -> str:
    """The verdict as a heading: the failures and warnings by name, or that there is none."""
    worst = [f.name.replace("_", " ") for f in findings if f.severity in ("failure", "warning")]
    return ", ".join(worst).capitalize() if worst else "Healthy: no rule reports a problem"


# ------------------------------------------------------------------ pieces
def facts_of(data: ReportData) -> list[tuple[str, str, str]]:
    """Score, loss, and the prediction: (label, value, remark)."""
    facts: list[tuple[str, str, str]] = []
    words = {"train": "training", "val": "validation", "test": "test"}
    for key in SCORES:
        part = next((p for p in ("test", "val", "train") if f"{p}/{key}" in data.metrics), None)
        if part and key != "loss":
            facts.append((f"{words[part]} {SCORES[key]}", f"{data.metrics[f'{part}/{key}']:.4g}", ""))
            break
    loss = next((p for p in ("test", "val", "train") if f"{p}/loss" in data.metrics), None)
    if loss:
        base = data.baseline
        told = f"guessing: {base.untrained:.3g}" if base is not None and math.isfinite(base.untrained) else ""
        facts.append((f"{words[loss]} loss", f"{data.metrics[f'{loss}/loss']:.4g}", told))
    if data.outlook is not None:
        name, _, value = data.outlook.figure.partition(" ")
        facts.append(("predicted before training", data.outlook.verdict, f"{name} {value}"))
    return facts


def _todo(data: ReportData) -> list[tuple[str, str]]:
    """(command, reason) of each remedy once, those of the gravest finding first."""
    found: dict[str, str] = {}
    for finding in data.findings:
        for remedy in finding.remedies:
            line = data.commands.get(" ".join(remedy.overrides))
            if line:
                found.setdefault(line, _upper(remedy.why))
    return list(found.items())


def _main_figures(findings: Sequence[Finding], made: Mapping[str, Figure]) -> list[str]:
    """Stems of the pictures that are not folded: the loss, what shows the findings, then the most useful others."""
    wanted = ["loss_curves", *(SHOWN_BY.get(f.name, "") for f in findings if f.severity in ("failure", "warning"))]
    wanted += [s for s in made if s in _ORDER]
    return list(dict.fromkeys(s for s in wanted if s in made))[:_MAIN]


def _shown(finding: Finding) -> dict[str, Any]:
    return {**vars(finding), "title": finding.name.replace("_", " ").capitalize()}


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]
