"""HTML page of the claims that were tested."""

from __future__ import annotations

from collections.abc import Sequence

from initlab.papers.document import measured, summary, verdict_words
from initlab.papers.figure import figure_of
from initlab.papers.judge import Judged
from initlab.report.charts.figure import css
from initlab.report.page import environment

#: from the best to the worst
_SEVERITY = {"reproduces": "ok", "undecided": "warning", "does not reproduce": "failure"}


def papers_page(judged: Sequence[Judged], *, again: str) -> str:
    """The page as text; everything from files is escaped.

    Args:
        judged: in the order of the page.
        again: the command that repeats it.
    """
    counts = [(v, str(sum(j.verdict == v for j in judged)), "claims") for v in _SEVERITY]
    worst = [severity for verdict, severity in _SEVERITY.items() if any(j.verdict == verdict for j in judged)]
    claims = [
        {
            "name": j.claim.name, "says": j.claim.says, "paper": j.claim.paper, "section": j.claim.section,
            "differs": j.claim.differs, "reason": j.claim.reason if j.verdict != "reproduces" else "",
            "verdict": verdict_words(j), "severity": _SEVERITY[j.verdict], "seconds": f"{j.seconds:.0f}",
            "seeds": j.seeds, "drawn": figure_of(j), "command": f"python -m initlab papers {j.claim.name}",
            "checks": [(c.check.subject, c.check.expected, measured(c), c.outcome, c.note) for c in j.checks],
        }
        for j in judged
    ]  # fmt: skip
    template = environment().get_template("papers.html.j2")
    return template.render(
        chart_css=css(), name="Claims of papers", headline=summary(judged), severity=(worst or ["warning"])[-1],
        facts=counts, claims=claims, again=again,
    )  # fmt: skip
