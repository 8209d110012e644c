"""Parallel coordinates: one line a case, one vertical axis a choice."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from initlab.report.charts.colours import colour
from initlab.report.charts.figure import WIDTH, Panel, text

#: place at which a case passes an axis on which it has no value, where axes reach from 0 to 1
BELOW = -0.12
_AXIS = 118.0


def parallel_panel(
    names: Sequence[str], ticks: Sequence[Sequence[tuple[float, str]]], cases: Sequence[Sequence[float]], *, label: str,
    better: Literal["more", "less"] = "more", height: float = 300.0,
) -> Panel:  # fmt: skip
    """Lines across axes; the last axis is the score, and gives a line its colour: brighter is better.

    Args:
        names: of the axes.
        ticks: of each axis, as (place, words).
        cases: places from 0 to 1 on each axis, the best case last.
        label: of the score.
        better: of the score, which end is bright.
        height: of the panel.
    """
    apart = max(_AXIS, (WIDTH - 110) / max(1, len(names) - 1))
    left, top, bottom = 92.0, 26.0, height - 46.0
    width = left + apart * (len(names) - 1) + 52

    def at(place: float) -> float:
        return bottom - (bottom - top) * place

    shade = f'<rect class="shade" x="{left - 6:.1f}" y="{top - 8:.1f}" width="{width - left - 34:.1f}"'
    body = [f'{shade} height="{at(BELOW) - top + 16:.1f}" rx="3"/>']
    for n, case in enumerate(cases):
        path = [f"M{left:.1f} {at(case[0]):.1f}"]
        for k, (here, there) in enumerate(pairwise(case)):
            x0, x1 = left + k * apart, left + (k + 1) * apart
            third = apart * 0.45
            path.append(f"C{x0 + third:.1f} {at(here):.1f} {x1 - third:.1f} {at(there):.1f} {x1:.1f} {at(there):.1f}")
        best = n == len(cases) - 1
        tone = colour(case[-1] if better == "more" else 1 - case[-1])
        style = 'class="line best"' if best else f'class="thin" stroke="{tone}"'
        body.append(f'<path {style} d="{"".join(path)}"/>')
    for k, name in enumerate(names):
        x = left + k * apart
        body.append(f'<path class="axis" d="M{x:.1f} {at(0):.1f}V{at(1):.1f}"/>')
        body.append(text(x, height - 12, name, anchor="middle", style="name"))
        last = k == len(names) - 1
        for place, words in ticks[k]:
            if math.isfinite(place):
                x_text = x + 5 if last else x - 5
                body.append(text(x_text, at(place) + 3.5, words, anchor="start" if last else "end", style="halo"))
    body.append(text(2, 11, label, style="soft"))
    return Panel(width, height, "".join(body), f"parallel coordinates of {len(cases)} arms over {', '.join(names)}")
