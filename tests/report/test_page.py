"""The page of a run: the answer first, each remedy once, and the same page from the files that were kept."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from initlab.report.data import FILE, ReportData, data_of
from initlab.report.page import all_figures, headline, page
from initlab.report.stored import PROFILE, draw_page
from initlab.report.table import write_parquet
from tests.cases import experiment, untracked
from tests.report.svg import check

BAD = (
    "data=digits", "data.limit=300", "model=mlp", "model.width=16", "model.depth=12", "trainer.epochs=2", "init=normal",
    "activation=sigmoid",
)  # fmt: skip


@pytest.fixture(scope="module")
def bad() -> ReportData:
    result, told = untracked(*BAD)
    return data_of(experiment(*BAD), told.prepared.sites, told.prepared.splits, result)


def test_the_answer_comes_first_and_every_remedy_once(bad: ReportData) -> None:
    text = page(bad, all_figures(bad))
    names = [f.name for f in bad.findings if f.severity in ("failure", "warning")]
    assert names and headline(bad.findings).lower() == ", ".join(names).replace("_", " ")
    order = [text.index(w) for w in (headline(bad.findings), "What to do", "What was seen", "To repeat this run")]
    assert order == sorted(order)
    todo = text[order[1] : order[2]]
    commands = re.findall(r"<code class=\"command\"[^>]*>([^<]*)</code>", todo)
    assert commands and len(set(commands)) == len(commands)
    assert set(commands) <= set(bad.commands.values())


def test_at_most_four_pictures_are_not_folded_and_one_of_them_shows_the_finding(bad: ReportData) -> None:
    text = page(bad, all_figures(bad))
    shown = re.findall(r"<h3>([^<]*)</h3>", text)
    assert 2 <= len(shown) <= 4
    assert shown[0] == "Loss and score" and "Gradient norm by layer over time" in shown
    assert text.count("<figure") == len(all_figures(bad))


def test_every_figure_can_be_read(bad: ReportData) -> None:
    made = all_figures(bad)
    assert {"loss_curves", "gradient_norm", "predicted_and_measured", "confusion", "weight_histograms"} <= set(made)
    for figure in made.values():
        check(figure)


def test_the_page_from_the_files_is_the_page_of_the_run(bad: ReportData, tmp_path: Path) -> None:
    (tmp_path / FILE).write_text(bad.to_json(), encoding="utf-8")
    write_parquet(bad.profile, tmp_path / PROFILE)
    assert draw_page(tmp_path) == page(bad, all_figures(bad))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"histograms": []}', '{"histograms": 3}'])
def test_files_that_are_not_ours_are_refused(bad: ReportData, tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text, encoding="utf-8")
    write_parquet(bad.profile, tmp_path / PROFILE)
    with pytest.raises((ValueError, KeyError, TypeError)):
        draw_page(tmp_path)


def test_a_run_without_measurements_has_a_page(bad: ReportData) -> None:
    bare = replace(bad, profile=replace(bad.profile, rows=(), histograms=(), curves={}), confusion=(), findings=())
    made = all_figures(bare)
    assert made == {} and "Healthy" in page(bare, made)
