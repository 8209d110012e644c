"""The leaderboard, its table and its line, and what is told while a study goes on; intervals against scipy."""

from __future__ import annotations

import io
import math
import os
import random
import re
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
import pytest
from rich.cells import cell_len

from initlab.statistics.judgement import judge
from initlab.study.results.leaderboard import leaderboard, standings, summary, table
from initlab.study.results.live import LiveTable, estimate_remaining, format_duration
from initlab.study.search.arms import ArmResult, ArmState, Replica

METRIC = "val/accuracy"


def arm(
    trial: int,
    values: Sequence[float | None] = (),
    *,
    state: ArmState = "complete",
    value: float | None = None,
    reason: str = "",
    seconds: float = 0.0,
    **choices: str,
) -> ArmResult:
    """An arm with one replica a value; a value of None is a seed that diverged."""
    replicas = tuple(
        Replica(seed=s, value=v, status="diverged" if v is None else "finished") for s, v in enumerate(values)
    )
    known = [v for v in values if v is not None]
    if value is None and known and state == "complete":
        value = fmean(known)
    return ArmResult(
        trial=trial, arm=f"{trial:012x}", choices=choices or {"init": f"i{trial}"}, state=state, value=value,
        replicas=replicas, reason=reason, seconds=seconds,
    )  # fmt: skip


def many(count: int = 240) -> list[ArmResult]:
    draw = random.Random(3)
    return [
        arm(i, [draw.gauss(i / 1000, 0.01) for _ in range(5)], init=f"i{i % 60}", activation=f"a{i // 60}")
        for i in range(count)
    ]


# ------------------------------------------------------------------ leaderboard
def test_order_ties_by_trial_and_the_rest_behind() -> None:
    arms = [
        arm(9, state="failed", reason="raised"),
        arm(7, state="pruned", value=0.99, reason="dead"),
        arm(6, state="waiting"),
        arm(5, state="running", value=0.98),
        arm(4, [0.5]),
        arm(3, [0.8]),
        arm(2, [0.5]),
        arm(1, value=math.nan),
        arm(0, value=math.inf),
    ]
    up = leaderboard(arms, direction="maximize")
    assert [r.result.trial for r in up] == [3, 2, 4, 0, 1, 5, 6, 7, 9]
    assert [r.rank for r in up] == [1, 2, 3, *[None] * 6]
    down = leaderboard(arms, direction="minimize")
    assert [r.result.trial for r in down] == [2, 4, 3, 0, 1, 5, 6, 7, 9]
    assert [r.note for r in up[3:]] == ["no finite objective", "no finite objective", "", "", "dead", "raised"]
    assert [r.result for r in standings(arms, direction="maximize")] == [r.result for r in up]


def matrix(arms: Sequence[ArmResult]) -> np.ndarray:
    return np.array([list(a.by_seed().values()) for a in arms])


def test_numbers_order_and_words_are_those_of_the_one_judgement() -> None:
    rows = leaderboard(many(), direction="maximize")
    found = judge(matrix([r.result for r in rows]))
    assert [r.mean for r in rows] == sorted((r.mean for r in rows), reverse=True)
    assert [(r.low, r.high) for r in rows] == [
        pytest.approx(e) for e in zip(found.intervals.low, found.intervals.high, strict=True)
    ]
    expected = ["not distinguishable" if found.in_best_set(i) else "worse" for i in range(240)]
    assert [r.verdict for r in rows] == ["best", *expected[1:]] and len(set(expected)) == 2


def test_pairs_tell_apart_what_unpaired_intervals_do_not() -> None:
    seeds = [0.1, 0.3, 0.5, 0.7]
    noise = [0.001, -0.001, 0.0, 0.002]
    best, close = leaderboard(
        [arm(0, [v + 0.01 + e for v, e in zip(seeds, noise, strict=True)]), arm(1, seeds)], direction="maximize"
    )
    assert close.low < best.mean < close.high  # the seeds spread far more than the arms differ
    assert close.verdict == "worse"
    equal = leaderboard([arm(0, seeds), arm(1, seeds)], direction="maximize")
    assert [r.verdict for r in equal] == ["best", ""]  # nothing scatters about the difference


def test_below_three_seeds_nothing_is_called_worse() -> None:
    one = leaderboard([arm(0, [0.9]), arm(1, [0.1])], direction="maximize")
    assert [r.verdict for r in one] == ["best", ""]
    two = leaderboard([arm(0, [0.9, 0.91]), arm(1, [0.1, 0.11])], direction="maximize")
    assert [r.verdict for r in two] == ["best", ""]


def test_an_arm_with_too_few_seeds_does_not_lead() -> None:
    rows = leaderboard([arm(0, [0.99], state="pruned"), arm(1, [0.8, 0.81, 0.82])], direction="maximize")
    assert [(r.result.trial, r.rank) for r in rows] == [(1, 1), (0, 2)] and rows[1].verdict == ""


