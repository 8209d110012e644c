"""The area of two swept numbers in which an arm does well."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from initlab.study.results.robustness import areas, lines, near_best_threshold
from initlab.study.search.arms import ArmResult
from tests.cli.driver import initlab
from tests.study.study_cases import TINY


def arm(number: int, value: float | None, **choices: str) -> ArmResult:
    return ArmResult(
        trial=number, arm=str(number), choices={k.replace("__", "."): v for k, v in choices.items()},
        state="pruned" if value is None else "complete", value=value,
    )  # fmt: skip


def plane(good: set[tuple[int, int]], **others: str) -> list[ArmResult]:
    return [
        arm(i * 4 + j, 0.9 if (i, j) in good else 0.2, init__gain=str(2.0**i), optimizer__lr=f"1e-{j}", **others)
        for i in range(4)
        for j in range(4)
    ]


def test_the_area_of_good_combinations() -> None:
    (found,) = areas(plane({(1, 1), (1, 2), (2, 2)}), "maximize")
    assert (found.near, found.ended, found.keys) == (3, 16, ("init.gain", "optimizer.lr"))
    assert found.spans == ((2.0, 4.0), (0.01, 0.1)) and found.share == pytest.approx(3 / 16)
    assert found.line() == "3 of 16 combinations (19 %); init.gain 2 to 4, optimizer.lr 0.01 to 0.1"


def test_the_widest_first_and_what_diverged_counts() -> None:
    narrow, wide = plane({(0, 0)}, init="normal"), plane({(0, 0), (3, 3)}, init="he")
    wide[5] = arm(99, None, init__gain="2.0", optimizer__lr="1e-1", init="he")
    found = areas([*narrow, *wide], "maximize")
    assert [(a.of, a.near, a.ended) for a in found] == [("init=he", 2, 16), ("init=normal", 1, 16)]


def test_of_a_loss_the_lowest_is_best() -> None:
    arms = [arm(i, 1.0 + 0.05 * i, a=str(i % 3), b=str(i // 3)) for i in range(9)]
    assert near_best_threshold(arms, "minimize") == pytest.approx(1 / 0.9)
    assert areas(arms, "minimize")[0].near == 3


def test_where_there_is_no_plane_nothing_is_said() -> None:
    assert lines([arm(0, 0.5, init="he"), arm(1, 0.6, init="xavier")], "maximize") == []
    assert lines(plane(set())[:4], "maximize") == []  # one gain alone
    assert lines([arm(i, -1.0, a=str(i % 3), b=str(i // 3)) for i in range(9)], "maximize") == []
    assert lines([arm(i, math.nan, a=str(i % 3), b=str(i // 3)) for i in range(9)], "maximize") == []


@pytest.mark.process
def test_it_is_told_at_the_end_and_in_the_report(workdir: Path) -> None:
    done = initlab("-m", *TINY, "init=he", "init.gain=0.5,1.4,4", "optimizer.lr=1e-4,1e-3,1e-2", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert "robustness: within 10 % of the best" in done.stdout and "of 9 combinations" in done.stdout
    (page,) = [p for p in workdir.rglob("report.html") if ".initlab" not in p.parts]
    assert "Robust: within 10 % of the best" in page.read_text()
