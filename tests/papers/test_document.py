"""What came of claims as lines, Markdown, JSON and a page; docs/papers.md and the script that writes its results."""

from __future__ import annotations

import json
import math
import re
import runpy
import shutil
from pathlib import Path
from typing import Any

import pytest

from initlab.activations import parse_activation
from initlab.errors import InitlabError
from initlab.papers import read_claim
from initlab.papers.catalog import read_entry
from initlab.papers.document import as_fields, lines_of, markdown, number, summary
from initlab.papers.judge import judge
from initlab.papers.measures import MEASURES
from initlab.papers.page import papers_page
from initlab.theory import meanfield
from tests.papers.claims import claim, rows

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "papers.md"
SCRIPT = runpy.run_path(str(ROOT / "docs" / "make_papers.py"))
HE, XAVIER = {"init": "he"}, {"init": "xavier"}
CHECK = {"metric": "test/accuracy", "arm": "init=he", "minus": "init=xavier", "above": 0.4}


def judged(name: str = "mine", **changes: Any) -> Any:
    found = [*rows(HE, (0.81, 0.83, 0.8, 0.84)), *rows(XAVIER, (0.11, 0.13, 0.1, 0.12))]
    made = judge(claim(**{"checks": [CHECK], **changes}), found, 12.4)
    object.__setattr__(made.claim, "name", name)
    return made


def test_the_summary_counts_and_is_a_sentence() -> None:
    good, bad, open_ = judged(), judged(checks=[{**CHECK, "above": 0.9}]), judged(checks=[{**CHECK, "above": 0.7}])
    assert [j.verdict for j in (good, bad, open_)] == ["reproduces", "does not reproduce", "undecided"]
    assert summary([good]) == "1 of 1 claim reproduces"
    assert summary([good, bad, open_]) == "1 of 3 claims reproduces, 1 does not, 1 is undecided"
    assert summary([good, good, bad, bad, open_, open_]) == "2 of 6 claims reproduce, 2 do not, 2 are undecided"
    assert "undecided with 4 seeds" in lines_of(open_)[0]


def test_a_reason_is_shown_with_a_claim_that_does_not_reproduce_alone() -> None:
    why = "The network is too small."
    good, bad = judged(reason=why), judged(reason=why, checks=[{**CHECK, "above": 0.9}])
    for made, shown in ((good, False), (bad, True)):
        assert (why in markdown([made], figures={}, about="")) is shown
        assert (why in papers_page([made], again="x")) is shown


def test_json_holds_numbers_or_null() -> None:
    one = judge(claim(), rows(HE, [0.7]), 1.0)
    fields = json.loads(json.dumps(as_fields(one), allow_nan=False))
    assert fields["checks"][0]["low"] is None and fields["checks"][0]["mean"] == 0.7
    assert fields["verdict"] == "undecided"


@pytest.mark.parametrize(("value", "text"), [
    (0.123456, "0.1235"), (12345.6, "12350"), (1.5e-7, "1.5e-07"), (0.0, "0"), (-3.0, "-3"), (math.nan, "unknown"),
    (-math.inf, "no bound"), (2.5e9, "2.5e+09"),
])  # fmt: skip
def test_a_number_has_four_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_what_a_file_says_is_escaped() -> None:
    hostile = "<script>alert(1)</script> | \" ' & {{ 7*7 }} ![x](http://127.0.0.1/x.png)"
    made = judged(
        says=hostile, paper=hostile, section=hostile, differs=hostile, reason=hostile,
        checks=[{**CHECK, "above": 0.9, "says": hostile}],
        figure={"kind": "bars", "metric": "test/accuracy", "reading": hostile},
    )  # fmt: skip
    page = papers_page([made], again=f"python -m initlab papers '{hostile}'")
    assert "<script>alert" not in page and "&lt;script&gt;alert" in page and "{{ 7*7 }}" in page
    text = markdown([made], figures={}, about="")
    assert all(line.count("|") - line.count("\\|") in (4, 5, 6) for line in text.splitlines() if line.startswith("| "))
    assert "<script>" not in text and "![x]" not in text and "&lt;script&gt;" in text


def test_an_unreadable_number_of_arms_is_a_message() -> None:
    with pytest.raises(InitlabError, match="2 arms fit"):
        judge(claim(checks=[{"metric": "test/accuracy", "above": 0}]), [*rows(HE, [1.0]), *rows(XAVIER, [1.0])], 1.0)


# ------------------------------------------------------------------ docs/papers.md
def test_the_page_explains_every_key_and_every_measurement() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for key in (*read_claim._TOP, *read_claim._CHECK, "kind", "reading", "by", "log", *MEASURES):
        assert f"`{key}`" in text, key
    for key in read_claim._KEYS:
        assert key.removeprefix("study.") in text, key


def test_the_border_of_schoenholz_is_six_correlation_lengths() -> None:
    drawing = read_entry("schoenholz_2017").claim.figure
    assert drawing is not None and len(drawing.border) == 5
    for sigma_w, depth in drawing.border.items():
        predicted = meanfield(parse_activation("tanh"), sigma_w=sigma_w, sigma_b=0.05**0.5).trainable_depth
        # at the critical point the length is infinite, and very long where sigma_w is rounded
        assert depth == pytest.approx(predicted, rel=0.02) or (math.isinf(depth) and predicted > 1000)


def test_the_page_has_room_for_results() -> None:
    text = PAGE.read_text(encoding="utf-8")
    new = SCRIPT["with_results"](text, "| a |\n")
    assert "| a |" in new and SCRIPT["with_results"](new, "| a |") == new
    assert SCRIPT["with_results"](new, text.partition(SCRIPT["BEGIN"])[2].partition(SCRIPT["END"])[0]) != new
    with pytest.raises(ValueError, match="once each"):
        SCRIPT["with_results"](text.replace(SCRIPT["END"], ""), "x")


def test_every_figure_of_the_page_is_there() -> None:
    named = set(re.findall(r"\]\(papers/([\w-]+\.svg)\)", PAGE.read_text(encoding="utf-8")))
    assert named == {f.name for f in (ROOT / "docs" / "papers").glob("*.svg")}


def test_the_script_takes_over_results_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs, out = tmp_path / "docs", tmp_path / "out"
    (docs / "papers").mkdir(parents=True)
    (out / "papers").mkdir(parents=True)
    shutil.copy(PAGE, docs)
    (docs / "papers" / "old.svg").write_text("<svg/>")
    (out / "papers" / "mine.svg").write_text("<svg>1</svg>")
    made = markdown([judged()], figures={"mine": "papers/mine.svg"}, about="Measured today.")
    (out / "papers.md").write_text(made, encoding="utf-8")
    assert SCRIPT["main"]([str(out)], docs) == 0
    assert [f.name for f in (docs / "papers").iterdir()] == ["mine.svg"]
    text = (docs / "papers.md").read_text(encoding="utf-8")
    assert "Measured today." in text and text.startswith(PAGE.read_text(encoding="utf-8")[:500])
    assert SCRIPT["main"]([str(tmp_path)], docs) == 2 and "usage" in capsys.readouterr().err
