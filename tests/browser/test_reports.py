"""The pages that runs and studies leave, opened in a browser: readable, complete, and asking nobody for anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.browser.chromium import browser, errors, faint, picture, requested, scheme
from tests.cli.driver import initlab

pytestmark = [pytest.mark.process, pytest.mark.timeout(240), pytest.mark.xdist_group("browser")]
TINY = ("data=digits", "data.limit=200", "model=mlp", "model.width=16", "model.depth=3", "trainer.epochs=2")
LARGEST = 3_000_000


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Of a healthy run, one that went wrong, a study, and one with names that a page must not take for its own text."""
    found: dict[str, Path] = {}
    for name, arguments in (
        ("run", ("init=he",)),
        ("failed_run", ("init=zeros", 'tracking.run_name="<script>alert(1)</script>"')),
        (
            "study",
            ("-m", "init=he,zeros,irnn", "activation=relu,tanh", "replicas=2", "probes=none", "tracking.report=false"),
        ),
    ):
        folder = tmp_path_factory.mktemp(name)
        done = initlab(*arguments[:1], *TINY, *arguments[1:], cwd=folder, timeout=200)
        assert done.returncode in (0, 1), done.stderr
        (found[name],) = folder.glob("mlruns/**/report.html")
    study = found["study"].parents[4]
    done = initlab("compare", "out=comparison", cwd=study, timeout=200)
    assert done.returncode == 0, done.stderr
    found["comparison"] = study / "comparison" / "comparison.html"
    return found


@pytest.fixture(scope="module")
def chrome() -> Any:
    with browser() as found:
        yield found


@pytest.mark.parametrize("name", ["run", "failed_run", "study", "comparison"])
@pytest.mark.parametrize("colours", ["light", "dark"])
def test_a_report_is_readable_and_asks_nobody(
    pages: dict[str, Path], chrome: Any, name: str, colours: str, tmp_path: Path
) -> None:
    page = pages[name]
    assert page.stat().st_size < LARGEST
    errors(chrome)
    requested(chrome)
    scheme(chrome, colours)
    chrome.get(page.as_uri())
    assert errors(chrome) == []
    assert requested(chrome) == [page.as_uri()]
    assert faint(chrome) == []
    charts = chrome.execute_script(
        "return [...document.querySelectorAll('svg.chart')].filter(s => s.getClientRects().length)"
        ".map(s => [s.getBoundingClientRect().width, s.getAttribute('aria-label')])"
    )
    assert len(charts) >= 2 and all(width > 100 and label for width, label in charts)
    # a screen reader needs to know what a table's cells belong to, and a keyboard has to reach what scrolls
    assert chrome.execute_script("return [...document.querySelectorAll('th')].every(t => t.scope)")
    assert chrome.execute_script("return [...document.querySelectorAll('.wide')].every(t => t.tabIndex === 0)")
    assert chrome.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    assert chrome.execute_script("return document.scripts.length") == 0
    assert picture(chrome, tmp_path / f"{name}_{colours}.png").stat().st_size > 20_000


def test_a_study_says_who_won_and_who_came_to_nothing(pages: dict[str, Path], chrome: Any) -> None:
    chrome.get(pages["study"].as_uri())
    headings = chrome.execute_script("return [...document.querySelectorAll('h2')].map(h => h.textContent)")
    assert headings[:2] == ["What to do", "Leaderboard"]
    chrome.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    text = chrome.execute_script("return document.body.innerText")
    assert text.index("The best: init=") < text.index("What to do")
    assert "needs a recurrent layer" in text and "init=irnn activation=relu" in text
    rows = chrome.execute_script("return document.querySelectorAll('table')[0].rows.length")
    assert rows == 7
