"""How far is the theory of transformer blocks from networks that are drawn and measured?

    python benchmarks/transformer_theory.py run FILE [--count N] [--seed S]   predict and measure; goes on where it was
    python benchmarks/transformer_theory.py prevent FILE [--count N] [--seed S]   does it hold what is said to?
    python benchmarks/transformer_theory.py report FILE...                     the tables of docs/transformer_theory.md

Each network of `transformer_grid.py` is read and predicted from the weights of its first draw, and measured in five
draws on four sequences, with an independent Gaussian gradient behind the last block. Compared is the median over draws.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.transformer_grid import Cell, build, draw, grid, inputs

DRAWS, EXAMPLES = 5, 4
SIGNAL, GRADIENT = 1.3, 2.0
RESULTS = Path(__file__).parent / "results"
Row = dict[str, Any]


def one(cell: Cell) -> Row:
    """A cell with what was predicted and measured at the start of the stream and behind each block."""
    import torch

    from initlab.probes.stream import look_at_stream
    from initlab.theory.transformer.forecast import forecast_of, survey_stream

    torch.set_num_threads(1)
    model, x = build(cell), inputs(cell, EXAMPLES)
    model.eval()
    looks, said = [], None
    for seed in range(DRAWS):
        draw(model, cell, seed)
        if seed == 0:
            found = survey_stream(model, x)
            if found is None:
                raise RuntimeError(f"cell {cell['number']}: no stream was read")
            said = forecast_of(found, explain=False)
        generator = torch.Generator().manual_seed(seed)
        first = look_at_stream(model, x)
        assert first is not None
        shape = (len(x), first.start.shape[-1], cell["width"])
        looks.append(look_at_stream(model, x, upper=torch.randn(shape, generator=generator)))
    assert said is not None
    measured = [
        {
            key: statistics.median(_finite(getattr(look, key)[i]) for look in looks if look is not None)
            for key in ("mean_square", "cosine", "gradient")
        }
        | {
            "entropy_ratio": statistics.median(look.entropy_ratio[i - 1] for look in looks if look is not None)
            if i else math.nan
        }
        for i in range(len(said.blocks))
    ]  # fmt: skip
    predicted = [
        {
            k: getattr(b, k)
            for k in ("mean_square", "cosine", "gradient", "entropy_ratio", "logit_std", "claimed", "gradient_claimed")
        }
        for b in said.blocks
    ]
    return {**cell, "unknown": list(said.unknown), "predicted": predicted, "measured": measured}


def prevent(cell: Cell) -> Row | None:
    """Of a network whose rank collapses: measured at 0.9 and 1.15 of the branches' factor that is said to hold it.

    None where no collapse is predicted, a factor near 1 is, or the branches' factor is not a number.
    """
    import torch

    from initlab.probes.stream import look_at_stream
    from initlab.theory.transformer.forecast import forecast_of, survey_stream
    from initlab.theory.transformer.prevention import branch_limit

    if cell["branch_scale"] not in ("one", 0.3) or cell["depth"] > 24:
        return None
    torch.set_num_threads(1)
    model, x = build(cell), inputs(cell, EXAMPLES)
    draw(model, cell, 0)
    found = survey_stream(model, x)
    if found is None:
        return None
    said = forecast_of(found, explain=False)
    limit = branch_limit(found.stream, found.start) if said.blocks[-1].claimed else None
    if limit is None or not said.blocks[-1].cosine > 0.95 or limit > 0.9:
        return None
    begin = 1.0 if cell["branch_scale"] == "one" else cell["branch_scale"]
    seen: list[float] = []
    for factor in (0.9, 1.15):
        changed = build(cell | {"branch_scale": begin * limit * factor})
        cosines: list[float] = []
        for seed in (1, 2, 3):
            draw(changed, cell, seed)
            look = look_at_stream(changed, x)
            assert look is not None
            cosines.append(look.cosine[-1])
        seen.append(statistics.median(cosines))
    return {**cell, "limit": limit, "cosines": seen, "held": seen[0] < 0.95, "lost": seen[1] > 0.95}


def _finite(value: float) -> float:
    return value if math.isfinite(value) else 1e300


# ------------------------------------------------------------------ tables
def within(a: float, b: float, factor: float) -> bool:
    """Whether two positive numbers differ by at most `factor`."""
    if not (0 < a < math.inf and 0 < b < math.inf):
        return a == b == 0
    return abs(math.log(a / b)) <= math.log(factor)


def figures(rows: list[Row]) -> dict[str, float]:
    """Shares of the blocks of these rows."""
    blocks = [(p, m) for r in rows for p, m in zip(r["predicted"][1:], r["measured"][1:], strict=True)]
    claimed = [(p, m) for p, m in blocks if p["claimed"]]
    if not claimed:
        return {"networks": len(rows), "blocks": len(blocks), "claimed": 0.0}
    count = len(claimed)
    return {
        "networks": len(rows),
        "blocks": len(blocks),
        "claimed": count / len(blocks),
        "claimed_gradient": sum(p["gradient_claimed"] for p, _ in blocks) / len(blocks),
        "signal": sum(within(p["mean_square"], m["mean_square"], SIGNAL) for p, m in claimed) / count,
        "gradient": sum(within(p["gradient"], m["gradient"], GRADIENT) for p, m in _starts(rows))
        / max(1, len(_starts(rows))),
        "cosine": statistics.median(abs(p["cosine"] - m["cosine"]) for p, m in claimed),
        "cosine_90": sorted(abs(p["cosine"] - m["cosine"]) for p, m in claimed)[int(0.9 * count)],
    }


def _starts(rows: list[Row]) -> list[tuple[Row, Row]]:
    """Gradients where each claimed block begins: the last one's end is 1 in both."""
    return [
        ({**p, "gradient": r["predicted"][i]["gradient"]}, {**m, "gradient": r["measured"][i]["gradient"]})
        for r in rows
        for i, (p, m) in enumerate(zip(r["predicted"][1:], r["measured"][1:], strict=True))
        if p["gradient_claimed"]
    ]


