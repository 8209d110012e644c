"""Effects of two factors and ranks over tasks, against statsmodels, scipy and Demšar's table."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from initlab.compare.effects import profile, ranking, two_way

RNG = np.random.default_rng(5)
A = ["he", "he", "xavier", "xavier", "zeros", "zeros"]
B = ["relu", "tanh"] * 3


def by_hand(values: np.ndarray) -> dict[str, tuple[float, int]]:
    """Sums of squares of a 3 x 2 layout with seeds as blocks, by least squares."""
    arms, seeds = values.shape
    frame = pd.DataFrame({
        "y": values.ravel(), "a": np.repeat(A, seeds), "b": np.repeat(B, seeds),
        "seed": np.tile(np.arange(seeds), arms),
    })  # fmt: skip
    table = anova_lm(ols("y ~ C(a) * C(b) + C(seed)", frame).fit(), typ=2)
    rows = {"a": "C(a)", "b": "C(b)", "ab": "C(a):C(b)", "seed": "C(seed)", "residual": "Residual"}
    return {k: (float(table.loc[r, "sum_sq"]), round(float(table.loc[r, "df"]))) for k, r in rows.items()}


def test_two_way_is_the_aligned_rank_transform() -> None:
    values = RNG.normal(size=(6, 4)) + np.array([1, 1, 0.2, 0.8, 0, 0])[:, None]
    effects = two_way(values, A, B, names=("init", "activation"))
    assert [e.name for e in effects] == ["init", "activation", "init × activation"]
    plain = by_hand(values)
    total = sum(v for v, _ in plain.values())
    cube, rest = values.reshape(3, 2, -1), values - values.mean(axis=1, keepdims=True)
    a, b = cube.mean(axis=(1, 2)), cube.mean(axis=(0, 2))
    estimated = {
        "a": np.repeat(a - cube.mean(), 2), "b": np.tile(b - cube.mean(), 3),
        "ab": (cube.mean(axis=2) - a[:, None] - b[None] + cube.mean()).ravel(),
    }  # fmt: skip
    for effect, key in zip(effects, ("a", "b", "ab"), strict=True):
        ranked = stats.rankdata(np.round(rest + estimated[key][:, None], 12)).reshape(values.shape)
        own, left = by_hand(ranked)[key], by_hand(ranked)["residual"]
        f = own[0] / own[1] / (left[0] / left[1])
        assert (effect.df, effect.df_residual) == (own[1], left[1])
        assert effect.f == pytest.approx(f) and effect.p == pytest.approx(stats.f.sf(f, own[1], left[1]))
        assert effect.share == pytest.approx(plain[key][0] / total)
        assert effect.partial == pytest.approx(plain[key][0] / (plain[key][0] + plain["residual"][0]))


def test_a_layout_with_a_hole_has_no_effects() -> None:
    values = RNG.normal(size=(6, 4))
    assert two_way(values[:5], A[:5], B[:5], names=("init", "activation")) == []
    assert two_way(values[:, :1], A, B, names=("init", "activation")) == []
    values[0, 0] = np.nan
    assert two_way(values, A, B, names=("init", "activation"))[0].df_residual == 10


def test_ranks_over_tasks() -> None:
    means = np.array([[0.9, 0.8, 0.7, 0.1], [0.9, 0.95, 0.6, 0.2], [0.5, 0.4, 0.4, 0.3]])
    found = ranking(means, ["a", "b", "c", "d"], ["t1", "t2", "t3"])
    assert found is not None and found.arms == ("a", "b", "c", "d")
    assert found.ranks == pytest.approx(((1 + 2 + 1) / 3, (2 + 1 + 2.5) / 3, (3 + 3 + 2.5) / 3, 4.0))
    assert found.p == pytest.approx(stats.friedmanchisquare(*means.T).pvalue)
    assert ranking(means[:1], ["a", "b", "c", "d"], ["t1"]) is None


@pytest.mark.parametrize(("arms", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_the_critical_difference_is_demsar_s(arms: int, q: float) -> None:
    found = ranking(RNG.normal(size=(14, arms)), [str(i) for i in range(arms)], [str(i) for i in range(14)])
    assert found is not None and found.critical == pytest.approx(q * (arms * (arms + 1) / (6 * 14)) ** 0.5, rel=1e-3)


def test_a_profile_is_the_share_at_or_above() -> None:
    scores = np.array([0.2, 0.5, 0.5, np.nan, 1.0])
    assert profile(scores, np.array([0.0, 0.5, 0.51, 1.0])).tolist() == [1.0, 0.75, 0.25, 0.25]
