"""HTML page of a recommendation: what to take, how sure that is, and every candidate."""

from __future__ import annotations

import math
from collections.abc import Sequence

from initlab.advice.advice import Advice
from initlab.advice.options import Option
from initlab.report.charts import Figure
from initlab.report.charts.bars import bars_panel
from initlab.report.charts.figure import css
from initlab.report.charts.heat import matrix_panel
from initlab.report.charts.scale import Scale
from initlab.report.page import environment

FILE = "advise.html"
_SEVERITY = {"trainable": "ok", "marginal": "warning", "untrainable": "failure"}
#: candidates that are drawn as bars
_BARS = 30


def page(
    advice: Advice, *, name: str, todo: Sequence[tuple[str, str]], changes: Sequence[str] = (), again: str = ""
) -> str:
    """The page as text; values from the configuration are escaped.

    Args:
        advice: the recommendation.
        name: of the network and its data.
        todo: (command, reason) of what to do next, at least one.
        changes: overrides that change the network, where no initialisation makes it likely to train.
        again: the command that repeats the recommendation.
    """
    outlook = advice.options[0].outlook
    taken = f"{advice.init} with {advice.activation}"
    drawn = figure_of(advice)
    return environment().get_template("advise.html.j2").render(
        chart_css=css(),
        name=name,
        severity="warning" if outlook is None or not advice.knows else _SEVERITY[outlook.verdict],
        headline=f"Take {taken}: {advice.expected}" if advice.knows else f"Not known. Customary is {taken}",
        because=f"Confidence: {advice.confidence}, because {advice.reason}.",
        facts=_facts(advice),
        todo=todo,
        changes=changes,
        main=[drawn] if drawn is not None else [],
        rows=[_row(advice, o) for o in advice.options if o.outlook is not None],
        refused=[(f"{o.init} with {o.activation}", o.refused) for o in advice.options if o.refused],
        outlook="" if outlook is None else outlook.verdict,
        reasons=() if outlook is None else outlook.reasons,
        again=again,
    )  # fmt: skip


def figure_of(advice: Advice) -> Figure | None:
    """The probability that each candidate trains, or its risk where no optimiser is known; None without candidates."""
    options = [o for o in advice.options if o.outlook is not None]
    if not options:
        return None
    known = all(o.outlook is not None and o.outlook.calibrated for o in options)
    label = "probability that the run trains" if known else "risk that it does not train (0 is best)"
    values = {(o.init, o.activation): _value(o, known) for o in options}
    rows, columns = (list(dict.fromkeys(key[k] for key in values)) for k in (0, 1))
    if len(columns) == 1:
        names = [o.init for o in options]
        grey = frozenset(k for k, o in enumerate(options) if o.outlook is None or o.outlook.verdict != "trainable")
        found = [values[o.init, o.activation] for o in options]
        texts = [_words(v) for v in found]
        panel = bars_panel(names, found, x_label=label, texts=texts, grey=grey, most=_BARS)
        reading = "The recommended one is first. Grey: marginal or untrainable."
        return Figure(f"Candidates with {columns[0]}", (panel,), reading)
    finite = [v for v in values.values() if math.isfinite(v)]
    scale = Scale(0.0, 1.0) if known else Scale.of(finite or [0.0, 1.0], zero=True)
    chosen = (advice.init, advice.activation)
    cells = [
        [(values.get((r, c), math.nan), _words(values.get((r, c))), (r, c) == chosen) for c in columns] for r in rows
    ]
    panel = matrix_panel(
        rows, columns, cells, scale=scale, row_label="init", x_label="activation", label=label,
        better="more" if known else "less",
    )  # fmt: skip
    reading = "Bold: recommended. Brighter is better. Grey: not for this network, or not finite."
    return Figure("Candidates: initialisation by activation", (panel,), reading)


# ------------------------------------------------------------------ pieces
def _value(option: Option, known: bool) -> float:
    assert option.outlook is not None
    return option.outlook.score if known else option.risk


def _words(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}" if math.isfinite(value) else "not finite"


def _facts(advice: Advice) -> list[tuple[str, str, str]]:
    outlook = advice.options[0].outlook
    facts = [("confidence", advice.confidence, "")]
    if outlook is not None and outlook.calibrated:
        facts.insert(0, ("probability that it trains", f"{outlook.score:.2f}", outlook.verdict))
    elif outlook is not None:
        facts.insert(0, ("outlook", outlook.verdict, ""))
    similar = advice.past.get((advice.init, advice.activation))
    if similar is not None and similar.runs:
        facts.append(("similar runs that trained", f"{similar.trained} of {similar.runs}", ""))
    else:
        facts.append(("candidates", str(sum(o.outlook is not None for o in advice.options)), "no similar runs"))
    return facts


def _row(advice: Advice, option: Option) -> dict[str, str]:
    assert option.outlook is not None
    past = advice.past.get((option.init, option.activation))
    return {
        "init": option.init,
        "activation": option.activation,
        "outlook": option.outlook.verdict,
        "probability": f"{option.outlook.score:.2f}" if option.outlook.calibrated else "–",
        "risk": f"{option.risk:.2f}" if math.isfinite(option.risk) else "not finite",
        "runs": str(past.runs) if past else "0",
        "trained": str(past.trained) if past else "–",
        "why": option.why,
    }
