"""Charts: scales, what is drawn of odd values, and that texts are escaped and lie on the paper."""

from __future__ import annotations

import math
import re

import pytest

from initlab.report.charts import (
    Band,
    Figure,
    Line,
    Panel,
    Scale,
    bars_panel,
    grid_panel,
    histogram_panel,
    lines_panel,
    matrix_panel,
    parallel_panel,
)
from initlab.report.charts.colours import colour, is_dark
from initlab.report.charts.figure import text_width
from initlab.report.charts.heat import evenly
from initlab.report.charts.lines import thin
from initlab.report.charts.scale import to_text
from tests.report.svg import check, texts


def figure(*panels: Panel) -> Figure:
    return Figure("title", panels, "how to read it")


# ------------------------------------------------------------------ scales
@pytest.mark.parametrize(
    "values",
    [[0.1, 0.9], [0.0, 0.0], [5.0], [], [math.nan, math.inf], [-3.0, 1e9], [1e-30, 1e-29], [123456.0, 123457.0]],
    ids=str,
)
@pytest.mark.parametrize("log", [False, True])
def test_a_scale_holds_its_values_and_has_round_ticks(values: list[float], log: bool) -> None:
    scale = Scale.of(values, log=log)
    assert scale.low < scale.high and math.isfinite(scale.high - scale.low)
    for value in values:
        place = scale.place(value)
        shown = math.isfinite(value) and (value > 0 or not log)
        assert 0 <= place <= 1 if shown else math.isnan(place)
    ticks = scale.ticks()
    assert ticks == sorted(set(ticks)) and 1 <= len(ticks) <= 12
    assert all(scale.low * 0.999999 <= t <= scale.high * 1.000001 for t in ticks if t > 0)


def test_ticks_of_a_share_and_of_many_decades() -> None:
    assert Scale(0.0, 1.0).ticks() == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert Scale(1e-14, 1.0, True).ticks(4) == pytest.approx([1e-12, 1e-9, 1e-6, 1e-3, 1.0])
    assert len(Scale(0.11, 0.19, True).ticks()) >= 2


@pytest.mark.parametrize(
    ("value", "words"),
    [(0, "0"), (0.25, "0.25"), (1200, "1,200"), (1e-7, "10⁻⁷"), (2e5, "2×10⁵"), (-0.5, "−0.5"), (math.inf, "∞"),
     (math.nan, "not a number"), (0.001, "0.001"), (9.999e-6, "10×10⁻⁶")],
)  # fmt: skip
def test_numbers_as_text(value: float, words: str) -> None:
    assert to_text(value) == words


# ------------------------------------------------------------------ lines
def test_a_long_line_keeps_its_peaks() -> None:
    points = [(float(n), 1.0) for n in range(50_000)]
    points[31_337] = (31_337.0, 99.0)
    points[40_000] = (40_000.0, math.nan)
    thinned = thin(points)
    assert len(thinned) <= 1100 and (31_337.0, 99.0) in thinned and any(math.isnan(v) for _, v in thinned)
    check(figure(lines_panel([Line(label="a", points=points)], x_label="update", y_label="loss")))


def test_values_that_cannot_be_shown_break_the_line() -> None:
    line = Line(label="", points=[(0, 1.0), (1, 2.0), (2, math.nan), (3, math.inf), (4, 1.5), (5, 1.0)])
    panel = lines_panel([line], x_label="x", y_label="y")
    (path,) = re.findall(r'class="line s0 " d="([^"]*)"/>', panel.body)
    assert path.count("M") == 2 and path.count("L") == 2
    check(figure(panel))


def test_nothing_to_show_is_said() -> None:
    for line in (Line(label="a", points=[]), Line(label="a", points=[(1, 0.0), (2, -1.0)])):
        panel = lines_panel([line], x_label="x", y_label="y", y=Scale.of([0.0], log=True))
        assert "no value" in panel.body
        check(figure(panel))


