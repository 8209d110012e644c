"""HTML page of an explanation: the answer, what to do, the way from the evidence to the cause, and what shows it."""

from __future__ import annotations

from collections.abc import Sequence

from initlab.advice.explain.lines import OUTCOMES, chain_of, format_ending
from initlab.advice.explain.mechanisms import MECHANISMS, UNKNOWN
from initlab.advice.explain.recorded import Recorded
from initlab.advice.explain.story import Explanation
from initlab.report.charts import Figure
from initlab.report.charts.figure import css
from initlab.report.data import ReportData
from initlab.report.page import SHOWN_BY, all_figures, environment, facts_of
from initlab.spec import Finding

FILE = "explain.html"
_SEVERITY = {"lost": "failure", "ill": "failure", "doubtful": "warning", "healthy": "ok"}
#: remedies that are not folded, and figures
_REMEDIES, _FIGURES = 5, 3


def run_page(told: Recorded, found: Explanation, commands: Sequence[str], *, data: ReportData | None) -> str:
    """The page of a run.

    Args:
        told: what was recorded of it.
        found: its explanation.
        commands: for each remedy, in order; empty where there is no command, as for a loop of one's own.
        data: of the run's own report, from which figures are drawn; None where they were not kept.
    """
    todo = [(c, _upper(r.why)) for r, c in zip(found.remedies, commands, strict=True)]
    if found.cause is None:
        headline = "Nothing is wrong: no rule reports a warning"
    else:
        headline = OUTCOMES[found.outcome].format(because=MECHANISMS.get(found.cause.name, UNKNOWN).because)
    return environment().get_template("explain.html.j2").render(
        chart_css=css(),
        name=told.run.name,
        severity=_SEVERITY[found.outcome],
        headline=headline,
        ending=f"{_upper(format_ending(told.status, told.evidence))}.",
        facts=[] if data is None else facts_of(data),
        todo=todo[:_REMEDIES],
        more_todo=todo[_REMEDIES:],
        chain=[] if found.cause is None else [(k, _upper(v)) for k, v in chain_of(told, found.cause)],
        main=[] if data is None else _figures(found, data),
        others=[_other(f) for f in found.others],
        again="" if data is None else data.again,
    )  # fmt: skip


def study_page(name: str, lines: Sequence[str], *, following: str) -> str:
    """The page of a study: the ranking first, then the other paragraphs of `lines`.

    Args:
        name: of the study.
        lines: of `explain_study`.
        following: the command to go on with.
    """
    head, *rest = "\n".join(lines).split("\n\n")
    counts, *answer = head.splitlines()
    return environment().get_template("explain.html.j2").render(
        chart_css=css(),
        name=f"study {name}",
        severity="ok" if answer and answer[0].startswith("Best") else "warning",
        headline=answer[0] if answer else counts,
        ending=" ".join(f"{_upper(line.rstrip('.'))}." for line in [counts, *answer[1:]]) if answer else "",
        facts=[],
        todo=[(following, "Compare the arms, with intervals and tests")],
        paragraphs=[(p.splitlines()[0], [line.strip() for line in p.splitlines()[1:]]) for p in rest],
    )  # fmt: skip


# ------------------------------------------------------------------ pieces
def _figures(found: Explanation, data: ReportData) -> list[Figure]:
    """The figures that show the findings, those of the cause first; the loss where none does."""
    made = all_figures(data)
    bad = [f for f in ((found.cause,) if found.cause else ()) + found.others if f.severity in ("failure", "warning")]
    stems = [SHOWN_BY.get(f.name, "") for f in bad]
    stems += ["loss_curves", "predicted_and_measured"]
    return [made[s] for s in dict.fromkeys(stems) if s in made][:_FIGURES]


def _other(finding: Finding) -> tuple[str, str, str]:
    return finding.name.replace("_", " ").capitalize(), finding.severity, f"{finding.evidence}."


def _upper(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
