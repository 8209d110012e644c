"""Figures of transformers over training: entropy and logits of each head, the stream of tokens behind each block."""

from __future__ import annotations

import math
from collections.abc import Sequence

from initlab.report.charts import Figure, Line, Panel, Scale, grid_panel, lines_panel
from initlab.report.charts.heat import evenly
from initlab.report.figures import short_names
from initlab.spec import Profile, ProfileRow

#: rows of a map that can be told apart
_ROWS = 48


def transformer_figures(profile: Profile) -> dict[str, Figure]:
    """`attention` and `token_stream`; empty for a network in which nothing attends."""
    made = {"attention": attention(profile.rows), "token_stream": token_stream(profile.rows)}
    return {stem: figure for stem, figure in made.items() if figure is not None}


def attention(rows: Sequence[ProfileRow]) -> Figure | None:
    """Heads by updates, coloured by entropy; below it the largest logit of each attention."""
    entropy = [r for r in rows if r.statistic == "entropy"]
    if not entropy:
        return None
    steps = sorted({r.step for r in entropy})
    heads = sorted({(r.order, r.site, r.position) for r in entropy})
    heads = [heads[i] for i in evenly(len(heads), _ROWS)]
    value = {(r.order, r.site, r.position, r.step): r.value for r in entropy}
    names = _block_names([site for _, site, _ in heads])
    heat = grid_panel(
        [f"{names[site]}, head {head}" for _, site, head in heads], [f"{s:,}" for s in steps],
        [[value.get((*head, step), math.nan) for step in steps] for head in heads],
        scale=Scale(0.0, 1.0), x_label="update", label="entropy over the largest possible", absent="not measured",
    )  # fmt: skip
    logits = [r for r in rows if r.statistic == "logit_max" and r.site]
    sites = list(dict.fromkeys(r.site for r in logits))
    lines = [
        Line(label=names.get(site, site), colour=i % 8, mark="dot", points=_largest(logits, site))
        for i, site in enumerate(sites[k] for k in evenly(len(sites), 8))
    ]
    values = [v for line in lines for _, v in line.points if math.isfinite(v)]
    log = bool(values) and min(values) > 0 and max(values) / min(values) > 50
    below = lines_panel(lines, x_label="update", y_label="largest logit of attention", y=Scale.of(values, log=log))
    reading = (
        "Entropy of what a head looks at, by head and update: 1 is all tokens alike, 0 a single token. Heads that stay "
        "near 1 have not learnt to choose; many that fall to 0 together, with logits that grow, are entropy collapse."
    )
    return Figure("Attention by head over time", (heat, below), reading)


def token_stream(rows: Sequence[ProfileRow]) -> Figure | None:
    """Blocks by updates, coloured by the cosine of two tokens; root mean square behind each block, first and last."""
    cosines = [r for r in rows if r.statistic == "token_cosine" and r.site]
    if not cosines:
        return None
    steps = sorted({r.step for r in cosines})
    blocks = [s for _, s in sorted({(r.order, r.site) for r in cosines})]
    value = {(r.site, r.step): r.value for r in cosines}
    names = _block_names(blocks)
    heat = grid_panel(
        [names[b] for b in blocks], [f"{s:,}" for s in steps],
        [[value.get((b, s), math.nan) for s in steps] for b in blocks],
        scale=Scale(0.0, 1.0), x_label="update", label="mean cosine of two tokens", absent="not measured",
    )  # fmt: skip
    panels: list[Panel] = [heat]
    for statistic, label in (
        ("stream_rms", "root mean square of the tokens"),
        ("stream_rank", "effective rank of the tokens, share"),
    ):
        lines = [
            Line(label=f"update {step:,}", points=points, colour=i, mark=("ring", "dot")[i])
            for i, step in enumerate(dict.fromkeys((steps[0], steps[-1])))
            if (points := _by_block(rows, statistic, step, blocks))
        ]
        values = [v for line in lines for _, v in line.points if 0 < v < math.inf]
        if values:
            log = statistic == "stream_rms" and max(values) / min(values) > 20
            y = Scale.of(values, log=log, zero=not log) if statistic == "stream_rms" else Scale(0.0, 1.0)
            panels.append(lines_panel(lines, x_label="block", y_label=label, y=y))
    reading = (
        "Two tokens with cosine 1 are the same to every later block: where all do, the rank has collapsed. Compare "
        "with the first column, which is the network as it was drawn."
    )
    return Figure("Stream of tokens by block", tuple(panels), reading)


def _block_names(sites: Sequence[str]) -> dict[str, str]:
    """Names of blocks or of their attention, short: what all have in common is left out."""
    unique = list(dict.fromkeys(sites))
    short = short_names(unique)
    backwards = short_names([".".join(reversed(s.split("."))) for s in short])
    bare = [".".join(reversed(s.split("."))) for s in backwards]
    return {s: f"block {b}" if b.isdigit() else b for s, b in zip(unique, bare, strict=True)}


def _largest(rows: Sequence[ProfileRow], site: str) -> list[tuple[float, float]]:
    by_step: dict[int, float] = {}
    for r in rows:
        if r.site == site:
            by_step[r.step] = max(by_step.get(r.step, -math.inf), r.value)
    return [(float(step), value) for step, value in sorted(by_step.items())]


def _by_block(
    rows: Sequence[ProfileRow], statistic: str, step: int, blocks: Sequence[str]
) -> list[tuple[float, float]]:
    found = {r.site: r.value for r in rows if r.statistic == statistic and r.step == step}
    return [(float(i), found[b]) for i, b in enumerate(blocks) if b in found]