def test_bands_are_cut_at_the_edges_and_lines_outside_are_left_out() -> None:
    line = Line(label="a", points=[(0, 0.2), (1, 0.8)], ends=[(0.1, 0.3), (math.nan, 0.9)], texts=["one", ""])
    bands = [Band(label="healthy", low=-5.0, high=0.5), Band(label="target", low=7.0, high=7.0)]
    panel = lines_panel([line], x_label="x", y_label="y", y=Scale(0.0, 1.0), bands=bands)
    tall = float(re.findall(r'class="band" x="[\d.]+" y="[\d.]+" width="[\d.]+" height="([\d.]+)"', panel.body)[0])
    assert 0 < tall < panel.height / 2 and panel.body.count('class="rule"') == 1  # that of the legend
    assert "one" in panel.body
    check(figure(panel))


def test_a_spread_is_cut_off_where_the_plot_ends() -> None:
    """One wide interval of few values must not be drawn over the labels."""
    for y in (Scale(0.1, 1.0), Scale(0.1, 1.0, True)):
        line = Line(label="a", points=[(0, 0.2), (1, 0.8)], ends=[(-40.0, 0.3), (0.7, 90.0)])
        panel = lines_panel([line], x_label="x", y_label="y", y=y)
        (path,) = re.findall(r'class="spread f0" d="M([^"]*)Z"', panel.body)
        heights = [float(pair.split()[1]) for pair in path.split("L")]
        assert len(heights) == 4 and min(heights) > 0 and max(heights) <= panel.height - 36
        check(figure(panel))


# ------------------------------------------------------------------ bars
@pytest.mark.parametrize(
    "names", [["he", "xavier"], ["activation=tanh init=orthogonal sigma=1", "activation=relu x=2"]]
)
def test_bars_say_their_names_and_values_in_full(names: list[str]) -> None:
    texts = ["-2.25e-05 ± 2.7e-05", "0.91 ± 0.0078"]
    panel = bars_panel(names, [-2.25e-5, 0.91], x_label="value", texts=texts)
    assert all(f">{words}<" in panel.body for words in (*names, *texts))
    ends = re.findall(r'<text x="([\d.]+)" y="[\d.]+">([^<]*±[^<]*)<', panel.body)
    assert len(ends) == 2 and all(float(x) + text_width(words) < panel.width for x, words in ends)
    check(figure(panel))


def test_bars_of_values_below_zero_end_at_zero() -> None:
    panel = bars_panel(["a", "b"], [-2.0, -0.5], x_label="value")
    (x1, w1), (x2, w2) = re.findall(r'class="f0" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"', panel.body)
    assert float(w1) == pytest.approx(4 * float(w2), abs=0.5)
    assert float(x1) + float(w1) == pytest.approx(float(x2) + float(w2), abs=0.2)


# ------------------------------------------------------------------ heat maps
def test_zeros_are_grey_and_infinite_values_crossed_out_and_both_are_explained() -> None:
    values = [[1.0, 0.0, math.nan], [math.inf, 1e-3, 1e-40]]
    panel = grid_panel(
        ["a", "b"], ["0", "1", "2"], values, scale=Scale.of([1.0, 1e-3], log=True), x_label="update", label="norm",
        absent="0 or not measured",
    )  # fmt: skip
    grey = re.findall(r'class="cells none" d="([^"]*)"', panel.body)[0]
    assert grey.count("M") == 2 and panel.body.count('class="cross"') == 2
    assert "0 or not measured" in panel.body and "infinite" in panel.body
    check(figure(panel))


def test_of_very_many_rows_and_columns_an_even_choice_is_drawn() -> None:
    assert evenly(5, 80) == [0, 1, 2, 3, 4]
    chosen = evenly(1000, 80)
    assert len(chosen) == 80 and (chosen[0], chosen[-1]) == (0, 999)
    values = [[float(i * j % 7) for j in range(500)] for i in range(300)]
    panel = grid_panel(
        [f"block.{i}.attention.in_proj_weight" for i in range(300)], [f"{j:,}" for j in range(500)], values,
        scale=Scale(0, 7), x_label="update", label="norm", absent="-",
    )  # fmt: skip
    assert len(panel.body) < 200_000
    check(figure(panel))


