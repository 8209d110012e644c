"""The page of claims in a browser: readable on a phone and on a screen, in both colours, and asking nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from initlab.papers.judge import judge
from initlab.papers.page import papers_page
from initlab.papers.results import Row
from tests.browser.chromium import browser, errors, faint, requested, resize, scheme, violations
from tests.papers.claims import claim, rows

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]

HE, XAVIER = {"init": "he"}, {"init": "xavier"}
LONG = "A network of thirty layers learns from one initialisation, and from the other it does not learn at all."


def write_page(file: Path) -> Path:
    """A claim of each verdict, with a figure of each kind, and notes."""
    curve = tuple((float(k), 2.3 * 0.9**k) for k in range(20))
    first = [Row(part="main", params=HE, seed=s, values={"x": 0.8 + s / 100}, curve=curve) for s in range(4)]
    found = [*first, *rows(XAVIER, (0.1, 0.2, 0.15, 0.12), metric="x")]
    made = []
    for above, kind in ((0.5, "curves"), (0.69, "bars"), (0.9, "bars")):
        check = {"metric": "x", "arm": "init=he", "minus": "init=xavier", "above": above}
        figure = {"kind": kind, "metric": "x", "reading": "More is better."}
        made.append(
            judge(claim(says=LONG, checks=[check, check], figure=figure, reason="It is too small."), found, 63.0)
        )
    late = rows(HE, (100, None, 120), metric="until/step", budget=1000)
    made.append(judge(claim(checks=[{"metric": "until/step", "arm": "init=he", "below": 500}]), late, 1.0))
    grid = [
        r for d in (10, 30, 100) for w in (32, 64)
        for r in rows({"model.depth": str(d), "model.width": str(w)}, (w / d, w / d + 0.1), metric="x")
    ]  # fmt: skip
    for figure in (
        {"kind": "grid", "metric": "x", "x": "model.depth", "y": "model.width"},
        {"kind": "lines", "metric": "x", "x": "model.depth", "log": "xy"},
    ):
        check = {"metric": "x", "arm": "model.width=32", "slope": "model.depth", "below": 0}
        made.append(judge(claim(checks=[check], figure=figure), grid, 1.0))
    assert [m.verdict for m in made[:4]] == ["reproduces", "undecided", "does not reproduce", "undecided"]
    file.write_text(papers_page(made, again="python -m initlab papers"), encoding="utf-8")
    return file


def test_the_page_is_readable_at_every_width_and_asks_nobody(tmp_path: Path) -> None:
    page = write_page(tmp_path / "papers.html")
    with browser() as chrome:
        for colours in ("light", "dark"):
            scheme(chrome, colours)
            for width in (390, 1280):
                resize(chrome, width)
                errors(chrome), requested(chrome)
                chrome.get(page.as_uri())
                assert errors(chrome) == [] and requested(chrome) == [page.as_uri()]
                assert faint(chrome) == [], (colours, width)
                assert chrome.execute_script("return document.documentElement.scrollWidth") <= width
                assert chrome.execute_script("return [...document.querySelectorAll('th')].every(t => t.scope)")
                charts = chrome.execute_script(
                    "return [...document.querySelectorAll('svg.chart')].filter(s => s.getClientRects().length)"
                    ".map(s => [s.getBoundingClientRect().width, s.getAttribute('aria-label')])"
                )
                assert len(charts) == 5 and all(100 < w <= width and label for w, label in charts)
                # what a reader came for is in sight without scrolling sideways
                assert chrome.execute_script(
                    "return [...document.querySelectorAll('table')].every(t => [...t.rows].every(r =>"
                    " r.cells[Math.min(1, r.cells.length - 1)].getBoundingClientRect().left < window.innerWidth))"
                )
        assert violations(chrome) == []
