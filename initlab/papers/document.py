"""What came of the claims, as lines for the terminal, Markdown for the documentation, and JSON."""

from __future__ import annotations

import html
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from initlab.papers.claim import Claim
from initlab.papers.judge import Checked, Judged

_SYMBOL = {"reproduces": "+", "does not reproduce": "-", "undecided": "?"}


def number(value: float) -> str:
    """A number with four digits.

    Example:
        >>> number(0.123456), number(math.inf), number(12345.6)
        ('0.1235', 'no bound', '12350')
    """
    if not math.isfinite(value):
        return "no bound" if math.isinf(value) else "unknown"
    text = f"{value:.4g}"
    return f"{float(text):.0f}" if "e+" in text and abs(value) < 1e7 else text


def measured(checked: Checked) -> str:
    """Mean with its interval; where every seed gave the same number, that, since they tell nothing of its spread."""
    if checked.same:
        return f"{number(checked.mean)}, the same in all {checked.seeds} seeds"
    return f"{number(checked.mean)} [{number(checked.low)}, {number(checked.high)}]"


def verdict_words(judged: Judged) -> str:
    """The verdict, with the number of seeds where more would decide."""
    return f"undecided with {judged.seeds} seeds" if judged.verdict == "undecided" else judged.verdict


def lines_of(judged: Judged) -> list[str]:
    """The verdict of a claim and its checks, for a terminal."""
    lines = [
        f"{_SYMBOL[judged.verdict]} {judged.claim.name}: {verdict_words(judged)}  ({judged.seconds:.0f} s)",
        f"    {judged.claim.says}",
    ]
    for c in judged.checks:
        lines.append(f"    {c.outcome:<9} {c.check.subject}: {measured(c)}, expected {c.check.expected}")
        if c.note:
            lines.append(f"              {c.note}")
    return lines


def summary(judged: Sequence[Judged]) -> str:
    """How many claims came to which verdict.

    Example:
        >>> summary([])
        'no claim was judged'
    """
    if not judged:
        return "no claim was judged"
    counts = Counter(j.verdict for j in judged)
    some, failed, left = counts["reproduces"], counts["does not reproduce"], counts["undecided"]
    claims, reproduce = (
        "claim" if len(judged) == 1 else "claims",
        "reproduces" if 1 in (some, len(judged)) else "reproduce",
    )
    words = [f"{some} of {len(judged)} {claims} {reproduce}"]
    words += [f"{failed} {'does' if failed == 1 else 'do'} not"] if failed else []
    words += [f"{left} {'is' if left == 1 else 'are'} undecided"] if left else []
    return ", ".join(words)


def as_fields(judged: Judged) -> Mapping[str, Any]:
    """As JSON; what is not finite is null."""
    return {
        "name": judged.claim.name, "says": judged.claim.says, "paper": judged.claim.paper,
        "section": judged.claim.section, "verdict": judged.verdict, "seconds": round(judged.seconds, 1),
        "checks": [
            {
                "subject": c.check.subject, "metric": c.check.metric, "expected": c.check.expected,
                "mean": _finite(c.mean), "low": _finite(c.low), "high": _finite(c.high), "seeds": c.seeds,
                "outcome": c.outcome, "note": c.note,
            }
            for c in judged.checks
        ],
    }  # fmt: skip


def listed_fields(claim: Claim) -> Mapping[str, Any]:
    """What is known of a claim before it is tested, as JSON."""
    return {
        "name": claim.name, "says": claim.says, "paper": claim.paper, "section": claim.section, "seeds": claim.seeds,
        "seconds": claim.seconds, "quick": claim.quick is not None,
        "parts": [{"name": p.name, "measure": p.measure or None} for p in claim.parts],
    }  # fmt: skip


def markdown(judged: Sequence[Judged], *, figures: Mapping[str, str], about: str) -> str:
    """The page of the documentation.

    Args:
        judged: in the order of the page.
        figures: name of a claim → path of its figure, relative to the page.
        about: where and when it was measured, a sentence.
    """
    lines = [
        "| claim | what it says | verdict | seeds | seconds |", "|---|---|---|---|---|",
        *(
            f"| [{j.claim.name}](#{j.claim.name}) | {_plain(j.claim.says)} | {verdict_words(j)} | {j.seeds} |"
            f" {j.seconds:.0f} |"
            for j in judged
        ),
        "", f"{summary(judged)}. {about}", "",
    ]  # fmt: skip
    for j in judged:
        lines += _section(j, figures.get(j.claim.name, ""))
    return "\n".join(lines).rstrip() + "\n"


# ------------------------------------------------------------------ pieces
def _section(j: Judged, figure: str) -> list[str]:
    claim = j.claim
    lines = [f"### {claim.name}", "", f"**{_plain(claim.says)}** {_plain(claim.paper)} ({_plain(claim.section)}).", ""]
    lines += [
        f"Here: {_plain(claim.differs)}",
        "",
        f"Verdict: **{verdict_words(j)}**, {j.seeds} seeds, {j.seconds:.0f} s.",
        "",
    ]
    if j.verdict != "reproduces" and claim.reason:
        lines += [f"Why: {_plain(claim.reason)}", ""]
    lines += ["| check | expected | measured, with interval | |", "|---|---|---|---|"]
    for c in j.checks:
        note = f" ({_plain(c.note)})" if c.note else ""
        lines.append(f"| {_plain(c.check.subject)} | {c.check.expected} | {measured(c)}{note} | {c.outcome} |")
    lines += ["", f"```bash\npython -m initlab papers {claim.name}\n```", ""]
    if figure:
        lines += [f"![{_plain(claim.says)}]({figure})", ""]
    return lines


def _plain(text: str) -> str:
    """Words of a claim's file in Markdown: no HTML, link or image of theirs, and no end of a table's cell."""
    return re.sub(r"[\\\[\]|]", r"\\\g<0>", html.escape(text, quote=False))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