@pytest.mark.parametrize("better", ["more", "less"])
def test_the_better_cell_is_the_brighter_one(better: str) -> None:
    cells = [[(float(v), str(v), False) for v in (1, 2)], [(float(v), str(v), True) for v in (3, 4)]]
    panel = matrix_panel(
        ["a", "b"], ["c", "d"], cells, scale=Scale(1.0, 4.0), row_label="init", x_label="activation", label="loss",
        better=better,  # type: ignore[arg-type]
    )  # fmt: skip
    fills = re.findall(r'<rect fill="(#\w+)" x="[\d.]+" y="[\d.]+" width="[\d.]+" height="25', panel.body)
    assert fills.index(colour(1.0)) == (3 if better == "more" else 0)
    assert f"{better} is better" in panel.body
    check(figure(panel))


def test_a_border_lies_between_cells_inside_and_outside() -> None:
    cells = [[(0.5, "x", False)] * 3 for _ in range(2)]

    def drawn(inside: list[list[bool]]) -> str:
        return matrix_panel(
            ["a", "b"], ["c", "d", "e"], cells, scale=Scale(0.0, 1.0), row_label="r", x_label="c", label="l",
            inside=inside,
        ).body  # fmt: skip

    found = re.search(r'class="border" d="([^"]*)"', drawn([[False, False, True], [False, True, True]]))
    assert found is not None
    assert (found[1].count("v"), found[1].count("h")) == (2, 1)
    assert "border" not in drawn([[True] * 3] * 2)
    assert "border" not in drawn([])


def test_text_on_a_colour_can_be_read() -> None:
    assert is_dark(0.0) and not is_dark(1.0)
    assert colour(0.0) == "#440154" and colour(1.0) == "#fde725" and colour(-3) == colour(0.0)


# ------------------------------------------------------------------ bars, histograms, parallel coordinates
def test_bars_of_many_names() -> None:
    names = [f"layer.{k}.with_a_long_name.weight" for k in range(100)]
    panel = bars_panel(names, [0.1 * k if k else math.nan for k in range(100)], x_label="distance")
    assert "40 more are not drawn" in panel.body and "not finite" in panel.body
    check(figure(panel))


def test_a_histogram_of_equal_values_is_a_line() -> None:
    panel = histogram_panel(
        "layer", [("init", 0, 0.0, 0.0, [7]), ("end", 1, -1.0, 1.0, [1, 0, 5])], x_label="W", log=True
    )
    assert "init all 0" in panel.label and "end from −1 to 1" in panel.label
    check(figure(panel))


def test_parallel_lines_begin_and_end_where_they_should() -> None:
    panel = parallel_panel(
        ["init", "lr", "objective"], [[(0.0, "he"), (1.0, "zeros")], [(0.5, "0.1")], [(0.0, "0"), (1.0, "1")]],
        [[0.0, 0.5, 0.2], [1.0, -0.12, 1.0]], label="accuracy",
    )  # fmt: skip
    assert panel.body.count('class="thin"') == 1 and panel.body.count('class="line best"') == 1
    check(figure(panel))


def test_words_of_others_are_escaped() -> None:
    odd = "<script>alert('1')</script> & \"quoted\""
    panels = (
        lines_panel([Line(label=odd, points=[(0, 1), (1, 2)])], x_label=odd, y_label=odd),
        bars_panel([odd], [1.0], x_label="x"),
        matrix_panel([odd], [odd], [[(1.0, odd, False)]], scale=Scale(0, 1), row_label=odd, x_label=odd, label=odd),
    )
    made = Figure(odd, panels, odd)
    assert "<script" not in made.standalone(odd) + made.inline()
    assert any("quoted" in t for t in texts(made))
