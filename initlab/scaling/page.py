"""HTML pages of the coordinate check and of learning-rate transfer."""

from __future__ import annotations

from collections.abc import Sequence

from initlab.report.charts.figure import css
from initlab.report.page import environment
from initlab.scaling.coordinate_check import CoordinateCheck
from initlab.scaling.transfer import Transfer

_SEVERITY = {"pass": "ok", "undecided": "warning", "fail": "failure"}
_MOVES = {"stays": "ok", "not known": "warning", "moves": "failure"}


def coordinate_page(check: CoordinateCheck, *, name: str, todo: Sequence[tuple[str, str]], again: str) -> str:
    """The page as text; values from the configuration are escaped.

    Args:
        check: the result.
        name: of the network and its data.
        todo: (command, reason) of what to do next.
        again: the command that repeats it.
    """
    counts = {v: sum(m.verdict == v for m in check.modules) for v in ("pass", "undecided", "fail")}
    head, rows = check.table()
    return environment().get_template("scaling.html.j2").render(
        chart_css=css(), name=name, what=f"coordinate check over the {check.axis}", severity=_SEVERITY[check.verdict],
        headline=check.sentence(), because=[check.optimizer] if check.optimizer else [],
        facts=[(v, str(n), "activations") for v, n in counts.items()], todo=todo, drawn=check.plot(), head=head,
        rows=rows, notes=check.notes, again=again,
    )  # fmt: skip


def transfer_page(transfer: Transfer, *, name: str, todo: Sequence[tuple[str, str]], again: str) -> str:
    """The page as text; arguments as in `coordinate_page`."""
    head, rows = transfer.table()
    first, last = transfer.optima[0], transfer.optima[-1]
    return environment().get_template("scaling.html.j2").render(
        chart_css=css(), name=name, what=f"learning rate over the {transfer.grid.axis}",
        severity=_MOVES[transfer.verdict], headline=transfer.sentence(),
        because=[transfer.base_sentence(), transfer.loss_sentence()],
        facts=[
            ("shift of log2 lr", f"{transfer.shift:+.1f}", f"± {transfer.shift_half_width:.1f}"),
            (f"best loss at {transfer.grid.sizes[0]}", f"{first.loss:.3f}", ""),
            (f"best loss at {transfer.grid.sizes[-1]}", f"{last.loss:.3f}", ""),
        ],
        todo=todo, drawn=transfer.plot(), head=head, rows=rows, notes=transfer.notes, again=again,
    )  # fmt: skip