def collapses(rows: list[Row]) -> dict[str, float]:
    """AUC of collapse of rank (cosine of the last block) and entropy (of the block with the least).

    Over the networks that theory vouches for; what it does not cover has no prediction.
    """
    rows = [r for r in rows if r["predicted"][-1]["claimed"] and abs(r["measured"][-1]["cosine"]) <= 1.001]
    rank = [(r["predicted"][-1]["cosine"], r["measured"][-1]["cosine"] > 0.95) for r in rows]
    entropy = [
        (-min(p["entropy_ratio"] for p in r["predicted"][1:]), min(m["entropy_ratio"] for m in r["measured"][1:]) < 0.1)
        for r in rows
    ]
    found: dict[str, float] = {"networks": len(rows)}
    for name, pairs, threshold in (("rank", rank, 0.95), ("entropy", entropy, -0.1)):
        found[f"{name}_auc"] = auc(pairs)
        found[f"{name}_collapsed"] = sum(y for _, y in pairs)
        found[f"{name}_right"] = sum((s > threshold) == y for s, y in pairs) / len(pairs)
    return found


def auc(pairs: list[tuple[float, bool]]) -> float:
    """Probability that a collapsed network scores above one that is not; NaN where there are none of either."""
    yes, no = [s for s, y in pairs if y], [s for s, y in pairs if not y]
    if not yes or not no:
        return math.nan
    return sum((a > b) + 0.5 * (a == b) for a in yes for b in no) / (len(yes) * len(no))


def report(rows: list[Row]) -> str:
    """Markdown tables of all rows and of groups."""
    lines = [
        "| networks | blocks | claimed: signal, gradient | mean square within 1.3 × | gradient² within 2 × "
        "| cosine: median error, 90 % |",
        "|---|---|---|---|---|---|",
    ]
    groups: dict[str, list[Row]] = {"all": rows}
    for key, name in (("norm_at", "{} norm"), ("norm", "norm={}"), ("causal", "causal: {}")):
        by: dict[Any, list[Row]] = defaultdict(list)
        for r in rows:
            by[r[key]].append(r)
        groups |= {name.format(k): v for k, v in sorted(by.items(), key=lambda kv: str(kv[0]))}
    groups["depth 2 to 11"] = [r for r in rows if r["depth"] < 12]
    groups["depth 12 to 48"] = [r for r in rows if r["depth"] >= 12]
    groups["D/T up to 2"] = [r for r in rows if r["width"] <= 2 * r["tokens"]]
    groups["D/T above 2"] = [r for r in rows if r["width"] > 2 * r["tokens"]]
    for low, high in ((0.0, 0.3), (0.3, 3.0), (3.0, 99.0)):
        groups[f"σ_QK {low:g} to {high:g}"] = [r for r in rows if low <= r["logit_gain"] < high]
    for name, group in groups.items():
        f = figures(group)
        if "signal" in f:
            lines.append(
                f"| {name} ({f['networks']}) | {f['blocks']} | {f['claimed']:.0%}, {f['claimed_gradient']:.0%} |"
                f" {f['signal']:.1%} | {f['gradient']:.1%} |"
                f" {f['cosine']:.3f}, {f['cosine_90']:.3f} |"
            )
    c = collapses(rows)
    lines += [
        "",
        "| collapse of | networks that did | AUC | right at the threshold |",
        "|---|---|---|---|",
        *(
            f"| {k} | {c[f'{k}_collapsed']} of {c['networks']} | {c[f'{k}_auc']:.3f} | {c[f'{k}_right']:.0%} |"
            for k in ("rank", "entropy")
        ),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("run", "prevent", "report"))
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=80)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    if given.action != "report":
        path = given.files[0]
        done = {json.loads(line)["number"] for line in path.read_text().splitlines()} if path.exists() else set()
        with path.open("a") as file:
            for cell in grid(given.count, given.seed):
                row = None if cell["number"] in done else one(cell) if given.action == "run" else prevent(cell)
                if row is not None:
                    file.write(json.dumps(row) + "\n")
                    file.flush()
    rows = [json.loads(line) for path in given.files for line in path.read_text().splitlines()]
    if given.action == "prevent":
        held, lost = (sum(r[key] for r in rows) for key in ("held", "lost"))
        print(f"{len(rows)} networks; no collapse below in {held}, collapse above in {lost}")
        return
    text = report(rows)
    print(text)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "transformer_theory.md").write_text(f"{text}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
