"""Transfer of learning rates: where the optimum lies, whether it moves, and what is said of it."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Literal

import pytest

from initlab.scaling import Grid, Transfer, judge_transfer


def oracle() -> Path:
    data = os.environ.get("INITLAB_DATA")
    shared = Path(data).parent if data else Path(__file__).parents[3] / "shared"
    return shared / "oracles" / "transformers.json"


def stored(setup: str, parametrisation: str) -> Transfer:
    """The losses of the reference: width → seed → log2 lr → loss; at each width the rates that all widths have."""
    table = json.loads(oracle().read_text(encoding="utf-8"))["lr_transfer"][setup][parametrisation]
    widths = sorted(table, key=int)
    seeds = [s for s in ("seed0", "seed1") if s in table[widths[0]]] or [""]
    cells = {w: {s: table[w][s] if s else table[w] for s in seeds} for w in widths}
    rates = sorted({int(k) for k in cells[widths[0]][seeds[0]]})
    losses = tuple(tuple(tuple(cells[w][s][str(k)] for s in seeds) for k in rates) for w in widths)
    return judge_transfer(
        Grid(
            axis="width", sizes=tuple(map(int, widths)), lrs=tuple(2.0**k for k in rates), losses=losses,
            seeds=tuple(range(len(seeds))),
        )
    )  # fmt: skip


@pytest.mark.skipif(not oracle().exists(), reason="the file of reference losses is not here")
def test_the_reference_runs() -> None:
    standard, mup = (stored("untied_zero_readout_emb0p5", p) for p in ("sp", "mup"))
    assert -4.0 <= standard.shift <= -2.5 and standard.sentence().startswith("the best learning rate moves by -")
    assert abs(mup.shift) <= 1.0 and mup.verdict == "stays"
    assert standard.means[-1][standard.grid.lrs.index(2.0**-6)] - mup.means[-1][mup.grid.lrs.index(2.0**-6)] > 0.3
    # with a tied head μP's optimum stays too, and its loss is the worse one: both are said
    tied, standard = (stored("tied_emb0p02_seed0", p) for p in ("mup", "sp"))
    assert abs(tied.shift) <= 1.0 and tied.optima[-1].loss > standard.optima[-1].loss
    assert "best validation loss by width: 64: 2.116" in tied.loss_sentence()


def curves(shift: float, *, noise: float = 0.0, edge: bool = False) -> Grid:
    """Parabolas in log2(lr) whose lowest point moves by `shift` from 64 to 512."""
    rates = tuple(2.0**k for k in range(-12, -4))
    rows = tuple(
        tuple(
            tuple(
                2 + 0.1 * (math.log2(lr) + (4 if edge else 8) - shift * k / 3 - noise * (seed - 1)) ** 2
                for seed in range(3)
            )
            for lr in rates
        )
        for k in range(4)
    )
    return Grid(axis="width", sizes=(64, 128, 256, 512), lrs=rates, seeds=(0, 1, 2), losses=rows)


@pytest.mark.parametrize(("shift", "noise", "verdict"), [
    (-3.0, 0.1, "moves"), (2.5, 0.1, "moves"), (0.0, 0.2, "stays"), (-0.6, 0.1, "stays"),
])  # fmt: skip
def test_a_known_shift_is_found(shift: float, noise: float, verdict: Literal["moves", "stays"]) -> None:
    found = judge_transfer(curves(shift, noise=noise))
    assert found.shift == pytest.approx(shift, abs=0.25) and found.verdict == verdict
    for k, optimum in enumerate(found.optima):
        assert optimum.log2_lr == pytest.approx(-8 + shift * k / 3, abs=0.2)


def test_an_optimum_at_the_edge_is_no_optimum() -> None:
    found = judge_transfer(curves(0.0, edge=True))
    assert found.verdict == "not known" and all(o.at_edge == "high" for o in found.optima)
    assert "may be further out; widen lrs=" in found.sentence() and "(highest lr)" in str(found)


def test_a_loss_that_rises_is_told_though_the_optimum_stays() -> None:
    grid = curves(0.0, noise=0.05)
    worse = tuple(tuple(tuple(v + 0.2 * k for v in cell) for cell in row) for k, row in enumerate(grid.losses))
    found = judge_transfer(Grid(**{**vars(grid), "losses": worse}))
    assert found.verdict == "stays" and "rises with the size" in found.loss_sentence()
    assert "stays within its uncertainty" in str(found)


def test_runs_that_diverge() -> None:
    grid = curves(0.0)
    cut = tuple(tuple(tuple(math.inf if lr > 2.0**-7 else v for v in c) for lr, c in zip(grid.lrs, row, strict=True))
                for row in grid.losses)  # fmt: skip
    found = judge_transfer(Grid(**{**vars(grid), "losses": cut}))
    assert "diverged" in str(found) and found.verdict in ("stays", "not known")
    none = tuple(tuple(tuple(math.inf for _ in c) for c in row) for row in grid.losses)
    lost = judge_transfer(Grid(**{**vars(grid), "losses": none}))
    assert lost.verdict == "not known" and "every run diverged" in lost.sentence()
    assert lost.plot().standalone() and found.plot().standalone()