def test_seeds_that_diverged_count_with_the_value_before_training() -> None:
    def seeds(*values: float | None) -> tuple[Replica, ...]:
        return tuple(
            Replica(seed=i, value=v, status="diverged" if v is None else "finished", start=0.1)
            for i, v in enumerate(values)
        )

    lost = replace(arm(0, state="pruned", reason="diverged: 1 of 4 seeds"), replicas=seeds(0.9, 0.91, None, 0.92))
    good = replace(arm(1, [0.5]), replicas=seeds(0.5, 0.51, 0.52, 0.49))
    rows = leaderboard([lost, good], direction="maximize")
    assert rows[0].mean == pytest.approx((0.9 + 0.91 + 0.1 + 0.92) / 4) and rows[0].failed == 1
    assert rows[0].low < 0.4 and "diverged" in rows[0].note
    text = table(rows, metric=METRIC, width=160)
    assert "1 of 4" in text and "failed" in text.split("\n")[0]


def test_seeds_without_a_value_are_left_out_and_told() -> None:
    (row,) = leaderboard([arm(0, [0.5, math.nan, 0.7], value=0.6)], direction="maximize")
    assert (row.mean, row.seeds) == (pytest.approx(0.6), 2)
    (row,) = leaderboard([arm(0, [None], state="failed", reason="all\nlost")], direction="maximize")
    assert row.note == "all lost; 1 of 1 seed diverged" and math.isnan(row.mean)


def test_the_order_is_that_of_the_means_and_the_objective_is_told() -> None:
    arms = [arm(0, [0.9, 0.1], value=-0.4), arm(1, [0.4, 0.4], value=0.4)]
    rows = leaderboard(arms, direction="maximize")
    assert [r.result.trial for r in rows] == [0, 1]
    text = table(rows, metric=METRIC, width=100)
    assert "objective" in text.split("\n")[0] and "-0.4000" in text.split("\n")[1]
    assert "objective" not in table(leaderboard(many(3), direction="maximize"), metric=METRIC, width=100)


# ------------------------------------------------------------------ table
def test_every_line_of_the_table_holds_its_arm_under_the_right_heading() -> None:
    arms = [
        arm(0, [0.9, 0.92, 0.91], init="he", activation="relu", depth="3"),
        arm(1, [0.5, 0.51, 0.51], init="uniform", activation="relu", depth="3", a="0.05"),
        arm(2, state="pruned", reason="vanished gradient", init="uniform", activation="relu", depth="3", a="0.5"),
    ]
    heading, *lines = table(leaderboard(arms, direction="maximize"), metric=METRIC, width=120).split("\n")
    assert re.split(r"\s{2,}", heading) == ["trial", METRIC, "95 %", "seeds", "best set", "init", "a", "state"]
    found = judge(np.array([[0.9, 0.92, 0.91], [0.5, 0.51, 0.51]])).intervals
    assert re.split(r"\s{2,}", lines[0].strip()) == [
        "0", "0.9100", f"{found.low[0]:.4f} … {found.high[0]:.4f}", "3", "best", "he", "–", "complete",
    ]  # fmt: skip
    assert lines[1].split()[:2] == ["1", "0.5067"] and "worse" in lines[1] and "0.05" in lines[1]
    assert lines[2].endswith("pruned: vanished gradient")
    assert {
        line.index(word) for line, word in zip([heading, *lines], ["init", "he", "uniform", "uniform"], strict=True)
    } == {heading.index("init")}


@pytest.mark.parametrize("width", [1, 2, 7, 20, 40, 60, 80, 100, 200])
def test_no_line_is_wider_than_asked(width: int) -> None:
    arms = [
        *many(30),
        arm(90, [0.9, 0.8], **{"init": "非常に長い名前" * 9, "activation": "n" * 300, "k" * 80: "1"}),
        arm(91, state="failed", reason="e\u0301\u200d👩‍💻" * 40 + "\n\x1b[31m\ttail", init="x", activation="y"),
    ]
    for limit in (1, 20, 40):
        lines = table(leaderboard(arms, direction="maximize"), metric="val/" + "m" * 60, width=width, limit=limit)
        assert max(map(cell_len, lines.split("\n"))) <= width
        assert all(line.isprintable() for line in lines.split("\n"))


def test_at_eighty_cells_names_means_and_ties_can_still_be_read() -> None:
    arms = [
        arm(0, [0.9, 0.91, 0.92], init="orthogonal", activation="sigmoid"),
        arm(1, [0.8, 0.81, 0.82], init="uniform", activation="relu"),
        arm(2, state="failed", reason="a long story " * 20, init="zeros", activation="relu"),
    ]
    lines = table(leaderboard(arms, direction="maximize"), metric=METRIC, width=80).split("\n")
    for word in ("0.9100", "best", "orthogonal", "sigmoid", "complete"):
        assert word in lines[1]
    assert "failed: a long" in lines[3]


