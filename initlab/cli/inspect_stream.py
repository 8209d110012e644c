"""The table of `inspect` for transformers: the residual stream block by block, theory and measurement in one cell."""

from __future__ import annotations

import math
import shutil
import sys
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from initlab.cli.inspect_table import short
from initlab.probes import StreamComparison
from initlab.report.stream import collapses
from initlab.report.table import align_columns

#: blocks of a deep network that are shown; all of them are in inspect.json
_ROWS = 16
_WIDTH = 80
_LEGEND = (
    "a/b: a is predicted, b measured. rms: root mean square of the residual stream behind the block; cosine: mean of "
    "two tokens, 1 where they are alike (rank collapse); entropy: of attention, over the largest possible, 0 where a "
    "token looks at one key (entropy collapse); logit sd: standard deviation of attention's logits; log10 grad²: "
    "squared gradient of the stream, over that behind the last block"
)


def block_lines(found: StreamComparison, *, width: int | None = None) -> list[str]:
    """The table of the blocks, its legend, what theory does not give, and what follows."""
    limit = width or (shutil.get_terminal_size((_WIDTH, 24)).columns if sys.stdout.isatty() else _WIDTH)
    rows = found.rows()
    cells = [
        [
            row["block"], _pair(row, "mean_square", root=True), _pair(row, "cosine", 2), _pair(row, "entropy_ratio", 2),
            _pair(row, "logit_std"), _pair(row, "gradient", 1, log=True),
        ]
        for row in rows
    ]  # fmt: skip
    if len(cells) > _ROWS:
        cells = [*cells[: _ROWS // 2], ["…", *[""] * 5], *cells[-_ROWS // 2 :]]
    lines = align_columns(["block", "rms", "cosine", "entropy", "logit sd", "log10 grad²"], cells)
    lines += textwrap.wrap(_LEGEND, limit, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    if found.unknown:
        told = f"theory of the stream does not give: {'; '.join(found.unknown)}"
        lines += textwrap.wrap(told, limit, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
    lines += [f"  {sentence}" for sentence in found.sentences]
    return lines


def border_sentences(cells: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[str]:
    """Where theory predicts collapse in a sweep of transformers, a sentence for each; none for other networks."""
    found: list[str] = []
    for key, name in (("token_cosine", "rank collapse"), ("attention_entropy", "saturated attention")):
        known = [c for c in cells if math.isfinite(float(c.get(key, math.nan)))]
        if not known:
            continue
        inside = [c for c in known if collapses(key, float(c[key]))]
        for rest in dict.fromkeys(tuple(str(c[a]) for a in axes[:-1]) for c in inside):
            values = [str(c[axes[-1]]) for c in inside if tuple(str(c[a]) for a in axes[:-1]) == rest]
            where = ", ".join(f"{a}={v}" for a, v in zip(axes[:-1], rest, strict=True))
            found.append(f"{name} predicted at {where}{', ' if where else ''}{axes[-1]}={', '.join(values)}")
        if not inside:
            found.append(f"no {name} predicted in the {len(known)} combinations that theory covers")
    return found


def _pair(row: dict[str, float], key: str, digits: int | None = None, *, root: bool = False, log: bool = False) -> str:
    values = [row[f"{source}_{key}"] for source in ("predicted", "measured")]
    if root:
        values = [math.sqrt(v) if v >= 0 else v for v in values]
    if log:
        values = [math.log10(v) if v > 0 else math.nan for v in values]
    return "/".join(short(v, digits) for v in values) if any(map(math.isfinite, values)) else "–"
