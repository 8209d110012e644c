"""HTML page of a study: result, arms, figures; self-contained, without scripts or network access."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from initlab.core.redact import redact_passwords
from initlab.core.text import to_one_line
from initlab.report.charts import Figure
from initlab.report.charts.figure import css
from initlab.report.page import environment
from initlab.study.results import leaderboard, robustness
from initlab.study.results.leaderboard import Row
from initlab.study.results.outcome import Outcome
from initlab.study.search.arms import ENDED, ArmResult, varying
from initlab.study.space.plan import Plan

#: maximum number of rows of the leaderboard; leaderboard.csv has all
_ROWS = 300
#: maximum number of arms that a sentence names
_NAMED = 12
#: figures that are not folded, in their order
_MAIN = ("pareto", "heat_map", "importance", "history")


def page(plan: Plan, made: Outcome, figures: Mapping[str, Figure]) -> str:
    """The page as text; values from the configuration are escaped.

    Args:
        plan: of the study.
        made: its result.
        figures: by stem, as `make_figures` names them.
    """
    rows = made.rows
    keys = varying(made.arms)
    ways = ", ".join(f"{m} ({d})" for m, d in zip(plan.metrics, plan.directions, strict=True))
    more = f"; the first {_ROWS} of {len(rows)}" if len(rows) > _ROWS else ""
    (heading, (best, *beside)), *others = (
        _best(plan, rows),
        _without_result(rows),
        _robustness(plan, made.arms),
        ("Importance", [made.importance.removeprefix("importance: ")]),
    )
    ranked = [r for r in rows if r.rank is not None]
    main = [s for s in figures if s in _MAIN]
    return (
        environment()
        .get_template("study.html.j2")
        .render(
            chart_css=css(),
            name=f"Study {plan.name}",
            heading=heading,
            severity="ok" if ranked else "failure",
            best=best,
            beside=beside,
            facts=_facts(plan, made, ranked),
            todo=_todo(plan, ranked),
            answers=[(title, lines) for title, lines in others if any(lines)],
            summary=made.summary,
            caption=f"By {ways}, mean over seeds with its 95 % interval{more}.",
            columns=["rank", *plan.metrics, "seeds", *_best_column(rows), *keys, "state", *_note_column(rows)],
            rows=[_cells(r, keys, rows) for r in rows[:_ROWS]],
            main=[figures[s] for s in sorted(main, key=_MAIN.index)],
            rest=[(_title(s, f), f) for s, f in figures.items() if s not in main],
            settings=_settings(plan),
        )
    )


def _facts(plan: Plan, made: Outcome, ranked: Sequence[Row]) -> list[tuple[str, str, str]]:
    """The best value, the size of the best set, and what ended: (label, value, remark)."""
    facts: list[tuple[str, str, str]] = []
    if ranked:
        value, _, interval = leaderboard.score(ranked[0]).partition(" (")[0].partition(" ")
        facts.append((f"best {plan.metrics[0]}", value, interval.strip("[]").replace("…", "to")))
        close = sum(r.verdict == "not distinguishable" for r in ranked)
        if len(plan.metrics) == 1:
            facts.append(("not distinguishable from it", str(close), f"of {len(ranked) - 1} other arms"))
    lost = sum(r.rank is None and r.result.state in ENDED for r in made.rows)
    facts.append(("arms with a result", str(len(ranked)), f"{lost} without" if lost else f"{plan.replicas} seeds each"))
    return facts


def _todo(plan: Plan, ranked: Sequence[Row]) -> list[tuple[str, str]]:
    """(command, reason) of what to do next."""
    if not ranked:
        return [(f"python -m initlab explain study={plan.name}", "No arm has a result; see why")]
    return [
        (f"python -m initlab compare study={plan.name}", "P-values, effects, and the number of seeds needed"),
        (f"python -m initlab explain study={plan.name}", "Why the arms are in this order"),
    ]


def _best(plan: Plan, rows: Sequence[Row]) -> tuple[str, list[str]]:
    """The best arm, and the arms that are not distinguishable from it."""
    ranked = [r for r in rows if r.rank is not None]
    if not ranked:
        return "The best", ["no arm has a result"]
    if len(plan.metrics) > 1:
        front = [f"{r.result.name}: {leaderboard.scores(r, plan.metrics)}" for r in ranked if r.rank == 1]
        return "The front", [*front[:_NAMED], *([f"and {len(front) - _NAMED} more"] if len(front) > _NAMED else [])]
    first, *others = ranked
    lines = [f"{first.result.name} with {', '.join(plan.metrics)} {leaderboard.score(first)}"]
    close = [r.result.name for r in others if r.verdict == "not distinguishable"]
    if close:
        lines.append(f"not distinguishable from it (at 5 %, corrected for all arms): {_list_names(close)}")
    if first.seeds < 3:
        lines.append("with fewer than three seeds per arm no arm is called worse: use replicas=5")
    return "The best", lines


def _without_result(rows: Sequence[Row]) -> tuple[str, list[str]]:
    """Arms without a result, grouped by reason."""
    why: dict[str, list[str]] = {}
    for row in rows:
        if row.rank is None and row.result.state in ENDED:
            why.setdefault(row.note or row.result.state, []).append(row.result.name)
    return "Without a result", [f"{reason}: {_list_names(names)}" for reason, names in why.items()]


def _robustness(plan: Plan, arms: Sequence[ArmResult]) -> tuple[str, list[str]]:
    """Robustness: size of the near-best area, where two numbers were swept."""
    head, *rest = robustness.lines(arms, plan.direction) or [""]
    return f"Robust{head.removeprefix('robustness')}", [line.strip() for line in rest]


def _list_names(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} arm{'' if len(names) == 1 else 's'} ({', '.join(names[:_NAMED])}{more})"


def _best_column(rows: Sequence[Row]) -> list[str]:
    return ["best set"] if any(r.verdict for r in rows[1:]) else []


def _note_column(rows: Sequence[Row]) -> list[str]:
    return ["note"] if any(r.note for r in rows) else []


def _cells(row: Row, keys: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """The cells of a row; `rows` are all of the table."""
    scores = [leaderboard.score(r).partition(" (")[0] for r in (row, *row.others)]
    choices = [row.result.choices.get(k, "") for k in keys]
    middle, last = [row.verdict] * len(_best_column(rows)), [row.note] * len(_note_column(rows))
    cells = [str(row.rank or ""), *scores, str(row.seeds or ""), *middle, *choices, row.result.state, *last]
    return [to_one_line(c) for c in cells]


def _title(stem: str, figure: Figure) -> str:
    number = stem.rpartition("_")[2]
    return f"{figure.title}, objective {number}" if number.isdecimal() else figure.title


def _settings(plan: Plan) -> list[tuple[str, str]]:
    said = [
        (f"study.{k}", str(getattr(plan.settings, k))) for k in ("sampler", "trials", "pruner", "objective", "tune_lr")
    ]
    space = [(d.key, to_one_line(str(d))) for d in plan.space.dimensions]
    fixed = [tuple(redact_passwords(f).partition("=")[::2]) for f in plan.space.fixed]
    return [*space, *((k, v) for k, v in fixed), ("replicas", str(plan.replicas)), ("seed", str(plan.seed)), *said]