def test_long_names_keep_both_ends() -> None:
    arms = [arm(i, [0.5 + i / 10], init="family_" + "x" * 60 + f"_{i}") for i in range(2)]
    lines = table(leaderboard(arms, direction="maximize"), metric="m", width=50).split("\n")
    assert re.search(r"family_x+…x+_1", lines[1]) and re.search(r"family_x+…x+_0", lines[2])


def test_the_limit_keeps_the_best_and_counts_the_rest() -> None:
    arms = [*many(), arm(500, state="pruned"), arm(501, state="failed")]
    lines = table(leaderboard(arms, direction="maximize"), metric=METRIC, width=100).split("\n")
    assert len(lines) == 22
    assert lines[-1] == "… 222 more: 220 complete, 1 pruned, 1 failed"
    assert lines[1].split()[1] == f"{max(fmean(a.by_seed().values()) for a in arms[:240]):.4f}"


def test_an_empty_study_and_one_without_result() -> None:
    assert table([], metric=METRIC, width=80) == "no arm yet"
    assert leaderboard([], direction="maximize") == []
    assert summary([], leaderboard([], direction="maximize", metric=METRIC), metric=METRIC) == "0 arms"
    failed = [arm(i, state="failed", reason="raised") for i in range(3)]
    assert (
        summary(failed, leaderboard(failed, direction="minimize", metric=METRIC), metric=METRIC)
        == "3 arms: 3 failed; none has a result"
    )
    assert table(leaderboard(failed, direction="minimize"), metric=METRIC, width=80).count("failed: raised") == 3


def test_small_and_large_numbers_keep_their_digits() -> None:
    arms = [arm(0, [3.21e-7, 3.23e-7]), arm(1, [1.5e9]), arm(2, [0.0])]
    lines = table(leaderboard(arms, direction="minimize"), metric="val/loss", width=100).split("\n")
    assert [line.split()[1] for line in lines[1:]] == ["0.0000", "3.220e-07", "1.500e+09"]
    assert "… 3.347e-07" in lines[2]


# ------------------------------------------------------------------ the line
def test_summary_names_the_best_with_its_interval() -> None:
    values = [0.908, 0.912, 0.916]
    arms = [
        arm(0, values, init="he", activation="relu"),
        arm(1, [0.909, 0.915, 0.910], init="xavier", activation="relu"),
        arm(2, [0.1, 0.1, 0.11], init="zeros", activation="relu"),
        arm(3, state="pruned", init="zeros", activation="tanh"),
        arm(4, state="failed", init="zeros", activation="sigmoid"),
    ]
    found = judge(np.array([values, [0.909, 0.915, 0.910], [0.1, 0.1, 0.11]])).intervals
    assert summary(arms, leaderboard(arms, direction="maximize", metric=METRIC), metric=METRIC) == (
        "5 arms: 3 complete, 1 pruned, 1 failed; best init=he, activation=relu with val/accuracy"
        f" 0.9120 [{found.low[0]:.4f} … {found.high[0]:.4f}] (3 seeds); 1 more not distinguishable from it"
    )
    assert summary(
        [arm(0, [0.5], init="he")],
        leaderboard([arm(0, [0.5], init="he")], direction="maximize", metric=METRIC),
        metric=METRIC,
    ) == ("1 arm: 1 complete; best init=he with val/accuracy 0.5000 (1 seed)")


# ------------------------------------------------------------------ while it goes on
def lines_of(*updates: Sequence[ArmResult], total: int = 18, before: Sequence[int] = ()) -> list[str]:
    out = io.StringIO()
    board = LiveTable(total=total, metric=METRIC, direction="maximize", out=out, err=io.StringIO(), before=before)
    for arms in updates:
        board.update(arms)
    board.close()
    board.update([arm(99, [0.9])])  # after the end nothing is told
    board.close()
    return out.getvalue().splitlines()


def test_each_arm_that_ends_is_told_once() -> None:
    first = arm(0, [0.87, 0.87, 0.87], init="he", activation="tanh", seconds=12.2)
    second = arm(1, state="pruned", reason="vanished\ngradient", init="zeros", activation="tanh", seconds=3.0)
    third = arm(2, state="failed", reason="[red]raised[/red]", init="x", activation="tanh")
    running = arm(3, state="running", init="y", activation="tanh")
    assert lines_of([first, running], [first, running], [third, first, second, running]) == [
        "1/18 init=he activation=tanh: val/accuracy 0.8700 (3 seeds), 12 s",
        "2/18 init=zeros activation=tanh: pruned: vanished gradient, 3.0 s",
        "3/18 init=x activation=tanh: failed: [red]raised[/red]",
    ]
    assert lines_of([]) == []


