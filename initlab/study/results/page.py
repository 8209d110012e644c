"""HTML page of a study: result, arms, figures; self-contained, without scripts or network access."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence

from initlab.core.redact import redact_passwords
from initlab.core.text import to_one_line
from initlab.study.results import leaderboard, robustness
from initlab.study.results.leaderboard import Row
from initlab.study.results.outcome import Outcome
from initlab.study.search.arms import ENDED, ArmResult, varying
from initlab.study.space.plan import Plan

#: maximum number of rows of the leaderboard; leaderboard.csv has all
_ROWS = 300
#: maximum number of arms that a sentence names
_NAMED = 12
_TITLES = {
    "pareto": (
        "The front",
        "Non-dominated arms (no other arm is as good in all objectives and better in one) are filled and numbered.",
    ),
    "heat_map": ("Every combination", "The mean over seeds; grey where an arm has no value."),
    "importance": (
        "Importance of the keys",
        "Shares by PED-ANOVA of reaching the top arms; grey: not more important than in random data.",
    ),
    "parallel": ("Parallel coordinates", "One line an arm, from its choices to its score; the best in black."),
    "history": ("Optimisation history", "Each arm by trial number, and the best so far."),
}


def page(plan: Plan, made: Outcome, images: Mapping[str, bytes]) -> str:
    """The page as text; values from the configuration are escaped.

    Args:
        plan: of the study.
        made: its result.
        images: PNG files by stem, as `make_figures` names them.
    """
    from jinja2 import Environment, PackageLoader

    rows = made.rows
    keys = varying(made.arms)
    ways = ", ".join(f"{m} ({d})" for m, d in zip(plan.metrics, plan.directions, strict=True))
    more = f"; the first {_ROWS} of {len(rows)}" if len(rows) > _ROWS else ""
    answers = (
        _best(plan, rows),
        _without_result(rows),
        _robustness(plan, made.arms),
        ("Importance", [made.importance.removeprefix("importance: ")]),
    )
    environment = Environment(autoescape=True, trim_blocks=True, loader=PackageLoader("initlab", "report"))
    return environment.get_template("study.html.j2").render(
        name=plan.name,
        summary=made.summary,
        answers=[(heading, lines) for heading, lines in answers if any(lines)],
        caption=f"By {ways}, mean over seeds with its 95 % interval{more}.",
        columns=["rank", *plan.metrics, "seeds", *_best_column(rows), *keys, "state", "note"],
        rows=[_cells(r, keys, told=bool(_best_column(rows))) for r in rows[:_ROWS]],
        images=[(*_title(stem), base64.b64encode(data).decode()) for stem, data in _order_images(images)],
        again=f"python -m initlab -m study.name={plan.name} ...",
        settings=_settings(plan),
    )  # fmt: skip


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


def _cells(row: Row, keys: Sequence[str], *, told: bool) -> list[str]:
    scores = [leaderboard.score(r).partition(" (")[0] for r in (row, *row.others)]
    choices = [row.result.choices.get(k, "") for k in keys]
    middle = [row.verdict if told else None]
    cells = [str(row.rank or ""), *scores, str(row.seeds or ""), *middle, *choices, row.result.state, row.note]
    return [to_one_line(c) for c in cells if c is not None]


def _title(stem: str) -> tuple[str, str]:
    plain, _, number = stem.rpartition("_")
    if number.isdecimal() and plain in _TITLES:
        title, said = _TITLES[plain]
        return f"{title}, objective {number}", said
    return _TITLES.get(stem, (stem, ""))


def _order_images(images: Mapping[str, bytes]) -> list[tuple[str, bytes]]:
    order = list(_TITLES)

    def place(stem: str) -> tuple[int, str]:
        known = [i for i, k in enumerate(order) if stem == k or stem.startswith(f"{k}_")]
        return (known[0] if known else len(order), stem)

    return sorted(images.items(), key=lambda item: place(item[0]))


def _settings(plan: Plan) -> list[tuple[str, str]]:
    said = [
        (f"study.{k}", str(getattr(plan.settings, k))) for k in ("sampler", "trials", "pruner", "objective", "tune_lr")
    ]
    space = [(d.key, to_one_line(str(d))) for d in plan.space.dimensions]
    fixed = [tuple(redact_passwords(f).partition("=")[::2]) for f in plan.space.fixed]
    return [*space, *((k, v) for k, v in fixed), ("replicas", str(plan.replicas)), ("seed", str(plan.seed)), *said]
