"""Bars: histograms of values, and lengths by name."""

from __future__ import annotations

import math
from collections.abc import Sequence

from initlab.report.charts.figure import WIDTH, Panel, legend, shorten, text, text_width
from initlab.report.charts.frame import Frame
from initlab.report.charts.scale import Scale, to_text

#: characters of a name that have room beside the bars
_BESIDE = 24
#: bars that may have their names above
_ABOVE = 16
#: (label, colour, low, high, counts) of a distribution
Distribution = tuple[str, int, float, float, Sequence[float]]


def histogram_panel(
    title: str, distributions: Sequence[Distribution], *, x_label: str, log: bool = False, width: float = 172.0,
    keys: bool = False,
) -> Panel:  # fmt: skip
    """Distributions over one axis: share of the values in each bin.

    Args:
        title: of the panel.
        distributions: of counts in equal bins; one bin means that all values are equal.
        x_label: of the values.
        log: shares on a logarithmic axis, where one bin holds most of the values.
        width: of the panel.
        keys: whether there is a legend.
    """
    x = Scale.of([v for _, _, low, high, _ in distributions for v in (low, high)], margin=0.02)
    shares = [(c, low, high, [n / (sum(counts) or 1) for n in counts]) for _, c, low, high, counts in distributions]
    known = [s for _, _, _, line in shares for s in line if s > 0]
    floor = min(known, default=0.1) / 2
    y = Scale(floor, 1.3, True) if log else Scale(0.0, 1.08 * max(known, default=1.0))
    items = [(f'<rect class="area f{c}" width="16" height="10"/>', label) for label, c, *_ in distributions]
    drawn, above = legend(items if keys else [], left=2, width=width)
    body = [drawn]
    frame = Frame(36, above + 28, width - 46, 74, x, y)
    body.append(text(2, above + 11, shorten(title, int(width / 6.2)), style="name"))
    body.append(frame.draw(x_label, "", x_ticks=2))
    bottom = frame.top + frame.height
    for c, low, high, line in shares:
        if len(line) == 1:
            body.append(f'<path class="line s{c}" d="M{frame.at_x(low):.1f} {frame.top:.1f}V{bottom:.1f}"/>')
            continue
        path = [f"M{frame.at_x(low):.1f} {bottom:.1f}"]
        for k, share in enumerate(line):
            place = frame.y.place(share)
            at = bottom if math.isnan(place) else bottom - frame.height * max(0.0, place)
            path.append(f"V{at:.1f}H{frame.at_x(low + (high - low) * (k + 1) / len(line)):.1f}")
        outline = "".join(path) + f"V{bottom:.1f}"
        body.append(f'<path class="area f{c}" d="{outline}Z"/><path class="line s{c}" d="{outline}"/>')
    words = "; ".join(
        f"{label} from {to_text(low)} to {to_text(high)}" if len(n) > 1 else f"{label} all {to_text(low)}"
        for label, _, low, high, n in distributions
    )
    return Panel(width, bottom + 34, "".join(body), f"distribution of {x_label} in {title}: {words}")


def bars_panel(
    names: Sequence[str], values: Sequence[float], *, x_label: str, texts: Sequence[str] = (),
    grey: frozenset[int] = frozenset(), width: float = WIDTH, most: int = 60,
) -> Panel:  # fmt: skip
    """A bar for each name, from the top, between 0 and its value.

    Args:
        names, values: of the bars; a value that is not finite has none.
        x_label: of the values.
        texts: at the end of the bars; by default the values.
        grey: indices of bars drawn grey.
        width: of the panel.
        most: bars that are drawn; how many are left out is said.
    """
    more = len(names) - most
    names, values = names[:most], values[:most]
    texts = texts or [to_text(float(f"{v:.3g}")) for v in values]
    longest = max(map(len, names))
    # the names of a few bars that would have to be cut stand above them
    above = 15.0 if longest > _BESIDE and len(names) <= _ABOVE else 0.0
    left = 10.0 if above else 10 + 6.1 * min(longest, _BESIDE)
    row = 17.0 + above
    room = max(
        58.0, 8 + max((text_width(t) for v, t in zip(values, texts, strict=False) if math.isfinite(v)), default=0.0)
    )
    frame = Frame(left, 4, width - left - room, row * len(names), Scale.of([*values, 0.0], zero=True), Scale(0, 1))
    body = [frame.draw(x_label + (f"; {more} more are not drawn" if more > 0 else ""), "", y_ticks=False, x_ticks=4)]
    for k, (name, value) in enumerate(zip(names, values, strict=True)):
        y = 4 + row * k + above
        place = (left + 2, y - 1, "start") if above else (left - 5, y + 12, "end")
        shown = shorten(name, int((width - left) / 6.1) if above else _BESIDE)
        body.append(text(*place[:2], shown, anchor=place[2], style="name"))
        if not math.isfinite(value):
            body.append(text(left + 5, y + 12, "not finite", style="soft"))
            continue
        start, end = sorted((frame.at_x(0.0), frame.at_x(value)))
        kind = 8 if k in grey else 0
        body.append(f'<rect class="f{kind}" x="{start:.1f}" y="{y + 3:.1f}" width="{end - start:.1f}" height="11.0"/>')
        body.append(text(end + 5, y + 12, texts[k]))
    words = f"{x_label}: " + "; ".join(f"{n} {to_text(v)}" for n, v in zip(names, values, strict=True))
    return Panel(width, 4 + row * len(names) + 36, "".join(body), words[:1500])