def test_arms_of_an_earlier_session_count_and_are_not_told_again() -> None:
    done = [arm(i, [0.5]) for i in range(4)]
    assert lines_of(done, [*done, arm(4, [0.6])], before=range(4), total=9)[0] == (
        "5/9 init=i4: val/accuracy 0.6000 (1 seed)"
    )


def test_a_trial_that_failed_and_then_ended_well_is_told_twice() -> None:
    assert len(lines_of([arm(0, state="failed")], [arm(0, state="running")], [arm(0, [0.4])])) == 2


def test_now_and_then_a_line_tells_how_far_the_study_is() -> None:
    arms = [arm(i, [i / 100], seconds=10.0) for i in range(10)]
    told = lines_of(*(arms[:n] for n in range(11)), total=20)
    assert [line for line in told if "of 20" in line] == [
        "5 of 20 arms ended, about 2 min left: 5 complete",
        "10 of 20 arms ended, about 100 s left: 10 complete",
    ]
    assert told[-1] == "best so far init=i9: val/accuracy 0.0900 (1 seed)"


def test_a_stream_without_the_letters_does_not_end_the_study() -> None:
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding="ascii")
    board = LiveTable(total=1, metric=METRIC, direction="maximize", out=out, err=io.StringIO())
    board.update([arm(0, [0.5], init="φ")])
    assert raw.getvalue().decode("ascii").strip() == "1/1 init=?: val/accuracy 0.5000 (1 seed)"


def test_the_time_that_is_left() -> None:
    assert estimate_remaining([], total=5, workers=2) is None
    assert estimate_remaining([arm(0, state="failed", seconds=1.0)], total=5, workers=2) is None
    done = [arm(0, [0.5], seconds=8.0), arm(1, state="pruned", seconds=4.0)]
    assert estimate_remaining(done, total=10, workers=2) == pytest.approx(8 * 6.0 / 2)
    # two run: one has 4 s left, one should have ended; four wait; two workers
    running = [arm(2, state="running", seconds=2.0), arm(3, state="running", seconds=9.0)]
    assert estimate_remaining([*done, *running], total=8, workers=2) == pytest.approx((4 + 4 * 6) / 2)
    # more workers than arms do not make the last arm faster
    assert estimate_remaining([*done, arm(2, state="running", seconds=2.0)], total=3, workers=8) == pytest.approx(4)
    assert estimate_remaining(done, total=3, workers=8) == pytest.approx(6)
    assert estimate_remaining(done, total=2, workers=2) == 0
    assert [format_duration(s) for s in (0.42, 9.96, 119.4, 120, 7169, 7200)] == [
        "0.4 s", "10 s", "119 s", "2 min", "119 min", "2.0 h",
    ]  # fmt: skip


_ON_A_TERMINAL = """
    import sys
    from initlab.study.search.arms import ArmResult
    from initlab.study.results.live import LiveTable

    def arm(n, state, **more):
        return ArmResult(
            trial=n, arm=f"{n:x}", choices={"init": f"name{n}"}, state=state,
            value=n / 1000 if state == "complete" else None, **more,
        )

    board = LiveTable(total=240, metric="val/accuracy", direction="maximize", out=sys.stdout, err=sys.stderr, workers=2)
    arms = [arm(n, "complete", seconds=3.0) for n in range(200)]
    arms += [arm(200, "running"), arm(201, "failed", reason="[red]boom[/red] " + "x" * 300), arm(202, "waiting")]
    board.update(arms)
    board.update(arms)
    board.close()
    print("and on")
"""


@pytest.mark.process
@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_on_a_terminal_there_is_a_table_that_fits_and_goes() -> None:
    import pty

    ours, theirs = pty.openpty()
    shell = {**os.environ, "COLUMNS": "70", "LINES": "16", "TERM": "xterm"}
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_ON_A_TERMINAL)], stdin=theirs, stdout=theirs, stderr=theirs, env=shell
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # what Linux says at the end of a pseudo-terminal
            break
        if not piece:
            break
        seen += piece
    os.close(ours)
    assert process.wait() == 0
    text = seen.decode()
    printed = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n")
    assert max(map(cell_len, printed)) <= 70
    assert sum("name201: failed: [red]boom[/red]" in line for line in printed) == 1
    assert any("201 of 240 arms ended" in line and "left" in line for line in printed)
    assert any("best so far init=name199" in line for line in printed)
    assert any("name200" in line and "running" in line for line in printed)
    rows = [line for line in printed if re.match(r" +\d+ +0\.\d{4} ", line)]
    assert 3 <= len(rows) / text.count("trial") <= 12  # a frame has room for sixteen lines
    assert text.rstrip().endswith("and on")
    assert "\x1b[?25h" in text  # the cursor is back
